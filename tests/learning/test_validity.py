"""What is known of a class at a voxel follows from label, half of the chest and what was annotated."""

import numpy as np
import pytest

from nomina.language.vessel_prompts import SIDED_VESSELS, VESSELS
from nomina.learning.prepared import CHEST_STRUCTURES
from nomina.learning.validity import Side, answer_table, answers

THERE, ABSENT, UNKNOWN = 1, 0, -1
WHOLE = ("pulmonary artery", "pulmonary vein")
MIDDLE, LEFT, RIGHT = 0, 1, 2


def known(name: str, label: str | None, half: int, annotated: tuple[str, ...]) -> int:
    table = answer_table([name], CHEST_STRUCTURES, annotated)
    value = 0 if label is None else CHEST_STRUCTURES.index(label) + 1
    return int(table[value, half, 0])


@pytest.mark.parametrize(
    ("name", "label", "half", "answer"),
    [
        ("pulmonary artery", "pulmonary artery", MIDDLE, THERE),
        ("pulmonary artery", "left pulmonary artery", LEFT, THERE),
        ("pulmonary artery", "pulmonary trunk", MIDDLE, THERE),
        ("pulmonary artery", "pulmonary vein", LEFT, ABSENT),
        ("pulmonary vein", "left atrium", MIDDLE, ABSENT),
        ("left pulmonary artery", "pulmonary artery", LEFT, THERE),
        ("left pulmonary artery", "pulmonary artery", RIGHT, ABSENT),
        ("left pulmonary artery", "pulmonary artery", MIDDLE, UNKNOWN),
        ("left pulmonary artery", "right pulmonary artery", RIGHT, ABSENT),
        ("left pulmonary artery", "pulmonary trunk", LEFT, UNKNOWN),
        ("left pulmonary vein", "pulmonary trunk", LEFT, ABSENT),
    ],
)
def test_a_label_answers_for_itself_its_whole_and_its_sides(
    name: str, label: str, half: int, answer: int
) -> None:
    assert known(name, label, half, WHOLE) == answer


@pytest.mark.parametrize(
    ("name", "annotated", "by_half"),
    [
        ("pulmonary vein", WHOLE, (ABSENT, ABSENT, ABSENT)),
        ("left pulmonary vein", WHOLE, (ABSENT, ABSENT, ABSENT)),
        ("pulmonary vein", ("pulmonary artery",), (UNKNOWN, UNKNOWN, UNKNOWN)),
        ("pulmonary artery", ("left pulmonary artery",), (UNKNOWN, ABSENT, UNKNOWN)),
        ("pulmonary artery", ("left pulmonary artery", "right pulmonary artery"), (ABSENT, ABSENT, ABSENT)),
        ("right pulmonary artery", ("left pulmonary artery",), (UNKNOWN, UNKNOWN, UNKNOWN)),
    ],
)
def test_background_says_absent_only_where_somebody_looked(
    name: str, annotated: tuple[str, ...], by_half: tuple[int, int, int]
) -> None:
    assert tuple(known(name, None, half, annotated) for half in (MIDDLE, LEFT, RIGHT)) == by_half


def test_ignored_voxels_are_unknown_to_every_class() -> None:
    table = answer_table(SIDED_VESSELS, CHEST_STRUCTURES, WHOLE)
    assert (table[255] == UNKNOWN).all()
    assert (table[len(CHEST_STRUCTURES) + 1 :] == UNKNOWN).all()


def test_a_block_gets_one_map_per_class() -> None:
    table = answer_table(VESSELS, CHEST_STRUCTURES, ("left pulmonary artery",))
    artery = CHEST_STRUCTURES.index("left pulmonary artery") + 1
    labels = np.array([[[artery, 0, 0, 255]]], dtype=np.uint8)
    halves = np.array([[[LEFT, LEFT, RIGHT, LEFT]]], dtype=np.uint8)
    found = answers(table, labels, halves)
    assert found.shape == (2, 1, 1, 4)
    assert found[0].ravel().tolist() == [THERE, ABSENT, UNKNOWN, UNKNOWN]
    assert found[1].ravel().tolist() == [ABSENT, UNKNOWN, UNKNOWN, UNKNOWN]


def tables(annotated: tuple[str, ...], hidden: Side | None) -> np.ndarray:
    return answer_table([*VESSELS, *SIDED_VESSELS], CHEST_STRUCTURES, annotated, hidden=hidden)


@pytest.mark.parametrize("annotated", [WHOLE, SIDED_VESSELS, (*SIDED_VESSELS, "pulmonary trunk")])
def test_a_hidden_side_is_as_if_nobody_had_drawn_it(annotated: tuple[str, ...]) -> None:
    found = tables(annotated, "right")
    left_alone = tables(("left pulmonary artery", "left pulmonary vein"), None)
    background = left_alone[0]
    np.testing.assert_array_equal(found[0], background)
    for name in ("right pulmonary artery", "right pulmonary vein"):
        np.testing.assert_array_equal(found[CHEST_STRUCTURES.index(name) + 1], background)
    for name in ("pulmonary artery", "pulmonary vein"):
        value = CHEST_STRUCTURES.index(name) + 1
        np.testing.assert_array_equal(found[value, RIGHT], background[RIGHT])
        np.testing.assert_array_equal(found[value, [MIDDLE, LEFT]], left_alone[value, [MIDDLE, LEFT]])
    for name in ("left pulmonary artery", "left pulmonary vein", "pulmonary trunk", "left atrium"):
        value = CHEST_STRUCTURES.index(name) + 1
        np.testing.assert_array_equal(found[value], left_alone[value])
