"""`Expression`: what a phrase compiles to, and how groups, pairs and ranges of levels are put together."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nomina.anatomy.levels import EXTRA_LEVELS, levels_in, with_extra_levels
from nomina.anatomy.structures import Structure, structure, vocabulary
from nomina.errors import PromptError


@dataclass(frozen=True)
class Expression:
    """A compiled phrase. Its text is a phrase again, in one wording per meaning, that names the same."""

    text: str
    """How it is printed: "spinal canal at L3 vertebra", "pulmonary artery within right lower lobe"."""
    members: tuple[Structure, ...]
    """What it names, in the order named; groups and ranges from head to feet."""
    is_group: bool = False
    """True where only those that are known are wanted: "all discs"."""
    at: tuple[Structure, ...] = ()
    """Only the part at the height of these is wanted, from the highest to the lowest."""
    inside: tuple[Structure, ...] = ()
    """Only the parts inside these are wanted."""
    warnings: tuple[str, ...] = ()
    """Choices that were taken where the words leave one, a sentence each."""


def single(name: str, *warnings: str) -> Expression:
    """One structure."""
    return Expression(name, (structure(name),), warnings=warnings)


def several(names: Sequence[str], *warnings: str) -> Expression:
    """A row of structures of one kind, printed by its ends."""
    text = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return Expression(text, tuple(map(structure, names)), warnings=warnings)


def without(wanted: Sequence[Expression], left_out: Sequence[Expression]) -> list[Expression]:
    """What is wanted, less what is left out.

    Raises:
        PromptError: Something is left out that was not asked for, or nothing remains.
    """
    asked = {member.name for expression in wanted for member in expression.members}
    names = {member.name for expression in left_out for member in expression.members}
    text = ", ".join(expression.text for expression in wanted)
    strangers = [
        expression.text
        for expression in left_out
        if not asked & {m.name for m in expression.members}
        or not (expression.is_group or {m.name for m in expression.members} <= asked)
    ]
    if strangers:
        raise PromptError(f"{strangers[0]} is no part of {text}, so it cannot be left out of it")
    if any(expression.at or expression.inside for expression in (*wanted, *left_out)):
        raise PromptError("a part of a structure can be asked for, but not with 'except'")
    if asked <= names:
        raise PromptError(f"nothing remains of {text}")
    except_text = f"{text} except {', '.join(expression.text for expression in left_out)}"
    members = [m for expression in wanted for m in expression.members if m.name not in names]
    warnings = [w for expression in (*wanted, *left_out) for w in expression.warnings]
    return [
        Expression(
            except_text,
            tuple(dict.fromkeys(members)),
            is_group=all(expression.is_group for expression in wanted),
            warnings=tuple(warnings),
        )
    ]


def stack(*names: str) -> tuple[str, ...]:
    """Vertebrae and discs from head to feet; T13, L6 and their discs only where one of `names` is of them."""
    extra = [level for level in EXTRA_LEVELS if any(level in levels_in(name) for name in names)]
    result: list[str] = []
    for level in with_extra_levels(*extra):
        above = result[-1].split()[0] if result else ""
        result += [name for name in (f"{above}-{level} disc",) if name in vocabulary()]
        result.append(f"{level} vertebra")
    return tuple(result)


def find_disc(first: str, last: str) -> str | None:
    """Name of the disc between two levels, in either order."""
    return next((n for n in (f"{first}-{last} disc", f"{last}-{first} disc") if n in vocabulary()), None)


def disc_between(first: str, last: str) -> str:
    """`find_disc`.

    Raises:
        PromptError: There is none.
    """
    found = find_disc(first, last)
    if found is None:
        raise PromptError(f"there is no disc between {first} and {last}")
    return found


def names_from_to(first: str, last: str) -> list[str]:
    """Structures of one kind from one to the other, head to feet; T13 and L6 only where they are named.

    Raises:
        PromptError: No chain of neighbours leads from one to the other.
    """
    order = list(vocabulary())
    upper, lower = sorted((first, last), key=order.index)
    # The neighbours of T13 and L6 pass them by, so a chain that ends at one is found from its other end only.
    chain = _chain(upper, lower, "below") or _chain(lower, upper, "above")[::-1]
    if not chain:
        raise PromptError(f"the way from {first} to {last} is not clear; name each structure")
    return chain


def _chain(start: str, end: str, direction: Literal["above", "below"]) -> list[str]:
    """Names from `start` to `end`, each the neighbour of the one before; empty where none lead there."""
    chain = [start]
    while chain[-1] != end:
        following = getattr(structure(chain[-1]), direction)
        if following is None:
            return []
        chain.append(following)
    return chain


def of_kind(kind: str, among: Iterable[str], regions: Collection[str] = ()) -> list[str]:
    """Names of one kind ("" for any) in these regions of the spine (letters; none for all)."""
    wanted = [name for name in among if not kind or structure(name).kind == kind]
    return [name for name in wanted if not regions or name[0] in regions]
