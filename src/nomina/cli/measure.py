"""`nomina measure`: numbers from one label map."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nomina.imaging.volume import LabelMap

SUFFIXES = (".csv", ".json")
"""What the output's name may end in."""


def measure(
    label_map: Annotated[Path, typer.Argument(metavar="LABELMAP", help="Label map to measure.")],
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Label scheme: a name or a .yaml file; without it the JSON file beside the label map."
        ),
    ] = None,
    lungs: Annotated[
        Path | None,
        typer.Option(metavar="LUNGMASK", help="Lungs or lobes on the same grid: vessels per lung, too."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File that ends in .csv or .json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Measure a label map: heights, angles and canal of a spine, volumes, blood in lung vessels."""
    from nomina.anatomy.schemes import load_scheme, read_label_map
    from nomina.assessment.measurements.measure import measure as measure_all
    from nomina.assessment.measurements.measurement import csv_text, json_text
    from nomina.imaging.files import write_text_atomic

    if output is not None:
        _check_output(output)
    given = read_label_map(label_map, scheme=None if scheme is None else load_scheme(scheme))
    found = measure_all(given, None if lungs is None else _read_lungs(lungs))
    if output is not None:
        write_text_atomic(output, json_text(found) if output.suffix == ".json" else csv_text(found))
        typer.echo(f"wrote {output}", err=True)
    else:
        typer.echo(json_text(found) if as_json else csv_text(found), nl=False)


def _check_output(output: Path) -> None:
    """Refuse before the work what could not be written after it."""
    from nomina.errors import OutputError
    from nomina.reporting.sidecar import describes_label_map

    if output.suffix not in SUFFIXES:
        raise OutputError(f"{output} must end in {' or '.join(SUFFIXES)}")
    if describes_label_map(output):
        raise OutputError(f"{output} describes a label map and would be replaced; choose another name")
    if not output.parent.is_dir():
        raise OutputError(
            f"{output} cannot be written: folder {output.parent} does not exist; create it first"
        )


def _read_lungs(path: Path) -> "LabelMap":
    """A label map of lungs or lobes whose numbers need no scheme: sides come from where the labels lie."""
    import numpy as np

    from nomina.imaging.read import read_label_array
    from nomina.imaging.volume import LabelMap

    array, grid = read_label_array(path)
    return LabelMap(array, grid, names={int(value): f"lung label {value}" for value in np.unique(array)})
