"""Does a label map follow the numbering it claims? Faults in words, found from where the structures lie.

Everything is judged in world coordinates, so the axis order of the file plays no part: a file whose header
turns the patient upside down or back to front is caught just like wrong numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from nomina.anatomy.levels import ALL_LEVELS_UPWARDS
from nomina.assessment.check import Check, faults
from nomina.assessment.places import Place, places
from nomina.assessment.spine_levels import spine_kind
from nomina.imaging.volume import LabelMap

CANAL_WINDOW_MM = 5.0
"""Half height of the piece of canal that is compared with a disc [choice: about half a disc space]."""

MIN_CANAL_COVER = 0.3
"""Least share of the vertebrae's height that a canal spans [choice: discs span 0.1, real canals 0.68]."""

PIECE_SHARE = 0.5
"""What touches the border of the scan and is smaller than this share of a neighbour is a piece, whose height
says nothing [choice: a vertebra with half of its body in the scan still lies above the next one]."""


@dataclass(frozen=True)
class Spine:
    """Label values by role, and where their voxels are."""

    vertebrae: tuple[tuple[int, str], ...]
    """Label value and title of each vertebra that is there, in the order its name claims, from the bottom."""
    discs: tuple[tuple[int, str, int | None, int | None], ...]
    """Label value and title of each disc that is there; label values of the vertebrae above and below it."""
    canal: int | None
    """Label value of the spinal canal where there is one."""
    places: Mapping[int, Place]
    """Where the voxels of each label value are."""
    partly_visible: frozenset[int] = frozenset()
    """Label values of vertebrae that the upper border of the scan cuts."""

    def height_mm(self, value: int) -> float:
        """Mean height of a structure; of a cut vertebra the top: its low spine may be all there is."""
        place = self.places[value]
        return float(place.highest_mm[2] if value in self.partly_visible else place.centre_mm[2])

    @cached_property
    def pieces(self) -> frozenset[int]:
        """Label values of the vertebrae of which the scan holds too little to say where they lie."""
        column = [self.places[value] for value, _ in self.vertebrae]
        return frozenset(
            value
            for index, (value, _) in enumerate(self.vertebrae)
            if column[index].is_cut
            and any(
                column[index].volume_ml < PIECE_SHARE * beside.volume_ml
                for beside in (*column[max(index - 1, 0) : index], *column[index + 1 : index + 2])
            )
        )


def check_label_map(label_map: LabelMap) -> tuple[str, ...]:
    """Faults of a spine label map, one sentence each; empty when the order along the body is as claimed.

    Args:
        label_map: Any scheme. For "spider" the numbers themselves are checked, for others the names. A label
            map without vertebrae has nothing that could be wrong.
    """
    where = places(label_map.array, label_map.grid)
    if label_map.scheme == "spider":
        return faults(spider_checks(where))
    return faults(spine_checks(spine_by_names(label_map.names, where)))


def spine_by_names(
    names: Mapping[int, str], where: Mapping[int, Place], partial: Mapping[int, str] | None = None
) -> Spine:
    """The spine of a label map whose values are named.

    Args:
        names: Structure of each label value.
        where: Place of each label value that is there.
        partial: Structure of each value that marks a vertebra as only partly visible.
    """
    cut = {value: name for value, name in (partial or {}).items() if value in where}
    value_of = {name: value for value, name in cut.items()}
    value_of |= {name: value for value, name in names.items() if value in where}
    titles = {value: f"{name} (label {value})" for name, value in value_of.items()}
    above_sacrum = {level: value_of.get(f"{level} vertebra") for level in ALL_LEVELS_UPWARDS}
    above_sacrum["S1"] = above_sacrum["S1"] or value_of.get("sacrum")
    discs = []
    for name, value in value_of.items():
        upper, _, lower = name.removesuffix(" disc").partition("-")
        if spine_kind(name) == "disc":
            discs.append((value, titles[value], above_sacrum.get(upper), above_sacrum.get(lower)))
    vertebrae = tuple((value, titles[value]) for value in above_sacrum.values() if value is not None)
    return Spine(vertebrae, tuple(discs), value_of.get("spinal canal"), where, frozenset(cut))


def spider_checks(where: Mapping[int, Place]) -> tuple[Check, ...]:
    """Checks of a label map numbered as in SPIDER.

    Vertebrae are 1 to 25 from the bottom (101 to 125 where only partly visible), the canal is 100, and disc
    200 + n lies below vertebra n.
    """
    values = sorted(where)
    checks = [
        Check(1, 0, f"label {value} is not a SPIDER number: expected 1–25, 100, 101–125 or 201–225")
        for value in values
        if not (1 <= value <= 25 or 100 <= value <= 125 or 201 <= value <= 225)
    ]
    value_of = {value % 100: value for value in reversed(values) if 1 <= value % 100 <= 25 and value < 200}
    checks += [
        Check(1, 0, f"labels {n} and {100 + n} are both there: a vertebra is either whole or partly visible")
        for n in range(1, 26)
        if n in where and 100 + n in where
    ]
    numbers = sorted(value_of)
    if numbers != list(range(1, len(numbers) + 1)):
        found = ", ".join(map(str, numbers))
        gaps = f"vertebrae must be numbered 1, 2, 3 … from the bottom without gaps, got {found}"
        checks.append(Check(1, 0, gaps))
    discs = tuple(
        (value, f"disc {value}", value_of.get(value - 200), value_of.get(value - 201))
        for value in values
        if 201 <= value <= 225
    )
    vertebrae = tuple((value_of[n], f"vertebra {value_of[n]}") for n in numbers)
    canal = 100 if 100 in where else None
    partly_visible = frozenset(value for value, _ in vertebrae if value > 100)
    return (*checks, *spine_checks(Spine(vertebrae, discs, canal, where, partly_visible)))


