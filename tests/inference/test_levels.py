"""Level names become consistent over the slices of a scan, and nothing but names changes."""

import numpy as np
import pytest

from nomina.inference.levels import consistent_levels

STRUCTURES = (
    *(f"{level} vertebra" for level in ("L5", "L4", "L3", "L2", "L1")),
    "spinal canal",
    *(f"{disc} disc" for disc in ("L5-S1", "L4-L5", "L3-L4", "L2-L3", "L1-L2")),
)
CANAL = STRUCTURES.index("spinal canal") + 1


def spine(num_slices: int = 6, num_levels: int = 4, lowest: int = 1) -> np.ndarray:
    """Stacked discs and bodies, spinous processes behind, and a canal; rank `lowest` at the bottom."""
    classes = np.zeros((num_slices, 20, 12 * num_levels + 4), dtype=np.uint8)
    for level in range(num_levels):
        rank, k = lowest + level, 2 + 12 * level
        classes[:, 10:18, k : k + 2] = STRUCTURES.index(STRUCTURES[5 + rank]) + 1
        classes[:, 10:18, k + 3 : k + 11] = rank
        classes[:, 1:4, k + 1 : k + 8] = rank
    classes[:, 5:9] = CANAL
    return classes


def shifted(plane: np.ndarray, by: int) -> np.ndarray:
    """The same slice with every level named `by` levels higher."""
    table = np.arange(len(STRUCTURES) + 1, dtype=np.uint8)
    for rank in range(1, 6):
        table[rank] = rank + by if 1 <= rank + by <= 5 else 0
        table[CANAL + rank] = CANAL + rank + by if 1 <= rank + by <= 5 else 0
    return table[plane]


def test_a_consistent_scan_is_not_touched() -> None:
    classes = spine()
    naming = consistent_levels(classes, STRUCTURES)
    np.testing.assert_array_equal(naming.classes, classes)
    assert naming.agreement == 1.0


@pytest.mark.parametrize("by", [1, -1])
def test_slices_named_one_level_off_follow_the_majority(by: int) -> None:
    truth = spine(lowest=2, num_levels=3)
    said = truth.copy()
    for index in (0, 4):
        said[index] = shifted(truth[index], by)
    naming = consistent_levels(said, STRUCTURES)
    np.testing.assert_array_equal(naming.classes, truth)
    assert naming.agreement == pytest.approx(4 / 6, abs=0.01)


def test_a_repeated_name_is_resolved_by_the_order_from_the_bottom() -> None:
    truth = spine()
    said = truth.copy()
    # The whole scan calls the two upper levels by the name of the one below.
    for rank in (4, 3):
        said[:, :, 2 + 12 * (rank - 1) :][truth[:, :, 2 + 12 * (rank - 1) :] == rank] = rank - 1
        said[truth == CANAL + rank] = CANAL + rank - 1
    naming = consistent_levels(said, STRUCTURES)
    np.testing.assert_array_equal(naming.classes == CANAL + 1, truth == CANAL + 1)
    discs = naming.classes[0, 12, [2, 14, 26, 38]]
    assert np.diff(discs.astype(int)).tolist() == [1, 1, 1]


def test_borders_never_move() -> None:
    rng = np.random.default_rng(0)
    truth = spine()
    said = np.stack([shifted(plane, int(rng.integers(-1, 2))) for plane in truth])
    known = said > 0
    naming = consistent_levels(said, STRUCTURES)
    kind = np.array([0, *[1] * 5, 2, *[3] * 5])
    kept = naming.classes > 0
    np.testing.assert_array_equal(kind[naming.classes][kept & known], kind[said][kept & known])
    assert not (kept & ~known).any()


def test_a_scan_without_discs_is_left_alone() -> None:
    classes = spine()
    classes[classes > CANAL] = 0
    assert consistent_levels(classes, STRUCTURES).classes is classes


