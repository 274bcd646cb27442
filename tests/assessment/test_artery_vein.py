import itertools
from collections.abc import Callable

import numpy as np
import pytest

from nomina.assessment.artery_vein import _least_cost, centreline_classes, nearest_points, vote_by_branch
from nomina.assessment.vessel_tree import Branch, VesselGraph, vessel_graph
from nomina.errors import GridMismatchError

Tubes = Callable[..., np.ndarray]
MM = (1.0, 1.0, 1.0)
EMPTY = np.zeros((40, 40, 40), dtype=bool)


@pytest.fixture(scope="module")
def artery(tubes: Tubes) -> np.ndarray:
    """A trunk of 16 mm with two branches."""
    return tubes(
        40.0,
        MM,
        ((20, 20, 3), (20, 20, 19), 2.6),
        ((20, 20, 19), (8, 20, 34), 1.8),
        ((20, 20, 19), (32, 20, 34), 1.8),
    )


def test_swapped_missed_and_right_lengths_are_those_that_were_made(tubes: Tubes) -> None:
    tube = tubes(40.0, MM, ((20, 20, 5), (20, 20, 35), 2.0))
    k = np.arange(40)
    own, other = tube & (k < 15), tube & (k >= 15) & (k < 24)
    found = centreline_classes(own, other, tube, spacing_mm=MM)
    assert found.swapped_mm == pytest.approx(9.0, abs=0.3)
    assert found.swap_rate == pytest.approx(9 / found.length_mm, abs=0.01)
    assert found.right_mm + found.swapped_mm + found.missed_mm == pytest.approx(
        vessel_graph(tube, spacing_mm=MM).length_mm
    )
    assert found.missed_mm == pytest.approx(11.5, abs=0.06 * found.length_mm)


def test_a_swap_is_measured_in_mm(tubes: Tubes) -> None:
    spacing_mm = (0.7, 0.7, 1.4)
    tube = tubes(40.0, spacing_mm, ((20, 20, 5), (20, 20, 35), 2.0))
    swapped = tube & (np.arange(tube.shape[2]) * 1.4 >= 19.5)
    found = centreline_classes(tube & ~swapped, swapped, tube, spacing_mm=spacing_mm)
    assert found.swap_rate == pytest.approx(0.5, abs=0.04)
    assert found.missed_mm == 0.0


def test_where_the_prediction_says_both_it_is_right(artery: np.ndarray) -> None:
    found = centreline_classes(artery, artery, artery, spacing_mm=MM)
    assert (found.swap_rate, found.missed_mm) == (0.0, 0.0)


def test_an_empty_reference_has_no_swap_rate() -> None:
    assert np.isnan(centreline_classes(EMPTY, EMPTY, EMPTY, spacing_mm=MM).swap_rate)


def test_the_vote_mends_a_piece_of_a_branch_and_says_what_it_changed(artery: np.ndarray) -> None:
    i, _, k = np.indices(artery.shape)
    flipped = artery & (i > 20) & (k > 26) & (k <= 30)
    vote = vote_by_branch(artery & ~flipped, flipped, spacing_mm=MM)
    assert (vote.artery == artery).all()
    assert not vote.vein.any()
    assert vote.num_changed_branches == 1
    assert vote.num_changed_voxels == flipped.sum()
    # Four layers along k of a branch that rises 15 in 19.2 mm.
    assert vote.changed_length_mm == pytest.approx(4 * 19.2 / 15, abs=1.3)


def test_the_vote_leaves_whole_branches_alone(artery: np.ndarray, tubes: Tubes) -> None:
    vein = tubes(40.0, MM, ((20, 34, 3), (20, 34, 35), 2.0))
    vote = vote_by_branch(artery, vein, spacing_mm=MM)
    assert (vote.artery == artery).all()
    assert (vote.vein == vein).all()
    assert (vote.num_changed_branches, vote.changed_length_mm, vote.num_changed_voxels) == (0, 0.0, 0)


def test_a_twig_follows_the_branch_it_leaves_unless_it_is_longer_than_the_price_of_a_change(
    tubes: Tubes,
) -> None:
    """A trunk of 30 mm with a twig of 6 mm in the other class, which does not touch anything else."""
    trunk = tubes(40.0, MM, ((20, 20, 4), (20, 20, 34), 2.2))
    twig = tubes(40.0, MM, ((20, 20, 20), (29, 20, 20), 1.3)) & ~trunk
    cheap, dear = (vote_by_branch(trunk, twig, spacing_mm=MM, fork_mm=price) for price in (1.0, 30.0))
    assert cheap.vein.sum() > 0.8 * twig.sum()
    assert not dear.vein.any()
    assert dear.num_changed_branches == 1
    # The twig may also win over a trunk that is shorter.
    assert not vote_by_branch(twig, trunk, spacing_mm=MM, fork_mm=30.0).artery.any()


