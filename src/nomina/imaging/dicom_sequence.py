"""MR weighting from a DICOM header, where it is clear."""

import re
from typing import Any

SEQUENCE_TAGS = (
    "AcquisitionContrast", "SeriesDescription", "ProtocolName", "ScanningSequence", "EchoTime",
    "RepetitionTime", "InversionTime",
)  # fmt: skip
"""Keywords that `mr_sequence` looks at."""

_CONTRASTS = {"T1": "T1", "T2": "T2", "STIR": "STIR", "PROTON_DENSITY": "PD"}
"""Values of AcquisitionContrast (enhanced MR)."""

_WORDS = {
    "T1": re.compile(r"(?<![a-z0-9])t1(?![0-9])"),
    "T2": re.compile(r"(?<![a-z0-9])t2(?![0-9])"),
    "PD": re.compile(r"(?<![a-z0-9])(pd|pdw|proton)(?![a-z0-9])|(?<![a-z0-9])pd[_ ]?w"),
}
_SHORT_INVERSION = re.compile(r"stir|tirm")
_INVERSION = re.compile(r"(?<![a-z])ir(?![a-z])")
_NEITHER = re.compile(r"flair|t2 ?\*|t2[_ -]?star|(?<![a-z])(swi|dwi|adc|dti|bold|map)(?![a-z])|diff")


def mr_sequence(header: Any) -> str | None:
    """Weighting of an MR series: "T1", "T2", "STIR" or "PD", or None where the header leaves doubt.

    Taken from AcquisitionContrast, else from the words of SeriesDescription and ProtocolName, else, for spin
    echo only, from the times: TR below 1000 ms and TE up to 30 ms is T1; TR from 1500 ms is T2 with TE from
    70 ms and PD with TE up to 40 ms; with an inversion time of 80 to 300 ms it is STIR [choice: common
    textbook ranges, the gaps between them left undecided]. "IR" alone may be T1, STIR or FLAIR, so there the
    inversion time decides.

    Args:
        header: A pydicom dataset.
    """
    contrast = str(header.get("AcquisitionContrast", "")).upper()
    if contrast in _CONTRASTS:
        return _CONTRASTS[contrast]
    for keyword in ("SeriesDescription", "ProtocolName"):
        text = str(header.get(keyword, "")).lower()
        if _NEITHER.search(text):
            return None
        if _SHORT_INVERSION.search(text):
            return "STIR"
        if _INVERSION.search(text):
            return _from_times(header, is_inversion=True)
        named = [name for name, pattern in _WORDS.items() if pattern.search(text)]
        if named:
            return named[0] if len(named) == 1 else None
    return _from_times(header)


def _from_times(header: Any, *, is_inversion: bool = False) -> str | None:
    echo_ms, repetition_ms, inversion_ms = (
        _number(header, keyword) for keyword in ("EchoTime", "RepetitionTime", "InversionTime")
    )
    scanning = header.get("ScanningSequence") or ""
    kinds = {scanning} if isinstance(scanning, str) else set(scanning)
    if not kinds & {"SE", "IR"} or "GR" in kinds or echo_ms is None or repetition_ms is None:
        return None
    if inversion_ms:
        return "STIR" if 80 <= inversion_ms <= 300 and repetition_ms >= 1500 else None
    if is_inversion or "IR" in kinds:
        return None
    if repetition_ms < 1000 and echo_ms <= 30:
        return "T1"
    if repetition_ms >= 1500 and echo_ms >= 70:
        return "T2"
    return "PD" if repetition_ms >= 1500 and echo_ms <= 40 else None


def _number(header: Any, keyword: str) -> float | None:
    value = header.get(keyword)
    return float(value) if isinstance(value, int | float) else None
