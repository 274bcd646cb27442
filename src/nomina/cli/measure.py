"""`nomina measure`: numbers from one label map."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from nomina.cli.options import TableAsJson, known_scheme
from nomina.cli.tables import refuse_output, table_console

if TYPE_CHECKING:
    from nomina.assessment.measurements.measurement import Measurement
    from nomina.imaging.volume import LabelMap

SUFFIXES = (".csv", ".json")
"""What the output's name may end in."""


def measure(
    label_map: Annotated[Path, typer.Argument(metavar="LABELMAP", help="Label map to measure.")],
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Label scheme: a name or a .yaml file; without it the JSON file beside the label map.",
            callback=known_scheme,
        ),
    ] = None,
    lungs: Annotated[
        Path | None,
        typer.Option(metavar="LUNGMASK", help="Lungs or lobes on the same grid: vessels per lung, too."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File that ends in .csv or .json, with every digit.")
    ] = None,
    as_json: TableAsJson = False,
) -> None:
    """Measure a label map: heights, angles and canal of a spine, volumes, blood in lung vessels."""
    from nomina.anatomy.schemes import load_scheme, read_label_map
    from nomina.assessment.measurements.measure import measure as measure_all
    from nomina.assessment.measurements.measurement import csv_text, json_text
    from nomina.imaging.files import write_text_atomic

    if output is not None:
        refuse_output(output, SUFFIXES)
    given = read_label_map(label_map, scheme=None if scheme is None else load_scheme(scheme))
    found = measure_all(given, None if lungs is None else _read_lungs(lungs))
    if output is not None:
        write_text_atomic(output, json_text(found) if output.suffix == ".json" else csv_text(found))
        typer.echo(f"wrote {output}", err=True)
    elif as_json:
        typer.echo(json_text(found), nl=False)
    else:
        _print_table(found)


def _print_table(measurements: "Sequence[Measurement]") -> None:
    """A line per measurement, rounded for reading; what could not be measured comes last, with its reason."""
    console = table_console()
    table = Table("structure", "place", "quantity", box=SIMPLE_HEAD)
    table.add_column("value", justify="right")
    missing = [m for m in measurements if math.isnan(m.value)]
    shown = ""
    for m in measurements:
        if not math.isnan(m.value):
            table.add_row("" if m.structure == shown else m.structure, m.place, m.quantity, rounded(m.value))
            shown = m.structure
    if table.row_count:
        console.print(table)
    if missing:
        apart = Table("not measured", "place", "quantity", "reason", box=SIMPLE_HEAD)
        for m in missing:
            apart.add_row(m.structure, m.place, m.quantity, m.reason)
        console.print(apart)


def rounded(value: float) -> str:
    """At least three digits, at most two of them decimals: nothing here is more exact."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{decimals}f}"


def _read_lungs(path: Path) -> "LabelMap":
    """A label map of lungs or lobes whose numbers need no scheme: sides come from where the labels lie."""
    import numpy as np

    from nomina.imaging.read import read_label_array
    from nomina.imaging.volume import LabelMap

    array, grid = read_label_array(path)
    return LabelMap(array, grid, names={int(value): f"lung label {value}" for value in np.unique(array)})
