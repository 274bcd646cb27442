"""A recipe: one experiment as frozen dataclasses, read from one YAML file in `recipes/`.

    Recipe         a network of sagittal slices
    BlockRecipe    a network of blocks of voxels

`network.kind` in the file tells which of the two it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from nomina.anatomy.structures import structure
from nomina.assessment.branch_vote import OTHER_TREE
from nomina.config import config, parse_config, read_config
from nomina.errors import ConfigError
from nomina.learning.augmentation import AugmentationConfig
from nomina.learning.block_augmentation import BlockAugmentationConfig
from nomina.learning.block_sampling import BlockSamplingConfig
from nomina.learning.losses import LossConfig
from nomina.learning.sampling import SamplingConfig
from nomina.learning.vessel_losses import VesselLossConfig
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import SliceNetworkConfig
from nomina.networks.checkpoint import VesselConfig
from nomina.networks.la_caf import LACAFConfig


@config
class DataSource:
    """One prepared dataset (a folder that `nomina prepare` wrote) and its part in the mixture."""

    folder: str
    """Relative to where the command runs."""
    weight: float = 1.0
    """Share of the training patches, relative to the other sources."""
    split: str | None = None
    """Split file by patient: its train part trains, its validation part validates. None: all cases train."""
    fold: int | None = None
    """Fold of the split file; None takes its top-level lists."""
    num_patients: int | None = None
    """Train on so many patients of the train part alone, drawn once for all: 2 are among the 5, 5 among the
    10. None: all."""
    half_labelled: float = 0.0
    """Share of the training patients of whom one lung alone counts as labelled, for measuring what partial
    labels cost: the last of the order by which `num_patients` draws, the left lung and the right one in turn.
    For networks of blocks."""
    is_validation: bool = False
    """True: all its cases validate and none trains, as with phantoms of other seeds."""

    def __post_init__(self) -> None:
        if self.num_patients is not None and (self.num_patients < 1 or self.split is None):
            raise ConfigError(
                f"num_patients of {self.folder} must be at least 1 and needs a split, got {self.num_patients}"
            )
        if not 0 <= self.half_labelled <= 1:
            raise ConfigError(f"half_labelled of {self.folder} must lie in 0 to 1, got {self.half_labelled}")
        if not self.weight > 0:
            raise ConfigError(f"the weight of {self.folder} must be more than 0, got {self.weight}")
        if self.is_validation and self.split is not None:
            raise ConfigError(f"{self.folder} has a split file and is_validation; keep one of the two")


@config
class WordsConfig:
    """Which text the network hears in training."""

    encoder: str = "minilm"
    """Text encoder, or `table:<file.npz>`."""
    encoder_source: str | None = None
    """Local folder or hub id of the encoder's weights, where it is not bundled."""
    predicted_share: float = 0.6
    """Share of steps whose image view is predicted from the image (mode B) [choice, ≥ 0.5]."""
    constant_share: float = 0.2
    """Share of steps with the generic sentence alone (mode A). The rest states facts of the reference, which
    keeps modes C, D, E possible [choice]."""
    perturbed_share: float = 0.5
    """Share of the stated facts that are perturbed (a level shifted, dropped or added), so that the network
    does not learn to trust words blindly [choice]."""

    def __post_init__(self) -> None:
        if (
            min(self.predicted_share, self.constant_share) < 0
            or self.predicted_share + self.constant_share > 1
        ):
            raise ConfigError(
                f"predicted_share and constant_share must be ≥ 0 and sum to at most 1, "
                f"got {self.predicted_share} and {self.constant_share}"
            )
        if not 0 <= self.perturbed_share <= 1:
            raise ConfigError(f"perturbed_share must lie in 0 to 1, got {self.perturbed_share}")


