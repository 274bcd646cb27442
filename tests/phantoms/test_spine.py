"""Geometry and labels of the spine phantom."""

import json
from collections.abc import Callable

import cc3d
import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme
from nomina.errors import ConfigError
from nomina.phantoms.plan import SpineConfig, plan_spine
from nomina.phantoms.spine import SpinePhantom, sample_spine
from nomina.phantoms.tissues import BONE, CANAL, DISC, INDEX, TISSUES

MakeSpine = Callable[..., SpinePhantom]


def centroid_mm(phantom: SpinePhantom, label: int) -> np.ndarray:
    voxels = np.argwhere(phantom.label_map.array == label)
    return phantom.grid.to_world(voxels.mean(0, keepdims=True))[0]


def tissue_mask(phantom: SpinePhantom, names: tuple[str, ...]) -> np.ndarray:
    return np.isin(phantom.tissues, [INDEX[name] for name in names])


def middle_slice_body_mm(phantom: SpinePhantom, label: int) -> np.ndarray:
    """Places of the body's voxels in the middle slice along its short and its long axis, from its centre."""
    i = phantom.grid.shape[0] // 2
    parts = cc3d.connected_components(phantom.label_map.array[i] == label, connectivity=4)
    # The arch is a part of its own in the midline; the body is the largest.
    body = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    points = np.argwhere(body) * phantom.grid.spacing_mm[1]
    points = points - points.mean(0)
    return points @ np.linalg.eigh(np.cov(points.T))[1]


def test_the_same_seed_gives_the_same_voxels_and_another_seed_other_ones(
    make_spine: MakeSpine, ordinary: SpineConfig
) -> None:
    first, again = make_spine(3), sample_spine(3, ordinary)
    np.testing.assert_array_equal(first.tissues, again.tissues)
    np.testing.assert_array_equal(first.label_map.array, again.label_map.array)
    assert first.parameters == again.parameters
    other = make_spine(4)
    assert other.parameters["vertebrae"] != first.parameters["vertebrae"]


def test_a_vertebra_that_is_missing_leaves_its_discs_and_what_surrounds_it(
    spine: SpinePhantom, ordinary: SpineConfig
) -> None:
    without = sample_spine(3, ordinary, missing={3})
    was = spine.label_map.array == 3
    assert set(spine.label_map.names) - set(without.label_map.names) == {3}
    # What its joints had covered of its neighbours' shows; no bone is left of its own.
    bone = was & tissue_mask(without, BONE)
    assert set(np.unique(without.label_map.array[bone])) <= {2, 4}
    assert bone.sum() < 0.1 * was.sum()
    discs = np.isin(spine.label_map.array, [203, 204])
    np.testing.assert_array_equal(without.label_map.array[discs], spine.label_map.array[discs])
    np.testing.assert_array_equal(without.tissues[discs], spine.tissues[discs])
    assert without.parameters.pop("missing") == [3]
    assert without.parameters == spine.parameters


def test_labels_count_from_the_bottom_with_each_disc_below_its_vertebra(spine: SpinePhantom) -> None:
    heights = [centroid_mm(spine, label)[2] for label in (201, 1, 202, 2, 203, 3, 204, 4, 205, 5, 206, 6)]
    assert heights == sorted(heights)


def test_names_follow_the_spider_scheme(spine: SpinePhantom) -> None:
    scheme = load_scheme("spider")
    assert spine.label_map.scheme == "spider"
    assert spine.label_map.names
    for label, name in spine.label_map.names.items():
        assert scheme.labels[label] == name
    present = set(np.unique(spine.label_map.array).tolist()) - {0}
    assert present == set(spine.label_map.names) | spine.label_map.ignored


