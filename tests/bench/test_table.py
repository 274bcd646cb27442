"""The arithmetic of the table against numbers made by hand."""

import csv
import io
import json
import math
from typing import Any

import pytest

from nomina.assessment.metrics.label_free import LabelFreeScores
from nomina.assessment.metrics.naming import NamedStructure, NamingScores
from nomina.assessment.scores import CaseScores, StructureScore
from nomina.bench.grid import GridConfig, Run, Sweep, Variant
from nomina.bench.measure import ModeScores
from nomina.bench.modes import Mode
from nomina.bench.scans import ScoredScans
from nomina.bench.sheet import Gaps
from nomina.bench.spine_sheet import SPINE_SHEET
from nomina.bench.table import Measured, Row, make_rows
from nomina.bench.table_text import COLUMNS, csv_text, json_text, markdown_text, notes
from nomina.learning.recipe import DataSource, Recipe, TrainConfig

CONFIG = GridConfig(
    name="by hand",
    recipe="base.yaml",
    test=ScoredScans(dataset="spider", folder="scans"),
    variants={"plain": Variant(), "words": Variant(note="ours")},
    control="plain",
    sweeps=(Sweep(variants=("plain", "words")),),
)


def case(name: str, dice: float, right: bool = True, doubtful: bool = False) -> ModeScores:
    """One vertebra with a Dice, under its own name or that of the next level."""
    scores = CaseScores(
        structures=(StructureScore("L5 vertebra", "both", dice, 1.0, 2.0, 0.5, 0.9, 1.0, 3.0, 3.0),),
        naming=NamingScores(
            (NamedStructure("L5 vertebra", "L5 vertebra", 0.9, "right"),)
            if right
            else (NamedStructure("L5 vertebra", "L4 vertebra", 0.9, "one up"),)
        ),
        label_free=LabelFreeScores(()),
        image_diagonal_mm=100.0,
        image_diagonal_px=200.0,
        policy="penalise",
        max_level=8,
        case=name,
        identified={"L5 vertebra": right},
    )
    return ModeScores(scores, name.split("_")[0], doubtful)


def measured(variant: str, mode: Mode, cases: list[ModeScores], **key: Any) -> Measured:
    recipe = Recipe(
        name=variant, data=(DataSource(folder="x", split="split.json"),), train=TrainConfig(steps=70)
    )
    run = Run(variant, key.pop("seed", 0), key.pop("fold", None), key.pop("patients", None), True, recipe, ())
    return Measured(run, mode, tuple(cases), num_training_patients=20, num_phantoms=140, **key)


@pytest.fixture
def rows() -> tuple[Row, ...]:
    """Two seeds of a control and of a network with words on patients 1 and 2; 3 is doubtful."""
    doubtful = case("3_t2", 0.1, doubtful=True)
    return make_rows(
        [
            measured("plain", "none", [case("1_t2", 0.5), case("2_t2", 0.7, right=False), doubtful]),
            measured("plain", "none", [case("1_t2", 0.6), case("2_t2", 0.8), doubtful], seed=1),
            measured("words", "predicted", [case("1_t2", 0.9), case("2_t2", 0.9), doubtful]),
            measured("words", "predicted", [case("2_t2", 0.9), case("1_t2", 0.8), doubtful], seed=1),
            measured("words", "oracle", [case("1_t2", 1.0), case("2_t2", 1.0), doubtful]),
        ],
        CONFIG.controls,
    )


def test_seeds_are_pooled_and_patients_resampled_with_all_their_seeds(rows: tuple[Row, ...]) -> None:
    plain, words, _ = rows
    assert plain.dice.mean == pytest.approx((0.5 + 0.7 + 0.6 + 0.8) / 4)
    assert plain.dice_of_seed == {0: pytest.approx(0.6), 1: pytest.approx(0.7)}
    assert plain.seed_deviation == pytest.approx(math.sqrt(2 * 0.05**2))
    # Two patients: a resample is 1 twice (0.55), 2 twice (0.75) or both (0.65); seeds never part.
    assert (plain.dice.interval.low, plain.dice.interval.high) == (pytest.approx(0.55), pytest.approx(0.75))
    assert plain.evaluation.num_patients == 2
    assert words.dice.mean == pytest.approx(3.5 / 4)
    assert math.isnan(rows[2].seed_deviation)


