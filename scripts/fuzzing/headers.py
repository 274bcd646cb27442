"""Headers that lie: impossible sizes, types, geometry and places of the voxels."""

import re

import nibabel as nib
import numpy as np

from fuzzing.bombs import gzipped
from fuzzing.cases import Expectation, Mutant, Original, mutant

OUTSIDE = "outside.raw"
"""A file in the folder above that of the input; nothing may be read from it."""

_INTS = (0, -1, 1, 2, 3, 7, 8, 127, 255, 256, 512, 1024, 32767, -32768)
_FLOATS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e30, -1e30, 1e-30, 3e38, 1e-45, 352.5)

_NIFTI_REFUSED = (
    ("dim", 1, -1), ("dim", 2, 0), ("dim", 0, 0), ("dim", 0, 9), ("dim", 0, -3), ("dim", 3, 1),
    ("pixdim", 1, np.nan), ("pixdim", 2, 0), ("pixdim", 3, -2), ("pixdim", 1, np.inf), ("pixdim", 2, 1e30),
    ("srow_x", 0, np.nan), ("srow_y", 3, np.inf), ("srow_z", 2, 0), ("srow_x", 1, 5), ("srow_z", 3, np.nan),
    ("datatype", None, 0), ("datatype", None, 1), ("datatype", None, 32), ("datatype", None, 128),
    ("datatype", None, 12345), ("vox_offset", None, 1e9), ("vox_offset", None, -5), ("vox_offset", None,
    np.nan),
    ("vox_offset", None, np.inf), ("quatern_b", None, 2), ("quatern_c", None, np.nan),
)  # fmt: skip
"""Field, index and value that leave no sound volume."""


def nifti_field(rng: np.random.Generator, original: Original) -> Mutant:
    """Any field has any hostile value."""
    header, voxels = _nifti_parts(original)
    names = [name for name in header.keys() if name != "magic"]  # noqa: SIM118  # not a dict
    for _ in range(int(rng.integers(1, 4))):
        name = names[rng.integers(len(names))]
        kind = header[name].dtype.kind
        if kind == "S":
            header[name] = rng.bytes(4)
            continue
        values = np.array(_FLOATS if kind == "f" else _INTS, dtype=np.float64)
        value = values[rng.integers(len(values))]
        _set(header, name, None if header[name].ndim == 0 else int(rng.integers(header[name].size)), value)
    return _nifti_mutant(original, "hostile field", "free", header, voxels)


def nifti_refused(rng: np.random.Generator, original: Original) -> Mutant:
    """A field has a value that leaves no sound volume."""
    header, voxels = _nifti_parts(original)
    name, index, value = _NIFTI_REFUSED[rng.integers(len(_NIFTI_REFUSED))]
    _set(header, name, index, value)
    if name.startswith(("quatern", "qoffset")):
        header["qform_code"] = 1  # A qform of code 0 says nothing, whatever stands in it.
    return _nifti_mutant(original, "impossible field", "refuse", header, voxels)


def nifti_huge(rng: np.random.Generator, original: Original) -> Mutant:
    """The header declares up to 2^45 voxels of up to 16 bytes."""
    header, voxels = _nifti_parts(original)
    header["dim"][1:4] = rng.choice([4000, 20000, 32767], 3)
    header["datatype"] = rng.choice([2, 4, 16, 64, 1536])
    return _nifti_mutant(original, "huge declared size", "refuse", header, voxels)


def nifti_swapped(rng: np.random.Generator, original: Original) -> Mutant:
    """The header is in the other byte order than the voxels."""
    header, voxels = _nifti_parts(original)
    return _nifti_mutant(original, "wrong endianness", "free", header.as_byteswapped(), voxels)


def text_field(rng: np.random.Generator, original: Original) -> Mutant:
    """A value of a MetaImage or NRRD header is replaced, or a line is missing or doubled."""
    name, lines, rest = _text_parts(original)
    n = int(rng.integers(len(lines)))
    action = rng.integers(6)
    if action == 0:
        del lines[n]
    elif action == 1:
        lines.insert(int(rng.integers(len(lines))), lines[n])
    else:
        key, separator, value = re.match(rb"([^=:]*)([=:]=?)?(.*)", lines[n], re.DOTALL).groups()  # type: ignore[union-attr]
        lines[n] = key + (separator or b"") + b" " + _hostile_text(rng, value)
    return mutant(original, "hostile field", "free", {name: b"\n".join(lines) + rest})


