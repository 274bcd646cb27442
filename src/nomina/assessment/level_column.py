"""The states of the column that a disc or vertebra can be, and the half levels between them.

Upwards a spine goes S1, L5-S1 disc, L5, L4-L5 disc, L4 …; each of these is half a level above the one before.
Some spines take a way round: S1, L6-S1 disc, L6, L5-L6 disc, L5, or L1, T13-L1 disc, T13, T12-T13 disc, T12.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Integer

from nomina.anatomy.levels import LEVELS_UPWARDS, levels_in
from nomina.assessment.spine_levels import SpineKind, spine_kind

UNREACHABLE = 10_000
"""Half levels between two states that no way upwards joins."""

VARIANT_SHARE = {"L6": 0.03, "T13": 0.02}
"""Share of spines with this extra vertebra [choice: published counts are 2 to 8 % for L6 and about 1 % for
T13, and depend on how one counts]."""

STAND_INS = {
    "L6-S1 disc": "L5-S1 disc",
    "L6 vertebra": "L5 vertebra",
    "L5-L6 disc": "L5-S1 disc",
    "T13-L1 disc": "T12-L1 disc",
    "T13 vertebra": "T12 vertebra",
    "T12-T13 disc": "T12-L1 disc",
}
"""What a network that does not know the extra vertebra calls it: it uses its neighbour's name twice."""

_TYPICAL_MM = {"L": (35.5, 36.5, 36.0, 35.5, 33.5), "T": (31.0, 18.5), "C": (18.0, 17.0)}
"""Distance between the middles of the discs below and above: L5 to L1 [Panjabi 1992, Zhou 2000, rounded],
T12 to T1 and C7 to C1 evenly between two values [choice, after Panjabi 1991]."""


@dataclass(frozen=True, eq=False)
class Column:
    """All states, each below those that it can be followed by upwards."""

    names: tuple[str, ...]
    """Structure of each state; some, such as "S1-S2 disc", are not in the vocabulary."""
    kinds: tuple[SpineKind, ...]
    half_levels: Integer[np.ndarray, "s s"]
    """From a state up to another, by the shortest way; `UNREACHABLE` where there is none."""
    exits: Bool[np.ndarray, "s s"]
    """Steps that leave the way through an extra vertebra: each such way has exactly one."""
    extra_log: Float[np.ndarray, " s"]
    """Log share of spines that have the state; 0 for those of a standard spine."""
    level_mm: Float[np.ndarray, " s"]
    """Typical height of one level with its disc, about each state."""

    def index(self, name: str) -> int:
        """Number of the state with this name."""
        return self.names.index(name)


@cache
def column() -> Column:
    """The human column, with L6 and T13 as ways round."""
    standard = _standard()
    cut, upper = standard.index("L5-S1 disc"), standard.index("T12-L1 disc")
    low, high = ("L6-S1 disc", "L6 vertebra", "L5-L6 disc"), ("T13-L1 disc", "T13 vertebra", "T12-T13 disc")
    names = (*standard[:cut], *low, *standard[cut:upper], *high, *standard[upper:])
    edges = [
        *pairwise(standard),
        *pairwise(("S1 vertebra", *low, "L5 vertebra")),
        *pairwise(("L1 vertebra", *high, "T12 vertebra")),
    ]
    extra = np.array([name in (*low, *high) for name in names])
    share = {name: VARIANT_SHARE["L6" if name in low else "T13"] for name in (*low, *high)}
    return Column(
        names=names,
        kinds=tuple(spine_kind(name) or "disc" for name in names),
        half_levels=_distances(names, edges),
        exits=extra[:, None] & ~extra[None, :],
        extra_log=np.log([share.get(name, 1.0) for name in names]),
        level_mm=np.array([_typical_mm(name) for name in names]),
    )


def _standard() -> tuple[str, ...]:
    """Vertebrae and what lies below each of them, upwards; S5 has nothing below."""
    names = [f"{LEVELS_UPWARDS[0]} vertebra"]
    for lower, upper in pairwise(LEVELS_UPWARDS):
        names += [f"{upper}-{lower} disc", f"{upper} vertebra"]
    return tuple(names)


def _distances(names: tuple[str, ...], edges: list[tuple[str, str]]) -> Integer[np.ndarray, "s s"]:
    """Shortest way upwards between all states (Floyd and Warshall)."""
    index = {name: i for i, name in enumerate(names)}
    found = np.full((len(names), len(names)), UNREACHABLE)
    np.fill_diagonal(found, 0)
    for below, above in edges:
        found[index[below], index[above]] = 1
    for via in range(len(names)):
        found = np.minimum(found, found[:, via, None] + found[None, via])
    return np.minimum(found, UNREACHABLE)


def _typical_mm(name: str) -> float:
    """Typical height of the level whose vertebra the state is, or lies below."""
    level = levels_in(name)[0]
    region, number = level[0], int(level[1:])
    if region == "L":
        return _TYPICAL_MM["L"][max(0, 5 - number)]
    if region == "S":
        return 30.0
    (low, high), count = _TYPICAL_MM[region], {"T": 12, "C": 7}[region]
    return low + (high - low) * (count - min(number, count)) / (count - 1)
