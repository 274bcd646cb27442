"""Verdict scores that can be taken at their word: a small logistic calibration, and how far scores are off.

The score of a verdict is the probability that what is shown is right: where there is a mask, that it lies
on the structure of its name; where there is none, that no half of such a structure is in the scan.

    score = sigmoid(intercept + Σ weight · term),   weight ≥ 0, at most `MOST_SURE`

The terms come from the evidence that a verdict states (`FEATURES`). No weight is negative, so better evidence
never lowers a score.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float
from pydantic import Field

from nomina.config import config
from nomina.errors import ConfigError

MOST_SURE = 0.99
"""No score is higher [choice: some twenty patients cannot show that one verdict in a hundred is wrong]."""

SURE_SCORE = 0.9
"""A verdict of a lower score is reported as uncertain [choice: a stated verdict is wrong once in ten at most,
and less often on average]."""

PENALTY = 0.001
"""Of the squared weights, against the mean log loss [choice: keeps them finite where the evidence separates
right from wrong]."""

NUM_BINS = 10

Finite = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _logit(share: float) -> float:
    cut = min(max(share, 0.01), 0.99)
    return float(np.log(cut / (1 - cut)))


Term = Callable[[float], float]

FEATURES: Mapping[str, Mapping[str, Term]] = {
    "found": {"probability": _logit, "level": _logit},
    "missing": {"unseen": _logit, "level": _logit, "distance": lambda levels: min(levels, 3.0)},
}
"""Evidence of each kind of finding, and the term that stands for it.

found    probability  mean probability of the mask's kind over its voxels
         level        probability of its level's name; 1 for what has no level, 0.5 where nothing decided it
missing  unseen       1 − probability, read off the whole picture, that the structure is in view
         level        the same, of the nearest end of the column
         distance     levels between that end and the structure; 0 between found neighbours
"""


@config
class Logistic:
    """One logistic formula."""

    intercept: Finite
    weights: dict[str, Weight]
    """Weight of the term of each evidence; see `FEATURES`."""


@config
class VerdictCalibration:
    """What turns the evidence of a verdict into its score; kept in a checkpoint's config.

    Example:
        calibration.score({"probability": 0.9, "level": 0.95})
    """

    version: Literal[1] = 1
    """Of the formula and its evidence."""
    found: Logistic
    """For structures with a mask."""
    missing: Logistic
    """For structures without one."""
    weights_sha256: str
    """Hash of the weights file that the evidence came from: no other network may use it."""
    fitted_on: str
    """The cases, in words."""

    def __post_init__(self) -> None:
        for kind, formula in (("found", self.found), ("missing", self.missing)):
            if set(formula.weights) != set(FEATURES[kind]):
                raise ConfigError(
                    f"the verdict calibration weighs {sorted(formula.weights)} for {kind} structures, "
                    f"expected {sorted(FEATURES[kind])}; fit it again with this version of nomina"
                )

    def score(self, evidence: Mapping[str, float]) -> float:
        """Probability that a finding with this evidence is right, rounded to three digits.

        Raises:
            ConfigError: The evidence is of no known kind.
        """
        kind = kind_of(evidence)
        formula = self.found if kind == "found" else self.missing
        weights = np.array([formula.weights[name] for name in FEATURES[kind]])
        return round(float(_probability(_terms(kind, evidence) @ weights + formula.intercept)), 3)


@dataclass(frozen=True)
class Example:
    """One finding whose truth is known."""

    evidence: Mapping[str, float]
    is_right: bool


def kind_of(evidence: Mapping[str, float]) -> Literal["found", "missing"]:
    """Kind of finding that some evidence speaks for.

    Raises:
        ConfigError: It is of no known kind.
    """
    if set(evidence) == set(FEATURES["found"]):
        return "found"
    if set(evidence) == set(FEATURES["missing"]):
        return "missing"
    known = " or ".join(str(sorted(names)) for names in FEATURES.values())
    raise ConfigError(f"evidence must be {known}, got {sorted(evidence)}; make it again with this version")


def fit_calibration(
    examples: Sequence[Example], *, weights_sha256: str, fitted_on: str, penalty: float = PENALTY
) -> VerdictCalibration:
    """The calibration under which known findings are most likely.

    Args:
        examples: Findings of both kinds.
        weights_sha256: Hash of the weights file of the network that made them.
        fitted_on: The cases, in words.
        penalty: See `PENALTY`.

    Raises:
        ConfigError: There are no findings of one kind.
    """
    formulas = {kind: _fit(kind, examples, penalty) for kind in FEATURES}
    return VerdictCalibration(
        found=formulas["found"],
        missing=formulas["missing"],
        weights_sha256=weights_sha256,
        fitted_on=fitted_on,
    )


def _fit(kind: str, examples: Sequence[Example], penalty: float) -> Logistic:
    chosen = [example for example in examples if kind_of(example.evidence) == kind]
    if not chosen:
        raise ConfigError(f"there is no {kind} structure to fit the calibration on; give more cases")
    terms = np.array([_terms(kind, example.evidence) for example in chosen])
    sign = np.array([1.0 if example.is_right else -1.0 for example in chosen])

    def loss(parameters: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        weights = parameters[1:]
        margin = sign * (parameters[0] + terms @ weights)
        slope = -sign / (1 + np.exp(margin)) / len(sign)
        value = float(np.logaddexp(0, -margin).mean() + penalty * (weights @ weights))
        return value, np.append(slope.sum(), slope @ terms + 2 * penalty * weights)

    bounds = [(-10.0, 10.0)] + [(0.0, 10.0)] * terms.shape[1]
    start = np.zeros(1 + terms.shape[1])
    best = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.round(4)
    return Logistic(
        intercept=float(best[0]), weights=dict(zip(FEATURES[kind], best[1:].tolist(), strict=True))
    )


def _terms(kind: str, evidence: Mapping[str, float]) -> Float[np.ndarray, " t"]:
    return np.array([term(evidence[name]) for name, term in FEATURES[kind].items()])


def _probability(logit: float) -> float:
    return float(np.clip(1 / (1 + np.exp(-logit)), 1 - MOST_SURE, MOST_SURE))


@dataclass(frozen=True)
class ReliabilityBin:
    """Verdicts whose scores lie in one range: [low, high), the last one with its upper end."""

    low: float
    high: float
    count: int
    mean_score: float
    share_right: float


def reliability(
    scores: Float[np.ndarray, " n"], is_right: Bool[np.ndarray, " n"]
) -> tuple[ReliabilityBin, ...]:
    """How often verdicts are right, by their score; ranges of equal width, empty ones left out."""
    index = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    return tuple(
        ReliabilityBin(
            low=number / NUM_BINS,
            high=(number + 1) / NUM_BINS,
            count=int((index == number).sum()),
            mean_score=float(scores[index == number].mean()),
            share_right=float(is_right[index == number].mean()),
        )
        for number in np.unique(index).tolist()
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015): mean gap of the bins, weighted by count."""
    total = sum(item.count for item in bins)
    return sum(item.count * abs(item.mean_score - item.share_right) for item in bins) / total
