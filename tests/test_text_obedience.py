"""The suite `benchmarks/text_obedience.py`: phrases mean what they should, and a wrong mask is noticed."""

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.anatomy.resolve import resolve_targets
from nomina.anatomy.schemes import load_scheme
from nomina.anatomy.structures import structure
from nomina.assessment.metrics.overlap import count_overlaps
from nomina.errors import PromptError
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LEVELS = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1")
KNOWN = (
    *(f"{level} vertebra" for level in LEVELS[:-1]),
    *(f"{upper}-{lower} disc" for upper, lower in pairwise(LEVELS)),
    "spinal canal",
)
SHAPE = (2, 2, 17)


@pytest.fixture(scope="module")
def suite() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    import text_obedience

    yield text_obedience
    sys.path.remove(str(BENCHMARKS))


def seen(suite: Any, predicted: dict[str, str], absent: tuple[str, ...] = ()) -> Any:
    """One row of voxels for each structure; `predicted` says under which other name it is found."""
    scheme = load_scheme("spider")
    value_of = {name: value for value, name in scheme.labels.items()}
    reference, found = np.zeros(SHAPE, dtype=np.uint8), np.zeros(SHAPE, dtype=np.uint8)
    for row, name in enumerate(KNOWN):
        reference[:, :, row] = 0 if name in absent else value_of[name]
        shown = predicted.get(name, "" if name in absent else name)
        found[:, :, row] = structure(shown).label if shown else 0
    grid = Grid(SHAPE, np.eye(4))
    truth = LabelMap(reference, grid, scheme.names_in(value_of.values()), "spider", scheme.ignored)
    label_map = LabelMap(found, grid, {structure(name).label: name for name in KNOWN}, "nomina")
    verdicts = tuple(Verdict(name, "present", 1.0, "") for name in KNOWN)
    there = frozenset(KNOWN) - frozenset(absent)
    return suite.Seen(
        "7_t2",
        "whole",
        Segmentation(label_map, verdicts),
        KNOWN,
        count_overlaps(found, reference),
        truth,
        there,
        frozenset(absent),
    )


def test_every_phrasing_names_its_structure(suite: Any) -> None:
    for name in KNOWN:
        for phrase in suite.phrasings(name):
            targets = resolve_targets([phrase], within=KNOWN)
            assert [(target.structure.name, target.at) for target in targets] == [(name, ())], phrase


def test_no_negation_names_what_it_denies(suite: Any) -> None:
    for name in KNOWN:
        for phrase in suite.negations(name):
            try:
                targets = resolve_targets([phrase], within=KNOWN)
            except PromptError:
                continue
            assert name not in [target.structure.name for target in targets], phrase


def test_what_no_model_of_the_spine_can_give_is_refused(suite: Any) -> None:
    answers = list(suite.refusals(KNOWN))
    assert [answer.prompt for answer in answers if not answer.is_obeyed] == []
    assert len(answers) >= 140


def test_a_perfect_mask_obeys_every_word(suite: Any) -> None:
    answers = list(suite.judged(seen(suite, {}, absent=("T10 vertebra",))))
    assert {answer.kind for answer in answers} == {"swap", "paraphrase", "negation", "absent"}
    assert all(answer.is_obeyed and not answer.is_false_mask for answer in answers)
    assert suite.below_the_bar(answers) == []


def test_two_names_that_are_swapped_are_noticed(suite: Any) -> None:
    wrong = {"L4 vertebra": "L3 vertebra", "L3 vertebra": "L4 vertebra"}
    answers = list(suite.judged(seen(suite, wrong)))
    disobeyed = [answer for answer in answers if not answer.is_obeyed]
    assert {answer.structure for answer in disobeyed if answer.kind == "paraphrase"} == set(wrong)
    assert all(answer.is_same for answer in answers if answer.kind == "paraphrase")
    # Both neighbours are somewhere, but neither under its own name.
    assert "L4 vertebra; L3 vertebra" in [answer.prompt for answer in disobeyed if answer.kind == "swap"]
    assert any("swap" in fault for fault in suite.below_the_bar(answers))
    # "Everything but L4" leaves out the mask called L4 and gives L4 itself.
    assert [a for a in disobeyed if a.kind == "negation" and a.structure == "L4 vertebra"]


def test_a_mask_of_what_is_not_there_is_a_false_one(suite: Any) -> None:
    wrong = {"T11 vertebra": "T10 vertebra"}
    answers = list(suite.judged(seen(suite, wrong, absent=("T10 vertebra",))))
    absent = [answer for answer in answers if answer.kind == "absent"]
    assert absent
    assert all(answer.is_false_mask and not answer.is_obeyed for answer in absent)
    assert any("absent" in fault for fault in suite.below_the_bar(answers))


def test_the_interval_of_a_perfect_share_is_no_point(suite: Any) -> None:
    answers = [a for a in suite.judged(seen(suite, {})) if a.kind == "swap"]
    low, high = suite.interval(answers)
    assert 0.9 < low < 0.99
    assert high == 1
