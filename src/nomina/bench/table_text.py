"""The table of a grid as CSV, JSON and Markdown, and what must be said about it."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from nomina.assessment.summary import summarise
from nomina.assessment.tables import finite
from nomina.bench.grid import GridConfig
from nomina.bench.sheet import Board, Gaps, Sheet, estimate_columns, estimate_values, number
from nomina.bench.spine_sheet import SPINE_SHEET
from nomina.bench.table import Row
from nomina.bench.vessel_sheet import VESSEL_SHEET
from nomina.config import to_plain
from nomina.learning.recipe import BlockRecipe, Recipe

COLUMNS = (
    "variant",
    "mode",
    "letter",
    "stamp",
    "training_patients",
    "phantoms",
    "seeds",
    "folds",
    "steps",
    "scans",
    "patients",
    *estimate_columns("dice"),
    "dice_seed_deviation",
    "against",
    *estimate_columns("gain_dice"),
)
"""Columns of every CSV file, before those of its sheet."""


def sheet_of(recipe: Recipe | BlockRecipe) -> Sheet:
    """What is shown of a grid whose runs have such recipes."""
    return VESSEL_SHEET if isinstance(recipe, BlockRecipe) else SPINE_SHEET


def csv_text(sheet: Sheet, rows: Sequence[Row]) -> str:
    """One line per row of the table; what does not exist is empty."""
    out = io.StringIO()
    columns = (*COLUMNS, *sheet.columns)
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = _record(row) | sheet.record(row)
        writer.writerow({key: _csv_value(values[key]) for key in columns})
    return out.getvalue()


def json_text(sheet: Sheet, cfg: GridConfig, rows: Sequence[Row], gaps: Gaps) -> str:
    """The rows with each structure's and each seed's Dice, the grid, versions and what is missing."""
    plain = {
        "versions": {package: version(package) for package in ("nomina", "numpy", "torch")},
        "grid": to_plain(cfg),
        "missing_runs": list(gaps.missing),
        "skipped_runs": dict(gaps.skipped),
        "rows": [_record(row) | sheet.record(row) | _details(row) | sheet.details(row) for row in rows],
    }
    return json.dumps(finite(plain), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def markdown_text(sheet: Sheet, cfg: GridConfig, rows: Sequence[Row], gaps: Gaps) -> str:
    """Tables and what must be said about them, to be pasted into `docs/experiments.md`."""
    boards = (*sheet.boards(rows), *sheet.more_boards(rows))
    lines = [line for board in boards for line in _markdown_lines(board)]
    lines += [f"- {note}" for note in notes(sheet, cfg, rows, gaps)]
    return "\n".join(lines) + "\n"


def notes(sheet: Sheet, cfg: GridConfig, rows: Sequence[Row], gaps: Gaps) -> list[str]:
    """Sentences without which the numbers would mislead."""
    steps = ", ".join(sorted({f"{row.steps} steps" for row in rows})) or "no run yet"
    controls = dict.fromkeys([cfg.control, *cfg.controls.values()])
    paired = cfg.control if len(controls) == 1 else "the variant named beside them"
    lines = [
        f"Grid {cfg.name}; every run: {steps}, equal sampling and augmentation, weights of the last step (no "
        f"step was chosen on the test patients).",
        f"Policy {cfg.policy}. Intervals: 95 %, bootstrap over patients with all their seeds; gain: paired "
        f"with {paired}.",
        *sheet.notes(cfg, rows),
    ]
    lines += [f"{name}: {variant.note}" for name, variant in cfg.variants.items() if variant.note]
    lines += _doubtful_notes(rows)
    for reason in dict.fromkeys(gaps.skipped.values()):
        runs = [name for name, why in gaps.skipped.items() if why == reason]
        lines.append(f"Skipped: {', '.join(runs)}: {reason}.")
    if gaps.missing:
        lines.append(f"Not finished: {', '.join(gaps.missing)}.")
    return lines


def _doubtful_notes(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if row.evaluation.excluded:
            apart = summarise(row.evaluation.excluded)
            scans = sorted({case.case.rsplit(" seed ", 1)[0] for case in row.evaluation.excluded})
            dice = number(apart.class_wise["dice"].mean)
            lines.append(f"Doubtful, in no mean: {', '.join(scans)}: {row.variant} {row.mode} Dice {dice}.")
    return lines


def _record(row: Row) -> dict[str, Any]:
    """A row as plain values, keys as in `COLUMNS`."""
    evaluation = row.evaluation
    return {
        "variant": row.variant,
        "mode": row.mode,
        "letter": row.letter,
        "stamp": row.stamp,
        "training_patients": list(row.num_training_patients),
        "phantoms": row.num_phantoms,
        "seeds": list(row.seeds),
        "folds": [fold for fold in row.folds if fold is not None],
        "steps": row.steps,
        "scans": len(evaluation.cases),
        "patients": evaluation.num_patients,
        **estimate_values("dice", row.dice),
        "dice_seed_deviation": row.seed_deviation,
        "against": row.against,
        **estimate_values("gain_dice", None if row.gain is None else row.gain.class_wise["dice"]),
    }


def _details(row: Row) -> dict[str, Any]:
    return {
        "dice_of_seed": {str(seed): value for seed, value in row.dice_of_seed.items()},
        "dice_of_structure": dict(row.dice_of_structure),
        "gain": None if row.gain is None else dataclasses.asdict(row.gain),
    }


def _markdown_lines(board: Board) -> list[str]:
    head = [_line(board.headers), _line(["---"] * len(board.headers))]
    return [*head, *(_line(row) for row in board.rows), ""] if board.rows else []


def _csv_value(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _line(parts: Sequence[str]) -> str:
    return "| " + " | ".join(parts) + " |"