@config
class TrainConfig:
    """Length, optimiser and bookkeeping."""

    steps: int = 20_000
    """Optimiser steps."""
    batch_size: int = 8
    """Patches per forward pass and device."""
    accumulate: int = 1
    """Forward passes per optimiser step."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """"sgd": nnU-Net's, with Nesterov momentum 0.99 and a rate that falls to 0 as (1 − share of steps)^0.9
    [authors' release of nnU-Net]; its learning_rate is 1e-2, weight_decay 3e-5, warmup_share 0."""
    learning_rate: float = 1e-3
    """Peak AdamW learning rate [choice]: 1e-4 for Swin UNETR, 1e-3 for the convolutional backbone."""
    weight_decay: float = 1e-2
    """On matrices only: not on norms, biases and scales [choice]."""
    warmup_share: float = 0.05
    """Share of the steps over which the rate rises linearly; it then falls along a cosine to 1 % [choice]."""
    clip_norm: float = 1.0
    """Largest gradient norm [choice]."""
    ema_decay: float = 0.999
    """Decay of the averaged weights that are validated and saved [choice]; rises from 0 at the start."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 autocast; contrastive sums and losses stay in float32. "auto": bf16 on GPUs and on CPUs that
    calculate in it; on other CPUs it takes twelve times as long as fp32."""
    validate_every: int = 500
    """Steps between validations on whole scans."""
    save_minutes: float = 5.0
    """Minutes between saves of the state to resume from."""
    log_every: int = 50
    """Steps between progress lines."""
    seed: int = 0
    """Every draw follows from it and the step."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "validate_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be more than 0, got {getattr(self, name)}")
        for name in ("weight_decay", "save_minutes", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1 or not 0 <= self.ema_decay < 1:
            raise ConfigError(
                f"warmup_share and ema_decay must be at least 0 and less than 1, "
                f"got {self.warmup_share} and {self.ema_decay}"
            )


@config
class Recipe:
    """One experiment."""

    name: str
    data: tuple[DataSource, ...]
    """The first source sets structures and preparation; the others must agree with it."""
    scheme: str = "spider"
    """Label scheme whose level numbering the labels follow."""
    network: SliceNetworkConfig = ATMNetConfig()
    initial_checkpoint: str | None = None
    """Checkpoint to start from (fine-tuning), a folder or the name of a shipped one: same network, structures
    and encoder; its prompt bank is kept, and no encoder is loaded."""
    words: WordsConfig = WordsConfig()
    sampling: SamplingConfig = SamplingConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    losses: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        if half := [source.folder for source in self.data if source.half_labelled]:
            raise ConfigError(f"half_labelled of {half[0]} is for chests; a network of slices has no lungs")


@config
class BlockWordsConfig:
    """Which text a network of blocks hears: one sentence per class, in the wording of `network.wording`."""

    encoder: str = "minilm"
    """Text encoder, or `table:<file.npz>`; the authors' release used CLIP ViT-B/32."""
    encoder_source: str | None = None
    """Local folder or hub id of the encoder's weights, where it is not bundled."""
    has_paraphrases: bool = True
    """Whether each step draws one of the wording's paraphrases [choice]; False: always the first."""


@config
class BlockRecipe:
    """One experiment with a network of blocks."""

    name: str
    data: tuple[DataSource, ...]
    """The first source sets the preparation; the others must agree with it."""
    structures: tuple[str, ...]
    """What the network learns, one sigmoid each: names of the vocabulary. Cases that tell more or less apart
    are read accordingly (`nomina.learning.validity`)."""
    network: LACAFConfig
    initial_checkpoint: str | None = None
    """Checkpoint folder to start from (fine-tuning), as in `Recipe`."""
    words: BlockWordsConfig = BlockWordsConfig()
    sampling: BlockSamplingConfig = BlockSamplingConfig()
    augmentation: BlockAugmentationConfig = BlockAugmentationConfig()
    losses: VesselLossConfig = VesselLossConfig()
    vessels: VesselConfig = VesselConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        if not self.structures or len(set(self.structures)) < len(self.structures):
            raise ConfigError(f"structures must be one or more different names, got {self.structures}")
        lonely = [name for name in self.structures if OTHER_TREE.get(name) not in self.structures]
        if self.vessels.has_whole_branches and lonely:
            raise ConfigError(
                f"vessels.has_whole_branches lets arteries become veins and back, but structures lack the "
                f"other tree's part for {', '.join(lonely)}; set it to false"
            )
        if any(structure(name).side for name in self.structures) and self.augmentation.mirror:
            raise ConfigError(
                f"augmentation.mirror exchanges left and right, but structures have sides: "
                f"{', '.join(self.structures)}; set it to 0"
            )


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe | BlockRecipe:
    """Read a recipe of either kind; see `nomina.config.load_config`.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not valid; all faults are listed.
    """
    data = read_config(path, overrides)
    if _sees_blocks(data):
        return parse_config(BlockRecipe, data, source=str(path))
    return parse_config(Recipe, data, source=str(path))


def _sees_blocks(data: dict[str, Any]) -> bool:
    """Whether the network of a recipe sees blocks of voxels; else it sees slices."""
    network = data.get("network")
    return isinstance(network, dict) and network.get("kind") == "la_caf"
