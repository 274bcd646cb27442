"""DICOM headers that lie."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pydicom

from fuzzing.bombs import deflated
from fuzzing.cases import Expectation, Mutant, Original, mutant

_NUMBERS = (
    ("Rows", "US"), ("Columns", "US"), ("BitsAllocated", "US"), ("BitsStored", "US"), ("HighBit", "US"),
    ("PixelRepresentation", "US"), ("SamplesPerPixel", "US"), ("PlanarConfiguration", "US"),
)  # fmt: skip
_TEXTS = (
    "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
    "RescaleIntercept", "ImageType", "SeriesInstanceUID", "SeriesNumber", "SOPClassUID", "Modality",
    "InstanceNumber",
    "SpacingBetweenSlices", "PhotometricInterpretation", "ImagerPixelSpacing", "EchoTime", "RepetitionTime",
    "InversionTime", "ScanningSequence", "AcquisitionContrast", "SeriesDescription", "TriggerTime",
    "EchoNumbers",
    "GantryDetectorTilt", "AcquisitionTime", "SpecificCharacterSet", "TemporalPositionIdentifier",
)  # fmt: skip
_VALUES = (
    "", "0", "-1", "1e400", "nan", "inf", "abc", "1\\2\\3\\4", "1e308\\1e308\\1e308", "nan\\0\\0", "0\\0",
    "0\\0\\0\\0\\0\\0",
    "1\\0\\0\\1\\0\\0", "nan\\0\\0\\0\\1\\0", "99999999999", "2147483647", "\\\\\\", "LOCALIZER",
    "MOSAIC\\X", "ISO_IR 9999",
    "1.2.840.10008.5.1.4.1.1.2\\1.2", "\x00\x01", "0.5\\0.5\\0.5", "-5\\-5", "1e-300\\1e-300", "1e39",
    "SEG", "é",
)  # fmt: skip

_REFUSED = (
    ("PixelSpacing", "0\\0"), ("PixelSpacing", "nan\\1"), ("PixelSpacing", "abc"), ("RescaleSlope", "0"),
    ("RescaleSlope", "nan"), ("ImagePositionPatient", "nan\\0\\0"), ("ImagePositionPatient", "1e400\\0\\0"),
    ("ImageOrientationPatient", "0\\0\\0\\0\\0\\0"), ("ImageOrientationPatient", "1\\0\\0\\1\\0\\0"),
    ("NumberOfFrames", "2147483647"), ("NumberOfFrames", "-3"), ("Rows", 65535), ("Columns", 65535),
    ("Rows", 0),
    ("SamplesPerPixel", 3), ("BitsAllocated", 0), ("BitsAllocated", 7),
)  # fmt: skip
"""Tags and values that leave no sound volume, given to every file."""


def hostile_tag(rng: np.random.Generator, original: Original) -> Mutant:
    """Tags have hostile values, in one file or in all."""
    chosen = []
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.35:
            keyword, _ = _NUMBERS[rng.integers(len(_NUMBERS))]
            chosen.append((keyword, int(rng.choice([0, 1, 2, 3, 8, 12, 16, 31, 32, 64, 4096, 65535]))))
        else:
            chosen.append((_TEXTS[rng.integers(len(_TEXTS))], _VALUES[rng.integers(len(_VALUES))]))
    return _with_tags(rng, original, "hostile tag", "free", chosen, in_all=bool(rng.random() < 0.5))


def impossible_tag(rng: np.random.Generator, original: Original) -> Mutant:
    """A tag has a value that leaves no sound volume."""
    if original.kind.startswith("DICOM multi"):
        keyword, value = _REFUSED[rng.integers(9, len(_REFUSED))]
    else:
        keyword, value = _REFUSED[rng.integers(len(_REFUSED))]
    return _with_tags(rng, original, "impossible tag", "refuse", [(keyword, value)], in_all=True)


def missing_tag(rng: np.random.Generator, original: Original) -> Mutant:
    """A tag is missing from every file."""
    dataset = _read(next(iter(original.files.values())))
    keywords = [element.keyword for element in dataset if element.keyword]
    keyword = keywords[rng.integers(len(keywords))]
    return _with_tags(rng, original, "missing tag", "free", [(keyword, None)], in_all=True)


def other_syntax(rng: np.random.Generator, original: Original) -> Mutant:
    """The file says that its pixels are compressed in another way."""
    syntaxes = list(pydicom.uid.AllTransferSyntaxes)
    syntax = str(syntaxes[rng.integers(len(syntaxes))]).encode()
    changed = {}
    for name, data in original.files.items():
        place = data.index(b"\x02\x00\x10\x00UI")
        (length,) = struct.unpack_from("<H", data, place + 6)
        syntax_padded = syntax[:length].ljust(length, b"\0")
        changed[name] = data[: place + 8] + syntax_padded + data[place + 8 + length :]
    return mutant(original, "other transfer syntax", "free", changed)


def nested(rng: np.random.Generator, original: Original) -> Mutant:
    """Sequences lie in sequences, thousands deep."""
    depth = int(rng.choice([50, 500, 5000, 50000]))
    level = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return mutant(original, "nested sequences", "free", _inserted(original, level * depth))


def long_element(rng: np.random.Generator, original: Original) -> Mutant:
    """An element declares gigabytes."""
    length = int(rng.choice([1 << 20, 1 << 30, 0xFFFFFFF0, 0xFFFFFFFF]))
    tag = [b"\x08\x00\x08\x00", b"\x09\x00\x10\x00", b"\x20\x00\x37\x00"][rng.integers(3)]
    element = tag + [b"OB", b"UT", b"UN"][rng.integers(3)] + b"\0\0" + struct.pack("<I", length)
    return mutant(original, "huge declared size", "free", _inserted(original, element))


def deflated_bomb(rng: np.random.Generator, original: Original) -> Mutant:
    """The deflated part of the file goes on for gigabytes."""
    data = original.files["scan.dcm"]
    start = _meta_end(data)
    content = zlib.decompress(data[start:], -15)
    bomb = deflated(content, int(rng.choice([200, 3000, 20000])))
    return mutant(original, "deflate bomb", "refuse", {"scan.dcm": data[:start] + bomb})


def _inserted(original: Original, element: bytes) -> dict[str, bytes]:
    changed = {}
    for name, data in original.files.items():
        place = _meta_end(data)
        changed[name] = data[:place] + element + data[place:]
    return changed


def _meta_end(data: bytes) -> int:
    """Where the file meta information ends."""
    (length,) = struct.unpack_from("<I", data, 140)
    return 144 + length


def _with_tags(
    rng: np.random.Generator,
    original: Original,
    what: str,
    expectation: Expectation,
    tags: list[tuple[str, Any]],
    *,
    in_all: bool,
) -> Mutant:
    names = sorted(original.files)
    changed = {}
    for name in names if in_all else [names[rng.integers(len(names))]]:
        dataset = _read(original.files[name])
        character_set = None
        for keyword, value in tags:
            if keyword == "SpecificCharacterSet":
                character_set = value
            else:
                _set(dataset, keyword, value)
        stream = io.BytesIO()
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            dataset.save_as(stream, enforce_file_format=False)
        data, syntax = stream.getvalue(), dataset.file_meta.TransferSyntaxUID
        changed[name] = data if character_set is None else _with_character_set(data, syntax, character_set)
    return mutant(original, what, expectation, changed)


def _with_character_set(data: bytes, syntax: pydicom.uid.UID, value: str) -> bytes:
    """Put a character set before all other tags; pydicom would decode every other text by it."""
    start, raw = _meta_end(data), _padded(value)
    head = b"\x08\x00\x05\x00"
    head += struct.pack("<I", len(raw)) if syntax.is_implicit_VR else b"CS" + struct.pack("<H", len(raw))
    if not syntax.is_deflated:
        return data[:start] + head + raw + data[start:]
    packer = zlib.compressobj(wbits=-15)
    content = zlib.decompress(data[start:], -15)
    return data[:start] + packer.compress(head + raw + content) + packer.flush()


def _padded(value: str) -> bytes:
    raw = value.encode("latin-1")
    return raw + b" " * (len(raw) % 2)


def _set(dataset: Any, keyword: str, value: Any) -> None:
    """Set, or with None delete, a tag; texts are stored as they are, whatever the tag is for."""
    if value is None:
        if keyword in dataset:
            del dataset[keyword]
        return
    tag = pydicom.datadict.tag_for_keyword(keyword)
    if isinstance(value, int):
        dataset.add_new(tag, "US", value)
        return
    raw = _padded(value)
    vr = pydicom.datadict.dictionary_VR(tag)
    is_explicit = dataset.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2"
    dataset[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr if is_explicit else None, len(raw), raw, 0, not is_explicit, True
    )


def _read(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data))


DICOM = (
    hostile_tag, hostile_tag, hostile_tag, impossible_tag, missing_tag, other_syntax, nested, long_element,
)  # fmt: skip
DEFLATED = (deflated_bomb,)
