"""Every grid in `benchmarks/` expands to recipes whose networks can be built on the grid's patches."""

from pathlib import Path

import numpy as np
import pytest

from nomina.bench.grid import GridConfig, Run, expand, load_grid
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap
from nomina.language.vessel_prompts import SIDED_VESSELS
from nomina.learning.prepared import STRUCTURE_PRESETS
from nomina.learning.recipe import BlockRecipe
from nomina.learning.vessel_losses import FAITHFUL as FAITHFUL_LOSS
from nomina.networks.build import build_network
from nomina.networks.la_caf import FAITHFUL
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
    pytest.importorskip("dynamic_network_architectures", reason="needs dynamic-network-architectures")
    for recipe in {run.variant: run.recipe for run in runs}.values():
        is_blocks = isinstance(recipe, BlockRecipe)
        structures = recipe.structures if is_blocks else STRUCTURE_PRESETS["spider18"]
        size = recipe.sampling.block_size if is_blocks else recipe.sampling.patch_size
        network = build_network(recipe.network, structures, text_width=384)
        assert all(side % network.divisor == 0 for side in size), recipe.name
        if is_blocks and recipe.network.pooling == "axis_mlp":
            assert set(size) == {recipe.network.axis_voxels * network.divisor}, recipe.name


LA_CAF_GRIDS = [path for path in GRIDS if path.stem.startswith("la_caf")]


@pytest.mark.parametrize("path", LA_CAF_GRIDS, ids=lambda path: path.stem)
def test_variants_of_la_caf_differ_from_their_control_in_one_thing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, runs = opened(path, monkeypatch)
    recipes = {run.variant: run.recipe for run in runs if run.patients is None and run.seed == 0}
    for name, recipe in recipes.items():
        control = recipes[cfg.controls[name]]
        changed = [
            recipe.network != control.network or recipe.structures != control.structures,
            recipe.words != control.words,
            recipe.losses != control.losses and recipe.structures == control.structures,
            recipe.data != control.data,
        ]
        is_wording = recipe.network.wording != control.network.wording and recipe.words != control.words
        assert sum(changed) <= (2 if is_wording else 1), name
        assert not recipe.words.has_paraphrases
        assert recipe.train.validate_every == recipe.train.steps


def test_the_grids_of_la_caf_hold_every_control(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in LA_CAF_GRIDS:
        _, runs = opened(path, monkeypatch)
        names = {run.variant for run in runs}
        assert {"clip", "minilm", "one-hot", "random", "constant", "shared-minilm", "shared-one-hot"} <= names
        assert {"faithful-minilm", "faithful-one-hot", "half", "half-unmasked"} <= names
        assert "swapped" in next(run for run in runs if run.variant == "minilm").modes
        by_name = {run.variant: run.recipe for run in runs}
        assert by_name["shared-minilm"].network.is_adapter_shared
        assert by_name["faithful-minilm"].structures == SIDED_VESSELS
        assert by_name["faithful-minilm"].losses == FAITHFUL_LOSS
        assert by_name["half"].data[0].half_labelled > 0
        assert (by_name["half"].losses.is_masked, by_name["half-unmasked"].losses.is_masked) == (True, False)
    seeds = {run.seed for run in opened(ROOT / "benchmarks" / "la_caf.yaml", monkeypatch)[1]}
    assert seeds == {0, 1, 2}
    full = opened(ROOT / "benchmarks" / "la_caf.yaml", monkeypatch)[1]
    assert {run.variant: run.recipe.network for run in full}["faithful-clip"] == FAITHFUL


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
    answers = judged(Segmentation(whole, verdicts), "phantom", "whole", whole, whole)
    assert [(answer.structure, answer.is_there) for answer in answers] == [
        ("L5 vertebra", True),
        ("L2 vertebra", False),
    ]


def test_the_small_grid_is_a_part_of_the_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, small = opened(ROOT / "benchmarks" / "atm_net_cpu.yaml", monkeypatch)
    _, full = opened(ROOT / "benchmarks" / "atm_net.yaml", monkeypatch)
    assert {run.name for run in small} <= {run.name for run in full}
