"""Which level each vertebra and disc is: the most likely naming of a whole scan, and how sure each name is.

What counts, all at once:

    order         each instance lies above the one before; a disc lies between its vertebrae
    spacing       a level may be left out only where the gap has room for it
    scores        what a network or the label map calls each instance; all may be off together
    lower end     whether the lowest instance lies on the sacrum
    size          cervical levels are half as high as lumbar ones
    extra levels  few spines have L6 or T13

Without the lower end in view scores alone decide, and those of a network hang together: in cropped scans it
calls the lowest discs too low and the highest ones right. Names are then reported as uncertain.
"""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from nomina.anatomy.levels import EXTRA_LEVELS, levels_in
from nomina.assessment.level_chain import Chain, best_path, mixed_marginals
from nomina.assessment.level_column import STAND_INS, UNREACHABLE, Column, column
from nomina.assessment.spine_levels import SpineKind

SURE_LEVEL = 0.75
"""A level of lower confidence is uncertain [choice: no wrong name in cropped validation scans reaches it]."""

NAME_WRONG = 0.1
"""Chance that an instance's scores say nothing about its level [choice]."""

INDEPENDENT_SCORES = 4.0
"""Scores of a scan count as at most so many independent ones: they come from one look at it [choice]."""

ALL_NAMES_OFF = {0: 0.6, 1: 0.15, -1: 0.15, 2: 0.05, -2: 0.05}
"""By how many levels all scores of a scan are too low, with its chance [choice: of validation scans without a
sacrum about half get most names wrong]."""

WORTH_SAYING = 0.2
"""An extra vertebra of this probability is mentioned [choice]."""

ROOM_FOR_ONE = 1.5
"""A gap of this many times the local one may hide a level that was not found [choice]."""

LEFT_OUT = 0.1
"""Chance that a level with room for it was not found [choice]."""

GAP_SPREAD = 0.25
"""SD of the logarithm of a gap about the local one [choice: collapsed vertebrae lie within 2 SD] …"""

SIZE_SPREAD = 0.2
"""… and about the typical one of its level, which also varies from person to person [choice]."""

INDEPENDENT_SIZES = 2.0
"""Gaps count as at most so many independent ones against their typical size [choice]."""

NOT_THE_LAST = 0.03
"""Chance that the disc on the sacrum is one level off: L5 is part of the sacrum, or S1 is free [choice]."""

SMALL_LAST_DISC = 0.5
"""A lowest disc of less than this share of the median volume may be a rudiment within the sacrum [choice:
normal ones have 0.64 or more], which makes `NOT_THE_LAST` and extra vertebrae more likely …"""

RUDIMENT_FACTOR = 4.0
"""… by this factor [choice]."""


@dataclass(frozen=True, eq=False)
class SpineInstance:
    """One vertebra or disc, whatever it is called."""

    kind: SpineKind
    centre_mm: Float[np.ndarray, "3"]
    """Middle of the disc or vertebral body, RAS."""
    volume_ml: float
    scores: Mapping[str, float] = field(default_factory=dict)
    """Share of its voxels, or probability, by structure name; empty where nothing is known."""


@dataclass(frozen=True)
class LowerEnd:
    """Whether the lowest instance is where the mobile spine ends."""

    confidence: float
    """0 where nothing speaks for it, to 1."""
    reason: str
    """In words, as a sentence without its full stop."""


@dataclass(frozen=True)
class LevelFinding:
    """The name of one instance."""

    name: str
    confidence: float
    """Probability of the name given everything else, 0 to 1."""
    other: str
    """The next likely name; the name itself where no other is possible."""
    other_confidence: float

    @property
    def is_sure(self) -> bool:
        """Whether the name may be stated without a doubt."""
        return self.confidence >= SURE_LEVEL


@dataclass(frozen=True)
class LevelFindings:
    """The names of all instances of a scan."""

    levels: tuple[LevelFinding, ...]
    """From the bottom, one per instance."""
    score: float
    """Log score of the naming; −inf where what was fixed contradicts the order or the spacing."""
    extra: Mapping[str, float]
    """By extra vertebra: the highest probability that an instance is it or a disc beside it."""


@dataclass(frozen=True)
class Given:
    """What is known beside the instances.

    Example:
        Given(LowerEnd(0.95, "the sacrum is labelled"), fixed={2: "L4 vertebra"})
    """

    end: LowerEnd = LowerEnd(0.0, "nothing is known about the sacrum")
    fixed: Mapping[int, str] = field(default_factory=dict)
    """Name that an instance must have, by its number from the bottom."""
    extras: frozenset[str] = frozenset(EXTRA_LEVELS)
    """Extra vertebrae that the names may use; all of them count in the confidence."""
    shifts: Mapping[int, float] = field(default_factory=lambda: ALL_NAMES_OFF)
    """By how many levels all scores may be too low, with the chance of each."""


