"""Reading no more than a file can rightly hold: compressed data by pieces, raw data by length."""

from io import BufferedIOBase, BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath

from isal import isal_zlib
from isal.igzip_lib import IsalError

from nomina.errors import VolumeError

MAX_BYTES = 8 * 2**30
"""Most bytes of voxels that are read [choice: a CT of 2048 × 2048 × 1000 voxels of 16 bits]."""

SLACK_BYTES = 2**20
"""Compressed files may hold this much behind their voxels: some programs pad them [choice]."""

_DEFLATE_RATIO = 1032
"""No deflate data unpack to more times their size."""

_PIECE = 1 << 20


def check_size(num_bytes: int, num_stored: int, *, is_packed: bool) -> None:
    """Refuse what a header declares before it is read.

    Args:
        num_bytes: Bytes of voxels that the header declares.
        num_stored: Bytes of the file that holds them.
        is_packed: Whether they are compressed by deflate.

    Raises:
        VolumeError: More than `MAX_BYTES`, or more than the file can hold.
        MemoryError: More than there is memory for.
    """
    if num_bytes > MAX_BYTES:
        raise VolumeError(
            f"the header declares {num_bytes} bytes of voxels, at most {MAX_BYTES} are read; "
            f"correct the header, or cut the scan into parts",
            code="too-large",
        )
    if num_bytes > (_DEFLATE_RATIO * num_stored + 2**16 if is_packed else num_stored):
        raise VolumeError(
            f"the file is truncated: {num_stored} bytes cannot hold the {num_bytes} bytes of voxels that the "
            f"header declares; copy it again",
            code="truncated",
        )
    bytearray(num_bytes)  # Fails now rather than after minutes of unpacking; nothing is touched.


def truncated(num_bytes: int, expected: int) -> VolumeError:
    """What is wrong with a file that holds fewer bytes of voxels than its header declares."""
    return VolumeError(
        f"the file is truncated: {num_bytes} bytes of voxels, expected {expected}; copy it again",
        code="truncated",
    )


def read_part(path: Path, start: int, num_bytes: int) -> bytes:
    """Bytes `start` to `start + num_bytes` of a file, fewer where it ends; the rest is not looked at."""
    with path.open("rb") as file:
        file.seek(start)
        # Python takes memory for all that is asked for, even where the file is short.
        return file.read(max(0, min(num_bytes, path.stat().st_size - start)))


def data_file(header: Path, name: str) -> Path:
    """The file that a header names for its voxels.

    Raises:
        VolumeError: The name leads out of the header's folder, or there is no such file.
    """
    if not name or "\0" in name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        raise _outside(name)
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise _outside(name)
    path = header.parent / name
    try:
        is_file = path.is_file()
    except OSError:  # a name that is too long
        is_file = False
    if not is_file:
        raise VolumeError(
            f"its data file {name[:200]!r} is missing or is no file; keep both files together",
            code="missing-data-file",
        )
    return path


def _outside(name: str) -> VolumeError:
    return VolumeError(
        f"the header takes its voxels from {name[:200]!r}, which is not a file in its own folder; put both "
        f"files into one folder and correct the name",
        code="data-file-outside",
    )


def unpack(packed: bytes | bytearray | memoryview | BufferedIOBase, max_bytes: int) -> bytearray:
    """Decompress gzip (one or more members) or zlib data, checksums included.

    Args:
        packed: The data, or a file at their beginning.
        max_bytes: Most bytes that they may unpack to.

    Raises:
        VolumeError: The data are truncated or damaged, or unpack to more.
    """
    stream = BytesIO(packed) if isinstance(packed, bytes | bytearray | memoryview) else packed
    result, piece = bytearray(), stream.read(_PIECE)
    is_gzip = piece[:2] == b"\x1f\x8b"
    try:
        while True:
            piece = _unpack_member(stream, piece, is_gzip, result, max_bytes)
            if not is_gzip:
                return result
            piece = (piece or stream.read(_PIECE)).lstrip(b"\0")
            if not piece:
                # Padding with zeros is allowed; a hole of a terabyte is not worth reading.
                if stream.read(_PIECE).strip(b"\0"):
                    raise EOFError
                return result
            if len(piece) < 2:
                piece += stream.read(_PIECE)
    except (EOFError, OSError, IsalError) as error:  # type: ignore[misc]  # isal's stub calls it an instance
        raise VolumeError(
            "the compressed data are truncated or damaged; copy the file again", code="damaged-voxels"
        ) from error


def _unpack_member(
    stream: BufferedIOBase, piece: bytes, is_gzip: bool, result: bytearray, max_bytes: int
) -> bytes:
    """Append one member to `result`; returns what was read beyond its end."""
    unpacker = isal_zlib.decompressobj(wbits=31 if is_gzip else 15)
    while not unpacker.eof:
        # A piece unpacks to a thousand times its size at most, but never beyond what is left.
        result += unpacker.decompress(piece, max_length=min(64 * _PIECE, max_bytes - len(result) + 1))
        if len(result) > max_bytes:
            raise VolumeError(
                f"the compressed data unpack to more than the {max_bytes} bytes that the header declares; "
                f"export the scan again",
                code="damaged-voxels",
            )
        if unpacker.eof:
            break
        piece = unpacker.unconsumed_tail or stream.read(_PIECE)
        if not piece:
            raise EOFError("the data end early")
    return bytes(unpacker.unused_data)


def unpacked_start(path: Path, num_bytes: int) -> bytes:
    """The first bytes of a gzip file's content; fewer where it ends.

    Raises:
        VolumeError: They are damaged.
    """
    unpacker = isal_zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        try:
            return bytes(unpacker.decompress(file.read(1 << 16), max_length=num_bytes))
        except IsalError as error:  # type: ignore[misc]
            raise VolumeError(
                "the compressed data are damaged from their beginning; copy the file again",
                code="damaged-voxels",
            ) from error
