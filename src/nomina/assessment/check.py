"""`Check`: what was asked of a label map, how much of it holds, and the fault in words."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Relations of one kind between structures."""

    asked: int
    """How many were looked at; 0 where a check can find a fault but cannot speak for a scheme."""
    met: int
    """How many of them hold."""
    fault: str | None = None
    """One sentence where not all hold."""


def faults(checks: Iterable[Check]) -> tuple[str, ...]:
    """The sentences of the checks that do not hold."""
    return tuple(check.fault for check in checks if check.fault)
