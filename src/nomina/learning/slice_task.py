"""Training a network of sagittal slices: patches, facts in words, and Dice by structure."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from nomina.errors import CaseError, ConfigError
from nomina.language.bank import PromptBank
from nomina.language.prompts import NUM_PARAPHRASES, TEMPLATE_VERSION, all_sentences, image_statements
from nomina.learning.batches import TrainingData, hear, make_batch, open_training_data, true_choices
from nomina.learning.devices import slice_layout
from nomina.learning.losses import objective
from nomina.learning.prepared import IGNORED, PreparedEntry
from nomina.learning.recipe import Recipe
from nomina.learning.task import Run, make_bank
from nomina.learning.validate import validate
from nomina.networks.atm_net import ATMNetConfig, NetworkOutput
from nomina.networks.build import Network, SliceNetwork
from nomina.networks.checkpoint import Checkpoint, CheckpointConfig
from nomina.networks.swin_unetr import SwinUNETRConfig
from nomina.networks.words import EncodedPrompts, encode_prompts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SliceTask:
    """See `nomina.learning.task.Task`."""

    recipe: Recipe
    data: TrainingData
    bank: PromptBank
    words: tuple[EncodedPrompts, ...]
    """The prompts in each wording."""
    device: torch.device

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of classes 1…n−1."""
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
        """Memory layout of network and patches."""
        return slice_layout(self.recipe.train, self.device)

    def require_fitting(self, network: Network) -> None:
        """Refuse a patch size that the network cannot take."""
        cfg, divisor = self.recipe.network, network.divisor
        if isinstance(cfg, ATMNetConfig):
            divisor = math.lcm(divisor, cfg.contrast_pool_stride)
        smallest = 64 if isinstance(cfg.backbone, SwinUNETRConfig) else divisor
        if any(side % divisor or side < smallest for side in self.recipe.sampling.patch_size):
            raise ConfigError(
                f"sampling.patch_size must be multiples of {divisor}, at least {smallest}, for this network, "
                f"got {list(self.recipe.sampling.patch_size)}"
            )

    def losses(self, run: Run, progress: float, seed: tuple[int, ...]) -> dict[str, Tensor]:
        """The objective on the batch, in the words and with the dropout that follow from `seed`."""
        recipe, data = self.recipe, self.data
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**31)))
        batch = make_batch(
            data,
            recipe.sampling,
            recipe.augmentation,
            batch_size=recipe.train.batch_size,
            num_slices=recipe.network.num_slices,
            seed=seed,
            device=self.device,
        )
        rng = np.random.default_rng((*seed, 1))
        wording = self.words[int(rng.integers(len(self.words)))]
        heard = hear(wording, batch.facts, image_statements(data.structures), recipe.words, rng)
        patch = batch.patch.contiguous(memory_format=self.layout)
        # Where levels lack, background is no one thing whose features could be told apart from theirs.
        is_part = ~batch.annotated.all(dim=1)[:, None, None]
        contrasted = torch.where(is_part & (batch.target == 0), IGNORED, batch.target)
        output = NetworkOutput(**run(lambda network: dict(vars(network.parts(patch, heard, contrasted)))))
        choices = true_choices(batch.facts, data.structures).to(self.device)
        kinds = data.kinds.to(self.device)
        return objective(
            output,
            batch.target,
            choices,
            batch.visible,
            recipe.losses,
            progress,
            kinds,
            batch.annotated,
        )

    def validate(self, network: Network) -> dict[str, float]:
        """Dice over whole validation scans; see `nomina.learning.validate`."""
        return validate(
            cast("SliceNetwork", network),
            self.data,
            self.words[0],
            num_slices=self.recipe.network.num_slices,
            window_px=self.recipe.sampling.patch_size[0],
        )

    def checkpoint_config(self) -> CheckpointConfig:
        """What inference must know."""
        return CheckpointConfig(
            network=self.recipe.network,
            preparation=self.data.prepare.image,
            window_px=self.recipe.sampling.patch_size[0],
            scheme=self.recipe.scheme,
        )


def open_slice_task(recipe: Recipe, start: Checkpoint | None, device: torch.device) -> SliceTask:
    """Open the data of a recipe and its words.

    Raises:
        ConfigError: The recipe contradicts itself or the initial checkpoint.
        CaseError: The data cannot be read, or no case that trains was annotated for some structure.
    """
    data = open_training_data(recipe.data)
    _require_annotated(data, start)
    bank = make_bank(recipe.words, all_sentences(data.structures), TEMPLATE_VERSION, start)
    wordings = (encode_prompts(bank, data.structures, paraphrase=p) for p in range(NUM_PARAPHRASES))
    return SliceTask(recipe, data, bank, tuple(wording.to(device) for wording in wordings), device)


def _require_annotated(data: TrainingData, start: Checkpoint | None) -> None:
    """A structure that no case was annotated for can only be kept, not learnt."""
    annotated = torch.stack([data.annotated(case.entry) for case in data.cases]).any(dim=0)[1:]
    lacking = [name for name, is_known in zip(data.structures, annotated, strict=True) if not is_known]
    if lacking and start is None:
        raise CaseError(
            f"no training case was annotated for {', '.join(lacking)}: prepare without it (--structures), or "
            f"add a source that has it"
        )
    if lacking:
        logger.warning(
            "no training case was annotated for %s: what %s knows of it may fade; phantoms beside your own "
            "cases keep it",
            ", ".join(lacking),
            start.name if start else "the checkpoint",
        )
