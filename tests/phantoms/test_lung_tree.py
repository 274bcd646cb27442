"""Graph measures of vessel trees against counts by hand."""

import numpy as np
import pytest

from nomina.phantoms.lung_statistics import SINGHAL_1973, order_rows, ratios
from nomina.phantoms.lung_tree import VesselTree, murray_radii, num_leaves, subtree, without

#        0
#        1
#      2   3        3 is an end
#      4            4 has no fork
#    5   6
#   7 8             6, 7, 8 are ends
PARENTS = np.array([-1, 0, 1, 1, 2, 4, 4, 5, 5])


def make_tree(parents: np.ndarray = PARENTS, exponent: float = 3.0) -> VesselTree:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(len(parents), 3)) * 10
    none = np.zeros(len(parents), dtype=int)
    return VesselTree(points, parents, murray_radii(parents, 0.5, exponent), none, none)


def test_leaves_are_counted_upwards() -> None:
    assert num_leaves(PARENTS).tolist() == [4, 4, 3, 1, 3, 2, 1, 1, 1]


@pytest.mark.parametrize("exponent", [2.0, 2.33, 3.0])
def test_radii_obey_murrays_law_at_each_fork(exponent: float) -> None:
    radii = murray_radii(PARENTS, 0.5, exponent)
    for fork, children in ((1, [2, 3]), (4, [5, 6]), (5, [7, 8])):
        assert radii[fork] ** exponent == pytest.approx((radii[children] ** exponent).sum())
    assert radii[2] == radii[4]
    np.testing.assert_allclose(radii[[3, 6, 7, 8]], 0.5)


def test_two_equal_children_of_a_cubic_tree_have_murrays_ratio() -> None:
    radii = murray_radii(np.array([-1, 0, 0]), 1.0, 3.0)
    assert radii[0] == pytest.approx(1.26, abs=0.001)


def test_strahler_orders_branches_and_generations_by_hand() -> None:
    tree = make_tree()
    assert tree.strahler_orders.tolist() == [2, 2, 2, 1, 2, 2, 1, 1, 1]
    assert tree.generations.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3]
    branches = tree.branches
    assert branches[0] == -1
    assert branches[2] == branches[4]
    assert len(set(branches[1:].tolist())) == 7


def test_two_orders_of_two_make_three_however_many_ones_hang_there() -> None:
    #  root 0 with children 1, 2, 3: two of order 2 and one of order 1
    parents = np.array([-1, 0, 0, 0, 1, 1, 2, 2])
    assert make_tree(parents).strahler_orders.tolist() == [3, 2, 2, 1, 1, 1, 1, 1]


def test_an_end_that_is_cut_off_takes_its_branch_up_to_the_fork_along() -> None:
    parents = np.array([-1, 0, 1, 2, 1, 4, 5])
    removed = np.zeros(7, dtype=bool)
    removed[5] = True
    left = without(make_tree(parents), removed)
    assert left.parents.tolist() == [-1, 0, 1, 2]
    np.testing.assert_array_equal(left.points_mm, make_tree(parents).points_mm[:4])


def test_a_subtree_keeps_its_links() -> None:
    tree = make_tree()
    keeps = np.array([True, True, True, False, True, False, True, False, False])
    part = subtree(tree, keeps)
    assert part.parents.tolist() == [-1, 0, 1, 2, 3]
    np.testing.assert_array_equal(part.points_mm[4], tree.points_mm[6])


def test_a_branch_of_the_order_count_runs_on_past_smaller_ones() -> None:
    # A straight line of three edges of order 2, from which order 1 leaves; then two ends.
    parents = np.array([-1, 0, 1, 1, 2, 2])
    points = np.array([[0, 0, 0], [0, 0, 10], [0, 0, 20], [5, 0, 10], [0, 3, 24], [0, -3, 24]], dtype=float)
    none = np.zeros(6, dtype=int)
    rows = order_rows(VesselTree(points, parents, np.array([2.0, 2, 1.5, 1, 1, 1]), none, none))
    assert [(row.order, row.count) for row in rows] == [(1, 3), (2, 1)]
    assert rows[0].length_mm == pytest.approx(5.0)
    assert rows[1].length_mm == pytest.approx(20.0)
    assert rows[1].diameter_mm == pytest.approx(3.5)


def test_ratios_are_those_of_a_geometric_series() -> None:
    rows = tuple(
        type(SINGHAL_1973[0])(order, count, 1.5**order, 2.0**order)
        for order, count in ((1, 27), (2, 9), (3, 3), (4, 1))
    )
    found = ratios(rows)
    assert (found.branching, found.diameter, found.length) == pytest.approx((3.0, 1.5, 2.0))
    assert ratios(SINGHAL_1973).branching == pytest.approx(3.0, abs=0.2)
