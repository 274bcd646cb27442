"""Read a scan, whatever its format, as a `Volume`."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from nomina.errors import DicomError, GridMismatchError, VolumeError
from nomina.imaging.dicom_series import is_dicom_file, read_series
from nomina.imaging.dicom_zip import extract_dicom
from nomina.imaging.grid import Grid
from nomina.imaging.metaimage import read_metaimage
from nomina.imaging.nifti import read_nifti
from nomina.imaging.nrrd import read_nrrd
from nomina.imaging.volume import Volume

_READERS = {
    ".nii.gz": read_nifti,
    ".nii": read_nifti,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
}

_SUPPORTED = f"{', '.join(_READERS)}, a DICOM folder, a .zip of a DICOM series or a multi-frame DICOM file"


def read_volume(path: Path | str) -> Volume:
    """Read one scan.

    Args:
        path: A NIfTI, MetaImage or NRRD file, a folder or .zip with one DICOM series, or a multi-frame DICOM
            file.

    Returns:
        Intensities in the file's own axis order on a RAS+ grid in mm. Integers stay integers where
        the file's scaling allows; `notes` says what had to be interpreted. Modality and
        sequence are known from DICOM only.

    Raises:
        VolumeError: The file is missing, damaged or not one 3D volume, or its header contradicts itself.
        DicomError: The DICOM series is incomplete, mixed or unreadable.
    """
    path = Path(path)
    try:
        volume = _read(path)
        _check_is_3d(volume.grid)
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read: {error.strerror or error}; check the name and permissions",
            code="no-access",
        ) from error
    except MemoryError as error:
        raise VolumeError(
            f"{path} needs more memory than there is; cut the scan into parts, or use a larger machine",
            code="no-memory",
        ) from error
    except (VolumeError, GridMismatchError) as error:
        kind = DicomError if isinstance(error, DicomError) else VolumeError
        raise kind(f"{path}: {error}", code=getattr(error, "code", "unreadable")) from error
    return volume


def read_label_array(path: Path | str) -> tuple[Integer[np.ndarray, "i j k"], Grid]:
    """Read label numbers without names; `LabelMap` adds the names of a scheme.

    Args:
        path: As for `read_volume`.

    Returns:
        The values, as integers in the file's own axis order, and where they are.

    Raises:
        VolumeError: As for `read_volume`, or a value is not a whole number.
    """
    volume = read_volume(path)
    array = volume.array
    if array.dtype.kind == "f":
        whole = np.rint(array)
        fractional = int((whole != array).sum())
        if fractional:
            raise VolumeError(
                f"{path}: {fractional} voxels are not whole numbers, expected labels; give a label file, "
                f"resampled by nearest neighbour only",
                code="fractional-labels",
            )
        if np.abs(whole).max() > np.iinfo(np.int32).max:
            raise VolumeError(
                f"{path}: values reach {np.abs(whole).max():g}, too large for labels; give a label file",
                code="too-large-labels",
            )
        array = whole.astype(np.int32)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array, volume.grid


def volume_paths(inputs: Sequence[Path]) -> list[Path]:
    """The volumes that files and folders stand for, each a path that `read_volume` takes.

    A folder with DICOM files in it stands for one series, and so does each of its subfolders with DICOM
    files; its NIfTI, MetaImage and NRRD files stand for themselves. A file, or a folder in which nothing is
    found, stays as it is: reading it says what is wrong.

    Returns:
        Paths in the order given, those of one folder sorted by name.
    """
    return [
        path for source in inputs for path in (_volumes_in(source) if source.is_dir() else []) or [source]
    ]


def _volumes_in(folder: Path) -> list[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.is_file() and _suffix(entry)]
    series = [entry for entry in [folder, *entries] if entry.is_dir() and _holds_dicom(entry)]
    return sorted(files + series)


def _holds_dicom(folder: Path) -> bool:
    return any(is_dicom_file(entry) for entry in sorted(folder.iterdir()) if entry.is_file())


def is_volume_name(path: Path) -> bool:
    """True when the name ends like that of a NIfTI, MetaImage or NRRD file."""
    return _suffix(path) is not None


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in _READERS if path.name.lower().endswith(suffix)), None)


def _read(path: Path) -> Volume:
    if path.is_dir():
        return read_series(path)
    if not path.exists():
        raise VolumeError("no such file or folder; check the name", code="missing-file")
    if not path.is_file():
        raise VolumeError("this is a pipe or a device, expected a file; give a file", code="not-a-file")
    if path.stat().st_size == 0:
        raise VolumeError("the file is empty; copy or export it again", code="empty-file")
    if suffix := _suffix(path):
        return _READERS[suffix](path)
    if path.suffix.lower() == ".zip":
        return _read_zip(path)
    if is_dicom_file(path):
        return read_series([path])
    raise VolumeError(f"this is not a volume that nomina reads; expected {_SUPPORTED}", code="unknown-format")


def _read_zip(path: Path) -> Volume:
    with tempfile.TemporaryDirectory(prefix="nomina-") as folder:
        num_skipped = extract_dicom(path, Path(folder))
        volume = read_series(Path(folder))
    if not num_skipped:
        return volume
    return replace(
        volume, notes=(*volume.notes, f"Skipped {num_skipped} member(s) of the zip that are not DICOM.")
    )


def _check_is_3d(grid: Grid) -> None:
    if min(grid.shape) < 2:
        raise VolumeError(
            f"expected a 3D volume, got a single slice of shape {grid.shape}; give the whole stack of slices",
            code="two-dimensional",
        )
