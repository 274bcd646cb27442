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

Subject = Literal["spine", "vessels"]
Kind = Literal["found", "missing"]

FEATURES: Mapping[Subject, Mapping[Kind, Mapping[str, Term]]] = {
    "spine": {
        "found": {"probability": _logit, "level": _logit},
        "missing": {"unseen": _logit, "level": _logit, "distance": lambda levels: min(levels, 3.0)},
    },
    "vessels": {
        "found": {"probability": _logit, "lungs": _logit},
        "missing": {"no_lung_tissue": _logit, "no_vessels": _logit},
    },
}
"""Evidence of each kind of finding, and the term that stands for it.

spine found      probability     mean probability of the mask's kind over its voxels
                 level           probability of its level's name; 1 for what has no level, 0.5 where nothing
                                 decided it
      missing    unseen          1 − probability, read off the whole picture, that the structure is in view
                 level           the same, of the nearest end of the column
                 distance        levels between that end and the structure; 0 between found neighbours
vessels found    probability     mean probability of the mask's class over its voxels
                 lungs           1 where both lungs are in view, 0.5 where not
        missing  no_lung_tissue  1 − litres of lung in the scan, 0 from one litre on
                 no_vessels      1 where nothing of its kind was found, 0.5 where only its side is unknown
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
    subject: Subject = "spine"
    """What the verdicts are on."""
    found: Logistic
    """For structures with a mask."""
    missing: Logistic
    """For structures without one."""
    weights_sha256: str
    """Hash of the weights file that the evidence came from: no other network may use it."""
    fitted_on: str
    """The cases, in words."""

    def __post_init__(self) -> None:
        expected = FEATURES[self.subject]
        for kind, formula in self._formulas().items():
            if set(formula.weights) != set(expected[kind]):
                raise ConfigError(
                    f"the verdict calibration weighs {sorted(formula.weights)} for {kind} structures, "
                    f"expected {sorted(expected[kind])}; fit it again with this version of nomina"
                )

    def score(self, evidence: Mapping[str, float]) -> float:
        """Probability that a finding with this evidence is right, rounded to three digits.

        Raises:
            ConfigError: The evidence is of no known kind, or of another subject.
        """
        subject, kind = kind_of(evidence)
        if subject != self.subject:
            raise ConfigError(f"a calibration of {self.subject} verdicts cannot score evidence on {subject}")
        formula, features = self._formulas()[kind], FEATURES[subject][kind]
        weights = np.array([formula.weights[name] for name in features])
        return round(float(_probability(_terms(features, evidence) @ weights + formula.intercept)), 3)

    def _formulas(self) -> dict[Kind, Logistic]:
        return {"found": self.found, "missing": self.missing}


@dataclass(frozen=True)
class Example:
    """One finding whose truth is known."""

    evidence: Mapping[str, float]
    is_right: bool


def kind_of(evidence: Mapping[str, float]) -> tuple[Subject, Kind]:
    """What some evidence is about, and the kind of finding that it speaks for.

    Raises:
        ConfigError: It is of no known kind.
    """
    known = [(subject, kind) for subject, kinds in FEATURES.items() for kind in kinds]
    for subject, kind in known:
        if set(evidence) == set(FEATURES[subject][kind]):
            return subject, kind
    names = " or ".join(str(sorted(FEATURES[subject][kind])) for subject, kind in known)
    raise ConfigError(f"evidence must be {names}, got {sorted(evidence)}; make it again with this version")


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
        ConfigError: There are no findings of one kind, or some of several subjects.
    """
    subjects = {kind_of(example.evidence)[0] for example in examples}
    if len(subjects) != 1:
        raise ConfigError(f"a calibration has one subject, got {sorted(subjects) or 'no findings'}")
    (subject,) = subjects
    formulas = {kind: _fit(subject, kind, examples, penalty) for kind in FEATURES[subject]}
    return VerdictCalibration(
        subject=subject,
        found=formulas["found"],
        missing=formulas["missing"],
        weights_sha256=weights_sha256,
        fitted_on=fitted_on,
    )


def _fit(subject: Subject, kind: Kind, examples: Sequence[Example], penalty: float) -> Logistic:
    features = FEATURES[subject][kind]
    chosen = [example for example in examples if kind_of(example.evidence)[1] == kind]
    if not chosen:
        raise ConfigError(f"there is no {kind} structure to fit the calibration on; give more cases")
    terms = np.array([_terms(features, example.evidence) for example in chosen])
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
    return Logistic(intercept=float(best[0]), weights=dict(zip(features, best[1:].tolist(), strict=True)))


def _terms(features: Mapping[str, Term], evidence: Mapping[str, float]) -> Float[np.ndarray, " t"]:
    return np.array([term(evidence[name]) for name, term in features.items()])


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
