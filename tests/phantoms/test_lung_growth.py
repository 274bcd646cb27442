"""Space colonisation and separation on small cases."""

import numpy as np
import pytest

from nomina.phantoms.lung_growth import GrowthRule, Skeleton, grow, smoothed
from nomina.phantoms.lung_separation import cut_conflicts, separate
from nomina.phantoms.lung_tree import VesselTree, murray_radii

STRAIGHT = GrowthRule(wander=0.0)


def root_at(*point: float) -> Skeleton:
    return Skeleton(np.array([point], dtype=float), np.array([-1]))


def rod(start: tuple[float, ...], end: tuple[float, ...], count: int, radius_mm: float) -> VesselTree:
    points = np.linspace(start, end, count)
    none = np.zeros(count, dtype=int)
    return VesselTree(points, np.arange(count) - 1, np.full(count, radius_mm), none, none)


def test_every_attractor_is_reached() -> None:
    rng = np.random.default_rng(0)
    attractors = rng.uniform((-30, -30, 20), (30, 30, 80), (60, 3))
    tree = grow(root_at(0, 0, 0), attractors, rng)
    gap = np.linalg.norm(attractors[:, None] - tree.points_mm[None], axis=2).min(1)
    assert gap.max() < GrowthRule().reach_mm
    assert (tree.parents[1:] < np.arange(1, len(tree.parents))).all()


def test_every_end_lies_at_an_attractor() -> None:
    rng = np.random.default_rng(3)
    attractors = rng.uniform((-30, -30, 20), (30, 30, 80), (60, 3))
    tree = grow(root_at(0, 0, 0), attractors, rng)
    ends = tree.points_mm[np.bincount(tree.parents[1:], minlength=len(tree.parents)) == 0]
    gap = np.linalg.norm(ends[:, None] - attractors[None], axis=2).min(1)
    assert gap.max() < GrowthRule().reach_mm


def test_most_nodes_fork_in_two() -> None:
    rng = np.random.default_rng(2)
    tree = grow(root_at(0, 0, 0), rng.uniform((-30, -30, 20), (30, 30, 80), (90, 3)), rng)
    children = np.bincount(np.bincount(tree.parents[1:], minlength=len(tree.parents)))
    assert children[3:].sum() < 0.15 * children[2]
    assert len(children) <= 5


def test_one_attractor_is_reached_by_a_straight_line() -> None:
    tree = grow(root_at(0, 0, 0), np.array([[0.0, 30, 40]]), np.random.default_rng(0), STRAIGHT)
    assert tree.ways_mm[-1] == pytest.approx(50, abs=2.6)
    assert tree.parents.tolist() == list(range(-1, len(tree.parents) - 1))
    np.testing.assert_allclose(tree.points_mm[:, 0], 0, atol=1e-9)


def test_growth_is_repeatable_and_leaves_its_input_alone() -> None:
    start = root_at(1, 2, 3)
    attractors = np.random.default_rng(1).uniform(0, 40, (20, 3))
    first, again = (grow(start, attractors, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.points_mm, again.points_mm)
    assert len(start.parents) == 1


def test_obstacles_push_growth_aside() -> None:
    def push(points: np.ndarray) -> np.ndarray:
        return np.tile([1.0, 0.0, 0.0], (len(points), 1))

    goal = np.array([[0.0, 0, 60]])
    free = grow(root_at(0, 0, 0), goal, np.random.default_rng(0), STRAIGHT)
    pushed = grow(root_at(0, 0, 0), goal, np.random.default_rng(0), STRAIGHT, push)
    assert pushed.points_mm[:, 0].max() > free.points_mm[:, 0].max() + 5


def test_ways_of_nodes_added_in_one_go_follow_their_parents() -> None:
    tree = root_at(0, 0, 0)
    tree.extend(np.array([[0.0, 0, 2], [0, 0, 5], [0, 4, 5]]), np.array([0, 1, 2]))
    assert tree.ways_mm.tolist() == [0, 2, 5, 9]


def test_smoothing_straightens_a_kink_and_keeps_ends_and_fixed_nodes() -> None:
    points = np.array([[0.0, 0, 0], [4, 0, 5], [0, 0, 10], [3, 0, 15], [0, 0, 20]])
    parents = np.arange(5) - 1
    fixed = np.array([False, False, False, True, False])
    result = smoothed(points, parents, fixed, rounds=40)
    np.testing.assert_array_equal(result[[0, 3, 4]], points[[0, 3, 4]])
    np.testing.assert_allclose(result[1], [1, 0, 5], atol=0.05)


def test_crossing_tubes_are_parted_and_the_thinner_one_moves_more() -> None:
    trees = {"thick": rod((-20, 0, 0), (20, 0, 0), 17, 3.0), "thin": rod((0, -20, 1), (0, 20, 1), 17, 1.0)}
    paddings = {name: np.zeros(17) for name in trees}
    fixed = {name: np.isin(np.arange(17), (0, 16)) for name in trees}
    parted = separate(trees, paddings, fixed)
    moved = {n: np.linalg.norm(parted[n].points_mm - trees[n].points_mm, axis=1).max() for n in trees}
    assert moved["thin"] > 2 * moved["thick"]
    fine = {n: _along(tree) for n, tree in parted.items()}
    gap = np.linalg.norm(fine["thick"][:, None] - fine["thin"][None], axis=2).min()
    assert gap >= 4.0


def _along(tree: VesselTree) -> np.ndarray:
    share = np.linspace(0, 1, 20)[None, :, None]
    start, end = tree.points_mm[tree.parents[tree.edges]][:, None], tree.points_mm[tree.edges][:, None]
    return (start + share * (end - start)).reshape(-1, 3)


def test_of_two_branches_that_touch_the_one_with_fewer_ends_goes_and_radii_follow() -> None:
    # A fork whose second arm runs through another tree, which leads to three ends.
    points = np.array([[0.0, 0, 0], [0, 0, 10], [10, 0, 20], [-10, 0, 20]])
    parents = np.array([-1, 0, 1, 1])
    more_points = np.array([[10.0, -5, 20], [10, 5, 20], [8, 15, 20], [10, 15, 20], [12, 15, 20]])
    more_parents = np.array([-1, 0, 1, 1, 1])
    trees = {
        name: VesselTree(p, q, murray_radii(q, 1.0, 3.0), np.zeros(len(q), int), np.zeros(len(q), int))
        for name, p, q in (("fork", points, parents), ("rake", more_points, more_parents))
    }
    paddings = {name: np.zeros(len(tree.parents)) for name, tree in trees.items()}
    left = cut_conflicts(trees, paddings, dict.fromkeys(trees, 1.0), dict.fromkeys(trees, 3.0))
    assert left["fork"].parents.tolist() == [-1, 0, 1]
    np.testing.assert_array_equal(left["fork"].points_mm, points[[0, 1, 3]])
    np.testing.assert_allclose(left["fork"].radii_mm, 1.0)
    np.testing.assert_array_equal(left["rake"].points_mm, more_points)
