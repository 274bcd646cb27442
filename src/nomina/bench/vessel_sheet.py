"""The table of `nomina bench la-caf`: Dice, clDice and swaps of arteries and veins, and differences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nomina.assessment.summary import Estimate
from nomina.assessment.tree_scores import TREES
from nomina.bench.grid import GridConfig
from nomina.bench.sheet import (
    Board,
    Sheet,
    estimate_columns,
    estimate_values,
    mode_cell,
    seeds_cell,
    trained_cell,
    with_interval,
)
from nomina.bench.table import Row

METRICS = {"dice": "Dice", "cldice": "clDice", "swap_rate": "swapped"}
"""Scores of a tree that are shown, with their names for people."""

_PAIRS = tuple((metric, tree) for metric in METRICS for tree in TREES)
_NAMES = tuple(f"{tree}_{metric}" for metric, tree in _PAIRS)
_SCORES = tuple(f"{tree} {METRICS[metric]}" for metric, tree in _PAIRS)

COLUMNS = (
    "half_labelled",
    *(column for name in _NAMES for column in estimate_columns(name)),
    *(column for name in _NAMES for column in estimate_columns(f"gain_{name}")),
)

_Trees = Mapping[str, Mapping[str, Estimate]]


def _record(row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {"half_labelled": row.half_labelled}
    for prefix, trees in (("", row.evaluation.trees), ("gain_", row.gain.trees if row.gain else {})):
        for name, estimate in zip(_NAMES, _estimates(trees), strict=True):
            values |= estimate_values(prefix + name, estimate)
    return values


def _estimates(trees: _Trees) -> Iterator[Estimate | None]:
    for metric, tree in _PAIRS:
        yield trees[tree][metric] if tree in trees else None


def _details(row: Row) -> dict[str, Any]:
    return {}


def _boards(rows: Sequence[Row]) -> list[Board]:
    scores = [
        (
            row.variant,
            mode_cell(row),
            trained_cell(row),
            seeds_cell(row),
            *map(with_interval, _estimates(row.evaluation.trees)),
        )
        for row in rows
    ]
    gains = [
        (
            row.variant,
            mode_cell(row),
            row.against,
            *(with_interval(estimate, sign="+") for estimate in _estimates(row.gain.trees)),
        )
        for row in rows
        if row.gain is not None
    ]
    return [
        Board(("variant", "mode", "trained on", "seeds", *_SCORES), tuple(scores)),
        Board(("difference of", "mode", "to", *_SCORES), tuple(gains)),
    ]


def _notes(cfg: GridConfig, rows: Sequence[Row]) -> list[str]:
    where = "voxels of the prepared dataset" if cfg.test.dataset == "prepared" else "voxels of the scans"
    lines = [
        f"Scored on the {where}; all arteries are one tree, all veins the other. swapped: share of the "
        f"reference's centreline that was called the other tree; less is better, and what finds nothing "
        f"swaps nothing."
    ]
    if any(row.mode == "swapped" for row in rows):
        lines.append(
            "Mode swapped: trained with right words; arteries then hear the words of veins and the reverse. "
            "It is compared with the same networks under right words."
        )
    for row in rows:
        if row.half_labelled and row.mode == "named":
            lines.append(
                f"{row.variant}: of {row.half_labelled:.0%} of the training patients one lung alone counts "
                f"as labelled."
            )
    return lines


VESSEL_SHEET = Sheet(COLUMNS, _record, _details, _boards, lambda rows: [], _notes)
