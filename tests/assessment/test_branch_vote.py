from dataclasses import replace

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme, partly_visible
from nomina.assessment.branch_vote import vote_on_branches
from nomina.errors import SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

LEFT_ARTERY, RIGHT_ARTERY, LEFT_VEIN, RIGHT_VEIN = 142, 143, 145, 146


def label_map(array: np.ndarray, scheme: str = "nomina") -> LabelMap:
    names = load_scheme(scheme).labels
    return LabelMap(array, Grid(array.shape, np.diag([0.5, 0.5, 0.5, 1.0])), names=names, scheme=scheme)


@pytest.fixture
def vessels() -> np.ndarray:
    """A left artery with a ring of left vein in it, and a right vein apart; each 4 × 4 × 32 voxels."""
    array = np.zeros((40, 20, 40), dtype=np.uint8)
    array[4:8, 8:12, 4:36] = LEFT_ARTERY
    array[4:8, 8:12, 20:26] = LEFT_VEIN
    array[30:34, 8:12, 4:36] = RIGHT_VEIN
    return array


def test_a_branch_gets_one_class_and_keeps_its_side(vessels: np.ndarray) -> None:
    result = vote_on_branches(label_map(vessels))
    expected = np.where(vessels == LEFT_VEIN, LEFT_ARTERY, vessels)
    np.testing.assert_array_equal(result.label_map.array, expected)
    assert result.num_changed_branches == 1
    assert result.num_changed_voxels == 4 * 4 * 6
    assert result.changed_length_mm == pytest.approx(6 * 0.5, abs=0.5)
    assert result.changed_ml == {"left pulmonary vein": pytest.approx(4 * 4 * 6 * 0.125 / 1000)}
    assert vessels[4, 8, 22] == LEFT_VEIN


def test_whole_branches_and_everything_else_stay(vessels: np.ndarray) -> None:
    vessels[vessels == LEFT_VEIN] = LEFT_ARTERY
    vessels[20, 2, 2] = 148
    result = vote_on_branches(label_map(vessels))
    np.testing.assert_array_equal(result.label_map.array, vessels)
    assert (result.num_changed_voxels, result.changed_ml) == (0, {})


def test_what_is_only_partly_visible_stays_so(vessels: np.ndarray) -> None:
    given = label_map(vessels)
    given = replace(given, ignored=frozenset({LEFT_ARTERY, RIGHT_VEIN}))
    result = vote_on_branches(given)
    assert partly_visible(result.label_map) == partly_visible(given)
    assert result.as_plain()["partial"] == [
        {"label": LEFT_ARTERY, "name": "left pulmonary artery"},
        {"label": RIGHT_VEIN, "name": "right pulmonary vein"},
    ]


def test_one_tree_alone_is_nothing_to_vote_between(vessels: np.ndarray) -> None:
    arteries = np.where(vessels == LEFT_ARTERY, vessels, 0).astype(np.uint8)
    with pytest.raises(SchemeError, match="holds no pulmonary vein"):
        vote_on_branches(label_map(arteries))


def test_a_scheme_without_the_other_class_is_refused_with_the_remedy(vessels: np.ndarray) -> None:
    names = {
        LEFT_ARTERY: "left pulmonary artery",
        LEFT_VEIN: "pulmonary vein",
        RIGHT_VEIN: "right pulmonary vein",
    }
    own = LabelMap(vessels, Grid(vessels.shape, np.eye(4)), names=names, scheme=None)
    with pytest.raises(SchemeError, match=r"becomes pulmonary artery.*labels convert"):
        vote_on_branches(own)
