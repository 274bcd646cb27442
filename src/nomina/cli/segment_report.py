"""What `nomina segment` prints of a result: a line per structure, or JSON."""

import json
from typing import TYPE_CHECKING

import typer

from nomina.cli.tables import print_lines

if TYPE_CHECKING:
    from nomina.cli.segment_jobs import Job
    from nomina.imaging.segmentation import Segmentation, Verdict

UNCALIBRATED = "score not calibrated"
"""Marks a score that ranks verdicts and is no probability."""


def remark(verdict: "Verdict") -> str:
    """What a table says beside a verdict: why it is not simply present, and what its score is not."""
    sentences = [verdict.reason] if verdict.presence != "present" else []
    if verdict.presence == "present" and verdict.is_partial:
        sentences.append("cut by the border of the scan")
    if not verdict.is_calibrated:
        sentences.append(UNCALIBRATED)
    return "; ".join(sentences)


def print_table(job: "Job", result: "Segmentation") -> None:
    """A line per structure on stdout, notes and the names of files on stderr."""
    from nomina.cli.segment_jobs import scan_name

    typer.echo(f"# {scan_name(job.source)}")
    rows = [("structure", "verdict", "score", "volume_ml", "remark")]
    for verdict in result.verdicts:
        score, volume = f"{verdict.score:.2f}", f"{verdict.volume_ml:.1f}"
        rows.append((verdict.structure, verdict.presence, score, volume, remark(verdict)))
    print_lines(rows, right_aligned=(2, 3))
    if not all(verdict.is_calibrated for verdict in result.verdicts):
        typer.echo(
            f"note: where the table says {UNCALIBRATED!r} (is_calibrated in the JSON file), scores rank "
            f"verdicts and are no probabilities",
            err=True,
        )
    print_level_note(result)
    for note in result.provenance.get("notes", ()):
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {job.label_map} and {job.sidecar.name}", err=True)


def print_level_note(result: "Segmentation") -> None:
    """What decided the levels, once on stderr, where the verdict on one of them is uncertain."""
    from nomina.assessment.spine_levels import spine_kind

    reason = result.provenance.get("levels_decided_by")
    if reason and any(v.presence == "uncertain" and spine_kind(v.structure) for v in result.verdicts):
        typer.echo(f"note: levels: {reason}", err=True)


def print_json(job: "Job", result: "Segmentation") -> None:
    """What the JSON file beside the label map holds, in one line on stdout."""
    from nomina.cli.segment_jobs import scan_name
    from nomina.reporting.sidecar import sidecar

    typer.echo(json.dumps(sidecar(result, source=scan_name(job.source)), ensure_ascii=False))
