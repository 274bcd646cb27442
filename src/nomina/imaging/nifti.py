"""NIfTI files (.nii, .nii.gz) as volumes: header by nibabel, gzip by isal."""

from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float, Num
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from nomina.errors import VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.packed import SLACK_BYTES, check_size, read_part, unpack, unpacked_start
from nomina.imaging.rescale import rescaled
from nomina.imaging.volume import Volume

FORM_TOLERANCE_MM = 1e-2
"""qform and sform agree when no corner of the field of view differs by more than this (beyond rounding)."""

MAX_OFFSET = 2**30
"""Header extensions before the voxels are shorter than this in bytes [choice]."""

_HEADER_BYTES = 544
"""Longest header, that of NIfTI-2 with the mark for extensions."""

_UNITS = {0: ("unknown", 1.0), 1: ("metre", 1000.0), 2: ("millimetre", 1.0), 3: ("micron", 0.001)}


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file.

    The sform is used when its code is above 0, otherwise the qform. When both are set they must agree, and
    the spacing of `pixdim` must agree with the sform: other programs use the other one, and would show the
    same structures elsewhere.

    Raises:
        VolumeError: The file is not a NIfTI file, is damaged, is not a single 3D volume of real numbers, or
            its header does not say, or contradicts itself on, where the voxels are.
    """
    is_packed, notes = _is_packed(path)
    header = _header(unpacked_start(path, _HEADER_BYTES) if is_packed else read_part(path, 0, _HEADER_BYTES))
    if int(header["qform_code"]) > 0 and header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # "qfac", as the standard's reference code does
        notes.append("The qform names no handedness; right-handed axes were assumed.")
    array = _voxels(path, is_packed, header)
    if array.ndim > 3 and set(array.shape[3:]) == {1}:
        array = array.reshape(array.shape[:3], order="F")
        notes.append("A trailing fourth axis of size 1 was dropped.")
    if array.ndim != 3:
        raise VolumeError(
            f"expected a 3D volume, got an array of shape {array.shape}; {_remedy(array.ndim)}",
            code="four-dimensional" if array.ndim > 3 else "two-dimensional",
        )
    i, j, k = array.shape
    affine = _affine(header, (i, j, k))
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & 7, ("", 0.0))
    if not unit:
        raise VolumeError(
            "the header names an invalid length unit; set xyzt_units to millimetres", code="bad-unit"
        )
    if unit == "unknown":
        notes.append("The header names no length unit; millimetres were assumed.")
    elif factor != 1:
        affine[:3] *= factor
        notes.append(f"Lengths were converted from {unit}s to millimetres.")
    return Volume(array, Grid(array.shape, affine), notes=tuple(notes))


def form_gap_mm(header: Any, shape: tuple[int, ...]) -> float:
    """Largest distance between a corner by the header's qform and by its sform, beyond quaternion rounding.

    The qform stores three float32 components of a unit quaternion; the fourth is what remains to length 1,
    so its rounding error is large when it is near 0 (rotations by half a turn).
    """
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    difference = header.get_qform() - header.get_sform()
    gap = np.linalg.norm(difference[:3, :3] @ corners + difference[:3, 3:], axis=0).max()
    vector = [float(header[name]) for name in ("quatern_b", "quatern_c", "quatern_d")]
    remainder = max(1 - sum(v * v for v in vector), 0) ** 0.5
    rounding_rad = 2 * 3e-7 / max(remainder, 6e-4)
    extent_mm = float(np.linalg.norm(np.array(shape) * header["pixdim"][1:4]))
    return max(float(gap) - rounding_rad * extent_mm, 0.0)


def _is_packed(path: Path) -> tuple[bool, list[str]]:
    """Whether a file is compressed, and a note where its name says otherwise."""
    is_packed = read_part(path, 0, 2) == b"\x1f\x8b"
    if is_packed == path.name.lower().endswith(".gz"):
        return is_packed, []
    note = f"The file is {'' if is_packed else 'not '}gzip-compressed although its name says otherwise."
    return is_packed, [note]


def _header(raw: bytes) -> Any:
    if raw[344:348] == b"n+1\0":
        kind, size = nib.Nifti1Header, 348
    elif raw[4:8] == b"n+2\0":
        kind, size = nib.Nifti2Header, 540
    else:
        raise VolumeError(
            "this is not a NIfTI file (its signature is missing); export the scan again",
            code="wrong-signature",
        )
    try:
        # Extensions may be long (TotalSegmentator writes XML) and say nothing about the voxels: passed over.
        header = kind.from_fileobj(BytesIO(raw[:size] + bytes(4)), check=False)
        header.get_data_shape(), header.get_data_dtype(), header.get_slope_inter()
    except (HeaderDataError, WrapStructError, KeyError, ValueError, OverflowError) as error:
        raise VolumeError(
            f"the NIfTI header is damaged ({error}); export the scan again", code="damaged-header"
        ) from error
    return header


def _voxels(path: Path, is_packed: bool, header: Any) -> Num[np.ndarray, "..."]:
    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else "colours"
        raise VolumeError(
            f"voxels are {kind}, expected one real number each; export a grey-value volume",
            code="not-grey-values",
        )
    if not shape or min(shape) < 1:
        raise VolumeError(
            f"the header gives an impossible shape {shape}; export the scan again", code="damaged-header"
        )
    offset = _offset(header)
    num_bytes = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
    check_size(num_bytes, path.stat().st_size, is_packed=is_packed)
    raw = (
        memoryview(_unpacked(path, offset + num_bytes))[offset : offset + num_bytes]
        if is_packed
        else read_part(path, offset, num_bytes)
    )
    if len(raw) < num_bytes:
        raise VolumeError(
            f"the file is truncated: {len(raw)} bytes of voxels, expected {num_bytes}; copy it again",
            code="truncated",
        )
    stored = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))
    slope, intercept = header.get_slope_inter()
    if slope is not None:
        stored = rescaled(stored, slope=slope, intercept=intercept)
    if stored.dtype.itemsize > 8:
        stored = stored.astype(np.float64)
    return stored.reshape(shape, order="F")


def _offset(header: Any) -> int:
    first = header.single_vox_offset
    offset = float(header["vox_offset"]) or first
    if not first <= offset <= MAX_OFFSET:
        raise VolumeError(
            f"the header puts the voxels at byte {offset:g}, expected {first} to {MAX_OFFSET}; "
            f"export it again",
            code="damaged-header",
        )
    return int(offset)


def _unpacked(path: Path, num_bytes: int) -> bytearray:
    with path.open("rb") as file:
        return unpack(file, num_bytes + SLACK_BYTES)


def _remedy(num_axes: int) -> str:
    return (
        "a single slice has no volume, give the whole stack" if num_axes < 3 else "split it into 3D volumes"
    )


def _affine(header: Any, shape: tuple[int, int, int]) -> Float[np.ndarray, "4 4"]:
    spacing = np.array(header["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite(spacing).all() or spacing.min() <= 0:
        raise VolumeError(
            f"voxel spacing must be positive along every axis, got pixdim {spacing.tolist()}; "
            f"correct the header before use",
            code="bad-spacing",
        )
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not has_sform and not has_qform:
        raise VolumeError(
            "neither qform nor sform is set, so left and right, front and back are unknown; convert the scan "
            "again from DICOM, or set its orientation where you know it",
            code="no-orientation",
        )
    from_qform = _qform(header) if has_qform else None
    if from_qform is not None and not has_sform:
        return from_qform
    affine = np.array(header.get_sform(), dtype=np.float64)
    Grid(shape, affine)  # Speaks of shear before the comparisons below can.
    if has_qform and (gap := form_gap_mm(header, shape)) > FORM_TOLERANCE_MM:
        raise VolumeError(
            f"qform and sform put the same voxel up to {gap:.3g} mm apart, so programs disagree on where it "
            f"is; find out which is right and set the other to it "
            f"(nibabel: `image.set_qform(image.get_sform(), 1)`)",
            code="forms-disagree",
        )
    _require_one_spacing(spacing, affine, shape)
    return affine


def _qform(header: Any) -> Float[np.ndarray, "4 4"]:
    try:
        affine = header.get_qform()
    except (HeaderDataError, ValueError) as error:
        raise VolumeError(
            f"the qform is not a rotation ({error}); set it from the sform", code="bad-qform"
        ) from error
    if not np.isfinite(affine).all():
        raise VolumeError("the qform holds NaN or infinity; set it from the sform", code="bad-qform")
    return np.array(affine, dtype=np.float64)


def _require_one_spacing(
    spacing: Float[np.ndarray, " 3"], affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]
) -> None:
    """Refuse a header whose `pixdim` and sform differ in the size of voxels."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs((lengths - spacing) * shape).max() > max(
        FORM_TOLERANCE_MM, 1e-4 * float((lengths * shape).max())
    ):
        raise VolumeError(
            f"the header gives two voxel spacings, pixdim {spacing.round(4).tolist()} and sform "
            f"{lengths.round(4).tolist()}; find out which is right and set the other to it",
            code="two-spacings",
        )
