"""NRRD files (.nrrd, .nhdr) as volumes: geometry by SimpleITK, binary voxels here."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Num

from nomina.errors import VolumeError
from nomina.imaging.itk_files import itk_grid, itk_reader, last_line
from nomina.imaging.packed import SLACK_BYTES, check_size, data_file, read_part, truncated, unpack
from nomina.imaging.volume import Volume

_SPACES = (
    "right-anterior-superior",
    "left-anterior-superior",
    "left-posterior-superior",
    "ras",
    "las",
    "lps",
)

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64",
           "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip

_TEXT_ENCODINGS = ("txt", "text", "ascii", "hex")
_GZIP_ENCODINGS = ("gz", "gzip")
_MAX_HEADER = 2**20
_MAX_LINE = 2**12
"""Headers and their lines are shorter than this in bytes [choice]."""


def read_nrrd(path: Path) -> Volume:
    """Read a .nrrd or .nhdr file.

    Raw and gzip voxels are decoded here: SimpleITK does not compare checksums, and takes memory for whatever
    the header declares.

    Raises:
        VolumeError: The file is not NRRD, is damaged, is not a single 3D volume of real numbers, or does
            not say how its axes lie in the patient.
    """
    fields, end = _header(path)
    _check_space(fields)
    sizes = _whole_numbers(fields, "sizes")
    if not sizes or not all(1 <= size < 2**31 for size in sizes) or len(sizes) > 16:
        raise VolumeError(
            f"the header gives impossible sizes {fields['sizes'][:80]!r}; export the scan again",
            code="damaged-header",
        )
    voxels = _voxels(path, fields, end, int(np.prod(sizes, dtype=object)))
    reader = itk_reader(path, "NrrdImageIO")
    shape = tuple(int(size) for size in reader.GetSize())
    if reader.GetNumberOfComponents() != 1 or len(shape) < 3 or set(shape[3:]) - {1}:
        raise VolumeError(
            f"expected a 3D volume with one number per voxel, got size {shape} with "
            f"{reader.GetNumberOfComponents()} components; split it into 3D volumes",
            code="two-dimensional" if len(shape) < 3 else "four-dimensional",
        )
    grid = itk_grid(reader, shape[:3])
    array = _by_itk(reader) if voxels is None else voxels
    if array.size != int(np.prod(shape)):
        raise VolumeError(
            f"the header contradicts itself: sizes {sizes} for a volume of {shape}", code="damaged-header"
        )
    notes = ("A trailing fourth axis of size 1 was dropped.",) if len(shape) > 3 else ()
    return Volume(array.reshape(shape[:3], order="F"), grid, notes=notes)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Fields by name in small letters, and where the header ends."""
    raw = read_part(path, 0, _MAX_HEADER)
    if not raw.startswith(b"NRRD000"):
        raise VolumeError(
            "this is not an NRRD file (its signature is missing); export the scan again",
            code="wrong-signature",
        )
    fields: dict[str, str] = {}
    position = 0
    while position < len(raw):
        end = raw.find(b"\n", position)
        end = len(raw) if end < 0 else end
        line = raw[position:end].decode("latin-1").strip()
        if end - position > _MAX_LINE:
            raise VolumeError(
                "the header has a line without end; export the scan again", code="damaged-header"
            )
        position = end + 1
        if not line:
            break
        if not line.startswith("#") and ":=" not in line:
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
    return fields, position


def _check_space(fields: dict[str, str]) -> None:
    space = fields.get("space", "").lower()
    if space.removesuffix("-time") not in _SPACES or "space directions" not in fields:
        raise VolumeError(
            f"the header does not say how the axes lie in the patient (space {space[:80] or 'missing'!r}, "
            f"expected e.g. left-posterior-superior, with space directions); export the scan again",
            code="no-orientation",
        )
    units = set(fields.get("space units", '"mm"').replace('"', " ").lower().split())
    if units - {"mm", "millimeter", "millimeters", "millimetre", "millimetres"}:
        raise VolumeError(
            f"lengths are in {', '.join(sorted(units))[:80]}, expected mm; convert the header first",
            code="other-unit",
        )


