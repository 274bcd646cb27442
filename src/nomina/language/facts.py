"""`Facts`: what can be seen in one spine scan, as a small typed record without pixels, places or sizes.

First half of ATM-Net's prompt generator (ATPG): label map → facts → sentences (`nomina.language.prompts`).
Facts of a reference label map may be used for training and for the flagged oracle only; at test time they
are predicted, typed by a person, or left out.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Integer

from nomina.anatomy.levels import levels_in, levels_of
from nomina.anatomy.structures import vocabulary
from nomina.errors import PromptError
from nomina.imaging.volume import LabelMap

SEQUENCES = ("T1", "T2", "STIR", "PD")
"""MR weightings that a prompt can state."""

MIN_VOXELS = 100
"""A structure counts as visible from this many voxels on [choice: a hundred voxels of 4×0.6×0.6 mm are
0.14 ml, a sliver of a vertebra]."""

_SACRAL_NAMES = ("sacrum", *(f"{level} vertebra" for level in levels_of("S")))

Kind = Literal["vertebra", "disc"]


@dataclass(frozen=True)
class Facts:
    """What is visible in one scan.

    Raises:
        PromptError: The sequence is not one of `SEQUENCES`, a name is not a vertebra above the sacrum or a
            disc, a name is repeated, or the names do not run from bottom to top.
    """

    sequence: str | None = None
    """MR weighting, one of `SEQUENCES`; None when unknown."""
    vertebrae: tuple[str, ...] = ()
    """Visible vertebrae from bottom to top, e.g. ("L5 vertebra", "L4 vertebra"); without the sacrum."""
    discs: tuple[str, ...] = ()
    """Visible discs from bottom to top, e.g. ("L5-S1 disc", "L4-L5 disc")."""
    canal_visible: bool | None = None
    """Whether the spinal canal is visible; None when the annotation does not know it."""
    sacrum_visible: bool | None = None
    """Whether any part of the sacrum is visible; None when the annotation does not know it."""
    unknown: frozenset[str] = frozenset()
    """Names of the statements (`nomina.language.prompts`) that an annotation of some levels cannot decide."""

    def __post_init__(self) -> None:
        if self.sequence is not None and self.sequence not in SEQUENCES:
            raise PromptError(
                f"sequence must be one of {', '.join(SEQUENCES)} or None, got {self.sequence!r}"
            )
        _require_bottom_to_top(self.vertebrae, "vertebra")
        _require_bottom_to_top(self.discs, "disc")

    @property
    def lowest_vertebra(self) -> str | None:
        """The visible vertebra nearest to the feet; None when none is visible."""
        return self.vertebrae[0] if self.vertebrae else None

    @property
    def highest_vertebra(self) -> str | None:
        """The visible vertebra nearest to the head; None when none is visible."""
        return self.vertebrae[-1] if self.vertebrae else None

    @property
    def num_vertebrae(self) -> int:
        """Number of visible vertebrae, the sacrum not counted."""
        return len(self.vertebrae)

    @property
    def num_discs(self) -> int:
        """Number of visible discs."""
        return len(self.discs)


def facts_from_label_map(
    label_map: LabelMap, *, sequence: str | None = None, min_voxels: int = MIN_VOXELS
) -> Facts:
    """What a label map says is visible; ignored labels do not count.

    Args:
        label_map: Annotation (training, oracle) or prediction of a first pass.
        sequence: MR weighting from the file header, one of `SEQUENCES`.
        min_voxels: A structure counts as visible from this many voxels on.

    Raises:
        PromptError: The sequence is unknown.
    """
    num_voxels = dict.fromkeys(label_map.names.values(), 0)
    for value, count in _voxel_counts(label_map.array).items():
        if value in label_map.names and value not in label_map.ignored:
            num_voxels[label_map.names[value]] += count
    return facts_from_counts(num_voxels, sequence=sequence, min_voxels=min_voxels)


def facts_from_counts(
    num_voxels: Mapping[str, int], *, sequence: str | None = None, min_voxels: int = MIN_VOXELS
) -> Facts:
    """Facts from the number of voxels of each structure.

    Args:
        num_voxels: Voxels of *every* structure that the annotation knows, 0 for those not in the picture:
            whether the canal can be seen is unknown (None) when the canal is not among the keys. Names
            outside the spine are passed over.
        sequence: MR weighting, one of `SEQUENCES`.
        min_voxels: A structure counts as visible from this many voxels on.
    """
    visible = {name for name, count in num_voxels.items() if count >= max(min_voxels, 1)}
    return Facts(
        sequence=sequence,
        vertebrae=bottom_to_top(visible, "vertebra"),
        discs=bottom_to_top(visible, "disc"),
        canal_visible=_any_visible(("spinal canal",), num_voxels, visible),
        sacrum_visible=_any_visible(_SACRAL_NAMES, num_voxels, visible),
    )


def bottom_to_top(names: Iterable[str], kind: Kind) -> tuple[str, ...]:
    """The vertebrae above the sacrum, or the discs, among some names: from bottom to top, each once."""
    places = _places(kind)
    return tuple(sorted({name for name in names if name in places}, key=places.__getitem__))


def is_supernumerary(name: str) -> bool:
    """True for T13, L6 and their discs: most people do not have them."""
    if name.endswith(" disc"):
        return any(is_supernumerary(f"{level} vertebra") for level in levels_in(name))
    above = vocabulary()[name].above
    return above is not None and vocabulary()[above].below != name


def perturb_facts(
    facts: Facts,
    rng: np.random.Generator,
    *,
    shift_probability: float = 0.1,
    drop_probability: float = 0.1,
    add_probability: float = 0.1,
) -> Facts:
    """Facts with the errors that a first pass of segmentation makes (training of mode C).

    Three independent draws. Shift: all names are one level too high or too low, what leaves the spine is
    lost. Drop: one level and the disc below it are missing. Add: the row is one level longer at one end.

    Args:
        facts: True facts.
        rng: Source of randomness; the same state gives the same result.
        shift_probability: Chance of a shift by one [choice: 0.1 for each of the three].
        drop_probability: Chance that a level is dropped.
        add_probability: Chance that a level is added.
    """
    ladder = _ladder(facts)
    vertebrae, discs = _places_on(ladder, facts)
    if rng.random() < shift_probability:
        step = int(rng.choice((-1, 1)))
        vertebrae = {position + step for position in vertebrae}
        discs = {position + step for position in discs}
    if rng.random() < drop_probability and vertebrae:
        dropped = int(rng.choice(sorted(vertebrae)))
        vertebrae, discs = vertebrae - {dropped}, discs - {dropped}
    if rng.random() < add_probability and vertebrae:
        at_top = bool(rng.random() < 0.5)
        added = max(vertebrae) + 1 if at_top else min(vertebrae) - 1
        vertebrae, discs = vertebrae | {added}, discs | {added if at_top else added + 1}
    return _renamed(facts, ladder, vertebrae, discs)


def shifted_facts(facts: Facts, step: int) -> Facts:
    """Facts with every level named `step` levels too high (+, towards the head) or too low: a wrong prompt.

    Names that leave the spine are lost.
    """
    ladder = _ladder(facts)
    vertebrae, discs = _places_on(ladder, facts)
    return _renamed(facts, ladder, {place + step for place in vertebrae}, {place + step for place in discs})


def _places_on(ladder: Sequence[str], facts: Facts) -> tuple[set[int], set[int]]:
    """Place of each vertebra, and of the vertebra above each disc, counted from the bottom."""
    vertebrae = {ladder.index(name.removesuffix(" vertebra")) for name in facts.vertebrae}
    return vertebrae, {ladder.index(levels_in(name)[0]) for name in facts.discs}


def _renamed(facts: Facts, ladder: Sequence[str], vertebrae: set[int], discs: set[int]) -> Facts:
    """The facts with the levels at other places; what lies beyond the ladder is lost."""
    names = {place: (level, lower) for place, (lower, level) in enumerate(pairwise(("S1", *ladder)))}
    return dataclasses.replace(
        facts,
        vertebrae=bottom_to_top((f"{names[p][0]} vertebra" for p in vertebrae if p in names), "vertebra"),
        discs=bottom_to_top((f"{'-'.join(names[p])} disc" for p in discs if p in names), "disc"),
    )


@cache
def _places(kind: Kind) -> Mapping[str, int]:
    """Place of every vertebra above the sacrum, or disc, counted from the bottom."""
    found = [s.name for s in vocabulary().values() if s.kind == kind and s.region != "sacral spine"]
    return {name: place for place, name in enumerate(reversed(found))}


def _ladder(facts: Facts) -> list[str]:
    """Levels of this spine from bottom to top: the usual ones and the extra ones that the facts name."""
    named = {*facts.vertebrae, *(f"{level} vertebra" for disc in facts.discs for level in levels_in(disc))}
    return [
        name.removesuffix(" vertebra")
        for name in _places("vertebra")
        if name in named or not is_supernumerary(name)
    ]


def _voxel_counts(array: Integer[np.ndarray, "i j k"]) -> dict[int, int]:
    if array.size and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        counts = np.bincount(array.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(array, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _require_bottom_to_top(names: Sequence[str], kind: Kind) -> None:
    places = _places(kind)
    for name in names:
        if name not in places:
            example = "L4-L5 disc" if kind == "disc" else "L4 vertebra"
            raise PromptError(f"{name!r} is not a {kind} above the sacrum; expected e.g. {example!r}")
    if any(places[upper] <= places[lower] for lower, upper in pairwise(names)):
        raise PromptError(f"names must run from bottom to top without repeats, got {', '.join(names)}")


def _any_visible(names: Sequence[str], num_voxels: Mapping[str, int], visible: set[str]) -> bool | None:
    known = [name for name in names if name in num_voxels]
    return any(name in visible for name in known) if known else None
