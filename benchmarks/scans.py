"""Scans with references for the suites here, pieces of them, and their segmentations, each made once."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nomina.anatomy.schemes import read_label_map, sidecar_path
from nomina.imaging.read import read_volume
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write
from nomina.inference.segmenter import Segmenter
from nomina.phantoms.contrasts import Contrast
from nomina.phantoms.render import phantom_case
from nomina.reporting.sidecar import write_sidecar


def real_scans(
    images: Path | None, references: Path | None, patients: Sequence[str]
) -> Iterator[tuple[str, Volume, LabelMap]]:
    """Name, scan and reference (SPIDER scheme) of each patient's scans, on canonical axes.

    Args:
        images: Folder of scans whose names begin with the patient; None: no scans.
        references: Folder of label maps of the same names.
        patients: Which patients; empty: all.
    """
    for path in sorted(images.iterdir()) if images else ():
        if references is not None and (not patients or path.name.split("_")[0] in patients):
            reference = read_label_map(references / path.name, scheme="spider")
            yield path.name.split(".")[0], read_volume(path).canonical(), reference.canonical()


def phantoms(seed: int, count: int, contrast: Contrast = "random") -> Iterator[tuple[str, Volume, LabelMap]]:
    """Name, scan and reference of phantoms, on canonical axes."""
    for number in range(seed, seed + count):
        volume, reference = phantom_case(number, contrast)
        name = f"phantom_{number:05d}" + ("" if contrast == "random" else f"_{contrast}")
        yield name, volume.canonical(), reference.canonical()


def rows_of(volume: Volume, reference: LabelMap, first: int, last: int) -> tuple[Volume, LabelMap]:
    """The rows `first` … `last` − 1 of a canonical scan's height, and of its reference."""
    box = slice(None), slice(None), slice(first, last)
    return volume.cropped(box), reference.cropped(box)


def middle_slices(volume: Volume, reference: LabelMap, count: int | None) -> tuple[Volume, LabelMap]:
    """The `count` middle sagittal slices of a canonical scan and its reference; None: all."""
    num_slices = volume.grid.shape[0]
    if count is None or count >= num_slices:
        return volume, reference
    first = (num_slices - count) // 2
    box = slice(first, first + count), slice(None), slice(None)
    return volume.cropped(box), reference.cropped(box)


def segmented(segmenter: Segmenter, volume: Volume, name: str, folder: Path | None) -> Segmentation:
    """Everything that the model knows in one scan; taken from `folder` where it lies there already.

    What lies there is taken only if the same checkpoint made it from the same voxels. It does not know when
    the code that segments has changed: begin with an empty folder then.
    """
    if folder is None:
        return segmenter(volume, None)
    path = folder / f"{name}.nii.gz"
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).tobytes()).hexdigest()
    if sidecar_path(path).exists():
        said = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        if said["source"] == digest and said["model"]["digest"] == segmenter.checkpoint.digest:
            verdicts = tuple(Verdict(**verdict) for verdict in said["verdicts"])
            return Segmentation(read_label_map(path).canonical(), verdicts)
    folder.mkdir(parents=True, exist_ok=True)
    found = segmenter(volume, None)
    write(found.label_map, path)
    write_sidecar(found, path, source=digest)
    return found
