"""The 3D U-Net that LA-CAF stands on: the layout of Models Genesis [authors' release], with a choice of norm.

Two 3×3×3 convolutions with norm and ReLU per level, the first of an encoder level at half its channels;
2×2×2 max pooling down; transposed convolutions and concatenation up. No output layer.
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError

MakeNorm = Callable[[int], nn.Module]


@config
class GenesisUNetConfig:
    """Sizes and norm of the backbone; the defaults make 19,073,600 parameters."""

    stage_channels: tuple[int, ...] = (64, 128, 256, 512)
    """Channels per level, finest first; even numbers. Each level halves the resolution [authors' release]."""
    norm: Literal["batch_always", "instance", "group"] = "batch_always"
    """batch_always: statistics of the batch at hand, at inference too, so the windows of a batch influence
    each other; feed one window at a time [authors' release]. instance, group: each window by itself, from its
    own voxels [choice]."""
    num_groups: int = 8
    """Groups of the norm `group` [choice]; half of every level's channels are a multiple of it."""

    def __post_init__(self) -> None:
        if len(self.stage_channels) < 2 or any(c < 2 or c % 2 for c in self.stage_channels):
            raise ConfigError(
                f"stage_channels must be two or more even numbers, got {list(self.stage_channels)}"
            )
        if self.num_groups < 1:
            raise ConfigError(f"num_groups must be at least 1, got {self.num_groups}")
        if self.norm == "group" and any(c // 2 % self.num_groups for c in self.stage_channels):
            raise ConfigError(
                f"with norm group, half of each of stage_channels must be a multiple of num_groups "
                f"{self.num_groups}, got {list(self.stage_channels)}"
            )


class GenesisUNet(nn.Module):
    """Encoder and decoder; returns the features of the finest level and the bottleneck.

    Args:
        cfg: Sizes and norm.
        num_inputs: Input channels.
    """

    def __init__(self, cfg: GenesisUNetConfig, num_inputs: int) -> None:
        super().__init__()
        channels, make_norm = cfg.stage_channels, norm_maker(cfg)
        self.channels = channels
        self.divisor = 2 ** (len(channels) - 1)
        inputs = (num_inputs, *channels[:-1])
        self.encoder = nn.ModuleList(
            _two_convolutions(num_in, width // 2, width, make_norm)
            for num_in, width in zip(inputs, channels, strict=True)
        )
        self.up = nn.ModuleList(_Doubling(deep, deep, 2, stride=2) for deep in channels[1:])
        self.decoder = nn.ModuleList(
            _two_convolutions(deep + fine, fine, fine, make_norm) for fine, deep in pairwise(channels)
        )

    def forward(
        self, patch: Float[Tensor, "b c i j k"]
    ) -> tuple[Float[Tensor, "b f i j k"], Float[Tensor, "b d p q r"]]:
        """Features on the patch's grid, and the bottleneck at 1/`divisor` of it.

        Raises:
            ConfigError: A side of the patch is no multiple of `divisor`, or the bottleneck is a single voxel.
        """
        self._require_fitting(patch)
        skips: list[Tensor] = []
        current = patch
        for level, stage in enumerate(self.encoder):
            current = stage(current if level == 0 else F.max_pool3d(current, 2))
            skips.append(current)
        bottleneck = current
        for level in reversed(range(len(self.decoder))):
            current = self.decoder[level](torch.cat([self.up[level](current), skips[level]], dim=1))
        return current, bottleneck

    def _require_fitting(self, patch: Tensor) -> None:
        sides = tuple(patch.shape[2:])
        if any(side % self.divisor for side in sides):
            padded = tuple(-(-side // self.divisor) * self.divisor for side in sides)
            raise ConfigError(
                f"sides of a patch must be multiples of {self.divisor}, got {sides}; pad it to {padded}"
            )
        if prod(side // self.divisor for side in sides) < 2:
            raise ConfigError(
                f"a patch of {sides} leaves a single voxel at the bottom, too few for a norm; "
                f"make a side at least {2 * self.divisor}"
            )


class _Doubling(nn.ConvTranspose3d):
    """A 2×2×2 transposed convolution of stride 2 as one product of matrices: on a CPU eight times faster."""

    def forward(self, coarse: Tensor, output_size: list[int] | None = None) -> Tensor:
        batch, _, *sides = coarse.shape
        weight = self.weight.permute(2, 3, 4, 1, 0).reshape(-1, self.in_channels, 1, 1, 1)
        bias = None if self.bias is None else self.bias.repeat(8)
        octets = F.conv3d(coarse, weight, bias).view(batch, 2, 2, 2, self.out_channels, *sides)
        fine = octets.permute(0, 4, 5, 1, 6, 2, 7, 3)
        return fine.reshape(batch, self.out_channels, *(2 * side for side in sides))


def norm_maker(cfg: GenesisUNetConfig) -> MakeNorm:
    """From a number of channels to the norm layer that a config names."""
    if cfg.norm == "batch_always":
        return lambda channels: nn.BatchNorm3d(channels, track_running_stats=False)
    if cfg.norm == "instance":
        return lambda channels: nn.InstanceNorm3d(channels, affine=True)
    return lambda channels: nn.GroupNorm(cfg.num_groups, channels)


def _two_convolutions(num_inputs: int, middle: int, width: int, make_norm: MakeNorm) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv3d(num_inputs, middle, kernel_size=3, padding=1), make_norm(middle), nn.ReLU(inplace=True)),
        *(nn.Conv3d(middle, width, kernel_size=3, padding=1), make_norm(width), nn.ReLU(inplace=True)),
    )
