import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nomina.assessment.measurements.lung_vessels import measure_lung_vessels, voxel_sections_mm2
from nomina.errors import CaseError, GridMismatchError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

Tubes = Callable[..., np.ndarray]
MM = (0.7, 0.7, 0.7)
NAMES = {1: "pulmonary artery", 2: "pulmonary vein"}


def label_map(array: np.ndarray, spacing_mm: tuple[float, float, float] = MM) -> LabelMap:
    return LabelMap(array.astype(np.uint8), Grid(array.shape, np.diag([*spacing_mm, 1.0])), NAMES)


def values(found: tuple) -> dict[tuple[str, str, str], float]:
    return {(m.structure, m.place, m.quantity): m.value for m in found}


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 1, 1), (0.3, 0.5, 0.8)])
@pytest.mark.parametrize("section_mm2", [3.5, 7.0, 20.0])
def test_the_section_of_a_tube_at_any_angle(
    tubes: Tubes, section_mm2: float, direction: tuple[float, float, float]
) -> None:
    along = np.array(direction) / np.linalg.norm(direction)
    radius_mm = math.sqrt(section_mm2 / math.pi)
    mask = tubes(28.0, MM, (14.1 - 10 * along, 14.1 + 10 * along, radius_mm))
    voxels = np.argwhere(mask)
    sections = voxel_sections_mm2(mask, voxels, MM)
    # What the grid makes of the tube, from voxels counted in its straight part.
    place = (voxels * MM - 14.1) @ along
    drawn = (np.abs(place) <= 6).sum() * 0.343 / 12
    if direction == (0.3, 0.5, 0.8):
        # Along axes and diagonals one cross-section repeats, so the grid itself is off by a fifth.
        assert drawn == pytest.approx(section_mm2, rel=0.06)
    assert np.median(sections) == pytest.approx(drawn, rel=0.1)
    assert np.percentile(sections, 5) > 0.75 * drawn
    assert np.percentile(sections, 95) < 1.25 * drawn


@pytest.fixture(scope="module")
def vessels(tubes: Tubes) -> LabelMap:
    """Two arteries (3 and 7 mm²) at the patient's left, one vein (30 mm²) at the right."""
    radius = {area: math.sqrt(area / math.pi) for area in (3, 7, 30)}
    small = tubes(36.0, MM, ((8, 9, 6), (8, 9, 30), radius[3]))
    middle = tubes(36.0, MM, ((8, 24, 6), (8, 24, 30), radius[7]))
    large = tubes(36.0, MM, ((27, 18, 6), (27, 18, 30), radius[30]))
    return label_map((small | middle) + 2 * large)


def test_blood_falls_into_the_bin_of_its_section_and_adds_up(vessels: LabelMap) -> None:
    found = values(measure_lung_vessels(vessels))
    artery, vein = ("pulmonary artery", "total"), ("pulmonary vein", "total")
    # 24 mm of tube with round ends.
    small_ml, middle_ml = (a * 24 / 1000 + 4 / 3 * (a / math.pi) ** 1.5 * math.pi / 1000 for a in (3, 7))
    assert found[*artery, "bv5_ml"] == pytest.approx(small_ml, rel=0.12)
    assert found[*artery, "bv5_10_ml"] == pytest.approx(middle_ml, rel=0.12)
    assert found[*artery, "bv10_ml"] == 0.0
    assert found[*vein, "bv10_ml"] == found[*vein, "volume_ml"]
    assert found[*artery, "bv5_ml"] + found[*artery, "bv5_10_ml"] == pytest.approx(
        found[*artery, "volume_ml"]
    )
    assert found[*artery, "bv5_share"] == pytest.approx(
        found[*artery, "bv5_ml"] / found[*artery, "volume_ml"]
    )
    assert found[*artery, "artery_vein_ratio"] == pytest.approx(
        found[*artery, "volume_ml"] / found[*vein, "volume_ml"]
    )
    voxels = (vessels.array == 2).sum() * 0.343 / 1000
    assert found[*vein, "volume_ml"] == pytest.approx(voxels)


