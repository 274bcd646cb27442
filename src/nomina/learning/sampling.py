"""Which patch to look at next: drawn from an explicit generator, apart from how it is cut out.

A plan is plain numbers, so a step can be replayed from its seed alone: resuming a run needs no sampler state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Integer

from nomina.config import config
from nomina.errors import ConfigError
from nomina.learning.prepared import PreparedEntry

MIN_PIXELS = 30
"""A class is in a slice from this many pixels on [choice, as in atm-net's facts]."""

NUM_POINTS = 128
"""Voxels kept per class to tell which share of a structure lies inside a patch."""


@config
class SamplingConfig:
    """How patches are drawn."""

    patch_size: tuple[int, int] = (256, 384)
    """Pixels along A and S [choice]: 192 × 288 mm at 0.75 mm shows a lumbar spine whole."""
    slice_shares: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Relative frequency of slices with a rare class, mid-sagittal slices, and any slice [choice]."""
    rotation_deg: float = 15.0
    """Largest rotation in the sagittal plane [choice]."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Range of slice pixels per patch pixel, drawn log-uniformly [choice]: above 1 the patch shows more."""
    shift_mm: tuple[float, float] = (20.0, 25.0)
    """Largest shift of the patch centre along A from the spine's middle, along S from the scan's [choice]."""
    loose_share: float = 0.2
    """Share of patches that may shift by `loose_shift_mm` along S and so lose the sacral end. The rest keep
    the lowest structure, because a level is a rank counted from there [choice]."""
    loose_shift_mm: float = 90.0
    """See `loose_share`."""
    elastic_mm: float = 3.0
    """Largest standard deviation of a smooth random displacement [choice]; 0 switches it off."""
    neighbour_offsets: tuple[float, ...] = (0.1, 0.6, 0.15, 0.1, 0.05)
    """Probability that the outer channels are the slices 0, 1, 2 … away: imitates thick slices [choice]."""

    def __post_init__(self) -> None:
        if min(self.patch_size) < 32:
            raise ConfigError(f"patch_size must be at least 32 along both axes, got {self.patch_size}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ConfigError(f"scale must be a rising pair of positive numbers, got {self.scale}")
        for name in ("slice_shares", "neighbour_offsets"):
            shares = getattr(self, name)
            if not shares or min(shares) < 0 or not sum(shares) > 0:
                raise ConfigError(f"{name} must be ≥ 0 and not all 0, got {shares}")
        lengths = (self.rotation_deg, *self.shift_mm, self.loose_shift_mm, self.elastic_mm)
        if min(lengths) < 0 or not 0 <= self.loose_share <= 1:
            raise ConfigError(
                f"rotation, shifts and elastic_mm must be ≥ 0 and loose_share 0 to 1, got {lengths} and "
                f"{self.loose_share}"
            )


@dataclass(frozen=True)
class PatchPlan:
    """Where one training patch comes from."""

    case: int
    """Index into the training cases."""
    slice_index: int
    neighbour_offset: int
    centre: tuple[float, float]
    """Pixel of the slice at the middle of the patch."""
    rotation_deg: float
    scale: float
    """Pixels of the slice per pixel of the patch."""
    elastic_px: float
    """Standard deviation of the displacement at its knots, in pixels of the patch."""
    seed: int
    """Seed of the elastic field and of the intensity augmentation."""


@dataclass(frozen=True, eq=False)
class CaseIndex:
    """What the sampler must know about one case: where its classes are."""

    entry: PreparedEntry
    counts: Integer[np.ndarray, "slices classes"]
    """Pixels of each class (0 background … n−1) in each slice."""
    points: tuple[Float[np.ndarray, "_ 2"], ...]
    """For each class 1…n−1, in-plane pixel coordinates of a sample of its voxels; empty when absent."""

    @cached_property
    def middle(self) -> tuple[float, float]:
        """Along A the middle of all structures, along S the middle of the scan."""
        size_j, size_k = self.entry.shape[1:]
        known = [points for points in self.points if len(points)]
        along_j = float(np.concatenate(known)[:, 0].mean()) if known else (size_j - 1) / 2
        return along_j, (size_k - 1) / 2

    def visible(self, plan: PatchPlan, patch_size: tuple[int, int]) -> Bool[np.ndarray, " structures"]:
        """Which structures have at least half of their voxels in the patch, over all slices of the case."""
        turn = _rotation(plan.rotation_deg)
        half = np.asarray(patch_size) / 2
        result = np.zeros(len(self.points), dtype=bool)
        for index, points in enumerate(self.points):
            if len(points):
                inside = np.abs((points - plan.centre) @ turn / plan.scale) <= half
                result[index] = inside.all(axis=1).mean() >= 0.5
        return result

    @cached_property
    def lowest(self) -> Float[np.ndarray, "p 2"]:
        """In-plane pixels of the structure whose middle is lowest; empty in a case without structures."""
        known = [points for points in self.points if len(points)]
        return min(known, key=lambda points: float(points[:, 1].mean()), default=np.zeros((0, 2)))


def index_case(entry: PreparedEntry, num_classes: int) -> CaseIndex:
    """Scan a prepared label map once."""
    labels = np.asarray(entry.labels())
    counts = np.stack([np.bincount(plane.ravel(), minlength=256)[:num_classes] for plane in labels])
    rng = np.random.default_rng(0)
    points: list[Float[np.ndarray, "p 2"]] = []
    for value in range(1, num_classes):
        found = np.argwhere(labels == value)[:, 1:] if counts[:, value].any() else np.zeros((0, 2))
        if len(found) > NUM_POINTS:
            found = found[rng.choice(len(found), NUM_POINTS, replace=False)]
        points.append(found.astype(np.float64))
    return CaseIndex(entry, counts, tuple(points))


def draw_plan(
    cases: Sequence[CaseIndex],
    case_weights: Float[np.ndarray, " cases"],
    cfg: SamplingConfig,
    rng: np.random.Generator,
) -> PatchPlan:
    """Draw one patch: a case by weight, a slice by kind, then place, turn and scale."""
    case = int(rng.choice(len(cases), p=case_weights))
    index = cases[case]
    spacing_mm = index.entry.spacing_mm[1]
    loose = rng.random() < cfg.loose_share
    reach_mm = (cfg.shift_mm[0], cfg.loose_shift_mm if loose else cfg.shift_mm[1])
    centre = [
        middle + rng.uniform(-reach, reach) / spacing_mm
        for middle, reach in zip(index.middle, reach_mm, strict=True)
    ]
    offsets = np.asarray(cfg.neighbour_offsets)
    plan = PatchPlan(
        case=case,
        slice_index=_draw_slice(index.counts, cfg, rng),
        neighbour_offset=int(rng.choice(len(offsets), p=offsets / offsets.sum())),
        centre=(float(centre[0]), float(centre[1])),
        rotation_deg=float(rng.uniform(-cfg.rotation_deg, cfg.rotation_deg)),
        scale=float(np.exp(rng.uniform(*np.log(cfg.scale)))),
        elastic_px=cfg.elastic_mm / spacing_mm * float(rng.random()),
        seed=int(rng.integers(2**31)),
    )
    return plan if loose else _keep_lowest(plan, index.lowest, cfg.patch_size)


def _keep_lowest(plan: PatchPlan, lowest: Float[np.ndarray, "p 2"], patch_size: tuple[int, int]) -> PatchPlan:
    """The plan, moved down where the lowest structure would be cut off, as in scans taller than a patch."""
    if not len(lowest):
        return plan
    turn = _rotation(plan.rotation_deg)
    above_centre = float(((lowest - plan.centre) @ turn)[:, 1].min())
    cut_off = -patch_size[1] / 2 * plan.scale - above_centre
    if cut_off <= 0:
        return plan
    along_j, along_k = plan.centre
    return replace(plan, centre=(along_j, along_k - cut_off / float(turn[1, 1])))


def _draw_slice(
    counts: Integer[np.ndarray, "slices classes"], cfg: SamplingConfig, rng: np.random.Generator
) -> int:
    shares = np.asarray(cfg.slice_shares) / sum(cfg.slice_shares)
    kind = int(rng.choice(3, p=shares))
    in_slice = counts[:, 1:] >= MIN_PIXELS
    if kind == 0 and in_slice.any():
        # A class is rare when few slices show it; one of the classes is drawn, then a slice that shows it.
        shown = in_slice.sum(axis=0)
        present = np.flatnonzero(shown)
        wanted = rng.choice(present, p=(1 / shown[present]) / (1 / shown[present]).sum())
        return int(rng.choice(np.flatnonzero(in_slice[:, wanted])))
    if kind == 1 and in_slice.any():
        # Mid-sagittal slices show the most classes.
        classes = in_slice.sum(axis=1)
        return int(rng.choice(np.flatnonzero(classes >= classes.max() - 1)))
    return int(rng.integers(len(counts)))


def _rotation(degrees: float) -> Float[np.ndarray, "2 2"]:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
