import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme
from nomina.cli.measure import rounded
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spine(tmp_path: Path) -> Path:
    """L4 as a box of 18 × 30 × 24 mm before a canal, in SPIDER's numbers."""
    array = np.zeros((8, 40, 20), dtype=np.uint8)
    array[1:7, 20:35, 4:16] = 2
    array[3:5, 8:16] = 100
    scheme = load_scheme("spider")
    grid = Grid(array.shape, np.diag([3.0, 2.0, 2.0, 1.0]))
    path = tmp_path / "spine.nii.gz"
    write(LabelMap(array, grid, scheme.labels, "spider", scheme.ignored), path)
    return path


def rows(text: str) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["structure"], row["quantity"]): row for row in csv.DictReader(io.StringIO(text))}


def test_a_csv_file_has_values_or_reasons(run_nomina: Run, spine: Path, tmp_path: Path) -> None:
    code, out, err = run_nomina("measure", spine, "--scheme", "spider", "-o", tmp_path / "sizes.csv")
    assert (code, out) == (0, "")
    assert "sizes.csv" in err
    found = rows((tmp_path / "sizes.csv").read_text())
    assert float(found["L4 vertebra", "height_middle_mm"]["value"]) == pytest.approx(24.0, abs=0.3)
    assert float(found["L4 vertebra", "volume_ml"]["value"]) == pytest.approx(18 * 30 * 24 / 1000)
    assert found["spine", "lordosis_l1_s1_deg"]["value"] == ""
    assert found["spine", "lordosis_l1_s1_deg"]["reason"]


def test_json_has_null_where_there_is_no_value(run_nomina: Run, spine: Path) -> None:
    found = json.loads(run_nomina("measure", spine, "--scheme", "spider", "--json")[1])
    assert {row["quantity"] for row in found if row["value"] is None} >= {"lordosis_l1_s1_deg"}


def test_a_json_file_is_what_would_have_been_printed(run_nomina: Run, spine: Path, tmp_path: Path) -> None:
    output = tmp_path / "sizes.json"
    assert run_nomina("measure", spine, "--scheme", "spider", "-o", output)[:2] == (0, "")
    assert output.read_text() == run_nomina("measure", spine, "--scheme", "spider", "--json")[1]


def test_the_table_is_rounded_and_gives_reasons(run_nomina: Run, spine: Path) -> None:
    code, out, err = run_nomina("measure", spine, "--scheme", "spider")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    # 18 × 30 × 24 mm are 12.96 ml.
    assert ["volume_ml", "13.0"] in [line[-2:] for line in lines]
    _, missing = out.split("not measured")
    assert "lordosis_l1_s1_deg" in missing


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12"), (-4.567, "-4.57"), (12.96, "13.0"), (1234.5, "1234"), (0.0, "0.00")]
)
def test_numbers_are_rounded_for_reading(value: float, text: str) -> None:
    assert rounded(value) == text


@pytest.fixture
def vessels(tmp_path: Path) -> tuple[Path, Path]:
    """An artery in the left lung and a vein in the right one, described by a JSON file; and the lungs."""
    array = np.zeros((40, 20, 30), dtype=np.uint8)
    array[8:11, 9:12, 5:25] = 1
    array[28:34, 7:13, 5:25] = 2
    lungs = np.zeros_like(array)
    lungs[2:18], lungs[22:38] = 9, 4
    grid = Grid(array.shape, np.diag([0.8, 0.8, 0.8, 1.0]))
    names = {1: "pulmonary artery", 2: "pulmonary vein"}
    write(LabelMap(array, grid, names), tmp_path / "vessels.nrrd")
    write(LabelMap(lungs, grid, {4: "a", 9: "b"}), tmp_path / "lungs.nrrd")
    structures = [{"label": value, "name": name} for value, name in names.items()]
    (tmp_path / "vessels.json").write_text(json.dumps({"structures": structures}))
    return tmp_path / "vessels.nrrd", tmp_path / "lungs.nrrd"


def test_vessels_are_measured_per_lung(run_nomina: Run, vessels: tuple[Path, Path]) -> None:
    code, out, _ = run_nomina("measure", vessels[0], "--lungs", vessels[1], "--json")
    assert code == 0
    found = {(r["structure"], r["place"], r["quantity"]): r["value"] for r in json.loads(out)}
    assert found["pulmonary artery", "left lung", "volume_ml"] == pytest.approx(180 * 0.512 / 1000)
    assert found["pulmonary artery", "right lung", "volume_ml"] == 0.0
    assert found["pulmonary vein", "right lung", "bv10_ml"] > 0


def test_what_cannot_be_done_is_one_message(
    run_nomina: Run, spine: Path, vessels: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = run_nomina("measure", spine, "--scheme", "spider", "-o", tmp_path / "sizes.txt")
    assert (code, out) == (1, "")
    assert "must end in .csv or .json" in err
    code, _, err = run_nomina("measure", spine, "--scheme", "spider", "--lungs", vessels[1])
    assert code == 1
    assert "no pulmonary vessel" in err
    (tmp_path / "vessels.json").write_text(
        json.dumps({"structures": [{"label": 1, "name": "spleen"}, {"label": 2, "name": "liver"}]})
    )
    code, _, err = run_nomina("measure", vessels[0])
    assert code == 1
    assert "nothing to measure: the label map holds spleen, liver" in err


def test_an_output_is_refused_before_anything_is_measured(
    run_nomina: Run, vessels: tuple[Path, Path], tmp_path: Path
) -> None:
    sidecar = tmp_path / "vessels.json"
    before = sidecar.read_text()
    code, _, err = run_nomina("measure", vessels[0], "-o", sidecar)
    assert code == 1
    assert "describes a label map" in err.replace("\n", " ")
    assert sidecar.read_text() == before
    code, _, err = run_nomina("measure", tmp_path / "missing.nrrd", "-o", tmp_path / "nowhere" / "sizes.csv")
    assert code == 1
    assert "nowhere does not exist" in err.replace("\n", " ")
