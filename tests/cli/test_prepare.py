"""`nomina prepare` from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from nomina.cli.prepare import app
from nomina.errors import CaseError

STRUCTURES = "L5 vertebra, spinal canal"


@pytest.fixture
def spider_folder(tmp_path: Path) -> Path:
    """Two patients in SPIDER's layout, one of them marked doubtful; a third without mask."""
    labels = np.zeros((40, 24, 4), dtype=np.uint16)  # S, P, L, as SimpleITK indexes
    labels[:, 14:18] = 100
    labels[5:20, 4:12] = 1
    labels[20:35, 4:12] = 2
    for seed, stem in enumerate(("1_t2", "2_t1", "3_t2")):
        scan = np.random.default_rng(seed).integers(0, 999, labels.shape).astype(np.uint16)
        for folder, array in (("images", scan), ("masks", labels)):
            (tmp_path / "spider" / folder).mkdir(parents=True, exist_ok=True)
            image = SimpleITK.GetImageFromArray(array)
            image.SetSpacing((4.0, 0.6, 0.6))
            if (stem, folder) != ("3_t2", "masks"):
                SimpleITK.WriteImage(image, str(tmp_path / "spider" / folder / f"{stem}.mha"))
    (tmp_path / "spider" / "overview.csv").write_text(
        "new_file_name,subset,level_confidence,note\n"
        "1_t2,training,ok,\n"
        "2_t1,validation,doubtful,six lumbar vertebrae\n"
    )
    return tmp_path / "spider"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_patients_are_prepared_and_counted(spider_folder: Path, tmp_path: Path) -> None:
    summary = json.loads(
        run(
            "spider",
            spider_folder,
            tmp_path / "out",
            "--structures",
            STRUCTURES,
            "--patients",
            "1,2",
            "--json",
        )
    )
    assert (summary["num_cases"], summary["num_patients"]) == (2, 2)
    assert summary["structures"] == [
        {"name": "L5 vertebra", "num_cases": 2, "num_voxels": 2 * 15 * 8 * 4},
        {"name": "spinal canal", "num_cases": 2, "num_voxels": 2 * 40 * 4 * 4},
    ]
    assert summary["doubtful"] == {"2_t1": "six lumbar vertebrae"}
    assert summary["config"]["image"]["in_plane_spacing_mm"] == 0.6


def test_a_split_part_and_a_subset_choose_patients(spider_folder: Path, tmp_path: Path) -> None:
    split = tmp_path / "splits.json"
    split.write_text('{"train": [2], "validation": [1]}')
    options = ("--structures", STRUCTURES, "--json")
    run("spider", spider_folder, tmp_path / "a", "--split", split, "--part", "validation", *options)
    assert [path.name for path in (tmp_path / "a").glob("*.image.npy")] == ["1_t2.image.npy"]
    run("spider", spider_folder, tmp_path / "b", "--subset", "validation", *options)
    assert [path.name for path in (tmp_path / "b").glob("*.image.npy")] == ["2_t1.image.npy"]


def test_faults_stop_the_command_unless_they_are_skipped(spider_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="3_t2: label map is missing"):
        run("spider", spider_folder, tmp_path / "out", "--structures", STRUCTURES)
    text = run("spider", spider_folder, tmp_path / "out", "--structures", STRUCTURES, "--skip-bad")
    assert "2 cases of 2 patients" in text
    assert "left out: 3_t2: label map is missing" in text


def test_patients_and_a_split_together_are_a_usage_error(spider_folder: Path, tmp_path: Path) -> None:
    arguments = ["spider", str(spider_folder), str(tmp_path / "out"), "--patients", "1", "--split", "s.json"]
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_an_unknown_subset_names_the_known_ones(spider_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="knows: none, training, validation"):
        run("spider", spider_folder, tmp_path / "out", "--subset", "test")
