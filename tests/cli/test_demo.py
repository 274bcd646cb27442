"""`nomina demo`: what it prints and leaves behind, and the real thing with the shipped checkpoint."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.anatomy.schemes import read_label_map
from nomina.anatomy.structures import structure
from nomina.cli import demo as command
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write

Run = Callable[..., tuple[int, str, str]]


def write_toy(path: Path) -> LabelMap:
    """A scan of label values, and a truth with a larger L4 and no disc."""
    array = np.zeros((3, 4, 6), dtype=np.uint8)
    array[0] = structure("L4 vertebra").label
    array[1, :2] = structure("L4-L5 disc").label
    array[1, 2:] = structure("spinal canal").label
    grid = Grid(array.shape, np.diag([2.0, 1.0, 1.0, 1.0]))
    write(Volume(array, grid), path)
    truth = np.zeros(array.shape, dtype=np.uint8)
    truth[0], truth[2, :2], truth[1, 2:] = 2, 2, 100
    return LabelMap(truth, grid, names={2: "L4 vertebra", 100: "spinal canal"}, scheme="spider")


@pytest.fixture(autouse=True)
def in_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_phantom_is_scored_against_its_truth(
    run_nomina: Run, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "write_phantom", write_toy)
    monkeypatch.setattr(command, "WORDS", ("L4 vertebra", "L4-5 disk", "spinal canal", "T12"))
    code, out, _ = run_nomina("demo")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["structure", "verdict", "score", "volume_ml", "dice", "remark"]
    assert lines[1][2:6] == ["present", "0.90", "0.0", "0.800"]
    assert lines[2][2:6] == ["present", "0.90", "0.0", "–"]
    assert lines[3][2:6] == ["present", "0.90", "0.0", "1.000"]
    assert lines[4][:3] == ["T12", "vertebra", "outside"]


def test_every_file_that_is_named_is_there(
    run_nomina: Run, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "write_phantom", write_toy)
    monkeypatch.setattr(command, "WORDS", ("L4 vertebra", "L4-5 disk", "spinal canal"))
    _, out, _ = run_nomina("demo", "-o", "results/first")
    named = [line.split()[-1] for line in out.splitlines() if re.match("label map|JSON|picture", line)]
    assert named == [f"results/first/phantom_seg.{suffix}" for suffix in ("nii.gz", "json", "png")]
    assert all(Path(path).stat().st_size > 0 for path in named)


def test_any_scan_can_take_the_phantoms_place(
    run_nomina: Run, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(Path("mine.nii.gz"))
    monkeypatch.setattr(command, "WORDS", ("L4 vertebra", "spinal canal"))
    code, out, _ = run_nomina("demo", "mine.nii.gz", "-o", "results")
    assert code == 0
    assert "dice" not in out
    assert read_label_map("results/mine_seg.nii.gz").present() == ("L4 vertebra", "spinal canal")


def test_a_folder_of_scans_and_a_file_as_folder_are_refused(run_nomina: Run, fake: Any) -> None:
    Path("scans").mkdir()
    write_toy(Path("scans/a.nii.gz"))
    write_toy(Path("scans/b.nii.gz"))
    code, _, err = run_nomina("demo", "scans", "-o", "results")
    assert code == 1
    assert "2 scans" in err
    code, _, err = run_nomina("demo", "scans/a.nii.gz", "-o", "scans/b.nii.gz")
    assert code == 1
    assert "scans/b.nii.gz cannot be made" in err
    assert fake.loaded == []


def test_the_phantom_shows_all_lumbar_levels_and_not_the_tenth_thoracic(tmp_path: Path) -> None:
    truth = command.write_phantom(tmp_path / "phantom.nii.gz")
    shown = set(truth.present())
    assert {f"L{level} vertebra" for level in range(1, 6)} | {"L4-L5 disc", "spinal canal"} <= shown
    assert "T10 vertebra" not in shown


@pytest.mark.slow
def test_the_shipped_checkpoint_finds_the_phantoms_structures_within_a_minute(run_nomina: Run) -> None:
    from nomina.networks.shipped import SHIPPED

    if not (SHIPPED / "spine-mr" / "model.safetensors").is_file():
        pytest.skip("checkpoint spine-mr is not in this source tree")
    begun = time.process_time()
    code, out, _ = run_nomina("demo")
    duration_s = time.process_time() - begun
    found = {cells[0]: cells[1:] for cells in (re.split("  +", line) for line in out.splitlines())}
    assert code == 0
    for name in ("L4 vertebra", "L4-L5 disc", "spinal canal"):
        assert found[name][0] == "present"
        assert float(found[name][3]) > 0.8, name
    assert found["T10 vertebra"][0] in ("outside", "absent")
    assert duration_s < 60, "processor time of all threads, since other programs may be running"
