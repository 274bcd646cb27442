import zipfile
from pathlib import Path

import pytest

from nomina.errors import DicomError
from nomina.imaging import dicom_zip
from nomina.imaging.dicom_zip import extract_dicom

DICOM = b"\0" * 128 + b"DICM" + b"payload"


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(zipfile.ZipInfo(name), data)
    return path


def test_only_dicom_members_are_unpacked_and_the_others_counted(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.zip", {"s/1": DICOM, "s/2.dcm": DICOM + b"2", "s/readme.txt": b"x", "empty": b""}
    )
    folder = tmp_path / "out"
    folder.mkdir()
    assert extract_dicom(path, folder) == 2
    assert [file.read_bytes() for file in sorted(folder.iterdir())] == [DICOM, DICOM + b"2"]


@pytest.mark.parametrize(
    "name", ["../1.dcm", "a/../../1.dcm", "/etc/1.dcm", "..\\1.dcm", "C:\\1.dcm", "C:/1.dcm"]
)
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(DicomError, match="points outside"):
        extract_dicom(archive(tmp_path / "a.zip", {"0.dcm": DICOM, name: DICOM}), folder)
    assert list(folder.iterdir()) == []


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("1.dcm")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(DicomError, match="holds a link"):
        extract_dicom(tmp_path / "a.zip", tmp_path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_zip, "MAX_MEMBERS", 2)
    with pytest.raises(DicomError, match="3 members, at most 2"):
        extract_dicom(archive(tmp_path / "a.zip", {str(n): DICOM for n in range(3)}), tmp_path)


def test_too_many_bytes_are_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_zip, "MAX_BYTES", 1000)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(DicomError, match="1007 bytes, at most 1000"):
        extract_dicom(archive(tmp_path / "a.zip", {"1": DICOM, "2": b"\0" * (1007 - len(DICOM))}), folder)
    assert list(folder.iterdir()) == []


def test_the_limits_are_those_promised() -> None:
    assert dicom_zip.MAX_MEMBERS == 20_000
    assert dicom_zip.MAX_BYTES == 8 * 1024**3


def test_an_archive_without_dicom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="no DICOM file"):
        extract_dicom(archive(tmp_path / "a.zip", {"a.txt": b"x"}), tmp_path)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"1": DICOM + bytes(range(256)) * 40})
    data = bytearray(path.read_bytes())
    cut, changed = tmp_path / "cut.zip", tmp_path / "changed.zip"
    cut.write_bytes(data[: len(data) // 2])
    data[150] ^= 0xFF
    changed.write_bytes(data)
    for damaged in (cut, changed):
        with pytest.raises(DicomError, match="damaged"):
            extract_dicom(damaged, tmp_path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(tmp_path / "a.zip", {"1": DICOM}).read_bytes())
    data[6] |= 1  # flag bit "encrypted" in the local header …
    data[data.index(b"PK\x01\x02") + 8] |= 1  # … and in the directory
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DicomError, match="encrypted"):
        extract_dicom(tmp_path / "a.zip", tmp_path)
