"""What a slice network is built on: an encoder and a decoder with one common signature.

    kind            network                                        basis
    residual_unet   residual U-Net of the preset `nomina`          [choice]
    swin_unetr      MONAI's Swin UNETR                             ATM-Net's backbone [paper, second-hand]
    nnunet          nnU-Net's PlainConvUNet or ResidualEncoderUNet competitor
    segresnet       MONAI's SegResNet                              competitor

Each has `channels` of its stages (finest first), `num_outputs`, `divisor`, `encode` and `decode`.
"""

from typing import Annotated

from pydantic import Field

from nomina.networks.nnunet import NNUNetBackbone, NNUNetConfig
from nomina.networks.residual_unet import ResidualUNet, ResidualUNetConfig
from nomina.networks.segresnet import SegResNetBackbone, SegResNetConfig
from nomina.networks.swin_unetr import SwinUNETRBackbone, SwinUNETRConfig

Backbone = ResidualUNet | SwinUNETRBackbone | NNUNetBackbone | SegResNetBackbone
BackboneConfig = Annotated[
    ResidualUNetConfig | SwinUNETRConfig | NNUNetConfig | SegResNetConfig, Field(discriminator="kind")
]


def build_backbone(
    cfg: ResidualUNetConfig | SwinUNETRConfig | NNUNetConfig | SegResNetConfig, num_inputs: int
) -> Backbone:
    """The backbone that a config describes."""
    match cfg:
        case ResidualUNetConfig():
            return ResidualUNet(cfg, num_inputs)
        case SwinUNETRConfig():
            return SwinUNETRBackbone(cfg, num_inputs)
        case NNUNetConfig():
            return NNUNetBackbone(cfg, num_inputs)
        case SegResNetConfig():
            return SegResNetBackbone(cfg, num_inputs)
