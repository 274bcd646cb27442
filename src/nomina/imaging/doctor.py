"""`nomina doctor`: says in words what is wrong with a scan, before anyone trusts a mask made from it."""

import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nomina.errors import VolumeError
from nomina.imaging.dicom_series import is_dicom_file, is_dicom_name, looks_like_dicom
from nomina.imaging.dicom_zip import extract_dicom
from nomina.imaging.doctor_dicom import examine_dicom
from nomina.imaging.doctor_finding import Examination, Finding, refusal
from nomina.imaging.doctor_volume import examine_volume
from nomina.imaging.read import is_volume_name, read_volume

_UNKNOWN = {"wrong-signature", "unknown-format", "damaged-header"}
"""Refusals after which the content is asked which format it is."""


def examine(path: Path | str) -> list[Examination]:
    """Examine a file, or every scan in a folder and its subfolders.

    Args:
        path: A NIfTI, MetaImage, NRRD or DICOM file, a .zip of DICOM files, or a folder.

    Returns:
        One examination per scan, sorted by folder and name. A scan that cannot be read has an error among its
        findings; the others are examined all the same.
    """
    path = Path(path)
    return list(_walk(path)) if path.is_dir() else _examine_file(path)


def _walk(folder: Path) -> Iterator[Examination]:
    num_found = 0
    for place, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        scans = [path for path in paths if is_volume_name(path) or path.suffix.lower() == ".zip"]
        dicom = [path for path in paths if path not in scans and _is_dicom_image(path)]
        for examination in [
            *(examine_dicom(dicom, place) if dicom else []),
            *(examination for path in scans for examination in _examine_file(path)),
        ]:
            num_found += 1
            yield examination
    if not num_found:
        sentence = "There is no scan in this folder and its subfolders."
        yield _failed(folder, Finding("no-images", "error", sentence, "Give the folder that holds the scan."))


def _is_dicom_image(path: Path) -> bool:
    return path.name.upper() != "DICOMDIR" and (is_dicom_name(path) or is_dicom_file(path))


def _examine_file(path: Path) -> list[Examination]:
    if path.suffix.lower() == ".zip" and path.is_file():
        return _examine_zip(path)
    if path.is_file() and not is_volume_name(path) and is_dicom_file(path):
        return examine_dicom([path], str(path))
    try:
        volume = read_volume(path)
    except VolumeError as error:
        finding = refusal(error, place=f"{path}:")
        return [_failed(path, _renamed(path, finding) or finding)]
    return [examine_volume(volume, str(path))]


def _examine_zip(path: Path) -> list[Examination]:
    with tempfile.TemporaryDirectory(prefix="nomina-") as folder:
        try:
            num_skipped = extract_dicom(path, Path(folder))
        except VolumeError as error:
            return [_failed(path, refusal(error))]
        examinations = examine_dicom(sorted(Path(folder).iterdir()), str(path))
        examinations = [_as_in_zip(examination, path, folder) for examination in examinations]
    if num_skipped:
        sentence = f"{num_skipped} member(s) of the zip are not DICOM."
        note = Finding("foreign-files", "note", sentence, "Nothing to do; they are left out.")
        examinations[0] = replace(examinations[0], findings=(note, *examinations[0].findings))
    return examinations


def _as_in_zip(examination: Examination, archive: Path, folder: str) -> Examination:
    """With the names that members have in the archive, in place of the numbers they were unpacked as."""
    with zipfile.ZipFile(archive) as opened:
        members = [member.filename for member in opened.infolist() if not member.is_dir()]

    def renamed(text: str) -> str:
        text = text.replace(f"{folder}{os.sep}", "")
        return re.sub(r"\b(\d{5})\.dcm\b", lambda match: members[int(match[1])], text)

    findings = (
        replace(finding, sentence=renamed(finding.sentence), remedy=renamed(finding.remedy))
        for finding in examination.findings
    )
    return replace(examination, findings=tuple(findings))


def _failed(path: Path, finding: Finding) -> Examination:
    return Examination(str(path), "", (finding,))


def _renamed(path: Path, refused: Finding) -> Finding | None:
    """A finding where a file that a reader refused is of another format than its name says."""
    if refused.code not in _UNKNOWN:
        return None
    with path.open("rb") as file:
        start = file.read(1 << 16)
    suffix = _true_suffix(start)
    if suffix is None or path.name.lower().endswith(suffix):
        return None
    return Finding(
        "wrong-extension",
        "error",
        f"The name ends in {''.join(path.suffixes[-2:]) or 'nothing'}, the content is that of a {suffix}.",
        f"Rename the file to end in {suffix}.",
    )


def _true_suffix(start: bytes) -> str | None:
    """The suffix of the format whose signature these first bytes carry."""
    is_packed = start[:2] == b"\x1f\x8b"
    if is_packed:
        start = _unpacked_start(start)
    if start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0":
        return ".nii.gz" if is_packed else ".nii"
    if start[:7] == b"NRRD000":
        return ".nrrd"
    if b"ElementDataFile" in start[:4096]:
        return ".mha"
    if looks_like_dicom(start):
        return ".dcm"
    return ".zip" if start[:4] == b"PK\3\4" else None


def _unpacked_start(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(packed, 1024)
    except zlib.error:
        return b""
