"""Levels by what a user knows, in the segmenter: masks stay, names and verdicts follow the anchors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.assessment.level_anchors import parse_anchor
from nomina.errors import PromptError
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import Volume
from nomina.inference import slices as slices_module
from nomina.inference.anchored import with_anchors
from nomina.inference.levels import LevelNaming
from nomina.inference.native_grid import ClassMap
from nomina.inference.segmenter import Segmenter

KNOWN = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")
"""As the small checkpoint of `conftest.py`."""
SHAPE = (6, 24, 44)
GRID = Grid(SHAPE, np.array([[4.0, 0, 0, -12], [0, 3.0, 0, 5], [0, 0, 3.0, -40], [0, 0, 0, 1]]))


def two_levels() -> np.ndarray:
    """Disc, vertebra, disc, vertebra from row 4 on, a canal behind: 36 mm a level."""
    classes = np.zeros(SHAPE, dtype=np.uint8)
    for level, row in ((0, 4), (1, 16)):
        classes[:, 10:20, row : row + 3] = KNOWN.index(("L5-S1 disc", "L4-L5 disc")[level]) + 1
        classes[:, 10:20, row + 3 : row + 12] = KNOWN.index(("L5 vertebra", "L4 vertebra")[level]) + 1
    classes[:, 5:8] = KNOWN.index("spinal canal") + 1
    return classes


@pytest.fixture
def segment(small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Segmentation]:
    """A scan in which the network finds `two_levels`, whatever its weights; anchors or none."""
    classes = ClassMap(two_levels(), GRID, np.full(SHAPE, 240, dtype=np.uint8))
    monkeypatch.setattr(slices_module, "winning_classes", lambda *_: classes)
    segmenter = Segmenter.load(small_checkpoint, device="cpu")
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    volume = Volume(noise, GRID, modality="MR")

    def call(prompts: list[str] | None, *anchors: str) -> Segmentation:
        return segmenter.anchored(volume, prompts, anchors) if anchors else segmenter(volume, prompts)

    return call


def test_names_move_and_masks_stay() -> None:
    naming = LevelNaming(two_levels(), 0.4)
    found = with_anchors(naming, GRID, KNOWN, [parse_anchor("lowest disc is L4/5")])
    new = found.structures[len(KNOWN) :]
    assert set(new) == {"L3 vertebra", "L3-L4 disc"}
    names = np.array(["", *found.structures])
    before, after = np.array(["", *KNOWN])[naming.classes], names[found.naming.classes]
    moved = {
        "L5 vertebra": "L4 vertebra", "L4 vertebra": "L3 vertebra", "spinal canal": "spinal canal",
        "L5-S1 disc": "L4-L5 disc", "L4-L5 disc": "L3-L4 disc", "": "",
    }  # fmt: skip
    for old, name in moved.items():
        np.testing.assert_array_equal(after == name, before == old)
    assert found.naming.agreement == 1
    assert found.naming.levels["L4-L5 disc"].is_sure
    assert "'lowest disc is L4/5'" in found.naming.reason


def test_everything_has_the_names_that_the_anchor_gives(segment: Callable[..., Segmentation]) -> None:
    plain, result = segment(None), segment(None, "lowest disc is L6/S1")
    mask = result.label_map.mask
    np.testing.assert_array_equal(mask("L6 vertebra"), plain.label_map.mask("L5 vertebra"))
    np.testing.assert_array_equal(mask("L5 vertebra"), plain.label_map.mask("L4 vertebra"))
    np.testing.assert_array_equal(mask("L5-L6 disc"), plain.label_map.mask("L4-L5 disc"))
    np.testing.assert_array_equal(mask("spinal canal"), plain.label_map.mask("spinal canal"))
    of = {verdict.structure: verdict for verdict in result.verdicts}
    assert of["L5 vertebra"].volume_ml > 0
    assert (of["L4 vertebra"].volume_ml, of["L4 vertebra"].presence) == (0, "outside")
    # The network saw an L4, but it meant the level that is L5 now.
    assert of["L4 vertebra"].score == 1
    assert of["L6 vertebra"].presence == "present"
    assert result.provenance["anchors"] == ["lowest disc is L6/S1"]


def test_words_mean_the_levels_of_the_anchor(segment: Callable[..., Segmentation]) -> None:
    plain, result = segment(None), segment(["L4 vertebra"], "lowest vertebra is L4")
    np.testing.assert_array_equal(result.label_map.array > 0, plain.label_map.mask("L5 vertebra"))
    assert [verdict.structure for verdict in result.verdicts] == ["L4 vertebra"]


def test_a_point_in_the_world_names_what_is_there(segment: Callable[..., Segmentation]) -> None:
    # The upper vertebra: rows 19 … 27 and columns 10 … 19 of the grid.
    x, y, z = GRID.to_world(np.array([[3, 15, 23]]))[0]
    plain, result = segment(None), segment(["L5-S1 disc"], f"L3 is here: {x},{y},{z}")
    assert not result.label_map.array.any()
    result = segment(["L4"], f"L4 is here: {x},{y},{z}")
    np.testing.assert_array_equal(result.label_map.array > 0, plain.label_map.mask("L4 vertebra"))


def test_an_anchor_that_says_what_is_so_changes_no_voxel(segment: Callable[..., Segmentation]) -> None:
    plain, result = segment(None), segment(None, "lowest disc is L5/S1")
    np.testing.assert_array_equal(result.label_map.array, plain.label_map.array)
    assert result.label_map.names == plain.label_map.names


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        (("something",), "not understood"),
        (("L4 is here: 900,0,0",), "within 5 mm"),
        (("lowest disc is L5/S1", "lowest vertebra is L3"), "contradict each other"),
    ],
)
def test_anchors_that_cannot_be_are_refused(
    segment: Callable[..., Segmentation], anchors: tuple[str, ...], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        segment(None, *anchors)
