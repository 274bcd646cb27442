"""One DICOM series as a volume.

Headers and pixels by pydicom; where each frame lies is settled in `dicom_frames.py`.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Num
from pydicom.pixels import get_decoder

from nomina.errors import DicomError
from nomina.imaging.dicom_file import check_header, check_pixels, check_tail, open_dicom
from nomina.imaging.dicom_frames import (
    DRIFT_TOLERANCE_MM,
    Frame,
    check_alike,
    frames_of,
    image_type,
    stack_grid,
    stacked,
)
from nomina.imaging.dicom_sequence import SEQUENCE_TAGS, mr_sequence
from nomina.imaging.rescale import rescaled
from nomina.imaging.volume import Volume

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "PhotometricInterpretation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *SEQUENCE_TAGS,
]  # fmt: skip
"""All that is read of a header; nothing in it names the patient."""

_FIRST_TAGS = (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")
"""Files without a preamble start with group length, character set or image type."""

_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}

_NOT_SCANS = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "PR", "SR", "KO", "REG", "DOC", "PLAN", "FID", "RWV"}


def looks_like_dicom(start: bytes) -> bool:
    """True when the first 132 bytes of a file are those of a DICOM file, with or without its preamble."""
    return start[128:132] == b"DICM" or start[:4] in _FIRST_TAGS


def is_dicom_file(path: Path) -> bool:
    """True when a file's first bytes are those of a DICOM file; False where it cannot be read."""
    try:
        if not path.is_file():  # Opening a pipe would wait for ever.
            return False
        with path.open("rb") as file:
            return looks_like_dicom(file.read(132))
    except OSError:
        return False


def read_series(source: Path | str | Sequence[Path], series_uid: str | None = None) -> Volume:
    """Read the one scan series in a folder or among files; classic slices and enhanced multi-frame files.

    Localizers and files that are not images are left out and counted in the notes.

    Args:
        source: A folder (its subfolders are not searched), or the files.
        series_uid: SeriesInstanceUID of the series to read, where there are several.

    Returns:
        Rescaled intensities (Hounsfield units for CT), axes i along rows, j along columns, k along the
        slices, with modality and, for MR, the weighting where it is clear. Air is dark: grey values that are
        stored inverted (MONOCHROME1) are turned, values with a physical unit stay, and the notes say which.

    Raises:
        DicomError: No series or several, a file is damaged, slices are missing, repeated, shifted (gantry
            tilt) or differ in size, orientation, spacing or in what is white, or pixels cannot be decoded.
    """
    files = sorted(Path(source).iterdir()) if isinstance(source, (str, Path)) else list(source)
    headers, notes = _scan_headers(files)
    if series_uid is not None:
        headers = _one_series(headers, series_uid)
    headers = _without_localizers(headers, notes)
    headers = _one_series(headers, series_uid)
    frames = [frame for path, header in headers for frame in frames_of(path, header)]
    check_alike(frames)
    frames, step_mm = stacked(frames)
    first = headers[0][1]
    declared_mm = first.get("SpacingBetweenSlices")
    if declared_mm and abs(step_mm - abs(declared_mm)) > 2 * DRIFT_TOLERANCE_MM:
        notes.append(
            f"Slices lie {step_mm:.4g} mm apart by their positions, which were used; the header "
            f"says {abs(declared_mm):.4g} mm."
        )
    array = _voxels(frames)
    if _is_inverted(headers):
        array = _turned(array, frames, first.get("Modality"), notes)
    return Volume(
        array,
        stack_grid(frames, step_mm),
        modality=first.get("Modality") or None,
        sequence=mr_sequence(first) if first.get("Modality") == "MR" else None,
        notes=tuple(notes),
    )


