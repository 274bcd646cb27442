"""The table of `nomina bench atm-net`: class-wise Dice, names of levels, and what is left without names."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from nomina.assessment.metrics.label_free import GROUPS
from nomina.bench.grid import GridConfig
from nomina.bench.sheet import (
    Board,
    Sheet,
    estimate_columns,
    estimate_values,
    mode_cell,
    number,
    seeds_cell,
    trained_cell,
    with_interval,
)
from nomina.bench.table import Row

COLUMNS = (
    "hd95_px",
    "hd95_mm",
    *estimate_columns("names_right"),
    "scans_all_levels_right",
    *(f"label_free_{group}" for group in GROUPS),
    "wrong_prompts",
)

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


def _record(row: Row) -> dict[str, Any]:
    evaluation, naming = row.evaluation, row.evaluation.naming
    return {
        "hd95_px": evaluation.class_wise["hd95_px"].mean,
        "hd95_mm": evaluation.class_wise["hd95_mm"].mean,
        **estimate_values("names_right", naming.right),
        "scans_all_levels_right": naming.num_all_levels_right,
        **{f"label_free_{group}": row.label_free[group].mean for group in GROUPS},
        "wrong_prompts": row.num_wrong if row.mode == "shuffled" else None,
    }


def _details(row: Row) -> dict[str, Any]:
    return {
        "names": dict(row.evaluation.naming.counts),
        "label_free": {group: dataclasses.asdict(estimate) for group, estimate in row.label_free.items()},
    }


def _boards(rows: Sequence[Row]) -> list[Board]:
    return [Board(HEADERS, tuple(_cells(row) for row in rows))]


def _cells(row: Row) -> tuple[str, ...]:
    naming = row.evaluation.naming
    return (
        row.variant,
        mode_cell(row),
        trained_cell(row),
        seeds_cell(row),
        with_interval(row.dice),
        with_interval(None if row.gain is None else row.gain.class_wise["dice"], sign="+"),
        number(row.evaluation.class_wise["hd95_px"].mean, 1),
        with_interval(naming.right),
        f"{naming.num_all_levels_right} of {naming.num_cases}",
        " / ".join(number(row.label_free[group].mean) for group in GROUPS),
    )


def _structure_boards(rows: Sequence[Row]) -> list[Board]:
    """Dice of each structure under each row."""
    names = list(dict.fromkeys(s.structure for row in rows for s in row.evaluation.structures))
    if not names:
        return []
    lines = [
        (row.variant, row.mode, *(number(row.dice_of_structure.get(name, float("nan"))) for name in names))
        for row in rows
    ]
    return [Board(("variant", "mode", *names), tuple(lines))]


def _notes(cfg: GridConfig, rows: Sequence[Row]) -> list[str]:
    lines = []
    if any(row.mode == "user" for row in rows):
        lines.append("Mode E: the lowest vertebra is declared by a simulated user, taken from the reference.")
    for row in rows:
        if row.mode == "shuffled":
            total = len(row.evaluation.cases) + len(row.evaluation.excluded)
            lines.append(
                f"{row.variant}: the shuffled prompt was a wrong one in {row.num_wrong} of {total} scans."
            )
    return lines


SPINE_SHEET = Sheet(COLUMNS, _record, _details, _boards, _structure_boards, _notes)
