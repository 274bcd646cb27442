"""Write volumes and label maps: NIfTI, MHA, NRRD."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from isal import igzip
from jaxtyping import Num

from nomina.errors import OutputError
from nomina.imaging.files import atomic_path, write_bytes_atomic
from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import to_sitk
from nomina.imaging.nifti import FORM_TOLERANCE_MM, form_gap_mm
from nomina.imaging.volume import LabelMap, Volume

WRITE_SUFFIXES = (".nii", ".nii.gz", ".mha", ".nrrd")
"""Suffixes that `write` knows; they choose the format."""

_SCANNER = 1
"""NIfTI code for both forms: scanner coordinates [choice: a result lies in the space of its scan]."""

_GZIP_LEVEL = 2
"""isal's own default [choice: a third of zlib's time at about its level-1 size]."""


def write(image: Volume | LabelMap, path: Path | str) -> None:
    """Write a volume or a label map in its own geometry; the file appears whole or not at all.

    Label maps are stored in the smallest unsigned type that holds their values; NIfTI label maps carry
    intent 1002 (label). In NIfTI the sform is exact; the qform says the same to its own rounding.

    Args:
        image: What to write.
        path: File name; its suffix (.nii, .nii.gz, .mha or .nrrd) chooses the format. The folder must exist.

    Raises:
        OutputError: The suffix is unknown, the folder is missing or cannot be written to, or the voxels do
            not fit the format.
    """
    path = Path(path)
    suffix = next((suffix for suffix in reversed(WRITE_SUFFIXES) if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise OutputError(
            f"{path} cannot be written: expected a name that ends in {', '.join(WRITE_SUFFIXES)}"
        )
    array = _storable(image)
    if suffix.startswith(".nii"):
        data = _nifti_bytes(array, image.grid, is_label_map=isinstance(image, LabelMap))
        compressed = igzip.compress(data, compresslevel=_GZIP_LEVEL, mtime=0) if suffix == ".nii.gz" else data
        write_bytes_atomic(path, compressed)
        return
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(to_sitk(array, image.grid), str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OutputError(
                f"{path} cannot be written: check the folder's permissions and free space"
            ) from error


def _storable(image: Volume | LabelMap) -> Num[np.ndarray, "i j k"]:
    """The voxels in a type that every format and common reader knows."""
    array = image.array
    if isinstance(image, LabelMap):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > np.iinfo(np.uint32).max:
            raise OutputError(
                f"label values must lie between 0 and 2^32 - 1, got {low} to {high}; renumber them"
            )
        return array.astype(np.min_scalar_type(high))
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype({2: np.float32, 4: np.float32}.get(array.dtype.itemsize, np.float64))
    if array.dtype.itemsize == 8:
        narrow = np.promote_types(np.min_scalar_type(array.min()), np.min_scalar_type(array.max()))
        if narrow.itemsize == 8:
            raise OutputError("intensities exceed 32-bit integers; convert the volume to floats first")
        return array.astype(narrow)
    return array


def _nifti_bytes(array: Num[np.ndarray, "i j k"], grid: Grid, *, is_label_map: bool) -> bytes:
    if max(array.shape) > np.iinfo(np.int16).max:
        raise OutputError(
            f"NIfTI-1 holds at most 32767 voxels along an axis, got {array.shape}; write .nrrd instead"
        )
    image: Any = nib.Nifti1Image(array, grid.affine)
    image.set_sform(grid.affine, _SCANNER)
    image.set_qform(grid.affine, _SCANNER)
    if form_gap_mm(image.header, array.shape) > FORM_TOLERANCE_MM:
        # A quaternion cannot express the grid's slight shear; without a qform every reader uses the sform.
        image.set_qform(grid.affine, 0)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"nomina"
    if is_label_map:
        image.header.set_intent("label", name="nomina")
    return image.to_bytes()
