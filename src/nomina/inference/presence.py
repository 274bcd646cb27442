"""The verdict per structure: present, absent, outside the field of view, or uncertain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Integer, UInt8

from nomina.assessment.spine_levels import spine_kind, spine_rank
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Presence, Verdict
from nomina.inference.levels import LevelNaming
from nomina.networks.predict import PredictedFacts

MIN_VOLUME_ML = 0.15
"""A structure counts as found from this volume on [choice]: a tenth of the smallest disc of a thin slab."""

BORDER_MM = 2.0
"""A structure is cut by the border when it comes this close to the end of the image content ..."""

CUT_SHARE = 0.5
"""... over at least this share of its columns ..."""

CUT_HEIGHT = 0.85
"""... and is lower than this share of its neighbour's height [all three choice: of the 20 training patients'
reference label maps they tell every partly visible vertebra from every whole one]."""

SURE = 0.75
"""A mask of lower mean probability is reported as uncertain [choice]."""

AGREED = 0.6
"""Levels are uncertain when a smaller share of disc voxels bore the name the scan settled on [choice]."""


@dataclass(frozen=True)
class _Found:
    """One structure's mask in numbers."""

    volume_ml: float
    confidence: float
    """Mean probability of its kind over its voxels."""
    is_partial: bool = False
    agreement: float = 1.0
    """Share of disc voxels that bore the level's settled name from the start; 1 for what has no level."""


def judge(
    naming: LevelNaming,
    certainty: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    structures: Sequence[str],
    facts: PredictedFacts | None,
    content: tuple[int, int],
) -> dict[str, Verdict]:
    """A verdict for every structure that the model knows.

    Args:
        naming: Class of each voxel on the canonical (RAS) grid, cleaned, and how far slices agreed on levels.
        certainty: Probability of each voxel's kind in steps of 1/255.
        grid: That grid.
        structures: Names of classes 1…n−1.
        facts: What the network read off the picture; None for a network without facts.
        content: First and last index along S that hold image content (not padding).
    """
    classes = naming.classes
    counts = np.bincount(classes.ravel(), minlength=len(structures) + 1)
    sums = np.bincount(classes.ravel(), weights=certainty.ravel(), minlength=len(structures) + 1)
    found: dict[str, _Found] = {}
    for index, name in enumerate(structures, start=1):
        volume_ml = float(counts[index]) * grid.voxel_volume_ml
        if volume_ml >= MIN_VOLUME_ML:
            agreement = naming.agreement if spine_kind(name) is not None else 1.0
            found[name] = _Found(volume_ml, float(sums[index] / counts[index]) / 255, agreement=agreement)
    for name in _cut_vertebrae(classes, grid, structures, found, content):
        found[name] = replace(found[name], is_partial=True)
    return {
        name: _present(name, found[name]) if name in found else _missing(name, index, found, facts)
        for index, name in enumerate(structures)
    }


def _present(name: str, found: _Found) -> Verdict:
    cut = "; it is cut by the border of the scan" if found.is_partial else ""
    level = "" if found.agreement >= AGREED else "; slices disagree on its level"
    presence: Presence = "present" if found.confidence >= SURE and not level else "uncertain"
    score = round(found.confidence * found.agreement, 3)
    reason = f"{found.volume_ml:.1f} ml with a mean probability of {found.confidence:.2f}{level}{cut}"
    return Verdict(name, presence, score, reason, round(found.volume_ml, 3), found.is_partial)


def _missing(name: str, index: int, found: dict[str, _Found], facts: PredictedFacts | None) -> Verdict:
    """Why nothing was found: beyond the levels in view, or in view and not there."""
    seen = float(facts.presence[index]) if facts is not None else 0.0
    score = round(1 - seen, 3)
    kind, rank = spine_kind(name), spine_rank(name)
    ranks = [r for other in found if spine_kind(other) is not None and (r := spine_rank(other)) is not None]
    if not ranks:
        return Verdict(
            name, "uncertain" if seen > 0.5 else "absent", score, "no vertebra or disc was found at all"
        )
    if kind is None or rank is None:
        return Verdict(name, "absent", score, "not found although the spine is in view")
    if rank > max(ranks):
        return Verdict(name, "outside", score, f"above the highest level found ({_level_names(found)[1]})")
    if rank < min(ranks):
        return Verdict(name, "outside", score, f"below the lowest level found ({_level_names(found)[0]})")
    presence: Presence = "uncertain" if seen > 0.5 else "absent"
    return Verdict(
        name, presence, score, "its neighbours were found on both sides, but not the structure itself"
    )


def _level_names(found: dict[str, _Found]) -> tuple[str, str]:
    """Lowest and highest vertebra found; discs where no vertebra was."""
    ordered = sorted(
        (name for name in found if spine_rank(name) is not None), key=lambda n: spine_rank(n) or 0
    )
    vertebrae = [name for name in ordered if spine_kind(name) == "vertebra"] or ordered
    return vertebrae[0], vertebrae[-1]


def _cut_vertebrae(
    classes: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    structures: Sequence[str],
    found: dict[str, _Found],
    content: tuple[int, int],
) -> list[str]:
    """The highest vertebra, where the border of the scan cuts its body."""
    vertebrae = [name for name in found if spine_kind(name) == "vertebra" and spine_rank(name) is not None]
    vertebrae.sort(key=lambda name: spine_rank(name) or 0)
    if len(vertebrae) < 2:
        return []
    top, below = vertebrae[-1], vertebrae[-2]
    reach = BORDER_MM / grid.spacing_mm[2]
    heights, ends = _columns(classes == structures.index(top) + 1)
    near_border = (ends >= content[1] - reach).mean()
    lower_heights, _ = _columns(classes == structures.index(below) + 1)
    height = np.percentile(heights, 75) / np.percentile(lower_heights, 75)
    return [top] if near_border >= CUT_SHARE and height < CUT_HEIGHT else []


def _columns(mask: np.ndarray) -> tuple[Integer[np.ndarray, " c"], Integer[np.ndarray, " c"]]:
    """For each (i, j) column of a vertebra's front half (its body): number of voxels, and the highest one."""
    places = np.flatnonzero(mask.any(axis=(0, 2)))
    front = mask[:, (places[0] + places[-1]) // 2 : places[-1] + 1]
    occupied = front.any(axis=2)
    heights = front.sum(axis=2)[occupied]
    ends = front.shape[2] - 1 - np.argmax(front[:, :, ::-1], axis=2)[occupied]
    return heights, ends
