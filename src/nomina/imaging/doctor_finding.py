"""What `nomina doctor` says: one fault is a `Finding`, all that was said of one scan an `Examination`."""

from dataclasses import dataclass
from typing import Literal

from nomina.errors import VolumeError

Severity = Literal["error", "warning", "note"]
"""error: nomina refuses the file, or a mask made from it would be wrong; warning: it may be wrong."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a scan, or that one should know of it."""

    code: str
    """Name of the fault, for programs; docs/how-to/doctor.md lists all."""
    severity: Severity
    sentence: str
    """What is wrong, with the value."""
    remedy: str
    """What to do, one sentence."""


@dataclass(frozen=True)
class Examination:
    """What was found in one scan: a file, or one series of a folder."""

    name: str
    """The file or folder as it was given, with the number of the series where a folder holds several."""
    summary: str
    """Shape, spacing, orientation and modality; empty where the scan cannot be read."""
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """True when a finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def refusal(error: VolumeError, *, place: str = "") -> Finding:
    """The finding that an error of a reader stands for: "what is wrong; what to do" becomes two sentences.

    Args:
        error: The error.
        place: What the message starts with, to be left out.
    """
    wrong, separator, remedy = str(error).removeprefix(place).strip().rpartition("; ")
    if not separator:
        wrong, remedy = remedy, "export the scan again, or convert it with another program"
    return Finding(error.code, "error", as_sentence(wrong), as_sentence(remedy))


def as_sentence(text: str) -> str:
    """With a capital in front and a full stop behind."""
    return text[:1].upper() + text[1:].rstrip(".") + "."
