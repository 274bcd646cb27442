"""Read a scan, whatever its format, as a `Volume`."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
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


def read_volume(path: Path | str, *, series_uid: str | None = None) -> Volume:
    """Read one scan.

    Args:
        path: A NIfTI, MetaImage or NRRD file, a folder or .zip with one DICOM series, or a multi-frame DICOM
            file.
        series_uid: SeriesInstanceUID of the DICOM series to read, where several lie together.

    Returns:
        Intensities in the file's own axis order on a RAS+ grid in mm. Integers stay integers where
        the file's scaling allows; `notes` says what had to be interpreted. Modality and
        sequence are known from DICOM only.

    Raises:
        VolumeError: The file is missing, damaged or not one 3D volume, its header contradicts itself, or
            `series_uid` is given for a file that is not DICOM.
        DicomError: The DICOM series is incomplete, mixed or unreadable.
    """
    path = Path(path)
    try:
        volume = _read(path, series_uid)
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


@dataclass(frozen=True)
class FoundVolumes:
    """What files and folders hold."""

    paths: tuple[Path, ...]
    """Each is one that `read_volume` takes; in the order given, those of one folder sorted by name."""
    others: tuple[Path, ...]
    """Files in the folders that are no volumes: passed over."""


def find_volumes(inputs: Sequence[Path]) -> FoundVolumes:
    """The volumes that files and folders stand for.

    A folder is searched with its subfolders. Each folder with DICOM files directly in it stands for one
    series; NIfTI, MetaImage, NRRD and .zip files stand for themselves. A file, or a folder in which
    nothing is found, stays as it is: reading it says what is wrong. Hidden entries do not count.
    """
    paths: list[Path] = []
    others: list[Path] = []
    for source in inputs:
        found = FoundVolumes((), ())
        if source.is_dir():
            found = _volumes_in(source, frozenset())
        paths += found.paths or [source]
        others += found.others
    return FoundVolumes(tuple(paths), tuple(others))


def _volumes_in(folder: Path, above: frozenset[Path]) -> FoundVolumes:
    """`above` are the folders that hold this one: a link back to one of them is not followed."""
    above |= {folder.resolve()}
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    subfolders = [entry for entry in entries if entry.is_dir() and entry.resolve() not in above]
    files = [entry for entry in entries if entry.is_file()]
    volumes = [entry for entry in files if _suffix(entry) or entry.suffix.lower() == ".zip"]
    is_series = any(is_dicom_file(entry) for entry in files if entry not in volumes)
    # `read_series` counts the files of a series folder that are no images, so they are not named here.
    others = [] if is_series else [entry for entry in files if not _belongs_to(entry, volumes)]
    below = [_volumes_in(entry, above) for entry in subfolders]
    return FoundVolumes(
        tuple(sorted([*volumes, *([folder] if is_series else []), *(p for f in below for p in f.paths)])),
        tuple(sorted([*others, *(path for found in below for path in found.others)])),
    )


def _belongs_to(path: Path, volumes: Sequence[Path]) -> bool:
    """Whether a file is a volume, or the voxels of a header beside it."""
    return path in volumes or any(path.with_suffix(suffix) in volumes for suffix in (".mhd", ".nhdr"))


def is_volume_name(path: Path) -> bool:
    """True when the name ends like that of a NIfTI, MetaImage or NRRD file."""
    return _suffix(path) is not None


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in _READERS if path.name.lower().endswith(suffix)), None)


def _read(path: Path, series_uid: str | None) -> Volume:
    if path.is_dir():
        return read_series(path, series_uid)
    if not path.exists():
        raise VolumeError("no such file or folder; check the name", code="missing-file")
    if not path.is_file():
        raise VolumeError("this is a pipe or a device, expected a file; give a file", code="not-a-file")
    if path.stat().st_size == 0:
        raise VolumeError("the file is empty; copy or export it again", code="empty-file")
    if suffix := _suffix(path):
        if series_uid is not None:
            raise VolumeError(
                "only DICOM has series, this is another file; give no series", code="no-such-series"
            )
        return _READERS[suffix](path)
    if path.suffix.lower() == ".zip":
        return _read_zip(path, series_uid)
    if is_dicom_file(path):
        return read_series([path], series_uid)
    raise VolumeError(f"this is not a volume that nomina reads; expected {_SUPPORTED}", code="unknown-format")


def _read_zip(path: Path, series_uid: str | None) -> Volume:
    with tempfile.TemporaryDirectory(prefix="nomina-") as folder:
        num_skipped = extract_dicom(path, Path(folder))
        volume = read_series(Path(folder), series_uid)
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
