"""What a fuzz input is: files in memory, and what a sound program may do with them."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Expectation = Literal["refuse", "same", "free"]
"""refuse: the input must be refused. same: it is refused, or read as the original, since a checksum or a
length
gives the damage away. free: nothing in the format gives the damage away (raw voxels, another valid
header)."""

Reader = Literal["scan", "labels", "sidecar", "checkpoint", "bank", "recipe", "scheme", "dataset"]
"""Which public functions read it; see `readers.py`."""


@dataclass(frozen=True)
class Original:
    """A valid input."""

    kind: str
    """Format, e.g. "nii.gz"; one row of the report."""
    reader: Reader
    files: dict[str, bytes]
    """Content by relative name."""
    target: str
    """What is given to the reader: one of `files`, or "." for the folder."""
    content: Any = None
    """What a reader makes of it, as `readers.py` reduces it to something that can be compared."""
    checked_from: dict[str, int] = field(default_factory=dict)
    """Files with a checksum, and the first byte that it covers (to the end of the file)."""


@dataclass(frozen=True)
class Mutant:
    """An original after damage."""

    original: Original
    mutation: str
    """Name of what was done."""
    expectation: Expectation
    files: dict[str, bytes]
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic links by relative name."""
    pipes: tuple[str, ...] = ()
    """Named pipes nobody writes to: a program that opens one waits for ever."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Files that are made this long by a hole at their end (bytes)."""
    may_need_memory: bool = False
    """The input is honest about needing more memory than there is: refusing it for that is right."""

    def with_file(self, name: str, data: bytes) -> "Mutant":
        """The same with other content of one file."""
        return replace(self, files=self.files | {name: data})


def mutant(
    original: Original,
    mutation: str,
    expectation: Expectation,
    changed: dict[str, bytes] | None = None,
    **more: Any,
) -> Mutant:
    """An original with some files changed."""
    return Mutant(original, mutation, expectation, original.files | (changed or {}), **more)
