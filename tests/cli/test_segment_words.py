"""`nomina segment`: what is refused by its words and options alone, before anything is read."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("model", [[], ["-m", "spine-mr"]])
def test_every_bad_phrase_is_named_before_anything_is_read(
    run_nomina: Run, tmp_path: Path, model: list[str]
) -> None:
    phrases = [word for phrase in ("liver", "L4", "spleen", "C3") for word in ("-p", phrase)]
    code, out, err = run_nomina("segment", tmp_path / "nowhere.nii.gz", *phrases, *model)
    assert (code, out) == (1, "")
    assert all(f"'{bad}" in err for bad in ("liver", "spleen", "C3"))
    assert "nowhere" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "no structure was asked for"),
        (("-p", "L4", "--max-memory", "2X"), "got '2X'"),
        (("-p", "L4", "--all"), "not both"),
        (("-p", "L4", "--device", "gpu"), "got 'gpu'"),
    ],
)
def test_wrong_usage_exits_2(run_nomina: Run, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    code, out, err = run_nomina("segment", tmp_path / "nowhere.nii.gz", *options)
    assert (code, out) == (2, "")
    assert words in " ".join(err.replace("│", " ").split())
