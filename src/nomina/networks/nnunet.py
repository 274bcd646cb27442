"""nnU-Net's own architecture, from its authors' package, as a backbone: a strong network without words.

Isensee et al., Nature Methods 18:203 (2021), and "nnU-Net Revisited", MICCAI 2024. What is theirs is the
network (`dynamic-network-architectures`, Apache-2.0); data preparation, augmentation, sampling and inference
are ours. So a score is one of *nnU-Net's architecture in our loop*, not of nnU-Net.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError, NominaError

RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6)
"""Blocks per stage of nnU-Net's residual-encoder presets [authors' release]."""


@config
class NNUNetConfig:
    """Sizes of nnU-Net's 2D network; the defaults are what its planner gives for patches of 224 × 384."""

    kind: Literal["nnunet"] = "nnunet"
    encoder: Literal["plain", "residual"] = "plain"
    """`PlainConvUNet` (two convolutions per stage) or `ResidualEncoderUNet` [authors' release]."""
    stage_channels: tuple[int, ...] = (32, 64, 128, 256, 512, 512)
    """Channels per stage, doubling up to 512; each stage halves the resolution down to 4 pixels or more
    [authors' release]."""

    def __post_init__(self) -> None:
        most = len(RESIDUAL_BLOCKS)
        if not 2 <= len(self.stage_channels) <= most or min(self.stage_channels) < 1:
            raise ConfigError(
                f"stage_channels must be 2 to {most} numbers from 1 on, got {list(self.stage_channels)}"
            )


class NNUNetBackbone(nn.Module):
    """Encoder and decoder of nnU-Net's network without its output layers.

    `encode` returns one feature map per stage, finest first. Sides of the input must be multiples of
    `divisor`, and of more than `divisor` in training.

    Raises:
        NominaError: The package `dynamic-network-architectures` is not installed.
    """

    def __init__(self, cfg: NNUNetConfig, num_inputs: int) -> None:
        super().__init__()
        self.channels = cfg.stage_channels
        self.num_outputs = cfg.stage_channels[0]
        self.divisor = 2 ** (len(cfg.stage_channels) - 1)
        net = _authors_network(cfg, num_inputs)
        # The decoder holds the encoder a second time, which would write every weight twice.
        self.encoder, self.up, self.decoder = net.encoder, net.decoder.transpconvs, net.decoder.stages

    @property
    def coarse_channels(self) -> tuple[int, ...]:
        """Channels of the maps of `decode_all` that are supervised beside the first [authors' release]."""
        return self.channels[1:-2]

    def encode(self, patch: Float[Tensor, "b c i j"]) -> list[Tensor]:
        """Feature map of each stage, finest first."""
        return list(self.encoder(patch))

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "b f i j"]:
        """Feature map on the input's grid."""
        return self.decode_all(features)[0]

    def decode_all(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Feature map of each decoder stage, finest first; each is half as large as the one before."""
        *finer, current = features
        decoded = []
        for up, stage in zip(self.up, self.decoder, strict=True):
            current = stage(torch.cat([up(current), finer.pop()], dim=1))
            decoded.append(current)
        return decoded[::-1]


def _authors_network(cfg: NNUNetConfig, num_inputs: int) -> Any:
    """The authors' class with the arguments that their planner writes."""
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
    except ImportError as error:
        raise NominaError(
            "the backbone nnunet needs its authors' package: "
            "pip install --no-deps dynamic-network-architectures"
        ) from error
    num_stages = len(cfg.stage_channels)
    shared = {
        "input_channels": num_inputs,
        "n_stages": num_stages,
        "features_per_stage": cfg.stage_channels,
        "conv_op": nn.Conv2d,
        "kernel_sizes": [[3, 3]] * num_stages,
        "strides": [[1, 1]] + [[2, 2]] * (num_stages - 1),
        "num_classes": 1,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    if cfg.encoder == "plain":
        net: Any = PlainConvUNet(n_conv_per_stage=2, n_conv_per_stage_decoder=2, **shared)
    else:
        blocks = RESIDUAL_BLOCKS[:num_stages]
        net = ResidualEncoderUNet(n_blocks_per_stage=blocks, n_conv_per_stage_decoder=1, **shared)
    net.apply(net.initialize)
    for module in net.modules():
        # Each convolution block lists its layers twice; its `forward` goes by `all_modules`.
        if hasattr(module, "all_modules"):
            for name in ("conv", "dropout", "norm", "nonlin"):
                module._modules.pop(name, None)
    return net
