"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) files as volumes, and grids for SimpleITK.

SimpleITK arrays are ordered z, y, x and its world is LPS; both conventions end in this file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from isal import igzip, isal_zlib
from isal.igzip_lib import IsalError
from jaxtyping import Num

from nomina.errors import VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume

_LPS_RAS = np.diag([-1.0, -1.0, 1.0])

_META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip

_META_SPACING = ("ElementSpacing", "ElementSize")
_META_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")

_NRRD_SPACES = (
    "right-anterior-superior",
    "left-anterior-superior",
    "left-posterior-superior",
    "ras",
    "las",
    "lps",
)


def to_sitk(array: Num[np.ndarray, "i j k"], grid: Grid) -> Any:
    """A SimpleITK image of the same voxels at the same places (a copy)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    set_sitk_geometry(image, grid)
    return image


def set_sitk_geometry(image: Any, grid: Grid) -> None:
    """Give a SimpleITK image, or a resampling filter's output, origin, spacing and direction of `grid`."""
    prefix = "Set" if isinstance(image, sitk.Image) else "SetOutput"
    directions = _LPS_RAS @ (grid.affine[:3, :3] / grid.spacing_mm)
    getattr(image, f"{prefix}Origin")((_LPS_RAS @ grid.affine[:3, 3]).tolist())
    getattr(image, f"{prefix}Spacing")(list(grid.spacing_mm))
    getattr(image, f"{prefix}Direction")(directions.ravel().tolist())


def read_metaimage(path: Path) -> Volume:
    """Read an .mha or .mhd file.

    Voxels are decoded here, not by SimpleITK, which returns a damaged compressed file without an error.

    Raises:
        VolumeError: The file is not a MetaImage, is damaged, or is not a single 3D volume of real numbers.
    """
    raw = path.read_bytes()
    fields, offset = _meta_header(raw)
    notes = []
    if not any(key in fields for key in _META_DIRECTION):
        notes.append("The header names no direction; axes were read as left, posterior, superior.")
    _check_meta_spacing(fields)
    shape = _meta_shape(fields)
    array = _meta_voxels(fields, _meta_data(path, fields, raw[offset:])).reshape(shape, order="F")
    if array.ndim == 4:
        notes.append("A trailing fourth axis of size 1 was dropped.")
    reader = _reader(path, "MetaImageIO")
    return Volume(array.reshape(shape[:3], order="F"), _grid(reader, shape[:3]), notes=tuple(notes))


def read_nrrd(path: Path) -> Volume:
    """Read a .nrrd or .nhdr file.

    Raises:
        VolumeError: The file is not NRRD, is damaged, is not a single 3D volume of real numbers, or does
            not say how its axes lie in the patient.
    """
    _check_nrrd_header(path)
    reader = _reader(path, "NrrdImageIO")
    shape = tuple(int(size) for size in reader.GetSize())
    if reader.GetNumberOfComponents() != 1 or len(shape) < 3 or set(shape[3:]) - {1}:
        raise VolumeError(
            f"expected a 3D volume with one number per voxel, got size {shape} with "
            f"{reader.GetNumberOfComponents()} components; split it into 3D volumes",
            code="two-dimensional" if len(shape) < 3 else "four-dimensional",
        )
    grid = _grid(reader, shape[:3])
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise VolumeError(
            f"the voxels are truncated or damaged ({_last_line(error)}); copy the file again",
            code="damaged-voxels",
        ) from error
    notes = ("A trailing fourth axis of size 1 was dropped.",) if len(shape) > 3 else ()
    return Volume(array.transpose().reshape(shape[:3], order="F"), grid, notes=notes)


