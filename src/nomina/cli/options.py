"""Options that commands of different kinds have in common."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
TableAsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")]
