"""Verdicts on vessels: what is said of a mask, of none, and of a side that cannot be known."""

import numpy as np
import pytest

from nomina.assessment.calibration import SURE_SCORE, Logistic, VerdictCalibration
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Verdict
from nomina.imaging.volume import LabelMap
from nomina.inference.vessel_verdicts import ChestInView, judge_vessel

GRID = Grid((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
LUNGS = LabelMap(np.pad(np.full((10, 10, 10), 1, np.uint8), 5), GRID, names={1: "left lung"}, scheme="nomina")
CALIBRATION = VerdictCalibration(
    subject="vessels",
    found=Logistic(intercept=-1.0, weights={"probability": 1.5, "lungs": 0.25}),
    missing=Logistic(intercept=-1.0, weights={"no_lung_tissue": 0.75, "no_vessels": 0.5}),
    weights_sha256="ab" * 32,
    fitted_on="nothing",
)


def verdict(
    *,
    num_voxels: int,
    sure: float = 0.9,
    lungs: LabelMap | None = LUNGS,
    tissue_ml: float = 3000,
    calibration: VerdictCalibration | None = None,
    whole_ml: float | None = None,
) -> Verdict:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask.reshape(-1)[:num_voxels] = True
    certainty = np.full(GRID.shape, round(255 * sure), dtype=np.uint8)
    volume_ml = num_voxels * GRID.voxel_volume_ml
    return judge_vessel(
        "left pulmonary artery",
        mask,
        certainty,
        ChestInView(GRID, lungs, tissue_ml),
        calibration,
        whole_ml=volume_ml if whole_ml is None else whole_ml,
    )


def test_without_a_calibration_thresholds_decide() -> None:
    assert verdict(num_voxels=500).presence == "present"
    faint = verdict(num_voxels=500, sure=0.6)
    assert (faint.presence, faint.is_calibrated) == ("uncertain", False)
    assert "0.60" in faint.reason
    assert verdict(num_voxels=500, lungs=None).presence == "uncertain"
    assert verdict(num_voxels=100).presence == "absent"  # 0.8 ml
    assert verdict(num_voxels=0, lungs=None).presence == "outside"


def test_a_calibrated_score_is_worked_out_from_the_evidence_that_is_stated() -> None:
    found = verdict(num_voxels=500, sure=0.9, calibration=CALIBRATION)
    assert found.is_calibrated
    assert found.evidence == {"probability": pytest.approx(0.902, abs=1e-3), "lungs": 1.0}
    logit = -1 + 1.5 * np.log(0.902 / 0.098) + 0.25 * np.log(0.99 / 0.01)
    assert found.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    assert found.score < 0.98
    assert found.presence == "present"
    faint = verdict(num_voxels=500, sure=0.4, calibration=CALIBRATION)
    assert faint.score < SURE_SCORE
    assert faint.presence == "uncertain"
    assert f"{faint.score:.2f}" in faint.reason


def test_vessels_whose_side_nobody_can_tell_are_not_called_outside() -> None:
    for calibration in (None, CALIBRATION):
        unknown = verdict(num_voxels=0, lungs=None, tissue_ml=1500, calibration=calibration, whole_ml=30.0)
        assert unknown.presence == "uncertain"
        assert unknown.score <= 0.5
        assert "side" in unknown.reason
        assert unknown.volume_ml == 0


def test_no_lung_tissue_and_no_vessels_is_surely_outside() -> None:
    abdomen = verdict(num_voxels=0, lungs=None, tissue_ml=0.0, calibration=CALIBRATION)
    assert abdomen.presence == "outside"
    assert abdomen.evidence == {"no_lung_tissue": 1.0, "no_vessels": 1.0}
    one_lung = verdict(num_voxels=0, lungs=None, tissue_ml=900.0, calibration=CALIBRATION)
    assert one_lung.evidence == {"no_lung_tissue": 0.1, "no_vessels": 1.0}
    logit = -1 + 0.75 * np.log(0.1 / 0.9) + 0.5 * np.log(0.99 / 0.01)
    assert one_lung.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    assert one_lung.score < abdomen.score