def _voxels(path: Path, fields: dict[str, str], end: int, count: int) -> Num[np.ndarray, " n"] | None:
    """The voxels in their order in the file; None where they are written as text, which ITK reads."""
    place, start = _place(path, fields, end)
    encoding = fields.get("encoding", "").lower()
    if encoding in _TEXT_ENCODINGS:
        check_size(count, place.stat().st_size, is_packed=False)  # A voxel takes a character at least.
        return None
    dtype = _dtype(fields)
    num_bytes = count * dtype.itemsize
    check_size(num_bytes, place.stat().st_size, is_packed=encoding in _GZIP_ENCODINGS)
    if encoding in _GZIP_ENCODINGS:
        with place.open("rb") as file:
            file.seek(start)
            data = unpack(file, num_bytes + SLACK_BYTES)
    elif encoding == "raw":
        start = place.stat().st_size - num_bytes if start == -1 else start
        data = bytearray(read_part(place, start, num_bytes)) if start >= 0 else bytearray()
    else:
        raise VolumeError(
            f"its voxels are encoded as {encoding[:80]!r}, expected raw, gzip, ascii or hex; save it again",
            code="unknown-encoding",
        )
    if len(data) < num_bytes:
        raise truncated(len(data), num_bytes)
    return np.frombuffer(data, dtype, count).astype(dtype.newbyteorder("="))


def _place(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int]:
    """The file that holds the voxels, and where in it they begin; -1: as many bytes as needed, at its end."""
    name = fields.get("data file", fields.get("datafile"))
    skips = [
        _whole_numbers(fields, key)[0] if key in fields else 0
        for key in ("line skip", "lineskip", "byte skip", "byteskip")
    ]
    encoding = fields.get("encoding", "").lower()
    byte_skip = skips[2] or skips[3]
    if skips[0] or skips[1] or byte_skip < -1 or (byte_skip and encoding != "raw"):
        raise VolumeError(
            "the header skips lines, or bytes of compressed data, which nomina does not; save it again",
            code="skips-data",
        )
    if name is None:
        return path, byte_skip if byte_skip < 0 else end + byte_skip
    if name.upper().startswith("LIST") or "%" in name:
        raise VolumeError(
            "its voxels are spread over several files, expected one; save it as a single .nrrd file",
            code="several-data-files",
        )
    return data_file(path, name), byte_skip


def _dtype(fields: dict[str, str]) -> np.dtype[Any]:
    kind = " ".join(fields.get("type", "").lower().split())
    code = next((code for code, names in _TYPES.items() if kind in names), None)
    if code is None:
        raise VolumeError(
            f"voxels are of type {kind[:80] or '(none)'!r}, expected one real number each; "
            f"export a grey-value volume",
            code="unknown-voxel-type",
        )
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big") and not (code in ("i1", "u1") and not endian):
        raise VolumeError(
            f"the header gives the byte order {endian[:80]!r}, expected little or big; export the scan again",
            code="damaged-header",
        )
    return np.dtype((">" if endian == "big" else "<") + code)


def _whole_numbers(fields: dict[str, str], key: str) -> list[int]:
    words = fields.get(key, "").split()
    if not words or not all(
        word.isascii() and word.removeprefix("-").isdigit() and len(word) < 20 for word in words
    ):
        raise VolumeError(
            f"the header field {key!r} must hold whole numbers, got {fields.get(key, '')[:80]!r}; "
            f"export the scan again",
            code="damaged-header",
        )
    return [int(word) for word in words]


def _by_itk(reader: Any) -> Num[np.ndarray, "..."]:
    try:
        return sitk.GetArrayFromImage(reader.Execute()).transpose()
    except RuntimeError as error:
        raise VolumeError(
            f"the voxels are truncated or damaged ({last_line(error)}); copy the file again",
            code="damaged-voxels",
        ) from error
