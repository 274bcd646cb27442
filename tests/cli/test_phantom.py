"""`nomina phantom`: files with known truth."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nomina.anatomy.schemes import read_label_map
from nomina.cli import phantom as command
from nomina.errors import ConfigError, OutputError
from nomina.imaging.read import read_volume
from nomina.phantoms import lung_vessels as lung_module
from nomina.phantoms import spine as spine_module
from nomina.phantoms.lung_plan import LungConfig
from nomina.phantoms.plan import SpineConfig

app = typer.Typer()
app.command()(command.phantom)
runner = CliRunner()


@pytest.fixture(autouse=True)
def _small_spines(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SpineConfig(
        in_plane_mm=(1.6, 1.6), num_slices=(9, 9), slab_mm=(10.0, 20.0), thin_slices_probability=1
    )
    original = spine_module.sample_spine
    monkeypatch.setattr(spine_module, "sample_spine", lambda seed: original(seed, small))


def test_one_phantom_becomes_a_volume_a_reference_and_a_record(tmp_path: Path) -> None:
    result = runner.invoke(app, [str(tmp_path / "a.nii.gz"), "--seed", "4", "--contrast", "t2"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.nii.gz",
        "a_reference.nii.gz",
        "a_reference.json",
    }
    volume = read_volume(tmp_path / "a.nii.gz")
    reference = read_label_map(tmp_path / "a_reference.nii.gz")
    assert volume.grid.matches(reference.grid)
    assert reference.names[2] == "L4 vertebra"
    bright = volume.array[reference.array == 100].mean()
    assert bright > volume.array[reference.array == 2].mean()
    record = json.loads((tmp_path / "a_reference.json").read_text())
    assert record["phantom"]["seed"] == 4
    assert record["phantom"]["sequence"] == "T2"


def test_several_phantoms_fill_a_folder_from_consecutive_seeds(tmp_path: Path) -> None:
    result = runner.invoke(app, [str(tmp_path / "new"), "-n", "2", "--seed", "7", "--json"])
    records = json.loads(result.stdout)
    assert [record["seed"] for record in records] == [7, 8]
    first, second = (read_volume(record["volume"]).array for record in records)
    assert first.shape != second.shape or (first != second).any()
    assert Path(records[0]["volume"]).name == "phantom_00007.nii.gz"
    assert np.unique(read_label_map(records[1]["reference"]).array).size > 5


def test_a_scan_of_that_name_is_not_replaced_but_an_earlier_phantom_is(tmp_path: Path) -> None:
    scan = tmp_path / "phantom_00001.nii.gz"
    scan.write_bytes(b"a patient")
    result = runner.invoke(app, [str(tmp_path), "--count", "2"])
    assert isinstance(result.exception, OutputError)
    assert "phantom_00001.nii.gz exists and is no phantom" in str(result.exception)
    assert list(tmp_path.iterdir()) == [scan]
    assert scan.read_bytes() == b"a patient"
    scan.unlink()
    assert [runner.invoke(app, [str(tmp_path)]).exit_code for _ in range(2)] == [0, 0]


def test_several_phantoms_for_one_file_are_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, [str(tmp_path / "a.mha"), "-n", "2"])
    assert isinstance(result.exception, OutputError)
    assert "give a folder" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def _small_chests(monkeypatch: pytest.MonkeyPatch) -> None:
    small = LungConfig(smallest_diameter_mm=(3.0, 3.0), spacing_mm=(3.0, 3.0, 3.0), margin_mm=8.0)
    original = lung_module.sample_lung
    monkeypatch.setattr(lung_module, "sample_lung", lambda seed: original(seed, small))


@pytest.mark.usefixtures("_small_chests")
def test_a_chest_comes_with_vessels_lobes_airways_and_centrelines(tmp_path: Path) -> None:
    result = runner.invoke(
        app, [str(tmp_path / "c.nii.gz"), "--kind", "lung", "--seed", "3", "--contrast", "arterial", "--json"]
    )
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    volume = read_volume(record["volume"])
    vessels = read_label_map(record["reference"])
    lobes, airways = read_label_map(record["lobes"]), read_label_map(record["airways"])
    assert {"left pulmonary artery", "right pulmonary vein", "left atrium"} <= set(vessels.present())
    assert len(lobes.present()) == 5
    assert airways.present() == ("airway",)
    for label_map in (vessels, lobes, airways):
        assert volume.grid.matches(label_map.grid)
    trees = json.loads(Path(record["trees"]).read_text())
    assert set(trees) == {"arteries", "veins", "airways"}
    assert len(trees["veins"]["parents"]) == len(trees["veins"]["radii_mm"])
    trunk, atrium = (volume.array[vessels.mask(name)].mean() for name in ("pulmonary trunk", "left atrium"))
    assert trunk > atrium + 50


@pytest.mark.parametrize(("kind", "contrast"), [("lung", "t2"), ("spine", "arterial")])
def test_a_contrast_of_the_other_kind_is_refused(tmp_path: Path, kind: str, contrast: str) -> None:
    result = runner.invoke(app, [str(tmp_path / "a.nii.gz"), "--kind", kind, "--contrast", contrast])
    assert isinstance(result.exception, ConfigError)
    assert f"--contrast of a {kind}" in str(result.exception)