_TEXT_VALUES = (
    b"", b"0", b"-1", b"nan nan nan", b"inf inf inf", b"1e999 1 1", b"0 0 0", b"-1 2 3",
    b"99999999999999999999",
    b"32 32 99999999", b"2147483647 2147483647 2147483647", b"4294967297 1 1", b"1 1 1", b"32 32",
    b"x" * 70000,
    b"(1,0,0) (0,nan,0) (0,0,1)", b"(1e300,0,0) (0,1e300,0) (0,0,1e300)", b"none none none", b"\0",
    b"\xff\xfe",
    b"MET_STRING", b"MET_LONG_LONG_ARRAY", b"block", b"double", b"bzip2", b"hex", b"ascii", b"text", b"True",
    b"1 0 0 0 1 0 0 0 0", b"1 0 0 1 0 0 1 0 0", b"nan 0 0 0 1 0 0 0 1", b"%d.raw 1 999999999 1", b"LIST 2",
    b"6.0 6.0", b"3.7", b"+", b"16 32 12", b"0x20 0x20 6", b"1_6 32 12", "٣٢ ٣٢ ٦".encode(),
    b"-9223372036854775808",
)  # fmt: skip


def _hostile_text(rng: np.random.Generator, value: bytes) -> bytes:
    if rng.random() < 0.3:
        words = value.split()
        if words:
            words[rng.integers(len(words))] = _TEXT_VALUES[rng.integers(len(_TEXT_VALUES))]
            return b" ".join(words)
    return _TEXT_VALUES[rng.integers(len(_TEXT_VALUES))]


def text_huge(rng: np.random.Generator, original: Original) -> Mutant:
    """The header declares far more voxels than there are."""
    name, lines, rest = _text_parts(original)
    sizes = b" ".join(str(n).encode() for n in rng.choice([700, 4000, 60000], 3))
    lines = [re.sub(rb"^(DimSize =|sizes:).*", rb"\1 " + sizes, line) for line in lines]
    return mutant(original, "huge declared size", "refuse", {name: b"\n".join(lines) + rest})


def data_file_escapes(rng: np.random.Generator, original: Original) -> Mutant:
    """The header takes its voxels from a file outside its folder, or from something that is no file."""
    name, lines, _rest = _text_parts(original)
    place = [
        b"../" + OUTSIDE.encode(),
        b"ABSOLUTE",
        b"/dev/zero",
        b"pipe.raw",
        b"/etc/passwd",
        b"sub/../../outside.raw",
        b".",
    ]
    value = place[rng.integers(len(place))]
    is_meta = any(line.startswith(b"ElementDataFile") for line in lines)
    key = b"ElementDataFile = " if is_meta else b"data file: "
    lines = [line for line in lines if not line.startswith((b"ElementDataFile", b"data file"))]
    lines = [
        line.replace(b"gzip", b"raw").replace(b"CompressedData = True", b"CompressedData = False")
        for line in lines
    ]
    lines = [line for line in lines if not line.startswith(b"CompressedDataSize")]
    end = b"\n" if is_meta else b"\n\n"
    header = b"\n".join([*lines, key + value]) + end
    return mutant(original, "data file escapes", "refuse", {name: header}, pipes=("pipe.raw",))


def _nifti_parts(original: Original) -> tuple[nib.Nifti1Header, bytes]:
    raw = original.files[original.target]
    if raw[:2] == b"\x1f\x8b":
        raw = nifti_bytes(raw)
    kind = nib.Nifti2Header if raw[4:7] == b"n+2" else nib.Nifti1Header
    size = kind.template_dtype.itemsize
    return kind(raw[:size], check=False), raw[size:]


def nifti_bytes(packed: bytes) -> bytes:
    """A NIfTI file without its compression."""
    import gzip

    return gzip.decompress(packed)


def _nifti_mutant(
    original: Original, what: str, expectation: Expectation, header: nib.Nifti1Header, voxels: bytes
) -> Mutant:
    data = header.binaryblock + voxels
    is_packed = original.target.endswith(".gz")
    return mutant(original, what, expectation, {original.target: gzipped(data) if is_packed else data})


def _set(header: nib.Nifti1Header, name: str, index: int | None, value: float) -> None:
    kind = header[name].dtype
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        value = int(np.clip(-7 if not np.isfinite(value) else value, limits.min, limits.max))
    with np.errstate(all="ignore"):
        if index is None:
            header[name] = np.array(value).astype(kind)
        else:
            header[name][index] = np.array(value).astype(kind)


def _text_parts(original: Original) -> tuple[str, list[bytes], bytes]:
    """Name of the file with the header, its lines, and what follows them."""
    name = original.target
    data = original.files[name]
    end = data.find(b"ElementDataFile")
    end = data.index(b"\n", end) if end >= 0 else data.find(b"\n\n")
    if end < 0:  # a detached header
        end = len(data) - 1
    return name, data[:end].split(b"\n"), data[end:]


NIFTI = (nifti_field, nifti_field, nifti_refused, nifti_huge, nifti_swapped)
TEXT_HEADER = (text_field, text_field, text_field, text_huge, data_file_escapes)
