"""`nomina relevel`: files in, files out, nothing overwritten."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme, partly_visible, read_label_map
from nomina.errors import OutputError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run_nomina: Run) -> Run:
    return partial(run_nomina, "relevel")


@pytest.fixture
def seg(tmp_path: Path) -> Path:
    """Three levels of 36 mm and a canal in SPIDER's numbers."""
    array = np.zeros((5, 20, 40), dtype=np.uint8)
    for n in (1, 2, 3):
        array[:, 8:18, 12 * n - 8 : 12 * n - 5] = 200 + n
        array[:, 8:18, 12 * n - 5 : 12 * n + 4] = n
    array[:, 4:7] = 100
    scheme = load_scheme("spider")
    path = tmp_path / "seg.nii.gz"
    grid = Grid(array.shape, np.diag([4.0, 3.0, 3.0, 1.0]))
    write(LabelMap(array, grid, scheme.labels, "spider", scheme.ignored), path)
    return path


def test_the_new_map_and_what_changed_are_written(run: Run, seg: Path) -> None:
    out = seg.with_name("new.mha")
    anchor = "label 1 is L4"
    code, printed, err = run(seg, "-o", out, "--anchor", anchor, "--scheme", "spider")
    assert code == 0
    old, new = read_label_map(seg, scheme="spider"), read_label_map(out)
    assert new.scheme == "spider"
    np.testing.assert_array_equal(new.array, old.array + ((old.array > 0) & (old.array != 100)))
    written = json.loads(out.with_suffix(".json").read_text())
    assert written["anchors"] == [anchor]
    assert written["source"] == "seg.nii.gz"
    assert [(c["label"], c["new_label"]) for c in written["changed"]] == [
        (201, 202), (1, 2), (202, 203), (2, 3), (203, 204), (3, 4)
    ]  # fmt: skip
    assert printed.splitlines()[2].split() == ["1", "L5", "vertebra", "2", "L4", "vertebra", "1.00"]
    assert "6 of 6 names changed" in err
    assert anchor in err


def test_json_on_stdout_is_the_file(run: Run, seg: Path) -> None:
    out = seg.with_name("new.nii.gz")
    _, printed, _ = run(seg, "-o", out, "--anchor", "lowest disc is L5/S1", "--scheme", "spider", "--json")
    written = json.loads(seg.with_name("new.json").read_text())
    assert json.loads(printed) == written
    assert written["changed"] == []


def test_the_output_of_one_run_is_the_input_of_the_next(run: Run, seg: Path) -> None:
    once, back = seg.with_name("once.nii.gz"), seg.with_name("back.nii.gz")
    run(seg, "-o", once, "--anchor", "label 1 is L4", "--scheme", "spider")
    assert run(once, "-o", back, "--anchor", "lowest vertebra is L5")[0] == 0
    np.testing.assert_array_equal(read_label_map(back).array, read_label_map(seg, scheme="spider").array)


def test_cut_structures_are_read_back_as_cut(run: Run, seg: Path) -> None:
    once, back = seg.with_name("once.nii.gz"), seg.with_name("back.nii.gz")
    run(seg, "-o", once, "--anchor", "label 1 is L4", "--scheme", "spider")
    record = json.loads(seg.with_name("once.json").read_text())
    record["partial"] = [{"label": 4, "name": "L2 vertebra"}, {"label": 204, "name": "L2-L3 disc"}]
    seg.with_name("once.json").write_text(json.dumps(record))
    assert run(once, "-o", back, "--anchor", "lowest vertebra is L5")[0] == 0
    assert partly_visible(read_label_map(back)) == {3: "L3 vertebra", 203: "L3-L4 disc"}


@pytest.mark.parametrize(
    ("output", "anchors", "message"),
    [
        ("seg.nii.gz", ["lowest disc is L5/S1"], "the input itself"),
        ("seg.mha", ["lowest disc is L5/S1"], "describes seg.nii.gz"),
        ("other.nii.gz", ["lowest disc is L5/S1"], "not written by this command"),
        ("new.nii.gz", ["label 1 is L4", "label 2 is L1"], "contradict each other"),
        ("new.nii.gz", ["L4 is here: 900,0,0"], "within 5 mm"),
        ("new.nii.gz", ["something"], "not understood"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_file(
    run: Run, seg: Path, output: str, anchors: list[str], message: str
) -> None:
    seg.with_name("other.json").write_text("{}")
    before = seg.read_bytes()
    options = [part for anchor in anchors for part in ("--anchor", anchor)]
    code, printed, err = run(seg, "-o", seg.with_name(output), *options, "--scheme", "spider")
    assert (code, printed) == (1, "")
    assert message in err.replace("\n", " ")
    assert seg.read_bytes() == before
    assert not seg.with_name("new.nii.gz").exists()


def test_a_map_whose_scheme_nobody_names_is_refused(run: Run, seg: Path) -> None:
    code, _, err = run(seg, "-o", seg.with_name("new.nii.gz"), "--anchor", "label 1 is L4")
    assert code == 1
    assert "name its label scheme" in err


def test_an_anchor_is_required(run: Run, seg: Path) -> None:
    assert run(seg, "-o", seg.with_name("new.nii.gz"), "--scheme", "spider")[0] == 2


def test_a_map_that_cannot_be_written_leaves_the_earlier_files(
    run: Run, seg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = seg.with_name("new.mha")
    options = ("-o", out, "--anchor", "label 1 is L4", "--scheme", "spider")
    assert run(seg, *options)[0] == 0
    before = {path.name: path.read_bytes() for path in seg.parent.iterdir()}

    def fail(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("nomina.imaging.write.write", fail)
    assert run(seg, *options)[0] == 1
    assert {path.name: path.read_bytes() for path in seg.parent.iterdir()} == before
