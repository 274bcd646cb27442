"""A grid of LA-CAF on chests of boxes: trained, measured, killed, resumed, and the same table."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nomina.bench import run as run_module
from nomina.bench.grid import GridConfig, expand, load_grid
from nomina.bench.run import progress, run_grid, write_table
from nomina.bench.scans import ScoredScans
from nomina.bench.vessel_modes import VesselServer
from nomina.errors import CaseError
from nomina.inference.version import BLOCK_INFERENCE
from nomina.language.bank import PromptBank
from nomina.networks.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VARIANTS = ("minilm", "one-hot", "constant", "clip", "faithful-minilm", "half", "half-unmasked")


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def cfg(chest_data: Path, tmp_path_factory: pytest.TempPathFactory) -> GridConfig:
    """The tiny grid that is shipped, on boxes and for two steps."""
    full = load_grid(ROOT / "benchmarks" / "la_caf_tiny.yaml")
    data = [{"folder": str(chest_data / "prepared"), "split": str(chest_data / "split.json")}]
    short = {"data": data, "train.steps": 2, "train.validate_every": 2, "train.batch_size": 1}
    return replace(
        full,
        recipe=str(ROOT / full.recipe),
        set={**full.set, **short},
        test=ScoredScans(dataset="prepared", folder=str(chest_data / "prepared")),
        words_folder=str(tmp_path_factory.mktemp("words")),
        sweeps=(replace(full.sweeps[0], variants=VARIANTS),),
    )


@pytest.fixture(scope="module")
def killed_and_finished(cfg: GridConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The grid, killed in training and in measuring and begun again; and what was done in which order."""
    out = tmp_path_factory.mktemp("out")
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        real_fit, real_predict = run_module.fit, VesselServer.predict

        def fit(recipe: Any, folder: Path, **options: Any) -> Path:
            if recipe.name == "one-hot" and "killed in training" not in done:
                done.append("killed in training")
                real_fit(replace(recipe, train=replace(recipe.train, steps=1)), folder, **options)
                raise Killed
            done.append(f"train {recipe.name}")
            return real_fit(recipe, folder, **options)

        def predict(server: VesselServer, index: int, mode: Any) -> Any:
            if mode == "swapped" and index == 1 and "killed in measuring" not in done:
                done.append("killed in measuring")
                raise Killed
            done.append(
                f"{server.segmenter.checkpoint.run['recipe']['name']} {mode} {server.cases[index].id}"
            )
            return real_predict(server, index, mode)

        patched.setattr(run_module, "fit", fit)
        patched.setattr(VesselServer, "predict", predict)
        for _ in range(2):
            with pytest.raises(Killed):
                run_grid(cfg, out, accelerator="cpu")
        run_grid(cfg, out, accelerator="cpu")
        run_grid(cfg, out, accelerator="cpu")
    return out, done


def test_every_part_is_done_once_and_what_cannot_be_made_is_skipped(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]]
) -> None:
    out, entries = killed_and_finished
    assert {"killed in training", "killed in measuring"} <= set(entries)
    done = [entry for entry in entries if not entry.startswith("killed")]
    made = [name for name in VARIANTS if name != "clip"]
    modes = {name: ("named",) if name == "constant" else ("named", "swapped") for name in made}
    expected = [f"{name} {mode} chest{n}" for name in made for mode in modes[name] for n in (2, 3)]
    assert sorted(done) == sorted([*expected, *(f"train {name}" for name in made)])
    state = {one.run.name: one for one in progress(cfg, out)}
    assert state["clip-seed0"].skipped == "there is no table of vectors at data/words/clip-vit-b32.npz"
    assert all(one.is_done for name, one in state.items() if name != "clip-seed0")
    stamps = [json.loads(path.read_text())["stamp"] for path in out.rglob("*.scores.json")]
    assert {stamp["inference"] for stamp in stamps} == {BLOCK_INFERENCE}
    assert "Skipped: clip-seed0: there is no table" in (out / "table.md").read_text(encoding="utf-8")


def test_a_grid_that_was_never_killed_has_the_same_table(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, _ = killed_and_finished
    run_grid(cfg, tmp_path, accelerator="cpu")
    for name in ("table.csv", "table.md", "table.json"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (out / name).read_text(encoding="utf-8")


def test_the_table_has_a_row_per_network_and_mode_and_names_its_control(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]]
) -> None:
    out, _ = killed_and_finished
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = {(row["variant"], row["mode"]): row for row in csv.DictReader(file)}
    assert {key: row["against"] for key, row in rows.items()} == {
        ("minilm", "named"): "one-hot",
        ("minilm", "swapped"): "minilm named",
        ("one-hot", "named"): "",
        ("one-hot", "swapped"): "one-hot named",
        ("constant", "named"): "one-hot",
        ("faithful-minilm", "named"): "",
        ("faithful-minilm", "swapped"): "faithful-minilm named",
        ("half", "named"): "minilm",
        ("half", "swapped"): "half named",
        ("half-unmasked", "named"): "half",
        ("half-unmasked", "swapped"): "half-unmasked named",
    }
    for row in rows.values():
        assert (row["steps"], row["scans"], row["patients"]) == ("2", "2", "2")
        assert 0 <= float(row["artery_dice"]) <= 1
        assert 0 <= float(row["vein_swap_rate"]) <= 1
    assert rows["half", "named"]["half_labelled"] == "0.5"
    assert write_table(cfg, out)[0].variant == "minilm"


def test_each_network_heard_what_its_variant_says(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]]
) -> None:
    out, _ = killed_and_finished

    def bank(variant: str) -> PromptBank:
        return load_checkpoint(out / "runs" / f"{variant}-seed0" / "last").bank

    names = ("minilm", "one-hot", "constant")
    assert {name: bank(name).provenance.encoder for name in names} == {name: name for name in names}
    assert len({tuple(vector) for vector in bank("constant").vectors}) == 1
    runs = {run.variant: run.recipe for run in expand(cfg)}
    assert runs["half"].data[0].half_labelled == 0.5
    assert (runs["half"].losses.is_masked, runs["half-unmasked"].losses.is_masked) == (True, False)


def test_a_chest_that_is_labelled_in_part_is_not_scored(
    cfg: GridConfig, killed_and_finished: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = run_module.open_scans(cfg.test)
    halves = tuple(replace(case, annotated=("left pulmonary artery",)) for case in opened)
    monkeypatch.setattr(run_module, "open_scans", lambda test: halves)
    with pytest.raises(CaseError, match="case chest2: not all arteries and veins of both lungs"):
        progress(cfg, killed_and_finished[0])
