"""The table of a grid as CSV, JSON and Markdown, and as lines for people."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from nomina.assessment.metrics.label_free import GROUPS
from nomina.assessment.summary import Estimate
from nomina.assessment.tables import finite
from nomina.bench.grid import GridConfig
from nomina.bench.table import Row
from nomina.config import to_plain

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
    "dice",
    "dice_low",
    "dice_high",
    "dice_seed_deviation",
    "gain_dice",
    "gain_dice_low",
    "gain_dice_high",
    "hd95_px",
    "hd95_mm",
    "names_right",
    "names_right_low",
    "names_right_high",
    "scans_all_levels_right",
    *(f"label_free_{group}" for group in GROUPS),
    "wrong_prompts",
)
"""Columns of the CSV file; lengths carry their unit, everything else is a share or a count."""

HEADERS = (
    "variant",
    "mode",
    "trained on",
    "seeds",
    "class-wise Dice",
    "gain over control",
    "HD95 px",
    "names right",
    "all levels right",
    "vertebrae / discs / canal",
)
"""Columns of the table for people."""


def csv_text(rows: Sequence[Row]) -> str:
    """One line per row of the table; what does not exist is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = _record(row)
        writer.writerow({key: _csv_value(values[key]) for key in COLUMNS})
    return out.getvalue()


