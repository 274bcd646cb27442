"""`nomina demo`: the main job on a phantom with known truth, or on any scan."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nomina.cli.options import Device
from nomina.cli.segment_report import print_level_note, remark
from nomina.cli.segment_run import progress_bar
from nomina.cli.tables import print_lines
from nomina.errors import OutputError, VolumeError

if TYPE_CHECKING:
    from nomina.imaging.segmentation import Segmentation
    from nomina.imaging.volume import LabelMap

WORDS = ("L4 vertebra", "L4-5 disk", "spinal canal", "all lumbar discs", "tenth thoracic vertebra")
"""What is asked for; the phantom ends below the last one, so that it is not there."""

SEED = 1
"""Seed of the phantom [choice: nothing unusual about it]."""


def demo(
    scan: Annotated[
        Path | None, typer.Argument(help="Any scan.", show_default="a phantom with known truth")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where files go.")] = Path(
        "demo"
    ),
    model: Annotated[str, typer.Option("-m", "--model", help="Checkpoint: name or folder.")] = "spine-mr",
    device: Device = "auto",
) -> None:
    """Segment a phantom with known truth, or any scan, and draw a picture.

    Writes the label map, a JSON file and an overlay picture, and prints a line per structure; for the phantom
    with its Dice against the truth.
    """
    from nomina.cli.segment_jobs import plan_jobs
    from nomina.imaging.read import read_volume
    from nomina.inference.segmenter import Segmenter

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output} cannot be made: {error.strerror}; choose another folder") from error
    truth = None
    if scan is None:
        scan = output / "phantom.nii.gz"
        truth = write_phantom(scan)
    job, *others = plan_jobs([scan], output, ".nii.gz").jobs
    if others:
        raise VolumeError(f"{scan} holds {len(others) + 1} scans; give one, or use `nomina segment`")
    volume = read_volume(job.source)
    typer.echo(f"{job.source}: {volume.grid}", err=True)
    segmenter = Segmenter.load(model, device=device)
    begun = time.perf_counter()
    with progress_bar(1) as (_, begin):
        result = segmenter(volume, WORDS, progress=begin(job.source))
    duration_s = time.perf_counter() - begun
    job.write(result, picture_of=volume)
    _print_found(result, truth)
    typer.echo(f"\nsegmented in {duration_s:.1f} s from the words: {', '.join(WORDS)}")
    for what, path in (("label map", job.label_map), ("JSON", job.sidecar), ("picture", job.picture)):
        typer.echo(f"{what:<9}  {path}")


def write_phantom(path: Path) -> "LabelMap":
    """Write the demo's scan, a lumbar T2-like phantom from S1 to T12; returns its truth."""
    from nomina.imaging.write import write
    from nomina.phantoms.plan import SpineConfig
    from nomina.phantoms.render import render
    from nomina.phantoms.spine import sample_spine

    ordinary = SpineConfig(
        num_lumbar=((5, 1.0),),
        degeneration=(0.2, 0.5),
        scoliosis_probability=0.0,
        listhesis_probability=0.0,
        fracture_probability=0.0,
        schmorl_probability=0.0,
        lesion_probability=0.0,
        top_level=(6.6, 6.8),
        below_s1_mm=(60.0, 70.0),
        sacrum_cut_probability=0.0,
        thin_slices_probability=0.0,
        depth_mm=(200.0, 220.0),
        in_plane_mm=(0.65, 0.7),
        num_slices=(15, 15),
    )
    phantom = sample_spine(SEED, ordinary)
    write(render(phantom, SEED, "t2"), path)
    return phantom.label_map


def _print_found(result: "Segmentation", truth: "LabelMap | None") -> None:
    rows = [("structure", "verdict", "score", "volume_ml", "dice" if truth else "", "remark")]
    for verdict in result.verdicts:
        score, volume = f"{verdict.score:.2f}", f"{verdict.volume_ml:.1f}"
        dice = _dice(result.label_map, truth, verdict.structure) if truth else ""
        rows.append((verdict.structure, verdict.presence, score, volume, dice, remark(verdict)))
    print_lines(rows, right_aligned=(2, 3, 4))
    print_level_note(result)


def _dice(label_map: "LabelMap", truth: "LabelMap", name: str) -> str:
    """Dice against the truth; a dash where the truth has no such structure, as nothing was to be found."""
    from nomina.assessment.metrics.overlap import dice

    if name not in truth.present():
        return "–"
    return f"{dice(label_map.mask(name), truth.mask(name)):.3f}"
