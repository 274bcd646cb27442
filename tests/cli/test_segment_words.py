"""`nomina segment`: what is refused by its words and options alone, before anything is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume
from nomina.imaging.write import write

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


def test_a_folder_that_is_made_is_named(run_nomina: Run, fake: object, tmp_path: Path) -> None:
    array = np.full((4, 5, 6), structure("L4 vertebra").label, dtype=np.uint8)
    write(Volume(array, Grid(array.shape, np.eye(4))), tmp_path / "scan.nii.gz")
    arguments = ["segment", tmp_path / "scan.nii.gz", "-p", "L4", "-o", tmp_path / "out" / "seg.nii.gz"]
    arguments += ["--card", tmp_path / "cards" / "run.json"]
    code, _, err = run_nomina(*arguments)
    assert code == 0
    assert f"made folder {tmp_path / 'out'}\n" in err
    assert f"made folder {tmp_path / 'cards'}\n" in err
    assert "made folder" not in run_nomina(*arguments)[2]


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