def test_the_gain_is_paired_by_patient_and_seed(rows: tuple[Row, ...]) -> None:
    plain, words, oracle = rows
    assert plain.gain is None
    assert words.gain is not None
    gain = words.gain.class_wise["dice"]
    assert gain.mean == pytest.approx((0.4 + 0.2 + 0.2 + 0.1) / 4)
    # Patient 1 gains (0.4 + 0.2) / 2, patient 2 (0.2 + 0.1) / 2.
    assert (gain.interval.low, gain.interval.high) == (pytest.approx(0.15), pytest.approx(0.3))
    # The oracle has seed 0 alone: so has its control.
    assert oracle.gain is not None
    assert oracle.gain.class_wise["dice"].mean == pytest.approx((0.5 + 0.3) / 2)
    assert oracle.gain.num_cases == 2


def test_names_are_counted_and_doubtful_cases_stay_apart(rows: tuple[Row, ...]) -> None:
    plain = rows[0]
    assert plain.evaluation.naming.right.mean == 0.75
    assert (plain.evaluation.naming.num_all_levels_right, plain.evaluation.naming.num_cases) == (3, 4)
    assert [scores.case for scores in plain.evaluation.excluded] == ["3_t2 seed 0", "3_t2 seed 1"]
    text = " ".join(notes(SPINE_SHEET, CONFIG, rows, Gaps()))
    assert "Doubtful, in no mean: 3_t2: plain none Dice 0.100." in text


def test_folds_and_numbers_of_patients_never_share_a_row_and_have_controls_of_their_own() -> None:
    found = make_rows(
        [
            measured("plain", "none", [case("1_t2", 0.5)]),
            measured("words", "predicted", [case("1_t2", 0.6)]),
            measured("plain", "none", [case("1_t2", 0.2)], patients=2),
            measured("words", "predicted", [case("1_t2", 0.4)], patients=2),
            measured("words", "predicted", [case("1_t2", 0.8)], fold=0),
            measured("words", "predicted", [case("2_t2", 0.6)], fold=1),
        ],
        CONFIG.controls,
    )
    gains = [
        (row.variant, row.folds, row.dice.mean, row.gain and round(row.gain.class_wise["dice"].mean, 6))
        for row in found
    ]
    assert gains == [
        ("plain", (None,), 0.5, None),
        ("words", (None,), 0.6, 0.1),
        ("plain", (None,), 0.2, None),
        ("words", (None,), 0.4, 0.2),
        ("words", (0, 1), pytest.approx(0.7), None),
    ]


def test_the_files_say_the_same_as_the_rows(rows: tuple[Row, ...]) -> None:
    table = list(csv.DictReader(io.StringIO(csv_text(SPINE_SHEET, rows))))
    assert list(table[0]) == [*COLUMNS, *SPINE_SHEET.columns]
    assert [row["against"] for row in table] == ["", "plain", "plain"]
    assert (table[1]["dice"], table[1]["gain_dice"], table[1]["seeds"]) == ("0.875", "0.225", "0 1")
    assert (table[0]["gain_dice"], table[0]["wrong_prompts"], table[2]["letter"]) == ("", "", "X")
    gaps = Gaps(("words-seed2",), {"clip-seed0": "there is no table"})
    content = json.loads(json_text(SPINE_SHEET, CONFIG, rows, gaps))
    assert content["missing_runs"] == ["words-seed2"]
    assert content["rows"][0]["dice_of_seed"] == {"0": pytest.approx(0.6), "1": pytest.approx(0.7)}
    assert content["rows"][2]["dice_seed_deviation"] is None
    text = markdown_text(SPINE_SHEET, CONFIG, rows, gaps)
    assert (
        "| words | predicted (B) | 20 patients + 140 phantoms | 2 | 0.875 (0.850 to 0.900) "
        "| +0.225 (+0.150 to +0.300) |" in text
    )
    assert "| words | oracle (X) [ORACLE: upper bound] |" in text
    assert "Not finished: words-seed2." in text
    assert "Skipped: clip-seed0: there is no table." in text
    assert "every run: 70 steps" in text
    assert "| plain | none | 0.650 |" in text


def test_how_often_a_shuffled_prompt_was_wrong_is_said() -> None:
    right = ModeScores(case("1_t2", 0.5).scores, "1", is_doubtful=False, is_wrong=False)
    (row,) = make_rows([measured("words", "shuffled", [right, case("2_t2", 0.5)])], CONFIG.controls)
    assert row.num_wrong == 1
    assert "words: the shuffled prompt was a wrong one in 1 of 2 scans." in notes(
        SPINE_SHEET, CONFIG, [row], Gaps()
    )
    assert csv_text(SPINE_SHEET, [row]).splitlines()[1].endswith(",1")
