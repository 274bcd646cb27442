import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from nomina.assessment.measurements.measurement import Measurement
from nomina.assessment.measurements.spine import measure_spine
from nomina.assessment.measurements.spine_views import SpineViews
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.phantoms.canal import canal_stations
from nomina.phantoms.canvas import Frame
from nomina.phantoms.plan import SpineConfig, plan_spine
from nomina.phantoms.spine import GEOMETRY_STREAM, sample_spine

SPACING_MM = (4.0, 0.6, 0.6)
SHAPE = (11, 170, 180)
NAMES = {
    1: "L5 vertebra", 2: "L4 vertebra", 5: "L1 vertebra", 31: "S1 vertebra", 26: "sacrum",
    100: "spinal canal", 201: "L5-S1 disc", 202: "L4-L5 disc",
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """A wedge seen from the side: centre (y, z), tilt of its depth axis, size, angle between its faces."""

    label: int
    centre_mm: tuple[float, float]
    tilt_deg: float = 0.0
    height_mm: float = 26.0
    depth_mm: float = 34.0
    wedge_deg: float = 0.0

    @property
    def forward(self) -> np.ndarray:
        tilt = math.radians(self.tilt_deg)
        return np.array([math.cos(tilt), math.sin(tilt)])

    @property
    def up(self) -> np.ndarray:
        return np.array([-self.forward[1], self.forward[0]])

    @property
    def slope(self) -> float:
        return math.tan(math.radians(self.wedge_deg / 2))

    def height_at(self, share: float) -> float:
        return self.height_mm + 2 * self.slope * (share - 0.5) * self.depth_mm

    def at(self, depth_mm: float, height_mm: float) -> np.ndarray:
        return np.array(self.centre_mm) + depth_mm * self.forward + height_mm * self.up


def paint(*bodies: Body, canal: tuple[float, float] | None = (11.0, 7.5), shape: tuple = SHAPE) -> LabelMap:
    """Bodies with arches, and a canal (half axes) behind the lowest, tilted as it is."""
    x, y, z = (
        (np.arange(n) * s).reshape([-1 if axis == a else 1 for a in range(3)])
        for axis, (n, s) in enumerate(zip(shape, SPACING_MM, strict=True))
    )
    x = x - (shape[0] - 1) / 2 * SPACING_MM[0]
    array = np.zeros(shape, dtype=np.uint8)
    for body in bodies:
        side, height = y - body.centre_mm[0], z - body.centre_mm[1]
        depth = side * body.forward[0] + height * body.forward[1]
        up = side * body.up[0] + height * body.up[1]
        solid = (np.abs(depth) <= body.depth_mm / 2) & (np.abs(up) <= body.height_mm / 2 + body.slope * depth)
        array[solid & (np.abs(x) <= 18)] = body.label
        if body.label < 100:
            arch = (np.abs(up) < 5) & (depth < 0) & (depth > -45) & (np.abs(x) > 12) & (np.abs(x) <= 18)
            spinous = (np.abs(up + 6) < 7) & (depth < -36) & (depth > -50) & (np.abs(x) <= 18)
            array[(arch | spinous) & (array == 0)] = body.label
    if canal is not None:
        low = bodies[0]
        depth = (y - low.centre_mm[0]) * low.forward[0] + (z - low.centre_mm[1]) * low.forward[1]
        tube = (x / canal[0]) ** 2 + ((depth + low.depth_mm / 2 + 10) / canal[1]) ** 2 <= 1
        array[tube & (array == 0)] = 100
    grid = Grid(shape, np.diag([*SPACING_MM, 1.0]))
    return LabelMap(array, grid, NAMES)


def values(found: tuple[Measurement, ...]) -> dict[tuple[str, str, str], float]:
    return {(m.structure, m.place, m.quantity): m.value for m in found}


def reasons(found: tuple[Measurement, ...]) -> dict[tuple[str, str, str], str]:
    return {(m.structure, m.place, m.quantity): m.reason for m in found if m.reason}


@pytest.mark.parametrize("tilt_deg", [-30.0, 0.0, 17.0])
@pytest.mark.parametrize("wedge_deg", [-9.0, 0.0, 12.0])
def test_heights_and_wedge_of_a_body_however_it_is_tilted(tilt_deg: float, wedge_deg: float) -> None:
    body = Body(2, (62.0, 54.0), tilt_deg, wedge_deg=wedge_deg)
    found = values(measure_spine(paint(body)))
    for place, share in (("anterior", 7 / 8), ("middle", 1 / 2), ("posterior", 1 / 8)):
        expected = body.height_at(share)
        assert found["L4 vertebra", "", f"height_{place}_mm"] == pytest.approx(expected, abs=0.4)
    assert found["L4 vertebra", "", "wedge_deg"] == pytest.approx(wedge_deg, abs=0.8)


def test_an_ellipsoid_has_its_chords_as_heights() -> None:
    given = paint(Body(2, (62.0, 54.0)), canal=None)
    i, j, k = (axis * s for axis, s in zip(np.indices(SHAPE), SPACING_MM, strict=True))
    inside = ((i - 20) / 16) ** 2 + ((j - 50) / 18) ** 2 + ((k - 54) / 12) ** 2 <= 1
    found = values(measure_spine(replace(given, array=inside.astype(np.uint8) * 2)))
    assert found["L4 vertebra", "", "volume_ml"] == pytest.approx(
        4 / 3 * math.pi * 16 * 18 * 12 / 1000, rel=0.02
    )
    # In the band of 8 mm about the middle; the two outer slices are 1 - sqrt(1 - (4 / 16)²) = 3 % smaller.
    assert found["L4 vertebra", "", "height_middle_mm"] == pytest.approx(24.0, abs=1.0)


@pytest.mark.parametrize("canal", [(11.0, 7.5), None])
def test_arches_are_not_part_of_the_body_with_and_without_a_canal(canal: tuple[float, float] | None) -> None:
    body = Body(2, (62.0, 54.0), 10.0)
    found = values(measure_spine(paint(body, canal=canal)))
    assert found["L4 vertebra", "", "height_posterior_mm"] == pytest.approx(26.0, abs=0.4)


def test_stray_voxels_of_canal_do_not_cut_a_body() -> None:
    given = paint(Body(2, (62.0, 54.0)))
    array = given.array.copy()
    array[5, 60:150, 88] = 100  # a row of canal across the body, in one slice
    found = values(measure_spine(replace(given, array=array)))
    assert found["L4 vertebra", "", "height_anterior_mm"] == pytest.approx(26.0, abs=0.4)


@pytest.mark.parametrize("tilt_deg", [-25.0, 0.0, 10.0])
def test_disc_height_and_index(tilt_deg: float) -> None:
    lower = Body(1, (60.0, 30.0), tilt_deg, height_mm=24.0)
    disc = Body(202, tuple(lower.at(0, 12 + 4.5)), tilt_deg, height_mm=9.0, depth_mm=36.0)
    upper = Body(2, tuple(lower.at(0, 12 + 9 + 13)), tilt_deg, height_mm=26.0)
    found = values(measure_spine(paint(lower, disc, upper)))
    assert found["L4-L5 disc", "", "height_mm"] == pytest.approx(9.0, abs=0.4)
    assert found["L4-L5 disc", "", "height_index"] == pytest.approx(9 / 26, abs=0.02)


@pytest.mark.parametrize("slip_mm", [-4.0, 0.0, 7.0])
@pytest.mark.parametrize("tilt_deg", [-20.0, 0.0])
def test_a_slip_is_measured_along_the_face_below(slip_mm: float, tilt_deg: float) -> None:
    lower = Body(1, (58.0, 30.0), tilt_deg)
    upper = Body(2, tuple(lower.at(slip_mm, 13 + 10 + 13)), tilt_deg)
    found = values(measure_spine(paint(lower, upper, canal=None)))
    assert found["L4 vertebra", "over L5 vertebra", "slip_mm"] == pytest.approx(slip_mm, abs=0.5)


def test_a_slip_is_over_the_next_vertebra_only() -> None:
    far = paint(Body(1, (60.0, 20.0), height_mm=20.0), Body(5, (60.0, 80.0)), canal=None)
    found = reasons(measure_spine(far))
    assert found["L1 vertebra", "over L2 vertebra", "slip_mm"] == "L2 vertebra is not in the label map"
    assert "S1 is not labelled" in found["L5 vertebra", "over S1 vertebra", "slip_mm"]


def test_lordosis_from_end_plates() -> None:
    low = Body(1, (58.0, 34.0), -18.0, height_mm=20.0, wedge_deg=6.0)
    disc = Body(201, tuple(low.at(0, -16)), -27.0, height_mm=8.0, wedge_deg=10.0)
    top = Body(5, (62.0, 80.0), 11.0, wedge_deg=2.0)
    found = values(measure_spine(paint(low, disc, top, canal=None)))
    assert found["spine", "", "lordosis_l1_l5_deg"] == pytest.approx((11 + 1) - (-18 - 3), abs=1.0)
    # The lower face of the lowest disc stands for S1.
    assert found["spine", "", "lordosis_l1_s1_deg"] == pytest.approx((11 + 1) - (-27 - 5), abs=1.5)


@pytest.mark.parametrize("label", [31, 26])
def test_the_sacrum_serves_the_slip_of_the_lowest_vertebra(label: int) -> None:
    sacrum = Body(label, (58.0, 22.0), -20.0, height_mm=24.0)
    disc = Body(201, tuple(sacrum.at(0, 12 + 4)), -20.0, height_mm=8.0)
    low = Body(1, tuple(sacrum.at(5.0, 12 + 8 + 12)), -20.0, height_mm=24.0)
    found = values(measure_spine(paint(sacrum, disc, low, canal=None)))
    assert found["L5 vertebra", "over S1 vertebra", "slip_mm"] == pytest.approx(5.0, abs=0.6)


@pytest.mark.parametrize("tilt_deg", [-20.0, 0.0, 15.0])
def test_canal_is_measured_across_its_course(tilt_deg: float) -> None:
    found = values(measure_spine(paint(Body(2, (62.0, 54.0), tilt_deg))))
    area_mm2 = found["spinal canal", "L4 vertebra", "area_mm2"]
    # Slices of 4 mm draw an ellipse of 11 mm half width as 5 slices: by their own chords.
    chords = [15 * math.sqrt(1 - (x / 11) ** 2) for x in (-8, -4, 0, 4, 8)]
    assert area_mm2 == pytest.approx(4 * sum(chords), rel=0.03)
    assert area_mm2 == pytest.approx(math.pi * 11 * 7.5, rel=0.06)
    assert found["spinal canal", "L4 vertebra", "depth_mm"] == pytest.approx(15.0, abs=0.4)


def test_all_axis_orders_give_the_same_numbers(reoriented: Callable[..., LabelMap]) -> None:
    lower = Body(1, (60.0, 34.0), -12.0)
    given = paint(lower, Body(2, tuple(lower.at(2, 36)), -8.0, wedge_deg=5.0))
    expected = values(measure_spine(given))
    orders = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
    for order, signs in orders[3::9]:
        found = values(measure_spine(reoriented(given, order, signs)))
        assert found == pytest.approx(expected, nan_ok=True)


def test_what_the_border_cuts_has_a_reason_and_no_value() -> None:
    found = measure_spine(paint(Body(2, (62.0, 10.0))))
    assert "border" in reasons(found)["L4 vertebra", "", "height_middle_mm"]
    assert "border" in reasons(found)["L4 vertebra", "", "volume_ml"]
    assert math.isnan(values(found)["L4 vertebra", "", "volume_ml"])
    assert values(found)["L4 vertebra", "", "visible_volume_ml"] > 0


def test_a_thin_slab_shows_heights_but_no_volume_and_no_area() -> None:
    found = measure_spine(paint(Body(2, (62.0, 54.0)), shape=(3, 170, 180)))
    assert values(found)["L4 vertebra", "", "height_middle_mm"] == pytest.approx(26.0, abs=0.4)
    assert "border" in reasons(found)["L4 vertebra", "", "volume_ml"]
    assert "lateral border" in reasons(found)["spinal canal", "L4 vertebra", "area_mm2"]
    assert values(found)["spinal canal", "L4 vertebra", "depth_mm"] == pytest.approx(15.0, abs=0.4)


def test_a_slab_beside_the_midline_has_a_reason() -> None:
    given = paint(Body(2, (62.0, 54.0)))
    beside = replace(given, array=given.array[6:].copy(), grid=Grid((5, *SHAPE[1:]), given.grid.affine))
    assert "midline" in reasons(measure_spine(beside))["L4 vertebra", "", "height_middle_mm"]


def test_values_for_partly_visible_structures_are_named() -> None:
    given = paint(Body(2, (62.0, 54.0)))
    partly = replace(
        given, array=np.where(given.array == 2, 102, given.array).astype(np.uint8), scheme="spider",
        ignored=frozenset({102}),
    )  # fmt: skip
    found = reasons(measure_spine(partly))
    assert found["L4 vertebra", "", "height_middle_mm"] == "marked as only partly visible"


def column(*labels: int) -> LabelMap:
    """Bodies and discs on top of each other in SPIDER's numbers, with a canal."""
    places = {1: 30.0, 202: 48.0, 2: 66.0, 31: -6.0, 201: 12.0}
    bodies = [Body(n, (62.0, 20.0 + places[n]), height_mm=9.0 if n > 200 else 24.0) for n in labels]
    return paint(*bodies)


@pytest.mark.parametrize("names", [NAMES, NAMES | {1: "L6 vertebra", 202: "L5-L6 disc", 2: "L5 vertebra"}])
def test_a_structure_that_is_named_and_ignored_has_rows_with_a_reason(names: dict[int, str]) -> None:
    given = replace(column(1, 202, 2), names=names)
    whole = measure_spine(given)
    found = measure_spine(replace(given, ignored=frozenset({1})))
    low, high = names[1], names[2]
    partial = "marked as only partly visible"
    # Every row that the whole vertebra has, but for the volume of what is there.
    keys = {(m.structure, m.place, m.quantity) for m in whole} - {(low, "", "visible_volume_ml")}
    assert {(m.structure, m.place, m.quantity) for m in found} == keys
    for quantity in ("volume_ml", "height_middle_mm", "wedge_deg"):
        assert reasons(found)[low, "", quantity] == partial
    assert reasons(found)["spinal canal", low, "area_mm2"] == partial
    short = low.removesuffix(" vertebra")
    assert reasons(found)[high, f"over {low}", "slip_mm"] == f"{short} is only partly visible"
    assert reasons(found)["spine", "", "lordosis_l1_s1_deg"]
    assert values(found)[high, "", "height_middle_mm"] == pytest.approx(24.0, abs=0.4)


def test_neighbours_of_what_is_only_partly_visible_say_so() -> None:
    found = reasons(measure_spine(replace(column(1, 202, 2), ignored=frozenset({2, 31, 201}))))
    assert found["L4-L5 disc", "", "height_index"] == "L4 is only partly visible"
    spine = replace(column(31, 201, 1, 2), names=NAMES | {2: "L1 vertebra"}, ignored=frozenset({31, 201}))
    found = reasons(measure_spine(spine))
    assert found["spine", "", "lordosis_l1_s1_deg"] == "S1 is only partly visible"
    assert found["L5 vertebra", "over S1 vertebra", "slip_mm"] == "S1 is only partly visible"
    assert found["L5-S1 disc", "", "height_index"] == "marked as only partly visible"
    spine = replace(spine, names=spine.names | {31: "sacrum"})
    assert reasons(measure_spine(spine))["spine", "", "lordosis_l1_s1_deg"] == "S1 is only partly visible"
    cut = replace(spine, ignored=frozenset({100}))
    found = reasons(measure_spine(cut))
    assert found["spinal canal", "L5 vertebra", "depth_mm"] == "marked as only partly visible"
    assert found["spinal canal", "", "volume_ml"] == "marked as only partly visible"


def test_lordosis_without_its_lowest_vertebra_has_a_reason_and_no_value() -> None:
    names = NAMES | {31: "L4 vertebra", 1: "L3 vertebra", 2: "L1 vertebra"}
    lordosis = ("spine", "", "lordosis_l1_l5_deg")
    no_l5 = replace(column(31, 1, 2), names=names)
    assert reasons(measure_spine(no_l5))[lordosis] == "L5 is not labelled"
    spider = replace(
        no_l5, array=np.where(no_l5.array == 31, 101, no_l5.array).astype(np.uint8), scheme="spider",
        names={1: "L4 vertebra", 2: "L1 vertebra", 100: "spinal canal"}, ignored=frozenset({101}),
    )  # fmt: skip
    assert reasons(measure_spine(spider))[lordosis] == "L5 is only partly visible"
    no_l1 = replace(no_l5, names=names | {31: "L5 vertebra", 2: "L2 vertebra"})
    assert reasons(measure_spine(no_l1))[lordosis] == "L1 is not labelled"
    whole = replace(no_l1, names=names | {31: "L5 vertebra"})
    assert values(measure_spine(whole))[lordosis] == pytest.approx(0.0, abs=0.5)
    six = replace(whole, names=names | {31: "L6 vertebra", 1: "L5 vertebra"}, ignored=frozenset({31}))
    assert reasons(measure_spine(six))[lordosis] == "L6 is only partly visible"


def test_degenerate_label_maps_are_measured_without_error() -> None:
    given = paint(Body(2, (62.0, 54.0)))
    empty = replace(given, array=np.zeros_like(given.array))
    assert all(math.isnan(m.value) for m in measure_spine(empty))
    dot = np.zeros_like(given.array)
    dot[5, 80, 90] = 2
    dot[5, 40, 90] = 100
    found = measure_spine(replace(given, array=dot))
    assert "midline" in reasons(found)["L4 vertebra", "", "height_middle_mm"]
    assert values(found)["L4 vertebra", "", "volume_ml"] == pytest.approx(4 * 0.36 / 1000)


def test_a_phantoms_angles_heights_and_slips_are_near_those_it_was_made_from() -> None:
    # Its surfaces are displaced by 0.6 mm (SD), so tolerances are wide; those of means are narrow.
    config = SpineConfig(
        num_lumbar=((5, 1.0),), scoliosis_probability=0.0, fracture_probability=0.0, schmorl_probability=0.0,
        sacrum_cut_probability=0.0, top_level=(7.5, 7.5), below_s1_mm=(70.0, 70.0), depth_mm=(200.0, 200.0),
        in_plane_mm=(1.0, 1.0), thin_slices_probability=0.0, num_slices=(9, 9), slab_offset_mm=0.0,
        slab_tilt_deg=0.0, listhesis_probability=1.0,
    )  # fmt: skip
    seed = 5
    phantom = sample_spine(seed, config)
    plan = plan_spine(np.random.default_rng([seed, GEOMETRY_STREAM]), config)
    found = values(measure_spine(phantom.label_map))
    lumbar = plan.vertebrae[:5]

    heights_mm, slips_mm = [], []
    for vertebra in lumbar:
        size = vertebra.size
        depth_mm = (size.upper_depth_mm + size.lower_depth_mm) / 2
        for place, share in (("anterior", 0.875), ("posterior", 0.125)):
            # Endplates are hollow: least so near the rim.
            true = size.height_mm + 2 * vertebra.endplate_slope * (share - 0.5) * depth_mm
            hollow_mm = vertebra.upper_concavity_mm + vertebra.lower_concavity_mm
            measured = found[vertebra.name, "", f"height_{place}_mm"]
            heights_mm.append(measured - (true - 0.6 * hollow_mm))
    assert np.abs(heights_mm).max() < 3.0
    assert abs(np.mean(heights_mm)) < 0.8

    for lower, upper in itertools.pairwise(lumbar):
        back = upper.frame.at(0, -upper.size.lower_depth_mm / 2, -upper.size.height_mm / 2)
        front = lower.frame.at(0, -lower.size.upper_depth_mm / 2, lower.size.height_mm / 2)
        measured = found[upper.name, f"over {lower.name}", "slip_mm"]
        slips_mm.append(measured - float((back - front) @ lower.frame.axes[:, 1]))
    assert np.abs(slips_mm).max() < 2.5
    assert abs(np.mean(slips_mm)) < 1.2

    views = SpineViews(phantom.label_map.canonical()).views
    errors_deg = [
        views[v.name].plates.angle_deg(of_top=of_top) - direction_deg(v.frame, slope)
        for v in lumbar
        for of_top, slope in ((True, v.endplate_slope), (False, -v.endplate_slope))
    ]
    assert np.abs(errors_deg).max() < 4.0
    assert np.abs(errors_deg).mean() < 2.0
    top_deg = direction_deg(lumbar[4].frame, lumbar[4].endplate_slope)
    low_deg = direction_deg(lumbar[0].frame, -lumbar[0].endplate_slope)
    assert found["spine", "", "lordosis_l1_l5_deg"] == pytest.approx(top_deg - low_deg, abs=4.0)
    # The lower face of a disc of 15 mm stands for S1: less sharp than a body's.
    sacral_deg = direction_deg(plan.sacrum[0].frame, 0.0)
    assert found["spine", "", "lordosis_l1_s1_deg"] == pytest.approx(top_deg - sacral_deg, abs=10.0)

    stations = {s.place: s for s in canal_stations(plan.vertebrae, plan.sacrum, plan.canal)}
    for rank, vertebra in enumerate(lumbar[1:], start=2):
        half_width, half_depth = stations[float(rank)].sac
        area_mm2 = found["spinal canal", vertebra.name, "area_mm2"]
        assert area_mm2 == pytest.approx(math.pi * half_width * half_depth, rel=0.15)


def direction_deg(frame: Frame, slope: float) -> float:
    """Direction of an endplate towards the front, in the sagittal plane."""
    forward = frame.axes[:, 1] + slope * frame.axes[:, 2]
    return math.degrees(math.atan2(forward[2], forward[1]))
