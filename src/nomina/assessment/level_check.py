"""Faults of numbering that order alone does not show: levels skipped, left out or used twice."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from nomina.anatomy.levels import ALL_LEVELS_UPWARDS, EXTRA_LEVELS, LEVELS_UPWARDS, levels_of
from nomina.assessment.check import Check
from nomina.assessment.places import Place

WIDE_STEP = 1.7
"""A step between neighbouring levels this many times the steps beside it has room for one more [choice]."""

TWICE_AS_HIGH = 1.7
"""A vertebra this many times as high as those beside it is two [choice: 1.3 in real label maps]."""

LONGEST_STEP_MM = (
    ("cervical", levels_of("C"), 26.0),
    ("upper thoracic", levels_of("T")[:9], 34.0),
    ("lumbar", (*levels_of("L"), "L6"), 55.0),
)
"""Median distance between vertebrae that no adult exceeds [choice: tall adults have 20, 28, 42 mm]."""


def level_checks(names: Mapping[int, str], where: Mapping[int, Place]) -> list[Check]:
    """Levels that the numbers skip, levels without a label, and labels used for two vertebrae.

    Args:
        names: Structure of each label value.
        where: Place of each label value that is there. Vertebrae that are only partly visible are left out.
    """
    known = {names[value]: place for value, place in where.items() if value in names}
    column = [n for n in ALL_LEVELS_UPWARDS if f"{n} vertebra" in known and not n.startswith("S")]
    if len(column) < 3:
        return []
    there = [known[f"{level} vertebra"] for level in column]
    return [*_steps(column, there), *_pace(column, there), *_heights(column, there)]


def _steps(column: list[str], there: list[Place]) -> list[Check]:
    """Each step from a vertebra to the next against the steps beside it."""
    steps_mm = [float(np.linalg.norm(a.centre_mm - b.centre_mm)) for a, b in pairwise(there)]
    checks = []
    for index, (lower, upper) in enumerate(pairwise(column)):
        missing = ", ".join(_between(lower, upper))
        beside_mm = max(steps_mm[i] for i in (index - 1, index + 1) if 0 <= i < len(steps_mm))
        ends_are_cut = any(place.is_cut for place in there[max(index - 1, 0) : index + 3])
        is_wide = steps_mm[index] >= WIDE_STEP * beside_mm and (bool(missing) or not ends_are_cut)
        if missing and not is_wide:
            fault = f"the labels skip {missing}, although {upper} and {lower} are neighbours"
        elif missing:
            fault = f"{missing} between {upper} and {lower} has no label"
        elif is_wide:
            fault = (
                f"between {upper} and {lower} there is room for a vertebra without a label: they are "
                f"{steps_mm[index]:.0f} mm apart, their neighbours {beside_mm:.0f} mm"
            )
        else:
            fault = None
        checks.append(Check(1, 0 if fault else 1, fault))
    return checks


def _between(lower: str, upper: str) -> tuple[str, ...]:
    """Levels of a standard spine between two, from the head; nobody misses T13 and L6."""
    start, end = (LEVELS_UPWARDS.index(EXTRA_LEVELS.get(level, level)) for level in (lower, upper))
    return LEVELS_UPWARDS[start + 1 : end][::-1]


def _pace(column: list[str], there: list[Place]) -> list[Check]:
    """Steps grow from the neck to the loins: lumbar steps between vertebrae called cervical are too long."""
    checks = []
    for region, levels, longest_mm in LONGEST_STEP_MM:
        places = [place for level, place in zip(column, there, strict=True) if level in levels]
        steps_mm = [float(np.linalg.norm(a.centre_mm - b.centre_mm)) for a, b in pairwise(places)]
        if steps_mm and np.median(steps_mm) > longest_mm:
            fault = (
                f"{region} vertebrae are {np.median(steps_mm):.0f} mm apart, expected at most "
                f"{longest_mm:.0f} mm; are they of another region?"
            )
            checks.append(Check(1, 0, fault))
    return checks


def _heights(column: list[str], there: list[Place]) -> list[Check]:
    """A label that covers two vertebrae is higher than the labels near it."""
    checks = []
    for index, (level, place) in enumerate(zip(column, there, strict=True)):
        others = [other for other in there[max(index - 2, 0) : index + 3] if other is not place]
        near = [other.height_mm for other in others if not other.is_cut]
        if near and place.height_mm >= TWICE_AS_HIGH * max(near):
            fault = (
                f"{level} vertebra is {place.height_mm:.0f} mm high, those beside it at most "
                f"{max(near):.0f} mm; is one label used for two vertebrae?"
            )
            checks.append(Check(1, 0, fault))
    return checks
