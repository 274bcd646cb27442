"""What every `nomina prepare …` shares: its options, its progress bar and the table at the end."""

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

Root = Annotated[
    Path, typer.Argument(metavar="DOWNLOADED", help="Folder of the unpacked dataset.", show_default=False)
]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="Folder of the prepared dataset.", show_default=False)
]
Workers = Annotated[int, typer.Option(min=1, help="Processes; each needs up to 1 GB of memory.")]
Patients = Annotated[str | None, typer.Option(help="Only these patients, commas between them.")]
Split = Annotated[Path | None, typer.Option(help="Split file (JSON) with lists `train` and `validation`.")]
Part = Annotated[str, typer.Option(help="Part of --split to prepare: train or validation.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Make every case again; a folder prepared with other settings is emptied first.",
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave faulty cases out instead of failing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


def select(cases: "list[Case]", patients: str | None, split: Path | None, part: str) -> "list[Case]":
    """The cases that `--patients`, or `--split` and `--part`, choose."""
    from nomina.learning.cases import read_split, select_patients

    if patients is not None and split is not None:
        raise typer.BadParameter("give --patients or --split, not both")
    if patients is not None:
        return select_patients(cases, [patient.strip() for patient in patients.split(",")])
    return cases if split is None else select_patients(cases, read_split(split, part))


def prepare_and_show(
    cases: "Sequence[Case]",
    out: Path,
    config: "PrepareConfig",
    workers: int,
    force: bool,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Prepare cases with a progress bar, and show what the folder then holds."""
    from nomina.learning.prepare import prepare_cases

    with progress(len(cases)) as on_case:
        dataset = prepare_cases(
            cases, out, config, workers=workers, force=force, skip_bad=skip_bad, on_case=on_case
        )
    show(dataset, as_json)


@contextmanager
def progress(total: int) -> "Iterator[Callable[[str], None]]":
    """A bar on stderr; yields what takes the id of each case as it is finished."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("preparing", total=total)
        yield lambda case_id: bar.update(task, advance=1, description=case_id)


def show(dataset: "PreparedDataset", as_json: bool) -> None:
    """Print classes, cases and faults of a prepared dataset, as a table or as JSON."""
    summary = _summary(dataset)
    if as_json:
        typer.echo(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    table = Table("class", "structure", "cases", "voxels", title=f"{dataset.folder}")
    for index, row in enumerate(summary["structures"], start=1):
        table.add_row(str(index), row["name"], str(row["num_cases"]), f"{row['num_voxels']:,}")
    Console().print(table)
    typer.echo(f"{summary['num_cases']} cases of {summary['num_patients']} patients, {_voxels(dataset)}")
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


def _voxels(dataset: "PreparedDataset") -> str:
    from nomina.imaging.ct_preparation import CTPreparation

    image = dataset.config.image
    if isinstance(image, CTPreparation):
        return f"voxels of {image.spacing_mm} mm"
    return f"{image.in_plane_spacing_mm} mm in plane"
