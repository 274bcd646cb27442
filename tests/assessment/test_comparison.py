import math
from dataclasses import replace

import numpy as np
import pytest

from nomina.assessment.comparison import compare
from nomina.assessment.metrics.label_free import LabelFreeScores
from nomina.assessment.metrics.naming import NamingScores
from nomina.assessment.scores import CaseScores, StructureScore
from nomina.assessment.summary import summarise
from nomina.assessment.tree_scores import TreeScore
from nomina.errors import ConfigError


def case_scores(case: str, dice: dict[str, float], policy: str = "penalise") -> CaseScores:
    """A case with the given Dice; a Dice of 0 stands for a structure that the prediction lacks."""
    structures = tuple(
        StructureScore(name, "both", value, 1.0, 2.0, 0.5, 0.9, 1.0, 3.0, 3.0)
        if value
        else StructureScore(name, "reference", 0.0, math.inf, math.inf, math.inf, 0.0, 0.0, 0.0, 3.0)
        for name, value in dice.items()
    )
    return CaseScores(
        structures, NamingScores(()), LabelFreeScores(()), 100.0, 200.0, policy=policy, max_level=8, case=case
    )


def cases_of(dice: np.ndarray, policy: str = "penalise") -> list[CaseScores]:
    return [case_scores(f"{n}_t2", {"L5 vertebra": float(d)}, policy) for n, d in enumerate(dice)]


def test_the_difference_is_that_of_the_two_means() -> None:
    first = [
        case_scores("1", {"L5 vertebra": 0.9, "L4 vertebra": 0.7}),
        case_scores("2", {"L5 vertebra": 0.8}),
    ]
    second = [
        case_scores("2", {"L5 vertebra": 0.6}),
        case_scores("1", {"L5 vertebra": 0.9, "L4 vertebra": 0.0}),
    ]
    found = compare(first, second)
    for kind in ("class_wise", "case_wise"):
        for metric in ("dice", "hd95_mm"):
            means = [getattr(summarise(cases), kind)[metric].mean for cases in (first, second)]
            assert getattr(found, kind)[metric].mean == pytest.approx(means[0] - means[1])
    assert found.class_wise["dice"].mean == pytest.approx((0.85 + 0.7) / 2 - (0.75 + 0.0) / 2)
    assert found.class_wise["hd95_mm"].mean == pytest.approx(1.0 - (1.0 + 100.0) / 2)


def test_what_patients_share_does_not_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    dice = rng.uniform(0.3, 0.9, 30)
    found = compare(cases_of(dice + 0.02), cases_of(dice)).case_wise["dice"]
    assert found.mean == pytest.approx(0.02)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.02, 0.02))
    alone = summarise(cases_of(dice)).case_wise["dice"].interval
    assert alone.high - alone.low > 0.1


def test_the_interval_of_a_noisy_difference_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(1)
    dice = rng.uniform(0.3, 0.6, 200)
    gain = rng.normal(0.05, 0.04, 200)
    interval = compare(cases_of(dice + gain), cases_of(dice)).case_wise["dice"].interval
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * gain.std() / math.sqrt(200), rel=0.1)


def test_equal_predictions_differ_by_nothing() -> None:
    cases = cases_of(np.array([0.5, 0.7, 0.9]))
    found = compare(cases, cases)
    assert all(e.mean == e.interval.low == e.interval.high == 0.0 for e in found.class_wise.values())
    assert (found.num_cases, found.num_patients) == (3, 3)


def test_other_cases_or_policies_are_refused_by_name() -> None:
    cases = cases_of(np.array([0.5, 0.7]))
    with pytest.raises(ConfigError, match="only one has 1_t2"):
        compare(cases, cases[:1])
    with pytest.raises(ConfigError, match="different policies"):
        compare(cases, cases_of(np.array([0.5, 0.7]), "skip"))
    with pytest.raises(ConfigError, match="only one has any"):
        compare([], [])


def with_trees(case: CaseScores, dice: float, swap_rate: float) -> CaseScores:
    return replace(case, trees=(TreeScore("artery", dice, 0.5, 0.5, 0.5, 0.5, 0.5, swap_rate, 0),))


def test_trees_are_paired_by_case_and_a_case_without_a_tree_counts_in_nothing() -> None:
    cases = cases_of(np.array([0.5, 0.7, 0.9]))
    first = [with_trees(cases[0], 0.8, 0.1), with_trees(cases[1], 0.6, 0.3), cases[2]]
    second = [cases[2], with_trees(cases[1], 0.5, 0.3), with_trees(cases[0], 0.5, 0.0)]
    assert summarise(first).trees["artery"]["dice"].mean == pytest.approx(0.7)
    found = compare(first, second).trees
    assert list(found) == ["artery"]
    dice, swap_rate = found["artery"]["dice"], found["artery"]["swap_rate"]
    assert (dice.mean, swap_rate.mean) == (pytest.approx(0.2), pytest.approx(0.05))
    # A resample holds patient 1, patient 2, or both: never the first of one with the second of another.
    assert (dice.interval.low, dice.interval.high) == (pytest.approx(0.1), pytest.approx(0.3))
    assert compare(cases, cases).trees == {}
