"""DICOM files out of a zip archive, without trusting the archive."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from nomina.errors import DicomError
from nomina.imaging.dicom_series import looks_like_dicom

MAX_MEMBERS = 20_000
"""Most members an archive may have [choice: ten times a long CT]."""

MAX_BYTES = 8 * 2**30
"""Most bytes an archive may declare, unpacked [choice: no single series is as large]."""


def extract_dicom(archive: Path, folder: Path) -> int:
    """Unpack the DICOM files of a zip archive as numbered files.

    Args:
        archive: The .zip file.
        folder: Existing empty folder that receives the files.

    Returns:
        Number of members that are not DICOM and were left out.

    Raises:
        DicomError: The archive is damaged, encrypted, too large, holds no DICOM file, or holds a member that
            would be written outside its folder (an absolute path, "..", a link).
    """
    num_extracted = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            _check(members)
            for number, member in enumerate(members):
                with opened.open(member) as source:
                    start = source.read(132)
                    if not looks_like_dicom(start):
                        continue
                    with (folder / f"{number:05d}.dcm").open("wb") as target:
                        target.write(start)
                        shutil.copyfileobj(source, target)
                num_extracted += 1
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DicomError(
            f"the zip archive is damaged or of an unknown kind ({error}); create it again",
            code="damaged-file",
        ) from error
    except RuntimeError as error:
        raise DicomError(
            "the zip archive is encrypted; unpack it and give the folder", code="encrypted-zip"
        ) from error
    if num_extracted == 0:
        raise DicomError(
            "the zip archive holds no DICOM file; expected the files of one series", code="no-images"
        )
    return len(members) - num_extracted


def _check(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise DicomError(
            f"the zip archive has {len(members)} members, at most {MAX_MEMBERS} are read; unpack it first",
            code="zip-too-large",
        )
    if (size := sum(member.file_size for member in members)) > MAX_BYTES:
        raise DicomError(
            f"the zip archive unpacks to {size} bytes, at most {MAX_BYTES} are read; unpack it first",
            code="zip-too-large",
        )
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        is_outside = name.is_absolute() or ".." in name.parts or ":" in name.parts[0]
        if is_outside or stat.S_ISLNK(member.external_attr >> 16):
            raise DicomError(
                "the zip archive holds a link or a member that points outside it, as hostile archives do; "
                "unpack it yourself if you trust it and give the folder",
                code="hostile-zip",
            )
