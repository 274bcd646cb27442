"""Bombs, hostile zips, and what else may lie in a folder."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable

import numpy as np

from fuzzing.bombs import deflated, gzip_bomb, honest_gzip_bomb, zlib_bomb
from fuzzing.cases import Mutant, Original, mutant
from fuzzing.headers import nifti_bytes


def gzip_tail(rng: np.random.Generator, original: Original) -> Mutant:
    """After the voxels the compressed data go on for gigabytes."""
    raw = nifti_bytes(original.files[original.target])
    data = gzip_bomb(raw, int(rng.choice([100, 3000, 20000])))
    return mutant(original, "deflate bomb", "refuse", {original.target: data})


def gzip_honest(rng: np.random.Generator, original: Original) -> Mutant:
    """A sound file of a few kilobytes with gigabytes of voxels."""
    raw = bytearray(nifti_bytes(original.files[original.target])[:352])
    struct.pack_into("<3h", raw, 42, 1024, 1024, int(rng.choice([1024, 4096])))
    data = honest_gzip_bomb(bytes(raw), 9216)
    return mutant(original, "honest bomb", "free", {original.target: data}, may_need_memory=True)


def voxel_bomb(rng: np.random.Generator, original: Original) -> Mutant:
    """The compressed voxels of a MetaImage or NRRD file go on for gigabytes."""
    name, start = next(iter(original.checked_from.items()))
    data = original.files[name]
    num_mib = int(rng.choice([100, 3000, 20000]))
    bomb = gzip_bomb(b"", num_mib) if data[start : start + 2] == b"\x1f\x8b" else zlib_bomb(b"", num_mib)
    header = data[:start]
    if b"CompressedDataSize" in header:
        header = header[: header.index(b"CompressedDataSize")] + header[header.index(b"ElementDataFile") :]
    files = {name: header + bomb}
    text = original.files[original.target]
    if name != original.target and b"CompressedDataSize" in text:
        files[original.target] = (
            text[: text.index(b"CompressedDataSize")] + text[text.index(b"ElementDataFile") :]
        )
    return mutant(original, "deflate bomb", "refuse", files)


def hole(rng: np.random.Generator, original: Original) -> Mutant:
    """A terabyte of nothing follows the file."""
    name = sorted(original.files)[rng.integers(len(original.files))]
    return mutant(original, "hole of a terabyte", "same", sizes={name: 1 << 40})


def pipe(rng: np.random.Generator, original: Original) -> Mutant:
    """A file is a named pipe."""
    name = sorted(original.files)[rng.integers(len(original.files))]
    files = {key: data for key, data in original.files.items() if key != name}
    return Mutant(original, "named pipe", "free", files, pipes=(name,))


def link(rng: np.random.Generator, original: Original) -> Mutant:
    """A file is a link to nowhere, to itself, to an endless device or to a folder."""
    name = sorted(original.files)[rng.integers(len(original.files))]
    files = {key: data for key, data in original.files.items() if key != name}
    target = ["nowhere", name, "/dev/zero", "/dev/random", ".", "/dev/full", "/proc/self/mem"][
        rng.integers(7)
    ]
    return Mutant(original, "symbolic link", "free", files, links={name: target})


def strange_neighbours(rng: np.random.Generator, original: Original) -> Mutant:
    """Links, pipes, empty and foreign files lie beside the slices."""
    more = {"notes.txt": b"hello", ".hidden": b"\0", "empty": b"", "DICOMDIR": rng.bytes(200)}
    links = {"loop": "loop", "zero": "/dev/zero", "up": "..", "gone": "gone"}
    return mutant(original, "strange neighbours", "same", more, links=links, pipes=("pipe",))


def lost_target(rng: np.random.Generator, original: Original) -> Mutant:
    """What by its name is a DICOM file is empty, a pipe, or a link to nowhere or to a device."""
    what = rng.integers(3)
    links = {"x.dcm": ["gone", "/dev/zero", "x.dcm"][rng.integers(3)]} if what == 1 else {}
    more = {"x.dcm": b""} if what == 0 else {}
    return mutant(original, "lost file", "refuse", more, links=links, pipes=("x.dcm",) if what == 2 else ())


def lost_slice(rng: np.random.Generator, original: Original) -> Mutant:
    """A slice inside the stack is missing."""
    files = dict(original.files)
    del files[f"{rng.integers(1, len(files) - 1)}.dcm"]
    return Mutant(original, "slice missing", "refuse", files)


def doubled_slice(rng: np.random.Generator, original: Original) -> Mutant:
    """A slice is there twice."""
    name = f"{rng.integers(len(original.files))}.dcm"
    return mutant(original, "slice doubled", "refuse", {"again.dcm": original.files[name]})


def hostile_name(rng: np.random.Generator, original: Original) -> Mutant:
    """A member of the zip would be written outside the folder."""
    names = [
        "../../escaped.dcm",
        "/tmp/escaped.dcm",
        "C:\\escaped.dcm",
        "a/../../b.dcm",
        "..\\..\\x.dcm",
        "\\\\host\\x",
    ]
    return _rebuilt(original, "path traversal", "refuse", _add(names[rng.integers(len(names))]))


def odd_name(rng: np.random.Generator, original: Original) -> Mutant:
    """A member of the zip has an odd but harmless name."""
    names = [".", "a" * 5000, "x\ny.dcm", "con", "é" * 300, " ", "a//b", "*?<>|", "0.dcm"]
    return _rebuilt(original, "odd member name", "free", _add(names[rng.integers(len(names))]))


def unnamed(rng: np.random.Generator, original: Original) -> Mutant:
    """A name in the zip is overwritten by nothing, NUL or invalid UTF-8."""
    data = original.files["scan.zip"]
    old = b"study/%d.dcm" % rng.integers(6)
    new = [b"\0" * 11, b"\xff" * 11, b"/" * 11, b"." * 11, b"../../x.dcm"][rng.integers(5)]
    return mutant(original, "odd member name", "free", {"scan.zip": data.replace(old, new)})


def zip_link(rng: np.random.Generator, original: Original) -> Mutant:
    """A member of the zip is a symbolic link."""

    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("link.dcm")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")

    return _rebuilt(original, "link in zip", "refuse", add)


def zip_bomb(rng: np.random.Generator, original: Original) -> Mutant:
    """A member of the zip unpacks to gigabytes, as it declares."""
    num_mib = int(rng.choice([300, 1500, 7000, 60000]))
    start = original.files["scan.zip"][:0] + bytes(128) + b"DICM"
    return _with_bomb(original, "zip bomb", start, num_mib, num_mib * (1 << 20) + 132)


def lying_bomb(rng: np.random.Generator, original: Original) -> Mutant:
    """A member of the zip unpacks to gigabytes and declares a hundred bytes."""
    return _with_bomb(original, "zip bomb that lies", bytes(128) + b"DICM", 3000, 200)


def many_members(rng: np.random.Generator, original: Original) -> Mutant:
    """The zip has 30 000 members."""

    def add(archive: zipfile.ZipFile) -> None:
        for n in range(30_000):
            archive.writestr(str(n), b"")

    return _rebuilt(original, "30 000 members", "refuse", add)


def flag(rng: np.random.Generator, original: Original) -> Mutant:
    """A field of a member's header is another: encrypted, unknown compression, wrong size or checksum."""
    data = bytearray(original.files["scan.zip"])
    start = [n for n in range(len(data)) if data[n : n + 4] in (b"PK\1\2", b"PK\3\4", b"PK\5\6")]
    place = start[rng.integers(len(start))] + 4 + int(rng.integers(26))
    data[min(place, len(data) - 1)] = int(rng.integers(256))
    return mutant(original, "hostile field", "same", {"scan.zip": bytes(data)})


