"""MONAI's SegResNet cut open between encoder and decoder: a strong network without words."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError


@config
class SegResNetConfig:
    """Size of MONAI's `SegResNet` (Myronenko, arXiv:1810.11654, without the autoencoder branch)."""

    kind: Literal["segresnet"] = "segresnet"
    first_channels: int = 32
    """Channels of the finest stage, a multiple of 8; each stage doubles them [32: authors' network]."""
    blocks_down: tuple[int, ...] = (1, 2, 2, 4)
    """Residual blocks per encoder stage, finest first [authors' network]."""

    def __post_init__(self) -> None:
        if self.first_channels < 8 or self.first_channels % 8:
            raise ConfigError(f"first_channels must be a multiple of 8, got {self.first_channels}")
        if len(self.blocks_down) < 2 or min(self.blocks_down) < 1:
            raise ConfigError(
                f"blocks_down must be at least two numbers from 1 on, got {list(self.blocks_down)}"
            )


class SegResNetBackbone(nn.Module):
    """Encoder and decoder of `SegResNet` (2D) without its output layer.

    `encode` returns one feature map per stage, finest first. Sides of the input must be multiples of
    `divisor`.
    """

    def __init__(self, cfg: SegResNetConfig, num_inputs: int) -> None:
        super().__init__()
        from monai.networks.nets import SegResNet

        num_stages = len(cfg.blocks_down)
        self.channels = tuple(cfg.first_channels * 2**stage for stage in range(num_stages))
        self.num_outputs = cfg.first_channels
        self.divisor = 2 ** (num_stages - 1)
        self.net = SegResNet(
            spatial_dims=2,
            init_filters=cfg.first_channels,
            in_channels=num_inputs,
            out_channels=1,
            blocks_down=cfg.blocks_down,
            blocks_up=(1,) * (num_stages - 1),
        )
        # Norm and activation stay; the network built on this backbone owns the output layer.
        self.net.conv_final[-1] = nn.Identity()

    def encode(self, patch: Float[Tensor, "b c i j"]) -> list[Tensor]:
        """Feature map of each stage, finest first."""
        return list(self.net.encode(patch)[1])

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "b f i j"]:
        """Feature map on the input's grid."""
        return self.net.decode(features[-1], list(reversed(features)))