def json_text(cfg: GridConfig, rows: Sequence[Row], missing: Sequence[str]) -> str:
    """The rows with each structure's and each seed's Dice, the grid, versions and the runs not yet made."""
    plain = {
        "versions": {package: version(package) for package in ("nomina", "numpy", "torch")},
        "grid": to_plain(cfg),
        "missing_runs": list(missing),
        "rows": [_record(row) | _details(row) for row in rows],
    }
    return json.dumps(finite(plain), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def markdown_text(cfg: GridConfig, rows: Sequence[Row], missing: Sequence[str]) -> str:
    """Two tables and what must be said about them, to be pasted into `docs/experiments.md`."""
    lines = [_line(HEADERS), _line(["---"] * len(HEADERS)), *(_line(cells(row)) for row in rows), ""]
    lines += _structure_table(rows)
    lines += [f"- {note}" for note in notes(cfg, rows, missing)]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """A row as the cells under `HEADERS`."""
    naming = row.evaluation.naming
    label_free = " / ".join(_number(row.label_free[group].mean) for group in GROUPS)
    trained = "–".join(
        dict.fromkeys(str(n) for n in (*row.num_training_patients[:1], *row.num_training_patients[-1:]))
    )
    phantoms = f" + {row.num_phantoms} phantoms" if row.num_phantoms else ""
    folds = "" if row.folds == (None,) else f", {len(row.folds)} folds"
    gain = None if row.gain is None else row.gain.class_wise["dice"]
    return [
        row.variant,
        _mode_cell(row),
        f"{trained} patients{phantoms}",
        f"{len(row.seeds)}{folds}",
        _with_interval(row.dice),
        "–" if gain is None else _with_interval(gain, sign="+"),
        _number(row.evaluation.class_wise["hd95_px"].mean, 1),
        _with_interval(naming.right),
        f"{naming.num_all_levels_right} of {naming.num_cases}",
        label_free,
    ]


def notes(cfg: GridConfig, rows: Sequence[Row], missing: Sequence[str]) -> list[str]:
    """Sentences without which the numbers would mislead."""
    steps = ", ".join(sorted({f"{row.steps} steps" for row in rows})) or "no run yet"
    lines = [
        f"Grid {cfg.name}; every run: {steps}, equal sampling and augmentation, weights of the last step (no "
        f"step was chosen on the test patients).",
        f"Policy {cfg.policy}. Intervals: 95 %, bootstrap over patients with all their seeds; gain: paired "
        f"with {cfg.control}.",
    ]
    if any(row.mode == "user" for row in rows):
        lines.append("Mode E: the lowest vertebra is declared by a simulated user, taken from the reference.")
    for row in rows:
        if row.mode == "shuffled":
            total = len(row.evaluation.cases) + len(row.evaluation.excluded)
            lines.append(
                f"{row.variant}: the shuffled prompt was a wrong one in {row.num_wrong} of {total} scans."
            )
    lines += [f"{name}: {variant.note}" for name, variant in cfg.variants.items() if variant.note]
    lines += _doubtful_notes(rows)
    if missing:
        lines.append(f"Not finished: {', '.join(missing)}.")
    return lines


def _doubtful_notes(rows: Sequence[Row]) -> list[str]:
    from nomina.assessment.summary import summarise

    lines = []
    for row in rows:
        if row.evaluation.excluded:
            apart = summarise(row.evaluation.excluded)
            scans = sorted({case.case.rsplit(" seed ", 1)[0] for case in row.evaluation.excluded})
            dice = _number(apart.class_wise["dice"].mean)
            lines.append(f"Doubtful, in no mean: {', '.join(scans)}: {row.variant} {row.mode} Dice {dice}.")
    return lines


def _mode_cell(row: Row) -> str:
    parts = [row.mode, f"({row.letter})" if row.letter else "", f"[{row.stamp}]" if row.stamp else ""]
    return " ".join(part for part in parts if part)


def _structure_table(rows: Sequence[Row]) -> list[str]:
    """Dice of each structure under each row."""
    names = list(dict.fromkeys(s.structure for row in rows for s in row.evaluation.structures))
    if not names:
        return []
    lines = [_line(["variant", "mode", *names]), _line(["---"] * (len(names) + 2))]
    for row in rows:
        dice = _dice_by_structure(row)
        lines.append(
            _line([row.variant, row.mode, *(_number(dice.get(name, float("nan"))) for name in names)])
        )
    return [*lines, ""]


def _dice_by_structure(row: Row) -> dict[str, float]:
    return {s.structure: s.averages["dice"].mean for s in row.evaluation.structures}


def _record(row: Row) -> dict[str, Any]:
    """A row as plain values, keys as in `COLUMNS`."""
    evaluation, naming = row.evaluation, row.evaluation.naming
    gain = None if row.gain is None else row.gain.class_wise["dice"]
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
        **_estimate("dice", row.dice),
        "dice_seed_deviation": row.seed_deviation,
        **_estimate("gain_dice", gain),
        "hd95_px": evaluation.class_wise["hd95_px"].mean,
        "hd95_mm": evaluation.class_wise["hd95_mm"].mean,
        **_estimate("names_right", naming.right),
        "scans_all_levels_right": naming.num_all_levels_right,
        **{f"label_free_{group}": row.label_free[group].mean for group in GROUPS},
        "wrong_prompts": row.num_wrong if row.mode == "shuffled" else None,
    }


def _details(row: Row) -> dict[str, Any]:
    gain = row.gain
    return {
        "dice_of_seed": {str(seed): value for seed, value in row.dice_of_seed.items()},
        "dice_of_structure": _dice_by_structure(row),
        "names": dict(row.evaluation.naming.counts),
        "label_free": {group: dataclasses.asdict(estimate) for group, estimate in row.label_free.items()},
        "gain": None if gain is None else dataclasses.asdict(gain),
    }


def _estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    interval = estimate.interval
    return {name: estimate.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _csv_value(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _line(parts: Sequence[str]) -> str:
    return "| " + " | ".join(parts) + " |"


def _number(value: float, decimals: int = 3, sign: str = "") -> str:
    return "–" if math.isnan(value) else f"{value:{sign}.{decimals}f}"


def _with_interval(estimate: Estimate, sign: str = "") -> str:
    low, high = estimate.interval.low, estimate.interval.high
    mean = _number(estimate.mean, sign=sign)
    return mean if math.isnan(low) else f"{mean} ({_number(low, sign=sign)} to {_number(high, sign=sign)})"
