"""Every grid in `benchmarks/` expands to recipes whose networks can be built on the grid's patches."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nomina.bench.grid import GridConfig, Run, expand, load_grid
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.prepared import STRUCTURE_PRESETS
from nomina.networks.build import build_network
from nomina.networks.nnunet import NNUNetConfig

ROOT = Path(__file__).parents[1]
GRIDS = sorted((ROOT / "benchmarks").glob("*.yaml"))


def opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[GridConfig, tuple[Run, ...]]:
    monkeypatch.chdir(ROOT)
    cfg = load_grid(path)
    return cfg, expand(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_networks_of_a_grid_fit_its_patches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, runs = opened(path, monkeypatch)
    pytest.importorskip("dynamic_network_architectures", reason="needs nomina[bench]")
    structures = STRUCTURE_PRESETS["spider18"]
    for recipe in {run.variant: run.recipe for run in runs}.values():
        network = build_network(recipe.network, structures, text_width=384)
        assert all(side % network.divisor == 0 for side in recipe.sampling.patch_size), recipe.name


def test_the_full_grid_holds_everything_that_is_to_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, runs = opened(ROOT / "benchmarks" / "atm_net.yaml", monkeypatch)
    names = {run.name for run in runs}
    for variant in (
        "plain",
        "words",
        "no-hasf",
        "no-ccae",
        "random",
        "one-hot",
        "nnunet-architecture",
        "segresnet",
    ):
        assert {f"{variant}-seed{seed}" for seed in range(3)} <= names
    assert {f"words-fold{fold}-seed0" for fold in range(5)} <= names
    few = {f"{v}-p{n}-no-phantoms-seed0" for v in ("plain", "words") for n in (2, 5, 10)}
    assert few | {"words-no-phantoms-seed0", "words-p5-seed0"} <= names
    nnunet = next(run.recipe for run in runs if run.variant == "nnunet-architecture")
    assert isinstance(nnunet.network.backbone, NNUNetConfig)
    assert (nnunet.train.optimiser, nnunet.train.learning_rate, nnunet.train.weight_decay) == (
        "sgd",
        1e-2,
        3e-5,
    )
    assert nnunet.losses.focal_gamma == 0
    assert "not nnU-Net" in cfg.variants["nnunet-architecture"].note


def test_what_is_partly_visible_counts_neither_as_there_nor_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A phantom's reference holds 103 for a cut L3, and no name for it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from presence_suite import judged

    array = np.zeros((1, 4, 4), dtype=np.uint8)
    array[0, 0], array[0, 3] = 1, 103
    grid = Grid(array.shape, np.eye(4))
    whole = LabelMap(array, grid, names={1: "L5 vertebra"}, scheme="spider", ignored=frozenset({103}))
    names = ("L5 vertebra", "L3 vertebra", "L2 vertebra")
    verdicts = tuple(Verdict(name, "present", 0.9, "found") for name in names)
    answers = judged(
        lambda volume, prompts: SimpleNamespace(verdicts=verdicts),  # type: ignore[arg-type]
        "phantom",
        "whole",
        Volume(array, grid),
        whole,
        whole,
    )
    assert [(answer.structure, answer.is_there) for answer in answers] == [
        ("L5 vertebra", True),
        ("L2 vertebra", False),
    ]


def test_the_small_grid_is_a_part_of_the_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, small = opened(ROOT / "benchmarks" / "atm_net_cpu.yaml", monkeypatch)
    _, full = opened(ROOT / "benchmarks" / "atm_net.yaml", monkeypatch)
    assert {run.name for run in small} <= {run.name for run in full}
