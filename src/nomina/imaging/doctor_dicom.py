"""What is wrong with the DICOM files of a folder, and with each series among them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nomina.errors import DicomError, VolumeError
from nomina.imaging.dicom_frames import Frame, frames_of, image_type
from nomina.imaging.dicom_series import holds_scan, read_header, read_series
from nomina.imaging.doctor_finding import Examination, Finding, as_sentence, refusal
from nomina.imaging.doctor_volume import examine_volume
from nomina.imaging.volume import Volume

_MORE_TAGS = (
    "ImagerPixelSpacing", "InstanceNumber", "TemporalPositionIdentifier", "AcquisitionNumber",
    "AcquisitionTime", "TriggerTime", "EchoNumbers", "GantryDetectorTilt",
)  # fmt: skip

_TELL_VOLUMES_APART = (
    "TemporalPositionIdentifier", "TriggerTime", "EchoNumbers", "EchoTime", "ImageType", "AcquisitionNumber",
    "AcquisitionTime",
)  # fmt: skip
"""What differs between several volumes of one series: phase, echo, kind of image, or time."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_Headers = list[tuple[Path, Any]]


def examine_dicom(files: Sequence[Path], name: str) -> list[Examination]:
    """Examine all DICOM files of one folder.

    Args:
        files: DICOM files of one folder, in any order.
        name: How the folder is called in the result.

    Returns:
        One examination per series of scan images; what concerns the whole folder stands in the first. A
        damaged file is a finding and is left out.
    """
    headers, findings = _headers(files)
    scans = _scans(headers, findings)
    series: dict[str, _Headers] = {}
    for path, header in scans:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if len(series) > 1:
        findings.append(
            Finding(
                "mixed-series",
                "error",
                f"{len(series)} series are mixed in one place: {_listing(series)}.",
                "Put each series into its own folder.",
            )
        )
    if not series:
        if not any(finding.severity == "error" for finding in findings):
            findings.append(
                Finding(
                    "no-images",
                    "error",
                    "No DICOM images of a scan are here.",
                    "Give the folder of the scan itself.",
                )
            )
        return [Examination(name, "", tuple(findings))]
    results: list[Examination] = []
    for number, (uid, members) in enumerate(series.items(), start=1):
        label = f"{name}, series {number} of {len(series)} ({uid or 'no UID'})" if len(series) > 1 else name
        results.append(_examine_series(members, label, () if results else tuple(findings)))
    return results


def _headers(files: Sequence[Path]) -> tuple[_Headers, list[Finding]]:
    headers, findings = [], []
    for path in sorted(files):
        try:
            headers.append((path, read_header(path, _MORE_TAGS)))
        except DicomError as error:
            findings.append(refusal(error))
    return headers, findings


def _scans(headers: _Headers, findings: list[Finding]) -> _Headers:
    """The images of scans; what else there is becomes findings."""
    others = Counter(
        str(header.get("Modality", "unknown")) for _, header in headers if not holds_scan(header)
    )
    if others:
        listing = ", ".join(f"{count} of modality {modality}" for modality, count in sorted(others.items()))
        findings.append(
            Finding(
                "other-objects",
                "note",
                f"{sum(others.values())} DICOM object(s) here are no scan images ({listing}).",
                "Nothing to do; they are left out.",
            )
        )
    scans = [(path, header) for path, header in headers if holds_scan(header)]
    captures = [
        path
        for path, header in scans
        if str(header.SOPClassUID).startswith(_SECONDARY_CAPTURE) and not _frames_or_none(path, header)
    ]
    if captures:
        findings.append(
            Finding(
                "secondary-capture",
                "error",
                f"{len(captures)} image(s) are screen captures or other secondary pictures, not slices; "
                f"the first is {captures[0].name}.",
                "Move them out of the folder.",
            )
        )
    localizers = [path for path, header in scans if "LOCALIZER" in image_type(header)]
    kept = [entry for entry in scans if entry[0] not in {*captures, *localizers}]
    if localizers:
        findings.append(
            Finding(
                "localizers" if kept else "only-localizers",
                "note" if kept else "error",
                f"{len(localizers)} localizer image(s) lie here{'' if kept else ' and nothing else'}.",
                "Nothing to do; they are left out." if kept else "Give the folder of the scan itself.",
            )
        )
    return kept


def _listing(series: dict[str, _Headers]) -> str:
    return ", ".join(
        f"number {members[0][1].get('SeriesNumber', '?')} ({members[0][1].get('Modality', '?')}, "
        f"{len(members)} files)"
        for members in series.values()
    )


def _examine_series(members: _Headers, name: str, before: tuple[Finding, ...]) -> Examination:
    findings = [*before, *_header_findings(members)]
    try:
        volume = read_series([path for path, _ in members])
    except VolumeError as error:
        finding = refusal(error)
        if error.code == "repeated-positions":
            finding = _why_repeated(members) or finding
        if error.code == "no-position":
            finding = _imager_spacing(members) or finding
        return Examination(name, "", (*findings, finding))
    examination = examine_volume(volume, name)
    return Examination(
        name,
        examination.summary,
        (*findings, *(_with_rescale(finding, volume, members) for finding in examination.findings)),
    )


