from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.scheme_check import check_label_map
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

SpiderMap = Callable[..., LabelMap]
FLIPPED_HEAD = np.diag([1.0, 1.0, -1.0, 1.0])
FLIPPED_FRONT = np.diag([1.0, -1.0, 1.0, 1.0])


def renumbered(label_map: LabelMap, changes: dict[int, int]) -> LabelMap:
    array = label_map.array.copy()
    for old, new in changes.items():
        array[label_map.array == old] = new
    names = {int(value): f"structure {value}" for value in np.unique(array) if value}
    return replace(label_map, array=array, names=names, ignored=frozenset())


def turned(label_map: LabelMap, flip: np.ndarray) -> LabelMap:
    return replace(label_map, grid=Grid(label_map.grid.shape, flip @ label_map.grid.affine))


def assert_one_fault(faults: tuple[str, ...], *words: str) -> None:
    assert len(faults) == 1, faults
    for word in words:
        assert word in faults[0]


@pytest.fixture
def correct(spine: np.ndarray, spider_map: SpiderMap) -> LabelMap:
    return spider_map(spine)


def test_a_correct_spine_has_no_faults_in_any_axis_order(correct: LabelMap) -> None:
    affine = correct.grid.affine[:, [2, 0, 1, 3]]
    array = correct.array.transpose(2, 0, 1)
    turned_axes = replace(correct, array=array, grid=Grid(array.shape, affine))
    assert check_label_map(correct) == ()
    assert check_label_map(turned_axes) == ()


def test_numbering_from_the_top_is_named_once(correct: LabelMap) -> None:
    top_down = renumbered(correct, {n: 7 - n for n in range(1, 7)})
    assert_one_fault(check_label_map(top_down), "upside down", "vertebra 1", "vertebra 6")


def test_an_affine_that_turns_the_patient_over_is_found(correct: LabelMap) -> None:
    assert_one_fault(check_label_map(turned(correct, FLIPPED_HEAD)), "upside down", "header")


def test_an_affine_that_turns_the_patient_back_to_front_is_found(correct: LabelMap) -> None:
    assert_one_fault(check_label_map(turned(correct, FLIPPED_FRONT)), "in front of", "header")


def test_canal_and_disc_numbers_swapped_are_found(correct: LabelMap) -> None:
    faults = check_label_map(renumbered(correct, {100: 203, 203: 100}))
    assert any("spinal canal" in fault for fault in faults)


def test_two_vertebrae_swapped_are_found(correct: LabelMap) -> None:
    faults = check_label_map(renumbered(correct, {3: 4, 4: 3}))
    assert "vertebra 4 should lie above vertebra 3 and lies below it" in faults


def test_discs_numbered_one_too_high_are_found(correct: LabelMap) -> None:
    faults = check_label_map(renumbered(correct, {200 + n: 201 + n for n in range(1, 6)}))
    assert any("disc 202" in fault and "not between" in fault for fault in faults)


def test_a_gap_an_unknown_number_and_a_vertebra_counted_twice_are_found(correct: LabelMap) -> None:
    assert_one_fault(check_label_map(renumbered(correct, {1: 0, 201: 0})), "without gaps", "got 2, 3")
    assert any("label 60" in fault for fault in check_label_map(renumbered(correct, {6: 60})))
    split = correct.array.copy()
    split[2:5][split[2:5] == 6] = 106
    assert_one_fault(check_label_map(replace(correct, array=split)), "6 and 106")


def test_a_cut_vertebra_of_which_only_the_low_spine_is_seen_is_no_fault(correct: LabelMap) -> None:
    array = correct.array.copy()
    array[array == 6] = 0
    array[4:8, 0:2, 30:66] = 106  # its mean height lies below disc 206
    assert check_label_map(replace(correct, array=array)) == ()


def test_of_two_cut_vertebrae_the_upper_may_show_its_low_arch_alone(correct: LabelMap) -> None:
    array = correct.array.copy()
    array[np.isin(array, [6, 206])] = 0
    array[4:8, 0:2, 2:40] = 106
    whole = check_label_map(replace(correct, array=array))
    assert any("vertebra 106 should lie above vertebra 5" in fault for fault in whole)
    array[array == 5] = 105
    assert check_label_map(replace(correct, array=array)) == ()


