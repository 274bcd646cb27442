"""The control and its competitors: a backbone with a 1×1 output layer and no words."""

from typing import Literal

from jaxtyping import Float, Integer
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError
from nomina.networks.atm_net import NetworkOutput
from nomina.networks.backbones import BackboneConfig, build_backbone
from nomina.networks.nnunet import NNUNetBackbone, NNUNetConfig
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.words import EncodedPrompts


@config
class PlainConfig:
    """A backbone without text."""

    kind: Literal["plain"] = "plain"
    backbone: BackboneConfig = ResidualUNetConfig()
    num_slices: Literal[1, 3, 5] = 3
    """Input channels: the slice and its neighbours on both sides [choice]."""
    has_deep_supervision: bool = False
    """Train coarser decoder stages too, as nnU-Net does; for the backbone `nnunet` alone."""

    def __post_init__(self) -> None:
        if self.has_deep_supervision and not isinstance(self.backbone, NNUNetConfig):
            raise ConfigError(
                f"has_deep_supervision needs the backbone nnunet, got {self.backbone.kind}; leave it out"
            )


class PlainNet(nn.Module):
    """Backbone and output layer; takes `words` for the common signature and does not read them."""

    def __init__(self, cfg: PlainConfig, *, num_classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg.backbone, cfg.num_slices)
        self.head = nn.Conv2d(self.backbone.num_outputs, num_classes, kernel_size=1)
        self.coarse_heads = nn.ModuleList()
        if cfg.has_deep_supervision and isinstance(self.backbone, NNUNetBackbone):
            widths = self.backbone.coarse_channels
            self.coarse_heads.extend(nn.Conv2d(width, num_classes, kernel_size=1) for width in widths)

    @property
    def divisor(self) -> int:
        """Sides of a patch must be multiples of this."""
        return self.backbone.divisor

    def forward(
        self, patch: Float[Tensor, "b c i j"], words: EncodedPrompts | None = None
    ) -> Float[Tensor, "b n i j"]:
        """Logits of each class."""
        return self.parts(patch, words).logits

    def parts(
        self,
        patch: Float[Tensor, "b c i j"],
        words: EncodedPrompts | None = None,
        reference: Integer[Tensor, "b i j"] | None = None,
    ) -> NetworkOutput:
        """Logits in the same envelope as ATM-Net's; coarser ones in training alone."""
        features = self.backbone.encode(patch)
        if not (self.training and self.coarse_heads and isinstance(self.backbone, NNUNetBackbone)):
            return NetworkOutput(self.head(self.backbone.decode(features)))
        finest, *coarser = self.backbone.decode_all(features)
        coarse = tuple(head(level) for head, level in zip(self.coarse_heads, coarser, strict=False))
        return NetworkOutput(self.head(finest), coarse_logits=coarse)
