"""Training a network of blocks: vessels of the lung, one prompt per class, and what was annotated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from nomina.errors import ConfigError
from nomina.language.bank import PromptBank
from nomina.language.vessel_prompts import VESSEL_TEMPLATE_VERSION, all_vessel_sentences, num_wordings
from nomina.learning.block_batches import ChestData, make_block_batch, open_chest_data
from nomina.learning.devices import block_layout
from nomina.learning.prepared import PreparedEntry
from nomina.learning.recipe import BlockRecipe
from nomina.learning.task import Run, make_bank
from nomina.learning.validate_blocks import validate_blocks
from nomina.learning.vessel_losses import vessel_objective
from nomina.networks.build import Network, build_words
from nomina.networks.checkpoint import Checkpoint, CheckpointConfig
from nomina.networks.la_caf import LACAF
from nomina.networks.words import ClassPrompts


@dataclass(frozen=True)
class BlockTask:
    """See `nomina.learning.task.Task`."""

    recipe: BlockRecipe
    data: ChestData
    bank: PromptBank
    words: tuple[ClassPrompts, ...]
    """The prompts in each wording that is drawn."""
    device: torch.device

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.data.structures

    @property
    def training(self) -> Sequence[PreparedEntry]:
        """The cases that train."""
        return [case.entry for case in self.data.cases]

    @property
    def validation(self) -> Sequence[PreparedEntry]:
        """The cases that choose the checkpoint."""
        return self.data.validation

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of network and blocks."""
        return block_layout(self.recipe.train, self.device)

    def require_fitting(self, network: Network) -> None:
        """Refuse a block size that the network cannot take."""
        size, cfg = self.recipe.sampling.block_size, self.recipe.network
        if any(side % network.divisor for side in size) or max(size) < 2 * network.divisor:
            raise ConfigError(
                f"sampling.block_size must be multiples of {network.divisor} for this network, one of them "
                f"at least {2 * network.divisor}, got {list(size)}"
            )
        side = cfg.axis_voxels * network.divisor
        if cfg.pooling == "axis_mlp" and set(size) != {side}:
            raise ConfigError(
                f"with network.pooling axis_mlp and axis_voxels {cfg.axis_voxels}, sampling.block_size must "
                f"be {[side] * 3}, got {list(size)}"
            )

    def losses(self, run: Run, progress: float, seed: tuple[int, ...]) -> dict[str, Tensor]:
        """The objective on the batch, in the wording, that follow from `seed`."""
        recipe = self.recipe
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**31)))
        batch = make_block_batch(
            self.data,
            recipe.sampling,
            recipe.augmentation,
            batch_size=recipe.train.batch_size,
            has_skeleton=recipe.losses.skeleton > 0,
            seed=seed,
            device=self.device,
        )
        rng = np.random.default_rng((*seed, 1))
        words = self.words[int(rng.integers(len(self.words)))]
        image = batch.image.contiguous(memory_format=self.layout)
        logits = run(lambda network: network(image, words))
        return vessel_objective(
            logits, batch.reference, batch.annotated, recipe.losses, skeleton=batch.skeleton
        )

    def validate(self, network: Network) -> dict[str, float]:
        """Dice over whole validation chests; see `nomina.learning.validate_blocks`."""
        return validate_blocks(
            cast("LACAF", network), self.data, self.words[0], self.recipe.sampling, self.recipe.vessels.floor
        )

    def checkpoint_config(self) -> CheckpointConfig:
        """What inference must know."""
        return CheckpointConfig(
            network=self.recipe.network,
            preparation=self.data.prepare.image,
            block_size=self.recipe.sampling.block_size,
            tile_overlap=self.recipe.sampling.tile_overlap,
            vessels=self.recipe.vessels,
            scheme="nomina",
            modality="CT",
        )


def open_block_task(recipe: BlockRecipe, start: Checkpoint | None, device: torch.device) -> BlockTask:
    """Open the data of a recipe and its words.

    Raises:
        ConfigError: The recipe contradicts itself or the initial checkpoint.
        CaseError: The data cannot be read.
        PromptError: A class has no sentence in the network's wording.
    """
    cfg, structures = recipe.network, recipe.structures
    data = open_chest_data(recipe.data, structures)
    bank = make_bank(recipe.words, all_vessel_sentences(structures), VESSEL_TEMPLATE_VERSION, start)
    num = num_wordings(cfg.wording) if recipe.words.has_paraphrases else 1
    words = tuple(build_words(cfg, bank, structures, paraphrase=n).to(device) for n in range(num))
    return BlockTask(recipe, data, bank, words, device)
