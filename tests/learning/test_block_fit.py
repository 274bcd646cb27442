"""Training a network of blocks: it learns, resumes bit for bit, and learns nothing where nobody looked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nomina.errors import ConfigError
from nomina.inference.segmenter import Segmenter
from nomina.language.vessel_prompts import VESSELS
from nomina.learning import block_task
from nomina.learning.block_augmentation import BlockAugmentationConfig
from nomina.learning.block_batches import BlockBatch
from nomina.learning.block_sampling import BlockSamplingConfig
from nomina.learning.block_task import BlockTask, open_block_task
from nomina.learning.fit import fit
from nomina.learning.prepared import PreparedDataset
from nomina.learning.recipe import BlockRecipe, DataSource, TrainConfig
from nomina.learning.training_state import STATE_FILE
from nomina.learning.vessel_losses import VesselLossConfig
from nomina.networks.build import build_network
from nomina.networks.checkpoint import VesselConfig, load_checkpoint
from nomina.networks.genesis_unet import GenesisUNetConfig
from nomina.networks.la_caf import NOMINA

CPU = torch.device("cpu")
NETWORK = replace(
    NOMINA,
    backbone=GenesisUNetConfig(stage_channels=(8, 16), norm="instance"),
    **{"adapter_hidden": 16, "width": 16, "num_heads": 4, "norm_groups": 4},
)
Chests = Callable[..., PreparedDataset]


@pytest.fixture
def recipe(tmp_path: Path, make_chests: Chests) -> BlockRecipe:
    """Four steps on one chest, validated on another."""
    make_chests(tmp_path / "train", count=1)
    make_chests(tmp_path / "validation", count=1, first=5)
    return BlockRecipe(
        name="tiny-blocks",
        data=(
            DataSource(folder=str(tmp_path / "train")),
            DataSource(folder=str(tmp_path / "validation"), is_validation=True),
        ),
        structures=VESSELS,
        network=NETWORK,
        sampling=BlockSamplingConfig(block_size=(16, 16, 16), tile_overlap=0.0),
        augmentation=BlockAugmentationConfig(mirror=0.5),
        losses=VesselLossConfig(dice_form="batch", is_masked=True, skeleton=1.0),
        vessels=VesselConfig(floor=0.35, has_whole_branches=True),
        train=TrainConfig(
            steps=4, batch_size=1, precision="fp32", validate_every=2, log_every=1, save_minutes=0.0
        ),
    )


def test_a_killed_run_goes_on_bit_for_bit_and_its_checkpoint_segments(
    recipe: BlockRecipe,
    tmp_path: Path,
    train_killed: Callable[..., None],
    box_chest: Callable[..., Any],
) -> None:
    best = fit(recipe, tmp_path / "straight", accelerator="cpu")
    train_killed(recipe, tmp_path / "killed", at=3)
    fit(recipe, tmp_path / "killed", accelerator="cpu")
    one, other = (load_file(tmp_path / name / STATE_FILE) for name in ("straight", "killed"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []

    checkpoint = load_checkpoint(best)
    assert checkpoint.config.block_size == (16, 16, 16)
    assert checkpoint.config.vessels == recipe.vessels
    assert checkpoint.config.modality == "CT"
    assert checkpoint.config.preparation.kind == "ct"
    assert {"dice", "dice_pulmonary_artery", "dice_pulmonary_vein"} <= set(checkpoint.run["validation"])
    volume, _ = box_chest(9)
    result = Segmenter.load(best, device="cpu")(volume, ["left pulmonary veins"])
    assert result.label_map.grid.matches(volume.grid)


@pytest.mark.parametrize("floor", [0.0, 1.0, -0.1])
def test_a_floor_that_would_call_all_or_nothing_a_vessel_is_refused(floor: float) -> None:
    with pytest.raises(ConfigError, match=r"vessels\.floor must lie between 0 and 1"):
        VesselConfig(floor=floor)


def test_whole_branches_need_both_trees(recipe: BlockRecipe) -> None:
    with pytest.raises(ConfigError, match=r"other tree's part for right pulmonary vein; set it to false"):
        replace(
            recipe,
            structures=("left pulmonary artery", "left pulmonary vein", "right pulmonary vein"),
            augmentation=BlockAugmentationConfig(mirror=0.0),
        )


def test_the_words_carry_the_version_of_the_templates_of_vessels(
    recipe: BlockRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_task, "VESSEL_TEMPLATE_VERSION", "of vessels")
    assert open_block_task(recipe, None, CPU).bank.provenance.template_version == "of vessels"


def test_no_gradient_comes_from_where_nobody_looked(tmp_path: Path, make_chests: Chests) -> None:
    make_chests(tmp_path / "half", count=1, annotated=("left pulmonary artery", "left pulmonary vein"))
    half = BlockRecipe(
        name="half",
        data=(DataSource(folder=str(tmp_path / "half")),),
        structures=VESSELS,
        network=NETWORK,
        sampling=BlockSamplingConfig(block_size=(44, 28, 28)),
        augmentation=BlockAugmentationConfig(quarter_turns=0.0),
        losses=VesselLossConfig(dice_form="batch", is_masked=True, skeleton=1.0),
        train=TrainConfig(batch_size=1),
    )
    gradients = {}
    for is_masked in (True, False):
        losses = replace(half.losses, is_masked=is_masked)
        task = open_block_task(replace(half, losses=losses), None, CPU)
        logits = torch.zeros(1, 2, 44, 28, 28, requires_grad=True)
        parts = task.losses(lambda run, logits=logits: logits, 0.0, (0, 0, 0, 0))
        torch.stack(list(parts.values())).sum().backward()
        assert logits.grad is not None
        gradients[is_masked] = logits.grad
    assert not gradients[True][:, :, 24:].any()
    assert (gradients[True][:, :, :18] != 0).all()
    # The ablation teaches that the unlabelled half holds no vessels.
    assert (gradients[False][:, :, 24:] > 0).all()


@pytest.mark.slow
def test_one_block_is_learned_by_heart(recipe: BlockRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    task = open_block_task(recipe, None, CPU)
    assert isinstance(task, BlockTask)
    torch.manual_seed(0)
    network = build_network(NETWORK, VESSELS, text_width=384)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    batches: list[BlockBatch] = []
    seen: list[torch.Tensor] = []

    def run(forward: Callable[[Any], Any]) -> torch.Tensor:
        logits = forward(network)
        seen.append(logits)
        return logits

    real = block_task.make_block_batch

    def remember(*args: Any, **options: Any) -> BlockBatch:
        batches.append(real(*args, **options))
        return batches[-1]

    monkeypatch.setattr(block_task, "make_block_batch", remember)
    for _ in range(60):
        optimiser.zero_grad()
        torch.stack(list(task.losses(run, 0.0, (0, 7, 0, 0)).values())).sum().backward()
        optimiser.step()
    found, reference = seen[-1] > 0, batches[-1].reference
    dice = 2 * (found & reference).sum() / (found.sum() + reference.sum())
    assert dice > 0.9


def test_blocks_that_the_network_cannot_take_are_refused_before_training(
    recipe: BlockRecipe, tmp_path: Path
) -> None:
    odd = replace(recipe, sampling=BlockSamplingConfig(block_size=(16, 17, 16)))
    with pytest.raises(ConfigError, match=r"multiples of 2 .* got \[16, 17, 16\]"):
        fit(odd, tmp_path / "out", accelerator="cpu")
    tied = replace(recipe, network=replace(NETWORK, pooling="axis_mlp", axis_voxels=12))
    with pytest.raises(ConfigError, match=r"must be \[24, 24, 24\]"):
        fit(tied, tmp_path / "out", accelerator="cpu")
