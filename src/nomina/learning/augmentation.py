"""Cut a planned patch out of a prepared case and vary its look; runs on the CPU or the GPU.

One sampling grid is shared by image (linear) and label (nearest). All draws come from the plan's seed.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from nomina.config import config
from nomina.errors import ConfigError
from nomina.learning.prepared import IGNORED
from nomina.learning.sampling import CaseIndex, PatchPlan

EDGE_PX = 0.7
"""SD of the Gaussian that softens the edges of recoloured structures [choice: about that of a scan's own]."""


@config
class AugmentationConfig:
    """Probabilities and ranges of the intensity changes, all [choice] after nnU-Net's practice."""

    gamma: float = 0.5
    """Probability of a gamma curve with exponent 0.6 to 1.6."""
    remap: float = 0.15
    """Probability of a random smooth intensity curve (may invert), which imitates other contrasts."""
    recolour: float = 0.0
    """Probability that vertebrae, discs, canal and all else have a random intensity curve each: `remap` gives
    tissues that are equally bright one new grey value, other contrasts part them. Edges of labels show."""
    bias_field: float = 0.5
    """Probability of a smooth multiplicative field of up to ± 40 %."""
    noise: float = 0.4
    """Probability of Gaussian noise with standard deviation up to 0.15."""
    blur: float = 0.2
    """Probability of a Gaussian blur of 0.5 to 1.2 pixels."""
    low_resolution: float = 0.2
    """Probability of a coarser in-plane grid, by a factor of up to 2."""
    contrast: float = 0.5
    """Probability of a linear change: scale 0.7 to 1.3, shift ± 0.3."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie in 0 to 1, got {value}")


def cut_patch(
    index: CaseIndex,
    plan: PatchPlan,
    patch_size: tuple[int, int],
    num_slices: int,
    device: torch.device | str = "cpu",
) -> tuple[Float[Tensor, "c i j"], Integer[Tensor, "i j"]]:
    """Image channels and class indices of a planned patch; pixels outside the scan are ignored."""
    image, labels = index.entry.image(), index.entry.labels()
    reach = num_slices // 2
    wanted = plan.slice_index + plan.neighbour_offset * np.arange(-reach, reach + 1)
    slices = np.stack([image[int(n)] for n in np.clip(wanted, 0, len(image) - 1)])
    source = torch.from_numpy(slices.astype(np.float32)).to(device)[None]
    classes = torch.from_numpy(labels[plan.slice_index].astype(np.float32)).to(device)[None, None]

    grid = _sampling_grid(plan, patch_size, (slices.shape[1], slices.shape[2])).to(device)
    fill = source.min()
    patch = F.grid_sample(source - fill, grid, mode="bilinear", align_corners=True)[0] + fill
    # Classes are sampled as class + 1, so that 0 marks what lies outside the scan.
    shifted = F.grid_sample(classes + 1, grid, mode="nearest", align_corners=True)[0, 0]
    target = torch.where(shifted > 0, shifted - 1, torch.full_like(shifted, IGNORED))
    return patch, target.round().long()


def vary_intensity(
    patch: Float[Tensor, "c i j"],
    cfg: AugmentationConfig,
    seed: int,
    kinds: Integer[Tensor, "i j"] | None = None,
) -> Float[Tensor, "c i j"]:
    """A patch in another look: contrast, bias field, gamma, noise, blur, resolution.

    Args:
        patch: One or more neighbouring slices.
        cfg: Probabilities.
        seed: Of all draws.
        kinds: Kind of each pixel (vertebra, disc, …; anything else as background), for `cfg.recolour`.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator(patch.device).manual_seed(seed)
    low, high = patch.amin(), patch.amax()
    unit = (patch - low) / (high - low).clamp(min=1e-6)
    # Draws nothing where it is off, so that recipes of before it meet the same patches.
    if cfg.recolour and kinds is not None and rng.random() < cfg.recolour:
        unit = _recoloured(unit, kinds, rng)
    if rng.random() < cfg.remap:
        unit = _random_curve(unit, rng)
    if rng.random() < cfg.gamma:
        unit = unit.clamp(min=1e-6) ** float(np.exp(rng.uniform(math.log(0.6), math.log(1.6))))
    if rng.random() < cfg.bias_field:
        knots = torch.randn(1, 1, 4, 4, generator=generator, device=patch.device)
        field = F.interpolate(knots, patch.shape[1:], mode="bicubic", align_corners=True)[0]
        unit = unit * (1 + float(rng.uniform(0.1, 0.4)) * field.clamp(-1, 1))
    patch = _standardise(unit)
    if rng.random() < cfg.low_resolution:
        factor = float(rng.uniform(1.2, 2.0))
        size = [max(8, round(side / factor)) for side in patch.shape[1:]]
        small = F.interpolate(patch[None], size, mode="bilinear", antialias=True, align_corners=False)
        patch = F.interpolate(small, patch.shape[1:], mode="bilinear", align_corners=False)[0]
    if rng.random() < cfg.blur:
        patch = _blur(patch, float(rng.uniform(0.5, 1.2)))
    if rng.random() < cfg.noise:
        noise = torch.randn(patch.shape, generator=generator, device=patch.device)
        patch = patch + noise * float(rng.uniform(0.0, 0.15))
    if rng.random() < cfg.contrast:
        patch = patch * float(rng.uniform(0.7, 1.3)) + float(rng.uniform(-0.3, 0.3))
    return patch


def _sampling_grid(
    plan: PatchPlan, patch_size: tuple[int, int], slice_size: tuple[int, int]
) -> Float[Tensor, "1 i j 2"]:
    """For each pixel of the patch its place in the slice, in grid_sample's units (x = last axis first)."""
    height, width = patch_size
    rows = torch.arange(height) - (height - 1) / 2
    columns = torch.arange(width) - (width - 1) / 2
    offsets = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
    if plan.elastic_px > 0:
        generator = torch.Generator().manual_seed(plan.seed + 1)
        knots = torch.randn(1, 2, 5, 7, generator=generator) * plan.elastic_px
        field = F.interpolate(knots, patch_size, mode="bicubic", align_corners=True)[0]
        offsets = offsets + field.permute(1, 2, 0)
    angle = math.radians(plan.rotation_deg)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    places = offsets @ turn.T * plan.scale + torch.tensor(plan.centre)
    unit = places / (torch.tensor(slice_size) - 1) * 2 - 1
    return unit.flip(-1)[None].float()


def _random_curve(unit: Float[Tensor, "c i j"], rng: np.random.Generator) -> Float[Tensor, "c i j"]:
    """A piecewise linear curve through six random heights, so that dark may become bright."""
    heights = torch.from_numpy(rng.random(6).astype(np.float32)).to(unit.device)
    position = unit.clamp(0, 1) * (len(heights) - 1)
    left = position.floor().clamp(max=len(heights) - 2).long()
    share = position - left
    return heights[left] * (1 - share) + heights[left + 1] * share


def _recoloured(
    unit: Float[Tensor, "c i j"], kinds: Integer[Tensor, "i j"], rng: np.random.Generator
) -> Float[Tensor, "c i j"]:
    """Each kind through a curve of its own, with edges as wide as those of the picture."""
    shares = [_blur((kinds == kind).to(unit.dtype)[None], EDGE_PX) for kind in range(int(kinds.max()) + 1)]
    curves = [_random_curve(unit, rng) for _ in shares]
    return sum((share * curve for share, curve in zip(shares, curves, strict=True)), torch.zeros_like(unit))


def _standardise(patch: Float[Tensor, "c i j"]) -> Float[Tensor, "c i j"]:
    return (patch - patch.mean()) / patch.std().clamp(min=1e-3)


def _blur(patch: Float[Tensor, "c i j"], sigma_px: float) -> Float[Tensor, "c i j"]:
    radius = 3
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=patch.device) / sigma_px) ** 2)
    taps = (taps / taps.sum()).to(patch.dtype)
    padded = F.pad(patch[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, taps[None, None, :, None]), taps[None, None, None, :])[:, 0]
