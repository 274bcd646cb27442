"""Opening one DICOM file, without trusting the lengths that it declares."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from isal import isal_zlib
from pydicom.filereader import _read_file_meta_info, read_partial, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nomina.errors import DicomError
from nomina.imaging.packed import MAX_BYTES

FREE_BYTES = 64 * 2**20
"""Up to here a file may unpack to, however small it is [choice: a slice of 4096 × 4096 voxels of 32 bits]."""

MAX_RATIO = 1000
"""Beyond that, pixels may take at most this many times the bytes of the file [choice: blank images do]."""

_DEFLATE_RATIO = 10
"""The same for files that are deflated as a whole [choice: scans reach 5]."""

_PIXEL_DATA = 0x7FE00010
_TEXTS = ("Modality", "SeriesInstanceUID", "SOPClassUID")
_NUMBERS = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "SpacingBetweenSlices")


class _Clamped(io.BufferedReader):
    """Never asks for memory beyond the end of the file: Python takes it before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.num_bytes = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > 1 << 16:
            size = max(0, min(size, self.num_bytes - self.tell()))
        if (size is None or size < 0) and self.num_bytes > MAX_BYTES:
            raise ValueError(f"it has {self.num_bytes} bytes")
        return super().read(size)


def open_dicom(path: Path, tags: Sequence[str] | None = None) -> Any:
    """A file's dataset, without what follows the pixels.

    Args:
        path: The file.
        tags: Keywords of the elements to read, without the pixels; None reads all, and the pixels.

    Raises:
        DicomError: The file unpacks to far more than its size.
        Exception: Whatever pydicom finds wrong.
    """
    with _Clamped(path) as file:
        _refuse_bomb(file)
        wanted = None if tags is None else [pydicom.tag.Tag(keyword) for keyword in tags]
        stop = _at_end if tags is None else _at_pixels
        return read_partial(file, stop_when=stop, force=True, specific_tags=wanted)


def check_header(header: Any, name: str) -> None:
    """Refuse a header in which what must be one number or one text is something else.

    Raises:
        DicomError: There is such an element.
    """
    for keyword in _NUMBERS:
        value = header.get(keyword)
        if value is not None and value != "" and not isinstance(value, int | float):
            raise DicomError(
                f"{name} is damaged: its {keyword} is not one number; copy it again", code="damaged-file"
            )
    for keyword in _TEXTS:
        if not isinstance(header.get(keyword) or "", str):
            raise DicomError(
                f"{name} is damaged: its {keyword} is not one text; copy it again", code="damaged-file"
            )


def check_pixels(dataset: Any) -> None:
    """Refuse pixels that are declared far larger than the file could hold.

    Raises:
        ValueError: They are.
    """
    shape = [int(dataset.get(keyword) or 1) for keyword in ("NumberOfFrames", "Rows", "Columns")]
    num_bytes = shape[0] * shape[1] * shape[2] * max(1, int(dataset.get("BitsAllocated") or 8) // 8)
    num_stored = len(dataset.get("PixelData") or b"")
    if num_bytes > min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * num_stored)):
        raise ValueError(f"{num_bytes} bytes of pixels are declared for {num_stored} bytes in the file")


def check_tail(dataset: Any, path: Path) -> None:
    """Refuse a file that goes on long after its pixels: other decoders than pydicom read all of it.

    Raises:
        ValueError: It does.
    """
    num_bytes = path.stat().st_size
    if num_bytes > len(dataset.get("PixelData") or b"") + FREE_BYTES:
        raise ValueError(f"the file has {num_bytes} bytes, most of them no pixels")


def _at_end(tag: Any, vr: str | None, length: int) -> bool:
    # Group 0 never stands in a file: zeros behind the data would be read as millions of empty elements.
    return tag > _PIXEL_DATA or tag.group == 0


def _at_pixels(tag: Any, vr: str | None, length: int) -> bool:
    return tag >= 0x7FE00008 or tag.group == 0


def _refuse_bomb(file: _Clamped) -> None:
    is_deflated = DeflatedExplicitVRLittleEndian.encode() in file.peek(4096)
    if is_deflated:
        read_preamble(file, force=True)
        _read_file_meta_info(file)
        _count_unpacked(file, max(FREE_BYTES, _DEFLATE_RATIO * file.num_bytes))
    file.seek(0)


def _count_unpacked(file: io.BufferedReader, max_bytes: int) -> None:
    unpacker, num_bytes = isal_zlib.decompressobj(wbits=-15), 0
    piece = file.read(1 << 16)
    while piece and not unpacker.eof:
        num_bytes += len(unpacker.decompress(piece, 1 << 20))
        if num_bytes > max_bytes:
            raise DicomError(
                f"the deflated data unpack to more than {max_bytes} bytes; export the file again",
                code="damaged-file",
            )
        piece = unpacker.unconsumed_tail or file.read(1 << 16)