def other_compression(rng: np.random.Generator, original: Original) -> Mutant:
    """A member is compressed by bzip2 or LZMA, and damaged."""
    method = [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA][rng.integers(2)]

    def add(archive: zipfile.ZipFile) -> None:
        archive.writestr("more.dcm", bytes(128) + b"DICM" + rng.bytes(2000), compress_type=method)

    made = _rebuilt(original, "bzip2 or LZMA, damaged", "refuse", add)
    data = bytearray(made.files["scan.zip"])
    place = data.rindex(b"more.dcm", 0, data.rindex(b"more.dcm")) + 8 + int(rng.integers(4, 2000))
    data[place] ^= 0xFF
    return made.with_file("scan.zip", bytes(data))


def _add(name: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda archive: archive.writestr(name, bytes(128) + b"DICM" + bytes(40))


def _rebuilt(
    original: Original, what: str, expectation: str, add: Callable[[zipfile.ZipFile], None]
) -> Mutant:
    stream = io.BytesIO(original.files["scan.zip"])
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        add(archive)
    return mutant(original, what, expectation, {"scan.zip": stream.getvalue()})  # type: ignore[arg-type]


def _with_bomb(original: Original, what: str, start: bytes, num_mib: int, declared: int) -> Mutant:
    """The archive with one more member that is written by hand."""
    body, name = deflated(start, num_mib), b"bomb.dcm"
    sizes = struct.pack("<III", 0, len(body), min(declared, 0xFFFFFFFF))
    head = struct.pack("<HHHHH", 20, 0, 8, 0, 33)
    local = b"PK\3\4" + head + sizes + struct.pack("<HH", len(name), 0) + name + body
    central = b"PK\1\2" + struct.pack("<H", 20) + head + sizes
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return mutant(original, what, "refuse", {"scan.zip": local + central + end})


GZIP = (gzip_tail, gzip_honest)
PACKED_VOXELS = (voxel_bomb,)
ANY_FILE = (hole, pipe, link)
SERIES = (strange_neighbours, lost_target, lost_slice, doubled_slice)
ZIP = (
    hostile_name, hostile_name, odd_name, unnamed, zip_link, zip_bomb, lying_bomb, many_members, flag,
    flag, flag,
    other_compression,
)  # fmt: skip
