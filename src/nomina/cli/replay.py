"""`nomina replay`: make a label map again from its run card, and say whether it is the same."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nomina.errors import VolumeError

if TYPE_CHECKING:
    from nomina.imaging.volume import LabelMap


def replay(
    card: Annotated[
        Path, typer.Argument(metavar="CARD", help="Run card that `nomina segment --card` wrote.")
    ],
    scan: Annotated[
        Path | None,
        typer.Option(help="The scan, where it lies neither beside the card nor in the current folder."),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(help="The label map of its --regions, where it lies at none of these places either."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="The checkpoint, where the card's name does not find it."),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(
            metavar="UID", help="Which DICOM series, where the scan holds several: not in the card."
        ),
    ] = None,
) -> None:
    """Make a label map again from its run card, and say what differs.

    Exits 1 if anything differs. The same scan, checkpoint and versions give the same mask bit for bit on a
    CPU of the same kind.
    """
    from nomina.cli.run_card import changed_versions, read_card, scan_sha256, voxels_sha256
    from nomina.networks.contract import recorded_digest
    from nomina.networks.shipped import checkpoint_folder

    said = read_card(card)
    source = _input(card, said, scan)
    if said.get("regions"):
        regions = _input(card, said, regions, "regions")
    elif regions is not None:
        raise typer.BadParameter("the card was written without regions; leave --regions out")
    folder = checkpoint_folder(model or said["model"].get("path") or said["model"]["name"])
    others = _other("scan", said["scan"]["sha256"], scan_sha256(source))
    if regions is not None:
        others += _other("file of regions", said["regions"]["sha256"], scan_sha256(regions))
    others += _other("checkpoint", said["model"]["digest"], recorded_digest(folder))
    if others:
        _fail([*others, *changed_versions(said)], "not made again")
    versions = changed_versions(said)
    label_map, cpu = _made_again(said, source, folder, series, regions)
    if voxels_sha256(label_map.array) == said["output"]["voxels_sha256"]:
        typer.echo(f"{said['output']['name']}: the same in all {label_map.array.size} voxels, bit for bit")
        if versions:
            _fail(versions, "made again with other versions")
        return
    if cpu != said["machine"]["cpu"]:
        versions.append(f"the processor calculates in {cpu} here, the card says {said['machine']['cpu']}")
    _fail([_difference(card, said, label_map), *versions], "not the same")


def _fail(differences: list[str], outcome: str) -> None:
    for difference in differences:
        typer.echo(f"differs: {difference}", err=True)
    typer.echo(outcome, err=True)
    raise typer.Exit(1)


def _other(what: str, said: str, found: str | None) -> list[str]:
    return [] if said == found else [f"another {what}: sha256 {found}, the card says {said}"]


def _input(card: Path, said: Mapping[str, Any], given: Path | None, part: str = "scan") -> Path:
    name = said[part]["name"]
    places = [given] if given else [Path(said[part].get("path", name)), card.parent / name, Path(name)]
    for place in places:
        if place.exists():
            return place
    raise VolumeError(
        f"the file of the {part}, {given or name}, is not there; give its place with --{part}",
        code="missing-file",
    )


def _made_again(
    said: Mapping[str, Any], source: Path, folder: Path, series_uid: str | None, regions: Path | None
) -> "tuple[LabelMap, str]":
    """The label map, and what the processor calculates in."""
    from nomina.anatomy.schemes import load_scheme
    from nomina.cli.segment_regions import regions_again
    from nomina.imaging.read import read_volume
    from nomina.inference.plan import MemoryPlan
    from nomina.inference.segmenter import Segmenter
    from nomina.reporting.sidecar import in_scheme

    machine, memory, asked = said["machine"], said["memory"], said["asked"]
    segmenter = Segmenter.load(folder, device=machine["device"])
    volume = read_volume(source, series_uid=series_uid)
    plan = segmenter.plan(volume, asked["prompts"])
    if isinstance(plan, MemoryPlan):
        plan = replace(plan, look_batch=memory["look_batch"], slice_batch=memory["slice_batch"])
    # Sums are taken in another order by another number of threads, and in batches of another size.
    with _threads(machine["threads"]):
        # Cards of before there were anchors have none.
        if anchors := asked.get("anchors"):
            found = segmenter.anchored(volume, asked["prompts"], anchors, mode=asked["mode"], plan=plan)
        else:
            given = None if regions is None else regions_again(regions, said["regions"])
            found = segmenter(volume, asked["prompts"], mode=asked["mode"], plan=plan, regions=given)
    return in_scheme(found, load_scheme(asked["scheme"])).label_map, found.provenance["machine"]["cpu"]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _difference(card: Path, said: Mapping[str, Any], label_map: "LabelMap") -> str:
    """In how many voxels the mask differs from the file beside the card, where that is still the card's."""
    from nomina.cli.run_card import voxels_sha256
    from nomina.imaging.read import read_label_array

    path = card.parent / said["output"]["name"]
    if not path.exists():
        return f"the mask (in how many voxels, {path.name} beside the card would tell)"
    array, _ = read_label_array(path)
    if array.shape != label_map.array.shape:
        return f"the mask, which has {label_map.array.shape} voxels; {path.name} has {array.shape}"
    altered = "" if voxels_sha256(array) == said["output"]["voxels_sha256"] else ", which was altered since"
    num_voxels = int((array != label_map.array).sum())
    return f"the mask in {num_voxels} of {array.size} voxels from {path.name}{altered}"
