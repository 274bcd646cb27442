"""Parts of structures by the height of others, in world coordinates."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nomina.anatomy.resolve import Target, resolve_targets
from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap
from nomina.inference.parts import height_mm, needed_structures, only_asked, part_at

SPACING_MM = (2.0, 1.0, 0.5)
NAMES = {22: "L3 vertebra", 23: "L4 vertebra", 61: "spinal canal", 122: "L3-L4 disc"}


def column() -> LabelMap:
    """Canal over the whole height; bodies in front; the spinous process of L3 hangs to the height of L4."""
    array = np.zeros((6, 30, 80), dtype=np.uint8)
    array[2:4, 10:14, :] = 61
    array[1:5, 16:26, 20:36] = 23
    array[1:5, 16:26, 38:42] = 122
    array[1:5, 16:26, 44:60] = 22
    array[2:4, 4:8, 30:50] = 22
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = (-5.0, 12.0, 100.0)
    return LabelMap(array, Grid(array.shape, affine), names=NAMES, scheme="nomina")


def segmentation(label_map: LabelMap) -> Segmentation:
    volumes = {n: float(label_map.mask(n).sum()) * label_map.grid.voxel_volume_ml for n in NAMES.values()}
    verdicts = [Verdict(n, "present" if v else "absent", 0.9, "", v) for n, v in volumes.items()]
    return Segmentation(label_map, tuple(verdicts), prompts=("x",), provenance={"model": "m", "notes": ["n"]})


def stating(found: Segmentation, name: str, **stated: Any) -> Segmentation:
    """The same with another verdict on one structure."""
    return replace(
        found, verdicts=tuple(replace(v, **stated) if v.structure == name else v for v in found.verdicts)
    )


def test_the_height_of_a_vertebra_is_that_of_its_body() -> None:
    assert height_mm(column(), ["L3 vertebra"]) == (122.0, 129.5)
    assert height_mm(column(), ["L3-L4 disc"]) == (119.0, 120.5)
    assert height_mm(column(), ["L3 vertebra", "L4 vertebra"]) == (110.0, 129.5)


def test_without_a_canal_the_whole_vertebra_counts() -> None:
    full = column()
    array = np.where(full.array == 61, 0, full.array)
    assert height_mm(LabelMap(array, full.grid, names=NAMES), ["L3 vertebra"]) == (115.0, 129.5)


def test_a_structure_that_is_not_there_gives_no_height() -> None:
    full = column()
    array = np.where(full.array == 22, 0, full.array)
    assert height_mm(LabelMap(array, full.grid, names=NAMES), ["L3 vertebra", "L4 vertebra"]) is None


def test_a_part_is_cut_in_the_world_whatever_the_order_of_the_axes() -> None:
    full = column()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        for flip in (1, -1):
            affine = full.grid.affine[:, [*order, 3]].copy()
            array = full.array.transpose(order)[::flip]
            if flip < 0:
                affine[:3, 3] += affine[:3, 0] * (array.shape[0] - 1)
                affine[:3, 0] *= -1
            turned = LabelMap(np.ascontiguousarray(array), Grid(array.shape, affine), names=NAMES)
            low, high = height_mm(turned, ["L3 vertebra"]) or (0.0, 0.0)
            part = part_at(turned.mask("spinal canal"), turned.grid, low, high)
            assert part.sum() == 2 * 4 * 16
            s_mm = turned.grid.to_world(np.argwhere(part))[:, 2]
            assert (s_mm.min(), s_mm.max()) == pytest.approx((122.0, 129.5))


def test_a_part_in_a_tilted_scan_is_level_in_the_patient() -> None:
    tilt = np.deg2rad(20)
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation
    grid = Grid((4, 40, 40), affine)
    part = part_at(np.ones(grid.shape, dtype=bool), grid, 10.0, 15.0)
    s_mm = grid.to_world(np.argwhere(np.ones(grid.shape, dtype=bool)))[:, 2].reshape(grid.shape)
    assert np.array_equal(part, (s_mm >= 10.0) & (s_mm <= 15.0))
    assert 0 < part.sum() < part.size


def test_only_what_was_asked_is_written_and_the_part_is_said() -> None:
    targets = resolve_targets(["canal at the level of L3", "L4 vertebra"])
    result = only_asked(segmentation(column()), targets)
    assert set(np.unique(result.label_map.array)) == {0, 23, 61}
    assert set(result.label_map.names.values()) == {"spinal canal", "L4 vertebra"}
    canal, vertebra = result.verdicts
    assert (canal.structure, canal.presence) == ("spinal canal", "present")
    assert canal.volume_ml == pytest.approx(2 * 4 * 16 * 1.0e-3)
    assert vertebra.volume_ml == pytest.approx(4 * 10 * 16 * 1.0e-3)
    assert result.provenance["notes"] == ["n", "spinal canal is given in part: at L3 vertebra"]


def test_a_part_whose_height_was_not_found_is_empty_and_uncertain() -> None:
    full = column()
    without = LabelMap(np.where(full.array == 22, 0, full.array), full.grid, names=NAMES)
    result = only_asked(segmentation(without), resolve_targets(["canal at L3"]))
    assert not result.label_map.array.any()
    verdict = result.verdicts[0]
    assert (verdict.presence, verdict.score, verdict.is_partial) == ("uncertain", 0.5, False)
    assert "L3 vertebra was not found" in verdict.reason


def test_a_part_without_a_height_is_no_surer_than_its_whole() -> None:
    full = column()
    without = LabelMap(np.where(full.array == 22, 0, full.array), full.grid, names=NAMES)
    found = stating(segmentation(without), "spinal canal", presence="uncertain", score=0.3, is_partial=True)
    verdict = only_asked(found, resolve_targets(["canal at L3"])).verdicts[0]
    assert (verdict.presence, verdict.score, verdict.is_partial) == ("uncertain", 0.3, False)


def test_a_part_of_which_one_height_is_lost_is_cut_where_the_other_is() -> None:
    full = column()
    without = LabelMap(np.where(full.array == 22, 0, full.array), full.grid, names=NAMES)
    found = stating(segmentation(without), "L4 vertebra", is_partial=True)
    verdict = only_asked(found, resolve_targets(["canal at L3; canal at L4"])).verdicts[0]
    assert verdict.volume_ml > 0
    assert (verdict.presence, verdict.score, verdict.is_partial) == ("uncertain", 0.5, True)


def test_a_mask_that_ends_short_of_the_height_does_not_say_that_the_structure_does() -> None:
    full = column()
    array = full.array.copy()
    array[2:4, 10:14, 40:] = 0
    short = segmentation(LabelMap(array, full.grid, names=NAMES))
    found = stating(short, "spinal canal", score=0.98, is_partial=True)
    verdict = only_asked(found, resolve_targets(["canal at L3"])).verdicts[0]
    assert (verdict.presence, verdict.volume_ml, verdict.is_partial) == ("uncertain", 0.0, False)
    assert verdict.score == 0.5
    assert "does not reach the height" in verdict.reason


@pytest.mark.parametrize("lost", [(61,), (61, 22)])
def test_of_a_structure_that_is_not_there_no_part_is_at_whatever_height(lost: tuple[int, ...]) -> None:
    full = column()
    array = np.where(np.isin(full.array, lost), 0, full.array)
    none = stating(segmentation(LabelMap(array, full.grid, names=NAMES)), "spinal canal", score=0.95)
    none = stating(none, "L3 vertebra", presence="uncertain", score=0.6)
    verdict = only_asked(none, resolve_targets(["canal at L3"])).verdicts[0]
    assert (verdict.presence, verdict.score, verdict.is_calibrated) == ("absent", 0.95, False)


def test_a_part_at_an_uncertain_level_is_uncertain_and_its_score_is_not_calibrated() -> None:
    full = segmentation(column())
    doubted = {"L3 vertebra": ("uncertain", 0.6)}
    verdicts = tuple(
        replace(v, presence=p, score=s, is_calibrated=True)
        for v in full.verdicts
        for p, s in [doubted.get(v.structure, (v.presence, v.score))]
    )
    full = replace(full, verdicts=verdicts)
    part, whole = only_asked(full, resolve_targets(["canal at L3", "L4 vertebra"])).verdicts
    assert (part.presence, part.score, part.is_calibrated) == ("uncertain", 0.6, False)
    assert part.volume_ml > 0
    assert (whole.presence, whole.score, whole.is_calibrated) == ("present", 0.9, True)


def test_two_parts_share_a_label_and_a_whole_takes_its_parts_in() -> None:
    two = only_asked(segmentation(column()), resolve_targets(["canal at L3; canal at L4"]))
    assert (two.label_map.array == 61).sum() == 2 * 4 * 32
    whole = only_asked(segmentation(column()), resolve_targets(["canal at L3; canal"]))
    assert (whole.label_map.array == 61).sum() == 2 * 4 * 80
    assert whole.provenance["notes"] == [
        "n",
        "'spinal canal at L3 vertebra' lies within 'spinal canal', which was asked too; it has no value of "
        "its own",
    ]


def test_what_gives_a_height_is_needed_though_not_asked() -> None:
    targets = (Target(structure("spinal cord"), ("T12 vertebra", "L1 vertebra")),)
    assert needed_structures(targets, ["spinal canal"]) == (
        *("spinal cord", "T12 vertebra", "L1 vertebra", "spinal canal"),
    )
    assert needed_structures(resolve_targets(["L4"]), ["spinal canal"]) == ("L4 vertebra",)


LOBES = {14: "right lower lobe", 13: "right middle lobe", 10: "left upper lobe"}


def chest(*, size: int = 20) -> tuple[Segmentation, LabelMap]:
    """An artery of 8 ml along S through the lower lobe and the middle lobe above it, and a vein beside it."""
    array = np.zeros((20, 20, 20), dtype=np.uint8)
    array[8:10, 9:11, 2:18] = 141
    array[12:14, 9:11, 2:18] = 144
    grid = Grid(array.shape, np.diag([5.0, 5.0, 5.0, 1.0]))
    lobes = np.zeros(array.shape, dtype=np.uint16)
    lobes[4:16, 4:16, 1:9] = 14
    lobes[4:16, 4:16, 9:size] = 13
    names = {141: "pulmonary artery", 144: "pulmonary vein"}
    verdicts = [Verdict(name, "present", 0.9, "seen", 8.0, is_calibrated=True) for name in names.values()]
    found = Segmentation(LabelMap(array, grid, names=names, scheme="nomina"), tuple(verdicts), ("x",))
    return found, LabelMap(lobes, grid, names=LOBES, scheme="totalsegmentator")


def test_a_part_inside_a_region_is_their_intersection_voxel_by_voxel() -> None:
    found, lobes = chest()
    result = only_asked(found, resolve_targets(["RLL arteries"]), lobes)
    expected = found.label_map.mask("pulmonary artery") & lobes.mask("right lower lobe")
    np.testing.assert_array_equal(result.label_map.array, np.where(expected, 141, 0))
    assert result.label_map.names == {141: "pulmonary artery"}
    (verdict,) = result.verdicts
    assert (verdict.presence, verdict.score, verdict.is_calibrated) == ("present", 0.9, False)
    assert verdict.volume_ml == pytest.approx(2 * 2 * 7 * 0.125)
    assert verdict.reason == "3.5 ml within right lower lobe; of the whole: seen"
    assert result.provenance["notes"] == ["pulmonary artery is given in part: within right lower lobe"]


def test_parts_inside_several_regions_are_together_and_the_whole_takes_them_in() -> None:
    found, lobes = chest()
    both = only_asked(found, resolve_targets(["arteries of the RLL and RML; veins in the RLL"]), lobes)
    assert (both.label_map.array == 141).sum() == 2 * 2 * 16
    assert (both.label_map.array == 144).sum() == 2 * 2 * 7
    whole = only_asked(found, resolve_targets(["RLL arteries; pulmonary artery"]), lobes)
    assert (whole.label_map.array == 141).sum() == 2 * 2 * 16
    assert "'pulmonary artery within right lower lobe' lies within" in whole.provenance["notes"][0]


def test_a_region_that_is_not_in_the_map_gives_nothing_and_no_certainty() -> None:
    found, lobes = chest()
    (verdict,) = only_asked(found, resolve_targets(["LUL arteries"]), lobes).verdicts
    assert (verdict.presence, verdict.score, verdict.volume_ml) == ("uncertain", 0.5, 0.0)
    assert verdict.reason == "the regions hold no left upper lobe, so what lies within it is not known"


def test_a_region_without_its_vessels_is_not_called_one_that_has_them() -> None:
    found, lobes = chest()
    hollow = replace(lobes, array=np.where(found.label_map.array > 0, 0, lobes.array))
    (verdict,) = only_asked(found, resolve_targets(["RLL arteries"]), hollow).verdicts
    assert (verdict.presence, verdict.score) == ("uncertain", 0.5)
    assert "0.0 ml within right lower lobe, less than 1 ml" in verdict.reason


def test_of_a_vessel_that_is_not_there_no_part_lies_in_any_region() -> None:
    found, lobes = chest()
    gone = stating(found, "pulmonary artery", presence="absent", score=0.95, volume_ml=0.0)
    gone = replace(gone, label_map=replace(found.label_map, array=np.zeros_like(found.label_map.array)))
    (verdict,) = only_asked(gone, resolve_targets(["RLL arteries"]), lobes).verdicts
    assert (verdict.presence, verdict.score, verdict.reason) == ("absent", 0.95, "of the whole: seen")


@pytest.mark.parametrize(("size", "is_cut"), [(20, True), (19, False)])
def test_a_part_is_cut_where_its_region_reaches_the_border(size: int, is_cut: bool) -> None:
    found, lobes = chest(size=size)
    cut = stating(found, "pulmonary artery", is_partial=True)
    assert only_asked(cut, resolve_targets(["RML arteries"]), lobes).verdicts[0].is_partial == is_cut
    assert not only_asked(cut, resolve_targets(["RLL arteries"]), lobes).verdicts[0].is_partial
