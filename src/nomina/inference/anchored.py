"""Levels by what the user knows: the anchors of `nomina relevel`, taken before verdicts are given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nomina.anatomy.structures import structure
from nomina.assessment.level_anchors import Anchor
from nomina.assessment.level_finding import LevelFinding
from nomina.assessment.relevel import relevel
from nomina.assessment.spine_levels import spine_kind
from nomina.imaging.grid import Grid
from nomina.imaging.lookup import looked_up
from nomina.inference.levels import LevelNaming
from nomina.inference.native_grid import named_label_map
from nomina.networks.predict import PredictedFacts


@dataclass(frozen=True)
class AnchoredNaming:
    """Classes under the names that the anchors give."""

    naming: LevelNaming
    structures: tuple[str, ...]
    """Names of classes 1…n−1: the model's, then levels that only the anchors have brought in."""


def with_anchors(
    naming: LevelNaming, grid: Grid, structures: Sequence[str], anchors: Sequence[Anchor]
) -> AnchoredNaming:
    """Name vertebrae and discs anew; masks stay, and so does what is no level.

    Args:
        naming: Cleaned classes on the canonical grid.
        grid: That grid.
        structures: Names of its classes 1…n−1.
        anchors: What is known, at least one.

    Raises:
        PromptError: An anchor hits no structure, or they contradict each other; see `relevel`.
        SchemeError: Too few levels were found to count from one to the next.
    """
    found = relevel(named_label_map(naming.classes, grid, structures, structures, structures), anchors)
    new = dict.fromkeys(level.new_name for level in found.levels if level.new_name not in structures)
    names = (*structures, *new)
    class_of = np.zeros(1 + max(structure(name).label for name in names), dtype=np.uint8)
    for index, name in enumerate(names, start=1):
        class_of[structure(name).label] = index
    levels = {
        level.new_name: LevelFinding(level.new_name, level.confidence, level.other, level.other_confidence)
        for level in found.levels
        if spine_kind(level.new_name) == "disc"
    }
    # Slices that called a level otherwise do not speak against what the user knows.
    classes = looked_up(class_of, found.label_map.array)
    return AnchoredNaming(LevelNaming(classes, 1.0, levels, "; ".join(found.decided_by)), names)


def facts_under_anchors(facts: PredictedFacts | None, structures: Sequence[str]) -> PredictedFacts | None:
    """The same facts, for these structures, without what the network says of levels: it meant other names.

    Args:
        facts: Facts of the model's structures, which come first in `structures`.
        structures: See `AnchoredNaming.structures`.
    """
    if facts is None:
        return None
    presence = torch.nn.functional.pad(facts.presence, (0, len(structures) - len(facts.presence)))
    is_level = torch.tensor([spine_kind(name) is not None for name in structures], device=presence.device)
    return replace(facts, presence=presence.masked_fill(is_level, 0.0))
