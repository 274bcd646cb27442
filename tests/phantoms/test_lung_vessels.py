"""The chest phantom: trees, label maps and their anatomy."""

import json
from collections.abc import Callable
from dataclasses import replace

import cc3d
import numpy as np
import pytest
from scipy.spatial import cKDTree

from nomina.anatomy.schemes import load_scheme
from nomina.anatomy.structures import structure
from nomina.errors import ConfigError
from nomina.phantoms.lung_bundles import SEGMENTS
from nomina.phantoms.lung_labels import THIN, label_vessels, resolved_radius_mm
from nomina.phantoms.lung_plan import LungConfig, lung_grid
from nomina.phantoms.lung_raster import tree_mask
from nomina.phantoms.lung_tree import VesselTree
from nomina.phantoms.lung_trees import LungPlan, plan_lung
from nomina.phantoms.lung_vessels import LungPhantom, sample_lung

TREES = ("arteries", "veins", "airway_tree")


def value(name: str) -> int:
    return structure(name).label


def centroid_mm(phantom: LungPhantom, mask: np.ndarray) -> np.ndarray:
    return phantom.grid.to_world(np.argwhere(mask).mean(0, keepdims=True))[0]


TINY = {"smallest_diameter_mm": (4.0, 4.0), "spacing_mm": (3.2, 3.2, 3.2), "margin_mm": 6.0}


def test_the_same_seed_gives_the_same_chest_and_another_seed_another(
    make_chest: Callable[..., LungPhantom], small_lung: LungConfig
) -> None:
    tiny = make_chest(5, **TINY)
    config = replace(small_lung, **TINY)
    again, other = sample_lung(5, config), plan_lung(np.random.default_rng([6, 2]), config)
    np.testing.assert_array_equal(tiny.canvas.tissues, again.canvas.tissues)
    np.testing.assert_array_equal(tiny.canvas.shares, again.canvas.shares)
    np.testing.assert_array_equal(tiny.vessels.array, again.vessels.array)
    assert tiny.parameters == again.parameters
    assert other.parameters["right_lung_ml"] != tiny.parameters["right_lung_ml"]
    assert other.arteries.points_mm.shape != tiny.arteries.points_mm.shape


@pytest.mark.parametrize("name", TREES)
def test_murrays_law_holds_at_every_fork(chest: LungPhantom, small_lung: LungConfig, name: str) -> None:
    tree: VesselTree = getattr(chest, name)
    exponent = small_lung.airway_exponent if name == "airway_tree" else small_lung.artery_exponent
    forks = np.flatnonzero(tree.num_children > 1)
    forks = forks[tree.parents[forks] >= 0]
    assert len(forks) > 20
    flow = tree.radii_mm**exponent
    below = np.zeros(len(flow))
    np.add.at(below, tree.parents[tree.edges], flow[tree.edges])
    if name == "airway_tree":
        # Airways too thin to be seen are left out, so a fork may lead to less than it carries.
        assert (below[forks] <= flow[forks] * (1 + 1e-9)).all()
        return
    np.testing.assert_allclose(below[forks], flow[forks], rtol=1e-9)


@pytest.mark.parametrize("name", TREES)
def test_each_tree_is_connected_and_acyclic(chest: LungPhantom, name: str) -> None:
    tree: VesselTree = getattr(chest, name)
    assert (tree.parents < 0).sum() == 1
    assert tree.parents[0] == -1
    # Every parent comes before its child, so that no walk upwards can return.
    assert (tree.parents[1:] < np.arange(1, len(tree.parents))).all()
    assert (tree.radii_mm[tree.edges] <= tree.radii_mm[np.maximum(tree.parents[tree.edges], 0)] + 1e-9).all()


def test_calibres_run_from_the_trunk_to_the_wanted_ends(chest: LungPhantom, small_lung: LungConfig) -> None:
    low, high = small_lung.trunk_diameter_mm
    assert 0.9 * low < 2 * chest.arteries.radii_mm[0] <= high
    low, high = small_lung.smallest_diameter_mm
    assert 0.8 * low < 2 * chest.arteries.radii_mm.min() < 1.25 * high
    ostia = chest.veins.radii_mm[chest.veins.parents == 0]
    assert len(ostia) == 4
    assert ((2 * ostia > 7) & (2 * ostia < 19)).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_weight_is_lost_in_the_separation(seed: int) -> None:
    plan = plan_lung(np.random.default_rng([seed, 2]), LungConfig(smallest_diameter_mm=(1.4, 1.5)))
    for tree in (plan.arteries, plan.veins):
        assert set(tree.segments[tree.segments >= 0].tolist()) == set(range(len(SEGMENTS)))
    drawn = 2 * plan.arteries.radii_mm[plan.arteries.num_children == 0][0]
    # Every branch that is cut off takes its share of the trunk's section with it.
    wanted = plan.parameters["artery_end_diameter_mm"]
    assert drawn == pytest.approx(wanted, rel=1e-3)
    assert plan.parameters["num_artery_ends"] > 0.97 * plan.parameters["num_artery_ends_grown"]
    assert plan.parameters["num_vein_ends"] > 0.97 * plan.parameters["num_vein_ends_grown"]


