"""`nomina prepare`: labelled scans, or phantoms, → the folder that training reads."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nomina.learning.cases import Case
    from nomina.learning.prepared import PrepareConfig, PreparedDataset

app = typer.Typer(
    name="prepare",
    no_args_is_help=True,
    help="Bring labelled scans, or phantoms, to the form that training reads.",
)

Root = Annotated[
    Path, typer.Argument(metavar="DOWNLOADED", help="Folder of the unpacked dataset.", show_default=False)
]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="Folder of the prepared dataset.", show_default=False)
]
Structures = Annotated[
    str, typer.Option(help="Class order: spider18, mrspineseg19, or names with commas between them.")
]
Spacing = Annotated[float, typer.Option(help="In-plane spacing in mm; slices keep theirs.")]
Shading = Annotated[
    float | None,
    typer.Option(help="Even out shading over this reach in mm (about 30); without it, it stays."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes; each needs up to 1 GB of memory.")]
Patients = Annotated[str | None, typer.Option(help="Only these patients, commas between them.")]
Split = Annotated[Path | None, typer.Option(help="Split file (JSON) with lists `train` and `validation`.")]
Part = Annotated[str, typer.Option(help="Part of --split to prepare: train or validation.")]
Force = Annotated[bool, typer.Option("--force", help="Make every case again.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave faulty cases out instead of failing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


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
    _prepare(
        _select(cases, patients, split, part),
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

    cases = _select(mrspineseg_cases(root), patients, split, part)
    _prepare(cases, out, _config(structures, spacing, shading), workers, force, skip_bad, as_json)


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

    cases = _select(folder_cases(root), patients, split, part)
    _prepare(cases, out, _config(structures, spacing, shading), workers, force, skip_bad, as_json)


@app.command("phantoms")
def prepare_phantoms(
    out: Out,
    count: Annotated[
        int, typer.Option(min=1, help="Number of spines; each is rendered in two contrasts.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first spine; the next has seed + 1.")] = 0,
    structures: Structures = "spider18",
    spacing: Spacing = 0.6,
    shading: Shading = None,
    workers: Workers = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Spine phantoms with known truth."""
    from nomina.learning import prepare

    config = _config(structures, spacing, shading)
    with _progress(2 * count) as on_case:
        dataset = prepare.prepare_phantoms(out, count, seed, config, workers, force=force, on_case=on_case)
    _show(dataset, as_json)


def _select(cases: "list[Case]", patients: str | None, split: Path | None, part: str) -> "list[Case]":
    from nomina.learning.cases import read_split, select_patients

    if patients is not None and split is not None:
        raise typer.BadParameter("give --patients or --split, not both")
    if patients is not None:
        return select_patients(cases, [patient.strip() for patient in patients.split(",")])
    return cases if split is None else select_patients(cases, read_split(split, part))


def _config(structures: str, spacing_mm: float, shading_mm: float | None) -> "PrepareConfig":
    from nomina.imaging.preparation import ImagePreparation
    from nomina.learning.prepared import STRUCTURE_PRESETS, PrepareConfig

    names = STRUCTURE_PRESETS.get(structures) or tuple(name.strip() for name in structures.split(","))
    return PrepareConfig(
        structures=names, image=ImagePreparation(in_plane_spacing_mm=spacing_mm, shading_mm=shading_mm)
    )


def _prepare(
    cases: "Sequence[Case]",
    out: Path,
    config: "PrepareConfig",
    workers: int,
    force: bool,
    skip_bad: bool,
    as_json: bool,
) -> None:
    from nomina.learning.prepare import prepare_cases

    with _progress(len(cases)) as on_case:
        dataset = prepare_cases(
            cases, out, config, workers=workers, force=force, skip_bad=skip_bad, on_case=on_case
        )
    _show(dataset, as_json)


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[str], None]]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("preparing", total=total)
        yield lambda case_id: progress.update(task, advance=1, description=case_id)


def _show(dataset: "PreparedDataset", as_json: bool) -> None:
    summary = _summary(dataset)
    if as_json:
        typer.echo(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    table = Table("class", "structure", "cases", "voxels", title=f"{dataset.folder}")
    for index, row in enumerate(summary["structures"], start=1):
        table.add_row(str(index), row["name"], str(row["num_cases"]), f"{row['num_voxels']:,}")
    Console().print(table)
    typer.echo(
        f"{summary['num_cases']} cases of {summary['num_patients']} patients, "
        f"{summary['config']['image']['in_plane_spacing_mm']} mm in plane"
    )
    for title in ("doubtful", "left_out"):
        for case_id, reason in summary[title].items():
            typer.echo(f"{title.replace('_', ' ')}: {case_id}: {reason}")


def _summary(dataset: "PreparedDataset") -> dict[str, Any]:
    structures = []
    for name in dataset.config.structures:
        counts = [case.voxel_counts[name] for case in dataset.cases]
        structures.append({"name": name, "num_cases": sum(map(bool, counts)), "num_voxels": sum(counts)})
    return {
        "folder": str(dataset.folder),
        "num_cases": len(dataset.cases),
        "num_patients": len({(case.dataset, case.patient) for case in dataset.cases}),
        "config": dataclasses.asdict(dataset.config),
        "structures": structures,
        "doubtful": {case.id: case.doubtful for case in dataset.cases if case.doubtful},
        "left_out": dataset.left_out,
    }
