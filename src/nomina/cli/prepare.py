"""`nomina prepare`: labelled scans, or phantoms, → the folder that training reads."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from nomina.cli import prepare_chests
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
    from nomina.phantoms.contrasts import Contrast

app = typer.Typer(
    name="prepare",
    add_completion=False,
    no_args_is_help=True,
    help="Bring labelled scans, or phantoms, to the form that training reads.",
)

Structures = Annotated[
    str, typer.Option(help="Class order: spider18, mrspineseg19, or names with commas between them.")
]
Spacing = Annotated[float, typer.Option(help="In-plane spacing in mm; slices keep theirs.")]
Shading = Annotated[
    float | None,
    typer.Option(help="Even out shading over this reach in mm (about 30)."),
]


@app.command("spider")
def prepare_spider(
    root: Root,
    out: Out,
    structures: Structures = "spider18",
    spacing: Spacing = 0.6,
    shading: Shading = None,
    workers: Workers = 1,
    patients: Patients = None,
    split: Split = None,
    part: Part = "train",
    subset: Annotated[str | None, typer.Option(help="Only this `subset` of overview.csv.")] = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """SPIDER: images/, masks/ and overview.csv as downloaded."""
    from nomina.errors import CaseError
    from nomina.learning.datasets.spider import spider_cases

    cases = spider_cases(root)
    if subset is not None:
        known = sorted({case.subset or "none" for case in cases})
        cases = [case for case in cases if case.subset == subset]
        if not cases:
            raise CaseError(f"no case of subset {subset!r}; overview.csv knows: {', '.join(known)}")
    prepare_and_show(
        select(cases, patients, split, part),
        out,
        _config(structures, spacing, shading),
        workers,
        force,
        skip_bad,
        as_json,
    )


@app.command("mrspineseg")
def prepare_mrspineseg(
    root: Root,
    out: Out,
    structures: Structures = "mrspineseg19",
    spacing: Spacing = 0.6,
    shading: Shading = None,
    workers: Workers = 1,
    patients: Patients = None,
    split: Split = None,
    part: Part = "train",
    force: Force = False,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """MRSpineSeg: train/MR and train/Mask as downloaded."""
    from nomina.learning.datasets.mrspineseg import mrspineseg_cases

    cases = select(mrspineseg_cases(root), patients, split, part)
    prepare_and_show(cases, out, _config(structures, spacing, shading), workers, force, skip_bad, as_json)


@app.command("folder")
def prepare_folder(
    root: Root,
    out: Out,
    structures: Structures = "spider18",
    spacing: Spacing = 0.6,
    shading: Shading = None,
    workers: Workers = 1,
    patients: Patients = None,
    split: Split = None,
    part: Part = "train",
    force: Force = False,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Your own images/ and labels/ with the same names, and a dataset.json that names the label scheme."""
    from nomina.learning.datasets.folder import folder_cases

    cases = select(folder_cases(root), patients, split, part)
    prepare_and_show(cases, out, _config(structures, spacing, shading), workers, force, skip_bad, as_json)


@app.command("phantoms")
def prepare_phantoms(
    out: Out,
    count: Annotated[
        int, typer.Option(min=1, help="Number of spines; each is rendered once per contrast.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first spine; the next has seed + 1.")] = 0,
    structures: Structures = "spider18",
    spacing: Spacing = 0.6,
    shading: Shading = None,
    contrasts: Annotated[
        str, typer.Option(help="Of t1, t2, stir, pd, gre and random, with commas; two random ones differ.")
    ] = "random,random",
    workers: Workers = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Spine phantoms with known truth."""
    from nomina.learning import prepare

    config = _config(structures, spacing, shading)
    asked = cast("list[Contrast]", [contrast.strip() for contrast in contrasts.split(",")])
    with progress(len(asked) * count) as on_case:
        dataset = prepare.prepare_phantoms(
            out, count, seed, config, workers, contrasts=asked, force=force, on_case=on_case
        )
    show(dataset, as_json)


def _config(structures: str, spacing_mm: float, shading_mm: float | None) -> "PrepareConfig":
    from nomina.imaging.preparation import ImagePreparation
    from nomina.learning.prepared import STRUCTURE_PRESETS, PrepareConfig

    names = STRUCTURE_PRESETS.get(structures) or tuple(name.strip() for name in structures.split(","))
    return PrepareConfig(
        structures=names, image=ImagePreparation(in_plane_spacing_mm=spacing_mm, shading_mm=shading_mm)
    )


app.add_typer(prepare_chests.app)
