"""Bodies are named by the discs around them, wherever the spine leans."""

import numpy as np
import pytest
from scipy import ndimage

from nomina.inference.levels import consistent_levels
from nomina.inference.vertebral_bodies import body_ranks, one_rank_per_piece

SPACING_MM = (4.0, 1.0, 1.0)
STRUCTURES = (
    *(f"{level} vertebra" for level in ("L5", "L4", "L3", "L2", "L1")),
    *(f"{disc} disc" for disc in ("L5-S1", "L4-L5", "L3-L4", "L2-L3", "L1-L2")),
)


def stack(num_levels: int = 4, lowest: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks of bodies, of processes behind them (half a level lower) and of discs; axes R, A, S."""
    bodies, processes, discs = (np.zeros((3, 80, 30 * num_levels + 40), dtype=np.uint8) for _ in range(3))
    for level in range(num_levels):
        bottom = 20 + 30 * level
        discs[:, 40:70, bottom : bottom + 6] = lowest + level
        bodies[:, 41:69, bottom + 8 : bottom + 28] = lowest + level
        processes[:, 10:25, bottom - 5 : bottom + 10] = lowest + level
    return bodies, processes, discs


def leaning(array: np.ndarray, degrees: float) -> np.ndarray:
    return ndimage.rotate(array, degrees, axes=(1, 2), reshape=False, order=0)


@pytest.mark.parametrize("degrees", [-25.0, 0.0, 25.0])
def test_a_body_is_the_vertebra_above_its_disc_and_processes_are_no_bodies(degrees: float) -> None:
    bodies, processes, discs = (leaning(array, degrees) for array in stack())
    found = body_ranks((bodies > 0) | (processes > 0), discs, SPACING_MM)
    is_body = bodies > 0
    assert (found[is_body] == bodies[is_body]).mean() > 0.99  # corners reach past the turned discs
    assert not ((found != bodies) & (found > 0)).any()


def test_bodies_around_a_missed_disc_are_told_apart_where_it_would_be() -> None:
    bodies, _, discs = stack()
    discs[discs == 3] = 0
    np.testing.assert_array_equal(body_ranks(bodies > 0, discs, SPACING_MM), bodies)


def test_there_is_room_for_one_body_beyond_the_discs_and_not_for_two() -> None:
    bodies, _, discs = stack(num_levels=5)
    discs[(discs == 1) | (discs >= 4)] = 0
    found = body_ranks(bodies > 0, discs, SPACING_MM)
    np.testing.assert_array_equal(found, np.where(bodies <= 3, bodies, 0))


def test_what_lies_under_the_lowest_lumbar_disc_is_no_vertebra() -> None:
    bodies, _, discs = stack()
    bodies[:, 41:69, 2:18] = 9
    found = body_ranks(bodies > 0, discs, SPACING_MM)
    assert not found[bodies == 9].any()


def test_a_disc_of_the_sacrum_names_nothing() -> None:
    """It is numbered past all levels that are known, and lies below them."""
    bodies, _, discs = stack()
    with_sacrum = discs.copy()
    with_sacrum[:, 40:70, 2:6] = 9
    np.testing.assert_array_equal(body_ranks(bodies > 0, with_sacrum, SPACING_MM), bodies)


def test_one_disc_names_no_body() -> None:
    bodies, _, discs = stack(num_levels=1)
    assert not body_ranks(bodies > 0, discs, SPACING_MM).any()


def test_a_spine_that_bends_sideways_is_followed_slice_by_slice() -> None:
    """Each slice is 9 mm higher than the one beside it: a plane through all would cut bodies."""
    bodies, _, discs = (
        np.stack([np.roll(plane, 9 * index, axis=1) for index, plane in enumerate(array)])
        for array in stack()
    )
    np.testing.assert_array_equal(body_ranks(bodies > 0, discs, SPACING_MM), bodies)


@pytest.mark.parametrize("by", [1, -1])
def test_bodies_and_their_processes_that_contradict_the_discs_follow_them(by: int) -> None:
    """In one slice the network names every vertebra one level off, between discs that it names rightly."""
    bodies, processes, discs = stack(num_levels=3, lowest=2)
    bones = np.maximum(bodies, processes)
    truth = np.where(discs > 0, discs + 5, bones)
    said = truth.astype(np.int64)
    said[1] = np.where(bones[1] > 0, said[1] + by, said[1])
    naming = consistent_levels(said.astype(np.uint8), STRUCTURES, spacing_mm=SPACING_MM)
    np.testing.assert_array_equal(naming.classes, truth)


def test_two_bodies_of_one_name_and_their_processes_become_two() -> None:
    bodies, processes, discs = stack(num_levels=3, lowest=2)
    bones = np.maximum(bodies, processes)
    truth = np.where(discs > 0, discs + 5, bones)
    said = truth.copy()
    said[0][bones[0] == 4] = 3
    naming = consistent_levels(said, STRUCTURES, spacing_mm=SPACING_MM)
    np.testing.assert_array_equal(naming.classes, truth)


def test_a_piece_takes_the_rank_of_most_of_it_or_keeps_both() -> None:
    plane = np.zeros((10, 12), dtype=np.uint8)
    plane[1:3, 1:11] = 2
    plane[1:3, 8:11] = 3  # 6 of 20 pixels
    plane[6:8, 1:11] = 2
    plane[6:8, 5:11] = 3  # 12 of 20: too few for the whole
    one = one_rank_per_piece(plane)
    assert (one[1:3, 1:11] == 2).all()
    np.testing.assert_array_equal(one[6:8], plane[6:8])
