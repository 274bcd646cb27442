"""`Measurement`: one number about one structure, or the reason why there is none; and tables of them."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

CSV_COLUMNS = ("structure", "place", "quantity", "value", "reason")
"""Columns of the CSV file; the unit is the end of the quantity's name."""

PARTIAL = "marked as only partly visible"
"""Reason why nothing is measured of a structure."""


@dataclass(frozen=True)
class Measurement:
    """One number, or the reason why there is none."""

    structure: str
    """What was measured, by its name in the label map."""
    quantity: str
    """What about it; the name ends in the unit."""
    value: float
    """`nan` when it cannot be measured."""
    place: str = ""
    """Where, if in a part only: a level, a lung."""
    reason: str = ""
    """Why there is no value; empty when there is one."""

    @staticmethod
    def missing(structure: str, quantity: str, reason: str, place: str = "") -> "Measurement":
        """A measurement that cannot be made."""
        return Measurement(structure, quantity, math.nan, place, reason)


def csv_text(measurements: Sequence[Measurement]) -> str:
    """One row per measurement; the value is empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for m in measurements:
        value = "" if math.isnan(m.value) else f"{m.value:.6g}"
        writer.writerow([m.structure, m.place, m.quantity, value, m.reason])
    return out.getvalue()


def json_text(measurements: Sequence[Measurement]) -> str:
    """A list of objects with the columns of the CSV file; the value is null where there is none."""
    rows = [
        {
            "structure": m.structure,
            "place": m.place,
            "quantity": m.quantity,
            "value": None if math.isnan(m.value) else m.value,
            "reason": m.reason,
        }
        for m in measurements
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
