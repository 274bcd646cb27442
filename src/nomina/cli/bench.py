"""`nomina bench`: what one part of a method brings, measured in one table."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from nomina.cli.options import Accelerator, TableAsJson
from nomina.cli.tables import table_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nomina.bench.grid import GridConfig
    from nomina.bench.run import Progress
    from nomina.bench.table import Row

WIDTH = 260
"""Columns of the table where stdout is no terminal."""

app = typer.Typer(
    name="bench",
    add_completion=False,
    no_args_is_help=True,
    help="Train and measure a grid of networks and inference modes, and make one table.",
)


GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="Grid, a YAML file.", show_default=False)]
Out = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        "--out",
        help="Folder of runs and table; what is done there stays.",
        show_default=False,
    ),
]
Only = Annotated[list[str] | None, typer.Option(help="Make only this run or variant now; repeatable.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the grid, e.g. test.folder=SCANS."),
]
Plan = Annotated[bool, typer.Option("--plan", help="Print the runs and how far each is; do nothing.")]
TableOnly = Annotated[
    bool, typer.Option("--table", help="Make the table of what is measured; train and segment nothing.")
]


@app.command("atm-net")
def atm_net(
    grid: GridFile,
    out: Out,
    only: Only = None,
    overrides: Overrides = None,
    plan: Plan = False,
    table: TableOnly = False,
    accelerator: Accelerator = "auto",
    as_json: TableAsJson = False,
) -> None:
    """What the words bring to ATM-Net: variants, honest prompts, wrong prompts, upper bounds, competitors."""
    cfg = _open(grid, overrides, sees_blocks=False)
    _make(cfg, out, only=only or (), plan=plan, table=table, accelerator=accelerator, as_json=as_json)


@app.command("la-caf")
def la_caf(
    grid: GridFile,
    out: Out,
    only: Only = None,
    overrides: Overrides = None,
    plan: Plan = False,
    table: TableOnly = False,
    accelerator: Accelerator = "auto",
    as_json: TableAsJson = False,
) -> None:
    """What the words bring to LA-CAF: language, vectors without meaning, swaps; and partial labels."""
    cfg = _open(grid, overrides, sees_blocks=True)
    _make(cfg, out, only=only or (), plan=plan, table=table, accelerator=accelerator, as_json=as_json)


def _open(path: Path, overrides: "Sequence[str] | None", *, sees_blocks: bool) -> "GridConfig":
    """The grid, refused where its networks belong to the other command."""
    from nomina.bench.grid import expand, load_grid
    from nomina.errors import ConfigError
    from nomina.learning.recipe import BlockRecipe

    cfg = load_grid(path, overrides or ())
    if isinstance(expand(cfg)[0].recipe, BlockRecipe) != sees_blocks:
        kind, command = ("slices", "atm-net") if sees_blocks else ("blocks", "la-caf")
        raise ConfigError(f"{path}: its networks see {kind}; run `nomina bench {command} {path}`")
    return cfg


def _make(
    cfg: "GridConfig",
    out: Path,
    *,
    only: "Sequence[str]",
    plan: bool,
    table: bool,
    accelerator: str,
    as_json: bool,
) -> None:
    from nomina.bench.run import progress, run_grid, write_table

    for name in ("nomina.learning", "nomina.bench"):
        logging.getLogger(name).setLevel(logging.INFO)
    if plan:
        _print_plan(progress(cfg, out))
        return
    rows = write_table(cfg, out) if table else run_grid(cfg, out, only=only, accelerator=accelerator)
    if as_json:
        typer.echo((out / "table.json").read_text(encoding="utf-8"), nl=False)
    else:
        _print_rows(cfg, rows, out)
    typer.echo(f"wrote {out / 'table.csv'}, table.json and table.md", err=True)


def _print_plan(state: "Sequence[Progress]") -> None:
    table = _table("run", "steps", "of", "scores", "of", "state")
    for one in state:
        is_started = one.steps_done > 0 or one.num_measured > 0
        unfinished = "skipped: " + one.skipped if one.skipped else "begun" if is_started else "to do"
        table.add_row(
            one.run.name,
            str(one.steps_done),
            str(one.run.recipe.train.steps),
            str(one.num_measured),
            str(one.num_wanted),
            "done" if one.is_done else unfinished,
        )
    table_console(WIDTH).print(table)


def _print_rows(cfg: "GridConfig", rows: "Sequence[Row]", out: Path) -> None:
    from nomina.bench.grid import expand
    from nomina.bench.run import gaps
    from nomina.bench.table_text import notes, sheet_of

    console, sheet = table_console(WIDTH), sheet_of(expand(cfg)[0].recipe)
    for board in sheet.boards(rows):
        table = _table(*board.headers)
        for cells in board.rows:
            table.add_row(*cells)
        console.print(table)
    for note in notes(sheet, cfg, rows, gaps(cfg, out)):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="left")
    return table
