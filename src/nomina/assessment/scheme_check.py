"""Does a label map follow the numbering it claims? Faults in words, found from where the structures lie.

Everything is judged in world coordinates, so the axis order of the file plays no part: a file whose header
turns the patient upside down or back to front is caught just like wrong numbers.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from nomina.assessment.spine_levels import ALL_LEVELS_UPWARDS, spine_kind
from nomina.imaging.volume import LabelMap

CANAL_WINDOW_MM = 5.0
"""Half height of the piece of canal that is compared with a disc [choice: about half a disc space]."""

MIN_CANAL_COVER = 0.3
"""Least share of the vertebrae's height that a canal spans [choice: discs span 0.1, real canals 0.68]."""


@dataclass(frozen=True)
class _Spine:
    """Label values by role, and where their voxels are."""

    vertebrae: tuple[tuple[int, str], ...]
    """Label value and title of each vertebra that is there, in the order its name claims, from the bottom."""
    discs: tuple[tuple[int, str, int | None, int | None], ...]
    """Label value and title of each disc that is there; label values of the vertebrae above and below it."""
    canal: int | None
    """Label value of the spinal canal where there is one."""
    points_mm: dict[int, Float[np.ndarray, "n 3"]]
    """World coordinates (RAS) of the voxels of each label value."""

    partly_visible: frozenset[int] = frozenset()
    """Label values of vertebrae that the upper border of the scan cuts."""

    def height_mm(self, value: int) -> float:
        """Mean height of a structure; of a cut vertebra the top: its low spine may be all there is."""
        heights = self.points_mm[value][:, 2]
        return float(heights.max() if value in self.partly_visible else heights.mean())


def check_label_map(label_map: LabelMap) -> tuple[str, ...]:
    """Faults of a spine label map, one sentence each; empty when the order along the body is as claimed.

    Args:
        label_map: Any scheme. For "spider" the numbers themselves are checked, for others the names. A label
            map without vertebrae has nothing that could be wrong.
    """
    if label_map.scheme == "spider":
        return check_spider(label_map)
    points_mm = _points_mm(label_map)
    value_of = {name: value for value, name in label_map.names.items() if value in points_mm}
    titles = {value: f"{name} (label {value})" for name, value in value_of.items()}
    above_sacrum = {level: value_of.get(f"{level} vertebra") for level in ALL_LEVELS_UPWARDS}
    above_sacrum["S1"] = above_sacrum["S1"] or value_of.get("sacrum")
    discs = []
    for name, value in value_of.items():
        upper, _, lower = name.removesuffix(" disc").partition("-")
        if spine_kind(name) == "disc":
            discs.append((value, titles[value], above_sacrum.get(upper), above_sacrum.get(lower)))
    vertebrae = tuple((value, titles[value]) for value in above_sacrum.values() if value is not None)
    return _faults(_Spine(vertebrae, tuple(discs), value_of.get("spinal canal"), points_mm))


def check_spider(label_map: LabelMap) -> tuple[str, ...]:
    """Faults of a label map numbered as in SPIDER, one sentence each; empty when there are none.

    Vertebrae are 1 to 25 from the bottom (101 to 125 where only partly visible), the canal is 100, and disc
    200 + n lies below vertebra n.
    """
    points_mm = _points_mm(label_map)
    values = sorted(points_mm)
    faults = [
        f"label {value} is not a SPIDER number: expected 1–25, 100, 101–125 or 201–225"
        for value in values
        if not (1 <= value <= 25 or 100 <= value <= 125 or 201 <= value <= 225)
    ]
    value_of = {value % 100: value for value in reversed(values) if 1 <= value % 100 <= 25 and value < 200}
    faults += [
        f"labels {n} and {100 + n} are both there: a vertebra is either whole or partly visible"
        for n in range(1, 26)
        if n in points_mm and 100 + n in points_mm
    ]
    numbers = sorted(value_of)
    if numbers != list(range(1, len(numbers) + 1)):
        found = ", ".join(map(str, numbers))
        faults.append(f"vertebrae must be numbered 1, 2, 3 … from the bottom without gaps, got {found}")
    discs = tuple(
        (value, f"disc {value}", value_of.get(value - 200), value_of.get(value - 201))
        for value in values
        if 201 <= value <= 225
    )
    vertebrae = tuple((value_of[n], f"vertebra {value_of[n]}") for n in numbers)
    canal = 100 if 100 in points_mm else None
    partly_visible = frozenset(value for value, _ in vertebrae if value > 100)
    return (*faults, *_faults(_Spine(vertebrae, discs, canal, points_mm, partly_visible)))


