"""Relations of places: left of right, above, in front; too large; levels skipped, left out or used twice."""

import numpy as np
import pytest

from nomina.assessment.body_check import ABOVE, IN_FRONT_OF, NEXT_ABOVE, RIGHT_OF, body_checks, other_side
from nomina.assessment.check import faults
from nomina.assessment.level_check import level_checks
from nomina.assessment.places import MAX_POINTS, Place, places
from nomina.imaging.grid import Grid

UP = {"C": 17.0, "T": 22.0, "L": 36.0}


def at(
    centre_mm: tuple[float, float, float], *, height_mm: float = 20.0, ml: float = 10.0, is_cut: bool = False
) -> Place:
    """A box of 20 mm around a point."""
    centre = np.array(centre_mm, dtype=float)
    half = np.array([10.0, 10.0, height_mm / 2])
    points = np.array([centre - half, centre, centre + half])
    return Place(points, centre, points[0], points[2], ml, is_cut)


def found(**named: Place) -> tuple[str, ...]:
    names = {value: name.replace("__", " ") for value, name in enumerate(named, start=1)}
    return faults(body_checks(names, dict(enumerate(named.values(), start=1))))


def column(*levels: str, step_mm: float | None = None) -> dict[str, Place]:
    """Vertebrae from the bottom, each a step of its region above the one before."""
    result, height = {}, 0.0
    for level in levels:
        result[f"{level} vertebra"] = at((0, 0, height), height_mm=step_mm or UP[level[0]])
        height += step_mm or UP[level[0]]
    return result


def level_faults(there: dict[str, Place]) -> tuple[str, ...]:
    names = dict(enumerate(there, start=1))
    return faults(level_checks(names, {value: there[name] for value, name in names.items()}))


def test_places_hold_world_coordinates_volume_and_whether_the_border_cuts() -> None:
    array = np.zeros((10, 12, 14), dtype=np.uint8)
    array[2:4, 5, 6:8] = 3
    array[:, 0, 0] = 7
    affine = np.array([[-2.0, 0, 0, 5], [0, 0, 3, -7], [0, 1.5, 0, 2], [0, 0, 0, 1]])
    where = places(array, Grid(array.shape, affine))
    assert list(where) == [3, 7]
    np.testing.assert_allclose(where[3].centre_mm, [5 - 2 * 2.5, -7 + 3 * 6.5, 2 + 1.5 * 5])
    np.testing.assert_allclose(where[3].highest_mm - where[3].lowest_mm, [2, 3, 0])
    assert where[3].volume_ml == pytest.approx(4 * 9 / 1000)
    assert (where[3].is_cut, where[7].is_cut) == (False, True)
    turned = where[3].turned((1, 1, -1))
    np.testing.assert_allclose(turned.centre_mm, where[3].centre_mm * [1, 1, -1])
    assert (turned.lowest_mm <= turned.highest_mm).all()


def test_a_large_place_is_thinned_evenly() -> None:
    array = np.zeros((42, 42, 42), dtype=np.uint8)
    array[1:-1, 1:-1, 1:-1] = 1
    place = places(array, Grid(array.shape, np.eye(4)))[1]
    assert len(place.points_mm) <= MAX_POINTS
    assert place.volume_ml == pytest.approx(64.0)
    np.testing.assert_allclose(place.centre_mm, [20.5, 20.5, 20.5], atol=0.1)


def test_an_empty_map_has_no_places() -> None:
    assert places(np.zeros((2, 2, 2), dtype=np.int16), Grid((2, 2, 2), np.eye(4))) == {}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("left lung", "right lung"),
        ("kidney_right", "kidney_left"),
        ("Vessel, LeftUpperThird", "Vessel, RightUpperThird"),
        ("L4 vertebra", None),
    ],
)
def test_the_other_side_is_known_by_name(name: str, other: str | None) -> None:
    assert other_side(name) == other


def test_sides_are_judged_in_the_world_where_left_is_negative() -> None:
    left, right = at((-60, 0, 0)), at((60, 0, 0))
    assert found(left__lung=left, right__lung=right) == ()
    (said,) = found(left__lung=right, right__lung=left)
    assert "left lung" in said
    assert "left and right are exchanged" in said
    (said,) = found(left__lung=left, right__lung=right, kidney_left=right, kidney_right=left)
    assert "kidney_left; 1 of 2 pairs are exchanged" in said


