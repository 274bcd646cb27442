"""One process at a time writes into a folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from nomina.errors import OutputError

_LEFTOVER = re.compile(r"\.[0-9a-f]{12}(\..*)?|.*\.(npy|json|safetensors)\.part")
"""Temporary names of `nomina.imaging.files.atomic_path`, and those of earlier versions."""

LOCK_FILE = ".lock"
"""Says what is done in the folder, and stays behind; the lock itself ends with its process."""


@contextmanager
def locked_folder(folder: Path, work: str) -> Iterator[None]:
    """Make a folder if need be, hold it for this process while the block runs, and tidy it.

    Args:
        folder: The folder.
        work: What is done there, for the message of another process that wants it too, e.g. "training".

    Raises:
        OutputError: The folder cannot be made or written to, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror or error}; choose another folder"
        ) from error
    with file:
        _lock(file, folder)
        file.truncate(0)
        file.write(f"{work}\n")
        file.flush()
        _clear_leftovers(folder)
        yield


def _clear_leftovers(folder: Path) -> None:
    """Delete what killed processes left: files that had not got their names yet."""
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _lock(file: TextIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock; there, two processes must not share a folder.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        work = file.readline().strip() or "at work"
        raise OutputError(
            f"{folder} is in use: another process is {work} there; wait for its end or choose another folder"
        ) from error
    except OSError:  # a network file system without locks
        return
