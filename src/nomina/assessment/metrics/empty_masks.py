"""What an empty mask is worth, and every average of scores: the one place where `nan` and `inf` are settled.

A structure may be missing from the reference, from the prediction or from both. Missing from both, it is not
part of any average. Missing from one, its Dice and NSD are 0, its distances infinite, and a policy decides:

    penalise   Dice and NSD 0, distances the diagonal of the image
    finite     Dice and NSD 0, infinite distances left out
    skip       left out altogether: only structures that both maps have are averaged

Whatever is left out is counted, and the counts travel with the mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import numpy as np
from jaxtyping import Float

from nomina.errors import ConfigError

EmptyPolicy = Literal["penalise", "finite", "skip"]
"""How a structure that only one of the two maps has enters an average."""

FoundIn = Literal["both", "prediction", "reference", "neither"]
"""Which of the two maps has at least one voxel of a structure."""


@dataclass(frozen=True)
class Average:
    """A mean together with what it was taken over."""

    mean: float
    """`nan` when nothing was left to average."""
    num_averaged: int
    """Values in the mean."""
    num_one_empty: int
    """Values of structures that only one of the two maps has, in the mean or not."""
    num_left_out: int
    """Values that the policy left out (structures missing from both maps are not counted)."""


def check_policy(policy: str) -> EmptyPolicy:
    """The policy of that name.

    Raises:
        ConfigError: The name is unknown.
    """
    known: tuple[EmptyPolicy, ...] = get_args(EmptyPolicy)
    for name in known:
        if name == policy:
            return name
    raise ConfigError(f"unknown empty-mask policy {policy!r}; choose one of {', '.join(known)}")


def found_in(num_prediction: int, num_reference: int) -> FoundIn:
    """Which map has the structure, from its voxel counts."""
    if num_prediction:
        return "both" if num_reference else "prediction"
    return "reference" if num_reference else "neither"


def settle(value: float, presence: FoundIn, *, worst: float, policy: EmptyPolicy) -> float:
    """The value with which one structure of one case enters an average; `nan` where it is left out.

    Args:
        value: The metric; anything when a mask is empty.
        presence: Which map has the structure.
        worst: Worst possible value: 0 for Dice and NSD, the image diagonal for distances.
        policy: What to do when exactly one map has it.

    Raises:
        ValueError: Both maps have the structure and the value is not finite.
    """
    if presence == "both":
        if not math.isfinite(value):
            raise ValueError(f"a structure that both maps have must have a finite score, got {value}")
        return value
    if presence == "neither":
        return math.nan
    match policy:
        case "penalise":
            return worst
        case "finite":
            return value if math.isfinite(value) else math.nan
        case "skip":
            return math.nan
        case _:
            assert_never(policy)


def average(settled: Sequence[float], presence: Sequence[FoundIn]) -> Average:
    """Mean of values that went through `settle`, with the counts.

    Args:
        settled: One value per structure and case; `nan` is left out.
        presence: Which map has the structure, in the same order.
    """
    kept = [value for value in settled if not math.isnan(value)]
    num_known = sum(p != "neither" for p in presence)
    return Average(
        mean=mean_of(kept),
        num_averaged=len(kept),
        num_one_empty=sum(p in ("prediction", "reference") for p in presence),
        num_left_out=num_known - len(kept),
    )


def mean_of(values: Sequence[float]) -> float:
    """Mean of known values; `nan` when there are none.

    Raises:
        ValueError: A value is `nan`: decide first what it is worth.
    """
    if any(math.isnan(value) for value in values):
        raise ValueError("nan cannot be averaged; settle it under a policy first")
    return math.fsum(values) / len(values) if values else math.nan


def mean_over_cases(
    settled: Float[np.ndarray, "cases structures"], weights: Float[np.ndarray, "b cases"]
) -> Float[np.ndarray, "b structures"]:
    """Weighted mean of each structure over cases; `nan` entries are left out, an empty column gives `nan`."""
    kept = np.isfinite(settled)
    return _ratio(weights @ np.where(kept, settled, 0.0), weights @ kept.astype(np.float64))


def class_wise(
    settled: Float[np.ndarray, "cases structures"], weights: Float[np.ndarray, "b cases"]
) -> Float[np.ndarray, " b"]:
    """Mean over structures of each structure's mean over cases: a rare structure counts as much as any."""
    means = mean_over_cases(settled, weights)
    kept = np.isfinite(means)
    return _ratio(np.where(kept, means, 0.0).sum(axis=1), kept.sum(axis=1).astype(np.float64))


def case_wise(
    settled: Float[np.ndarray, "cases structures"], weights: Float[np.ndarray, "b cases"]
) -> Float[np.ndarray, " b"]:
    """Mean over cases of each case's mean over its structures: every scan counts the same."""
    kept = np.isfinite(settled)
    means = _ratio(np.where(kept, settled, 0.0).sum(axis=1), kept.sum(axis=1).astype(np.float64))
    return mean_over_cases(means[:, None], weights)[:, 0]


def _ratio(
    numerator: Float[np.ndarray, "..."], denominator: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