def _faults(spine: _Spine) -> tuple[str, ...]:
    upside_down = _upside_down_fault(spine)
    along_the_spine = [upside_down] if upside_down else [*_order_faults(spine), *_disc_faults(spine)]
    return (*along_the_spine, *_canal_faults(spine))


def _upside_down_fault(spine: _Spine) -> str | None:
    """Every vertebra lies below the one it should lie above: one cause, so one sentence."""
    heights = [spine.height_mm(value) for value, _ in spine.vertebrae]
    if len(heights) < 2 or any(upper > lower for lower, upper in pairwise(heights)):
        return None
    bottom, top = spine.vertebrae[0][1], spine.vertebrae[-1][1]
    return (
        f"the vertebrae are upside down: {bottom} should be the lowest and lies above {top}; either they are "
        f"numbered from the top or the header turns the patient over"
    )


def _order_faults(spine: _Spine) -> list[str]:
    """Vertebrae must rise in the order that their names claim."""
    return [
        f"{upper} should lie above {lower} and lies below it"
        for (lower_value, lower), (upper_value, upper) in pairwise(spine.vertebrae)
        if spine.height_mm(upper_value) <= spine.height_mm(lower_value)
    ]


def _disc_faults(spine: _Spine) -> list[str]:
    """Each disc must lie between its two vertebrae."""
    misplaced, alone = [], []
    for value, title, upper, lower in spine.discs:
        height = spine.height_mm(value)
        if upper is None and lower is None:
            alone.append(title)
        elif (upper is not None and height >= spine.height_mm(upper)) or (
            lower is not None and height <= spine.height_mm(lower)
        ):
            misplaced.append(title)
    faults = []
    if misplaced:
        faults.append(f"not between the vertebrae that the name or number says: {', '.join(misplaced)}")
    if alone and spine.vertebrae:
        faults.append(f"neither of its two vertebrae is there: {', '.join(alone)}")
    return faults


def _canal_faults(spine: _Spine) -> list[str]:
    """The canal must run along the spine, behind the discs."""
    if spine.canal is None:
        return []
    faults = []
    canal = spine.points_mm[spine.canal]
    if len(spine.vertebrae) > 1:
        heights = np.concatenate([spine.points_mm[value][:, 2] for value, _ in spine.vertebrae])
        cover = np.ptp(canal[:, 2]) / max(np.ptp(heights), 1.0)
        if cover < MIN_CANAL_COVER:
            faults.append(
                f"the spinal canal (label {spine.canal}) spans {cover:.0%} of the height of the vertebrae, "
                f"expected at least {MIN_CANAL_COVER:.0%}; is this label another structure?"
            )
    in_front = []
    for value, title, _, _ in spine.discs:
        beside = np.abs(canal[:, 2] - spine.height_mm(value)) <= CANAL_WINDOW_MM
        if beside.any() and canal[beside, 1].mean() >= spine.points_mm[value][:, 1].mean():
            in_front.append(title)
    if in_front:
        faults.append(
            f"the spinal canal (label {spine.canal}) lies in front of {', '.join(in_front)}, expected behind "
            f"them; either the labels are swapped or the header turns the patient back to front"
        )
    return faults


def _points_mm(label_map: LabelMap) -> dict[int, Float[np.ndarray, "n 3"]]:
    """World coordinates of the voxels of each label value."""
    voxels = np.argwhere(label_map.array != 0)
    values = label_map.array[tuple(voxels.T)]
    return {value: label_map.grid.to_world(voxels[values == value]) for value in np.unique(values).tolist()}
