"""Do labels lie on what they name? Shifts and mirror images of a label map, tried on the scan itself.

Along the border between the same two labels a scan steps the same way, from bone to canal or from lung to
wall. Where labels lie wrong, steps of either sign meet and cancel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import ndimage

from nomina.imaging.doctor_finding import Finding
from nomina.imaging.volume import Volume

WRONG_RATIO = 1.2
"""Labels lie wrong when their borders meet this many times more contrast elsewhere [choice: at most 1.09 in
36 pairs of scan and mask]."""

SURE_RATIO = 0.97
"""Labels lie right when no place `SURE_MM` away has this share of their contrast [choice: at most 0.93]."""

SURE_MM = 6.0

SHIFTS_MM = np.arange(4.0, 20.1, 2.0)
"""Shifts that are tried; the next vertebra, which looks alike, is some 30 mm away [choice]."""

MIN_FACES = 500
"""Fewer faces between voxels of different labels tell nothing [choice]."""

MIN_EXTENT_MM = 100.0
"""Labels that reach less far, and over less than half of the scan, are not judged: a single faint disc meets
more contrast on any neighbour."""

NOISE_RATIO = 3.0
"""Sums of steps this many times larger than noise would give are contrast [choice]."""

MIN_FILLED_SHARE = 0.2
"""Labels that fill less of the box around them are not called wrong: discs alone meet more contrast elsewhere
even where they lie right [choice]."""

_MAX_FACES = 20_000
_SMOOTHING_MM = 1.0
_WAYS = (("further left", "further right"), ("further back", "further to the front"), ("lower", "higher"))
_ENDS = ("left and right", "front and back", "top and bottom")


@dataclass(frozen=True)
class _Faces:
    """Faces across one axis between voxels of different labels."""

    axis: int
    places: Int[np.ndarray, "n 3"]
    """The voxel on the lower side."""
    pairs: Int[np.ndarray, " n"]
    """A number for the two labels, the one on the lower side first."""


def fit_findings(volume: Volume, labels: Volume) -> Iterator[Finding]:
    """An error where labels fit the scan better elsewhere, a note where that cannot be told.

    Args:
        volume: The scan, canonical.
        labels: A label map on the same grid.
    """
    spacing_mm = np.array(volume.grid.spacing_mm)
    values, numbers = np.unique(labels.array, return_inverse=True)
    numbers = numbers.reshape(labels.array.shape)
    faces = _faces(numbers, len(values))
    if sum(len(part.places) for part in faces) < MIN_FACES:
        yield _unchecked("the labels are too small")
        return
    reaches_far, is_telling = _reach(faces, numbers, spacing_mm)
    if not reaches_far:
        yield _unchecked("the labels cover too little of the scan")
        return
    array, origin = _smoothed(volume.array, spacing_mm), np.zeros(3, dtype=np.intp)
    here = _contrast(array, faces, origin)
    mirrored = [_contrast(array, _faces(np.flip(numbers, axis), len(values)), origin) for axis in range(3)]
    moved = [(_contrast(array, faces, shift), shift) for shift in _shifts(numbers.shape, spacing_mm)]
    best, shift = max(moved, key=lambda entry: entry[0], default=(0.0, origin))
    if is_telling and max(best, *mirrored) > WRONG_RATIO * here:
        is_mirrored = max(mirrored) >= best
        yield _mirrored(mirrored, here) if is_mirrored else _shifted(best, here, shift * spacing_mm)
        return
    far = [contrast for contrast, shift in moved if np.abs(shift * spacing_mm).max() >= SURE_MM]
    if max(0.0, *far, *mirrored) >= SURE_RATIO * here:
        yield _unchecked("the labels' borders meet as much contrast elsewhere in the scan")


def _mirrored(contrasts: list[float], here: float) -> Finding:
    axis = int(np.argmax(contrasts))
    return Finding(
        "labels-mirrored",
        "error",
        f"The labels' borders meet {_times(contrasts[axis], here)} the contrast in the scan with "
        f"{_ENDS[axis]} exchanged: the output's voxels are mirrored.",
        "Make the output again; the program that wrote it flipped the array but not the affine.",
    )


def _shifted(best: float, here: float, shift_mm: Float[np.ndarray, " 3"]) -> Finding:
    axis = int(np.argmax(np.abs(shift_mm)))
    return Finding(
        "labels-shifted",
        "error",
        f"The labels' borders meet {_times(best, here)} the contrast in the scan about "
        f"{abs(shift_mm[axis]):.0f} mm {_WAYS[axis][int(shift_mm[axis] > 0)]}: the output is "
        f"shifted or turned.",
        "Make the output again from this input, and look at both in `nomina view`.",
    )


def _times(contrast: float, here: float) -> str:
    return f"{contrast / here:.2g} times" if here > contrast / 100 else "over 100 times"


def _unchecked(why: str) -> Finding:
    return Finding(
        "fit-unchecked",
        "note",
        f"The geometry agrees; whether the content fits could not be checked: {why}.",
        "Look at both in `nomina view`.",
    )


def _reach(
    faces: list[_Faces], numbers: Int[np.ndarray, "i j k"], spacing_mm: Float[np.ndarray, " 3"]
) -> tuple[bool, bool]:
    """Whether labels reach far enough to be judged, and whether they can be called wrong."""
    places = np.concatenate([part.places for part in faces])
    sizes = np.ptp(places, axis=0)
    num_half = int((2 * sizes >= numbers.shape).sum())
    is_long = bool((sizes * spacing_mm >= MIN_EXTENT_MM).any())
    filled = float((numbers > 0).sum()) / float(sizes.clip(1).prod())
    is_telling = filled >= MIN_FILLED_SHARE and (is_long or (num_half > 1 and numbers.max() > 1))
    return is_long or num_half > 0, is_telling


def _smoothed(
    array: Num[np.ndarray, "i j k"], spacing_mm: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "i j k"]:
    """The scan without noise and without its brightest and darkest spots."""
    low, high = np.percentile(array[::2, ::2, ::2], (1, 99))
    clipped = np.clip(array.astype(np.float32), low, high)
    return ndimage.gaussian_filter(clipped, _SMOOTHING_MM / spacing_mm, truncate=3)


def _faces(numbers: Int[np.ndarray, "i j k"], num_values: int) -> list[_Faces]:
    faces = []
    for axis in range(3):
        lower = tuple(slice(None, -1) if other == axis else slice(None) for other in range(3))
        upper = tuple(slice(1, None) if other == axis else slice(None) for other in range(3))
        places = np.argwhere(numbers[lower] != numbers[upper])
        places = places[:: len(places) // _MAX_FACES + 1]
        above = places + (np.arange(3) == axis)
        here, there = numbers[tuple(places.T)], numbers[tuple(above.T)]
        pairs = np.unique(here * num_values + there, return_inverse=True)[1]
        faces.append(_Faces(axis, places, pairs))
    return faces


def _shifts(shape: tuple[int, ...], spacing_mm: Float[np.ndarray, " 3"]) -> Iterator[Int[np.ndarray, " 3"]]:
    for axis in range(3):
        for size in sorted({round(mm / spacing_mm[axis]) for mm in SHIFTS_MM}):
            if (
                0.9 * SHIFTS_MM[0] <= size * spacing_mm[axis] <= 1.2 * SHIFTS_MM[-1]
                and size < shape[axis] // 2
            ):
                yield from (sign * size * (np.arange(3) == axis) for sign in (-1, 1))


def _contrast(array: Float[np.ndarray, "i j k"], faces: list[_Faces], shift: Int[np.ndarray, " 3"]) -> float:
    """Mean step across the shifted faces, after the steps of each pair of labels were added with their sign.

    Faces that leave the scan count as without a step, so that a shift never gains by losing faces. 0 where
    the sums are no larger than those of noise.
    """
    total, by_chance, num_faces = 0.0, 0.0, 0
    for part in faces:
        places = part.places + shift
        above = places + (np.arange(3) == part.axis)
        is_inside = ((places >= 0) & (above < array.shape)).all(axis=1)
        steps = array[tuple(above[is_inside].T)] - array[tuple(places[is_inside].T)]
        total += float(np.abs(np.bincount(part.pairs[is_inside], steps)).sum())
        by_chance += float(np.sqrt(np.bincount(part.pairs[is_inside], steps**2)).sum())
        num_faces += len(places)
    return total / max(num_faces, 1) if total > NOISE_RATIO * by_chance else 0.0