@contextmanager
def _tolerant() -> Iterator[None]:
    """Header values that break the standard but matter nowhere here pass without a warning."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _scan_headers(files: Sequence[Path]) -> tuple[list[tuple[Path, Any]], list[str]]:
    """Headers of the files that hold scan images, and notes on the others."""
    headers, num_foreign, others = [], 0, Counter[str]()
    for path in files:
        if path.is_dir() or path.name.startswith(".") or path.name.upper() == "DICOMDIR":
            continue
        if not is_dicom_file(path):
            _refuse_lost(path)
            num_foreign += 1
            continue
        header = read_header(path)
        if holds_scan(header):
            headers.append((path, header))
        else:
            others[str(header.get("Modality", "unknown"))] += 1
    if not headers:
        found = ", ".join(f"{count} of modality {name}" for name, count in sorted(others.items()))
        raise DicomError(
            f"no DICOM images of a scan here ({found or 'no DICOM file'}); give the folder of one series",
            code="no-images",
        )
    notes = [f"Skipped {count} DICOM object(s) of modality {name}." for name, count in sorted(others.items())]
    if num_foreign:
        notes.append(f"Skipped {num_foreign} file(s) that are not DICOM.")
    return headers, notes


def is_dicom_name(path: Path) -> bool:
    """True when a file's name ends like that of a DICOM file."""
    return path.suffix.lower() in _DICOM_SUFFIXES


def _refuse_lost(path: Path) -> None:
    """Refuse what by its name should be a DICOM file: left out, it could be the lost end of the stack."""
    if is_dicom_name(path):
        raise DicomError(
            f"{path.name} is not a DICOM file, though its name says so; copy it again or take it out",
            code="damaged-file",
        )


def holds_scan(header: Any) -> bool:
    """True when a file holds images of a scan; False for segmentations, reports, plans and the like."""
    is_image = "Rows" in header and "Columns" in header
    return is_image and str(header.get("Modality", "unknown")) not in _NOT_SCANS


def read_header(path: Path, more_tags: Sequence[str] = ()) -> Any:
    """What nomina reads of a DICOM header: nothing in it names the patient.

    Args:
        path: The file.
        more_tags: Keywords to read beside those that `read_series` needs.

    Raises:
        DicomError: The file is damaged.
    """
    if not is_dicom_file(path):
        raise DicomError(f"{path.name} is not a DICOM file; copy it again", code="damaged-file")
    try:
        with _tolerant():
            header = open_dicom(path, [*_TAGS, *more_tags])
            for _ in header.iterall():
                pass  # Values are parsed when first touched: here, where a damaged one is caught.
    except DicomError:
        raise
    except Exception as error:
        raise DicomError(
            f"{path.name} is damaged ({type(error).__name__}); copy it again", code="damaged-file"
        ) from error
    check_header(header, path.name)
    if "SOPClassUID" not in header:
        raise DicomError(f"{path.name} is damaged: its header ends early; copy it again", code="damaged-file")
    if ("Rows" not in header or "Columns" not in header) and "Image Storage" in _class_name(header):
        raise DicomError(f"{path.name} is damaged: it has no image size; copy it again", code="damaged-file")
    return header


def _class_name(header: Any) -> str:
    """What kind of object a file holds, e.g. "CT Image Storage"."""
    return pydicom.uid.UID(str(header.SOPClassUID)).name


def _one_series(headers: list[tuple[Path, Any]], series_uid: str | None) -> list[tuple[Path, Any]]:
    series: dict[str, list[tuple[Path, Any]]] = {}
    for path, header in headers:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if series_uid is None and len(series) == 1:
        return headers
    if series_uid in series:
        return series[series_uid]
    listing = "".join(
        f"\n  {uid} (number {members[0][1].get('SeriesNumber', '?')}, {members[0][1].get('Modality', '?')}, "
        f"{len(members)} files)"
        for uid, members in sorted(series.items())
    )
    if series_uid is not None:
        raise DicomError(f"series {series_uid} is not here; choose one of:{listing}", code="no-such-series")
    raise DicomError(
        f"{len(series)} series are mixed here, expected one; put each in its own folder, or choose one by "
        f"`nomina segment ... --series UID` (in Python `read_series(source, series_uid=UID)`):{listing}",
        code="mixed-series",
    )


def _without_localizers(headers: list[tuple[Path, Any]], notes: list[str]) -> list[tuple[Path, Any]]:
    kept = [(path, header) for path, header in headers if "LOCALIZER" not in image_type(header)]
    if not kept:
        raise DicomError(
            "here are only localizer images; give the folder of the scan itself", code="only-localizers"
        )
    if len(kept) < len(headers):
        notes.append(f"Skipped {len(headers) - len(kept)} localizer image(s).")
    return kept


