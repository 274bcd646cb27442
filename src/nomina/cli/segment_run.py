"""The work of `nomina segment`: scan after scan, with a bar, and what failed at the end."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nomina.errors import NominaError

if TYPE_CHECKING:
    from rich.progress import Progress

    from nomina.anatomy.schemes import LabelScheme
    from nomina.cli.segment_jobs import Job
    from nomina.cli.segment_regions import Regions
    from nomina.imaging.segmentation import Segmentation
    from nomina.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
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
    regions: "Regions | None" = None

    def carry_out(
        self, job: "Job", report: Callable[[float], None], say: Callable[[str], None]
    ) -> "Segmentation":
        """Segment one scan and write what was asked for.

        Args:
            job: The scan, and where its results go.
            report: Called with the share done, 0 to 1.
            say: Called with a sentence about the memory that it will take, and about each fault of the scan
                and each new folder.
        """
        from nomina.cli.run_card import run_card
        from nomina.imaging.read import read_volume
        from nomina.reporting.sidecar import in_scheme

        volume = read_volume(job.source, series_uid=self.series_uid)
        plan = self.segmenter.plan(volume, self.words, max_memory_bytes=self.limit_bytes)
        say(plan.sentence())
        if self.anchors:
            found = self.segmenter.anchored(volume, self.words, self.anchors, progress=report, plan=plan)
        else:
            regions = None if self.regions is None else self.regions.label_map
            found = self.segmenter(volume, self.words, progress=report, plan=plan, regions=regions)
        if self.regions is not None:
            found = replace(found, provenance={**found.provenance, "regions": self.regions.described})
        for fault in found.provenance.get("findings", ()):
            say(f"warning: {fault['sentence']} {fault['remedy']} [{fault['code']}]")
        result = in_scheme(found, self.scheme)
        card = None
        if job.card is not None:
            card = run_card(result, scan=job.source, output=job.label_map, model_path=self.paths_of)
            if self.regions is not None and self.paths_of is not None:
                card["regions"]["path"] = str(self.regions.path.resolve())
        new_folders = job.missing_folders()
        job.write(result, picture_of=volume if self.has_picture else None, card=card)
        for path in new_folders:
            say(f"made folder {path}")
        return result


def segment_all(jobs: "Sequence[Job]", request: Request, show: "Callable[[Job, Segmentation], None]") -> None:
    """Carry out every job; one that fails does not stop the others and is named at the end.

    Args:
        jobs: The scans.
        request: What is asked of each.
        show: Prints a result.

    Raises:
        Exit: Scans failed, among several; with code 1.
        NominaError: The only scan failed.
    """
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
