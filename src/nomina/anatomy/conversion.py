"""`convert`: a label map under the numbers of another scheme, and what that scheme could not say.

How a structure finds its value in the target, in this order:

    it has one                           copied
    what it is a part of has one         joined there: the cord to the canal, a side to the whole
    two or more of its parts have one    refused: which voxels belong to which part cannot be known
    otherwise                            lost: its voxels become background
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nomina.anatomy.schemes import (
    LabelScheme,
    load_scheme,
    meaning_of_values,
    present_values,
    scheme_names,
    smallest_dtype,
)
from nomina.anatomy.structures import vocabulary
from nomina.errors import SchemeError
from nomina.imaging.lookup import looked_up
from nomina.imaging.volume import LabelMap

FORMAT = "nomina-conversion-1"
"""Name and version of the layout of the file that says what became of the values."""


@dataclass(frozen=True)
class Conversion:
    """A label map in another scheme, and what that scheme could not say."""

    label_map: LabelMap
    lost: tuple[str, ...]
    """One sentence per value that the target cannot express; its voxels became background."""
    notes: tuple[str, ...] = ()
    """What changes its meaning although no voxel is lost, one sentence each."""
    partial: Mapping[int, str] = field(default_factory=dict)
    """Structure name of each value that shows a structure which the border of the scan cuts."""

    def as_plain(self) -> dict[str, Any]:
        """Plain data: what the values mean, and what became of those of before."""
        return {
            "format": FORMAT,
            **meaning_of_values(self.label_map, self.partial),
            "lost": list(self.lost),
            "notes": list(self.notes),
        }


def convert(label_map: LabelMap, target: LabelScheme, *, leave_out: Collection[str] = ()) -> Conversion:
    """The same structures under the numbers of another scheme.

    Args:
        label_map: Its `scheme` tells which structures its ignored values show; without a known scheme those
            values are lost.
        target: Scheme to convert to.
        leave_out: Names that become background without more ado, for example those that would be refused.

    Raises:
        SchemeError: A structure could only be written as its parts, and nothing says which voxel belongs to
            which; or `target` counts from the bottom and the label map has T13 or L6, which move every
            number; or `leave_out` holds a name that is not in the label map.
    """
    source = load_scheme(label_map.scheme) if label_map.scheme in scheme_names() else None
    present = present_values(label_map.array)
    names = {value: label_map.names[value] for value in present if value in label_map.names}
    unnamed = [value for value in present if value not in names]
    partial = {value: source.partial[value] for value in unnamed if source and value in source.partial}
    unknown = sorted(set(leave_out) - set(names.values()))
    if unknown:
        raise SchemeError(f"cannot leave out {unknown}: the label map holds {', '.join(names.values())}")
    if target.counts_from_bottom:
        _refuse_transitional([*names.values(), *partial.values()], target)
    table = _Table(source, target, names)
    moved = {value: table.value_of(name) for value, name in names.items() if name not in leave_out}
    new_partial = {name: value for value, name in target.partial.items()}
    moved |= {value: new_partial.get(name) for value, name in partial.items()}
    # Named and ignored: partly visible in a scheme without values for that.
    cut = {value for value in set(names) & label_map.ignored if names[value] not in leave_out}
    moved |= {value: new_partial[names[value]] for value in cut if names[value] in new_partial}

    look_up = np.zeros(max([0, *present]) + 1, dtype=smallest_dtype(max([*table.names, *target.ignored])))
    for value, new in moved.items():
        look_up[value] = new or 0
    array = looked_up(look_up, label_map.array)
    titles = {value: f"a structure without a name (label {value})" for value in unnamed}
    titles |= {value: f"{name} (only partly visible, label {value})" for value, name in partial.items()}
    titles |= {value: f"{name} (label {value})" for value, name in names.items()}
    lost = tuple(
        f"{titles[value]} has no value in {target.name}; it becomes background"
        for value in present
        if moved.get(value) is None and names.get(value) not in leave_out
    )
    # What is cut stays so where the target has no value of its own for it.
    ignored = target.ignored | {moved[value] or 0 for value in cut} - {0}
    converted = LabelMap(array, label_map.grid, names=table.names, scheme=target.name, ignored=ignored)
    notes = (*_joined(names, moved, table.names), *_change_of_meaning(source, target, names.values()))
    titled = {**table.names, **target.partial}
    shown_partial = {value: titled[value] for value in present_values(array) if value in ignored}
    return Conversion(converted, lost, notes, shown_partial)


def expressible(names: Collection[str], source: LabelScheme, target: LabelScheme) -> tuple[str, ...]:
    """The structures that `convert` gives a value of the target, alone or as a part; in their order.

    Args:
        names: Structures that a label map in `source` may hold.
        source: Scheme that they are in.
        target: Scheme to convert to.
    """
    table = _Table(source, target, dict(enumerate(names, start=1)))

    def has_value(name: str) -> bool:
        try:
            return table.value_of(name) is not None
        except SchemeError:
            return False

    return tuple(name for name in names if has_value(name))


class _Table:
    """Which value of the target each structure of the label map gets."""

    def __init__(self, source: LabelScheme | None, target: LabelScheme, present: Mapping[int, str]) -> None:
        is_same = source is not None and source.name == target.name
        known = [value for value, name in target.labels.items() if name in present.values()]
        self.names = target.names_in([*known, *(present if is_same else ())])
        self.source, self.target = source, target
        self._values = {name: value for value, name in self.names.items()}

    def value_of(self, name: str) -> int | None:
        """Its value or that of what it is a part of; None where the target cannot say it."""
        wholes = [*(self.source.whole_of(name) if self.source else ()), *self.target.whole_of(name)]
        for candidate in (name, *wholes):
            if candidate in self._values:
                return self._values[candidate]
        parts = [part for part in self._values if name in self._wholes_of(part)]
        if len(parts) > 1:
            shown = ", ".join(parts[:4]) + (", …" if len(parts) > 4 else "")
            raise SchemeError(
                f"{name} cannot be written as {self.target.name}, which has only its parts ({shown}): which "
                f"voxels belong to which is not known; leave it out, or keep the scheme of this label map"
            )
        return None

    def _wholes_of(self, part: str) -> tuple[str, ...]:
        return (*self.target.whole_of(part), *(self.source.whole_of(part) if self.source else ()))


def _joined(
    names: Mapping[int, str], moved: Mapping[int, int | None], targets: Mapping[int, str]
) -> list[str]:
    """One sentence per structure of the target that takes up others as its parts."""
    parts: dict[int, list[str]] = {}
    for value, new in moved.items():
        if value in names and new is not None and targets.get(new, names[value]) != names[value]:
            parts.setdefault(new, []).append(f"{names[value]} (label {value})")
    return [
        f"{', '.join(titles)} {'is' if len(titles) == 1 else 'are'} written as {targets[new]} (label {new}), "
        f"of which {'it is a part' if len(titles) == 1 else 'they are parts'}"
        for new, titles in parts.items()
    ]


def _refuse_transitional(names: list[str], target: LabelScheme) -> None:
    extra = [name for name in names if "T13" in name or "L6" in name]
    if extra:
        raise SchemeError(
            f"{', '.join(extra)} cannot be written as {target.name}, which counts vertebrae from the bottom: "
            f"one more would give every vertebra above it another number; keep the names of this label map"
        )


def _change_of_meaning(
    source: LabelScheme | None, target: LabelScheme, present: Collection[str]
) -> list[str]:
    if source is None:
        return []
    notes = []
    if source.counts_from_bottom and not target.counts_from_bottom:
        notes.append(
            f"{source.name} counts vertebrae from the bottom, {target.name} names levels: 'L5 vertebra' is "
            f"the lowest lumbar vertebra of the file, also where the patient has four or six"
        )
    for name in sorted(set(present) & set(target.labels.values())):
        apart = [part for part in target.labels.values() if vocabulary()[part].part_of == name]
        inside = [part for part in apart if part not in source.labels.values()]
        if inside:
            notes.append(
                f"the {name} of {source.name} includes {', '.join(inside)}, which {target.name} labels apart"
            )
    return notes