def test_a_branch_that_no_voxel_is_nearest_to_has_no_vote(
    artery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trunk's voxels given to its branches: the tree is one artery all the same."""
    graph = vessel_graph(artery, spacing_mm=MM)
    trunk = {n for n, branch in enumerate(graph.branches) if branch.parent < 0}
    others = np.flatnonzero([index not in trunk for index in graph.branch_indices])

    def without_trunk(_: VesselGraph, voxels: np.ndarray) -> np.ndarray:
        return others[np.arange(len(voxels)) % len(others)]

    monkeypatch.setattr("nomina.assessment.artery_vein.nearest_points", without_trunk)
    shares: list[np.ndarray] = []

    def kept(graph: VesselGraph, share: np.ndarray, fork_mm: float) -> np.ndarray:
        shares.append(share)
        return _least_cost(graph, share, fork_mm)

    monkeypatch.setattr("nomina.assessment.artery_vein._least_cost", kept)
    vote_by_branch(artery, EMPTY, spacing_mm=MM)
    assert [shares[0][n] for n in sorted(trunk)] == [0.5] * len(trunk)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_classes_of_a_small_tree_cost_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parents = [-1, *(int(rng.integers(-1, index)) for index in range(1, 9))]
    branches = [
        Branch(
            np.zeros((n + 1, 3), dtype=np.int64),
            np.linspace(0, 1, n + 1)[:, None] * [n, 0.0, 0.0],
            np.ones(n + 1),
            generation=0,
            component=0,
            parent=parent,
            is_end=True,
        )
        for n, parent in zip(rng.integers(1, 9, len(parents)), parents, strict=True)
    ]
    graph, share = VesselGraph(tuple(branches), 0, MM), rng.random(len(parents))

    def cost(is_artery: tuple[bool, ...]) -> float:
        wrong = sum(
            b.length_mm * (1 - s if a else s) for b, s, a in zip(branches, share, is_artery, strict=True)
        )
        changes = sum(p >= 0 and is_artery[p] != a for p, a in zip(parents, is_artery, strict=True))
        return wrong + 1.5 * changes

    found = _least_cost(graph, share, 1.5)
    least = min(map(cost, itertools.product((False, True), repeat=len(parents))))
    assert cost(tuple(found.tolist())) == pytest.approx(least)


def test_the_vote_keeps_every_voxel_and_its_input(artery: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noisy = artery & (rng.random(artery.shape) < 0.6)
    before = noisy.copy()
    vote = vote_by_branch(noisy, artery & ~noisy, spacing_mm=MM)
    assert ((vote.artery | vote.vein) == artery).all()
    assert not (vote.artery & vote.vein).any()
    assert (noisy == before).all()
    assert (vote.artery == artery).all()


def test_the_vote_on_nothing_changes_nothing() -> None:
    assert vote_by_branch(EMPTY, EMPTY, spacing_mm=MM).num_changed_voxels == 0


def test_the_wall_of_a_wide_vessel_is_not_the_thin_ones_beside_it(tubes: Tubes) -> None:
    wide = tubes(40.0, MM, ((16, 20, 5), (16, 20, 35), 6.0))
    thin = tubes(40.0, MM, ((25, 20, 8), (25, 20, 32), 1.0))
    graph = vessel_graph(wide | thin, spacing_mm=MM)
    (at,) = [n for n, b in enumerate(graph.branches) if b.radius_mm < 2]
    # 3 mm from the thin axis, 6 mm from the wide one, in the wide vessel.
    point = nearest_points(graph, np.array([[22, 20, 20]]))[0]
    assert graph.branch_indices[point] != at


def test_a_voxel_belongs_to_the_point_whose_ball_it_lies_deepest_in_by_mm(tubes: Tubes) -> None:
    spacing_mm = (0.8, 0.8, 2.0)
    graph = vessel_graph(
        tubes(30.0, spacing_mm, ((8, 15, 4), (8, 15, 26), 4.0), ((8, 15, 15), (26, 15, 15), 1.5)),
        spacing_mm=spacing_mm,
    )
    voxels = np.random.default_rng(0).integers(0, 15, (200, 3))
    apart_mm = (voxels[:, None] - graph.voxels) * np.array(spacing_mm)
    depths = (apart_mm**2).sum(axis=2) - graph.radii_mm**2
    found = depths[np.arange(len(voxels)), nearest_points(graph, voxels)]
    np.testing.assert_allclose(found, depths.min(axis=1), atol=1e-9)


@pytest.mark.usefixtures("unchecked")
def test_masks_of_different_shapes_are_refused(artery: np.ndarray) -> None:
    with pytest.raises(GridMismatchError, match="bring both to one grid"):
        centreline_classes(artery, artery[1:], artery, spacing_mm=MM)
    with pytest.raises(GridMismatchError):
        vote_by_branch(artery, artery[1:], spacing_mm=MM)
