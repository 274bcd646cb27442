"""The training objective: L = DiceFocal + λ·L_ftc [paper, second-hand] + what mode B needs [choice]."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from nomina.config import config
from nomina.errors import ConfigError
from nomina.learning.prepared import IGNORED
from nomina.networks.atm_net import NetworkOutput

SMOOTH = 1e-5
"""Added above and below in Dice, as in MONAI."""

NEVER = -1e4
"""Logit of a class that cannot be; finite, so that no gradient becomes 0 × inf."""


@config
class LossConfig:
    """Weights of the parts of the objective."""

    dice: float = 1.0
    """Weight of softmax Dice [paper names DiceFocal; 1 is MONAI's default]."""
    focal: float = 1.0
    """Weight of the focal loss [as above]."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss [MONAI's default]."""
    is_monai_form: bool = False
    """Use MONAI's stock `DiceFocalLoss(softmax=True)`: background included, Dice per image, and a focal part
    that is a one-vs-all sigmoid."""
    contrast: float = 1.0
    """Weight λ of L_ftc [paper writes the plain sum]."""
    contrast_warmup: float = 0.1
    """Share of the training over which λ rises from 0 [choice]."""
    first_logits: float = 0.5
    """Weight of DiceFocal on CCAE's first logits [choice]."""
    facts: float = 0.1
    """Weight of the fact predictor's cross-entropies [choice]."""
    kinds: float = 0.0
    """Weight of DiceFocal on kinds (vertebra, disc, canal, background), each the sum of its levels [choice]:
    where levels are in doubt, Dice over levels is content with masks that are too large. Inference decides
    the kind first, and so does this part."""

    def __post_init__(self) -> None:
        weights = (self.dice, self.focal, self.contrast, self.first_logits, self.facts, self.kinds)
        if min(weights) < 0:
            raise ConfigError(f"weights of losses must be at least 0, got {weights}")
        # Between 0 and 1 the gradient of (1 − p)^γ has no bound.
        if self.focal_gamma != 0 and self.focal_gamma < 1:
            raise ConfigError(f"focal_gamma must be 0 or at least 1, got {self.focal_gamma}")
        if not 0 <= self.contrast_warmup <= 1:
            raise ConfigError(f"contrast_warmup is a share of the steps, 0 to 1, got {self.contrast_warmup}")


def dice_focal(
    logits: Float[Tensor, "b n i j"], target: Integer[Tensor, "b i j"], cfg: LossConfig
) -> Float[Tensor, ""]:
    """Dice over the classes present in the batch (background excluded) plus focal cross-entropy.

    Pixels of class 255 count in neither. A batch without any known pixel gives 0.
    """
    if cfg.is_monai_form:
        return _monai_dice_focal(logits, target, cfg)
    known = target != IGNORED
    labels = torch.where(known, target, 0)
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    log_right = log_probabilities.gather(1, labels[:, None])[:, 0]
    right = log_right.exp() * known
    num_known = known.sum().clamp(min=1)
    focal = -((1 - right) ** cfg.focal_gamma * log_right * known).sum() / num_known

    num_classes = logits.shape[1]
    overlap = torch.zeros(num_classes, device=logits.device).index_add(0, labels.flatten(), right.flatten())
    predicted = torch.einsum("bnij,bij->n", log_probabilities.exp(), known.float())
    reference = torch.bincount(labels[known], minlength=num_classes).float()
    dice = (2 * overlap + SMOOTH) / (predicted + reference + SMOOTH)
    present = reference[1:] > 0
    dice_loss = 1 - dice[1:][present].mean() if present.any() else dice.sum() * 0
    return cfg.dice * dice_loss + cfg.focal * focal


def with_annotated(output: NetworkOutput, annotated: Bool[Tensor, "b n"]) -> NetworkOutput:
    """The output as a case that is labelled in part can judge it: what nobody looked for is background.

    The background takes on the probability of the classes that were not annotated, so whatever of them lies
    in the background of the reference costs nothing (marginal loss: Shi et al., Medical Image Analysis
    70:101979, 2021).
    """
    if bool(annotated.all()):
        return output
    first = output.first_logits
    return replace(
        output,
        logits=_marginal(output.logits, annotated),
        first_logits=None if first is None else _marginal(first, annotated),
        coarse_logits=tuple(_marginal(logits, annotated) for logits in output.coarse_logits),
    )


def _marginal(logits: Float[Tensor, "b n i j"], annotated: Bool[Tensor, "b n"]) -> Float[Tensor, "b n i j"]:
    logits, away = logits.float(), ~annotated[..., None, None]
    is_background = away | (torch.arange(logits.shape[1], device=logits.device) == 0)[:, None, None]
    background = logits.masked_fill(~is_background, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat([background, logits.masked_fill(away, NEVER)[:, 1:]], dim=1)


def kind_logits(
    logits: Float[Tensor, "b n i j"], kinds: Integer[Tensor, " n"]
) -> Float[Tensor, "b kinds i j"]:
    """Logits whose softmax is the sum of the probabilities of each kind's classes.

    Args:
        logits: Logits of the classes.
        kinds: Kind of each class, 0…kinds − 1.
    """
    logits = logits.float()
    return torch.stack([logits[:, kinds == kind].logsumexp(dim=1) for kind in range(int(kinds.max()) + 1)], 1)


def kind_loss(
    logits: Float[Tensor, "b n i j"],
    target: Integer[Tensor, "b i j"],
    kinds: Integer[Tensor, " n"],
    cfg: LossConfig,
) -> Float[Tensor, ""]:
    """DiceFocal on kinds, Dice and focal loss with weight 1 each; class 255 is ignored."""
    known = target != IGNORED
    kind_of_pixel = torch.where(known, kinds[torch.where(known, target, 0)], IGNORED)
    even = LossConfig(dice=1.0, focal=1.0, focal_gamma=cfg.focal_gamma)
    return dice_focal(kind_logits(logits, kinds), kind_of_pixel, even)


def fact_loss(
    output: NetworkOutput,
    choices: Integer[Tensor, "b s"],
    visible: Bool[Tensor, "b structures"],
    annotated: Bool[Tensor, "b structures"],
) -> Float[Tensor, ""]:
    """Cross-entropy of each statement (choice −1: unknown, not trained on) plus that of presence.

    Presence counts where somebody looked.
    """
    if output.presence is None:
        raise AssertionError("a network without a fact predictor has no fact loss")
    presence = F.binary_cross_entropy_with_logits(output.presence.float(), visible.float(), reduction="none")
    loss = (presence * annotated).sum() / annotated.sum().clamp(min=1)
    for index, logits in enumerate(output.statements):
        known = choices[:, index] >= 0
        entropy = F.cross_entropy(logits.float(), choices[:, index], ignore_index=-1, reduction="sum")
        # A zero rather than nothing where all is unknown: each head must get a gradient from every process.
        loss = loss + entropy / known.sum().clamp(min=1)
    return loss


def objective(
    output: NetworkOutput,
    target: Integer[Tensor, "b i j"],
    choices: Integer[Tensor, "b s"],
    visible: Bool[Tensor, "b structures"],
    cfg: LossConfig,
    progress: float,
    kinds: Integer[Tensor, " n"] | None = None,
    annotated: Bool[Tensor, "b n"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Each weighted part of the objective by name; their sum is what is minimised.

    Args:
        output: The network's forward pass.
        target: Class of each pixel, 255 where unknown.
        choices: Index of the true sentence of each statement, −1 where unknown.
        visible: Structures inside the patch.
        cfg: Weights.
        progress: Share of the training done, 0 to 1; λ warms up with it.
        kinds: Kind of each class, 0 for the background; needed where `cfg.kinds` is not 0.
        annotated: Classes that somebody looked for, see `with_annotated`; None: all.

    Raises:
        ConfigError: `cfg.kinds` is not 0 and no kinds are given.
    """
    if annotated is None:
        annotated = torch.ones(output.logits.shape[:2], dtype=torch.bool, device=target.device)
    output = with_annotated(output, annotated)
    parts = _segmentation(output, target, cfg)
    if cfg.kinds:
        if kinds is None:
            raise ConfigError(f"losses.kinds is {cfg.kinds}, but the kinds of the classes are not given")
        parts["kinds"] = cfg.kinds * kind_loss(output.logits, target, kinds, cfg)
    if output.first_logits is not None and cfg.first_logits:
        first = dice_focal(output.first_logits, _coarser(target, output.first_logits), cfg)
        parts["first_logits"] = cfg.first_logits * first
    if output.contrast_loss is not None:
        warmth = min(1.0, progress / cfg.contrast_warmup) if cfg.contrast_warmup else 1.0
        parts["contrast"] = cfg.contrast * warmth * output.contrast_loss
    if output.presence is not None:
        parts["facts"] = cfg.facts * fact_loss(output, choices, visible, annotated[:, 1:])
    return parts


def _segmentation(output: NetworkOutput, target: Tensor, cfg: LossConfig) -> dict[str, Tensor]:
    """DiceFocal, and on coarser logits with weights 1/2, 1/4 … where there are any; weights sum to 1."""
    parts = {"segmentation": dice_focal(output.logits, target, cfg)}
    if output.coarse_logits:
        weights = [2.0**-level for level in range(len(output.coarse_logits) + 1)]
        parts["segmentation"] = parts["segmentation"] / sum(weights)
        parts["coarse"] = sum(
            (
                weight / sum(weights) * dice_focal(logits, _coarser(target, logits), cfg)
                for weight, logits in zip(weights[1:], output.coarse_logits, strict=True)
            ),
            torch.zeros((), device=target.device),
        )
    return parts


def _coarser(
    target: Integer[Tensor, "b i j"], logits: Float[Tensor, "b n si sj"]
) -> Integer[Tensor, "b si sj"]:
    """Every so many-th pixel of the target, at the resolution of `logits`."""
    stride = target.shape[-1] // logits.shape[-1]
    return target[:, stride // 2 :: stride, stride // 2 :: stride]


def _monai_dice_focal(logits: Tensor, target: Tensor, cfg: LossConfig) -> Tensor:
    """MONAI's class; ignored pixels are made certain background, so that they have no gradient."""
    from monai.losses import DiceFocalLoss

    known = (target != IGNORED)[:, None]
    one_hot = F.one_hot(torch.where(known[:, 0], target, 0), logits.shape[1]).permute(0, 3, 1, 2).float()
    certain = (one_hot * 2 - 1) * 50.0
    loss = DiceFocalLoss(
        softmax=True,
        gamma=cfg.focal_gamma,
        lambda_dice=cfg.dice,
        lambda_focal=cfg.focal,
    )
    return loss(torch.where(known, logits.float(), certain), one_hot)
