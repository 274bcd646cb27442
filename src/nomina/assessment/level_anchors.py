"""What a user knows of a level: "lowest disc is L5/S1", "L4 is here: 3,-12,40", "label 3 is L3"."""

import re
from dataclasses import dataclass

import numpy as np

from nomina.anatomy.resolve import resolve
from nomina.assessment.level_instances import LabelledSpine
from nomina.assessment.spine_levels import spine_kind
from nomina.errors import PromptError
from nomina.imaging.volume import LabelMap

REACH_MM = 5.0
"""A point may lie so far beside the structure that it means [choice: a click beside a thin disc]."""

FORMS = "'lowest disc is L5/S1', 'highest vertebra is T10', 'label 3 is L3' or 'L4 is here: x,y,z' (mm, RAS)"
"""What an anchor may look like."""

_END = re.compile(r"(?:the )?(lowest|highest) (disc|disk|vertebra)(?: is| =)? (.+)", re.IGNORECASE)
_LABEL = re.compile(r"label (\d+)(?: is| =)? (.+)", re.IGNORECASE)
_POINT = re.compile(r"(.+?)(?: is)? (?:here|at):?\s*\(?([^()]+)\)?", re.IGNORECASE)


@dataclass(frozen=True)
class Anchor:
    """One structure whose name is known."""

    text: str
    """The user's words."""
    name: str
    """Structure, e.g. "L5-S1 disc"."""
    place: str | int | tuple[float, float, float]
    """ "lowest" or "highest" of its kind, a label value, or a point in world mm (RAS)."""


def parse_anchor(text: str) -> Anchor:
    """Read an anchor; nothing is looked up in a label map yet.

    Raises:
        PromptError: The words have none of the forms, or do not name one vertebra or disc.
    """
    words = " ".join(text.split())
    if found := _END.fullmatch(words):
        kind = "vertebra" if found[2].lower() == "vertebra" else "disc"
        name = _level(found[3], text)
        if spine_kind(name) != kind:
            raise PromptError(f"anchor {text!r}: {name} is no {kind}; name the {kind}")
        return Anchor(text, name, found[1].lower())
    if found := _LABEL.fullmatch(words):
        return Anchor(text, _level(found[2], text), int(found[1]))
    if found := _POINT.fullmatch(words):
        return Anchor(text, _level(found[1], text), _point(found[2], text))
    raise PromptError(f"anchor {text!r} is not understood; expected {FORMS}")


def locate(anchor: Anchor, spine: LabelledSpine, label_map: LabelMap) -> int:
    """Number from the bottom (from 0) of the instance that an anchor means.

    Raises:
        PromptError: It hits no vertebra or disc, one of the other kind, or more than one.
    """
    kind = spine_kind(anchor.name)
    column = [number for number, instance in enumerate(spine.instances) if instance.kind == kind]
    if isinstance(anchor.place, tuple):
        return _at(anchor, spine, label_map, column)
    if isinstance(anchor.place, int):
        return _labelled(anchor, spine, column)
    if not column:
        raise PromptError(f"anchor {anchor.text!r}: the label map has no {kind}")
    return column[0] if anchor.place == "lowest" else column[-1]


def _labelled(anchor: Anchor, spine: LabelledSpine, column: list[int]) -> int:
    held = [number for number, value in enumerate(spine.values) if value == anchor.place]
    if not held:
        known = ", ".join(map(str, dict.fromkeys(spine.values)))
        raise PromptError(
            f"anchor {anchor.text!r}: the label map has no vertebra or disc with label {anchor.place}; "
            f"it has {known}"
        )
    if len(held) > 1:
        raise PromptError(
            f"anchor {anchor.text!r}: label {anchor.place} covers {len(held)} of them; "
            f"say which with a point: '{anchor.name} is here: x,y,z'"
        )
    if held[0] not in column:
        raise PromptError(
            f"anchor {anchor.text!r}: label {anchor.place} is a {spine.instances[held[0]].kind}, "
            f"{anchor.name} is not"
        )
    return held[0]


def _at(anchor: Anchor, spine: LabelledSpine, label_map: LabelMap, column: list[int]) -> int:
    """The instance of the anchor's kind that is nearest to its point."""
    point = np.array([anchor.place], dtype=float)
    away = {}
    for number in range(len(spine.instances)):
        voxels = np.argwhere(spine.numbers == number + 1)
        away[number] = float(np.linalg.norm(label_map.grid.to_world(voxels) - point, axis=1).min())
    near = {number: mm for number, mm in away.items() if number in column and mm <= REACH_MM}
    if near:
        return min(near, key=lambda number: near[number])
    nearest = min(away, key=lambda number: away[number], default=None)
    what = "the label map has no vertebra or disc"
    if nearest is not None:
        value, kind = spine.values[nearest], spine.instances[nearest].kind
        what = f"the nearest is the {kind} with label {value}, {away[nearest]:.0f} mm away"
    raise PromptError(
        f"anchor {anchor.text!r}: no {spine_kind(anchor.name)} within {REACH_MM:g} mm of that point; {what}. "
        f"Points are world coordinates in mm, x to the patient's right, y forwards, z to the head"
    )


def _level(words: str, text: str) -> str:
    try:
        found = resolve(words)
    except PromptError as error:
        raise PromptError(f"anchor {text!r}: {error}") from error
    if len(found) != 1 or spine_kind(found[0].name) is None:
        names = ", ".join(structure.name for structure in found)
        raise PromptError(f"anchor {text!r}: expected one vertebra or disc, got {names}")
    return found[0].name


def _point(words: str, text: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(part) for part in re.split(r"[,;\s]+", words.strip()))
    except ValueError:
        raise PromptError(
            f"anchor {text!r}: expected a point as three numbers x,y,z in mm, got {words!r}"
        ) from None
    return x, y, z
