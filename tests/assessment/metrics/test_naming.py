from collections.abc import Callable

import numpy as np
import pytest

from nomina.assessment.metrics.naming import name_levels
from nomina.imaging.volume import LabelMap

SpiderMap = Callable[..., LabelMap]


def shifted_names(spine: np.ndarray, by: int) -> np.ndarray:
    is_level = (spine > 0) & (spine != 100)
    return np.where(is_level, spine + by, spine)


def test_the_right_names_are_all_right(spine: np.ndarray, spider_map: SpiderMap) -> None:
    scores = name_levels(spider_map(spine), spider_map(spine))
    assert scores.count("right") == len(scores.structures) == 12
    assert scores.all_levels_right is True


@pytest.mark.parametrize(("by", "outcome"), [(1, "one up"), (2, "other")])
def test_a_spine_named_too_high_is_counted_as_such(
    spine: np.ndarray, spider_map: SpiderMap, by: int, outcome: str
) -> None:
    scores = name_levels(spider_map(shifted_names(spine, by)), spider_map(spine))
    assert {s.outcome for s in scores.structures} == {outcome}
    assert scores.all_levels_right is False
    assert scores.structures[0].structure == "L5 vertebra"
    assert scores.structures[0].named == {1: "L4 vertebra", 2: "L3 vertebra"}[by]


def test_a_spine_named_too_low_is_one_down(spine: np.ndarray, spider_map: SpiderMap) -> None:
    scores = name_levels(spider_map(spine), spider_map(shifted_names(spine, 1)))
    assert {s.outcome for s in scores.structures} == {"one down"}


def test_a_vertebra_that_is_not_there_is_missed(spine: np.ndarray, spider_map: SpiderMap) -> None:
    scores = name_levels(spider_map(np.where(spine == 3, 0, spine)), spider_map(spine))
    assert scores.count("missed") == 1
    assert (scores.count("right"), len(scores.structures)) == (11, 12)
    assert scores.all_levels_right is False
    assert scores.no_level_wrong is True


def test_one_name_on_two_vertebrae_is_right_once_and_shifted_once(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    scores = name_levels(spider_map(np.where(spine == 4, 3, spine)), spider_map(spine))
    outcomes = {s.structure: s.outcome for s in scores.structures}
    assert outcomes["L3 vertebra"] == "right"
    assert outcomes["L2 vertebra"] == "one down"
    assert scores.count("right") == 11


def test_an_overlap_of_exactly_one_half_is_no_match(spine: np.ndarray, spider_map: SpiderMap) -> None:
    half = spine.copy()
    half[2:6][spine[2:6] == 2] = 0
    three_quarters = spine.copy()
    three_quarters[2:4][spine[2:4] == 2] = 0
    assert name_levels(spider_map(half), spider_map(spine)).count("missed") == 1
    assert name_levels(spider_map(three_quarters), spider_map(spine)).count("missed") == 0


def test_a_vertebra_named_as_a_disc_is_other(spine: np.ndarray, spider_map: SpiderMap) -> None:
    scores = name_levels(spider_map(np.where(spine == 2, 207, spine)), spider_map(spine))
    assert scores.count("other") == 1


def test_ignored_values_are_neither_judged_nor_candidates(spine: np.ndarray, spider_map: SpiderMap) -> None:
    cut = np.where(spine == 6, 106, spine)
    assert len(name_levels(spider_map(spine), spider_map(cut)).structures) == 11
    assert name_levels(spider_map(cut), spider_map(spine)).count("missed") == 1


def test_without_vertebrae_and_discs_there_is_nothing_to_name(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    scores = name_levels(spider_map(spine), spider_map(np.where(spine == 100, 100, 0)))
    assert scores.all_levels_right is None
    assert scores.no_level_wrong is None
    assert scores.structures == ()
