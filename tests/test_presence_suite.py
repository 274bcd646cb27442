"""The suite that measures verdicts: what counts as there and as right, and its figures worked out by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from calibrate_verdicts import in_folds, scored
from presence_suite import Answer, bins_of, judged, pieces, summary, without_one

from nomina.assessment.calibration import Logistic, VerdictCalibration, calibration_error
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Presence, Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.phantoms.render import phantom_case

NAMES = {1: "L5 vertebra", 2: "L4 vertebra", 3: "L3 vertebra", 201: "L5-S1 disc"}
GRID = Grid((2, 2, 20), np.diag([3.0, 1.0, 1.0, 1.0]))


def column(**rows: slice) -> LabelMap:
    """A column with each named vertebra or disc on some rows, e.g. `L4=slice(6, 10)`."""
    values = {"disc": 201, "L5": 1, "L4": 2, "L3": 3, "part_of_L3": 103}
    array = np.zeros(GRID.shape, dtype=np.uint8)
    for name, where in rows.items():
        array[:, :, where] = values[name]
    return LabelMap(array, GRID, names=NAMES, scheme="spider", ignored=frozenset({103}))


def verdict(name: str, presence: Presence, volume_ml: float, score: float = 0.8) -> Verdict:
    return Verdict(name, presence, score, "", volume_ml)


def answers_of(
    found: LabelMap, verdicts: list[Verdict], truth: LabelMap, whole: LabelMap
) -> dict[str, Answer]:
    result = Segmentation(found, tuple(verdicts))
    return {answer.structure: answer for answer in judged(result, "5", "piece", truth, whole)}


def test_a_mask_on_another_level_is_not_right_though_the_name_is_there() -> None:
    whole = column(disc=slice(0, 2), L5=slice(2, 6), L4=slice(6, 10))
    shifted = column(disc=slice(0, 2), L5=slice(6, 10), L4=slice(6, 6))
    verdicts = [verdict("L5 vertebra", "present", 1.0), verdict("L4 vertebra", "absent", 0.0)]
    found = answers_of(shifted, verdicts, whole, whole)
    assert (found["L5 vertebra"].is_there, found["L5 vertebra"].is_right) == (True, False)
    assert (found["L4 vertebra"].is_there, found["L4 vertebra"].is_right) == (True, False)
    right = answers_of(whole, [verdict("L5 vertebra", "present", 1.0)], whole, whole)["L5 vertebra"]
    assert right.is_right
    assert right.has_lowest


def test_what_is_missing_and_has_no_mask_is_right_whatever_the_verdict() -> None:
    whole = column(disc=slice(0, 2), L5=slice(2, 6))
    for presence in ("absent", "outside", "uncertain"):
        assert answers_of(whole, [verdict("L3 vertebra", presence, 0.0)], whole, whole)[
            "L3 vertebra"
        ].is_right
    masked = answers_of(column(L3=slice(2, 6)), [verdict("L3 vertebra", "present", 1.0)], whole, whole)
    assert not masked["L3 vertebra"].is_right


def test_what_is_less_than_half_there_is_not_asked() -> None:
    whole = column(L5=slice(0, 4), L4=slice(4, 8), part_of_L3=slice(8, 10))
    truth = column(L5=slice(0, 4), L4=slice(4, 5), part_of_L3=slice(8, 10))
    verdicts = [verdict(f"{level} vertebra", "present", 1.0) for level in ("L5", "L4", "L3")]
    assert set(answers_of(truth, verdicts, truth, whole)) == {"L5 vertebra"}
    half = column(L5=slice(0, 4), L4=slice(4, 6))
    found = answers_of(half, verdicts, half, whole)
    assert {name: item.is_there for name, item in found.items()} == {
        "L5 vertebra": True,
        "L4 vertebra": True,
        "L3 vertebra": False,
    }


def answer(score: float, verdict: str, *, is_there: bool, is_right: bool, case: str = "5") -> Answer:
    evidence = {"probability": score, "level": 0.9}
    return Answer(case, "whole", "L5 vertebra", is_there, is_right, verdict, score, False, evidence)


FIVE = [
    answer(0.95, "present", is_there=True, is_right=True),
    answer(0.97, "present", is_there=True, is_right=False),
    answer(0.91, "outside", is_there=False, is_right=True),
    answer(0.93, "present", is_there=False, is_right=False),
    answer(0.42, "uncertain", is_there=True, is_right=True),
]


def test_the_figures_are_those_worked_out_by_hand() -> None:
    """0.95, 0.97, 0.91, 0.93: mean 0.94, half right: 0.44 · 4/5; 0.42: right: 0.58 · 1/5; in all 0.468."""
    assert calibration_error(bins_of(FIVE)) == pytest.approx(0.44 * 4 / 5 + 0.58 / 5)
    text = summary("all", FIVE)
    assert "decided 4, right 2 (0.500), presence right 3 (0.750)" in text
    assert "present but not there 1, missed 0; uncertain 0.200; calibration error 0.468" in text


def test_pieces_follow_from_case_and_seed_and_keep_the_place_in_the_world() -> None:
    whole = column(L5=slice(2, 6), L4=slice(6, 10))
    volume = Volume(np.arange(80, dtype=np.float32).reshape(GRID.shape), GRID)
    one, again = (list(pieces("5", volume, whole, 3, 7)) for _ in range(2))
    assert [name for name, *_ in one] == [name for name, *_ in again]
    assert one[0][0] == "whole"
    assert [name for name, *_ in pieces("6", volume, whole, 3, 7)] != [name for name, *_ in one]
    for _, part, truth in one:
        first = round(part.grid.affine[2, 3])
        rows = slice(first, first + part.grid.shape[2])
        assert np.array_equal(part.array, volume.array[:, :, rows])
        assert np.array_equal(truth.array, whole.array[:, :, rows])


def test_a_phantom_is_judged_without_one_of_its_inner_vertebrae_whose_discs_stay() -> None:
    _, reference = phantom_case(4004, "t2")
    ((piece, volume, truth, whole),) = without_one("phantom_04004", reference, 7)
    (left_out,) = set(reference.names.values()) - set(truth.names.values())
    assert piece == f"without {left_out}"
    assert left_out in {"L4 vertebra", "L3 vertebra", "L2 vertebra", "L1 vertebra"}
    np.testing.assert_array_equal(volume.grid.affine, truth.grid.affine)
    assert whole is truth
    verdicts = [verdict(left_out, "present", 9.0), verdict("L5 vertebra", "uncertain", 9.0)]
    found = answers_of(reference.canonical(), verdicts, truth, truth)
    assert (found[left_out].is_there, found[left_out].is_right) == (False, False)
    assert replace(found[left_out], piece=piece).is_left_out
    assert not replace(found["L5 vertebra"], piece=piece).is_left_out
    assert found["L5 vertebra"].is_there


def test_answers_are_scored_anew_and_uncertain_below_the_limit() -> None:
    calibration = VerdictCalibration(
        found=Logistic(intercept=0.0, weights={"probability": 1.0, "level": 0.0}),
        missing=Logistic(intercept=0.0, weights={"unseen": 0.0, "level": 0.0, "distance": 0.0}),
        weights_sha256="",
        fitted_on="",
    )
    again = scored(FIVE, calibration)
    assert [item.score for item in again] == [0.95, 0.97, 0.91, 0.93, 0.42]
    assert [item.verdict for item in again] == ["present"] * 4 + ["uncertain"]


def test_folds_score_every_answer_once_and_without_its_own_scan() -> None:
    rng = np.random.default_rng(0)
    answers = []
    for case in range(10):
        for _ in range(20):
            score = float(rng.uniform(0.3, 0.99))
            answers.append(
                answer(score, "present", is_there=True, is_right=rng.random() < score, case=str(case))
            )
            gone = {"unseen": score, "level": 0.9, "distance": 1.0}
            answers.append(replace(answers[-1], evidence=gone))
    result = in_folds(answers)
    key = sorted((item.case, sorted(item.evidence.items())) for item in result)
    assert key == sorted((item.case, sorted(item.evidence.items())) for item in answers)
    # Were its own scan in the fit, turning a scan's truth over would change that scan's scores.
    turned = [replace(item, is_right=not item.is_right) if item.case == "3" else item for item in answers]
    scores = {str(item.evidence): item.score for item in in_folds(turned) if item.case == "3"}
    assert scores == {str(item.evidence): item.score for item in result if item.case == "3"}
