"""Verdicts: present, absent, outside, uncertain, and what is cut by the border."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.calibration import SURE_SCORE, Logistic, VerdictCalibration
from nomina.assessment.level_finding import LevelFinding
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Verdict
from nomina.inference.levels import LevelNaming
from nomina.inference.presence import judge
from nomina.inference.walls import Walls
from nomina.networks.predict import PredictedFacts

STRUCTURES = (
    *(f"{level} vertebra" for level in ("L5", "L4", "L3", "L2", "L1")),
    "spinal canal",
    *(f"{disc} disc" for disc in ("L5-S1", "L4-L5", "L3-L4", "L2-L3", "L1-L2")),
)
GRID = Grid((5, 30, 80), np.diag([3.0, 1.0, 1.0, 1.0]))


def column(ranks: tuple[int, ...], top_height: int = 10) -> np.ndarray:
    """Bodies of height 10 on discs of height 3, bottom to top, and a canal behind them."""
    classes = np.zeros(GRID.shape, dtype=np.uint8)
    classes[:, 2:6] = 6
    for position, rank in enumerate(ranks):
        k = 2 + 14 * position
        classes[:, 10:25, k : k + 3] = 6 + rank
        height = top_height if rank == ranks[-1] else 10
        classes[:, 10:25, k + 3 : k + 3 + height] = rank
    return classes


def verdicts(
    classes: np.ndarray,
    *,
    seen: float = 0.0,
    confidence: float = 0.95,
    agreement: float = 1.0,
    content: tuple[int, int] = (0, 79),
    walls: Mapping[str, Walls] | None = None,
) -> dict[str, Verdict]:
    facts = PredictedFacts((), torch.full((len(STRUCTURES),), seen))
    certainty = np.full(classes.shape, round(255 * confidence), dtype=np.uint8)
    naming = LevelNaming(classes, agreement)
    return judge(naming, certainty, GRID, STRUCTURES, facts, content, walls=walls)


def test_what_is_there_is_present_with_its_volume() -> None:
    verdict = verdicts(column((1, 2, 3)))["L4 vertebra"]
    assert verdict.presence == "present"
    assert verdict.volume_ml == pytest.approx(5 * 15 * 10 * 3.0 / 1000)
    assert verdict.score == pytest.approx(0.95, abs=0.003)
    assert not verdict.is_partial


def test_levels_beyond_the_ends_are_outside_the_field_of_view() -> None:
    found = verdicts(column((2, 3, 4)))
    assert found["L5 vertebra"].presence == "outside"
    assert found["L1 vertebra"].presence == "outside"
    assert "L2 vertebra" in found["L1 vertebra"].reason


def test_a_level_missing_between_its_neighbours_is_absent_and_empty() -> None:
    classes = column((1, 2, 3))
    classes[classes == 2] = 0
    verdict = verdicts(classes)["L4 vertebra"]
    assert verdict.presence == "absent"
    assert verdict.volume_ml == 0.0


def test_a_missing_level_that_the_picture_suggests_is_uncertain() -> None:
    classes = column((1, 2, 3))
    classes[classes == 2] = 0
    assert verdicts(classes, seen=0.9)["L4 vertebra"].presence == "uncertain"


def test_a_speck_is_not_a_vertebra() -> None:
    classes = column((1, 2, 3))
    classes[2, 2:16, 60:64] = 4
    assert 0.15 < (classes == 4).sum() * 3 / 1000 < 0.225
    verdict = verdicts(classes)["L2 vertebra"]
    assert (verdict.presence, verdict.volume_ml) == ("outside", 0.0)
    classes[:, 2:16, 60:64] = 4
    assert verdicts(classes)["L2 vertebra"].volume_ml == pytest.approx(5 * 14 * 4 * 3 / 1000)


@pytest.mark.parametrize(("height", "is_found"), [(1, False), (2, True)])
def test_a_disc_counts_when_at_least_half_of_it_is_in_view(height: int, is_found: bool) -> None:
    """The disc L2-L3 at the upper border, three rows high when whole."""
    classes = column((1, 2, 3))
    classes[:, 10:25, 44 : 44 + height] = 10
    verdict = verdicts(classes, content=(0, 43 + height))["L2-L3 disc"]
    assert (verdict.presence == "outside") == (not is_found)
    assert (verdict.volume_ml > 0) == verdict.is_partial == is_found


def test_a_doubtful_mask_is_uncertain() -> None:
    assert verdicts(column((1, 2)), confidence=0.5)["L5 vertebra"].presence == "uncertain"


def test_levels_on_which_slices_disagree_are_uncertain_but_the_canal_is_not() -> None:
    found = verdicts(column((1, 2)), agreement=0.4)
    assert found["L5 vertebra"].presence == "uncertain"
    assert "disagree" in found["L5 vertebra"].reason
    assert found["spinal canal"].presence == "present"


def test_a_scan_without_a_spine_has_everything_absent() -> None:
    found = verdicts(np.zeros(GRID.shape, dtype=np.uint8))
    assert {verdict.presence for verdict in found.values()} == {"absent"}


def test_a_low_top_vertebra_at_the_border_is_partial() -> None:
    classes = column((1, 2, 3), top_height=6)
    last = int(np.flatnonzero((classes == 3).any(axis=(0, 1)))[-1])
    found = verdicts(classes, content=(0, last))
    assert found["L3 vertebra"].is_partial
    assert not found["L4 vertebra"].is_partial
    assert not verdicts(classes, content=(0, last + 20))["L3 vertebra"].is_partial


def test_a_low_top_disc_at_the_border_is_partial() -> None:
    classes = column((1, 2, 3))
    classes[classes == 3] = 0
    top = np.flatnonzero((classes == 6 + 3).any(axis=(0, 1)))
    classes[:, :, top[2] :][classes[:, :, top[2] :] == 6 + 3] = 0
    found = verdicts(classes, content=(0, int(top[1])))
    assert found["L3-L4 disc"].is_partial
    assert not found["L4-L5 disc"].is_partial
    assert found["L3 vertebra"].presence == "outside"


def test_a_whole_top_vertebra_that_touches_the_border_is_not_partial() -> None:
    classes = column((1, 2, 3))
    last = int(np.flatnonzero((classes == 3).any(axis=(0, 1)))[-1])
    assert not verdicts(classes, content=(0, last))["L3 vertebra"].is_partial


@pytest.mark.parametrize(("rank", "top_height", "is_partial"), [(3, 10, False), (2, 8, True)])
def test_the_height_of_a_vertebra_is_that_of_its_higher_columns(
    rank: int, top_height: int, is_partial: bool
) -> None:
    """Two fifths of the front columns of one vertebra are half as high, as after a collapse of its front."""
    classes = column((1, 2, 3), top_height)
    rows = np.flatnonzero((classes == rank).any(axis=(0, 1)))
    low = classes[:, 22:25, rows[0] : rows[0] + 5]
    low[low == rank] = 0
    last = int(np.flatnonzero((classes == 3).any(axis=(0, 1)))[-1])
    assert verdicts(classes, content=(0, last))["L3 vertebra"].is_partial == is_partial


def cut_below(classes: np.ndarray, row: int) -> np.ndarray:
    """The same where the scan begins at a row: what lies below is padding."""
    result = classes.copy()
    result[:, :, :row] = 0
    return result


@pytest.mark.parametrize(("row", "is_partial"), [(12, True), (5, False)])
def test_a_lowest_vertebra_that_the_lower_border_cuts_is_partial(row: int, is_partial: bool) -> None:
    """Three rows of ten, and all ten: a whole vertebra may touch the border."""
    classes = cut_below(column((1, 2, 3)), row)
    found = verdicts(classes, content=(row, 79))
    assert found["L5 vertebra"].presence == "present"
    assert found["L5 vertebra"].is_partial == is_partial
    assert ("cut by the border" in found["L5 vertebra"].reason) == is_partial
    assert not found["L4 vertebra"].is_partial
    assert not verdicts(classes, content=(0, 79))["L5 vertebra"].is_partial


@pytest.mark.parametrize(("row", "is_partial"), [(4, True), (2, False)])
def test_a_lowest_disc_that_the_lower_border_cuts_is_partial(row: int, is_partial: bool) -> None:
    """One row of three, and all three."""
    found = verdicts(cut_below(column((1, 2, 3)), row), content=(row, 79))
    assert found["L5-S1 disc"].is_partial == is_partial
    assert not found["L4-L5 disc"].is_partial
    assert not found["L5 vertebra"].is_partial


@pytest.mark.parametrize(("share", "is_partial"), [(0.33, True), (1.0, False)])
def test_real_lowest_vertebrae_that_the_lower_border_cuts_are_recognised(
    shared_data: Path, share: float, is_partial: bool
) -> None:
    """The scan begins where so much of the height of L5's front half, its body, is left."""
    root = shared_data / "spider_t2space"
    names = ("L5 vertebra", "L4 vertebra")
    for patient in json.loads((root / "splits.json").read_text())["train"][:6]:
        reference = read_label_map(root / f"masks/{patient}_t2_SPACE.mha", scheme="spider").canonical()
        classes = np.where(reference.array <= 2, reference.array, 0).astype(np.uint8)
        body = classes == 1
        places = np.flatnonzero(body.any(axis=(0, 2)))
        body[:, : (places[0] + places[-1]) // 2] = False
        rows = np.flatnonzero(body.any(axis=(0, 1)))
        row = round(rows[-1] + 1 - share * len(rows))
        classes = cut_below(classes, row)
        sure = np.full(classes.shape, 255, dtype=np.uint8)
        content = (int(row), classes.shape[2] - 1)
        found = judge(LevelNaming(classes, 1.0), sure, reference.grid, names, None, content)
        assert [found[name].is_partial for name in names] == [is_partial, False], patient


def level(name: str, confidence: float, other: str) -> tuple[str, LevelFinding]:
    return name, LevelFinding(name, confidence, other, 1 - confidence)


def test_an_uncertain_level_is_reported_as_uncertain_and_says_what_else_it_may_be() -> None:
    levels = dict(
        [
            level("L5-S1 disc", 0.95, "S1-S2 disc"),
            level("L4-L5 disc", 0.95, "L5-S1 disc"),
            level("L3-L4 disc", 0.6, "L2-L3 disc"),
        ]
    )
    classes = column((1, 2, 3))
    naming = LevelNaming(classes, 1.0, levels, "the sacrum is far away")
    sure = np.full(classes.shape, 255, dtype=np.uint8)
    found = judge(naming, sure, GRID, STRUCTURES, None, (0, 79))
    assert found["L4 vertebra"].presence == "present"
    assert found["spinal canal"].presence == "present"
    assert found["L3 vertebra"].presence == found["L3-L4 disc"].presence == "uncertain"
    assert found["L3 vertebra"].score == pytest.approx(0.6)
    assert "may be the L2 vertebra" in found["L3 vertebra"].reason
    assert "may be the L2-L3 disc" in found["L3-L4 disc"].reason
    assert found["L2 vertebra"].presence == "uncertain"
    assert found["L1 vertebra"].presence == "outside"
    # What holds for all levels stands once, in the provenance.
    assert not any("the sacrum is far away" in verdict.reason for verdict in found.values())


def test_a_vertebra_without_a_disc_has_the_certainty_of_the_nearest() -> None:
    classes = column((1, 2, 3))
    classes[classes == 6 + 3] = 0
    levels = dict([level("L5-S1 disc", 0.9, "S1-S2 disc"), level("L4-L5 disc", 0.5, "L5-S1 disc")])
    sure = np.full(classes.shape, 255, dtype=np.uint8)
    found = judge(LevelNaming(classes, 1.0, levels), sure, GRID, STRUCTURES, None, (0, 79))
    assert found["L3 vertebra"].presence == "uncertain"
    assert found["L5 vertebra"].presence == "present"


@pytest.mark.parametrize(
    ("disc", "other", "expected"),
    [
        ("L4-L5 disc", "L5-S1 disc", {"L5": "it may be the S1 vertebra", "L4": "it may be the L5 vertebra"}),
        ("L4-L5 disc", "L3-L4 disc", {"L5": "it may be the L4 vertebra", "L3": "it may be the L2 vertebra"}),
        ("L3-L4 disc", "L2-L3 disc", {"L5": "it may be the L4 vertebra", "L4": "it may be the L3 vertebra"}),
        ("L4-L5 disc", "L5-L6 disc", {"L5": "it may be the L6 vertebra", "L3": None}),
        ("L5-S1 disc", "L5-L6 disc", {"L5": None, "L4": None}),
        ("L4-L5 disc", "L4-L5 disc", {"L5": None, "L4": None, "L3": None}),
    ],
)
def test_the_other_name_of_a_vertebra_is_the_one_on_its_own_side_of_the_nearest_disc(
    disc: str, other: str, expected: dict[str, str | None]
) -> None:
    """One disc was found: L5 lies below L4-L5, L4 above it."""
    classes = column((1, 2, 3))
    classes[classes > 6] = 0
    naming = LevelNaming(classes, 1.0, dict([level(disc, 0.5, other)]))
    sure = np.full(classes.shape, 255, dtype=np.uint8)
    found = judge(naming, sure, GRID, STRUCTURES, None, (0, 79))
    for name, words in expected.items():
        reason = found[f"{name} vertebra"].reason
        assert "its level is uncertain (0.50)" in reason
        assert (words in reason) if words else ("may be" not in reason), (name, reason)


def test_partly_visible_vertebrae_of_real_reference_label_maps_are_recognised(shared_data: Path) -> None:
    root = shared_data / "spider_t2space"
    names = [f"{level} vertebra" for level in ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9")]
    for patient in json.loads((root / "splits.json").read_text())["train"][:6]:
        reference = read_label_map(root / f"masks/{patient}_t2_SPACE.mha", scheme="spider").canonical()
        classes = np.zeros(reference.array.shape, dtype=np.uint8)
        for rank in range(1, 10):
            classes[np.isin(reference.array, (rank, 100 + rank))] = rank
        expected = {names[value - 101] for value in np.unique(reference.array) if 101 <= value <= 125}
        whole = (0, reference.array.shape[2] - 1)
        sure = np.full(classes.shape, 255, dtype=np.uint8)
        found = judge(LevelNaming(classes, 1.0), sure, reference.grid, names, None, whole)
        assert {name for name, verdict in found.items() if verdict.is_partial} == expected, patient


CALIBRATION = VerdictCalibration(
    found=Logistic(intercept=2.0, weights={"probability": 1.0, "level": 1.0}),
    missing=Logistic(intercept=1.0, weights={"unseen": 1.0, "level": 0.0, "distance": 1.0}),
    weights_sha256="",
    fitted_on="made up",
)


def judged(classes: np.ndarray, confidence: float, seen: float, agreement: float = 1.0) -> dict[str, Verdict]:
    facts = PredictedFacts((), torch.full((len(STRUCTURES),), seen))
    certainty = np.full(classes.shape, round(255 * confidence), dtype=np.uint8)
    naming = LevelNaming(classes, agreement)
    return judge(naming, certainty, GRID, STRUCTURES, facts, (0, 79), CALIBRATION)


def test_a_calibrated_score_follows_from_the_evidence_that_the_verdict_states() -> None:
    found = judged(column((1, 2)), confidence=0.8, seen=0.3)
    for name in ("L5 vertebra", "spinal canal", "L1 vertebra"):
        assert found[name].is_calibrated
        assert found[name].score == CALIBRATION.score(found[name].evidence)
    assert found["L5 vertebra"].evidence == {"probability": 0.8, "level": 0.5}
    assert found["L1 vertebra"].evidence == pytest.approx({"unseen": 0.7, "level": 0.5, "distance": 3.0})


def test_a_calibrated_verdict_is_uncertain_where_its_score_is_low_and_says_so() -> None:
    sure = judged(column((1, 2)), confidence=0.6, seen=0.0)["L5 vertebra"]
    assert sure.presence == "present"
    assert sure.score >= SURE_SCORE
    faint = judged(column((1, 2)), confidence=0.3, seen=0.0, agreement=0.3)["L5 vertebra"]
    assert faint.presence == "uncertain"
    assert faint.score < SURE_SCORE
    assert "its mask is faint; slices disagree on its level" in faint.reason


@pytest.mark.parametrize(("seen", "presence"), [(0.2, "outside"), (0.9, "uncertain")])
def test_what_is_missing_is_stated_where_the_picture_agrees(seen: float, presence: str) -> None:
    verdict = judged(column((1, 2)), confidence=0.9, seen=seen)["L3 vertebra"]
    assert verdict.presence == presence
    assert ("right with probability" in verdict.reason) == (presence == "uncertain")


def test_without_a_calibration_scores_are_labelled_so() -> None:
    found = verdicts(column((1, 2, 3)))
    assert not any(verdict.is_calibrated for verdict in found.values())
    assert found["L4 vertebra"].evidence["probability"] == pytest.approx(0.95, abs=0.003)


WALLED = {f"{level} vertebra": Walls(0.9, 0.7) for level in ("L5", "L4", "L3", "L2")}
OPEN = Walls(0.1, 0.1)


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
def test_a_vertebra_without_walls_is_uncertain_and_says_why(calibration: VerdictCalibration | None) -> None:
    """It shows 0.1 of its walls, the others 0.8; it keeps its mask, since a vertebra may be there yet."""
    classes = column((1, 2, 3, 4))
    certainty = np.full(classes.shape, 250, dtype=np.uint8)
    facts = PredictedFacts((), torch.zeros(len(STRUCTURES)))
    walls = WALLED | {"L4 vertebra": OPEN}
    without = judge(LevelNaming(classes, 1.0), certainty, GRID, STRUCTURES, facts, (0, 79), calibration)
    found = judge(LevelNaming(classes, 1.0), certainty, GRID, STRUCTURES, facts, (0, 79), calibration, walls)
    verdict = found.pop("L4 vertebra")
    before = without.pop("L4 vertebra")
    assert found == without
    assert (verdict.presence, verdict.score) == ("uncertain", min(before.score, 0.5))
    assert (verdict.volume_ml, verdict.evidence) == (before.volume_ml, before.evidence)
    assert "seen on 10% of the lines across it, on 80% with the other vertebrae" in verdict.reason


@pytest.mark.parametrize(("row", "presence"), [(12, "present"), (0, "uncertain")])
def test_a_vertebra_that_the_border_cuts_needs_no_walls(row: int, presence: str) -> None:
    classes = cut_below(column((1, 2, 3, 4)), row)
    found = verdicts(classes, content=(row, 79), walls=WALLED | {"L5 vertebra": OPEN})
    assert found["L5 vertebra"].presence == presence


def test_the_highest_vertebra_needs_no_walls() -> None:
    classes = column((1, 2, 3, 4))
    assert verdicts(classes, walls=WALLED | {"L2 vertebra": OPEN})["L2 vertebra"].presence == "present"
    assert verdicts(classes, walls=WALLED | {"L3 vertebra": OPEN})["L3 vertebra"].presence == "uncertain"


def test_a_scan_without_a_spine_has_no_walls_to_miss() -> None:
    found = verdicts(np.zeros(GRID.shape, dtype=np.uint8), walls={})
    assert {verdict.presence for verdict in found.values()} == {"absent"}
