import math

import numpy as np
import pytest

from nomina.assessment.metrics.empty_masks import (
    EmptyPolicy,
    average,
    case_wise,
    check_policy,
    class_wise,
    found_in,
    mean_of,
    settle,
)
from nomina.errors import ConfigError

DISTANCES = [2.0, math.inf, math.inf, math.nan]
PRESENCE = [found_in(5, 4), found_in(0, 4), found_in(5, 0), found_in(0, 0)]


@pytest.mark.parametrize(
    ("policy", "mean", "num_averaged", "num_left_out"),
    [("penalise", (2 + 50 + 50) / 3, 3, 0), ("finite", 2.0, 1, 2), ("skip", 2.0, 1, 2)],
)
def test_a_distance_of_an_empty_mask_is_the_diagonal_or_left_out(
    policy: EmptyPolicy, mean: float, num_averaged: int, num_left_out: int
) -> None:
    settled = [settle(v, p, worst=50.0, policy=policy) for v, p in zip(DISTANCES, PRESENCE, strict=True)]
    result = average(settled, PRESENCE)
    assert result.mean == pytest.approx(mean)
    assert (result.num_averaged, result.num_one_empty, result.num_left_out) == (num_averaged, 2, num_left_out)


@pytest.mark.parametrize(("policy", "mean"), [("penalise", 0.3), ("finite", 0.3), ("skip", 0.9)])
def test_a_dice_of_an_empty_mask_is_zero_unless_skipped(policy: EmptyPolicy, mean: float) -> None:
    dice = [0.9, 0.0, 0.0, math.nan]
    settled = [settle(v, p, worst=0.0, policy=policy) for v, p in zip(dice, PRESENCE, strict=True)]
    assert average(settled, PRESENCE).mean == pytest.approx(mean)


def test_a_dice_of_zero_between_two_masks_that_are_there_is_never_skipped() -> None:
    assert settle(0.0, "both", worst=0.0, policy="skip") == 0.0


def test_a_score_that_must_exist_and_does_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="finite"):
        settle(math.nan, "both", worst=0.0, policy="penalise")


def test_nan_is_never_averaged_silently() -> None:
    with pytest.raises(ValueError, match="settle"):
        mean_of([1.0, math.nan])
    assert math.isnan(mean_of([]))


def test_class_wise_and_case_wise_means_weigh_rare_structures_differently() -> None:
    settled = np.array([[1.0, math.nan], [0.0, 0.8]])
    once = np.ones((1, 2))
    assert class_wise(settled, once)[0] == pytest.approx((0.5 + 0.8) / 2)
    assert case_wise(settled, once)[0] == pytest.approx((1.0 + 0.4) / 2)


def test_weights_repeat_cases() -> None:
    settled = np.array([[1.0, math.nan], [0.0, 0.8]])
    weights = np.array([[2.0, 1.0], [1.0, 0.0]])
    assert class_wise(settled, weights) == pytest.approx([(2 / 3 + 0.8) / 2, 1.0])
    assert case_wise(settled, weights) == pytest.approx([(1.0 + 1.0 + 0.4) / 3, 1.0])


def test_an_unknown_policy_is_named_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'ignore'.*penalise, finite, skip"):
        check_policy("ignore")
    assert check_policy("skip") == "skip"
