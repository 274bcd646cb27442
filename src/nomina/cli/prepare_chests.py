"""`nomina prepare lung-phantoms`, `ct-folder`, `airrc`, `hipas`, `parse2022`: chest CTs for training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from nomina.learning.prepared import PrepareConfig

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
    thin: Annotated[
        bool,
        typer.Option(
            "--thin",
            help="Branches too thin for the phantom's grid (1 mm or finer) count as vessel; else ignored.",
        ),
    ] = False,
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
        count, seed, cast("prepare_chests.Part", annotated), cast("ChestContrast", contrast), has_thin=thin
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
    from nomina.learning.datasets.folder import folder_cases

    cases = select(folder_cases(root), patients, split, part)
    prepare_and_show(cases, out, _config(spacing, window), workers, force, skip_bad, as_json)


@app.command("airrc")
def prepare_airrc(
    root: Root,
    out: Out,
    luna16: Annotated[
        Path | None, typer.Option(help="Where LUNA16's scans are, at any depth; else below DOWNLOADED.")
    ] = None,
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
    """AirRC: labelsTr/ as downloaded, and the scans of LUNA16."""
    from nomina.learning.datasets.airrc import airrc_cases

    cases = select(airrc_cases(root, luna16), patients, split, part)
    prepare_and_show(cases, out, _config(spacing, window), workers, force, skip_bad, as_json)


@app.command("hipas")
def prepare_hipas(
    root: Root,
    out: Out,
    axes: Annotated[
        str,
        typer.Option(help="Where the arrays' axes run to, e.g. PLS; look at one scan.", show_default=False),
    ],
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
    """HiPaS: ct_scan/, annotation/ and metadata.xlsx as downloaded."""
    from nomina.learning.datasets.hipas import hipas_cases

    cases = select(hipas_cases(root, axes), patients, split, part)
    prepare_and_show(cases, out, _config(spacing, window), workers, force, skip_bad, as_json)


@app.command("parse2022")
def prepare_parse2022(
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
    """PARSE 2022: train/ as downloaded; arteries only."""
    from nomina.learning.datasets.parse2022 import parse2022_cases

    cases = select(parse2022_cases(root), patients, split, part)
    prepare_and_show(cases, out, _config(spacing, window), workers, force, skip_bad, as_json)


def _config(spacing_mm: float, window_hu: tuple[float, float]) -> "PrepareConfig":
    from nomina.imaging.ct_preparation import CTPreparation
    from nomina.learning.prepared import chest_config

    return chest_config(CTPreparation(spacing_mm=spacing_mm, window_hu=window_hu))
