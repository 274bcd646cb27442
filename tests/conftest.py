"""Fixtures shared by all tests."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}

KilledAt = Callable[[Callable[[], object], Path, int], bool]


@pytest.fixture
def killed_at() -> KilledAt:
    """`killed_at(work, folder, n)` runs work in a process that is killed right before its n-th change there.

    A change is a file opened for writing, renamed or deleted, or a folder made or deleted. Returns False when
    the work ended, without an error, before it made n changes. The kill is SIGKILL: nothing can catch it.
    """

    def run(work: Callable[[], object], folder: Path, n: int) -> bool:
        child = os.fork()
        if child == 0:
            _die_at_change(folder, n)
            try:
                work()
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0, "the work failed before it could be killed"
        return False

    return run


def _die_at_change(folder: Path, n: int) -> None:
    num_changes = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal num_changes
        is_write = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (is_write or event in _CHANGES) and str(arguments[0]).startswith(str(folder)):
            num_changes += 1
            if num_changes == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real scans, kept beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real scans are not here: expected a folder shared/data beside the repository")
    return folder
