"""The table of arteries and veins against numbers made by hand: pairing, baselines, intervals, files."""

import csv
import io
import json
from typing import Any

import pytest

from nomina.assessment.metrics.label_free import LabelFreeScores
from nomina.assessment.metrics.naming import NamingScores
from nomina.assessment.scores import CaseScores, StructureScore
from nomina.assessment.tree_scores import TreeScore
from nomina.bench.grid import GridConfig, Run, Sweep, Variant
from nomina.bench.measure import ModeScores
from nomina.bench.modes import Mode
from nomina.bench.scans import ScoredScans
from nomina.bench.sheet import Gaps
from nomina.bench.table import Measured, Row, make_rows
from nomina.bench.table_text import COLUMNS, csv_text, json_text, markdown_text, notes
from nomina.bench.vessel_sheet import VESSEL_SHEET
from nomina.language.vessel_prompts import VESSELS
from nomina.learning.recipe import BlockRecipe, DataSource, TrainConfig
from nomina.networks.la_caf import NOMINA

CONFIG = GridConfig(
    name="by hand",
    recipe="base.yaml",
    test=ScoredScans(dataset="prepared", folder="chests"),
    variants={
        "words": Variant(note="ours"),
        "one-hot": Variant(words="one-hot"),
        "half": Variant(half_labelled=0.5, control="words"),
    },
    control="one-hot",
    sweeps=(Sweep(variants=("words", "one-hot", "half")),),
)


def case(name: str, artery: float, vein: float, swap_rate: float = 0.0) -> ModeScores:
    scores = CaseScores(
        structures=tuple(
            StructureScore(structure, "both", dice, 1.0, 2.0, 0.5, 0.9, 1.0, 3.0, 3.0)
            for structure, dice in zip(VESSELS, (artery, vein), strict=True)
        ),
        naming=NamingScores(()),
        label_free=LabelFreeScores(()),
        image_diagonal_mm=100.0,
        image_diagonal_px=200.0,
        policy="penalise",
        max_level=None,
        case=name,
        trees=(
            TreeScore("artery", artery, artery / 2, 0.5, 0.5, 0.5, 0.5, swap_rate, 0),
            TreeScore("vein", vein, vein / 2, 0.5, 0.5, 0.5, 0.5, swap_rate / 2, 0),
        ),
    )
    return ModeScores(scores, name, is_doubtful=False)


def measured(variant: str, mode: Mode, cases: list[ModeScores], seed: int = 0) -> Measured:
    share = CONFIG.variants[variant].half_labelled
    source = DataSource(folder="x", split="split.json", half_labelled=share)
    recipe = BlockRecipe(
        name=variant, data=(source,), structures=VESSELS, network=NOMINA, train=TrainConfig(steps=60)
    )
    run = Run(variant, seed, None, None, True, recipe, ())
    return Measured(run, mode, tuple(cases), num_training_patients=0, num_phantoms=12)


@pytest.fixture
def rows() -> tuple[Row, ...]:
    """Two chests, two seeds of words and one-hot vectors, swapped words, and half-labelled chests."""
    return make_rows(
        [
            measured("words", "named", [case("a", 0.8, 0.6), case("b", 0.6, 0.5)]),
            measured("words", "named", [case("b", 0.8, 0.5), case("a", 0.6, 0.6)], seed=1),
            measured("words", "swapped", [case("a", 0.2, 0.1, 0.9), case("b", 0.3, 0.1, 0.7)]),
            measured("one-hot", "named", [case("a", 0.7, 0.6), case("b", 0.6, 0.4)]),
            measured("one-hot", "named", [case("a", 0.5, 0.6), case("b", 0.6, 0.4)], seed=1),
            measured("half", "named", [case("a", 0.5, 0.6), case("b", 0.5, 0.5)]),
        ],
        CONFIG.controls,
    )


def gain(row: Row, tree: str, metric: str) -> tuple[float, float, float]:
    assert row.gain is not None
    estimate = row.gain.trees[tree][metric]
    return tuple(round(v, 6) for v in (estimate.mean, estimate.interval.low, estimate.interval.high))


def test_each_row_is_compared_with_its_own_control(rows: tuple[Row, ...]) -> None:
    assert [(row.variant, row.mode, row.against) for row in rows] == [
        ("words", "named", "one-hot"),
        ("words", "swapped", "words named"),
        ("one-hot", "named", ""),
        ("half", "named", "words"),
    ]
    assert rows[2].gain is None


def test_differences_are_paired_by_chest_and_seed_and_intervals_draw_chests(rows: tuple[Row, ...]) -> None:
    words, swapped, _, half = rows
    # Chest a gains 0.1 with either seed, chest b 0.0 and 0.2: 0.1 whichever chests are drawn.
    assert gain(words, "artery", "dice") == (0.1, 0.1, 0.1)
    # Chest a gains nothing, chest b 0.1: resamples have 0, 0.05 or 0.1.
    assert gain(words, "vein", "dice") == (0.05, 0.0, 0.1)
    assert gain(words, "vein", "cldice") == (0.025, 0.0, 0.05)
    # Seed 0 alone was swapped, so its partner is seed 0 alone.
    assert gain(swapped, "artery", "dice") == (-0.45, -0.6, -0.3)
    assert gain(swapped, "artery", "swap_rate") == (0.8, 0.7, 0.9)
    assert gain(half, "artery", "dice") == (-0.2, -0.3, -0.1)
    trees = words.evaluation.trees
    assert trees["artery"]["dice"].mean == pytest.approx(0.7)
    assert trees["vein"]["dice"].interval.low == pytest.approx(0.5)
    assert words.dice.mean == pytest.approx((0.7 + 0.55) / 2)


def test_the_files_say_the_same_as_the_rows(rows: tuple[Row, ...]) -> None:
    table: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(csv_text(VESSEL_SHEET, rows))))
    assert list(table[0]) == [*COLUMNS, *VESSEL_SHEET.columns]
    assert (table[0]["artery_dice"], table[0]["gain_vein_dice_high"]) == ("0.7", "0.1")
    assert (table[1]["artery_swap_rate"], table[1]["stamp"]) == ("0.8", "wrong on purpose")
    assert (table[2]["gain_artery_dice"], table[2]["against"]) == ("", "")
    assert [row["half_labelled"] for row in table] == ["0", "0", "0", "0.5"]
    gaps = Gaps(("half-seed1",), {"clip-seed0": "there is no table", "clip-seed1": "there is no table"})
    content = json.loads(json_text(VESSEL_SHEET, CONFIG, rows, gaps))
    assert content["skipped_runs"] == {"clip-seed0": "there is no table", "clip-seed1": "there is no table"}
    assert content["rows"][0]["gain"]["trees"]["vein"]["dice"]["mean"] == pytest.approx(0.05)
    text = markdown_text(VESSEL_SHEET, CONFIG, rows, gaps)
    scores = "| words | named | 12 phantoms | 2 | 0.700 (0.700 to 0.700) | 0.550 (0.500 to 0.600) |"
    assert scores in text
    assert "| words | swapped [wrong on purpose] | words named | -0.450 (-0.600 to -0.300) |" in text
    assert "Skipped: clip-seed0, clip-seed1: there is no table." in text


def test_what_must_be_said_is_said(rows: tuple[Row, ...]) -> None:
    text = " ".join(notes(VESSEL_SHEET, CONFIG, rows, Gaps()))
    assert "Scored on the voxels of the prepared dataset" in text
    assert "half: of 50% of the training patients one lung alone counts as labelled." in text
    assert "paired with the variant named beside them" in text
    assert "It is compared with the same networks under right words." in text
