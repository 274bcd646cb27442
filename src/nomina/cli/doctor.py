"""`nomina doctor`: what is wrong with a scan, in words."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nomina.cli.options import AsJson

if TYPE_CHECKING:
    from nomina.imaging.doctor_finding import Examination, Severity

_COLOURS: "dict[Severity, str]" = {"error": "red", "warning": "yellow", "note": "cyan"}


def doctor(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|FOLDER]...", help="Scans, DICOM folders or .zip files, whole folders."),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="IN OUT", help="Check that label map OUT lies on scan IN."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say in words what is wrong with a scan, before anyone trusts a mask made from it."""
    from nomina.imaging.doctor import examine
    from nomina.imaging.doctor_compare import compare as compare_files

    if not inputs and compare is None:
        raise typer.BadParameter("give a file or folder, or --compare IN OUT")
    examinations = [examination for path in inputs or [] for examination in examine(path)]
    if compare is not None:
        examinations.append(compare_files(*compare))
    num_errors = sum(examination.has_errors for examination in examinations)
    if as_json:
        typer.echo(
            json.dumps([asdict(examination) for examination in examinations], indent=2, ensure_ascii=False)
        )
    else:
        for examination in examinations:
            _show(examination)
        if len(examinations) > 1:
            typer.echo(f"{len(examinations)} scans, {num_errors} with errors", err=True)
    if num_errors:
        raise typer.Exit(1)


def _show(examination: "Examination") -> None:
    typer.echo(f"{examination.name}{f': {examination.summary}' if examination.summary else ''}")
    for finding in examination.findings:
        mark = typer.style(finding.severity, fg=_COLOURS[finding.severity])
        typer.echo(f"  {mark} [{finding.code}] {finding.sentence} {finding.remedy}")
    if not examination.findings:
        typer.echo("  nothing wrong was found")
