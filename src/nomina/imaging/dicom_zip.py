"""DICOM files out of a zip archive, without trusting the archive."""

import errno
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from nomina.errors import DicomError
from nomina.imaging.dicom_series import looks_like_dicom

MAX_MEMBERS = 20_000
"""Most members an archive may have [choice: ten times a long CT]."""

MAX_BYTES = 8 * 2**30
"""Most bytes an archive may declare, unpacked [choice: no single series is as large]."""

FREE_BYTES = 256 * 2**20
"""Up to here an archive may unpack to, however small it is [choice]."""

MAX_RATIO = 30
"""Beyond that, it may unpack to at most this many times its size [choice: scans reach 10]."""


_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, OverflowError,
    IndexError,
)  # fmt: skip
"""What zipfile raises on damaged archives."""


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
            _check(members, archive.stat().st_size)
            for number, member in enumerate(members):
                num_extracted += _extract(opened, member, folder / f"{number:05d}.dcm")
    except DicomError:
        raise
    except RuntimeError as error:
        if isinstance(error, NotImplementedError | RecursionError):
            raise _damaged(error) from error
        raise DicomError(
            "the zip archive is encrypted; unpack it and give the folder", code="encrypted-zip"
        ) from error
    except _DAMAGE as error:
        raise _damaged(error) from error
    except OSError as error:
        # bzip2 gives no number; zipfile seeks to where a damaged directory says.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(error) from error
    if num_extracted == 0:
        raise DicomError(
            "the zip archive holds no DICOM file; expected the files of one series", code="no-images"
        )
    return len(members) - num_extracted


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bool:
    """Write a member where it is a DICOM file; says whether it is."""
    with opened.open(member) as source:
        start = source.read(132)
        if not looks_like_dicom(start):
            return False
        with path.open("wb") as target:
            target.write(start)
            shutil.copyfileobj(source, target)
    return True


def _damaged(error: Exception) -> DicomError:
    return DicomError(
        f"the zip archive is damaged or of an unknown kind ({error}); create it again", code="damaged-file"
    )


def _check(members: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise DicomError(
            f"the zip archive has {len(members)} members, at most {MAX_MEMBERS} are read; unpack it first",
            code="zip-too-large",
        )
    most = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * archive_bytes))
    if (size := sum(member.file_size for member in members)) > most:
        raise DicomError(
            f"the zip archive unpacks to {size} bytes, at most {most} are read; unpack it first",
            code="zip-too-large",
        )
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        has_drive = ":" in "".join(name.parts[:1])
        is_outside = name.is_absolute() or ".." in name.parts or has_drive
        if is_outside or stat.S_ISLNK(member.external_attr >> 16):
            raise DicomError(
                "the zip archive holds a link or a member that points outside it, as hostile archives do; "
                "unpack it yourself if you trust it and give the folder",
                code="hostile-zip",
            )
