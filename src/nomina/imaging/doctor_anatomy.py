"""Header against content: does the anatomy lie where the header says?

Speaks only where it is sure; a scan that shows neither both lungs nor a lumbar spine gets no finding.
Upside-down scans are not decided.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy import ndimage

from nomina.imaging.doctor_finding import Finding
from nomina.imaging.doctor_intensity import is_hounsfield, sampled
from nomina.imaging.volume import Volume

COARSE_MM = 3.0
"""Spacing at which the chest is looked at [choice: lungs and heart need no more]."""

SPINE_BEHIND_LUNGS_MM = 20.0
"""Bone at the midline lies at least this far behind the middle of the lungs [choice: 26 to 56 mm seen]."""

HEART_SHIFT_MM = 5.0
"""The heart reaches at least this much further to one side of the spine [choice]."""

DOME_MM = 10.0
"""The base of one lung lies at least this much higher, on the liver's side [choice: 10 to 20 is normal]."""

CUT_SHARE = 0.25
"""Lungs go on beyond the border when their area there is this share of the largest [choice]."""

PERIODICITY = 0.65
"""Least regularity of a column of vertebrae and discs [choice: reached in 22 of 25 lumbar T2 scans]."""

BRIGHTNESS_RATIO = 2.0
"""In front of the lumbar spine the signal is at most 1/this of that behind [choice: above 2 in 24 of 25]."""


def anatomy_findings(volume: Volume) -> Iterator[Finding]:
    """Contradictions between the header's directions and the anatomy, and lungs that the border cuts."""
    is_ct = is_hounsfield(sampled(volume.array))
    if is_ct and volume.modality in (None, "CT"):
        yield from _chest_findings(volume.canonical())
    elif not is_ct and volume.modality in (None, "MR"):
        yield from _lumbar_findings(volume.canonical())


@dataclass(frozen=True)
class _Chest:
    """Lungs and bone of a CT at about 3 mm, axes R, A, S."""

    lungs: Bool[np.ndarray, "r a s"]
    bone: Bool[np.ndarray, "r a s"]
    spacing_mm: Float[np.ndarray, " 3"]
    spine_r: int
    """Index of the midline along R."""
    spine_behind_mm: float
    """How far bone at the midline lies behind the middle of the lungs; negative in front."""


def _chest_findings(volume: Volume) -> Iterator[Finding]:
    chest = _chest(volume)
    if chest is None:
        return
    yield from _cut_lungs(chest)
    if abs(chest.spine_behind_mm) < SPINE_BEHIND_LUNGS_MM:
        return
    if chest.spine_behind_mm < 0:
        yield Finding(
            "front-back-mirrored",
            "error",
            f"The spine lies {-chest.spine_behind_mm:.0f} mm in front of the middle of the lungs: front and "
            f"back are exchanged in the header.",
            "Convert the original DICOM series again; do not flip the voxels without its header.",
        )
        return  # Whether it is a mirror image or a half turn decides on left and right: that stays open.
    heart_mm, dome_mm = _heart_shift_mm(chest), _right_base_height_mm(chest)
    if heart_mm > HEART_SHIFT_MM and dome_mm < -DOME_MM:
        yield Finding(
            "left-right-mirrored",
            "warning",
            f"The heart reaches {heart_mm:.0f} mm to the right and the left lung's base lies "
            f"{-dome_mm:.0f} mm higher, both the reverse of normal: left and right are exchanged in the "
            f"header, unless the patient has a situs inversus.",
            "Compare with the original DICOM series and convert it again.",
        )