def identify_levels(instances: Sequence[SpineInstance], given: Given) -> LevelFindings:
    """Name vertebrae and discs.

    Args:
        instances: At least one, from the bottom; no two of them are parts of one vertebra or disc.
        given: The lower end, fixed names, and how scores may be off.
    """
    states = column()
    steps = _steps(instances, states, _is_rudiment(instances))
    base = _allowed(instances, states, given.fixed)
    base[0] += _start(instances[0].kind, given.end, states, _is_rudiment(instances))
    base[-1] += states.extra_log
    votes = [_votes(instances, states, shift) for shift in given.shifts]
    chains = [Chain(base + vote, steps) for vote in votes]
    weights = np.array(list(given.shifts.values()))
    named = _nameable(states, given.extras)
    paths = [best_path(Chain(np.where(named, chain.scores, -np.inf), steps)) for chain in chains]
    scores = np.round([score + np.log(weight) for (_, score), weight in zip(paths, weights, strict=True)], 9)
    best = int(scores.argmax())
    shares, _ = mixed_marginals(chains, weights)
    levels = tuple(
        _finding(shares[node], int(state), states) for node, state in enumerate(paths[best][0].tolist())
    )
    extra = {
        level: float(shares[:, [level in name for name in states.names]].max()) for level in ("L6", "T13")
    }
    return LevelFindings(levels, float(scores[best]), extra)


def is_possible(instances: Sequence[SpineInstance], given: Given) -> bool:
    """Whether any naming keeps order and spacing and has the fixed names."""
    states = column()
    base = _allowed(instances, states, given.fixed)
    base = np.where(_nameable(states, given.extras), base, -np.inf)
    return bool(np.isfinite(best_path(Chain(base, _steps(instances, states, False)))[1]))


def decided_by(end: LowerEnd, found: LevelFindings) -> tuple[str, ...]:
    """What decided the names and what speaks against them, one sentence each without its full stop."""
    named = {level.name.split(" ")[0] for level in found.levels}
    extra = [
        f"an extra vertebra {level} is possible ({share:.2f})"
        for level, share in found.extra.items()
        if share >= WORTH_SAYING and level not in named
    ]
    return (end.reason, *_left_out(found.levels), *extra)


def _left_out(levels: Sequence[LevelFinding]) -> tuple[str, ...]:
    """One sentence for each gap in which vertebrae seem not to have been found."""
    states = column()
    sentences = []
    for lower, upper in pairwise(levels):
        first, last = states.index(lower.name), states.index(upper.name)
        missing = [
            name
            for index, name in enumerate(states.names)
            if states.kinds[index] == "vertebra"
            and index not in (first, last)
            and states.half_levels[first, index] + states.half_levels[index, last]
            == states.half_levels[first, last]
        ]
        if missing and not (len(missing) == 1 and states.half_levels[first, last] == 2):
            sentences.append(
                f"between {lower.name} and {upper.name} there is room for {' and '.join(missing)}, "
                f"which was not found"
            )
    return tuple(sentences)


def half_levels_mm(instances: Sequence[SpineInstance]) -> Float[np.ndarray, " gaps"]:
    """Local size of half a level at each gap between instances: the median of the five gaps about it."""
    gaps = np.array(
        [
            np.linalg.norm(upper.centre_mm - lower.centre_mm) / (1 if lower.kind != upper.kind else 2)
            for lower, upper in pairwise(instances)
        ]
    )
    return np.array([np.median(gaps[about]) for about in gaps_about(gaps)])


def gaps_about(gaps: Sized) -> list[slice]:
    """Which gaps are about each one: five, of which it is the middle one except at the ends."""
    starts = [min(max(0, i - 2), max(0, len(gaps) - 5)) for i in range(len(gaps))]
    return [slice(start, start + 5) for start in starts]


def _steps(instances: Sequence[SpineInstance], states: Column, is_rudiment: bool) -> np.ndarray:
    halves = half_levels_mm(instances)
    size_weight = min(1.0, INDEPENDENT_SIZES / max(1, len(halves)))
    pairs = pairwise(instances)
    steps = [_step(*pair, float(half), states, size_weight) for pair, half in zip(pairs, halves, strict=True)]
    shape = (len(steps), len(states.names), len(states.names))
    rudiment = np.log(RUDIMENT_FACTOR) if is_rudiment else 0.0
    exits = np.where(states.exits, states.extra_log[:, None] + rudiment, 0.0)
    return np.array(steps).reshape(shape) + exits


