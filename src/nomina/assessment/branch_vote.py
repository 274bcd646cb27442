"""One class for every branch of a label map's vessels, artery or vein, whoever made the map."""

from dataclasses import dataclass, replace
from typing import Any

from nomina.anatomy.schemes import load_scheme, meaning_of_values, present_values, scheme_names
from nomina.assessment.artery_vein import vote_by_branch
from nomina.assessment.tree_mask import tree_mask
from nomina.assessment.tree_scores import TREES
from nomina.errors import SchemeError
from nomina.imaging.volume import LabelMap

FORMAT = "nomina-vote-1"
"""Name and version of the layout of the file that says what changed."""

OTHER_TREE = {
    "pulmonary artery": "pulmonary vein",
    "left pulmonary artery": "left pulmonary vein",
    "right pulmonary artery": "right pulmonary vein",
    "pulmonary trunk": "pulmonary vein",
    "pulmonary vein": "pulmonary artery",
    "left pulmonary vein": "left pulmonary artery",
    "right pulmonary vein": "right pulmonary artery",
}
"""What a piece of each structure is called in the other tree."""


@dataclass(frozen=True, eq=False)
class Voted:
    """A label map in which every branch has one class, and what that changed."""

    label_map: LabelMap
    num_changed_branches: int
    """Branches of which at least one voxel changed its class."""
    changed_length_mm: float
    """Length of centreline that changed its class."""
    num_changed_voxels: int
    """Voxels that changed their class."""
    changed_ml: dict[str, float]
    """Volume that each structure gave to the other tree."""

    def as_plain(self) -> dict[str, Any]:
        """Plain data: what the values mean, and what the vote changed."""
        plain = {key: value for key, value in vars(self).items() if key != "label_map"}
        return {"format": FORMAT, **meaning_of_values(self.label_map), **plain}


def vote_on_branches(label_map: LabelMap) -> Voted:
    """Give every branch of arteries and veins together one class (`artery_vein.vote_by_branch`).

    Sides stay: what turns from a left artery into a vein is a left vein. No vessel voxel comes or goes.

    Args:
        label_map: Names pulmonary arteries and veins, with or without sides.

    Raises:
        SchemeError: It holds no artery or no vein, or its scheme has no value for what a branch becomes.
    """
    array, names = label_map.array, label_map.names
    trees = {tree: tree_mask(label_map, tree) for tree in TREES}
    for kind, mask in trees.items():
        if not mask.any():
            raise SchemeError(f"the label map holds no pulmonary {kind}, so there is nothing to vote between")
    vote = vote_by_branch(trees["artery"], trees["vein"], spacing_mm=label_map.grid.spacing_mm)
    changed = trees["artery"] & vote.vein | trees["vein"] & vote.artery
    voted, extended = array.copy(), dict(names)
    changed_ml = {}
    for value in present_values(array[changed]):
        moved = changed & (array == value)
        new_value = _value_of(OTHER_TREE[names[value]], label_map)
        voted[moved], extended[new_value] = new_value, OTHER_TREE[names[value]]
        changed_ml[names[value]] = int(moved.sum()) * label_map.grid.voxel_volume_ml
    return Voted(
        label_map=replace(label_map, array=voted, names=extended),
        num_changed_branches=vote.num_changed_branches,
        changed_length_mm=vote.changed_length_mm,
        num_changed_voxels=vote.num_changed_voxels,
        changed_ml=changed_ml,
    )


def _value_of(name: str, label_map: LabelMap) -> int:
    """The value of a structure in the label map, or else in its scheme."""
    scheme = load_scheme(label_map.scheme).labels if label_map.scheme in scheme_names() else {}
    for value, known in (*label_map.names.items(), *scheme.items()):
        if known == name:
            return value
    raise SchemeError(
        f"a branch becomes {name}, which scheme {label_map.scheme!r} has no value for; convert the label map "
        f"first: nomina labels convert IN OUT --to nomina"
    )