@pytest.mark.parametrize("scheme", ["spider", "nomina"])
def test_what_is_left_of_a_vertebra_at_the_border_is_no_fault_though_its_value_is_a_whole_ones(
    correct: LabelMap, scheme: str
) -> None:
    array = correct.array.copy()
    array[array == 6] = 0
    array[4:6, 0:2, 30:66] = 6  # its mean lies below disc 206 and vertebra 5
    assert check_label_map(replace(correct, array=array, scheme=scheme)) == ()


def test_a_piece_at_the_border_beside_one_vertebra_does_not_turn_the_scan_over(correct: LabelMap) -> None:
    array = np.where(np.isin(correct.array, [1, 100]), correct.array, 0)
    array[4:6, 0:2, 0:12] = 2
    assert check_label_map(replace(correct, array=array)) == ()


def test_vertebrae_that_touch_the_border_and_are_nearly_whole_are_judged(correct: LabelMap) -> None:
    narrow = correct.array[3:9]
    swapped = replace(correct, array=narrow, grid=Grid(narrow.shape, correct.grid.affine))
    assert check_label_map(swapped) == ()
    faults = check_label_map(renumbered(swapped, {3: 4, 4: 3}))
    assert "vertebra 4 should lie above vertebra 3 and lies below it" in faults


def test_other_schemes_are_checked_by_name(correct: LabelMap) -> None:
    names = {value: correct.names[value] for value in (1, 2, 3, 202, 203)} | {201: "L5-S1 disc", 9: "sacrum"}
    array = np.where(np.isin(correct.array, list(names)), correct.array, 0)
    array[2:10, 6:14, 0:2] = 9
    by_name = replace(correct, array=array, names=names, scheme="mrspineseg")
    assert check_label_map(by_name) == ()
    upside_down = check_label_map(turned(by_name, FLIPPED_HEAD))
    assert_one_fault(upside_down, "L5 vertebra (label 1)", "L3 vertebra (label 3)")
    swapped = replace(by_name, names=names | {202: names[203], 203: names[202]})
    assert_one_fault(check_label_map(swapped), "L4-L5 disc (label 203)", "L3-L4 disc (label 202)")


def test_a_map_without_vertebrae_has_no_faults(correct: LabelMap) -> None:
    assert check_label_map(replace(correct, array=np.zeros_like(correct.array))) == ()


def real_label_map(shared_data: Path, patient: int) -> LabelMap:
    return read_label_map(
        shared_data / "spider_t2space" / "masks" / f"{patient}_t2_SPACE.mha", scheme="spider"
    )


@pytest.mark.parametrize("patient", [127, 50])
def test_a_real_label_map_passes_whose_top_vertebra_shows_only_its_spine_or_whose_canal_is_short(
    shared_data: Path, patient: int
) -> None:
    assert check_label_map(real_label_map(shared_data, patient)) == ()


def test_faults_planted_in_a_real_label_map_are_found(shared_data: Path) -> None:
    label_map = real_label_map(shared_data, 78)
    num_vertebrae = sum(1 for value in np.unique(label_map.array) if 1 <= value <= 25)
    top_down = {n: num_vertebrae + 1 - n for n in range(1, num_vertebrae + 1)}
    assert any("upside down" in fault for fault in check_label_map(turned(label_map, FLIPPED_HEAD)))
    assert any("in front" in fault for fault in check_label_map(turned(label_map, FLIPPED_FRONT)))
    assert check_label_map(renumbered(label_map, top_down))
    assert check_label_map(renumbered(label_map, {100: 201, 201: 100}))


@pytest.mark.slow
def test_every_real_label_map_passes(shared_data: Path) -> None:
    paths = sorted((shared_data / "spider_t2space" / "masks").glob("*.mha"))
    assert len(paths) == 25
    for path in paths:
        assert check_label_map(read_label_map(path, scheme="spider")) == (), path.name
