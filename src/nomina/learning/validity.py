"""For each voxel and class: is it there, is it not, or does nobody know?

A prepared chest says what its label map holds, which structures were annotated, and which half of the chest
each voxel lies in. What a network learns is asked by other names: "pulmonary artery" where the label map
tells left from right, or "left pulmonary artery" where it does not.

    voxel is labelled as             class is              answer
    the class, or a part of it       any                   there
    a whole of which it is a part    of a side             there on that side, not on the other, ? between
    an unsided part of its whole     of a side             ?  (the trunk is left to neither)
    anything else                    any                   not there
    nothing                          annotated             not there
    nothing                          its side's part is    not there on that side
    nothing                          not annotated         ?
    ignored                          any                   ?

A case that is labelled whole can be read as if one lung alone had been labelled (`hidden`): labels of the
other are then nothing, and nobody looked there. What has no side, such as the trunk, stays.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal

import numpy as np
from jaxtyping import Int8, UInt8

from nomina.anatomy.sides import sides_of
from nomina.anatomy.structures import vocabulary
from nomina.assessment.measurements.lungs import LEFT, OUTSIDE, RIGHT
from nomina.learning.prepared import IGNORED

_SIDE_NAMES = {LEFT: "left", RIGHT: "right"}

Side = Literal["left", "right"]


class Answer(IntEnum):
    """What is known of one class at one voxel."""

    unknown = -1
    absent = 0
    there = 1


def answer_table(
    classes: Sequence[str], labelled: Sequence[str], annotated: Sequence[str], *, hidden: Side | None = None
) -> Int8[np.ndarray, "256 3 n"]:
    """The `Answer` for every label value, half of the chest and class.

    Args:
        classes: What the network learns.
        labelled: Structure of each label value of the prepared case, from 1 on.
        annotated: Structures that somebody looked for in this case.
        hidden: Side whose labels are read as if nobody had drawn them.
    """
    if hidden is not None:
        annotated = without_side(annotated, hidden)
    table = np.full((IGNORED + 1, 3, len(classes)), Answer.unknown, dtype=np.int8)
    for half in (OUTSIDE, LEFT, RIGHT):
        for index, name in enumerate(classes):
            table[0, half, index] = _of_background(name, annotated, half)
            for value, label in enumerate(labelled, start=1):
                is_hidden = hidden is not None and _is_hidden(label, half, hidden)
                table[value, half, index] = (
                    table[0, half, index] if is_hidden else _of_label(name, label, half)
                )
    return table


def without_side(annotated: Sequence[str], hidden: Side) -> tuple[str, ...]:
    """What is annotated once nobody looked at one side: "pulmonary artery" becomes that of the other side."""
    found: list[str] = []
    for name in annotated:
        sides = sides_of(name)
        if sides:
            found += [part for side, part in sides.items() if side != hidden]
        elif vocabulary()[name].side != hidden:
            found.append(name)
    return tuple(dict.fromkeys(found))


def answers(
    table: Int8[np.ndarray, "256 3 n"],
    labels: UInt8[np.ndarray, "i j k"],
    halves: UInt8[np.ndarray, "i j k"],
) -> Int8[np.ndarray, "n i j k"]:
    """The `Answer` for every class and voxel of a block."""
    return np.moveaxis(table[labels, halves], -1, 0)


def _is_hidden(label: str, half: int, hidden: Side) -> bool:
    return vocabulary()[label].side == hidden or (bool(sides_of(label)) and _SIDE_NAMES.get(half) == hidden)


def _of_label(name: str, label: str, half: int) -> Answer:
    side = vocabulary()[name].side
    if label == name or name in _wholes(label):
        return Answer.there
    if label in _wholes(name):
        if side is None or half == OUTSIDE:
            return Answer.unknown
        return Answer.there if _SIDE_NAMES[half] == side else Answer.absent
    is_kin = bool(set(_wholes(label)) & set(_wholes(name)))
    if side is not None and is_kin and vocabulary()[label].side is None:
        return Answer.unknown
    return Answer.absent


def _of_background(name: str, annotated: Sequence[str], half: int) -> Answer:
    if name in annotated or any(whole in annotated for whole in _wholes(name)):
        return Answer.absent
    sides = {vocabulary()[part].side for part in annotated if name in _wholes(part)}
    wanted = {"left", "right"} if half == OUTSIDE else {_SIDE_NAMES[half]}
    return Answer.absent if wanted <= sides else Answer.unknown


def _wholes(name: str) -> tuple[str, ...]:
    """What a structure is a part of, the smallest first."""
    found: list[str] = []
    whole = vocabulary()[name].part_of
    while whole is not None:
        found.append(whole)
        whole = vocabulary()[whole].part_of
    return tuple(found)
