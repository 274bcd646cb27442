r"""The objective for vessels: one sigmoid per class, Dice + BCE (+ skeleton recall), and what was annotated.

                        `FAITHFUL`                                     `NOMINA` [choice]
    Dice                per sagittal slice, as it ran [release]        per class over the whole batch
    BCE                 mean over each (image, class) [release]        mean over each class of the batch
    skeleton recall     no [release]                                   yes
    not annotated       counts as background [release]                 counts in nothing

The authors' Dice routine flattens all axes but the first of a 3D channel, so it scores each slice along the
first axis by itself: a slice without reference costs a constant 1 and teaches nothing. Half-labelled scans
were trained with their other half as background; `is_masked=True` with the other settings of `FAITHFUL`
changes that alone.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from nomina.config import config
from nomina.errors import ConfigError, GridMismatchError

SLICE_SMOOTH = 1.0
"""Added to the denominator of the slice-wise Dice alone [authors' release]."""

BATCH_SMOOTH = 1e-5
"""Added above and below in the batch-wise Dice and in skeleton recall [choice]."""


@config
class VesselLossConfig:
    """Forms and weights of the parts; the defaults are the authors' release."""

    dice_form: Literal["sagittal_slices", "batch"] = "sagittal_slices"
    """sagittal_slices: each slice along i by itself [authors' release]; batch: each class over all voxels of
    the batch, classes without reference left to BCE [choice]."""
    is_masked: bool = False
    """True: a voxel counts for a class only where that class was annotated [choice]; False: everywhere, so
    that what nobody annotated is background [authors' release]."""
    dice: float = 1.0
    """Weight of Dice [authors' release]."""
    bce: float = 1.0
    """Weight of binary cross-entropy [authors' release]."""
    skeleton: float = 0.0
    """Weight of skeleton recall: 0 [authors' release], 1 as in nnU-Net's version of it [choice]."""

    def __post_init__(self) -> None:
        weights = (self.dice, self.bce, self.skeleton)
        if min(weights) < 0 or max(weights) == 0:
            raise ConfigError(f"weights of losses must be at least 0 and one more than 0, got {weights}")


FAITHFUL = VesselLossConfig()
"""The objective of the authors' release."""

NOMINA = VesselLossConfig(dice_form="batch", is_masked=True, skeleton=1.0)
"""Our objective [choice]."""


def vessel_objective(
    logits: Float[Tensor, "b n i j k"],
    reference: Bool[Tensor, "b n i j k"],
    annotated: Bool[Tensor, "b n i j k"],
    cfg: VesselLossConfig,
    *,
    skeleton: Bool[Tensor, "b n i j k"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Each weighted part of the objective by name; their sum is what is minimised.

    Args:
        logits: One map per class, before the sigmoid; i is the sagittal axis.
        reference: Where each class is; classes may overlap.
        annotated: Where somebody looked for each class. Elsewhere there is neither loss nor gradient, unless
            `cfg.is_masked` is False.
        cfg: Forms and weights.
        skeleton: `skeletons.tubed_skeleton` of each class; needed where `cfg.skeleton` is not 0.

    Raises:
        ConfigError: `cfg.skeleton` is not 0 and no skeleton is given.
        GridMismatchError: The maps differ in shape.
    """
    for name, maps in (("reference", reference), ("annotated", annotated), ("skeleton", skeleton)):
        if maps is not None and maps.shape != logits.shape:
            raise GridMismatchError(
                f"{name} has shape {tuple(maps.shape)}, the logits have {tuple(logits.shape)}; give one "
                f"map per image and class on the patch's grid"
            )
    counted = annotated if cfg.is_masked else torch.ones_like(annotated)
    # Cut here, not in each sum: what does not count must not reach a gradient, not even as 0 × inf.
    logits = torch.where(counted, logits.float(), 0.0)
    reference = reference & counted
    parts: dict[str, Tensor] = {}
    if cfg.dice:
        dice = _slice_dice if cfg.dice_form == "sagittal_slices" else _batch_dice
        parts["dice"] = cfg.dice * dice(logits, reference, counted)
    if cfg.bce:
        parts["bce"] = cfg.bce * _bce(logits, reference, counted, over_batch=cfg.dice_form == "batch")
    if cfg.skeleton:
        if skeleton is None:
            raise ConfigError(f"the weight of skeleton recall is {cfg.skeleton}, but no skeleton is given")
        parts["skeleton"] = cfg.skeleton * _skeleton_loss(logits, skeleton & reference)
    return parts


def _slice_dice(logits: Tensor, reference: Tensor, counted: Tensor) -> Tensor:
    """1 - 2 Σ p y / (Σ p + Σ y + 1) per slice, image and class, averaged where any voxel counts."""
    overlap, predicted, volume = _sums(logits, reference, counted, axes=(3, 4))
    losses = 1 - 2 * overlap / (predicted + volume + SLICE_SMOOTH)
    return _mean_where(losses, counted.any(dim=4).any(dim=3))


def _batch_dice(logits: Tensor, reference: Tensor, counted: Tensor) -> Tensor:
    """1 - (2 Σ p y + ε) / (Σ p + Σ y + ε) per class over the batch, averaged over classes with reference."""
    overlap, predicted, volume = _sums(logits, reference, counted, axes=(0, 2, 3, 4))
    losses = 1 - (2 * overlap + BATCH_SMOOTH) / (predicted + volume + BATCH_SMOOTH)
    return _mean_where(losses, volume > 0)


def _bce(logits: Tensor, reference: Tensor, counted: Tensor, *, over_batch: bool) -> Tensor:
    """Cross-entropy: mean over the voxels of each class (and image), then over those with any voxel."""
    axes = (0, 2, 3, 4) if over_batch else (2, 3, 4)
    entropy = F.binary_cross_entropy_with_logits(logits, reference.float(), reduction="none")
    num_voxels = counted.sum(dim=axes)
    return _mean_where((entropy * counted).sum(dim=axes) / num_voxels.clamp(min=1), num_voxels > 0)


def _skeleton_loss(logits: Tensor, skeleton: Tensor) -> Tensor:
    """1 - soft recall of each class's tubed skeleton over the batch (Kirchhoff et al., arXiv:2404.03010)."""
    axes = (0, 2, 3, 4)
    found, length = (logits.sigmoid() * skeleton).sum(dim=axes), skeleton.sum(dim=axes)
    return _mean_where(1 - (found + BATCH_SMOOTH) / (length + BATCH_SMOOTH), length > 0)


def _sums(
    logits: Tensor, reference: Tensor, counted: Tensor, *, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Σ p y, Σ p and Σ y over the voxels that count."""
    probabilities = logits.sigmoid() * counted
    return (probabilities * reference).sum(dim=axes), probabilities.sum(dim=axes), reference.sum(dim=axes)


def _mean_where(values: Tensor, counts: Tensor) -> Tensor:
    """Mean of the values that count; a 0 with a gradient of 0 where none does."""
    return (values * counts).sum() / counts.sum().clamp(min=1)
