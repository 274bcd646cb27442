"""`relevel`: other level names for a label map, from what a user knows, without a network.

Masks stay as they are; only which value a vertebra or disc has can change. What is no level stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from nomina.anatomy.levels import EXTRA_LEVELS
from nomina.anatomy.schemes import (
    LabelScheme,
    load_scheme,
    meaning_of_values,
    partly_visible,
    present_values,
    smallest_dtype,
)
from nomina.assessment.level_anchors import Anchor, locate
from nomina.assessment.level_column import UNREACHABLE, column
from nomina.assessment.level_finding import (
    Given,
    LevelFindings,
    decided_by,
    gaps_about,
    identify_levels,
    is_possible,
)
from nomina.assessment.level_instances import LabelledSpine, labelled_spine
from nomina.assessment.scheme_check import check_label_map
from nomina.errors import PromptError, SchemeError
from nomina.imaging.volume import LabelMap

FORMAT = "nomina-relevel-1"
"""Name and version of the layout of the file that says what changed."""

ANY_SHIFT = dict.fromkeys(range(-23, 24), 1 / 47)
"""The names in a label map may be off by any number of levels."""

CONVERT = "convert the label map first: nomina labels convert IN OUT --to nomina"
"""What to do where a scheme cannot say a level."""


@dataclass(frozen=True)
class LevelChange:
    """One vertebra or disc and its names."""

    label: int
    """Value before …"""
    name: str
    """… and what it meant."""
    new_label: int
    new_name: str
    volume_ml: float
    confidence: float
    """Probability of the new name, given the anchors."""
    other: str
    """The next likely name."""
    other_confidence: float

    @property
    def is_changed(self) -> bool:
        """Whether it has another name than before."""
        return self.name != self.new_name


@dataclass(frozen=True)
class Relevelled:
    """A label map with other level names, and why."""

    label_map: LabelMap
    levels: tuple[LevelChange, ...]
    """Every vertebra and disc from the bottom, changed or not."""
    decided_by: tuple[str, ...]
    """What decided the names, one sentence each."""
    notes: tuple[str, ...]
    """What is odd about the label map, one sentence each."""

    def as_plain(self) -> dict[str, Any]:
        """Plain data: what the values mean, and how the levels came to their names."""
        return {
            "format": FORMAT,
            **meaning_of_values(self.label_map),
            "changed": [asdict(level) for level in self.levels if level.is_changed],
            "levels": [asdict(level) for level in self.levels],
            "decided_by": list(self.decided_by),
            "notes": list(self.notes),
        }


def relevel(label_map: LabelMap, anchors: Sequence[Anchor]) -> Relevelled:
    """Name the vertebrae and discs of a label map anew.

    Args:
        label_map: In a scheme that nomina knows.
        anchors: What is known, at least one.

    Raises:
        PromptError: There is no anchor, one hits no structure, or they contradict each other or the number of
            levels in between.
        SchemeError: The scheme is not known or has no value for a level, or the label map holds too few of
            the levels in view to count from one to the next.
    """
    if not anchors:
        raise PromptError("no anchor was given; say what is known, for example 'lowest disc is L5/S1'")
    scheme = _scheme(label_map)
    spine = labelled_spine(label_map, scheme.partial)
    fixed = _fixed(anchors, spine, label_map)
    extras = frozenset(n for n in EXTRA_LEVELS if f"{n} vertebra" in scheme.labels.values())
    _refuse_unknown(anchors, scheme)
    _refuse_some_levels(spine, scheme)
    given = Given(spine.end, fixed, extras, ANY_SHIFT)
    if not is_possible(spine.instances, given):
        raise PromptError(_contradiction(anchors, spine, label_map, extras))
    found = identify_levels(spine.instances, given)
    levels = _changes(spine, found, scheme)
    array = label_map.array.astype(smallest_dtype(max(scheme.names_in(()).keys() | scheme.ignored)))
    values = np.array([0, *(level.new_label for level in levels)])
    array = np.where(spine.numbers > 0, values[spine.numbers], array).astype(array.dtype)
    names = scheme.names_in(present_values(array))
    ignored = scheme.ignored | _cut_values(label_map, levels)
    renamed = replace(label_map, array=array, names=names, ignored=ignored)
    said = [
        f"{a.text!r}: label {spine.values[n]} is the {a.name}" for a, n in _located(anchors, spine, label_map)
    ]
    return Relevelled(
        renamed,
        levels,
        (*said, *decided_by(spine.end, found)),
        (*spine.notes, *check_label_map(renamed)),
    )


def _scheme(label_map: LabelMap) -> LabelScheme:
    if label_map.scheme is None:
        raise SchemeError("the label map names no scheme, so other levels have no values; name its scheme")
    return load_scheme(label_map.scheme)


def _located(
    anchors: Sequence[Anchor], spine: LabelledSpine, label_map: LabelMap
) -> list[tuple[Anchor, int]]:
    return [(anchor, locate(anchor, spine, label_map)) for anchor in anchors]


def _fixed(anchors: Sequence[Anchor], spine: LabelledSpine, label_map: LabelMap) -> dict[int, str]:
    by_instance: dict[int, Anchor] = {}
    for anchor, number in _located(anchors, spine, label_map):
        other = by_instance.setdefault(number, anchor)
        if other.name != anchor.name:
            raise PromptError(
                f"anchors {other.text!r} and {anchor.text!r} contradict each other: both mean the "
                f"{spine.instances[number].kind} with label {spine.values[number]}"
            )
    return {number: anchor.name for number, anchor in by_instance.items()}


def _refuse_unknown(anchors: Sequence[Anchor], scheme: LabelScheme) -> None:
    for anchor in anchors:
        if anchor.name not in {*scheme.labels.values(), *scheme.partial.values()} and not any(
            anchor.name in names.values() for names in scheme.transitional.values()
        ):
            raise SchemeError(
                f"anchor {anchor.text!r}: scheme {scheme.name} has no value for {anchor.name}; {CONVERT}"
            )


def _refuse_some_levels(spine: LabelledSpine, scheme: LabelScheme) -> None:
    """Refuse a map whose gaps do not say how high a level is, since most of them span levels left out.

    One or the other level left out among its neighbours does no harm: the gap is seen to be too wide. Names
    may be wrong here, so a jump in them is no reason by itself.
    """
    said = _names(spine, scheme)
    names = [said[value] for value in spine.values]
    is_wide = [_spans_levels(lower, upper) for lower, upper in pairwise(names)]
    has_no_yardstick = any(2 * sum(is_wide[about]) >= len(is_wide[about]) for about in gaps_about(is_wide))
    if len(names) == 2 or has_no_yardstick:
        raise SchemeError(
            f"the label map holds {', '.join(names[:-1])} and {names[-1]} alone; levels are counted from "
            f"neighbour to neighbour: segment with --all first"
        )


def _spans_levels(lower: str, upper: str) -> bool:
    """Whether by these names a level lies between, beyond the disc between two vertebrae or the like."""
    states = column()
    if lower not in states.names or upper not in states.names:
        return False
    first, last = states.index(lower), states.index(upper)
    next_one = 2 if states.kinds[first] == states.kinds[last] else 1
    return next_one < int(states.half_levels[first, last]) < UNREACHABLE


def _names(spine: LabelledSpine, scheme: LabelScheme) -> Mapping[int, str]:
    """What the values of a label map mean."""
    return {**scheme.partial, **scheme.names_in(set(spine.values))}


def _contradiction(
    anchors: Sequence[Anchor], spine: LabelledSpine, label_map: LabelMap, extras: frozenset[str]
) -> str:
    """Which anchors cannot hold: one alone, or the first two that exclude each other."""
    for count in (1, 2):
        for some in combinations(anchors, count):
            fixed = _fixed(some, spine, label_map)
            if is_possible(spine.instances, Given(spine.end, fixed, extras)):
                continue
            if count == 1:
                return (
                    f"anchor {some[0].text!r} cannot hold: with it the {len(spine.instances)} vertebrae "
                    f"and discs of the label map would reach beyond the last level"
                )
            numbers = sorted(number for _, number in _located(some, spine, label_map))
            between = sum(i.kind == "vertebra" for i in spine.instances[numbers[0] + 1 : numbers[1]])
            return (
                f"anchors {some[0].text!r} and {some[1].text!r} contradict each other: between the two the "
                f"label map has {between} vertebrae, and no gap with room for another"
            )
    return f"the anchors contradict each other: {', '.join(repr(anchor.text) for anchor in anchors)}"


def _changes(spine: LabelledSpine, found: LevelFindings, scheme: LabelScheme) -> tuple[LevelChange, ...]:
    names = _names(spine, scheme)
    has_extra = [level.name for level in found.levels if level.name.split(" ")[0] in EXTRA_LEVELS]
    values = _values(scheme, has_extra)
    partial = {name: value for value, name in scheme.partial.items()}
    changes = []
    for instance, value, level in zip(spine.instances, spine.values, found.levels, strict=True):
        new = (partial if value in scheme.partial else values).get(level.name)
        if new is None:
            raise SchemeError(
                f"label {value} would become {level.name}, for which scheme {scheme.name} has no value; "
                f"{CONVERT}"
            )
        change = LevelChange(
            label=value,
            name=names[value],
            new_label=new,
            new_name=level.name,
            volume_ml=round(instance.volume_ml, 3),
            confidence=round(level.confidence, 3),
            other=level.other,
            other_confidence=round(level.other_confidence, 3),
        )
        changes.append(change)
    return tuple(changes)


def _cut_values(label_map: LabelMap, levels: Sequence[LevelChange]) -> set[int]:
    """New values of what is only partly visible: of levels, and of what is no level and keeps its value."""
    cut = set(partly_visible(label_map))
    return {level.new_label for level in levels if level.label in cut} | (
        cut - {level.label for level in levels}
    )


def _values(scheme: LabelScheme, extra: Sequence[str]) -> Mapping[str, int]:
    """Value of each name in a file that holds these extra vertebrae."""
    present = [value for value, name in scheme.labels.items() if name in extra]
    return {name: value for value, name in scheme.names_in(present).items()}