def _header_findings(members: _Headers) -> Iterator[Finding]:
    first = members[0][1]
    if len(members) == 1 and int(first.get("NumberOfFrames") or 1) > 1:
        yield Finding(
            "multi-frame",
            "note",
            f"All {int(first.NumberOfFrames)} slices are in one multi-frame file.",
            "Nothing to do for nomina; programs that read only the first frame need single slices.",
        )
    spacing, imager = first.get("PixelSpacing"), first.get("ImagerPixelSpacing")
    if spacing and imager and not _is_close(spacing, imager):
        yield Finding(
            "spacing-conflict",
            "warning",
            f"PixelSpacing is {_numbers(spacing)} mm, ImagerPixelSpacing (at the detector) "
            f"{_numbers(imager)} mm; a tomographic scan has only the first.",
            "Check a known length in the image; nomina uses PixelSpacing.",
        )
    slopes = {
        (frame.slope, frame.intercept) for path, header in members for frame in _frames_or_none(path, header)
    }
    if len(slopes) > 1:
        is_ct = first.get("Modality") == "CT"
        yield Finding(
            "rescale-varies",
            "warning" if is_ct else "note",
            f"{len(slopes)} different rescale slopes and intercepts are used in one series"
            f"{', which a CT should not have' if is_ct else ', as is usual in PET and some MR'}.",
            "Nothing to do for nomina, which applies each to its slice; others may apply the first to all.",
        )
    yield from _order_findings(members)


def _is_close(spacing: Any, other: Any) -> bool:
    one, two = np.atleast_1d(np.array(spacing, dtype=float)), np.atleast_1d(np.array(other, dtype=float))
    return one.shape == two.shape and bool(np.allclose(one, two, rtol=0.01))


def _frames_or_none(path: Path, header: Any) -> list[Frame]:
    """The frames of a file; none where the reader will refuse it."""
    try:
        return list(frames_of(path, header))
    except DicomError:
        return []


def _order_findings(members: _Headers) -> Iterator[Finding]:
    """A note where the images are numbered in another order than they lie."""
    placed = [
        (float(np.cross(*frames[0].directions) @ frames[0].position), int(header.InstanceNumber))
        for path, header in members
        if isinstance(header.get("InstanceNumber"), int) and len(frames := _frames_or_none(path, header)) == 1
    ]
    numbers = [number for _, number in sorted(placed)]
    steps = set(np.sign(np.diff(numbers)).astype(int).tolist())
    is_one_stack = len(numbers) == len({height for height, _ in placed}) == len(set(numbers))
    if len(numbers) == len(members) > 2 and is_one_stack and len(steps) > 1:
        yield Finding(
            "instance-order",
            "note",
            "The images are numbered in another order than they lie; sorted by InstanceNumber the scan "
            "would be shuffled.",
            "Nothing to do for nomina, which sorts by position.",
        )


def _why_repeated(members: _Headers) -> Finding | None:
    """A finding where every position holds as many images, told apart by one tag: a series of volumes."""
    groups: dict[tuple[float, ...], _Headers] = {}
    for path, header in members:
        for frame in _frames_or_none(path, header):
            groups.setdefault(tuple(np.round(frame.position, 2)), []).append((path, header))
    sizes = {len(group) for group in groups.values()}
    if len(sizes) != 1 or len(groups) < 2:
        return None
    num_volumes = sizes.pop()
    for tag in _TELL_VOLUMES_APART:
        values = [{str(header.get(tag)) for _, header in group} for group in groups.values()]
        if all(len(found) == num_volumes for found in values):
            return Finding(
                "several-volumes",
                "error",
                f"The series holds {num_volumes} volumes of {len(groups)} slices each, told apart by {tag} "
                f"(phases, echoes or times).",
                f"Put the images of each {tag} into their own folder.",
            )
    return None


def _imager_spacing(members: _Headers) -> Finding | None:
    first = members[0][1]
    if first.get("PixelSpacing") or not first.get("ImagerPixelSpacing"):
        return None
    return Finding(
        "imager-spacing-only",
        "error",
        f"PixelSpacing is missing, there is only ImagerPixelSpacing {_numbers(first.ImagerPixelSpacing)} mm, "
        f"which holds at the detector and not in the patient.",
        "Give a tomographic series; projections have no voxels.",
    )


def _with_rescale(finding: Finding, volume: Volume, members: _Headers) -> Finding:
    """Names the missing rescale of a CT as the cause of what its values show."""
    first = members[0][1]
    has_rescale = "RescaleIntercept" in first or "SharedFunctionalGroupsSequence" in first
    if finding.code not in ("ct-offset-missing", "not-hounsfield") or has_rescale:
        return finding
    return Finding(
        "rescale-missing",
        "error",
        as_sentence(
            f"the header of this {volume.modality} has no RescaleIntercept, and the values "
            f"({volume.array.min():g} to {volume.array.max():g}) are not Hounsfield units"
        ),
        "Export the original series again; something on the way removed slope and intercept.",
    )


def _numbers(values: Any) -> str:
    return " × ".join(f"{value:.4g}" for value in np.atleast_1d(np.array(values, dtype=float)))