def _voxels(frames: list[Frame]) -> Num[np.ndarray, "i j k"]:
    frames_in: dict[Path, list[Frame]] = {}
    for frame in frames:
        frames_in.setdefault(frame.path, []).append(frame)
    images = {path: _images(path, members) for path, members in frames_in.items()}
    return np.stack([images[frame.path][frame.index] for frame in frames]).transpose(2, 1, 0)


def _images(path: Path, frames: list[Frame]) -> dict[int, Num[np.ndarray, "rows columns"]]:
    """Rescaled pixels of all frames of a file, by their numbers in it."""
    pixels, is_rescaled = _pixels(path)
    columns, rows = frames[0].shape
    if pixels.shape != (len(frames), rows, columns):
        num_frames, num_rows, num_columns = pixels.shape
        raise DicomError(
            f"{path.name} holds {num_frames} frame(s) of {num_rows} × {num_columns} pixels, its header says "
            f"{len(frames)} of {rows} × {columns}; copy it again",
            code="undecodable",
        )
    rescales = {(frame.slope, frame.intercept) for frame in frames}
    if is_rescaled and len(rescales) > 1:
        # GDCM applies the first of them to all frames.
        raise DicomError(
            f"the frames of {path.name} have {len(rescales)} different rescales, which cannot be applied to "
            f"its kind of compression; convert the file to an uncompressed one",
            code="undecodable",
        )
    return {
        frame.index: pixels[frame.index]
        if is_rescaled
        else rescaled(pixels[frame.index], slope=frame.slope, intercept=frame.intercept)
        for frame in frames
    }


def _is_inverted(headers: list[tuple[Path, Any]]) -> bool:
    """Whether low values are shown white (MONOCHROME1)."""
    num_inverted = sum(header.get("PhotometricInterpretation") == "MONOCHROME1" for _, header in headers)
    if 0 < num_inverted < len(headers):
        raise DicomError(
            f"{num_inverted} of {len(headers)} files are MONOCHROME1 (low values are white), the others are "
            f"not; export the original series",
            code="mixed-photometric",
        )
    return num_inverted > 0


def _turned(
    array: Num[np.ndarray, "i j k"], frames: list[Frame], modality: str | None, notes: list[str]
) -> Num[np.ndarray, "i j k"]:
    """Inverted grey values with air dark; what is measured in a unit is no matter of display, and stays."""
    is_rescaled = any(frame.slope != 1 or frame.intercept != 0 for frame in frames)
    if modality == "PT" or (modality == "CT" and is_rescaled):
        notes.append(
            "The images are to be shown inverted (MONOCHROME1); values with a unit stay as they are."
        )
        return array
    low, high = array.min(), array.max()
    notes.append(
        f"The images are stored inverted (MONOCHROME1); each value became {low:g} + {high:g} - value, so "
        f"that air is dark."
    )
    return (high - array) + low  # In this order no integer type overflows.


def _pixels(path: Path) -> tuple[Num[np.ndarray, "n rows columns"], bool]:
    """All frames of a file, and whether the decoder applied slope and intercept already."""
    try:
        with _tolerant():
            dataset = open_dicom(path)
            check_pixels(dataset)
            if "TransferSyntaxUID" not in dataset.file_meta:  # a file without a preamble
                is_implicit, _ = dataset.original_encoding
                dataset.file_meta.TransferSyntaxUID = (
                    pydicom.uid.ImplicitVRLittleEndian if is_implicit else pydicom.uid.ExplicitVRLittleEndian
                )
            syntax = dataset.file_meta.TransferSyntaxUID
            if syntax.is_compressed and not get_decoder(syntax).is_available:
                check_tail(dataset, path)
                # JPEG (lossless) has no permissively licensed decoder for pydicom; SimpleITK brings its own.
                pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
                return pixels.reshape(-1, *pixels.shape[-2:]), True
            pixels = dataset.pixel_array
            return pixels.reshape(-1, *pixels.shape[-2:]), False
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise DicomError(
            f"the pixels of {path.name} cannot be decoded ({reason}); "
            f"copy the file again, or convert the series to an uncompressed one",
            code="undecodable",
        ) from error
