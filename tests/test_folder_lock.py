"""Two processes never write into one folder."""

import os
import signal
from pathlib import Path

import pytest

from nomina.errors import OutputError
from nomina.folder_lock import LOCK_FILE, locked_folder


def held_by_another_process(folder: Path) -> int:
    """A process that holds the folder until it is killed."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with locked_folder(folder, "training"):
            os.write(tell, b"x")
            signal.pause()
    os.read(ready, 1)
    return child


def test_another_process_is_told_who_holds_the_folder_and_a_kill_frees_it(tmp_path: Path) -> None:
    child = held_by_another_process(tmp_path / "run")
    with (
        pytest.raises(OutputError, match="another process is training there"),
        locked_folder(tmp_path / "run", "x"),
    ):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locked_folder(tmp_path / "run", "training"):
        pass


def test_leftovers_of_a_kill_go_and_everything_else_stays(tmp_path: Path) -> None:
    leftovers = (".0123456789ab.npy", ".aaaaaaaaaaaa", "a.image.npy.part", "state.safetensors.part")
    kept = ("a.image.npy", ".hidden", "0123456789ab.npy", ".0123456789abc.npy", "notes.part", "best.part")
    for name in (*leftovers, *kept):
        (tmp_path / name).write_text("x")
    with locked_folder(tmp_path, "training"):
        assert {path.name for path in tmp_path.iterdir()} == {*kept, LOCK_FILE}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(OutputError, match="file/run cannot be written to"),
        locked_folder(tmp_path / "file" / "run", "x"),
    ):
        pass
