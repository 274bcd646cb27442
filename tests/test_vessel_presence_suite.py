"""The suite that measures verdicts on vessels: what is there, what is right, and where pieces lie."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from vessel_presence_suite import WAYS, judged, pieces

from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume

GRID = Grid((40, 40, 40), np.diag([1.0, 1.0, 1.0, 1.0]))
TRUTH_NAMES = {142: "left pulmonary artery", 145: "left pulmonary vein"}


def truth(**boxes: slice) -> LabelMap:
    """Vessels of 20 × 20 voxels along S over the given rows; `thin` is not judged."""
    values = {"artery": 142, "vein": 145, "thin": 242}
    array = np.zeros(GRID.shape, dtype=np.uint8)
    for place, (name, rows) in enumerate(boxes.items()):
        array[place * 13 : place * 13 + 12, :20, rows] = values[name]
    return LabelMap(array, GRID, names=TRUTH_NAMES, scheme="nomina", ignored=frozenset({242}))


def answer(name: str, mask: np.ndarray, reference: LabelMap) -> dict[str, object]:
    volume_ml = mask.sum() / 1000
    found = LabelMap(np.where(mask, 1, 0).astype(np.uint8), GRID, names={1: name})
    result = Segmentation(found, (Verdict(name, "present", 0.8, "", volume_ml),))
    answers = list(judged(result, "phantom_1", "piece", reference))
    return {} if not answers else {"there": answers[0].is_there, "right": answers[0].is_right}


def test_a_mask_is_right_where_most_of_it_is_a_vessel_of_its_name() -> None:
    reference = truth(artery=slice(0, 20), vein=slice(0, 20))
    artery, vein = reference.mask("left pulmonary artery"), reference.mask("left pulmonary vein")
    none = np.zeros_like(artery)
    assert answer("pulmonary artery", artery, reference) == {"there": True, "right": True}
    assert answer("pulmonary artery", vein, reference) == {"there": True, "right": False}
    assert answer("pulmonary artery", none, reference) == {"there": True, "right": False}
    assert answer("right pulmonary artery", none, reference) == {"there": False, "right": True}
    assert answer("right pulmonary artery", artery, reference) == {"there": False, "right": False}
    everywhere = np.ones_like(artery)
    assert answer("pulmonary artery", everywhere, reference) == {"there": True, "right": False}


def test_thin_branches_are_not_judged_and_a_trace_of_a_vessel_asks_nothing() -> None:
    reference = truth(artery=slice(0, 20), thin=slice(0, 40))
    drawn = reference.mask("left pulmonary artery") | (reference.array == 242)
    assert answer("left pulmonary artery", drawn, reference)["right"]
    trace = truth(artery=slice(0, 4))  # 0.96 ml
    assert answer("left pulmonary artery", drawn, trace) == {}
    thin_alone = truth(thin=slice(0, 40))
    assert answer("left pulmonary artery", drawn, thin_alone) == {}
    assert answer("left pulmonary vein", np.zeros_like(drawn), thin_alone) == {"there": False, "right": True}
    assert answer("left pulmonary artery", reference.array == 242, reference) == {}


@pytest.mark.parametrize("seed", range(4))
def test_pieces_keep_scan_and_truth_in_place(seed: int) -> None:
    """A ball: brightness and label must have one middle in mm, whatever was cut, averaged or blurred."""
    places = GRID.to_world(np.argwhere(np.ones(GRID.shape))).reshape(*GRID.shape, 3)
    ball = np.linalg.norm(places - [22.0, 17.0, 20.0], axis=-1) < 7
    scan = Volume(np.where(ball, 3000, -1000).astype(np.int16), GRID, modality="CT")
    labels = LabelMap(np.where(ball, 142, 0).astype(np.uint8), GRID, names=TRUTH_NAMES, scheme="nomina")
    ways = set()
    for piece, part, reference in pieces(scan, labels, 5, seed):
        ways.add(piece.split(",")[0])
        bright, labelled = part.array > 1000, reference.array == 142
        assert part.grid.matches(reference.grid)
        middles = [part.grid.to_world(np.argwhere(mask)).mean(axis=0) for mask in (bright, labelled)]
        np.testing.assert_allclose(middles[0], middles[1], atol=0.6)
    assert ways <= set(WAYS)
    assert len(ways) > 1
