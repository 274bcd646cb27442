"""`nomina bench`: the grid reaches the runs, and what comes back is printed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nomina.bench import run as run_module

Run = Callable[..., tuple[int, str, str]]

GRID = """
name: mine
recipe: recipes/tiny.yaml
set: {data: [{folder: x, split: x.json}]}
test: {dataset: folder, folder: scans}
variants: {plain: {}, words: {note: ours}}
control: plain
sweeps: [{variants: [plain, words]}]
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What the bench was asked to do."""
    made: list[tuple[str, Any]] = []

    def run_grid(cfg: Any, out: Path, **options: Any) -> tuple[()]:
        made.append(("run", {"name": cfg.name, "out": out, **options}))
        return ()

    def write_table(cfg: Any, out: Path) -> tuple[()]:
        made.append(("table", out))
        return ()

    monkeypatch.setattr(run_module, "run_grid", run_grid)
    monkeypatch.setattr(run_module, "write_table", write_table)
    monkeypatch.setattr(run_module, "progress", lambda cfg, out: ())
    monkeypatch.chdir(Path(__file__).parents[2])
    return made


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def test_options_reach_the_grid_and_notes_are_printed(
    run_nomina: Run, calls: list[tuple[str, Any]], grid: Path, tmp_path: Path
) -> None:
    code, out, err = run_nomina(
        "bench", "atm-net", grid, "--output", tmp_path / "out", "--only", "words", "--accelerator", "cpu"
    )
    assert code == 0, err
    assert calls == [
        ("run", {"name": "mine", "out": tmp_path / "out", "only": ["words"], "accelerator": "cpu"})
    ]
    assert "words: ours" in out
    assert "table.csv" in err


def test_the_table_alone_trains_nothing_and_the_plan_does_nothing(
    run_nomina: Run, calls: list[tuple[str, Any]], grid: Path, tmp_path: Path
) -> None:
    replaced = ("--set", "name=other", "--set", "test.folder=elsewhere")
    assert run_nomina("bench", "atm-net", grid, "-o", tmp_path, "--table", *replaced)[0] == 0
    assert calls == [("table", tmp_path)]
    code, out, _ = run_nomina("bench", "atm-net", grid, "-o", tmp_path, "--plan")
    assert code == 0
    assert "scores" in out
    assert len(calls) == 1


def test_a_grid_that_is_not_valid_is_one_message(
    run_nomina: Run, calls: list[tuple[str, Any]], grid: Path, tmp_path: Path
) -> None:
    grid.write_text(GRID.replace("control: plain", "control: none"))
    code, _, err = run_nomina("bench", "atm-net", grid, "-o", tmp_path)
    assert code == 1
    assert "asks for the variant 'none'; it describes plain, words" in err
    assert calls == []


def test_a_grid_of_the_other_command_is_refused(
    run_nomina: Run, calls: list[tuple[str, Any]], grid: Path
) -> None:
    code, _, err = run_nomina("bench", "la-caf", grid, "-o", "out")
    assert code == 1
    assert f"its networks see slices; run `nomina bench atm-net {grid}`" in " ".join(err.split())
    tiny = Path("benchmarks/la_caf_tiny.yaml")
    code, _, err = run_nomina("bench", "atm-net", tiny, "-o", "out")
    assert code == 1
    assert "its networks see blocks; run `nomina bench la-caf" in " ".join(err.split())
    assert run_nomina("bench", "la-caf", tiny, "-o", "out", "--only", "minilm")[0] == 0
    assert calls[0][1]["only"] == ["minilm"]
