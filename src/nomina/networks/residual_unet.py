"""A residual-encoder convolutional U-Net, the backbone of the `nomina` preset [choice].

Swin UNETR reaches 15–36 % of a CPU's peak arithmetic, a residual U-Net 60 %; so the laptop preset is
convolutional. After nnU-Net's residual encoder (Isensee et al., MICCAI 2024), with GroupNorm and strided 1×1
shortcuts.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError

NORM_GROUPS = 8
LEAK = 0.01


@config
class ResidualUNetConfig:
    """Sizes of a residual U-Net; the defaults make 8.4 M parameters, `recipes/spine_mr.yaml` 5.6 M."""

    kind: Literal["residual_unet"] = "residual_unet"
    stage_channels: tuple[int, ...] = (16, 32, 64, 128, 256, 320)
    """Channels per stage, finest first; multiples of 8. Each stage halves the resolution [choice]."""
    stage_blocks: tuple[int, ...] = (1, 1, 2, 2, 2, 2)
    """Residual blocks per encoder stage [choice]."""
    shuffle: Literal[1, 2] = 1
    """2: the first stage works at half the resolution on pixels folded into channels, and features are
    unfolded again at the end; output keeps the full resolution at about half the time [choice]."""
    output_channels: int = 16
    """Features per pixel after unfolding; used with `shuffle` 2 [choice]."""
    has_fine_skip: bool = False
    """With `shuffle` 2: a convolution at full resolution past all stages, joined after unfolding, for borders
    (folded features lie two pixels apart). It adds nothing at the start of a training, so that a network
    without it can be trained on with it [choice]."""

    def __post_init__(self) -> None:
        if not self.stage_channels or any(c < 1 or c % NORM_GROUPS for c in self.stage_channels):
            raise ConfigError(
                f"stage_channels must be multiples of {NORM_GROUPS}, got {list(self.stage_channels)}"
            )
        if len(self.stage_blocks) != len(self.stage_channels) or min(self.stage_blocks) < 1:
            raise ConfigError(
                f"stage_blocks must hold a number ≥ 1 for each of the {len(self.stage_channels)} stages, "
                f"got {list(self.stage_blocks)}"
            )
        if self.has_fine_skip and (self.shuffle == 1 or self.output_channels % NORM_GROUPS):
            raise ConfigError(
                f"has_fine_skip needs shuffle 2 and output_channels that are a multiple of {NORM_GROUPS}, "
                f"got {self.shuffle} and {self.output_channels}"
            )
        if self.output_channels < 1:
            raise ConfigError(f"output_channels must be at least 1, got {self.output_channels}")


class ResidualUNet(nn.Module):
    """Encoder and decoder without an output layer.

    `encode` returns one feature map per stage, finest first (and before them that of the fine skip); `decode`
    brings them back to the finest grid.
    Sides of the input must be multiples of `divisor`.
    """

    def __init__(self, cfg: ResidualUNetConfig, num_inputs: int) -> None:
        super().__init__()
        channels = cfg.stage_channels
        self.shuffle = cfg.shuffle
        self.num_outputs = channels[0] if cfg.shuffle == 1 else cfg.output_channels
        self.channels = (cfg.output_channels, *channels) if cfg.has_fine_skip else channels
        self.divisor = cfg.shuffle * 2 ** (len(channels) - 1)
        stages: list[nn.Module] = []
        previous = num_inputs * cfg.shuffle**2
        for index, (width, blocks) in enumerate(zip(channels, cfg.stage_blocks, strict=True)):
            first = ResidualBlock(previous, width, stride=1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(ResidualBlock(width, width) for _ in range(blocks - 1))))
            previous = width
        self.encoder = nn.ModuleList(stages)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, fine, kernel_size=2, stride=2) for fine, deep in pairwise(channels)
        )
        self.decoder = nn.ModuleList(_conv_norm_act(2 * fine, fine) for fine in channels[:-1])
        unfolded = cfg.output_channels * cfg.shuffle**2
        self.unfold = nn.Identity() if cfg.shuffle == 1 else nn.Conv2d(channels[0], unfolded, kernel_size=1)
        self.fine: nn.Sequential | None = None
        if cfg.has_fine_skip:
            width = cfg.output_channels
            self.fine = _conv_norm_act(num_inputs, width)
            self.join = nn.Sequential(
                _conv_norm_act(2 * width, width), nn.Conv2d(width, width, kernel_size=1)
            )
            for start in self.join[-1].parameters():
                nn.init.zeros_(start)

    def encode(self, patch: Float[Tensor, "b c i j"]) -> list[Tensor]:
        """Feature map of each stage, finest first."""
        features: list[Tensor] = [] if self.fine is None else [self.fine(patch)]
        current = F.pixel_unshuffle(patch, self.shuffle)
        for stage in self.encoder:
            current = stage(current)
            features.append(current)
        return features

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "b f i j"]:
        """Feature map on the input's grid."""
        *finer, current = features
        for up, decoder in zip(reversed(self.up), reversed(self.decoder), strict=True):
            current = decoder(torch.cat([up(current), finer.pop()], dim=1))
        unfolded = F.pixel_shuffle(self.unfold(current), self.shuffle)
        if self.fine is None:
            return unfolded
        return unfolded + self.join(torch.cat([unfolded, finer.pop()], dim=1))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: a 1×1 convolution of the pixels kept where the shape changes."""

    def __init__(self, num_inputs: int, num_outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _conv_norm_act(num_inputs, num_outputs, stride)
        self.second = nn.Sequential(
            nn.Conv2d(num_outputs, num_outputs, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(NORM_GROUPS, num_outputs),
        )
        same = num_inputs == num_outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(num_inputs, num_outputs, 1, bias=False)
        self.stride = stride

    def forward(self, features: Float[Tensor, "b c i j"]) -> Float[Tensor, "b d oi oj"]:
        """Residual update of `features`."""
        # Pixels are picked here and not by the convolution's stride: backward through a strided 1×1
        # convolution of 8 channels writes out of bounds on CPUs (oneDNN in torch 2.13, channels last).
        kept = features[..., :: self.stride, :: self.stride]
        return F.leaky_relu(self.second(self.first(features)) + self.shortcut(kept), LEAK)


def _conv_norm_act(num_inputs: int, num_outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_inputs, num_outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(NORM_GROUPS, num_outputs),
        nn.LeakyReLU(LEAK),
    )
