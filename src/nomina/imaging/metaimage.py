"""MetaImage files (.mha, .mhd) as volumes: geometry by SimpleITK, voxels here."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from nomina.errors import VolumeError
from nomina.imaging.itk_files import itk_grid, itk_reader
from nomina.imaging.packed import MAX_BYTES, SLACK_BYTES, check_size, data_file, read_part, truncated, unpack
from nomina.imaging.volume import Volume

_MAX_HEADER = 2**16
"""Headers are shorter than this in bytes [choice]."""

_MAX_LINE = 2**12
"""Lines of a header are shorter than this in bytes: ITK keeps them in buffers of fixed length."""

_META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip

_META_SPACING = ("ElementSpacing", "ElementSize")
_META_SCALE = (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0))
_META_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")


def read_metaimage(path: Path) -> Volume:
    """Read an .mha or .mhd file.

    Voxels are decoded here, not by SimpleITK, which returns a damaged compressed file without an error.

    Raises:
        VolumeError: The file is not a MetaImage, is damaged, or is not a single 3D volume of real numbers.
    """
    fields, offset = _meta_header(read_part(path, 0, _MAX_HEADER))
    notes = _meta_notes(fields)
    _check_meta_spacing(fields)
    shape = _meta_shape(fields)
    array = _meta_voxels(fields, *_meta_place(path, fields, offset)).reshape(shape, order="F")
    if array.ndim == 4:
        notes.append("A trailing fourth axis of size 1 was dropped.")
    reader = itk_reader(path, "MetaImageIO")
    return Volume(array.reshape(shape[:3], order="F"), itk_grid(reader, shape[:3]), notes=tuple(notes))


def _meta_notes(fields: dict[str, str]) -> list[str]:
    notes = []
    if not any(key in fields for key in _META_DIRECTION):
        notes.append("The header names no direction; axes were read as left, posterior, superior.")
    for key, neutral in _META_SCALE:
        if key in fields and _numbers(fields, key) != [neutral]:
            notes.append(f"The header's {key} {fields[key][:20]} was not applied, as in ITK.")
    return notes


def _meta_header(raw: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = raw.find(b"\n", position)
        key, separator, value = raw[position:end].decode("latin-1").partition("=")
        if end < 0 or not separator or end - position > _MAX_LINE:
            raise VolumeError(
                "this is not a MetaImage file (its header is damaged or missing); export the scan again",
                code="wrong-signature",
            )
        fields[key.strip()] = value.strip()
        position = end + 1
    return fields, position


def _numbers(fields: dict[str, str], key: str) -> list[float]:
    try:
        return [float(word) for word in fields[key].split()]
    except (KeyError, ValueError) as error:
        raise VolumeError(
            f"the header field {key} is missing or not a list of numbers", code="damaged-header"
        ) from error


def _whole(fields: dict[str, str], key: str) -> int:
    numbers = _numbers(fields, key)
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise VolumeError(f"the header field {key} is not a number", code="damaged-header")
    return int(numbers[0])


def _check_meta_spacing(fields: dict[str, str]) -> None:
    key = next((key for key in _META_SPACING if key in fields), None)
    if key is None:
        raise VolumeError(
            "the header gives no ElementSpacing, so lengths are unknown; export the scan again",
            code="bad-spacing",
        )
    spacing = _numbers(fields, key)
    if not all(0 < value < float("inf") for value in spacing):
        raise VolumeError(
            f"voxel spacing must be positive along every axis, got {key} {spacing}; "
            f"correct the header before use",
            code="bad-spacing",
        )


def _meta_shape(fields: dict[str, str]) -> tuple[int, ...]:
    sizes = _numbers(fields, "DimSize")
    channels = _whole(fields, "ElementNumberOfChannels") if "ElementNumberOfChannels" in fields else 1
    if len(sizes) != _whole(fields, "NDims") or not all(1 <= size < 2**31 for size in sizes):
        raise VolumeError(
            f"the header gives an impossible shape, DimSize {fields['DimSize']}; export the scan again",
            code="damaged-header",
        )
    shape = tuple(int(size) for size in sizes)
    if len(shape) < 3:
        raise VolumeError(
            f"expected a 3D volume, got a 2D image of {shape}; give the whole stack", code="two-dimensional"
        )
    if channels != 1 or set(shape[3:]) - {1}:
        raise VolumeError(
            f"expected a 3D volume with one number per voxel, got size {shape} with {channels} components; "
            f"split it into 3D volumes",
            code="four-dimensional",
        )
    return shape


def _meta_place(path: Path, fields: dict[str, str], offset: int) -> tuple[Path, int]:
    """The file that holds the voxels, this one or the one it names, and where in it they begin."""
    name = fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return path, offset
    if name.upper().startswith("LIST") or "%" in name:
        raise VolumeError(
            "its voxels are spread over several files, expected one; save it as a single .mha file",
            code="several-data-files",
        )
    place = data_file(path, name)
    skip = _whole(fields, "HeaderSize") if "HeaderSize" in fields else 0
    return place, skip if skip >= 0 else place.stat().st_size - _meta_count(fields)[1]


def _meta_count(fields: dict[str, str]) -> tuple[np.dtype[Any], int]:
    """Type of a stored voxel, and the number of bytes of all."""
    code = _META_TYPES.get(fields.get("ElementType", ""))
    if code is None:
        raise VolumeError(
            f"voxels are of type {fields.get('ElementType', '(none)')}, "
            f"expected one of {', '.join(_META_TYPES)}",
            code="unknown-voxel-type",
        )
    order = next(
        (fields[key] for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB") if key in fields), "False"
    )
    dtype = np.dtype((">" if order.lower() in ("true", "1") else "<") + code)
    return dtype, dtype.itemsize * int(np.prod(_meta_shape(fields), dtype=object))


def _meta_voxels(fields: dict[str, str], path: Path, start: int) -> Num[np.ndarray, " n"]:
    if fields.get("BinaryData", "True").lower() not in ("true", "1"):
        raise VolumeError(
            "its voxels are written as text, expected binary data; save it again as a binary .mha file",
            code="text-voxels",
        )
    dtype, num_bytes = _meta_count(fields)
    is_packed = fields.get("CompressedData", "False").lower() in ("true", "1")
    check_size(num_bytes, path.stat().st_size, is_packed=is_packed)
    if is_packed:
        data = unpack(_packed(fields, path, start), num_bytes + SLACK_BYTES)
    else:
        data = bytearray(read_part(path, start, num_bytes))
    if start < 0 or len(data) < num_bytes:
        raise truncated(len(data), num_bytes)
    return np.frombuffer(data, dtype, num_bytes // dtype.itemsize).astype(dtype.newbyteorder("="))


def _packed(fields: dict[str, str], path: Path, start: int) -> bytes:
    if "CompressedDataSize" not in fields:
        return read_part(path, start, MAX_BYTES)
    size = _whole(fields, "CompressedDataSize")
    data = read_part(path, start, size)
    if len(data) < size:
        raise truncated(len(data), size)
    return data
