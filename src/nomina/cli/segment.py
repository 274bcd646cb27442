"""`nomina segment`: scans and words → label maps, with a verdict per structure."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nomina.cli.options import Device
from nomina.errors import NominaError, PromptError, SchemeError

if TYPE_CHECKING:
    from rich.progress import Progress

    from nomina.anatomy.schemes import LabelScheme
    from nomina.cli.segment_jobs import Asked, Job, Work
    from nomina.imaging.segmentation import Segmentation, Verdict
    from nomina.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)

UNCALIBRATED = "score not calibrated"
"""Marks a score that ranks verdicts and is no probability."""


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
Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="A shipped checkpoint, or a checkpoint folder.",
        show_default="the shipped one that knows the words; spine-mr with --all",
    ),
]
Anchors = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor",
        metavar="WORDS",
        help='What is known of the levels: "lowest disc is L5/S1" or "L4 is here: x,y,z" (world mm, RAS); '
        "repeatable.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="File (one scan) or folder.",
        show_default="./<scan>_seg.nii.gz",
    ),
]
Series = Annotated[
    str | None,
    typer.Option(metavar="UID", help="Which DICOM series, where INPUT holds several (an error lists them)."),
]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave scans alone that have a result.")]
Picture = Annotated[bool, typer.Option("--picture", help="Draw an overlay (PNG) beside each label map.")]
Card = Annotated[
    Path | None,
    typer.Option(
        "--card",
        metavar="FILE",
        help="Write a run card, for `nomina replay`; several scans: one beside each.",
    ),
]
CardPaths = Annotated[bool, typer.Option("--card-paths", help="Absolute paths in the card, not names only.")]
FailIfAbsent = Annotated[
    bool, typer.Option("--fail-if-absent", help="Exit 1 if an asked structure is not clearly present.")
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", metavar="SIZE", help="Memory to stay within, e.g. 2G or 800M.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one line per scan, instead of tables.")]


def segment(
    inputs: Inputs,
    prompt: Prompts = None,
    everything: Everything = False,
    anchor: Anchors = None,
    model: Model = None,
    output: Output = None,
    scheme: Annotated[Scheme, typer.Option(help="Label values to write.")] = Scheme.nomina,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Where OUT is no file.", show_default="nii.gz")
    ] = None,
    series: Series = None,
    skip_existing: SkipExisting = False,
    picture: Picture = False,
    device: Device = "auto",
    max_memory: MaxMemory = None,
    card: Card = None,
    card_paths: CardPaths = False,
    fail_if_absent: FailIfAbsent = False,
    as_json: AsJson = False,
) -> None:
    """Segment what the words name, in one scan or many.

    Writes a label map on the scan's own grid and a JSON file beside it, and prints a line per structure.
    """
    words = _asked_words(prompt, everything)
    from nomina.anatomy.schemes import load_scheme
    from nomina.cli.segment_jobs import Asked, plan_jobs
    from nomina.inference.plan import parse_size
    from nomina.networks.contract import recorded_digest
    from nomina.networks.shipped import checkpoint_folder, shipped_for

    model = model or shipped_for(words)
    limit_bytes = None if max_memory is None else parse_size(max_memory)
    folder = checkpoint_folder(model)
    work = plan_jobs(inputs, output, f".{file_format or Format.nifti}", card=card)
    if file_format and not work.jobs[0].label_map.name.endswith(file_format):
        raise typer.BadParameter(f"--format {file_format} contradicts {work.jobs[0].label_map.name}")
    if series and len(work.jobs) > 1:
        raise typer.BadParameter(f"--series goes with one INPUT, got {len(work.jobs)} scans")
    if series and skip_existing:
        raise typer.BadParameter("a result does not say which series it is of; leave --skip-existing out")
    _say_passed_over(work)
    anchors = _known_anchors(anchor or [], len(work.jobs))
    asked = Asked(tuple(words) if words else None, recorded_digest(folder), scheme, picture, anchors)
    waiting = _without_done(work, asked) if skip_existing else list(work.jobs)
    if waiting:
        from nomina.inference.segmenter import Segmenter

        segmenter = Segmenter.load(model, device=device)
        label_scheme = load_scheme(scheme)
        _require_values(segmenter.resolve(words), label_scheme)
        paths = folder if card_paths else None
        request = _Request(segmenter, words, label_scheme, picture, limit_bytes, paths, series, anchors)
        _segment_all(waiting, request, _print_json if as_json else _print_table)
    if fail_if_absent:
        _fail_if_absent(work.jobs)


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
    """What a table says beside a verdict: why it is not simply present, and what its score is not."""
    sentences = [verdict.reason] if verdict.presence != "present" else []
    if verdict.presence == "present" and verdict.is_partial:
        sentences.append("cut by the border of the scan")
    if not verdict.is_calibrated:
        sentences.append(UNCALIBRATED)
    return "; ".join(sentences)


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
    limit_bytes: int | None
    """Memory that the process may hold."""
    paths_of: Path | None
    """The checkpoint's folder, where run cards are to hold paths."""
    series_uid: str | None = None
    anchors: tuple[str, ...] = ()

    def carry_out(
        self, job: "Job", report: Callable[[float], None], say: Callable[[str], None]
    ) -> "Segmentation":
        from nomina.cli.run_card import run_card
        from nomina.imaging.read import read_volume
        from nomina.reporting.sidecar import in_scheme

        volume = read_volume(job.source, series_uid=self.series_uid)
        plan = self.segmenter.plan(volume, self.words, max_memory_bytes=self.limit_bytes)
        say(plan.sentence())
        if self.anchors:
            found = self.segmenter.anchored(volume, self.words, self.anchors, progress=report, plan=plan)
        else:
            found = self.segmenter(volume, self.words, progress=report, plan=plan)
        result = in_scheme(found, self.scheme)
        card = None
        if job.card is not None:
            card = run_card(result, scan=job.source, output=job.label_map, model_path=self.paths_of)
        job.write(result, picture_of=volume if self.has_picture else None, card=card)
        return result


