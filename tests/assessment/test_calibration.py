"""Verdict scores: miscalibrated ones get calibrated, and better evidence never lowers them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nomina.assessment.calibration import (
    MOST_SURE,
    Example,
    Logistic,
    VerdictCalibration,
    calibration_error,
    fit_calibration,
    reliability,
)
from nomina.config import parse_config, to_plain
from nomina.errors import ConfigError

FORMULA = VerdictCalibration(
    found=Logistic(intercept=0.5, weights={"probability": 1.0, "level": 0.5}),
    missing=Logistic(intercept=1.0, weights={"unseen": 0.5, "level": 0.3, "distance": 1.0}),
    weights_sha256="ab" * 32,
    fitted_on="nothing",
)


def found(probability: float, level: float = 0.9) -> dict[str, float]:
    return {"probability": probability, "level": level}


def missing(unseen: float, level: float = 0.9, distance: float = 1.0) -> dict[str, float]:
    return {"unseen": unseen, "level": level, "distance": distance}


def drawn(rng: np.random.Generator, count: int) -> list[Example]:
    """Findings whose stated probability is too low: right with sigmoid(1.5 + 0.8 · logit + 1.2 · logit)."""
    examples = []
    for _ in range(count):
        probability, level = rng.uniform(0.2, 0.95, size=2)
        logit = 1.5 + 0.8 * np.log(probability / (1 - probability)) + 1.2 * np.log(level / (1 - level))
        examples.append(Example(found(probability, level), bool(rng.random() < 1 / (1 + np.exp(-logit)))))
        examples.append(Example(missing(probability), bool(rng.random() < 0.9)))
    return examples


def error(calibration: VerdictCalibration | None, examples: list[Example]) -> float:
    """Calibration error of findings with a mask; without a calibration, of the product of their evidence."""
    chosen = [example for example in examples if "probability" in example.evidence]
    scores = [
        e.evidence["probability"] * e.evidence["level"]
        if calibration is None
        else calibration.score(e.evidence)
        for e in chosen
    ]
    return calibration_error(reliability(np.array(scores), np.array([e.is_right for e in chosen])))


def test_a_miscalibrated_set_gets_calibrated_on_findings_that_were_not_fitted() -> None:
    rng = np.random.default_rng(0)
    calibration = fit_calibration(drawn(rng, 3000), weights_sha256="", fitted_on="drawn", penalty=1e-4)
    unseen = drawn(rng, 3000)
    assert error(None, unseen) > 0.2
    assert error(calibration, unseen) < 0.03
    assert calibration.found.intercept == pytest.approx(1.5, abs=0.25)
    assert calibration.found.weights["probability"] == pytest.approx(0.8, abs=0.15)
    assert calibration.found.weights["level"] == pytest.approx(1.2, abs=0.15)
    assert calibration.score(missing(0.5)) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("name", ["probability", "level"])
def test_better_evidence_never_lowers_the_score_of_a_mask(name: str) -> None:
    rng = np.random.default_rng(1)
    # Truth that runs against the evidence: a weight of 0 is the best that is allowed.
    against = [
        Example(e.evidence, not e.is_right if "probability" in e.evidence else e.is_right)
        for e in drawn(rng, 300)
    ]
    for calibration in (FORMULA, fit_calibration(against, weights_sha256="", fitted_on="drawn")):
        scores = [calibration.score(found(0.7) | {name: value}) for value in np.linspace(0, 1, 21)]
        assert np.all(np.diff(scores) >= 0)


def test_scores_are_those_of_the_formula_and_never_certain() -> None:
    expected = 1 / (1 + np.exp(-(0.5 + np.log(0.7 / 0.3) + 0.5 * np.log(0.9 / 0.1))))
    assert FORMULA.score(found(0.7, 0.9)) == pytest.approx(expected, abs=5e-4)
    expected = 1 / (1 + np.exp(-(1.0 + 0.5 * np.log(0.2 / 0.8) + 0.3 * np.log(0.6 / 0.4) + 1.0 * 2)))
    assert FORMULA.score(missing(0.2, 0.6, 2)) == pytest.approx(expected, abs=5e-4)
    assert FORMULA.score(found(1.0, 1.0)) == MOST_SURE
    assert FORMULA.score(missing(1.0, 1.0, 9)) == FORMULA.score(missing(1.0, 1.0, 3)) == MOST_SURE


def test_what_is_saved_as_json_comes_back_the_same() -> None:
    text = json.dumps(to_plain(FORMULA))
    back = parse_config(VerdictCalibration, json.loads(text), source="config.json")
    assert back == FORMULA
    assert back.score(found(0.4321, 0.77)) == FORMULA.score(found(0.4321, 0.77))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version"),
        ({"found": {"intercept": 0, "weights": {"probability": 1}}}, "fit it again"),
        (
            {
                "found": {
                    "intercept": float("nan"),
                    "weights": {"probability": 1, "level": 1},
                }
            },
            "finite",
        ),
        (
            {
                "found": {
                    "intercept": 0,
                    "weights": {"probability": -1, "level": 1},
                }
            },
            "greater than",
        ),
        ({"code": "import os"}, "code"),
    ],
)
def test_a_calibration_that_is_none_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(VerdictCalibration, to_plain(FORMULA) | change, source="config.json")


def test_evidence_of_no_known_kind_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="weather"):
        FORMULA.score({"weather": 1.0})


def vessel(probability: float, lungs: float = 1.0) -> dict[str, float]:
    return {"probability": probability, "lungs": lungs}


def test_vessels_have_a_formula_of_their_own_and_subjects_do_not_mix() -> None:
    rng = np.random.default_rng(2)
    drawn_vessels = []
    for _ in range(2000):
        probability, lungs = rng.uniform(0.3, 0.95), rng.choice((0.5, 1.0))
        logit = (
            -2 + np.log(probability / (1 - probability)) + (0.6 * np.log(0.99 / 0.01) if lungs == 1 else 0)
        )
        is_right = bool(rng.random() < 1 / (1 + np.exp(-logit)))
        drawn_vessels.append(Example(vessel(probability, float(lungs)), is_right))
        nothing = {"no_lung_tissue": float(rng.uniform(0, 1)), "no_vessels": 1.0}
        drawn_vessels.append(Example(nothing, bool(rng.random() < 0.8)))
    fitted = fit_calibration(drawn_vessels, weights_sha256="", fitted_on="drawn", penalty=1e-4)
    assert fitted.subject == "vessels"
    assert fitted.found.intercept == pytest.approx(-2, abs=0.3)
    assert fitted.found.weights["lungs"] == pytest.approx(0.6, abs=0.1)
    assert parse_config(VerdictCalibration, to_plain(fitted), source="config.json") == fitted
    with pytest.raises(ConfigError, match="calibration of spine verdicts cannot score evidence on vessels"):
        FORMULA.score(vessel(0.9))
    with pytest.raises(ConfigError, match=r"one subject, got \['spine', 'vessels'\]"):
        fit_calibration([*drawn_vessels, Example(found(0.9), True)], weights_sha256="", fitted_on="both")
    with pytest.raises(ConfigError, match="weighs"):
        replace(FORMULA, subject="vessels")


def test_a_kind_without_examples_cannot_be_fitted() -> None:
    with pytest.raises(ConfigError, match="no missing structure"):
        fit_calibration([Example(found(0.9), True)], weights_sha256="", fitted_on="one")


def test_the_fit_does_not_depend_on_the_order_of_the_examples() -> None:
    examples = drawn(np.random.default_rng(2), 200)
    one, other = (fit_calibration(e, weights_sha256="", fitted_on="") for e in (examples, examples[::-1]))
    for evidence in (found(0.5), found(0.9, 0.3), missing(0.7)):
        assert one.score(evidence) == pytest.approx(other.score(evidence), abs=2e-3)


def test_the_calibration_error_is_the_one_worked_out_by_hand() -> None:
    """0.92, 0.98 (one right): |0.95 − 0.5| · 2/5; 0.35 (right): 0.65 · 1/5; 0.60, 0.68 (none): 0.64 · 2/5."""
    scores = np.array([0.92, 0.98, 0.35, 0.60, 0.68])
    is_right = np.array([True, False, True, False, False])
    bins = reliability(scores, is_right)
    assert [(item.low, item.count, item.share_right) for item in bins] == [
        (0.3, 1, 1),
        (0.6, 2, 0),
        (0.9, 2, 0.5),
    ]
    assert [item.mean_score for item in bins] == pytest.approx([0.35, 0.64, 0.95])
    assert calibration_error(bins) == pytest.approx(0.45 * 2 / 5 + 0.65 / 5 + 0.64 * 2 / 5)


def test_a_score_of_one_falls_into_the_last_range() -> None:
    (only,) = reliability(np.array([1.0]), np.array([True]))
    assert (only.low, only.high, only.mean_score, only.share_right) == (0.9, 1.0, 1.0, 1.0)
    assert calibration_error((only,)) == 0
