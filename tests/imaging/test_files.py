import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from nomina.errors import OutputError
from nomina.imaging.files import atomic_path, write_bytes_atomic, write_text_atomic

ReadOnly = Callable[[Path], AbstractContextManager[None]]


def test_text_is_written_as_utf8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "a.csv", "Wirbelkörper\n3\r\n")
    assert (tmp_path / "a.csv").read_bytes() == "Wirbelkörper\n3\r\n".encode()


def test_nothing_but_the_file_is_left_in_the_folder(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "a.bin", b"1")
    write_bytes_atomic(tmp_path / "a.bin", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"2"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.nii.gz"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("hal")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_is_hidden_and_keeps_the_format_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "case.1.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
        temporary.touch()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"folder .*nowhere does not exist; create it first"):
        write_text_atomic(tmp_path / "nowhere" / "a.txt", "")


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        write_text_atomic(tmp_path / "a", "")


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path, read_only: ReadOnly) -> None:
    with read_only(tmp_path), pytest.raises(OutputError, match=r"Permission denied.*permissions"):
        write_text_atomic(tmp_path / "a.txt", "")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_refuses_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"No space left.*free space"), atomic_path(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")


def test_an_error_of_a_writer_inside_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError) as found,
        atomic_path(tmp_path / "a.txt") as temporary,
        atomic_path(temporary),
    ):
        raise OSError(28, "No space left on device")
    assert str(found.value).startswith(f"{tmp_path / 'a.txt'} cannot be written: No space left")


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    texts = [letter * 100_000 for letter in "abcd"]
    threads = [threading.Thread(target=write_text_atomic, args=(target, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
