"""The control: the same backbone with a 1×1 output layer and no words."""

from typing import Literal

from jaxtyping import Float, Integer
from torch import Tensor, nn

from nomina.config import config
from nomina.networks.atm_net import BackboneConfig, NetworkOutput, build_backbone
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.words import EncodedPrompts


@config
class PlainConfig:
    """A backbone without text."""

    kind: Literal["plain"] = "plain"
    backbone: BackboneConfig = ResidualUNetConfig()
    num_slices: Literal[1, 3, 5] = 3
    """Input channels: the slice and its neighbours on both sides [choice]."""


class PlainNet(nn.Module):
    """Backbone and output layer; takes `words` for the common signature and does not read them."""

    def __init__(self, cfg: PlainConfig, *, num_classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg.backbone, cfg.num_slices)
        self.head = nn.Conv2d(self.backbone.num_outputs, num_classes, kernel_size=1)

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
        """Logits in the same envelope as ATM-Net's."""
        return NetworkOutput(self.head(self.backbone.decode(self.backbone.encode(patch))))
