"""The verdict per vessel: present, absent, outside the field of view, or uncertain."""

import numpy as np
from jaxtyping import Bool, UInt8

from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Verdict
from nomina.imaging.volume import LabelMap

MIN_VOLUME_ML = 1.0
"""A vascular tree counts as found from this volume on [choice: one lung's arteries have 30 ml and more]."""

SURE = 0.7
"""A tree of lower mean probability is reported as uncertain [choice]."""

CUT_SHARE = 0.1
"""Lungs are cut where the border shows this share of their largest section [choice: a trachea has 0.02]."""


def judge_vessel(
    name: str,
    mask: Bool[np.ndarray, "i j k"],
    certainty: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    lungs: LabelMap | None,
) -> Verdict:
    """The verdict on a mask; a volume of 0 says that the mask is too small to count.

    Args:
        name: Structure asked for.
        mask: What was found of it.
        certainty: Probability of each voxel's class in steps of 1/255.
        grid: Canonical grid of the mask.
        lungs: The lungs in the scan; None where none were found.
    """
    has_lungs = lungs is not None
    volume_ml = int(mask.sum()) * grid.voxel_volume_ml
    if volume_ml < MIN_VOLUME_ML:
        return _not_found(name, volume_ml, has_lungs=has_lungs)
    is_cut = lungs is not None and _reaches_border(lungs)
    score = float(certainty[mask].mean()) / 255
    return _found(name, score, volume_ml, is_cut, has_lungs=has_lungs)


def _found(name: str, score: float, volume_ml: float, is_cut: bool, *, has_lungs: bool) -> Verdict:
    if not has_lungs:
        return Verdict(name, "uncertain", score, "found, but no lungs are in view", volume_ml, is_cut)
    if score < SURE:
        reason = f"found with a mean probability of {score:.2f} only"
        return Verdict(name, "uncertain", score, reason, volume_ml, is_cut)
    return Verdict(name, "present", score, "found in and between the lungs", volume_ml, is_cut)


def _not_found(name: str, volume_ml: float, *, has_lungs: bool) -> Verdict:
    if not has_lungs:
        return Verdict(name, "outside", 0.5, "no lungs are in view")
    reason = f"{volume_ml:.1f} ml found although the lungs are in view, less than {MIN_VOLUME_ML:g} ml"
    return Verdict(name, "absent", 0.5, reason)


def _reaches_border(lungs: LabelMap) -> bool:
    """Whether the scan ends inside the lungs; the trachea, which may hang on them, ends there always."""
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        areas = (lungs.array != 0).sum(axis=others)
        if max(areas[0], areas[-1]) >= CUT_SHARE * areas.max():
            return True
    return False
