"""Records of a grid that are damaged: a run's is refused by name, a case's scores are made again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nomina.assessment.folders import Scoring
from nomina.bench.grid import Run, expand, load_grid
from nomina.bench.measure import Maker, measure, read_measured
from nomina.bench.modes import Mode
from nomina.bench.run import steps_done
from nomina.bench.scans import read_reference
from nomina.config import to_plain
from nomina.errors import CheckpointError
from nomina.imaging.volume import LabelMap
from nomina.learning.cases import Case
from nomina.learning.datasets.folder import folder_cases
from nomina.networks.contract import HASHED_FILES


@pytest.fixture
def run(grid_file: Callable[..., Path], tmp_path: Path) -> Run:
    return expand(load_grid(grid_file(tmp_path)))[0]


@pytest.fixture
def record_path(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "out" / "runs" / run.name / "last" / "run.json"
    path.parent.mkdir(parents=True)
    return path


def test_a_damaged_record_of_a_run_is_named_with_what_to_remove(
    run: Run, record_path: Path, spoil_json: Callable[[Path], None], tmp_path: Path
) -> None:
    spoil_json(record_path)
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read[\s\S]*remove .*last to go on"):
        steps_done(run, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"step": "many"}, "step"),
        ({"step": None}, "step"),
        ({"files": {}}, "files"),
        ({"files": [1]}, "files"),
        ({"training_patients": 3}, "training_patients"),
        ({"num_phantoms": "x"}, "num_phantoms"),
    ],
)
def test_a_value_of_another_kind_in_the_record_is_named(
    run: Run, record_path: Path, changes: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    record = {
        "recipe": to_plain(run.recipe),
        "step": 2,
        "files": dict.fromkeys(HASHED_FILES, "0" * 64),
        "training_patients": ["p0", "p1"],
        "num_phantoms": 0,
    }
    record_path.write_text(json.dumps(record))
    assert steps_done(run, tmp_path / "out") == 2
    record_path.write_text(json.dumps(record | changes))
    with pytest.raises(CheckpointError, match=rf"cannot be read[\s\S]*{fault}[\s\S]*remove"):
        steps_done(run, tmp_path / "out")


class Perfect:
    """Predicts the reference."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def predict(self, index: int, mode: Mode) -> LabelMap:
        return read_reference(self.case)

    def is_wrong(self, index: int, mode: Mode) -> bool:
        return False

    def comparable(self, label_map: LabelMap) -> LabelMap:
        return label_map


@pytest.fixture
def measured(phantom_data: Path, tmp_path: Path) -> tuple[Callable[[], int], Path]:
    """How many cases of one count as measured, and the file of its scores."""
    case = folder_cases(phantom_data / "scans")[0]
    scoring = Scoring("spider", "spider")
    measure(Perfect(case), [case], ["none"], tmp_path, scoring, maker=Maker("0" * 64, 3))
    path = tmp_path / "none" / f"{case.id}.scores.json"
    return lambda: len(read_measured(Maker("0" * 64, 3), [case], "none", tmp_path, scoring)), path


def test_damaged_scores_count_as_not_made(
    measured: tuple[Callable[[], int], Path], spoil_json: Callable[[Path], None]
) -> None:
    num_measured, path = measured
    assert num_measured() == 1
    spoil_json(path)
    assert num_measured() == 0


@pytest.mark.parametrize("part", ["stamp", "is_wrong", "scores"])
def test_scores_that_lack_a_part_count_as_not_made(
    measured: tuple[Callable[[], int], Path], part: str
) -> None:
    num_measured, path = measured
    record = json.loads(path.read_text())
    del record[part]
    path.write_text(json.dumps(record))
    assert num_measured() == 0
