"""Which structures make up the tree of arteries and that of veins: one answer, wherever it is asked."""

import numpy as np

from nomina.anatomy.structures import vocabulary
from nomina.assessment.branch_vote import OTHER_TREE, vote_on_branches
from nomina.assessment.measurements.lung_vessels import measure_lung_vessels
from nomina.assessment.tree_mask import tree_mask, tree_of
from nomina.assessment.tree_scores import tree_scores
from nomina.bench.vessel_modes import folded
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

ARTERIES = {"pulmonary artery", "left pulmonary artery", "right pulmonary artery", "pulmonary trunk"}
VEINS = {"pulmonary vein", "left pulmonary vein", "right pulmonary vein"}
NO_VESSELS = {"left atrium", "airway", "left lung", "L5 vertebra"}


def bars(*names: str) -> LabelMap:
    """A bar of 3 × 3 × 20 voxels of 1 mm for each name, apart from the others."""
    array = np.zeros((7 * len(names), 7, 24), dtype=np.uint8)
    for n in range(len(names)):
        array[7 * n + 2 : 7 * n + 5, 2:5, 2:22] = n + 1
    return LabelMap(array, Grid(array.shape, np.eye(4)), names=dict(enumerate(names, start=1)))


def test_a_tree_is_the_whole_and_its_parts_and_not_the_chamber() -> None:
    assert {name for name in vocabulary() if tree_of(name) == "artery"} == ARTERIES
    assert {name for name in vocabulary() if tree_of(name) == "vein"} == VEINS
    assert tree_of("liver") is None
    # What every piece of a tree becomes in the other one.
    assert all(tree_of(name) != tree_of(other) for name, other in OTHER_TREE.items())
    assert set(OTHER_TREE) == ARTERIES | VEINS


def test_measurement_score_vote_and_bench_see_the_same_trees() -> None:
    names = (*sorted(ARTERIES | VEINS), "left atrium", "liver")
    given = bars(*names)
    expected = {kind: int(tree_mask(given, kind).sum()) for kind in ("artery", "vein")}
    assert expected == {"artery": 4 * 180, "vein": 3 * 180}

    measured = {m.structure: m.value for m in measure_lung_vessels(given) if m.quantity == "volume_ml"}
    assert measured == {"pulmonary artery": 4 * 0.18, "pulmonary vein": 3 * 0.18}
    whole = folded(given)
    assert {name: int(whole.mask(name).sum()) for name in whole.present()} == {
        "pulmonary artery": 4 * 180,
        "pulmonary vein": 3 * 180,
    }
    assert [score.dice for score in tree_scores(whole, given)] == [1, 1]
    trunk_alone = bars("pulmonary trunk", "pulmonary vein")
    assert vote_on_branches(trunk_alone).num_changed_voxels == 0