def spine_checks(spine: Spine) -> tuple[Check, ...]:
    """Order of the vertebrae, discs between their vertebrae, canal behind the discs."""
    upside_down = _upside_down(spine)
    along = [upside_down] if upside_down else [*_order_checks(spine), *_disc_checks(spine)]
    return (*along, *_canal_checks(spine))


def _upside_down(spine: Spine) -> Check | None:
    """Every vertebra lies below the one it should lie above: one cause, so one sentence."""
    whole = [(value, title) for value, title in spine.vertebrae if value not in spine.pieces]
    heights = [spine.height_mm(value) for value, _ in whole]
    if len(heights) < 2 or any(upper > lower for lower, upper in pairwise(heights)):
        return None
    bottom, top = whole[0][1], whole[-1][1]
    return Check(
        len(heights) - 1,
        0,
        f"the vertebrae are upside down: {bottom} should be the lowest and lies above {top}; either they are "
        f"numbered from the top or the header turns the patient over",
    )


def _order_checks(spine: Spine) -> list[Check]:
    """Vertebrae must rise in the order that their names claim; a piece can speak for it, not against."""
    return [
        Check(1, 1)
        if spine.height_mm(upper_value) > spine.height_mm(lower_value)
        else Check(1, 0, f"{upper} should lie above {lower} and lies below it")
        for (lower_value, lower), (upper_value, upper) in pairwise(spine.vertebrae)
        # Of two that the border cuts, what is left of the upper one may be its arch, far down.
        if not {lower_value, upper_value} <= spine.partly_visible
        and (
            spine.height_mm(upper_value) > spine.height_mm(lower_value)
            or spine.pieces.isdisjoint((lower_value, upper_value))
        )
    ]


def _disc_checks(spine: Spine) -> list[Check]:
    """Each disc must lie between its two vertebrae, as far as these are no pieces."""
    misplaced, alone, num_asked = [], [], 0
    for value, title, upper, lower in spine.discs:
        height = spine.height_mm(value)
        if upper is None and lower is None:
            alone.append(title)
        below = [spine.height_mm(lower)] if lower is not None and lower not in spine.pieces else []
        above = [spine.height_mm(upper)] if upper is not None and upper not in spine.pieces else []
        num_asked += bool(below or above)
        if not all(other < height for other in below) or not all(height < other for other in above):
            misplaced.append(title)
    fault = f"not between the vertebrae that the name or number says: {', '.join(misplaced)}"
    checks = [Check(num_asked, num_asked - len(misplaced), fault if misplaced else None)] if num_asked else []
    if alone and spine.vertebrae:
        checks.append(Check(len(alone), 0, f"neither of its two vertebrae is there: {', '.join(alone)}"))
    return checks


def _canal_checks(spine: Spine) -> list[Check]:
    """The canal must run along the spine, behind the discs."""
    if spine.canal is None:
        return []
    checks = []
    canal = spine.places[spine.canal]
    if len(spine.vertebrae) > 1:
        ends = [spine.places[value] for value, _ in spine.vertebrae]
        span_mm = max(end.highest_mm[2] for end in ends) - min(end.lowest_mm[2] for end in ends)
        cover = canal.height_mm / max(float(span_mm), 1.0)
        fault = (
            f"the spinal canal (label {spine.canal}) spans {cover:.0%} of the height of the vertebrae, "
            f"expected at least {MIN_CANAL_COVER:.0%}; is this label another structure?"
        )
        checks.append(Check(1, 0, fault) if cover < MIN_CANAL_COVER else Check(1, 1))
    beside, in_front = 0, []
    heights = canal.points_mm[:, 2]
    for value, title, _, _ in spine.discs:
        near = np.abs(heights - spine.height_mm(value)) <= CANAL_WINDOW_MM
        beside += bool(near.any())
        if near.any() and canal.points_mm[near, 1].mean() >= spine.places[value].centre_mm[1]:
            in_front.append(title)
    fault = (
        f"the spinal canal (label {spine.canal}) lies in front of {', '.join(in_front)}, expected behind "
        f"them; either the labels are swapped or the header turns the patient back to front"
    )
    if beside:
        checks.append(Check(beside, beside - len(in_front), fault if in_front else None))
    return checks