def test_trees_of_different_kind_share_no_voxel(chest: LungPhantom) -> None:
    masks = [
        tree_mask(tree, tree.edges, chest.grid) for tree in (chest.arteries, chest.veins, chest.airway_tree)
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not (masks[first] & masks[second]).any()


def test_tubes_of_different_kind_do_not_touch(chest: LungPhantom) -> None:
    samples = []
    for tree in (chest.arteries, chest.veins):
        nodes = tree.edges
        share = np.linspace(0, 1, 6)[None, :, None]
        start, end = tree.points_mm[tree.parents[nodes]][:, None], tree.points_mm[nodes][:, None]
        samples.append(((start + share * (end - start)).reshape(-1, 3), np.repeat(tree.radii_mm[nodes], 6)))
    (points, radii), (others, other_radii) = samples
    for distances, index in [cKDTree(others).query(points, k=12)]:
        assert (distances - other_radii[index] - radii[:, None]).min() > 0


def test_label_maps_are_exactly_the_rasterised_trees(chest: LungPhantom) -> None:
    array = chest.vessels.array
    atrium = array == value("left atrium")
    arteries = np.isin(array, [value(s) + thin for s in ARTERIES for thin in (0, THIN)])
    np.testing.assert_array_equal(arteries, tree_mask(chest.arteries, chest.arteries.edges, chest.grid))
    veins = np.isin(array, [value(s) + thin for s in VEINS for thin in (0, THIN)])
    expected = tree_mask(chest.veins, chest.veins.edges, chest.grid) & ~atrium
    np.testing.assert_array_equal(veins, expected)
    lumen = tree_mask(chest.airway_tree, chest.airway_tree.edges, chest.grid)
    np.testing.assert_array_equal(chest.airways.array > 0, lumen)


ARTERIES = ("pulmonary trunk", "left pulmonary artery", "right pulmonary artery")
VEINS = ("left pulmonary vein", "right pulmonary vein")


def test_what_is_too_thin_for_the_grid_is_ignored(chest: LungPhantom) -> None:
    scheme = load_scheme("nomina")
    assert chest.vessels.scheme == "nomina"
    assert set(chest.vessels.names.values()) == {*ARTERIES, *VEINS, "left atrium"}
    assert chest.vessels.ignored <= scheme.ignored
    assert chest.vessels.ignored
    assert all(value > 200 for value in chest.vessels.ignored)


def test_at_one_millimetre_each_tree_is_one_piece_up_to_the_heart(
    plan: LungPlan, small_lung: LungConfig
) -> None:
    grid = lung_grid(*plan.thorax.lung_box_mm(), LungConfig(margin_mm=8.0, spacing_mm=(1.0, 1.0, 1.0)))
    array = label_vessels(plan, grid).array
    arteries = np.isin(array, [value(name) for name in ARTERIES])
    assert cc3d.connected_components(arteries, connectivity=26, return_N=True)[1] == 1
    veins = np.isin(array, [value(name) for name in (*VEINS, "left atrium")])
    assert cc3d.connected_components(veins, connectivity=26, return_N=True)[1] == 1
    for tree, mask in ((plan.arteries, arteries), (plan.veins, veins)):
        thick = tree.edges[tree.radii_mm[tree.edges] >= resolved_radius_mm(grid)]
        ends = np.rint(grid.to_voxels(tree.points_mm[thick])).astype(int)
        assert mask[tuple(ends.T)].all()
        root = np.rint(grid.to_voxels(tree.points_mm[:1])).astype(int)[0]
        assert mask[tuple(root)]


def test_the_volume_of_the_trees_is_that_of_their_tubes(plan: LungPlan) -> None:
    grid = lung_grid(*plan.thorax.lung_box_mm(), LungConfig(margin_mm=8.0, spacing_mm=(1.0, 1.0, 1.0)))
    # Branches without forks within them: tubes overlap at forks only.
    tree = plan.arteries
    expected = float((np.pi * tree.radii_mm**2 * tree.lengths_mm)[tree.edges].sum()) / 1000
    measured = float(tree_mask(tree, tree.edges, grid).sum()) * grid.voxel_volume_ml
    assert measured == pytest.approx(expected, rel=0.12)


def test_left_is_left(chest: LungPhantom) -> None:
    lobes = chest.lobes
    for name in ("left upper lobe", "left lower lobe"):
        assert centroid_mm(chest, lobes.mask(name))[0] < -40
    for name in ("right upper lobe", "right middle lobe", "right lower lobe"):
        assert centroid_mm(chest, lobes.mask(name))[0] > 40
    for tree in (chest.arteries, chest.veins):
        for side, word in ((-1, "left"), (1, "right")):
            served = (tree.sides == side) & (tree.segments >= 0)
            assert (np.sign(tree.points_mm[served, 0]) == side).mean() > 0.995
            own = [label for label, name in lobes.names.items() if name.startswith(word)]
            voxels = np.rint(chest.grid.to_voxels(tree.points_mm)).astype(int)
            inside = np.isin(lobes.array[tuple(voxels.T)], own)
            # Roots of segments lie in the fat of the hilum, ends do not.
            assert inside[served].mean() > 0.96
            assert inside[served & (tree.num_children == 0)].mean() > 0.985


def test_segments_keep_to_their_lobes(chest: LungPhantom) -> None:
    tree = chest.arteries
    ends = np.flatnonzero((tree.num_children == 0) & (tree.segments >= 0))
    voxels = np.rint(chest.grid.to_voxels(tree.points_mm[ends])).astype(int)
    found = chest.lobes.array[tuple(voxels.T)]
    wanted = [value(" ".join(SEGMENTS[s].split()[:3])) for s in tree.segments[ends]]
    assert (found == wanted).mean() > 0.95


def test_lobes_lie_as_they_should_and_measure_like_lungs(chest: LungPhantom) -> None:
    lobes = chest.lobes
    centre = {name: centroid_mm(chest, lobes.mask(name)) for name in lobes.names.values()}
    for side in ("right", "left"):
        assert centre[f"{side} upper lobe"][2] > centre[f"{side} lower lobe"][2] + 20
        assert centre[f"{side} upper lobe"][1] > centre[f"{side} lower lobe"][1] + 10
    assert centre["right middle lobe"][1] > centre["right upper lobe"][1]
    assert centre["right middle lobe"][2] < centre["right upper lobe"][2]
    share = {n: lobes.mask(n).sum() / (lobes.array > 0).sum() for n in lobes.names.values()}
    assert 3.0 < (lobes.array > 0).sum() * chest.grid.voxel_volume_ml / 1000 < 7.5
    assert share["right middle lobe"] < min(share[name] for name in share if "middle" not in name)


def test_arteries_run_with_airways_and_veins_between_them(chest: LungPhantom) -> None:
    airways = chest.airway_tree
    near = cKDTree(airways.points_mm[airways.segments >= 0])
    gap = {}
    for name, tree in (("arteries", chest.arteries), ("veins", chest.veins)):
        # Of the calibre that airways still accompany.
        nodes = (tree.segments >= 0) & (tree.radii_mm > 1.2)
        gap[name] = near.query(tree.points_mm[nodes])[0] - tree.radii_mm[nodes]
    assert np.median(gap["arteries"]) < 4.5
    assert np.median(gap["veins"]) > 1.6 * np.median(gap["arteries"])


def test_the_great_vessels_lie_as_in_the_textbook(chest: LungPhantom) -> None:
    array = chest.vessels.array
    trunk = centroid_mm(chest, array == value("pulmonary trunk"))
    atrium = centroid_mm(chest, array == value("left atrium"))
    carina = chest.airway_tree.points_mm[np.flatnonzero(chest.airway_tree.num_children > 1)[0]]
    assert trunk[0] < 0
    assert trunk[1] > carina[1]
    assert atrium[2] < carina[2] - 20
    assert abs(atrium[0]) < 15
    # The right artery crosses in front of the airways.
    right = chest.arteries.points_mm[(chest.arteries.sides == 1) & (chest.arteries.segments < 0)]
    crossing = right[np.abs(right[:, 0] - carina[0] - 15) < 6]
    assert (crossing[:, 1] > carina[1]).all()


def test_the_record_is_plain_json_and_holds_the_graphs(chest: LungPhantom) -> None:
    record = json.loads(json.dumps(chest.parameters))
    graph = record["trees"]["arteries"]
    assert len(graph["points_mm"]) == len(graph["parents"]) == len(chest.arteries.parents)
    np.testing.assert_allclose(graph["radii_mm"], chest.arteries.radii_mm, atol=1e-4)
    assert max(graph["strahler_orders"]) >= 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"trunk_diameter_mm": (30.0, 20.0)},
        {"spacing_mm": (1.0, 1.0, 9.0)},
        {"artery_exponent": 0.5},
        {"smallest_diameter_mm": (0.2, 0.3)},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LungConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_thick_slices_are_labelled_in_their_middle(make_chest: Callable[..., LungPhantom]) -> None:
    thick = make_chest(5, **TINY | {"spacing_mm": (3.2, 3.2, 4.0)})
    assert thick.layers_per_slice == 5
    assert thick.canvas.grid.shape[2] == 5 * thick.grid.shape[2]
    middle = thick.canvas.grid.to_world(np.array([[0.0, 0.0, 2.0]]))
    np.testing.assert_allclose(middle, thick.grid.to_world(np.zeros((1, 3))))
    np.testing.assert_array_equal(
        thick.airways.array > 0, tree_mask(thick.airway_tree, thick.airway_tree.edges, thick.grid)
    )
