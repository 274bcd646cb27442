"""The two sides of a structure, and what can be asked of a model beyond its classes for their sake."""

from collections.abc import Sequence

from nomina.anatomy.structures import structure, vocabulary

SIDES = ("left", "right")


def sides_of(name: str) -> dict[str, str]:
    """The left and the right part of a structure, by side; empty where the vocabulary knows none."""
    parts = {side: f"{side} {name}" for side in SIDES}
    return parts if vocabulary().keys() >= set(parts.values()) else {}


def nameable(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes, the two sides of each vessel without a side, and the whole of each that has one."""
    names = list(classes)
    for name in classes:
        found = structure(name)
        if found.side is None and found.kind in ("artery", "vein"):
            names += [f"{side} {name}" for side in SIDES]
        if found.side is not None and found.part_of is not None:
            names.append(found.part_of)
    return tuple(dict.fromkeys(names))