def _chest(volume: Volume) -> _Chest | None:
    """None where no lungs of half a litre lie inside the scan, away from its sides."""
    spacing_mm = np.array(volume.grid.spacing_mm)
    steps = np.maximum(1, np.rint(COARSE_MM / spacing_mm)).astype(int)
    array = volume.array[:: steps[0], :: steps[1], :: steps[2]]
    spacing_mm = spacing_mm * steps
    if min(array.shape) < 3:
        return None
    lungs = _lungs(array, float(np.prod(spacing_mm)) / 1000)
    if lungs.sum() * np.prod(spacing_mm) / 1e6 < 0.5:
        return None
    middle = np.argwhere(lungs).mean(axis=0)
    heights = np.flatnonzero(lungs.any(axis=(0, 1)))
    bone = (array > 200) & (array < 1500)
    bone[:, :, : heights[0]] = bone[:, :, heights[-1] + 1 :] = False
    bone[np.abs(np.arange(len(bone)) - middle[0]) * spacing_mm[0] > 50] = False
    if bone.sum() * np.prod(spacing_mm) / 1000 < 20:
        return None
    behind_mm = (middle[1] - np.argwhere(bone)[:, 1].mean()) * spacing_mm[1]
    profile = ndimage.gaussian_filter1d(bone.sum(axis=(1, 2)).astype(float), 5 / spacing_mm[0])
    return _Chest(lungs, bone, spacing_mm, int(np.argmax(profile)), float(behind_mm))


def _lungs(array: Num[np.ndarray, "r a s"], voxel_ml: float) -> Bool[np.ndarray, "r a s"]:
    """Air inside the body: components of at least 100 ml that do not reach the sides of the scan."""
    parts, num_parts = ndimage.label(ndimage.binary_opening((array < -400) & (array > -1200)))
    sides = (parts[0], parts[-1], parts[:, 0], parts[:, -1])
    outside = np.unique(np.concatenate([side.ravel() for side in sides]))
    sizes_ml = np.bincount(parts.ravel(), minlength=num_parts + 1) * voxel_ml
    is_lung = sizes_ml >= 100
    is_lung[outside] = False
    is_lung[0] = False
    return is_lung[parts]


def _cut_lungs(chest: _Chest) -> Iterator[Finding]:
    area_cm2 = chest.lungs.sum(axis=(0, 1)) * chest.spacing_mm[0] * chest.spacing_mm[1] / 100
    if area_cm2.max() < 100:
        return
    ends = [
        (name, area_cm2[index])
        for name, index in (("lower", 0), ("upper", -1))
        if area_cm2[index] >= CUT_SHARE * area_cm2.max()
    ]
    if ends:
        where = " and the ".join(f"{name} border ({area:.0f} cm²)" for name, area in ends)
        yield Finding(
            "lungs-cut",
            "warning",
            f"The lungs go on beyond the {where}; their largest section here is {area_cm2.max():.0f} cm².",
            "Use a scan that shows them whole before you measure volumes or trees.",
        )


