"""`nomina segment`: scans and words → label maps, with a verdict per structure."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nomina.cli.options import Device, known_scheme, known_size
from nomina.cli.segment_report import print_json, print_table
from nomina.cli.segment_run import Request, segment_all
from nomina.errors import SchemeError

if TYPE_CHECKING:
    from nomina.anatomy.schemes import LabelScheme
    from nomina.cli.segment_jobs import Asked, Job, Work
    from nomina.cli.segment_regions import Regions


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
RegionsFile = Annotated[
    Path | None,
    typer.Option(
        "--regions",
        metavar="FILE",
        help='Label map on the scan\'s grid that names lobes, for words such as "right lower lobe arteries".',
    ),
]
RegionsScheme = Annotated[
    str | None,
    typer.Option(
        "--regions-scheme",
        help="Label scheme of --regions, e.g. totalsegmentator: a name or a .yaml file.",
        show_default="the JSON file beside it",
        callback=known_scheme,
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
WrittenScheme = Annotated[Scheme, typer.Option(help="Label values to write.")]
FileFormat = Annotated[
    Format | None, typer.Option("--format", help="Where OUT is no file.", show_default="nii.gz")
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
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Memory to stay within, e.g. 2G or 800M.",
        callback=known_size,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one line per scan, instead of tables.")]


def segment(
    inputs: Inputs,
    prompt: Prompts = None,
    everything: Everything = False,
    anchor: Anchors = None,
    regions: RegionsFile = None,
    regions_scheme: RegionsScheme = None,
    model: Model = None,
    output: Output = None,
    scheme: WrittenScheme = Scheme.nomina,
    file_format: FileFormat = None,
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
    model = _model_for(words, model)
    from nomina.anatomy.schemes import load_scheme
    from nomina.cli.segment_jobs import Asked, plan_jobs
    from nomina.inference.plan import parse_size
    from nomina.networks.contract import recorded_digest
    from nomina.networks.shipped import checkpoint_folder

    limit_bytes = None if max_memory is None else parse_size(max_memory)
    folder = checkpoint_folder(model)
    work = plan_jobs(inputs, output, f".{file_format or Format.nifti}", card=card)
    _refuse_contradictions(work, file_format, series, skip_existing)
    _say_passed_over(work)
    anchors = _known_anchors(anchor or [], len(work.jobs))
    given = _regions(words, regions, regions_scheme, len(work.jobs))
    asked = Asked(
        tuple(words) if words else None,
        recorded_digest(folder),
        scheme,
        picture,
        anchors,
        None if given is None else given.described,
    )
    waiting = _without_done(work, asked) if skip_existing else list(work.jobs)
    if waiting:
        from nomina.inference.segmenter import Segmenter

        segmenter = Segmenter.load(model, device=device)
        label_scheme = load_scheme(scheme)
        _require_values(segmenter.resolve(words), label_scheme)
        paths = folder if card_paths else None
        request = Request(segmenter, words, label_scheme, picture, limit_bytes, paths, series, anchors, given)
        segment_all(waiting, request, print_json if as_json else print_table)
    if fail_if_absent:
        _fail_if_absent(work.jobs)


def _asked_words(prompts: list[str] | None, everything: bool) -> list[str] | None:
    """The phrases; None for every structure of the model."""
    if everything and prompts:
        raise typer.BadParameter("give --prompt or --all, not both")
    if everything:
        return None
    if not prompts:
        raise typer.BadParameter(
            "no structure was asked for; name at least one with -p, for example -p 'L4 vertebra', "
            "or give --all for every structure that the model knows"
        )
    return prompts


def _model_for(words: list[str] | None, model: str | None) -> str:
    """The checkpoint that is meant, once every phrase is known to name something that it knows.

    All phrases that do not are refused together; how the others were read is said on stderr.
    """
    from nomina.anatomy.resolve import explain_all
    from nomina.networks.shipped import nameable_of, shipped_for

    chosen = model or shipped_for(words)
    if words is None:
        return chosen
    for found in explain_all(words, within=None if model is None else nameable_of(model)):
        for sentence in (*found.corrections, *found.warnings):
            typer.echo(f"{found.text}: {sentence}", err=True)
    return chosen


def _refuse_contradictions(
    work: "Work", file_format: Format | None, series: str | None, skip_existing: bool
) -> None:
    if file_format and not work.jobs[0].label_map.name.endswith(file_format):
        raise typer.BadParameter(f"--format {file_format} contradicts {work.jobs[0].label_map.name}")
    if series and len(work.jobs) > 1:
        raise typer.BadParameter(f"--series goes with one INPUT, got {len(work.jobs)} scans")
    if series and skip_existing:
        raise typer.BadParameter("a result does not say which series it is of; leave --skip-existing out")


def _say_passed_over(work: "Work") -> None:
    names = sorted(path.name for path in work.passed_over)
    if names:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        noun = "file that is no scan" if len(names) == 1 else "files that are no scans"
        typer.echo(f"passed over {len(names)} {noun}: {shown}", err=True)


def _known_anchors(anchors: list[str], num_scans: int) -> tuple[str, ...]:
    """The anchors, each understood; a point in one scan is none in another."""
    from nomina.assessment.level_anchors import parse_anchor

    for words in anchors:
        if isinstance(parse_anchor(words).place, tuple) and num_scans > 1:
            raise typer.BadParameter(f"--anchor {words!r} is a place in one scan, got {num_scans} scans")
    return tuple(anchors)


def _regions(
    words: list[str] | None, path: Path | None, scheme: str | None, num_scans: int
) -> "Regions | None":
    """What the words lie inside of, read and known to name it; None where nothing needs any."""
    from nomina.anatomy.resolve import resolve_targets
    from nomina.cli.segment_regions import read_regions
    from nomina.inference.regions import require_named

    if scheme and path is None:
        raise typer.BadParameter("--regions-scheme says what the values of --regions mean; give both")
    if path is not None and num_scans > 1:
        raise typer.BadParameter(f"--regions goes with one INPUT, got {num_scans} scans")
    targets = resolve_targets(words) if words else ()
    given = None if path is None else read_regions(path, scheme, targets)
    require_named(targets, None if given is None else given.label_map.names.values())
    return given


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
