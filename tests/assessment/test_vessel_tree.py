from collections.abc import Callable

import numpy as np
import pytest

from nomina.assessment.vessel_tree import vessel_graph

Tubes = Callable[..., np.ndarray]
SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.7, 1.0), (0.6, 0.6, 1.5))
DIRECTIONS = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (0.3, 0.5, 0.8))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_length_and_radius_of_a_tube_at_any_angle(
    tubes: Tubes, spacing_mm: tuple[float, float, float], direction: tuple[float, float, float]
) -> None:
    along = np.array(direction) / np.linalg.norm(direction)
    for radius_mm in (1.5, 2.5):
        mask = tubes(40.0, spacing_mm, (20.2 - 14 * along, 20.2 + 14 * along, radius_mm))
        (branch,) = vessel_graph(mask, spacing_mm=spacing_mm).branches
        # The ends are round, 14 mm + radius from the middle; a centreline may run into them.
        assert 28 * 0.96 - 1 <= branch.length_mm <= (28 + 2 * radius_mm) * 1.04
        assert branch.radius_mm == pytest.approx(radius_mm, abs=max(spacing_mm) / 2)
        assert branch.is_end
        assert branch.generation == 0


def test_a_longer_tube_is_longer_by_the_difference(tubes: Tubes) -> None:
    along = np.array([0.48, 0.6, 0.64])
    lengths = []
    for half in (8.0, 16.0):
        mask = tubes(44.0, (0.7, 0.7, 0.7), (22 - half * along, 22 + half * along, 1.4))
        lengths.append(vessel_graph(mask, spacing_mm=(0.7, 0.7, 0.7)).length_mm)
    assert lengths[1] - lengths[0] == pytest.approx(16.0, abs=1.0)


TREE = (
    ((20.0, 20.0, 3.0), (20.0, 20.0, 18.0), 3.0),
    ((20.0, 20.0, 18.0), (8.0, 20.0, 30.0), 2.2),
    ((20.0, 20.0, 18.0), (30.0, 20.0, 28.0), 2.0),
    ((30.0, 20.0, 28.0), (34.0, 20.0, 37.0), 1.4),
    ((30.0, 20.0, 28.0), (33.0, 30.0, 31.0), 1.4),
)
"""Trunk, two branches, and two more on the second."""


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (2,), (0, 1)])
def test_branches_lengths_and_generations_of_a_tree_in_any_axis_order(
    tubes: Tubes, order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    mask = np.flip(tubes(40.0, (1.0, 1.0, 1.0), *TREE).transpose(order), flips)
    graph = vessel_graph(np.ascontiguousarray(mask), spacing_mm=(1.0, 1.0, 1.0))
    found = sorted((b.generation, b.radius_mm, b.length_mm, b.is_end) for b in graph.branches)
    assert [f[0] for f in found] == [0, 1, 1, 2, 2]
    trunk, second, first, *twigs = found
    assert trunk[2] == pytest.approx(15.0, abs=3.0)
    assert first[2] == pytest.approx(17.0, abs=3.0)
    assert second[2] == pytest.approx(14.1, abs=2.0)
    assert sorted(t[2] for t in twigs) == pytest.approx([9.8, 10.9], abs=2.5)
    assert [f[3] for f in found] == [False, False, True, True, True]
    assert {branch.component for branch in graph.branches} == {0}
    assert graph.num_loops == 0


def test_each_branch_names_the_one_that_it_leaves(tubes: Tubes) -> None:
    graph = vessel_graph(tubes(40.0, (1.0, 1.0, 1.0), *TREE), spacing_mm=(1.0, 1.0, 1.0))
    for index, branch in enumerate(graph.branches):
        if branch.generation == 0:
            assert branch.parent == -1
            assert branch.voxels[0, 2] < 5
            continue
        parent = graph.branches[branch.parent]
        assert branch.parent < index
        assert parent.generation == branch.generation - 1
        assert np.linalg.norm(parent.voxels[-1] - branch.voxels[0]) <= 3


def test_a_rough_wall_grows_no_branches(tubes: Tubes) -> None:
    mask = tubes(40.0, (1.0, 1.0, 1.0), ((20, 20, 5), (20, 20, 35), 4.0))
    rng = np.random.default_rng(0)
    around = tubes(40.0, (1.0, 1.0, 1.0), ((20, 20, 7), (20, 20, 33), 5.0)) & ~mask
    rough = mask | (around & (rng.random(mask.shape) < 0.05))
    assert len(vessel_graph(rough, spacing_mm=(1.0, 1.0, 1.0)).branches) == 1


def test_a_loop_is_opened_and_counted(tubes: Tubes) -> None:
    corners = [(8, 8, 10), (30, 8, 10), (30, 30, 10), (8, 30, 10)]
    sides = [(a, b, 1.5) for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)]
    tail = ((30, 30, 10), (30, 30, 35), 1.5)
    graph = vessel_graph(tubes(40.0, (1.0, 1.0, 1.0), *sides, tail), spacing_mm=(1.0, 1.0, 1.0))
    assert graph.num_loops == 1
    assert graph.length_mm == pytest.approx(4 * 22 + 25, rel=0.06)


def test_pieces_are_components_with_roots_of_their_own(tubes: Tubes) -> None:
    graph = vessel_graph(
        tubes(40.0, (1.0, 1.0, 1.0), ((5, 5, 5), (5, 5, 35), 2), ((30, 30, 5), (30, 30, 20), 1)),
        spacing_mm=(1.0, 1.0, 1.0),
    )
    assert sorted(branch.component for branch in graph.branches) == [0, 1]
    assert all(branch.parent == -1 for branch in graph.branches)


def test_points_stand_for_the_whole_length(tubes: Tubes) -> None:
    graph = vessel_graph(tubes(40.0, (1.0, 1.0, 1.0), *TREE), spacing_mm=(1.0, 1.0, 1.0))
    assert graph.point_lengths_mm.sum() == pytest.approx(graph.length_mm)
    assert len(graph.voxels) == len(graph.radii_mm) == len(graph.branch_indices)


def test_an_empty_mask_has_no_branches_and_a_voxel_one_without_length() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    assert vessel_graph(mask, spacing_mm=(1.0, 1.0, 1.0)).branches == ()
    mask[0, 3, 2] = True
    graph = vessel_graph(mask, spacing_mm=(1.0, 1.0, 1.0))
    assert [(b.length_mm, b.voxels.tolist()) for b in graph.branches] == [(0.0, [[0, 3, 2]])]


def test_a_tube_cut_by_the_border_keeps_its_length() -> None:
    mask = np.zeros((30, 7, 7), dtype=bool)
    mask[:, 2:5, 2:5] = True
    assert vessel_graph(mask, spacing_mm=(1.0, 1.0, 1.0)).length_mm == pytest.approx(29.0, abs=2.0)