def _step(
    lower: SpineInstance, upper: SpineInstance, half_mm: float, states: Column, size_weight: float
) -> Float[np.ndarray, "s s"]:
    """Log score of two neighbours being any two states, from how far apart they are."""
    least = 1 if lower.kind != upper.kind else 2
    distance_mm = max(float(np.linalg.norm(upper.centre_mm - lower.centre_mm)), 1e-3)
    halves = np.maximum(states.half_levels, 1)
    left_out = (halves - least) / 2
    has_room = distance_mm >= half_mm * least * (1 + (ROOM_FOR_ONE - 1) * 2 * left_out / least)
    kinds = np.array(states.kinds)
    fits = (kinds[:, None] == lower.kind) & (kinds[None] == upper.kind) & (states.half_levels >= least)
    possible = fits & (states.half_levels < UNREACHABLE) & ((left_out == 0) | has_room)
    gap = _off(distance_mm / (half_mm * halves), GAP_SPREAD)
    typical_mm = (states.level_mm[:, None] + states.level_mm[None]) / 4 * halves
    size = _off(distance_mm / typical_mm, SIZE_SPREAD)
    return np.where(possible, left_out * np.log(LEFT_OUT) + gap + size_weight * size, -np.inf)


def _off(ratio: Float[np.ndarray, "..."], spread: float) -> Float[np.ndarray, "..."]:
    """Log score of a ratio that should be 1; beyond 2.5 SD it says nothing more."""
    return -0.5 * np.clip(np.log(ratio) / spread, -2.5, 2.5) ** 2


def _allowed(
    instances: Sequence[SpineInstance], states: Column, fixed: Mapping[int, str]
) -> Float[np.ndarray, "n s"]:
    """0 for states of the right kind, and name where that is fixed; −inf otherwise."""
    kinds = np.array(states.kinds)
    scores = np.where([kinds == instance.kind for instance in instances], 0.0, -np.inf)
    for node, name in fixed.items():
        scores[node] = np.where(np.array(states.names) == name, scores[node], -np.inf)
    return scores


def _start(kind: SpineKind, end: LowerEnd, states: Column, is_rudiment: bool) -> Float[np.ndarray, " s"]:
    """Log score of the lowest instance being each state."""
    last, lower, upper = {
        "disc": (("L5-S1 disc", "L6-S1 disc"), "S1-S2 disc", "L4-L5 disc"),
        "vertebra": (("L5 vertebra", "L6 vertebra"), "S1 vertebra", "L4 vertebra"),
    }[kind]
    off = NOT_THE_LAST * (RUDIMENT_FACTOR if is_rudiment else 1)
    share = np.full(len(states.names), (1 - end.confidence) / len(states.names))
    for name in last:
        share[states.index(name)] += end.confidence * (1 - 2 * off)
    for name in (lower, upper):
        share[states.index(name)] += end.confidence * off
    return np.log(np.maximum(share, 1e-12))


def _votes(instances: Sequence[SpineInstance], states: Column, shift: int) -> Float[np.ndarray, "n s"]:
    """Log score of each instance's scores, where all of them are `shift` levels too low."""
    standard = [index for index, share in enumerate(states.extra_log) if share == 0]
    place = {states.names[index]: number for number, index in enumerate(standard)}
    scored = sum(bool(instance.scores) for instance in instances)
    weight = min(1.0, INDEPENDENT_SCORES / max(1, scored))
    rows = np.zeros((len(instances), len(states.names)))
    for row, instance in zip(rows, instances, strict=True):
        if not instance.scores:
            continue
        share = np.zeros(len(standard))
        for name, score in instance.scores.items():
            if name in place and 0 <= place[name] + 2 * shift < len(standard):
                share[place[name] + 2 * shift] += score
        row[standard] = share
        for extra, neighbour in STAND_INS.items():
            row[states.index(extra)] = instance.scores.get(extra, share[place[neighbour]])
        row[:] = weight * np.log((1 - NAME_WRONG) * row + NAME_WRONG / 2)
    return rows


def _nameable(states: Column, extras: frozenset[str]) -> Bool[np.ndarray, " s"]:
    levels = [levels_in(name) for name in states.names]
    return np.array([all(n in extras for n in names if n in EXTRA_LEVELS) for names in levels])


def _is_rudiment(instances: Sequence[SpineInstance]) -> bool:
    """Whether the lowest disc is far smaller than the others."""
    volumes = [instance.volume_ml for instance in instances if instance.kind == "disc"]
    return (
        len(volumes) > 2
        and instances[0].kind == "disc"
        and volumes[0] < SMALL_LAST_DISC * float(np.median(volumes[1:]))
    )


def _finding(shares: Float[np.ndarray, " s"], state: int, states: Column) -> LevelFinding:
    rest = shares.copy()
    rest[state] = -1.0
    other = int(rest.argmax()) if rest.max() > 0 else state
    return LevelFinding(
        states.names[state], float(shares[state]), states.names[other], max(0.0, float(rest[other]))
    )
