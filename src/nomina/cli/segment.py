"""`nomina segment`: scans and words → label maps, with a verdict per structure."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nomina.errors import NominaError, PromptError

if TYPE_CHECKING:
    from rich.progress import Progress

    from nomina.anatomy.schemes import LabelScheme
    from nomina.cli.segment_jobs import Job
    from nomina.imaging.segmentation import Segmentation, Verdict
    from nomina.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)


class Scheme(StrEnum):
    """Label schemes that results can be written in."""

    nomina = "nomina"
    spider = "spider"
    mrspineseg = "mrspineseg"


class Format(StrEnum):
    """File formats of label maps."""

    nifti = "nii.gz"
    metaimage = "mha"
    nrrd = "nrrd"


Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="INPUT...", help="NIfTI, MHA or NRRD files, DICOM folders or zips, or folders."),
]
Prompts = Annotated[
    list[str] | None,
    typer.Option("-p", "--prompt", metavar="WORDS", help='What to segment, e.g. "L4-5 disk"; repeatable.'),
]
Everything = Annotated[bool, typer.Option("--all", help="Every structure that the model knows.")]
Model = Annotated[str, typer.Option("-m", "--model", help="A shipped checkpoint, or a checkpoint folder.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="OUT", help="File (one scan) or folder.  [default: ./<scan>_seg.nii.gz]"
    ),
]
Series = Annotated[
    str | None,
    typer.Option(metavar="UID", help="Which DICOM series, where INPUT holds several (an error lists them)."),
]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave scans alone that have a result.")]
Picture = Annotated[bool, typer.Option("--picture", help="Draw an overlay (PNG) beside each label map.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never reach for the network.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one line per scan, instead of tables.")]


def segment(
    inputs: Inputs,
    prompt: Prompts = None,
    everything: Everything = False,
    model: Model = "spine-mr",
    output: Output = None,
    scheme: Annotated[Scheme, typer.Option(help="Label values to write.")] = Scheme.nomina,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Where OUT is no file.  [default: nii.gz]")
    ] = None,
    series: Series = None,
    skip_existing: SkipExisting = False,
    picture: Picture = False,
    device: Device = "auto",
    as_json: AsJson = False,
    offline: Offline = False,
) -> None:
    """Segment what the words name, in one scan or many.

    Writes a label map on the scan's own grid and a JSON file beside it, and prints a line per structure.
    """
    words = _asked_words(prompt, everything)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from nomina.anatomy.schemes import load_scheme
    from nomina.cli.segment_jobs import plan_jobs

    jobs = plan_jobs(inputs, output, f".{file_format or Format.nifti}")
    if file_format and not jobs[0].label_map.name.endswith(file_format):
        raise typer.BadParameter(f"--format {file_format} contradicts {jobs[0].label_map.name}")
    if series and len(jobs) > 1:
        raise typer.BadParameter(f"--series goes with one INPUT, got {len(jobs)} scans")
    waiting = [job for job in jobs if not (skip_existing and job.is_done)]
    if len(waiting) < len(jobs):
        typer.echo(f"skipped {len(jobs) - len(waiting)} of {len(jobs)} scans that have a result", err=True)
    if not waiting:
        return
    from nomina.inference.segmenter import Segmenter

    segmenter = Segmenter.load(model, device=device)
    segmenter.resolve(words)
    request = _Request(segmenter, words, load_scheme(scheme), picture, series)
    _segment_all(waiting, request, _print_json if as_json else _print_table)


def print_lines(rows: Sequence[tuple[str, ...]], right_aligned: Sequence[int] = ()) -> None:
    """Print rows on stdout in aligned columns, without borders, so that other programs can read them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if index in right_aligned else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def remark(verdict: "Verdict") -> str:
    """What a table says beside a verdict: why a structure is not simply present."""
    if verdict.presence != "present":
        return verdict.reason
    return "cut by the border of the scan" if verdict.is_partial else ""


