"""`nomina prepare lung-phantoms` and `ct-folder`: chest CTs → the folder that training reads."""

from typing import Annotated

import typer

from nomina.cli.prepare_report import (
    AsJson,
    Force,
    Out,
    Part,
    Patients,
    Root,
    SkipBad,
    Split,
    Workers,
    prepare_and_show,
    progress,
    select,
    show,
)

app = typer.Typer()

Spacing = Annotated[float, typer.Option(help="Voxel size in mm along all axes.")]
Window = Annotated[
    tuple[float, float], typer.Option(help="HU that become 0 and 1: low and high.", metavar="LOW HIGH")
]


@app.command("lung-phantoms")
def prepare_lung_phantoms(
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="Number of chests.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first chest; the next has seed + 1.")] = 0,
    spacing: Spacing = 1.0,
    window: Window = (-1000.0, 600.0),
    annotated: Annotated[
        str, typer.Option(help="What the labels keep: all, left, right, arteries or veins.")
    ] = "all",
    contrast: Annotated[str, typer.Option(help="plain, arterial, mixed, venous or random.")] = "random",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each needs up to 2 GB of memory.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Chest phantoms with known vessels, whole or labelled in part."""
    from typing import cast, get_args

    from nomina.errors import ConfigError
    from nomina.imaging.ct_preparation import CTPreparation
    from nomina.learning import prepare_chests
    from nomina.phantoms.lung_tissues import ChestContrast

    for name, value, known in (
        ("annotated", annotated, get_args(prepare_chests.Part)),
        ("contrast", contrast, get_args(ChestContrast)),
    ):
        if value not in known:
            raise ConfigError(f"--{name} must be one of {', '.join(known)}, got {value!r}")
    phantoms = prepare_chests.ChestPhantoms(
        count, seed, cast("prepare_chests.Part", annotated), cast("ChestContrast", contrast)
    )
    image = CTPreparation(spacing_mm=spacing, window_hu=window)
    with progress(count) as on_case:
        dataset = prepare_chests.prepare_lung_phantoms(
            out, phantoms, image, workers=workers, force=force, on_case=on_case
        )
    show(dataset, as_json)


@app.command("ct-folder")
def prepare_ct_folder(
    root: Root,
    out: Out,
    spacing: Spacing = 1.0,
    window: Window = (-1000.0, 600.0),
    workers: Workers = 1,
    patients: Patients = None,
    split: Split = None,
    part: Part = "train",
    force: Force = False,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Your own chest CTs: images/ and labels/ as for `folder`, with what was annotated in dataset.json."""
    from nomina.imaging.ct_preparation import CTPreparation
    from nomina.learning.datasets.folder import folder_cases
    from nomina.learning.prepared import chest_config

    cases = select(folder_cases(root), patients, split, part)
    config = chest_config(CTPreparation(spacing_mm=spacing, window_hu=window))
    prepare_and_show(cases, out, config, workers, force, skip_bad, as_json)