def _heart_shift_mm(chest: _Chest) -> float:
    """How far what lies between the lungs, in front and below, reaches to the right; negative to the left.

    The mean over rows of the middle between both lungs, less the spine's place; wide rows count more.
    """
    middle_a = int(np.argwhere(chest.lungs)[:, 1].mean())
    heights = np.flatnonzero(chest.lungs.any(axis=(0, 1)))
    lower = slice(heights[0], heights[0] + max(1, len(heights) // 2))
    rows = chest.lungs[:, middle_a:, lower].reshape(len(chest.lungs), -1)
    left, right = rows[: chest.spine_r], rows[chest.spine_r + 1 :]
    both = left.any(axis=0) & right.any(axis=0)
    if both.sum() < 20:
        return 0.0
    first = chest.spine_r - 1 - np.argmax(left[::-1, both], axis=0)
    last = chest.spine_r + 1 + np.argmax(right[:, both], axis=0)
    widths = last - first
    shifts = (first + last) / 2 - chest.spine_r
    return float((shifts * widths).sum() / widths.sum() * chest.spacing_mm[0])


def _right_base_height_mm(chest: _Chest) -> float:
    """How much higher the base of the right lung lies than that of the left, by medians; 0 when cut off."""
    if chest.lungs[:, :, 0].any():
        return 0.0
    bases = []
    for side in (chest.lungs[: chest.spine_r], chest.lungs[chest.spine_r :]):
        columns = side.any(axis=2)
        if columns.sum() < 50:
            return 0.0
        bases.append(float(np.median(np.argmax(side, axis=2)[columns])))
    return (bases[1] - bases[0]) * float(chest.spacing_mm[2])


def _lumbar_findings(volume: Volume) -> Iterator[Finding]:
    plane = _mid_sagittal(volume)
    if plane is None:
        return
    column, regularity = _vertebral_column(plane)
    margin = 20 // _PLANE_MM
    behind, ahead = plane[: max(0, column - margin)], plane[column + margin :]
    if regularity < PERIODICITY or min(len(behind), len(ahead)) < 40 // _PLANE_MM:
        return
    ratio = float(np.percentile(ahead, 75)) / max(float(np.percentile(behind, 75)), 1e-6)
    if ratio >= BRIGHTNESS_RATIO:
        yield Finding(
            "front-back-mirrored",
            "warning",
            f"On the side of the lumbar column that the header calls front, the signal is {ratio:.1f} times "
            f"that of the back; the fat and the coil at the back make it the reverse in a lumbar MR.",
            "Look at the scan; if the spinous processes point to the front, convert the series again.",
        )


_PLANE_MM = 2


def _mid_sagittal(volume: Volume) -> Float[np.ndarray, "a s"] | None:
    """Mean of the middle 10 mm at 2 mm, axes A, S; None unless it is a sagittal slab."""
    extents_mm = np.multiply(volume.grid.shape, volume.grid.spacing_mm)
    is_slab = extents_mm[0] < 150 and min(extents_mm[1:]) >= 150 and extents_mm[0] < min(extents_mm[1:]) / 1.5
    if not is_slab:
        return None
    half, middle = max(1, round(5 / volume.grid.spacing_mm[0])), volume.array.shape[0] // 2
    mean = volume.array[max(0, middle - half) : middle + half + 1].astype(np.float32).mean(axis=0)
    factors = [spacing / _PLANE_MM for spacing in volume.grid.spacing_mm[1:]]
    return ndimage.zoom(ndimage.gaussian_filter(mean, [0.4 / f for f in factors]), factors, order=1)


def _vertebral_column(plane: Float[np.ndarray, "a s"]) -> tuple[int, float]:
    """Where along A the pattern along S repeats most regularly, every 24 to 44 mm, and how regularly (to 1).

    Regularity is the smaller of the autocorrelation at one period and its negative at half a period, within
    160 mm, the best over the height of the image.
    """
    smooth = ndimage.uniform_filter1d(plane, 5, axis=0)
    detail = ndimage.gaussian_filter1d(smooth, 1.5, axis=1) - ndimage.gaussian_filter1d(smooth, 12, axis=1)
    length = min(80, plane.shape[1])
    best = np.zeros(len(plane))
    for start in range(0, plane.shape[1] - length + 1, 10):
        part = detail[:, start : start + length]
        correlation = {lag: _autocorrelation(part, lag) for lag in range(4, 24)}
        for lag in range(12, 23):
            opposite = np.minimum.reduce([correlation[n] for n in range(lag // 2 - 2, lag // 2 + 3)])
            best = np.maximum(best, np.minimum(correlation[lag], -opposite))
    best = ndimage.gaussian_filter1d(best, 2)
    return int(np.argmax(best)), float(best.max())


def _autocorrelation(part: Float[np.ndarray, "a s"], lag: int) -> Float[np.ndarray, " a"]:
    part = part - part.mean(axis=1, keepdims=True)
    here, there = part[:, :-lag], part[:, lag:]
    energy = np.sqrt((here**2).sum(axis=1) * (there**2).sum(axis=1))
    return (here * there).sum(axis=1) / np.maximum(energy, 1e-6)
