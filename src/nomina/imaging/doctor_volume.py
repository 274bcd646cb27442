"""All that can be said of a volume that was read: header, values, anatomy."""

from collections.abc import Iterator

from nomina.imaging.doctor_anatomy import anatomy_findings
from nomina.imaging.doctor_finding import Examination, Finding
from nomina.imaging.doctor_header import header_findings
from nomina.imaging.doctor_intensity import intensity_findings
from nomina.imaging.volume import Volume

_NO_IMAGE = {"constant", "label-map", "wrapped-values", "implausible-spacing"}
"""After these findings there is no anatomy to look at."""


def examine_volume(volume: Volume, name: str) -> Examination:
    """Examine a volume in memory.

    Args:
        volume: The volume, as a reader gives it.
        name: How it is called in the result.
    """
    return Examination(name, _summary(volume), tuple(_findings(volume)))


def faults(volume: Volume) -> tuple[Finding, ...]:
    """The errors and warnings: why a mask made from a volume may be wrong.

    To look for them takes a fraction of the time that reading takes, and about 1 byte per voxel.
    """
    return tuple(finding for finding in _findings(volume) if finding.severity != "note")


def _findings(volume: Volume) -> Iterator[Finding]:
    findings = [*header_findings(volume), *intensity_findings(volume)]
    yield from findings
    if not _NO_IMAGE & {finding.code for finding in findings}:
        yield from anatomy_findings(volume)


def _summary(volume: Volume) -> str:
    kind = " ".join(filter(None, (volume.modality, volume.sequence)))
    return (
        f"{volume.grid}{f', {kind}' if kind else ''}, values {volume.array.min():g} to {volume.array.max():g}"
    )
