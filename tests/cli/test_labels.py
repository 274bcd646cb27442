"""`nomina labels`: schemes shown, files converted, losses said."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from nomina.anatomy.schemes import read_label_map
from nomina.cli.labels import app
from nomina.errors import OutputError, SchemeError, VolumeError

runner = CliRunner()
AFFINE = np.array([[-2.0, 0, 0, 5], [0, 0, 1, -7], [0, 3.0, 0, 2], [0, 0, 0, 1]])


@pytest.fixture
def spider_file(tmp_path: Path) -> Path:
    path = tmp_path / "case.nii.gz"
    array = np.array([0, 1, 2, 100, 105, 201, 202, 0], dtype=np.int16).reshape(2, 2, 2)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


def test_schemes_are_listed_value_by_value() -> None:
    result = runner.invoke(app, ["list"])
    lines = result.stdout.splitlines()
    assert "spider\t1\tL5 vertebra" in lines
    assert "spider\t101\tL5 vertebra, partly visible" in lines
    assert "mrspineseg\t11\tL5-S1 disc" in lines
    assert "nomina\t123\tL4-L5 disc" in lines
    assert "totalsegmentator\t5\tliver" in lines
    assert "cip\t+512\tAirway, added to a region" in lines


def test_schemes_are_listed_as_json() -> None:
    (scheme,) = json.loads(runner.invoke(app, ["list", "mrspineseg", "--json"]).stdout)
    assert scheme["labels"]["2"] == "L5 vertebra"
    assert scheme["counts_from_bottom"] is False


def test_a_file_is_converted_in_its_own_geometry(spider_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.nii.gz"
    result = runner.invoke(
        app, ["convert", str(spider_file), str(output), "--from", "spider", "--to", "nomina"]
    )
    assert result.exit_code == 0, result.exception
    assert "5 structures" in result.stdout
    converted = read_label_map(output, scheme="nomina")
    assert converted.array.ravel().tolist() == [0, 24, 23, 61, 220, 124, 123, 0]
    np.testing.assert_allclose(converted.grid.affine, AFFINE)
    assert "lowest lumbar vertebra" in result.stderr


def test_a_converted_file_says_itself_what_its_values_mean(spider_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.nii.gz"
    arguments = ["convert", str(spider_file), str(output), "--from", "spider", "--to", "nomina"]
    assert runner.invoke(app, arguments).exit_code == 0
    converted = read_label_map(output)  # by the JSON file beside it
    assert converted.scheme == "nomina"
    assert converted.present() == ("L4 vertebra", "L5 vertebra", "spinal canal", "L4-L5 disc", "L5-S1 disc")
    assert 220 in converted.ignored
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (record["format"], record["source"]) == ("nomina-conversion-1", "case.nii.gz")
    assert record["partial"] == [{"label": 220, "name": "L1 vertebra"}]
    assert any("lowest lumbar vertebra" in sentence for sentence in record["notes"])
    assert runner.invoke(app, arguments).exit_code == 0  # it may replace its own file
    back = runner.invoke(app, ["convert", str(output), str(tmp_path / "back.mha"), "--to", "spider"])
    assert back.exit_code == 0, back.exception
    before = read_label_map(spider_file, scheme="spider")
    np.testing.assert_array_equal(read_label_map(tmp_path / "back.mha").array, before.array)


def test_losses_are_said_on_stderr_and_in_json(spider_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mha"
    arguments = ["convert", str(spider_file), str(output), "--from", "spider", "--to", "mrspineseg", "--json"]
    result = runner.invoke(app, arguments)
    summary = json.loads(result.stdout)
    assert summary["structures"] == {
        "2": "L5 vertebra",
        "3": "L4 vertebra",
        "11": "L5-S1 disc",
        "12": "L4-L5 disc",
    }
    assert len(summary["lost"]) == 2
    assert "spinal canal (label 100) has no value in mrspineseg" in result.stderr
    assert "only partly visible, label 105" in result.stderr


def test_a_map_of_which_nothing_can_be_said_is_refused(tmp_path: Path) -> None:
    path, output = tmp_path / "lungs.nii.gz", tmp_path / "out.nii.gz"
    nib.save(nib.Nifti1Image(np.array([0, 1, 2, 4] * 2, dtype=np.int16).reshape(2, 2, 2), AFFINE), path)
    refused = runner.invoke(app, ["convert", str(path), str(output), "--from", "la_caf", "--to", "spider"])
    assert isinstance(refused.exception, SchemeError)
    assert "none of its structures has a value in scheme spider: left pulmonary artery" in str(
        refused.exception
    )
    assert [found.name for found in tmp_path.iterdir()] == ["lungs.nii.gz"]


def test_an_empty_map_stays_an_empty_map(tmp_path: Path) -> None:
    path, output = tmp_path / "empty.nii.gz", tmp_path / "out.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.int16), AFFINE), path)
    done = runner.invoke(app, ["convert", str(path), str(output), "--from", "la_caf", "--to", "spider"])
    assert done.exit_code == 0


def test_what_cannot_be_divided_is_refused_unless_it_is_left_out(tmp_path: Path) -> None:
    path, output = tmp_path / "mr.nii.gz", tmp_path / "out.nii.gz"
    array = np.array([0, 18, 19, 21, 5, 0, 0, 19], dtype=np.int16).reshape(2, 2, 2)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    arguments = ["convert", str(path), str(output), "--from", "totalsegmentator_mr", "--to", "nomina"]
    refused = runner.invoke(app, arguments)
    assert isinstance(refused.exception, SchemeError)
    assert not output.exists()
    done = runner.invoke(app, [*arguments, "--leave-out", "vertebrae"])
    assert done.exit_code == 0
    assert read_label_map(output, scheme="nomina").array.ravel().tolist() == [0, 26, 0, 60, 0, 0, 0, 0]
    assert "liver (label 5) has no value in nomina" in done.stderr
    assert "vertebrae" not in done.stderr


def test_the_input_is_never_overwritten(spider_file: Path) -> None:
    before = spider_file.read_bytes()
    same = str(spider_file.parent / "." / spider_file.name)
    result = runner.invoke(app, ["convert", str(spider_file), same, "--from", "spider", "--to", "nomina"])
    assert isinstance(result.exception, OutputError)
    assert spider_file.read_bytes() == before


def test_an_output_that_a_sidecar_would_misname_is_refused(spider_file: Path, tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text('{"structures": []}')
    output = tmp_path / "case.mha"
    result = runner.invoke(
        app, ["convert", str(spider_file), str(output), "--from", "spider", "--to", "nomina"]
    )
    assert isinstance(result.exception, OutputError)
    assert not output.exists()


def test_a_file_that_does_not_follow_its_scheme_leaves_nothing_behind(
    spider_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.nii"
    result = runner.invoke(
        app, ["convert", str(spider_file), str(output), "--from", "mrspineseg", "--to", "nomina"]
    )
    assert isinstance(result.exception, SchemeError)
    assert [path.name for path in tmp_path.iterdir()] == ["case.nii.gz"]


def spine_file(folder: Path, values: dict[int, int]) -> Path:
    """Boxes one above the other: each value at its height, 36 mm apart, above and behind nothing."""
    array = np.zeros((8, 9, 30), dtype=np.int16)
    for value, place in values.items():
        array[2:6, 3:6, 2 + 3 * place : 4 + 3 * place] = value
    path = folder / "spine.nii.gz"
    nib.save(nib.Nifti1Image(array, np.diag([5.0, 6.0, 12.0, 1.0])), path)
    return path


def test_a_file_that_follows_its_scheme_exits_0_and_says_how_sure(tmp_path: Path) -> None:
    path = spine_file(tmp_path, {1: 0, 2: 1, 3: 2, 4: 3, 5: 4})
    result = runner.invoke(app, ["verify", str(path), "--scheme", "spider"])
    assert result.exit_code == 0, result.stdout
    assert "follows the scheme spider (8 of 8 relations hold, confidence 0.89)" in result.stdout


def test_a_file_that_does_not_follow_its_scheme_exits_1_and_names_the_one_that_fits(tmp_path: Path) -> None:
    path = spine_file(tmp_path, {20: 4, 21: 3, 22: 2, 23: 1, 24: 0})
    result = runner.invoke(app, ["verify", str(path), "--scheme", "spider", "--json"])
    assert result.exit_code == 1
    verdict = json.loads(result.stdout)
    assert verdict["fits"] is False
    assert verdict["claimed"]["scheme"] == "spider"
    assert {"verse", "spineps_instance"} <= {
        fit["scheme"] for fit in verdict["proposals"] if not fit["change"]
    }


def test_a_scheme_other_than_that_of_the_file_beside_it_is_refused(spider_file: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "verse.nii.gz", tmp_path / "out.nii.gz"
    runner.invoke(app, ["convert", str(spider_file), str(first), "--from", "spider", "--to", "verse"])
    refused = runner.invoke(app, ["convert", str(first), str(second), "--from", "spider", "--to", "nomina"])
    assert isinstance(refused.exception, SchemeError)
    assert "--from says spider" in str(refused.exception)
    assert "says verse" in str(refused.exception)
    assert not second.exists()


def test_the_scheme_is_taken_from_the_file_beside_it_or_found(tmp_path: Path) -> None:
    path = spine_file(tmp_path, {20: 4, 21: 3, 22: 2, 23: 1, 24: 0})
    unclaimed = runner.invoke(app, ["verify", str(path)])
    assert unclaimed.exit_code == 0
    assert "verse fits (8 relations hold, confidence 0.89)" in unclaimed.stdout
    (tmp_path / "spine.json").write_text('{"scheme": "mrspineseg", "structures": []}')
    claimed = runner.invoke(app, ["verify", str(path)])
    assert claimed.exit_code == 1
    assert "does not follow the scheme mrspineseg" in claimed.stdout
    assert "values 20, 21, 22, 23, 24 have no meaning in mrspineseg" in claimed.stdout


def test_a_scan_is_told_in_one_sentence_to_be_no_label_map(tmp_path: Path) -> None:
    path = tmp_path / "mr.nii.gz"
    grey = np.random.default_rng(0).normal(60, 20, (12, 13, 14)).clip(0, 255).astype(np.int16)
    nib.save(nib.Nifti1Image(grey, AFFINE), path)
    for arguments in (["--scheme", "spider"], []):
        refused = runner.invoke(app, ["verify", str(path), *arguments])
        assert refused.exit_code == 1
        assert refused.stdout == ""
        assert isinstance(refused.exception, VolumeError)
        assert str(refused.exception).startswith(f"{path} is no label map: ")


def test_what_speaks_against_a_file_stands_below_its_name(tmp_path: Path) -> None:
    path = spine_file(tmp_path, {20: 4, 21: 3, 22: 2, 23: 1, 24: 0})
    first, *rest = runner.invoke(app, ["verify", str(path), "--scheme", "spider"]).stdout.splitlines()
    assert first.startswith(f"{path}: does not follow the scheme spider")
    assert rest
    assert all(line.startswith("  ") and str(path) not in line for line in rest)


@pytest.mark.parametrize("arguments", [["--scheme", "spider"], []])
def test_a_file_without_a_label_is_said_to_hold_none(tmp_path: Path, arguments: list[str]) -> None:
    path = spine_file(tmp_path, {})
    result = runner.invoke(app, ["verify", str(path), *arguments])
    assert result.stdout.splitlines() == [f"{path}: holds no label, so there is nothing to check"]
    assert result.exit_code == 1
