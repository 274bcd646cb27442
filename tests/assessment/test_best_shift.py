"""Renaming all levels by one number, chosen with the reference."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nomina.assessment.best_shift import best_shift
from nomina.assessment.evaluate import evaluate
from nomina.imaging.volume import LabelMap

SpiderMap = Callable[..., LabelMap]


@pytest.mark.parametrize("step", [-2, 0, 1, 3])
def test_a_spine_named_too_high_or_too_low_is_named_back(
    spine: np.ndarray, spider_map: SpiderMap, step: int
) -> None:
    is_level = (spine > 0) & (spine != 100)
    rank = spine % 100 + step
    named = np.where(is_level & (rank >= 1), spine + step, np.where(is_level, 0, spine))
    reference = spider_map(spine)
    names = tuple(reference.names.values())
    renamed, shift = best_shift(spider_map(named), reference, names)
    assert shift == -step
    lost = is_level & (rank < 1)
    np.testing.assert_array_equal(renamed.array, np.where(lost, 0, spine))


def test_the_canal_and_borders_stay_and_levels_beyond_the_names_are_lost(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    reference = spider_map(spine)
    named = np.where((spine > 0) & (spine != 100), spine + 1, spine)
    known = tuple(name for value, name in reference.names.items() if value % 100 <= 5)
    renamed, shift = best_shift(spider_map(named), reference, known)
    assert shift == -1
    scores = {score.structure: score.dice for score in evaluate(renamed, reference).structures}
    assert scores["T12 vertebra"] == scores["T12-L1 disc"] == 0
    assert {dice for name, dice in scores.items() if "T12" not in name} == {1.0}


def test_what_the_reference_ignores_has_no_say(spine: np.ndarray, spider_map: SpiderMap) -> None:
    upper = (spine != 100) & (spine % 100 >= 3)
    prediction, reference = spider_map(np.where(upper, spine + 1, spine)), spider_map(spine)
    names = tuple(reference.names.values())
    assert best_shift(prediction, reference, names)[1] == -1
    judged = replace(reference, ignored=frozenset(np.unique(spine[upper]).tolist()))
    assert best_shift(prediction, judged, names)[1] == 0


def test_of_equally_good_shifts_none_is_made(spine: np.ndarray, spider_map: SpiderMap) -> None:
    reference = spider_map(spine)
    empty, shift = best_shift(spider_map(np.zeros_like(spine)), reference, tuple(reference.names.values()))
    assert (shift, empty.array.any()) == (0, False)