def _reader(path: Path, image_io: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(
            f"the header cannot be read ({_last_line(error)}); export the scan again", code="damaged-header"
        ) from error
    return reader


def _grid(reader: Any, shape: tuple[int, ...]) -> Grid:
    num_axes = reader.GetDimension()
    directions = np.reshape(reader.GetDirection(), (num_axes, num_axes))[:3, :3]
    spacing = np.array(reader.GetSpacing()[:3])
    if not np.isfinite(directions).all() or spacing.min() <= 0:
        raise VolumeError(
            f"voxel spacing must be positive along every axis, got {spacing.tolist()} mm; "
            f"correct the header before use",
            code="bad-spacing",
        )
    lengths = np.linalg.norm(directions, axis=0)
    if np.abs(lengths - 1).max() > 1e-3:
        raise VolumeError(
            f"the direction matrix must have columns of length 1, got {lengths.round(4).tolist()}; "
            f"put the spacing into the spacing field and normalise the columns",
            code="bad-directions",
        )
    affine = np.eye(4)
    affine[:3, :3] = _LPS_RAS @ directions * spacing
    affine[:3, 3] = _LPS_RAS @ np.array(reader.GetOrigin()[:3])
    i, j, k = shape
    return Grid((i, j, k), affine)


def _meta_header(raw: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = raw.find(b"\n", position)
        key, separator, value = raw[position:end].decode("latin-1").partition("=")
        if end < 0 or not separator:
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
    shape = tuple(int(size) for size in _numbers(fields, "DimSize"))
    channels = (
        int(_numbers(fields, "ElementNumberOfChannels")[0]) if "ElementNumberOfChannels" in fields else 1
    )
    if len(shape) != _numbers(fields, "NDims")[0] or min(shape) < 1:
        raise VolumeError(
            f"the header gives an impossible shape, DimSize {fields['DimSize']}; export the scan again",
            code="damaged-header",
        )
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


def _meta_data(path: Path, fields: dict[str, str], local: bytes) -> bytes:
    """Bytes of the voxels as stored, from this file or from the one it names."""
    name = fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return local
    if name.upper().startswith("LIST") or "%" in name:
        raise VolumeError(
            "its voxels are spread over several files, expected one; save it as a single .mha file",
            code="several-data-files",
        )
    try:
        data = (path.parent / name).read_bytes()
    except OSError as error:
        raise VolumeError(
            f"its data file {name} cannot be read ({error.strerror}); keep both files together",
            code="missing-data-file",
        ) from error
    skip = int(_numbers(fields, "HeaderSize")[0]) if "HeaderSize" in fields else 0
    return data[skip:] if skip >= 0 else data[-_meta_count(fields)[1] :]


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


def _meta_voxels(fields: dict[str, str], data: bytes) -> Num[np.ndarray, " n"]:
    if fields.get("BinaryData", "True").lower() not in ("true", "1"):
        raise VolumeError(
            "its voxels are written as text, expected binary data; save it again as a binary .mha file",
            code="text-voxels",
        )
    dtype, num_bytes = _meta_count(fields)
    if fields.get("CompressedData", "False").lower() in ("true", "1"):
        size = int(_numbers(fields, "CompressedDataSize")[0]) if "CompressedDataSize" in fields else len(data)
        if len(data) < size:
            raise VolumeError(
                f"the file is truncated: {len(data)} bytes of voxel data, expected {size}; copy it again",
                code="truncated",
            )
        data = _unpacked(data[:size])
    if len(data) < num_bytes:
        raise VolumeError(
            f"the file is truncated: {len(data)} bytes of voxels, expected {num_bytes}; copy it again",
            code="truncated",
        )
    return np.frombuffer(data, dtype, num_bytes // dtype.itemsize).astype(dtype.newbyteorder("="))


def _unpacked(data: bytes) -> bytes:
    """Decompress gzip or zlib data, checksum included."""
    try:
        return igzip.decompress(data) if data[:2] == b"\x1f\x8b" else isal_zlib.decompress(data)
    except (EOFError, OSError, IsalError) as error:  # type: ignore[misc]  # isal's stub calls it an instance
        raise VolumeError(
            "the compressed voxels are truncated or damaged; copy the file again", code="damaged-voxels"
        ) from error


def _check_nrrd_header(path: Path) -> None:
    with path.open("rb") as file:
        if not file.readline().startswith(b"NRRD000"):
            raise VolumeError(
                "this is not an NRRD file (its signature is missing); export the scan again",
                code="wrong-signature",
            )
        fields = {}
        while line := file.readline(1 << 16).decode("latin-1").strip():
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
        attached = file.read() if fields.get("encoding", "").lower() in ("gzip", "gz") else b""
    space = fields.get("space", "").lower()
    if space.removesuffix("-time") not in _NRRD_SPACES or "space directions" not in fields:
        raise VolumeError(
            f"the header does not say how the axes lie in the patient (space {space or 'missing'!r}, "
            f"expected e.g. left-posterior-superior, with space directions); export the scan again",
            code="no-orientation",
        )
    units = set(fields.get("space units", '"mm"').replace('"', " ").lower().split())
    if units - {"mm", "millimeter", "millimeters", "millimetre", "millimetres"}:
        raise VolumeError(
            f"lengths are in {', '.join(sorted(units))}, expected mm; convert the header first",
            code="other-unit",
        )
    if attached[:2] == b"\x1f\x8b":
        _unpacked(attached)  # SimpleITK does not compare the checksum.


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
