"""`nomina train`: a recipe → a checkpoint."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from nomina.cli.options import Accelerator


def _check_devices(value: str) -> str:
    if value != "auto" and (not value.isdecimal() or int(value) == 0):
        raise typer.BadParameter(f"expected auto or a number from 1 on, got {value!r}")
    return value


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a YAML file.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            "--out",
            help="Folder of the run; a run found there is resumed.",
            show_default="runs/NAME, by the recipe's name",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Replace a value of the recipe, e.g. train.steps=20000."
        ),
    ] = None,
    accelerator: Accelerator = "auto",
    devices: Annotated[
        str,
        typer.Option(help="Number of GPUs or processes; auto takes all GPUs.", callback=_check_devices),
    ] = "auto",
    offline: Annotated[
        bool, typer.Option("--offline", help="Text encoders: only those that are on this computer already.")
    ] = False,
) -> None:
    """Train a network as a recipe says."""
    if offline:
        # The hub's client reads it when it is imported, and so do the processes that are started.
        os.environ["HF_HUB_OFFLINE"] = "1"
    from nomina.learning.fit import fit
    from nomina.learning.recipe import load_recipe

    # Progress is what one watches a training for; `nomina` alone says only warnings.
    logging.getLogger("nomina.learning").setLevel(logging.INFO)
    loaded = load_recipe(recipe, overrides or ())
    best = fit(
        loaded,
        Path("runs") / loaded.name if out is None else out,
        accelerator=accelerator,
        devices=devices if devices == "auto" else int(devices),
    )
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":
        typer.echo(best)
