"""LA-CAF: pulmonary arteries and veins in chest CT, with an output layer that text vectors condition.

Guo et al., "Self-adaptive vision-language model for 3D segmentation of pulmonary artery and vein",
arXiv:2501.03722, 2025. A clean-room reconstruction from a description of the paper and of what its release
does; no line of the release was read.

    Part               Where                            `FAITHFUL`                        `NOMINA` [choice]
    backbone           genesis_unet.GenesisUNet         batch statistics always [release] instance norm
    prompts            nomina.language.vessel_prompts   four, without "pulmonary" [rel.]  two, with it
    encoder            nomina.language.encoders         CLIP ViT-B/32, frozen [paper]     any; frozen
    text adapters      layers.adapters.TextAdapters     [release]                         centred, residual
    image adapter      layers.adapters                  AxisMLP [release]                 AttentionPooling
    fusion             layers.gates                     MinMaxGate [release]              PromptAttention
    output layer       layers.dynamic_head.DynamicHead  [release]                         the same

[release] is the authors' release. Frozen CLIP, trained adapters and their fusion are the paper's idea; every
size and formula is known from the release only. Classes are independent sigmoids without a background
class [release]. Not here: the initial weights of the release, whose licence is non-commercial.
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nomina.config import config
from nomina.errors import ConfigError
from nomina.language.vessel_prompts import VesselWording
from nomina.networks.genesis_unet import GenesisUNet, GenesisUNetConfig
from nomina.networks.layers.adapters import AttentionPooling, AxisMLP, TextAdapters
from nomina.networks.layers.dynamic_head import DynamicHead
from nomina.networks.layers.gates import MinMaxGate, PromptAttention
from nomina.networks.words import ClassPrompts


@config
class LACAFConfig:
    """LA-CAF's parts and sizes; the defaults are the authors' release, other presets are settings."""

    kind: Literal["la_caf"] = "la_caf"
    backbone: GenesisUNetConfig = GenesisUNetConfig()
    num_inputs: int = 1
    """Input channels: CT [choice; the release may have read Hessian ridge maps]; 2 adds a vesselness map."""
    wording: VesselWording = "la_caf"
    """Which sentences name the classes [authors' release]; see `nomina.language.vessel_prompts`."""
    adapter_hidden: int = 128
    """Hidden width of a text adapter [authors' release]."""
    width: int = 256
    """Width of adapted prompts and of the image vector [authors' release]."""
    adapter_blend: float | None = None
    """Start of the learned share of the adapter against the unadapted prompt; None: no residual path
    [authors' release]. 0.2 after CLIP-Adapter [choice]."""
    is_text_centred: bool = False
    """Whether the text adapters see what tells the prompts apart [choice] or the prompts as they are: False
    [authors' release]."""
    is_adapter_shared: bool = False
    """One text adapter for all classes, so that words alone tell them apart; False [authors' release]."""
    pooling: Literal["axis_mlp", "attention"] = "axis_mlp"
    """Image adapter: axis_mlp ties the patch to one size [authors' release]; attention takes any [choice]."""
    axis_voxels: int = 12
    """Voxels of the bottleneck per axis that axis_mlp takes: 12 for a patch of 96³ [authors' release]."""
    fusion: Literal["gate", "attention"] = "gate"
    """gate: a number per class scales the image vector [authors' release]; attention: prompts read the
    bottleneck [choice]."""
    num_heads: int = 8
    """Heads of both kinds of attention [choice]."""
    head_channels: int = 8
    """Channels of the generated layers [authors' release]."""
    norm_groups: int = 16
    """Groups of the norms before pooling and before the output layer [authors' release]."""

    def __post_init__(self) -> None:
        counts = ("num_inputs", "adapter_hidden", "width", "axis_voxels", "num_heads", "head_channels")
        for name in (*counts, "norm_groups"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        finest, *_, deepest = self.backbone.stage_channels
        needed: dict[str, tuple[int, ...]] = {"norm_groups": (finest, deepest)}
        if "attention" in (self.pooling, self.fusion):
            needed["num_heads"] = (deepest, self.width)
        for name, sizes in needed.items():
            if any(size % getattr(self, name) for size in sizes):
                raise ConfigError(
                    f"{name} must divide the channels that it groups, got {getattr(self, name)} for {sizes}"
                )


FAITHFUL = LACAFConfig()
"""The network of the authors' release: for the classes `vessel_prompts.SIDED_VESSELS`, patches of 96³."""

NOMINA = LACAFConfig(
    backbone=GenesisUNetConfig(norm="instance"),
    wording="nomina",
    adapter_blend=0.2,
    is_text_centred=True,
    pooling="attention",
    fusion="attention",
)
"""Our preset [choice]: for the classes `vessel_prompts.VESSELS`, any patch whose sides are multiples of 8."""


class LACAF(nn.Module):
    """Segmentation of a block from its voxels and one prompt per class.

    Args:
        cfg: Parts and sizes.
        num_classes: Classes n; there is no background class.
        text_width: Width e of the prompt vectors, read from the encoder.
    """

    def __init__(self, cfg: LACAFConfig, *, num_classes: int, text_width: int) -> None:
        super().__init__()
        self.backbone = GenesisUNet(cfg.backbone, cfg.num_inputs)
        finest, deepest = self.backbone.channels[0], self.backbone.channels[-1]
        self.text_adapters = TextAdapters(
            num_classes,
            text_width,
            hidden=cfg.adapter_hidden,
            width=cfg.width,
            blend=cfg.adapter_blend,
            is_centred=cfg.is_text_centred,
            is_shared=cfg.is_adapter_shared,
        )
        self.bottleneck_norm = nn.GroupNorm(cfg.norm_groups, deepest)
        self.pooling: AxisMLP | AttentionPooling
        if cfg.pooling == "axis_mlp":
            self.pooling = AxisMLP(cfg.axis_voxels)
        else:
            self.pooling = AttentionPooling(deepest, cfg.num_heads)
        self.projection = nn.Linear(deepest, cfg.width)
        self.fusion: MinMaxGate | PromptAttention
        if cfg.fusion == "gate":
            self.fusion = MinMaxGate()
        else:
            self.fusion = PromptAttention(deepest, width=cfg.width, num_heads=cfg.num_heads)
        self.head = DynamicHead(
            finest, 2 * cfg.width, num_channels=cfg.head_channels, num_groups=cfg.norm_groups
        )

    @property
    def divisor(self) -> int:
        """Sides of a patch must be multiples of this."""
        return self.backbone.divisor

    def forward(self, patch: Float[Tensor, "b c i j k"], words: ClassPrompts) -> Float[Tensor, "b n i j k"]:
        """Logits of each class, to be read by a sigmoid: a voxel may belong to two classes or to none.

        Raises:
            ConfigError: The patch has a size that this network cannot take.
            PromptError: There is not one prompt per class.
        """
        text = self.text_adapters(words.channel)
        features, bottleneck = self.backbone(patch)
        visual = F.relu(self.bottleneck_norm(bottleneck))
        image = self.projection(F.relu(self.pooling(visual)))
        return self.head(features, self.fusion(image, text, visual))
