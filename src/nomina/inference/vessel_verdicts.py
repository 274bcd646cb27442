"""The verdict per vessel: present, absent, outside the field of view, or uncertain."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from nomina.assessment.calibration import SURE_SCORE, VerdictCalibration
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Presence, Verdict
from nomina.imaging.volume import LabelMap

MIN_VOLUME_ML = 1.0
"""A vascular tree counts as found from this volume on [choice: one lung's arteries have 30 ml and more]."""

SURE = 0.7
"""A tree of lower mean probability is reported as uncertain where scores are not calibrated [choice]."""

CUT_SHARE = 0.1
"""Lungs are cut where the border shows this share of their largest section [choice: a trachea has 0.02]."""


UNKNOWN = 0.5
"""Evidence that speaks neither for nor against: both lungs are not in view, or a side cannot be told."""


@dataclass(frozen=True)
class ChestInView:
    """What the verdicts must know of a scan."""

    grid: Grid
    """Canonical grid of the masks."""
    lungs: LabelMap | None
    """The lungs in the scan; None where no two were found."""
    lung_tissue_ml: float
    """Volume that looks like lung, be it of one lung only."""


def judge_vessel(
    name: str,
    mask: Bool[np.ndarray, "i j k"],
    certainty: UInt8[np.ndarray, "i j k"],
    chest: ChestInView,
    calibration: VerdictCalibration | None = None,
    *,
    whole_ml: float,
) -> Verdict:
    """The verdict on a mask; a volume of 0 says that the mask is too small to count.

    Args:
        name: Structure asked for.
        mask: What was found of it.
        certainty: Probability of each voxel's class in steps of 1/255.
        chest: The scan.
        calibration: What turns evidence into a score; None: scores are not calibrated, and thresholds of our
            choice say what is uncertain.
        whole_ml: Volume of what was found of it on either side.
    """
    volume_ml = int(mask.sum()) * chest.grid.voxel_volume_ml
    has_lungs = chest.lungs is not None
    if volume_ml < MIN_VOLUME_ML:
        return _not_found(name, volume_ml, whole_ml, chest, calibration)
    probability = float(certainty[mask].mean()) / 255
    evidence = {"probability": round(probability, 4), "lungs": 1.0 if has_lungs else UNKNOWN}
    reason = "found in and between the lungs" if has_lungs else "found, but no two lungs are in view"
    if calibration is None:
        score, is_sure = probability, has_lungs and probability >= SURE
        doubt = "" if is_sure or not has_lungs else f"; its mean probability is {probability:.2f} only"
    else:
        score, is_sure, doubt = _scored(calibration, evidence)
    return Verdict(
        name,
        "present" if is_sure else "uncertain",
        score,
        f"{reason}{doubt}",
        volume_ml,
        chest.lungs is not None and _reaches_border(chest.lungs),
        is_calibrated=calibration is not None,
        evidence=evidence,
    )


def _not_found(
    name: str,
    volume_ml: float,
    whole_ml: float,
    chest: ChestInView,
    calibration: VerdictCalibration | None,
) -> Verdict:
    is_side_unknown = chest.lungs is None and whole_ml >= MIN_VOLUME_ML
    evidence = {
        "no_lung_tissue": round(max(0.0, 1 - chest.lung_tissue_ml / 1000), 4),
        "no_vessels": UNKNOWN if is_side_unknown else 1.0,
    }
    stated: Presence = "absent" if chest.lungs is not None else "outside"
    if is_side_unknown:
        reason = "vessels were found, but no two lungs are in view to tell their side by"
    elif chest.lungs is None:
        reason = "no two lungs are in view" if chest.lung_tissue_ml else "no lung is in view"
    else:
        reason = f"{volume_ml:.1f} ml found although lungs are in view, less than {MIN_VOLUME_ML:g} ml"
    score, is_sure, doubt = 0.5, not is_side_unknown, ""
    if calibration is not None:
        score, is_sure, doubt = _scored(calibration, evidence)
    return Verdict(
        name,
        stated if is_sure else "uncertain",
        score,
        f"{reason}{doubt}",
        is_calibrated=calibration is not None,
        evidence=evidence,
    )


def _scored(calibration: VerdictCalibration, evidence: Mapping[str, float]) -> tuple[float, bool, str]:
    """Score of some evidence, whether it is high enough to state the verdict, and what to add if not."""
    score = calibration.score(evidence)
    is_sure = score >= SURE_SCORE
    return score, is_sure, "" if is_sure else f"; findings like this are right with probability {score:.2f}"


def _reaches_border(lungs: LabelMap) -> bool:
    """Whether the scan ends inside the lungs; the trachea, which may hang on them, ends there always."""
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        areas = (lungs.array != 0).sum(axis=others)
        if max(areas[0], areas[-1]) >= CUT_SHARE * areas.max():
            return True
    return False
