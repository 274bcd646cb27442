"""Tables on stdout: plain columns for other programs, and rich's for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

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
