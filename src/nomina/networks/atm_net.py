"""ATM-Net: anatomy-aware text meets the image, for fine-grained lumbar spine segmentation.

Lian et al., "ATM-Net", arXiv:2504.03476, 2025. A reconstruction: the public text gives the parts and their
purpose, not their equations, the prompt wording or what is prompted at test time.

    Part        Where                                   Basis
    backbone    swin_unetr.SwinUNETRBackbone            Swin UNETR [paper, second-hand]; 2D [choice]
                residual_unet.ResidualUNet              [choice], preset `nomina`
    ATPG        nomina.language.facts, .prompts         purpose [paper], wording [choice]
    encoder     nomina.language.encoders                Bio-ClinicalBERT [paper, second-hand]; frozen [choice]
    HASF        layers.fusion.HolisticSemanticFusion    purpose [paper], form [choice]
    CCAE        layers.contrast.ChannelContrast         purpose [paper], form [choice]
    facts       layers.fact_predictor.FactPredictor     [choice]: at test time the picture is all that is read

Departures: the image view is a list of statements, one vector each, so that predicted facts can be mixed
softly; L_ftc pools with the reference mask, since pooling with predictions is solved by a shortcut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Integer
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError
from nomina.networks.backbones import BackboneConfig, build_backbone
from nomina.networks.layers.contrast import ChannelContrast
from nomina.networks.layers.fact_predictor import FactPredictor
from nomina.networks.layers.fusion import HolisticSemanticFusion
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.words import EncodedPrompts


@config
class ATMNetConfig:
    """ATM-Net's parts and sizes; presets differ in this alone."""

    kind: Literal["atm_net"] = "atm_net"
    backbone: BackboneConfig = ResidualUNetConfig()
    num_slices: Literal[1, 3, 5] = 3
    """Input channels: the slice and its neighbours on both sides [choice]."""
    has_fusion: bool = True
    """HASF in the deepest skip and the bottleneck; False is an ablation."""
    fusion_width: int = 256
    """Attention width of HASF [choice]."""
    has_contrast: bool = True
    """CCAE on the decoder's output; False is an ablation with a plain 1×1 output layer."""
    contrast_width: int = 128
    """Width of CCAE's image–text space [choice]."""
    contrast_pool_stride: int = 1
    """Pixels per axis averaged before CCAE pools class vectors [choice]: 1 as described, 4 for speed."""

    def __post_init__(self) -> None:
        if self.fusion_width < 8 or self.fusion_width % 8:
            raise ConfigError(f"fusion_width must be a multiple of 8, got {self.fusion_width}")
        if min(self.contrast_width, self.contrast_pool_stride) < 1:
            raise ConfigError(
                f"contrast_width and contrast_pool_stride must be at least 1, "
                f"got {self.contrast_width} and {self.contrast_pool_stride}"
            )


@dataclass(frozen=True)
class NetworkOutput:
    """Everything a training step needs from one forward pass."""

    logits: Float[Tensor, "b n i j"]
    first_logits: Float[Tensor, "b n si sj"] | None = None
    """CCAE's first logits, at its pooled resolution."""
    statements: tuple[Tensor, ...] = ()
    """Predicted logits `b o` of each statement of the image view."""
    presence: Float[Tensor, "b structures"] | None = None
    """Predicted presence logits of each structure."""
    contrast_loss: Float[Tensor, ""] | None = None
    """L_ftc, when a reference was given."""
    coarse_logits: tuple[Tensor, ...] = ()
    """Deep supervision: logits at 1/2, 1/4 … of the resolution."""


class ATMNet(nn.Module):
    """Segmentation of a slice from its voxels and its words.

    Args:
        cfg: Parts and sizes.
        num_classes: Classes n, background included.
        text_width: Width e of the prompt vectors, read from the encoder.
        num_options: Number of sentences of each image-view statement.
    """

    def __init__(
        self, cfg: ATMNetConfig, *, num_classes: int, text_width: int, num_options: Sequence[int]
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg.backbone, cfg.num_slices)
        channels = self.backbone.channels
        self.facts = FactPredictor(channels[-1], num_options, num_classes - 1)
        self.fusion = nn.ModuleList(
            HolisticSemanticFusion(width, text_width, width=cfg.fusion_width)
            for width in (channels[-2:] if cfg.has_fusion else ())
        )
        self.head: ChannelContrast | nn.Conv2d
        if cfg.has_contrast:
            self.head = ChannelContrast(
                self.backbone.num_outputs,
                num_classes,
                text_width,
                width=cfg.contrast_width,
                pool_stride=cfg.contrast_pool_stride,
            )
        else:
            self.head = nn.Conv2d(self.backbone.num_outputs, num_classes, kernel_size=1)

    @property
    def divisor(self) -> int:
        """Sides of a patch must be multiples of this."""
        return self.backbone.divisor

    def forward(self, patch: Float[Tensor, "b c i j"], words: EncodedPrompts) -> Float[Tensor, "b n i j"]:
        """Logits of each class."""
        return self.parts(patch, words).logits

    def predict_facts(self, patch: Float[Tensor, "b c i j"]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Logits of each statement and of each structure's presence, from the picture alone."""
        return self.facts(self.backbone.encode(patch)[-1])

    def parts(
        self,
        patch: Float[Tensor, "b c i j"],
        words: EncodedPrompts,
        reference: Integer[Tensor, "b i j"] | None = None,
    ) -> NetworkOutput:
        """Logits and what the losses need; `reference` (training only) adds the contrastive loss."""
        features = self.backbone.encode(patch)
        statements, presence = self.facts(features[-1])
        image_tokens, image_mask = words.image_tokens(statements, len(patch))
        for level, fuse in enumerate(self.fusion, start=-2):
            features[level] = fuse(features[level], image_tokens, image_mask, words.channel)
        decoded = self.backbone.decode(features)
        if isinstance(self.head, nn.Conv2d):
            return NetworkOutput(self.head(decoded), statements=statements, presence=presence)
        logits, first = self.head(decoded, words.channel)
        loss = None if reference is None else self.head.loss(decoded, words.channel, reference)
        return NetworkOutput(logits, first, statements, presence, loss)
