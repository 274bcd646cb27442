import math

import numpy as np
import pytest

from nomina.assessment.metrics.empty_masks import Average, EmptyPolicy
from nomina.assessment.metrics.label_free import LabelFreeScores, LabelFreeStructure
from nomina.assessment.metrics.naming import NamedStructure, NamingScores
from nomina.assessment.scores import CaseScores, StructureScore
from nomina.assessment.statistics import bootstrap_interval
from nomina.assessment.summary import summarise
from nomina.errors import ConfigError


def case_scores(
    case: str, dice: dict[str, float], num_right: int = 0, *, policy: EmptyPolicy = "penalise"
) -> CaseScores:
    """A case with the given Dice; a Dice of 0 stands for a structure that the prediction lacks."""
    structures = tuple(
        StructureScore(name, "both", value, 1.0, 2.0, 0.5, 0.9, 1.0, 3.0, 3.0)
        if value
        else StructureScore(name, "reference", 0.0, math.inf, math.inf, math.inf, 0.0, 0.0, 0.0, 3.0)
        for name, value in dice.items()
    )
    named = tuple(
        NamedStructure("L5 vertebra", None, 0.0, "right" if n < num_right else "missed") for n in range(10)
    )
    pairs = tuple(
        LabelFreeStructure(name, "vertebrae", float(value), 0.5) for name, value in dice.items() if value
    )
    return CaseScores(
        structures,
        NamingScores(named),
        LabelFreeScores(pairs),
        100.0,
        200.0,
        policy=policy,
        max_level=8,
        case=case,
    )


def test_structures_come_in_the_order_of_the_spine_whatever_the_cases_hold() -> None:
    result = summarise(
        [
            case_scores("1", {"L5 vertebra": 0.9, "spinal canal": 0.9, "L5-S1 disc": 0.9}),
            case_scores("2", {"T10 vertebra": 0.9, "L1 vertebra": 0.9}),
        ]
    )
    names = [structure.structure for structure in result.structures]
    assert names == ["L5 vertebra", "L1 vertebra", "T10 vertebra", "L5-S1 disc", "spinal canal"]


def test_a_structure_is_averaged_over_the_cases_that_have_it_and_no_others() -> None:
    cases = [
        case_scores("1", {"L5 vertebra": 0.8, "L4 vertebra": 0.6}),
        case_scores("2", {"L5 vertebra": 0.4}),
        case_scores("3", {"L4 vertebra": 0.0}),
    ]
    result = summarise(cases)
    dice = {structure.structure: structure.averages["dice"] for structure in result.structures}
    assert dice["L5 vertebra"] == Average(pytest.approx(0.6), num_averaged=2, num_one_empty=0, num_left_out=0)
    assert dice["L4 vertebra"] == Average(pytest.approx(0.3), num_averaged=2, num_one_empty=1, num_left_out=0)
    assert result.class_wise["dice"].mean == pytest.approx((0.6 + 0.3) / 2)
    assert result.case_wise["dice"].mean == pytest.approx((0.7 + 0.4 + 0.0) / 3)


def test_each_policy_gives_its_own_class_wise_means() -> None:
    result = summarise([case_scores("1", {"L5 vertebra": 0.8}), case_scores("2", {"L5 vertebra": 0.0})])
    means = result.class_wise_by_policy
    assert [means[p]["dice"] for p in ("penalise", "finite", "skip")] == pytest.approx([0.4, 0.4, 0.8])
    assert [means[p]["hd95_mm"] for p in ("penalise", "finite", "skip")] == pytest.approx([50.5, 1.0, 1.0])
    assert means["penalise"]["hd95_px"] == pytest.approx(101.0)
    assert result.class_wise["dice"].mean == means["penalise"]["dice"]


def test_intervals_weigh_patients_as_often_as_they_are_drawn() -> None:
    right = np.array([10, 9, 2, 7, 10, 5, 1, 8, 10, 6, 3, 10])
    cases = [case_scores(f"{n}_t2", {"L5 vertebra": r / 10}, int(r)) for n, r in enumerate(right)]
    result = summarise(cases, seed=3)
    expected = bootstrap_interval(
        lambda weights: weights @ (right / 10) / 12, [str(n) for n in range(12)], seed=3
    )
    for estimate in (
        result.naming.right,
        result.class_wise["dice"],
        result.case_wise["dice"],
        result.label_free["vertebrae"].dice,
    ):
        assert estimate.mean == pytest.approx(right.mean() / 10)
        assert (estimate.interval.low, estimate.interval.high) == pytest.approx((expected.low, expected.high))


def test_a_group_that_no_case_has_is_nan_and_spoils_no_other() -> None:
    result = summarise([case_scores("1", {"L5 vertebra": 0.8})])
    assert math.isnan(result.label_free["canal"].dice.mean)
    assert result.label_free["vertebrae"].dice.mean == 0.8


def test_a_mapping_of_patients_replaces_the_names_of_cases() -> None:
    cases = [case_scores(name, {"L5 vertebra": 0.8}) for name in ("a_1", "a_2")]
    assert summarise(cases).num_patients == 1
    assert summarise(cases, patients={"a_1": "x", "a_2": "y"}).num_patients == 2


def test_nothing_to_average_and_mixed_policies_are_refused() -> None:
    with pytest.raises(ConfigError, match="no case"):
        summarise([])
    with pytest.raises(ConfigError, match="penalise, skip"):
        summarise([case_scores("1", {}), case_scores("2", {}, policy="skip")])