@pytest.mark.parametrize("count", [4, 5, 6])
def test_the_number_of_lumbar_vertebrae_is_as_asked(make_spine: MakeSpine, count: int) -> None:
    phantom = make_spine(5, num_lumbar=((count, 1.0),))
    assert phantom.levels[0] == f"L{count} vertebra"
    assert sum(name.startswith("L") for name in phantom.levels) == count
    assert phantom.levels[count] == "T12 vertebra"
    # SPIDER ranks know no sixth lumbar vertebra: the lowest is always called L5.
    assert phantom.label_map.names[1] == "L5 vertebra"


def test_the_canal_is_one_piece_behind_every_body(spine: SpinePhantom) -> None:
    canal = spine.label_map.array == 100
    assert cc3d.connected_components(canal, connectivity=26, return_N=True)[1] == 1
    assert canal[:, :, -1].any()
    axis = np.argwhere(canal)
    for record in spine.parameters["vertebrae"][:6]:
        centre = spine.grid.to_voxels(np.array([record["centre_mm"]]))[0]
        beside = axis[np.abs(axis[:, 2] - centre[2]) < 2]
        assert len(beside) > 0
        assert beside[:, 1].max() < centre[1] - 0.4 * record["depth_mm"] / spine.grid.spacing_mm[1]


def test_the_canal_ends_behind_the_sacrum(spine: SpinePhantom) -> None:
    lowest = np.argwhere(spine.label_map.array == 100)[:, 2].min()
    z = spine.grid.to_world(np.array([[0.0, 0.0, lowest]]))[0, 2]
    disc = np.argwhere(spine.label_map.array == 201)[:, 2].min()
    lowest_of_disc = spine.grid.to_world(np.array([[0.0, 0.0, disc]]))[0, 2]
    # In SPIDER the canal ends 14 mm below to 21 mm above the lowest point of the L5-S1 disc.
    assert -25 < z - lowest_of_disc < 25


def test_bodies_measure_what_the_record_says(spine: SpinePhantom) -> None:
    for record in spine.parameters["vertebrae"][:6]:
        points = middle_slice_body_mm(spine, record["label"])
        # A rectangle of side a has the variance a² / 12; endplates are concave, walls waisted.
        height, depth = np.sqrt(12 * points.var(axis=0))
        assert 0.82 < height / record["height_mm"] < 1.0
        assert 0.82 < depth / record["depth_mm"] < 1.0


def test_bodies_grow_downwards(spine: SpinePhantom) -> None:
    records = spine.parameters["vertebrae"][:7]
    widths = [record["width_mm"] for record in records]
    assert widths == sorted(widths, reverse=True)
    assert records[2]["height_mm"] > records[6]["height_mm"]


def test_size_scales_the_masks(make_spine: MakeSpine) -> None:
    # The slab is narrower than a body, so the volume grows with the square of the size.
    volumes = []
    for scale in (0.9, 1.1):
        phantom = make_spine(3, scale=(scale, scale), top_level=(4.6, 4.6))
        volumes.append((phantom.label_map.array == 2).sum() * phantom.grid.voxel_volume_ml)
    assert volumes[1] / volumes[0] == pytest.approx((1.1 / 0.9) ** 2, rel=0.12)


def test_labels_and_tissues_agree(spine: SpinePhantom) -> None:
    labels = spine.label_map.array
    np.testing.assert_array_equal((labels >= 201), tissue_mask(spine, DISC))
    canal = labels == 100
    assert tissue_mask(spine, CANAL)[canal].all()
    assert (tissue_mask(spine, CANAL) & ~canal).sum() == 0
    vertebrae = ((labels > 0) & (labels < 100)) | ((labels > 100) & (labels < 126))
    assert tissue_mask(spine, BONE)[vertebrae].all()


def test_every_tissue_of_a_spine_is_there(spine: SpinePhantom) -> None:
    rare = {"marrow lesion", "nucleus", "dehydrated nucleus", "degenerated nucleus", "organ", "bowel fluid"}
    present = {TISSUES[index] for index in np.unique(spine.tissues)}
    assert set(TISSUES) - rare <= present


