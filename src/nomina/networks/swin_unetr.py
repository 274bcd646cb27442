"""MONAI's Swin UNETR cut open between encoder and decoder: ATM-Net's backbone [paper, second-hand]."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError


@config
class SwinUNETRConfig:
    """Sizes of a 2D Swin UNETR."""

    kind: Literal["swin_unetr"] = "swin_unetr"
    feature_size: int = 48
    """Channels of the finest stage [choice]: 48 makes the bottleneck 768, BERT's width."""
    drop_path_rate: float = 0.1
    """Stochastic depth [choice]."""

    def __post_init__(self) -> None:
        if self.feature_size < 12 or self.feature_size % 12:
            raise ConfigError(f"feature_size must be a multiple of 12, got {self.feature_size}")
        if not 0 <= self.drop_path_rate < 1:
            raise ConfigError(f"drop_path_rate must be at least 0 and less than 1, got {self.drop_path_rate}")


class SwinUNETRBackbone(nn.Module):
    """Encoder and decoder of MONAI's `SwinUNETR` (2D) without its output layer.

    `encode` returns the skips finest first, ending with the raw third hidden state (1/16) and the bottleneck
    (1/32): the two levels at which ATM-Net's text is fused. Sides of the input must be multiples of 32, at
    least 64.
    """

    divisor = 32

    def __init__(self, cfg: SwinUNETRConfig, num_inputs: int) -> None:
        super().__init__()
        from monai.networks.nets import SwinUNETR

        size = cfg.feature_size
        self.num_outputs = size
        self.channels = (size, size, 2 * size, 4 * size, 8 * size, 16 * size)
        self.net = SwinUNETR(
            in_channels=num_inputs,
            out_channels=1,
            feature_size=size,
            spatial_dims=2,
            dropout_path_rate=cfg.drop_path_rate,
        )
        # The network built on this backbone owns the output layer; an unused one would get no gradient.
        self.net.out = nn.Identity()

    def encode(self, patch: Float[Tensor, "b c i j"]) -> list[Tensor]:
        """Skips finest first, then the bottleneck."""
        net = self.net
        hidden = net.swinViT(patch, net.normalize)
        return [
            net.encoder1(patch),
            net.encoder2(hidden[0]),
            net.encoder3(hidden[1]),
            net.encoder4(hidden[2]),
            hidden[3],
            net.encoder10(hidden[4]),
        ]

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "b f i j"]:
        """Feature map on the input's grid."""
        net = self.net
        current = net.decoder5(features[5], features[4])
        current = net.decoder4(current, features[3])
        current = net.decoder3(current, features[2])
        current = net.decoder2(current, features[1])
        return net.decoder1(current, features[0])
