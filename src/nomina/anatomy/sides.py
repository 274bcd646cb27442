"""What can be asked of a model beyond its classes: their sides, or the whole of which it knows the sides."""

from collections.abc import Sequence

from nomina.anatomy.structures import structure

SIDES = ("left", "right")


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
