"""A whole grid on phantoms: trained, measured in every mode, resumed, and never done twice."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nomina.assessment.folders import Scoring, evaluate_folders
from nomina.bench import run as run_module
from nomina.bench.grid import GridConfig, load_grid
from nomina.bench.modes import SPINE_MODES
from nomina.bench.run import progress, run_grid, write_table
from nomina.bench.spine_modes import SpineServer
from nomina.errors import ConfigError
from nomina.inference.version import SLICE_INFERENCE

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def cfg(grid_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> GridConfig:
    return load_grid(grid_file(tmp_path_factory.mktemp("grid")))


@pytest.fixture(scope="module")
def killed_and_finished(cfg: GridConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The grid, killed while the second run is measured and begun again; and what was done in which order."""
    out = tmp_path_factory.mktemp("out")
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        real_fit, real_predict = run_module.fit, SpineServer.predict

        def fit(recipe: Any, folder: Path, **options: Any) -> Path:
            done.append(f"train {recipe.name}")
            return real_fit(recipe, folder, **options)

        def predict(server: SpineServer, index: int, mode: Any) -> Any:
            if mode == "self" and "killed" not in done:
                done.append("killed")
                raise Killed
            done.append(f"{server.folder.parent.name} {mode} {server.cases[index].id}")
            return real_predict(server, index, mode)

        patched.setattr(run_module, "fit", fit)
        patched.setattr(SpineServer, "predict", predict)
        with pytest.raises(Killed):
            run_grid(cfg, out, accelerator="cpu")
        run_grid(cfg, out, accelerator="cpu")
        run_grid(cfg, out, accelerator="cpu")
    return out, done


def test_every_part_is_done_once_though_the_grid_was_killed_and_begun_three_times(
    killed_and_finished: tuple[Path, list[str]],
) -> None:
    done = [entry for entry in killed_and_finished[1] if entry != "killed"]
    expected = [f"plain-seed0 {mode} {case}" for mode in ("none", "best_shift") for case in ("p2", "p3")]
    expected += [f"words-seed0 {mode} {case}" for mode in SPINE_MODES for case in ("p2", "p3")]
    assert sorted(done) == sorted([*expected, "train plain", "train words"])
    stamps = [json.loads(path.read_text())["stamp"] for path in killed_and_finished[0].rglob("*.scores.json")]
    assert {stamp["inference"] for stamp in stamps} == {SLICE_INFERENCE}


def test_the_table_has_a_row_per_network_and_mode_and_says_what_a_reference_reached(
    killed_and_finished: tuple[Path, list[str]],
) -> None:
    out, _ = killed_and_finished
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = {(row["variant"], row["mode"]): row for row in csv.DictReader(file)}
    words = [("words", mode) for mode in SPINE_MODES]
    assert list(rows) == [("plain", "none"), ("plain", "best_shift"), *words]
    for (_, mode), row in rows.items():
        assert ("ORACLE" in row["stamp"]) == (mode in ("oracle", "best_shift"))
        assert (row["steps"], row["scans"], row["training_patients"]) == ("3", "2", "2")
        assert 0 <= float(row["dice"]) <= 1
    assert rows["words", "user"]["stamp"] == "declared by a simulated user"
    assert rows["plain", "none"]["gain_dice"] == ""
    gain = float(rows["words", "predicted"]["gain_dice"])
    expected = float(rows["words", "predicted"]["dice"]) - float(rows["plain", "none"]["dice"])
    assert gain == pytest.approx(expected, abs=1e-5)
    content = json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert content["missing_runs"] == []
    assert content["rows"][0]["dice_of_structure"].keys() >= {"L5 vertebra", "spinal canal"}
    text = (out / "table.md").read_text(encoding="utf-8")
    assert "| words | oracle (X) [ORACLE: upper bound] | 2 patients |" in text
    assert "words: as in the paper" in text


def test_the_command_that_scores_folders_gives_the_same_numbers(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]]
) -> None:
    out, _ = killed_and_finished
    predictions = out / "runs" / "words-seed0" / "modes" / "predicted"
    scoring = Scoring("spider", "nomina", cfg.policy, cfg.max_level)
    evaluation = evaluate_folders(predictions, Path(cfg.test.folder) / "labels", scoring, cases=["p2", "p3"])
    row = next(row for row in write_table(cfg, out) if row.mode == "predicted")
    assert row.dice == evaluation.class_wise["dice"]
    assert row.evaluation.naming.counts == evaluation.naming.counts
    canal = evaluation.label_free["canal"].dice.mean
    assert row.label_free["canal"].mean == pytest.approx(canal, nan_ok=True)


def test_the_plan_says_how_far_each_run_is_and_another_grid_in_the_folder_is_refused(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, _ = killed_and_finished
    assert all(one.is_done for one in progress(cfg, out))
    assert [(one.steps_done, one.num_measured) for one in progress(cfg, tmp_path)] == [(0, 0), (0, 0)]
    longer = replace(cfg, set={"train.steps": 5})
    assert [(one.steps_done, one.num_measured) for one in progress(longer, out)] == [(3, 0), (3, 0)]
    with pytest.raises(ConfigError, match="for 3 steps, the grid asks for 2; give another --output"):
        progress(replace(cfg, set={"train.steps": 2}), out)
    with pytest.raises(ConfigError, match="holds a run of another recipe; give another --output"):
        progress(replace(cfg, set={"train.learning_rate": 0.1}), out)
    with pytest.raises(ConfigError, match="no run or variant 'word'; known: plain, plain-seed0, words"):
        run_grid(cfg, out, only=["word"])
    # Scores of other weights or another policy are not taken for these.
    assert progress(replace(cfg, policy="skip"), out)[0].num_measured == 0