def test_a_vertebra_cut_by_the_upper_border_is_partly_visible(make_spine: MakeSpine) -> None:
    whole = make_spine(3, top_level=(7.0, 7.0), scale=(1.0, 1.0))
    # The border runs through the middle of vertebra 7.
    assert 107 in whole.label_map.ignored
    assert 7 not in whole.label_map.names
    assert (whole.label_map.array == 107).any()
    assert whole.parameters["partly_visible"] == sorted(whole.label_map.ignored)
    assert 6 in whole.label_map.names


def test_a_vertebra_cut_by_the_lower_border_is_partly_visible(make_spine: MakeSpine) -> None:
    phantom = make_spine(3, below_s1_mm=(-18.0, -18.0))
    assert 101 in phantom.label_map.ignored
    assert 2 in phantom.label_map.names


def test_affine_places_the_s1_endplate_at_the_origin(make_spine: MakeSpine) -> None:
    phantom = make_spine(6, slab_tilt_deg=4.0)
    assert phantom.grid.orientation == "RAS"
    disc, body = centroid_mm(phantom, 201), centroid_mm(phantom, 2)
    assert np.linalg.norm(disc) < 14
    record = phantom.parameters["vertebrae"][1]
    # The label has an arch behind the body, so its centroid lies behind the body's centre.
    assert body[2] == pytest.approx(record["centre_mm"][2], abs=8)


def test_collapsed_vertebrae_are_recorded_and_lower(make_spine: MakeSpine) -> None:
    sound = make_spine(3)
    for seed in range(20):
        broken = make_spine(seed, fracture_probability=1.0, in_plane_mm=(2.0, 2.0), num_slices=(9, 9))
        shapes = {
            r["label"]: r["fracture"] for r in broken.parameters["vertebrae"] if r["fracture"] != "none"
        }
        crushed = [label for label, shape in shapes.items() if shape == "crush"]
        assert shapes
        if crushed:
            break
    height = broken.parameters["vertebrae"][crushed[0] - 1]["height_mm"]
    assert height < 0.85 * sound.parameters["vertebrae"][crushed[0] - 1]["height_mm"]


def test_worn_discs_are_lower_and_have_no_bright_nucleus(make_spine: MakeSpine) -> None:
    healthy = make_spine(3, degeneration=(0.0, 0.0))
    worn = make_spine(3, degeneration=(1.0, 1.0))
    heights = [
        np.mean([v["disc_below_height_mm"] for v in phantom.parameters["vertebrae"][:6]])
        for phantom in (healthy, worn)
    ]
    assert heights[1] < 0.8 * heights[0]
    assert tissue_mask(healthy, ("nucleus",)).sum() > 20 * tissue_mask(worn, ("nucleus",)).sum()


def test_lordosis_turns_the_endplates_by_the_recorded_angle(ordinary: SpineConfig) -> None:
    plan = plan_spine(np.random.default_rng(0), ordinary)
    tops = [v.frame.axes[:, 2] for v in plan.vertebrae[:5]]
    tilts = [np.degrees(np.arctan2(top[1], top[2])) for top in tops]
    upper_l1 = tilts[4] - plan.vertebrae[4].wedge_deg / 2
    lordosis = plan.parameters["sacral_slope_deg"] - upper_l1
    # Worn discs give up part of their wedge.
    assert 0.75 * plan.parameters["lordosis_deg"] < lordosis < 1.1 * plan.parameters["lordosis_deg"]


def test_the_record_is_json(spine: SpinePhantom) -> None:
    record = json.loads(json.dumps(spine.parameters))
    assert record == spine.parameters
    assert record["levels"] == list(spine.levels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": (1.2, 0.8)}, "scale must be"),
        ({"fracture_probability": 1.5}, "fracture_probability"),
        ({"num_lumbar": ((7, 1.0),)}, "4, 5 and 6"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SpineConfig(**changes)  # type: ignore[arg-type]
