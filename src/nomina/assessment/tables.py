"""Scores as text: CSV, one row per case and structure, and JSON with everything."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from nomina.assessment.comparison import Comparison
from nomina.assessment.metrics.label_free import GROUPS
from nomina.assessment.scores import METRICS, CaseScores
from nomina.assessment.summary import Evaluation

CSV_COLUMNS = (
    "case",
    "structure",
    "found_in",
    *METRICS,
    "volume_ml_prediction",
    "volume_ml_reference",
    "excluded",
    "only_asked",
)
"""Columns of the CSV file; units are in the names."""


def csv_text(evaluation: Evaluation) -> str:
    """One row per case and structure, before any empty-mask policy.

    Where only one map has the structure, distances are `inf` (no policy is applied); `excluded` marks cases
    that are in no mean, `only_asked` those that are scored on what their prediction was asked for.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for is_excluded, cases in ((False, evaluation.cases), (True, evaluation.excluded)):
        for case in cases:
            for score in case.structures:
                row = {
                    key: f"{value:.6g}" if isinstance(value, float) else value
                    for key, value in dataclasses.asdict(score).items()
                }
                marks = {"excluded": is_excluded, "only_asked": case.asked is not None}
                writer.writerow(row | marks | {"case": case.case})
    return out.getvalue()


def json_text(evaluation: Evaluation, comparison: Comparison | None = None) -> str:
    """Everything in an `Evaluation`, with versions; `nan` and infinite numbers become null.

    Args:
        evaluation: Scores and their summary.
        comparison: Difference to another prediction, where one was made.
    """
    summary = dataclasses.asdict(dataclasses.replace(evaluation, cases=(), excluded=()))
    plain = {
        "versions": {package: version(package) for package in ("nomina", "numpy", "scipy")},
        **{key: value for key, value in summary.items() if key not in ("cases", "excluded")},
        "only_asked": [c.case for c in (*evaluation.cases, *evaluation.excluded) if c.asked is not None],
        "cases": [_case(case) for case in evaluation.cases],
        "excluded": [_case(case) for case in evaluation.excluded],
    }
    if comparison is not None:
        plain["comparison"] = dataclasses.asdict(comparison)
    return json.dumps(finite(plain), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _case(case: CaseScores) -> dict[str, Any]:
    return dataclasses.asdict(case) | {
        "naming": {
            "structures": [dataclasses.asdict(s) for s in case.naming.structures],
            "all_levels_right": case.naming.all_levels_right,
            "no_level_wrong": case.naming.no_level_wrong,
        },
        "label_free": {
            "structures": [dataclasses.asdict(s) for s in case.label_free.structures],
            "groups": {group: dataclasses.asdict(case.label_free.group(group)) for group in GROUPS},
        },
    }


def finite(value: Any) -> Any:
    """Plain data with None for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