def lungs_of(vessels: LabelMap, left: int = 7, right: int = 3) -> LabelMap:
    """Boxes around the left arteries' lower half and around the vein; x grows to the right."""
    array = np.zeros(vessels.grid.shape, dtype=np.uint8)
    array[4:20, 4:45, 4:26] = left
    array[28:48, 4:45, 4:48] = right
    return LabelMap(array, vessels.grid, {left: "left lung", right: "right lung"})


def test_sides_come_from_the_world_and_not_from_the_numbers(vessels: LabelMap) -> None:
    for left, right in ((7, 3), (3, 7)):
        found = values(measure_lung_vessels(vessels, lungs_of(vessels, left, right)))
        assert found["pulmonary vein", "right lung", "volume_ml"] > 0
        assert found["pulmonary vein", "left lung", "volume_ml"] == 0.0
        assert found["pulmonary artery", "right lung", "volume_ml"] == 0.0
        total = found["pulmonary artery", "total", "volume_ml"]
        outside = found["pulmonary artery", "outside the lungs", "volume_ml"]
        assert found["pulmonary artery", "left lung", "volume_ml"] + outside == pytest.approx(total)
        assert outside > 0
        assert math.isnan(found["pulmonary artery", "right lung", "bv5_share"])
        assert math.isnan(found["pulmonary artery", "left lung", "artery_vein_ratio"])


def test_a_vessel_shaped_hole_of_a_lung_mask_is_inside(vessels: LabelMap) -> None:
    lungs = lungs_of(vessels)
    hollow = replace(lungs, array=np.where(vessels.array > 0, 0, lungs.array))
    found = values(measure_lung_vessels(vessels, hollow))
    whole = values(measure_lung_vessels(vessels, lungs))
    key = ("pulmonary vein", "right lung", "volume_ml")
    assert found[key] == whole[key]


def test_all_axis_orders_give_the_same_numbers(
    vessels: LabelMap, reoriented: Callable[..., LabelMap]
) -> None:
    expected = values(measure_lung_vessels(vessels, lungs_of(vessels)))
    orders = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
    for order, signs in orders[5::14]:
        turned = [reoriented(m, order, signs) for m in (vessels, lungs_of(vessels))]
        assert values(measure_lung_vessels(*turned)) == pytest.approx(expected, nan_ok=True)


def test_a_coarse_grid_gives_volumes_and_a_reason(tubes: Tubes) -> None:
    spacing_mm = (1.5, 1.5, 1.5)
    given = label_map(tubes(30.0, spacing_mm, ((15, 15, 5), (15, 15, 25), 2.0)), spacing_mm)
    found = {m.quantity: m for m in measure_lung_vessels(given) if m.structure == "pulmonary artery"}
    assert found["volume_ml"].value > 0
    assert math.isnan(found["bv5_ml"].value)
    assert "coarser than 1.25 mm" in found["bv5_ml"].reason
    assert "no veins" in found["artery_vein_ratio"].reason


def test_trees_that_are_named_by_side_count_as_one(vessels: LabelMap) -> None:
    names = {1: "left pulmonary artery", 2: "left pulmonary vein"}
    assert values(measure_lung_vessels(replace(vessels, names=names))) == values(
        measure_lung_vessels(vessels)
    )


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({2: "right pulmonary vein"}, "veins: only the right side is in the map"),
        ({1: "left pulmonary artery"}, "arteries: only the left side is in the map"),
        ({1: "pulmonary trunk"}, "arteries: neither side is in the map"),
        (
            {1: "left pulmonary artery", 2: "right pulmonary vein"},
            "arteries: only the left side is in the map; veins: only the right side is in the map",
        ),
        ({1: "right pulmonary artery", 2: "right pulmonary vein"}, ""),
        ({1: "right pulmonary artery", 3: "left pulmonary artery"}, ""),
    ],
)
def test_arteries_and_veins_of_other_sides_are_not_compared(
    vessels: LabelMap, names: dict[int, str], reason: str
) -> None:
    array = vessels.array.copy()
    if 3 in names:
        array[(array == 1) & (np.indices(array.shape)[1] < 22)] = 3
    found = measure_lung_vessels(replace(vessels, array=array, names=NAMES | names))
    (ratio,) = [m for m in found if m.quantity == "artery_vein_ratio"]
    assert (ratio.reason, math.isnan(ratio.value)) == (reason, bool(reason))


