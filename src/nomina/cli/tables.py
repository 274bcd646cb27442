"""Tables: on stdout plain columns for other programs and rich's for people, and the files they may go to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nomina.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console


def print_lines(rows: Sequence[tuple[str, ...]], right_aligned: Sequence[int] = ()) -> None:
    """Print rows on stdout in aligned columns, without borders, so that other programs can read them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if index in right_aligned else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def table_console(width: int = 120) -> "Console":
    """Where rich's tables go.

    Args:
        width: Columns where stdout is no terminal: rich would fold the tables to 80.
    """
    from rich.console import Console

    return Console() if Console().is_terminal else Console(width=width)


def refuse_output(output: Path, suffixes: Sequence[str], *beside: Path) -> None:
    """Refuse before the work a file that could not be written after it, or would replace another's.

    Args:
        output: The file.
        suffixes: What its name may end in.
        beside: Files that are written with it.

    Raises:
        OutputError: It is one.
    """
    from nomina.reporting.sidecar import describes_label_map

    if output.suffix not in suffixes:
        raise OutputError(f"{output} must end in {' or '.join(suffixes)}; give it such a name")
    for path in (output, *beside):
        if describes_label_map(path):
            raise OutputError(f"{path} describes a label map and would be replaced; choose another name")
    if not output.parent.is_dir():
        raise OutputError(
            f"{output} cannot be written: folder {output.parent} does not exist; create it first"
        )
