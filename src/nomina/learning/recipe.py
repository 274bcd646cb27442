"""A recipe: one experiment as frozen dataclasses, read from one YAML file in `recipes/`."""

from typing import Literal

from nomina.config import config
from nomina.errors import ConfigError
from nomina.learning.augmentation import AugmentationConfig
from nomina.learning.losses import LossConfig
from nomina.learning.sampling import SamplingConfig
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import SliceNetworkConfig


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

    def __post_init__(self) -> None:
        if self.num_patients is not None and (self.num_patients < 1 or self.split is None):
            raise ConfigError(
                f"num_patients of {self.folder} must be at least 1 and needs a split, got {self.num_patients}"
            )
        if not self.weight > 0:
            raise ConfigError(f"the weight of {self.folder} must be more than 0, got {self.weight}")


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
    """On matrices only: not on norms, biases, gates and scales [choice]."""
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
    """Checkpoint folder to start from (fine-tuning): same network, structures and encoder; its prompt bank is
    kept, and no encoder is loaded."""
    words: WordsConfig = WordsConfig()
    sampling: SamplingConfig = SamplingConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    losses: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