@contextmanager
def progress_bar(num_scans: int) -> "Iterator[tuple[Progress, Callable[[Path], Callable[[float], None]]]]":
    """A bar on stderr, where that is a terminal.

    Yields:
        The bar, which must be stopped while something is printed, and a function that takes the next
        scan and returns what reports the share of it that is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("starting", total=num_scans)
    num_begun = 0

    def begin(source: Path) -> Callable[[float], None]:
        nonlocal num_begun
        done, num_begun = num_begun, num_begun + 1
        place = f"scan {num_begun} of {num_scans}: " if num_scans > 1 else ""
        bar.update(task, completed=done, description=f"{place}{source.name}")
        return lambda share: bar.update(task, completed=done + share)

    with bar:
        yield bar, begin


@dataclass(frozen=True)
class _Request:
    """What is asked of every scan."""

    segmenter: "Segmenter"
    words: list[str] | None
    scheme: "LabelScheme"
    has_picture: bool
    series_uid: str | None = None

    def carry_out(self, job: "Job", report: Callable[[float], None]) -> "Segmentation":
        from nomina.imaging.read import read_volume
        from nomina.reporting.sidecar import in_scheme

        volume = read_volume(job.source, series_uid=self.series_uid)
        found = self.segmenter(volume, self.words, progress=report)
        result = in_scheme(found, self.scheme)
        job.write(result, picture_of=volume if self.has_picture else None)
        return result


def _asked_words(prompts: list[str] | None, everything: bool) -> list[str] | None:
    """The phrases, each known to name something; None for every structure of the model."""
    from nomina.anatomy.resolve import explain

    if everything and prompts:
        raise typer.BadParameter("give --prompt or --all, not both")
    if everything:
        return None
    if not prompts:
        raise PromptError(
            "no structure was asked for; name at least one with -p, for example -p 'L4 vertebra', "
            "or give --all for every structure that the model knows"
        )
    for phrase in prompts:
        for correction in explain(phrase).corrections:
            typer.echo(f"{phrase}: {correction}", err=True)
    return prompts


def _segment_all(
    jobs: "Sequence[Job]", request: _Request, show: "Callable[[Job, Segmentation], None]"
) -> None:
    """Carry out every job; one that fails does not stop the others and is named at the end."""
    failures: dict[Path, str] = {}
    with progress_bar(len(jobs)) as (bar, begin):
        for job in jobs:
            report = begin(job.source)
            try:
                result = request.carry_out(job, report)
            except NominaError as error:
                if len(jobs) == 1:
                    raise
                message = str(error)
                failures[job.source] = message if job.source.name in message else f"{job.source}: {message}"
                continue
            except Exception:
                # A defect that one scan brings to light must not cost the results of the others.
                if len(jobs) == 1:
                    raise
                logger.exception("%s failed for a reason that nomina does not foresee", job.source)
                failures[job.source] = f"{job.source}: unforeseen error, see above; please report it"
                continue
            bar.stop()
            show(job, result)
            bar.start()
    if len(jobs) > 1:
        typer.echo(f"{len(jobs) - len(failures)} of {len(jobs)} scans segmented", err=True)
    if failures:
        for message in failures.values():
            typer.echo(f"failed: {message}", err=True)
        raise typer.Exit(1)


def _print_table(job: "Job", result: "Segmentation") -> None:
    from nomina.cli.segment_jobs import scan_name

    typer.echo(f"# {scan_name(job.source)}")
    rows = [("structure", "verdict", "score", "volume_ml", "remark")]
    for verdict in result.verdicts:
        score, volume = f"{verdict.score:.2f}", f"{verdict.volume_ml:.1f}"
        rows.append((verdict.structure, verdict.presence, score, volume, remark(verdict)))
    print_lines(rows, right_aligned=(2, 3))
    for note in result.provenance.get("notes", ()):
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {job.label_map} and {job.sidecar.name}", err=True)


def _print_json(job: "Job", result: "Segmentation") -> None:
    from nomina.cli.segment_jobs import scan_name
    from nomina.reporting.sidecar import sidecar

    typer.echo(json.dumps(sidecar(result, source=scan_name(job.source)), ensure_ascii=False))
