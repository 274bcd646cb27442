"""`nomina bench`: what one part of a method brings, measured in one table."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nomina.bench.grid import GridConfig
    from nomina.bench.run import Progress
    from nomina.bench.table import Row

app = typer.Typer(
    name="bench",
    add_completion=False,
    no_args_is_help=True,
    help="Train and measure a grid of networks and inference modes, and make one table.",
)


@app.callback()
def _bench() -> None:
    """Train and measure a grid of networks and inference modes, and make one table."""


@app.command("atm-net")
def atm_net(
    grid: Annotated[Path, typer.Argument(metavar="GRID", help="Grid, a YAML file.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder of runs and table; what is done there stays.", show_default=False
        ),
    ],
    only: Annotated[
        list[str] | None, typer.Option(help="Make only this run or variant now; repeatable.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Replace a value of the grid, e.g. test.folder=SCANS."
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the runs and how far each is; do nothing.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Make the table of what is measured; train and segment nothing.")
    ] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """What the words bring to ATM-Net: variants, honest prompts, wrong prompts, upper bounds, competitors."""
    from nomina.bench.grid import load_grid
    from nomina.bench.run import progress, run_grid, write_table

    for name in ("nomina.learning", "nomina.bench"):
        logging.getLogger(name).setLevel(logging.INFO)
    cfg = load_grid(grid, overrides or ())
    if plan:
        _print_plan(progress(cfg, out))
        return
    rows = write_table(cfg, out) if table else run_grid(cfg, out, only=only or (), accelerator=accelerator)
    if as_json:
        typer.echo((out / "table.json").read_text(encoding="utf-8"), nl=False)
    else:
        _print_rows(cfg, rows, out)
    typer.echo(f"wrote {out / 'table.csv'}, table.json and table.md", err=True)


def _print_plan(state: "Sequence[Progress]") -> None:
    table = _table("run", "steps", "of", "scores", "of", "state")
    for one in state:
        is_started = one.steps_done > 0 or one.num_measured > 0
        table.add_row(
            one.run.name,
            str(one.steps_done),
            str(one.run.recipe.train.steps),
            str(one.num_measured),
            str(one.num_wanted),
            "done" if one.is_done else "begun" if is_started else "to do",
        )
    _console().print(table)


def _print_rows(cfg: "GridConfig", rows: "Sequence[Row]", out: Path) -> None:
    from nomina.bench.run import progress
    from nomina.bench.write_table import HEADERS, cells, notes

    table = _table(*HEADERS)
    for row in rows:
        table.add_row(*cells(row))
    console = _console()
    console.print(table)
    missing = [one.run.name for one in progress(cfg, out) if not one.is_done]
    for note in notes(cfg, rows, missing):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="left")
    return table


def _console() -> Console:
    """Without a terminal rich would fold the table to 80 columns."""
    return Console() if Console().is_terminal else Console(width=220)
