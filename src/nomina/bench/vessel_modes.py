"""What LA-CAF is told at test time.

    mode      every class hears
    named     its own sentence, as in training
    swapped   that of its counterpart, arteries that of veins and veins that of arteries: wrong on purpose

A network that reads its words calls arteries veins in the mode `swapped`. One that knows its classes by
number, such as by a text adapter of each, is left with the damage that a strange sentence does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nomina.anatomy.structures import structure
from nomina.assessment.tree_mask import WHOLE, tree_mask
from nomina.bench.modes import Mode
from nomina.bench.scans import read_scan
from nomina.errors import CheckpointError
from nomina.imaging.ct_preparation import IGNORED
from nomina.imaging.volume import LabelMap
from nomina.inference.segmenter import Segmenter
from nomina.language.vessel_prompts import num_wordings, vessel_sentence
from nomina.learning.cases import Case
from nomina.networks.la_caf import LACAFConfig


@dataclass(frozen=True)
class VesselServer:
    """A network of blocks on the test scans of its run; see `nomina.bench.measure.Server`."""

    segmenter: Segmenter
    cases: tuple[Case, ...]

    def predict(self, index: int, mode: Mode) -> LabelMap:
        """The label map of one scan in one mode."""
        segmenter = with_swapped_words(self.segmenter) if mode == "swapped" else self.segmenter
        return segmenter(read_scan(self.cases[index]), None).label_map

    def is_wrong(self, index: int, mode: Mode) -> bool:
        """True: swapped words are always wrong."""
        return True

    def comparable(self, label_map: LabelMap) -> LabelMap:
        """Two structures, artery and vein, whatever sides and parts a map tells apart."""
        return folded(label_map)


def with_swapped_words(segmenter: Segmenter) -> Segmenter:
    """The same network, whose arteries hear the sentences of veins and the reverse, in every wording.

    Raises:
        CheckpointError: The network hears no sentences about vessels, or a class has no counterpart.
    """
    checkpoint = segmenter.checkpoint
    if not isinstance(checkpoint.config.network, LACAFConfig):
        raise CheckpointError(
            f"checkpoint {checkpoint.name} holds no la_caf network: it has no words to swap"
        )
    wording = checkpoint.config.network.wording
    heard = {
        vessel_sentence(name, wording, paraphrase): vessel_sentence(other, wording, paraphrase)
        for name, other in _counterparts(checkpoint.structures).items()
        for paraphrase in range(num_wordings(wording))
    }
    return replace(segmenter, checkpoint=replace(checkpoint, bank=checkpoint.bank.exchanged(heard)))


def folded(label_map: LabelMap) -> LabelMap:
    """A label map with all pulmonary arteries as one structure and all pulmonary veins as the other.

    Everything else becomes background; ignored voxels stay ignored.
    """
    names = {structure(whole).label: whole for whole in WHOLE.values()}
    array = np.zeros(label_map.array.shape, dtype=np.uint8)
    for tree, whole in WHOLE.items():
        array[tree_mask(label_map, tree)] = structure(whole).label
    array[np.isin(label_map.array, list(label_map.ignored))] = IGNORED
    return replace(label_map, array=array, names=names, scheme="nomina", ignored=frozenset({IGNORED}))


def _counterparts(structures: Sequence[str]) -> dict[str, str]:
    """For each class the vein of an artery and the artery of a vein, of the same side."""
    found = {}
    for name in structures:
        kind = structure(name).kind
        other = name.replace("artery", "vein") if kind == "artery" else name.replace("vein", "artery")
        if other == name or other not in structures:
            raise CheckpointError(f"{name!r} has no counterpart among the classes {', '.join(structures)}")
        found[name] = other
    return found