@pytest.mark.parametrize(("pairs", "axis"), [(RIGHT_OF, 0), (IN_FRONT_OF, 1), (ABOVE, 2), (NEXT_ABOVE, 2)])
def test_each_relation_holds_one_way_only(pairs: tuple[tuple[str, str], ...], axis: int) -> None:
    for first, second in pairs:
        offset = [0.0, 0.0, 0.0]
        offset[axis] = 30.0
        here, there = at((0, 0, 0)), at((offset[0], offset[1], offset[2]))
        names = {1: first, 2: second}
        assert faults(body_checks(names, {1: there, 2: here})) == ()
        assert any(f"{first} / {second}" in said for said in faults(body_checks(names, {1: here, 2: there})))


def test_what_the_border_cuts_or_is_tiny_is_not_judged_by_its_place() -> None:
    low, high = at((0, 0, 0)), at((0, 0, 50), is_cut=True)
    assert found(rib_left_1=low, rib_left_2=at((0, 0, 50))) != ()
    assert found(rib_left_1=low, rib_left_2=high) == ()
    assert found(brain=at((0, 0, 0), ml=0.01), heart=at((0, 0, 50))) == ()


def test_the_cord_lies_behind_the_vertebrae() -> None:
    vertebra, behind, before = at((0, 0, 0)), at((0, -10, 0)), at((0, 10, 0))
    assert found(L4__vertebra=vertebra, spinal__cord=behind) == ()
    assert "in front of the vertebrae" in found(L4__vertebra=vertebra, spinal__cord=before)[0]


def test_too_much_speaks_against_a_name() -> None:
    assert found(L4__vertebra=at((0, 0, 0), height_mm=70, ml=90)) == ()
    assert found(L4__vertebra=at((0, 0, 0), ml=400)) == ("L4 vertebra has 400 ml, expected at most 200 ml",)
    assert found(L4__vertebra=at((0, 0, 0), height_mm=140)) == (
        "L4 vertebra is 140 mm high, expected at most 90 mm",
    )


def test_an_ordinary_column_has_no_faults_of_level() -> None:
    upwards = [*(f"L{n}" for n in range(5, 0, -1)), *(f"T{n}" for n in range(12, 0, -1))]
    assert level_faults(column(*upwards, *(f"C{n}" for n in range(7, 0, -1)))) == ()
    assert level_faults(column("L6", *upwards)) == ()
    assert level_faults(column("L2", "L1", "T13", "T12", "T11")) == ()


def test_a_skipped_number_and_an_unlabelled_level_are_told_apart() -> None:
    (skipped,) = level_faults(column("L5", "L4", "L2", "L1", "T12"))
    assert skipped == "the labels skip L3, although L2 and L4 are neighbours"
    there = column("L5", "L4", "L3", "L2", "L1", "T12")
    del there["L3 vertebra"]
    assert level_faults(there) == ("L3 between L2 and L4 has no label",)


def test_room_for_a_vertebra_is_seen_unless_the_border_cuts_its_neighbours() -> None:
    there = column("L4", "L3", "L2", "L1", "T12", "T11")
    moved = {name: at((0, 0, place.centre_mm[2] + 36 * (name[0] == "T"))) for name, place in there.items()}
    (said,) = level_faults(moved)
    assert "between T12 and L1 there is room for a vertebra without a label: they are 72 mm apart" in said
    cut = moved | {"T12 vertebra": at(tuple(moved["T12 vertebra"].centre_mm), is_cut=True)}  # type: ignore[arg-type]
    assert level_faults(cut) == ()


def test_one_label_on_two_vertebrae_is_told() -> None:
    there = column("L5", "L4", "L3", "L2", "L1")
    there["L3 vertebra"] = at((0, 0, 72), height_mm=75)
    (said,) = level_faults(there)
    assert "L3 vertebra is 75 mm high, those beside it at most 36 mm" in said


def test_lumbar_steps_between_cervical_names_are_told() -> None:
    assert level_faults(column("C7", "C6", "C5", "C4")) == ()
    (said,) = level_faults(column("C7", "C6", "C5", "C4", step_mm=36.0))
    assert said.startswith("cervical vertebrae are 36 mm apart, expected at most 26 mm")
