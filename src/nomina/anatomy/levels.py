"""The ladder of the spine: every vertebral level in order, and the regions that they belong to."""

REGIONS = {"C": "cervical", "T": "thoracic", "L": "lumbar", "S": "sacral"}
"""Region of the spine that each letter of a vertebral level stands for, from the head."""

_COUNTS = {"C": 7, "T": 12, "L": 5, "S": 5}

LEVELS = tuple(f"{letter}{number}" for letter, count in _COUNTS.items() for number in range(1, count + 1))
"""Levels of a standard spine from the head: C1 … S5."""

LEVELS_UPWARDS = LEVELS[::-1]
"""Levels of a standard spine from the bottom."""

EXTRA_LEVELS = {"T13": "T12", "L6": "L5"}
"""Levels that only some spines have, and the level above each."""


def with_extra_levels(*extra: str) -> tuple[str, ...]:
    """Levels from the head, with those of `EXTRA_LEVELS` that are named at their places."""
    after = {above: level for level, above in EXTRA_LEVELS.items() if level in extra}
    return tuple(name for level in LEVELS for name in (level, after.get(level)) if name)


ALL_LEVELS_UPWARDS = with_extra_levels(*EXTRA_LEVELS)[::-1]
"""`LEVELS_UPWARDS` with the levels that only some spines have."""


def levels_between(first: str, last: str) -> tuple[str, ...]:
    """Levels of a standard spine from one to another, both included, in the order given: L2, L1, T12.

    Raises:
        ValueError: One of them is no level of a standard spine.
    """
    start, end = LEVELS.index(first), LEVELS.index(last)
    return LEVELS[start : end + 1] if start <= end else LEVELS[end : start + 1][::-1]


def levels_of(region: str) -> tuple[str, ...]:
    """Levels of one region (C, T, L or S) of a standard spine from the head."""
    return tuple(level for level in LEVELS if level[0] == region)


def levels_in(name: str) -> list[str]:
    """Levels in the name of a vertebra or disc, the upper one first: L4 and L5 of "L4-L5 disc"."""
    return name.rpartition(" ")[0].split("-")