def test_a_piece_that_is_mostly_one_level_is_that_level() -> None:
    truth = spine()
    said = truth.copy()
    body = np.argwhere(truth[2] == 3)
    specks = body[np.random.default_rng(0).choice(len(body), len(body) // 4, replace=False)]
    said[2, specks[:, 0], specks[:, 1]] = 2
    np.testing.assert_array_equal(consistent_levels(said, STRUCTURES).classes, truth)


def test_two_vertebrae_that_touch_keep_their_names() -> None:
    joined = spine()
    joined[1, 10:12, 13:17] = 1
    joined[1, 10:12, 15:17] = 2
    np.testing.assert_array_equal(consistent_levels(joined, STRUCTURES).classes, joined)


@pytest.mark.parametrize("missed", [2, 3, 4])
def test_a_missed_disc_leaves_the_names_of_all_others(missed: int) -> None:
    said = spine(num_levels=5)
    said[said == CANAL + missed] = 0
    naming = consistent_levels(said, STRUCTURES)
    np.testing.assert_array_equal(naming.classes, said)
    assert naming.agreement == 1.0


def test_a_number_is_not_left_out_without_room_for_a_disc() -> None:
    """The upper two levels are named one too high; no gap is wide, so they follow the order."""
    truth = spine(num_levels=4)
    said = truth.copy()
    for rank in (3, 4):
        said[truth == rank] = rank + 1
        said[truth == CANAL + rank] = CANAL + rank + 1
    discs = consistent_levels(said, STRUCTURES).classes[0, 12, [2, 14, 26, 38]].astype(int)
    assert np.diff(discs).tolist() == [1, 1, 1]


def test_a_disc_in_two_pieces_counts_once() -> None:
    truth = spine(num_levels=4)
    said = truth.copy()
    said[:, 13:15][said[:, 13:15] == CANAL + 1] = 0
    # The pieces of a tilted disc differ in height.
    front = said[:, 15:18, 2:4].copy()
    said[:, 15:18, 2:4] = 0
    said[:, 15:18, 0:2] = front
    np.testing.assert_array_equal(consistent_levels(said, STRUCTURES).classes, said)


def test_each_disc_has_one_vote_whatever_its_size() -> None:
    """One large disc named a level too high stands against two small ones that are right."""
    truth = spine(num_levels=3, lowest=2)
    said = truth.copy()
    said[:, 12:18][truth[:, 12:18] == CANAL + 2] = 0
    said[:, 12:18][truth[:, 12:18] == CANAL + 3] = 0
    said[truth == CANAL + 4] = CANAL + 5
    named = consistent_levels(said, STRUCTURES).classes
    assert {int(value) - CANAL for value in np.unique(named[said > CANAL])} == {2, 3, 4}


def test_discs_that_touch_at_a_corner_only_are_two() -> None:
    said = spine(num_levels=4)
    for step in range(10):
        said[2, 9 - step % 2 if step < 5 else 9 + step % 2, 4 + step] = CANAL + 1
    named = consistent_levels(said, STRUCTURES).classes
    for rank in (1, 2, 3, 4):
        whole = spine(num_levels=4) == CANAL + rank
        assert set(named[whole & (said > CANAL)].tolist()) == {CANAL + rank}


def test_vertebrae_that_touch_at_a_corner_only_keep_their_names() -> None:
    said = spine(num_levels=4)
    said[1, 18:20, 13:15] = 2
    np.testing.assert_array_equal(consistent_levels(said, STRUCTURES).classes, said)


@pytest.mark.parametrize(("width", "is_disc"), [(1, False), (2, True)])
def test_a_piece_is_a_disc_from_a_fifth_of_the_median_disc(width: int, is_disc: bool) -> None:
    """A piece of an eighth, and of a quarter, in the middle of a vertebra."""
    said = spine(num_levels=4)
    said[:, 12 : 12 + width, 20:22] = CANAL + 5
    named = consistent_levels(said, STRUCTURES).classes
    assert np.array_equal(named, said) != is_disc


def with_piece(classes: np.ndarray, value: int, place_j: int) -> np.ndarray:
    """The same with a piece of a tenth of a disc at the height of the second disc, in two slices."""
    result = classes.copy()
    result[:2, place_j, 13:18] = value
    return result


@pytest.mark.parametrize(("place_j", "is_near"), [(19, True), (0, False)])
def test_a_piece_too_small_for_a_disc_follows_the_disc_beside_it(place_j: int, is_near: bool) -> None:
    truth = spine(lowest=2, num_levels=3)
    said = truth.copy()
    for index in (0, 4):
        said[index] = shifted(truth[index], 1)
    named = consistent_levels(with_piece(said, CANAL + 4, place_j), STRUCTURES).classes
    np.testing.assert_array_equal(named, with_piece(truth, CANAL + 3 if is_near else 0, place_j))


def test_a_small_piece_beside_a_disc_past_the_known_levels_goes_with_it() -> None:
    """Two discs of one name push the topmost one past the four that the model knows."""
    said = spine(num_levels=5)
    for rank in (4, 5):
        said[said == CANAL + rank] = CANAL + rank - 1
    said[:2, 19, 49:54] = CANAL + 4
    named = consistent_levels(said, STRUCTURES[:-1]).classes
    assert not named[:, 10:18, 50:52].any()
    assert not named[:2, 19, 49:54].any()


@pytest.mark.parametrize("place_j", [19, 0])
def test_a_small_piece_keeps_its_name_where_no_disc_is_renamed(place_j: int) -> None:
    said = with_piece(spine(), CANAL + 4, place_j)
    np.testing.assert_array_equal(consistent_levels(said, STRUCTURES).classes, said)


@pytest.mark.parametrize(("drop", "is_one"), [(3, True), (4, False)])
def test_pieces_of_a_disc_are_one_up_to_half_a_level_apart(drop: int, is_one: bool) -> None:
    """Front and back are 5 apart in depth and 3 or 4 in height; a level is 12."""
    said = spine(num_levels=5)
    said[:, 13:15][said[:, 13:15] == CANAL + 3] = 0
    front = said[:, 15:18, 26:28].copy()
    said[:, 15:18, 26:28] = 3
    said[:, 15:18, 26 - drop : 28 - drop] = front
    named = consistent_levels(said, STRUCTURES).classes
    assert np.array_equal(named[said > CANAL], said[said > CANAL]) == is_one


def test_a_level_is_sure_where_the_network_sees_the_sacrum_and_uncertain_elsewhere() -> None:
    spacing_mm = (3.0, 3.0, 3.0)
    said = np.pad(spine(), ((0, 0), (0, 0), (20, 0)))
    whole = consistent_levels(said, STRUCTURES, spacing_mm=spacing_mm)
    assert list(whole.levels) == ["L5-S1 disc", "L4-L5 disc", "L3-L4 disc", "L2-L3 disc"]
    assert all(level.is_sure for level in whole.levels.values())
    assert "lies on the sacrum" in whole.reason
    cropped = consistent_levels(spine(lowest=2, num_levels=4), STRUCTURES, spacing_mm=spacing_mm)
    assert not any(level.is_sure for level in cropped.levels.values())
    assert "not known to lie" in cropped.reason


def test_a_disc_at_the_border_is_not_known_to_lie_on_the_sacrum_whatever_the_network_calls_it() -> None:
    """As where a scan is cut off under L4-L5 and the network calls that disc L5-S1."""
    found = consistent_levels(spine()[:, :, 3:], STRUCTURES, spacing_mm=(3.0, 3.0, 3.0))
    assert not any(level.is_sure for level in found.levels.values())
    assert "not known to lie" in found.reason


def test_a_vertebra_under_the_lowest_disc_takes_trust_from_it() -> None:
    said = np.pad(spine(), ((0, 0), (0, 0), (20, 0)))
    with_bone = said.copy()
    with_bone[:, 10:18, 12:20] = 1
    confidences = [
        consistent_levels(classes, STRUCTURES, spacing_mm=(3.0, 3.0, 3.0)).levels["L5-S1 disc"].confidence
        for classes in (said, with_bone)
    ]
    assert confidences[1] < confidences[0]
    assert "a vertebra was found under it" in consistent_levels(with_bone, STRUCTURES).reason


def test_the_room_below_counts_from_the_first_row_with_content() -> None:
    said = np.pad(spine(), ((0, 0), (0, 0), (20, 0)))
    near, far = (
        consistent_levels(said, STRUCTURES, spacing_mm=(3.0, 3.0, 3.0), lowest_row=row) for row in (20, 0)
    )
    assert near.levels["L5-S1 disc"].confidence < far.levels["L5-S1 disc"].confidence
    assert "68 mm" in far.reason
    assert "8 mm" in near.reason
