"""What a table of one kind of network shows: `Sheet`, and how numbers are written in its cells."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nomina.assessment.summary import Estimate
from nomina.bench.grid import GridConfig
from nomina.bench.table import Row


@dataclass(frozen=True)
class Gaps:
    """What a table lacks."""

    missing: tuple[str, ...] = ()
    """Runs that are not finished."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Runs that cannot be made here, and why."""


@dataclass(frozen=True)
class Board:
    """A table for people."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Sheet:
    """What is shown of rows."""

    columns: tuple[str, ...]
    """Columns of the CSV file beside those of every sheet; lengths carry their unit, all else is a share."""
    record: Callable[[Row], dict[str, Any]]
    """A row's values under `columns`."""
    details: Callable[[Row], dict[str, Any]]
    """What the JSON file holds beside them."""
    boards: Callable[[Sequence[Row]], list[Board]]
    """Tables for people."""
    more_boards: Callable[[Sequence[Row]], list[Board]]
    """Further ones for the Markdown file alone."""
    notes: Callable[[GridConfig, Sequence[Row]], list[str]]
    """Sentences without which the numbers would mislead, beside those of every sheet."""


def number(value: float, decimals: int = 3, sign: str = "") -> str:
    """A number for people; a dash for one that does not exist."""
    return "–" if math.isnan(value) else f"{value:{sign}.{decimals}f}"


def with_interval(estimate: Estimate | None, sign: str = "") -> str:
    """A mean and its interval; a dash where there is none."""
    if estimate is None:
        return "–"
    low, high = estimate.interval.low, estimate.interval.high
    mean = number(estimate.mean, sign=sign)
    return mean if math.isnan(low) else f"{mean} ({number(low, sign=sign)} to {number(high, sign=sign)})"


def estimate_columns(name: str) -> tuple[str, str, str]:
    """Columns of a mean and its interval."""
    return name, f"{name}_low", f"{name}_high"


def estimate_values(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Values under `estimate_columns`."""
    if estimate is None:
        return dict.fromkeys(estimate_columns(name))
    interval = estimate.interval
    values = (estimate.mean, interval.low, interval.high)
    return dict(zip(estimate_columns(name), values, strict=True))


def mode_cell(row: Row) -> str:
    """The mode with its letter and stamp."""
    parts = [row.mode, f"({row.letter})" if row.letter else "", f"[{row.stamp}]" if row.stamp else ""]
    return " ".join(part for part in parts if part)


def trained_cell(row: Row) -> str:
    """Patients and phantoms that a row's runs were trained on."""
    counts = (*row.num_training_patients[:1], *row.num_training_patients[-1:])
    trained = "–".join(dict.fromkeys(str(count) for count in counts))
    phantoms = f"{row.num_phantoms} phantoms" if row.num_phantoms else ""
    patients = f"{trained} patients" if trained != "0" or not phantoms else ""
    return " + ".join(part for part in (patients, phantoms) if part)


def seeds_cell(row: Row) -> str:
    """Numbers of seeds and folds."""
    folds = "" if row.folds == (None,) else f", {len(row.folds)} folds"
    return f"{len(row.seeds)}{folds}"