def _require_values(asked: Sequence[str], scheme: "LabelScheme") -> None:
    """Refuse a scheme in which the label map would be empty whatever is found."""
    from nomina.anatomy.conversion import expressible
    from nomina.anatomy.schemes import load_scheme

    if not expressible(asked, load_scheme("nomina"), scheme):
        names = ", ".join(asked[:3]) + (", …" if len(asked) > 3 else "")
        raise SchemeError(
            f"{scheme.name} has a value for nothing that was asked ({names}), so the label map would be "
            f"empty; leave --scheme out, or ask for what it knows (`nomina labels list {scheme.name}`)"
        )


def _known_anchors(anchors: list[str], num_scans: int) -> tuple[str, ...]:
    """The anchors, each understood; a point in one scan is none in another."""
    from nomina.assessment.level_anchors import parse_anchor

    for words in anchors:
        if isinstance(parse_anchor(words).place, tuple) and num_scans > 1:
            raise typer.BadParameter(f"--anchor {words!r} is a place in one scan, got {num_scans} scans")
    return tuple(anchors)


def _without_done(work: "Work", asked: "Asked") -> "list[Job]":
    """The jobs without a result that answers what is asked; says which results do not."""
    from nomina.cli.segment_jobs import scan_name

    reasons = [(job, job.still_to_do(asked)) for job in work.jobs]
    for job, reason in reasons:
        if reason:
            typer.echo(f"{scan_name(job.source)} is segmented again: {reason}", err=True)
    waiting = [job for job, reason in reasons if reason is not None]
    if len(waiting) < len(work.jobs):
        num_done = len(work.jobs) - len(waiting)
        typer.echo(f"skipped {num_done} of {len(work.jobs)} scans that have a result", err=True)
    return waiting


def _say_passed_over(work: "Work") -> None:
    names = sorted(path.name for path in work.passed_over)
    if names:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        noun = "file that is no scan" if len(names) == 1 else "files that are no scans"
        typer.echo(f"passed over {len(names)} {noun}: {shown}", err=True)


def _fail_if_absent(jobs: "Sequence[Job]") -> None:
    """Exit 1 if a structure is absent, outside or uncertain in any result, those of earlier runs included."""
    from nomina.cli.segment_jobs import scan_name

    is_complete = True
    for job in jobs:
        if missing := job.not_present():
            is_complete = False
            typer.echo(f"not clearly present in {scan_name(job.source)}: {', '.join(missing)}", err=True)
    if not is_complete:
        raise typer.Exit(1)


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
        found = explain(phrase)
        for remark_on_words in (*found.corrections, *found.warnings):
            typer.echo(f"{phrase}: {remark_on_words}", err=True)
    return prompts


def _segment_all(
    jobs: "Sequence[Job]", request: _Request, show: "Callable[[Job, Segmentation], None]"
) -> None:
    """Carry out every job; one that fails does not stop the others and is named at the end."""
    failures: dict[Path, str] = {}
    with progress_bar(len(jobs)) as (bar, begin):

        def say(sentence: str) -> None:
            bar.stop()
            typer.echo(sentence, err=True)
            bar.start()

        for job in jobs:
            report = begin(job.source)
            try:
                result = request.carry_out(job, report, say)
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
    if not all(verdict.is_calibrated for verdict in result.verdicts):
        typer.echo(
            f"note: where the table says {UNCALIBRATED!r} (is_calibrated in the JSON file), scores rank "
            f"verdicts and are no probabilities",
            err=True,
        )
    for note in result.provenance.get("notes", ()):
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {job.label_map} and {job.sidecar.name}", err=True)


def _print_json(job: "Job", result: "Segmentation") -> None:
    from nomina.cli.segment_jobs import scan_name
    from nomina.reporting.sidecar import sidecar

    typer.echo(json.dumps(sidecar(result, source=scan_name(job.source)), ensure_ascii=False))
