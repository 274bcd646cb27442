"""`nomina vote`: files in, files out, nothing overwritten."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme, partly_visible, read_label_map
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seg(tmp_path: Path) -> Path:
    """An artery of 32 voxels' length with 6 of vein in it, and a vein."""
    array = np.zeros((40, 20, 40), dtype=np.uint8)
    array[4:8, 8:12, 4:36] = 141
    array[4:8, 8:12, 20:26] = 144
    array[30:34, 8:12, 4:36] = 144
    path = tmp_path / "seg.nii.gz"
    write(LabelMap(array, Grid(array.shape, np.eye(4)), load_scheme("nomina").labels, "nomina"), path)
    return path


def test_the_new_map_and_what_changed_are_written(run_nomina: Run, seg: Path) -> None:
    out = seg.with_name("voted.mha")
    code, printed, err = run_nomina("vote", seg, "-o", out, "--scheme", "nomina")
    assert code == 0
    voted = read_label_map(out).array
    assert (voted[4:8, 8:12, 4:36] == 141).all()
    assert (voted[30:34, 8:12, 4:36] == 144).all()
    written = json.loads(out.with_suffix(".json").read_text())
    assert written["source"] == "seg.nii.gz"
    assert written["num_changed_voxels"] == 4 * 4 * 6
    assert printed == "pulmonary vein: 0.1 ml went to the other tree\n"
    assert "changed branches: 1" in err


def test_cut_vessels_are_read_back_as_cut(run_nomina: Run, seg: Path) -> None:
    first, second = seg.with_name("voted.mha"), seg.with_name("again.mha")
    assert run_nomina("vote", seg, "-o", first, "--scheme", "nomina")[0] == 0
    record = json.loads(first.with_suffix(".json").read_text())
    assert record["partial"] == []
    record["partial"] = [{"label": 144, "name": "pulmonary vein"}]
    first.with_suffix(".json").write_text(json.dumps(record))
    assert run_nomina("vote", first, "-o", second)[0] == 0
    assert partly_visible(read_label_map(second)) == {144: "pulmonary vein"}


def test_json_on_stdout_is_the_file(run_nomina: Run, seg: Path) -> None:
    out = seg.with_name("voted.nii.gz")
    code, printed, _ = run_nomina("vote", seg, "-o", out, "--scheme", "nomina", "--json")
    assert code == 0
    assert json.loads(printed) == json.loads(out.with_name("voted.json").read_text())


def test_the_input_is_never_replaced(run_nomina: Run, seg: Path) -> None:
    before = seg.read_bytes()
    code, _, err = run_nomina("vote", seg, "-o", seg, "--scheme", "nomina")
    assert code == 1
    assert "is the input itself" in err
    assert seg.read_bytes() == before
