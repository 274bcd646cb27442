"""Other names for a label map from anchors: masks stay, contradictions are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.conversion import convert
from nomina.anatomy.schemes import load_scheme, partly_visible, read_label_map
from nomina.assessment.level_anchors import parse_anchor
from nomina.assessment.relevel import Relevelled, relevel
from nomina.errors import NominaError, PromptError, SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.phantoms.plan import SpineConfig
from nomina.phantoms.spine import sample_spine

SpiderMap = Callable[..., LabelMap]


@pytest.fixture
def build(spider_map: SpiderMap) -> Callable[[np.ndarray], LabelMap]:
    """Levels 30 mm high, on a grid that is not RAS."""

    def make(array: np.ndarray) -> LabelMap:
        plain = spider_map(array, (3.0, 3.0, 3.0))
        scheme = load_scheme("spider")
        affine = np.diag([-3.0, -3.0, 3.0, 1.0])
        affine[:3, 3] = (100, 50, -40)
        return LabelMap(
            np.ascontiguousarray(plain.array[:, ::-1]),
            Grid(array.shape, affine),
            names=scheme.labels,
            scheme="spider",
            ignored=scheme.ignored,
        )

    return make


def in_nomina(label_map: LabelMap) -> LabelMap:
    return convert(label_map, load_scheme("nomina")).label_map


def by(label_map: LabelMap, *anchors: str) -> Relevelled:
    return relevel(label_map, [parse_anchor(anchor) for anchor in anchors])


def new_names(result: Relevelled, kind: str = "vertebra") -> list[str]:
    return [level.new_name.split(" ")[0] for level in result.levels if level.new_name.endswith(kind)]


def test_a_map_that_is_right_does_not_change(build: Callable, spine: np.ndarray) -> None:
    label_map = build(spine)
    result = by(label_map, "lowest disc is L5/S1")
    np.testing.assert_array_equal(result.label_map.array, label_map.array)
    assert not any(level.is_changed for level in result.levels)
    assert min(level.confidence for level in result.levels) > 0.95


@pytest.mark.parametrize(
    "anchor", ["label 1 is L4", "lowest vertebra is L4", "lowest disk is L4/5", "label 203 is disc L2-L3"]
)
def test_every_level_moves_with_the_anchor_and_nothing_else_does(
    build: Callable, spine: np.ndarray, anchor: str
) -> None:
    label_map = build(spine)
    result = by(label_map, anchor)
    is_level = (label_map.array > 0) & (label_map.array != 100)
    np.testing.assert_array_equal(result.label_map.array, label_map.array + is_level)
    assert result.label_map.grid is label_map.grid
    assert next(level.name for level in result.levels if level.is_changed) == "L5-S1 disc"
    assert result.as_plain()["changed"][0]["new_name"] == "L4-L5 disc"
    assert anchor in result.decided_by[0]


def test_a_point_is_read_in_world_coordinates(build: Callable, spine: np.ndarray) -> None:
    label_map = build(spine)
    middle = label_map.grid.to_world(np.argwhere(label_map.array == 3)).mean(axis=0)
    words = ",".join(f"{x:.1f}" for x in middle)
    assert new_names(by(label_map, f"L2 is here: {words}")) == ["L4", "L3", "L2", "L1", "T12", "T11"]
    with pytest.raises(PromptError, match=r"nearest is the vertebra with label 3, 2 mm away"):
        by(label_map, f"L2/3 at {words}")
    with pytest.raises(PromptError, match="within 5 mm"):
        by(label_map, "L4 is here: 500, 0, 0")


def test_partly_visible_vertebrae_stay_partly_visible(build: Callable, spine: np.ndarray) -> None:
    spine[spine == 6] = 106
    result = by(build(spine), "label 1 is L4")
    assert result.levels[-1].new_label == 107
    assert 107 in result.label_map.array
    assert 106 not in result.label_map.array


@pytest.mark.parametrize("scheme", ["spider", "nomina"])
def test_what_is_only_partly_visible_stays_so_under_its_new_name(
    build: Callable, spine: np.ndarray, scheme: str
) -> None:
    label_map = convert(build(spine), load_scheme(scheme)).label_map
    cut = {"T12 vertebra": "T11 vertebra", "L3-L4 disc": "L2-L3 disc", "spinal canal": "spinal canal"}
    marked = label_map.ignored | {label_map.value_of(name) for name in cut}
    result = by(replace(label_map, ignored=marked), "lowest vertebra is L4")
    assert set(partly_visible(result.label_map).values()) == set(cut.values())
    written = {entry["label"]: entry["name"] for entry in result.as_plain()["partial"]}
    assert written == partly_visible(result.label_map)


def test_a_name_used_twice_is_told_apart(build: Callable, spine: np.ndarray) -> None:
    """Vertebrae 3 and 4 are both called 3; those above follow one too low."""
    said = spine.copy()
    for n in (4, 5, 6):
        said[spine == n] = n - 1
        said[spine == 200 + n] = 199 + n
    result = by(build(said), "lowest disc is L5/S1")
    np.testing.assert_array_equal(result.label_map.array, build(spine).array)
    assert "label 3 covers 2 separate vertebrae or discs" in result.notes
    with pytest.raises(PromptError, match="covers 2"):
        by(build(said), "label 3 is L3")


def test_the_arch_of_a_vertebra_goes_with_its_body(build: Callable, spine: np.ndarray) -> None:
    """A piece behind the canal as low as the body of the vertebra below."""
    spine[4:8, 0:1, 15:18] = 3
    result = by(build(spine), "label 1 is L4")
    assert new_names(result) == ["L4", "L3", "L2", "L1", "T12", "T11"]
    assert result.label_map.array[4, -1, 16] == 4


def test_a_vertebra_without_a_label_keeps_its_name_free(build: Callable, spine: np.ndarray) -> None:
    for value in (3, 203, 204):
        spine[spine == value] = 0
    result = by(build(spine), "lowest vertebra is L5")
    assert new_names(result) == ["L5", "L4", "L2", "L1", "T12"]
    assert any("L3 vertebra" in sentence for sentence in result.decided_by)


def test_l6_and_t13_are_named_where_the_scheme_can(build: Callable, spine: np.ndarray) -> None:
    label_map = in_nomina(build(spine))
    lumbar = by(label_map, "lowest disc is L6/S1")
    assert new_names(lumbar) == ["L6", "L5", "L4", "L3", "L2", "L1"]
    assert new_names(lumbar, "disc")[:3] == ["L6-S1", "L5-L6", "L4-L5"]
    thoracic = by(label_map, "lowest vertebra is L5", "highest vertebra is T13")
    assert new_names(thoracic) == ["L5", "L4", "L3", "L2", "L1", "T13"]
    with pytest.raises(SchemeError, match="--to nomina"):
        by(build(spine), "lowest disc is L6/S1")


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        (("label 1 is L5", "label 4 is L3"), "contradict each other: between the two the label map has 2"),
        (("label 1 is L5", "lowest vertebra is L4"), "both mean the vertebra with label 1"),
        (("label 4 is L3", "label 2 is L2"), "contradict each other"),
        (("label 2 is C1",), "reach beyond the last level"),
        (("label 9 is L3",), "no vertebra or disc with label 9"),
        (("label 100 is L3",), "no vertebra or disc with label 100"),
        (("label 203 is L3",), "label 203 is a disc"),
        (("L4 is here: 1,2",), "three numbers"),
        (("lowest disc is L5",), "L5 vertebra is no disc"),
        (("lowest disc is the aorta",), "aorta"),
        (("the first one is L3",), "not understood"),
        ((), "no anchor"),
    ],
)
def test_anchors_that_cannot_hold_are_refused(
    build: Callable, spine: np.ndarray, anchors: tuple[str, ...], message: str
) -> None:
    with pytest.raises(NominaError, match=message):
        by(build(spine), *anchors)


def test_anchors_that_agree_are_taken(build: Callable, spine: np.ndarray) -> None:
    result = by(build(spine), "label 1 is L4", "label 3 is L2", "lowest disc is L4/5")
    assert new_names(result) == ["L4", "L3", "L2", "L1", "T12", "T11"]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ((4, 202), r"holds L4-L5 disc and L2 vertebra alone; .* segment with --all first"),
        ((1, 201), r"holds L5-S1 disc and L5 vertebra alone"),
        ((202, 3, 4), r"holds L4-L5 disc, L3 vertebra and L2 vertebra alone"),
        ((1, 3, 5), r"holds L5 vertebra, L3 vertebra and L1 vertebra alone"),
    ],
)
def test_a_map_of_only_some_levels_is_refused(
    build: Callable, spine: np.ndarray, kept: tuple[int, ...], message: str
) -> None:
    """Its gaps are those between the levels asked for, so no gap says how high one level is."""
    spine[~np.isin(spine, (100, *kept))] = 0
    for label_map in (build(spine), in_nomina(build(spine))):
        with pytest.raises(SchemeError, match=message):
            by(label_map, "lowest disc is L4/5" if min(kept) > 1 else "lowest vertebra is L5")


def test_the_only_level_of_a_map_is_what_the_anchor_says(build: Callable, spine: np.ndarray) -> None:
    spine[~np.isin(spine, (3, 100))] = 0
    assert new_names(by(build(spine), "lowest vertebra is L4")) == ["L4"]


@pytest.mark.parametrize("num_lumbar", [4, 5, 6])
def test_phantoms_with_four_to_six_lumbar_vertebrae_are_renamed_by_one_anchor(num_lumbar: int) -> None:
    config = SpineConfig(
        num_lumbar=((num_lumbar, 1.0),),
        in_plane_mm=(1.8, 1.9),
        num_slices=(9, 9),
        thin_slices_probability=0.0,
    )
    phantom = sample_spine(3, config)
    truth = [level.split(" ")[0] for level in phantom.levels]
    assert truth[0] == f"L{num_lumbar}"
    result = by(in_nomina(phantom.label_map), f"lowest vertebra is {truth[0]}")
    assert new_names(result) == truth
    assert min(level.confidence for level in result.levels) > 0.9


@pytest.mark.slow
def test_shifted_real_label_maps_come_back(shared_data: Path) -> None:
    root = shared_data / "spider_t2space" / "masks"
    truth = read_label_map(root / "50_t2_SPACE.mha", scheme="spider")
    shifted = by(truth, "label 1 is L4")
    np.testing.assert_array_equal(by(shifted.label_map, "lowest disc is L5/S1").label_map.array, truth.array)