def test_in_a_lung_only_its_own_side_counts(vessels: LabelMap) -> None:
    array = vessels.array.copy()
    array[(array == 2) & (np.indices(array.shape)[1] < 26)] = 1
    right_only = replace(vessels, array=array, names=NAMES | {2: "right pulmonary vein"})
    found = values(measure_lung_vessels(right_only, lungs_of(vessels)))
    assert found["pulmonary artery", "right lung", "artery_vein_ratio"] > 0
    assert math.isnan(found["pulmonary artery", "total", "artery_vein_ratio"])


PARTIAL = "marked as only partly visible"
PER_TREE = {"volume_ml", "bv5_ml", "bv5_10_ml", "bv10_ml", "bv5_share"}


def test_a_tree_that_is_only_partly_visible_has_rows_with_a_reason(vessels: LabelMap) -> None:
    for lungs in (None, lungs_of(vessels)):
        whole = measure_lung_vessels(vessels, lungs)
        found = measure_lung_vessels(replace(vessels, ignored=frozenset({1})), lungs)
        rows = [{(m.structure, m.place, m.quantity) for m in measured} for measured in (whole, found)]
        assert rows[0] == rows[1]
        artery = [m for m in found if m.structure == "pulmonary artery"]
        assert all(math.isnan(m.value) and m.reason == PARTIAL for m in artery)
        assert [m for m in found if m not in artery] == [
            m for m in whole if m.structure != "pulmonary artery"
        ]
    no_vein = {m.quantity: m for m in measure_lung_vessels(replace(vessels, ignored=frozenset({2})))}
    assert no_vein["artery_vein_ratio"].reason == f"pulmonary vein: {PARTIAL}"


def test_one_cut_side_makes_the_tree_partial_and_thin_branches_do_not(vessels: LabelMap) -> None:
    array = vessels.array.copy()
    is_left = (array == 1) & (np.indices(array.shape)[1] < 22)
    names = {142: "left pulmonary artery", 143: "right pulmonary artery", 144: "pulmonary vein"}
    array[array == 1], array[array == 2] = 143, 144
    array[is_left] = 242
    ignored = frozenset(range(241, 251))
    cut = replace(vessels, array=array, names=names, scheme="nomina", ignored=ignored)
    # Nothing bears the left artery's own value: 242 is all there is of it.
    assert {m.reason for m in measure_lung_vessels(cut) if m.quantity in PER_TREE} == {PARTIAL, ""}
    assert math.isnan(values(measure_lung_vessels(cut))["pulmonary artery", "total", "volume_ml"])
    array = array.copy()
    array[is_left & (np.indices(array.shape)[2] < 30)] = 142
    thin = values(measure_lung_vessels(replace(cut, array=array)))
    voxels = np.isin(array, (142, 143)).sum() * 0.343 / 1000
    assert thin["pulmonary artery", "total", "volume_ml"] == pytest.approx(voxels)


def test_an_empty_tree_and_a_voxel_are_measured_without_error() -> None:
    array = np.zeros((9, 9, 9))
    array[0, 4, 4] = 1
    found = values(measure_lung_vessels(label_map(array)))
    assert found["pulmonary artery", "total", "bv5_ml"] == pytest.approx(0.343 / 1000)
    assert found["pulmonary vein", "total", "volume_ml"] == 0.0


def test_lung_masks_that_cannot_tell_the_lungs_apart_are_refused(vessels: LabelMap) -> None:
    lungs = lungs_of(vessels)
    one = replace(lungs, array=np.where(lungs.array == 7, 7, 0).astype(np.uint8))
    with pytest.raises(CaseError, match="labels in the lung mask: 1"):
        measure_lung_vessels(vessels, one)
    elsewhere = replace(lungs, grid=Grid(lungs.grid.shape, np.diag([1.0, 1.0, 1.0, 1.0])))
    with pytest.raises(GridMismatchError, match="bring the lung mask"):
        measure_lung_vessels(vessels, elsewhere)
