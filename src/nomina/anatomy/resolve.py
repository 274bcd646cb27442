"""Free text → structures: "L4-5 disk", "the disc below L4", "all discs except L5-S1", "RLL arteries".

Nothing is guessed: every word must be understood, and a phrase that can mean two things is refused with the
nearest phrases that mean one, or read in the way that is usual, with a warning that says so. The steps are
`phrase_words` (spelling, numbers, names), `phrase_items` (lists, exceptions), `phrase_relations` with
`phrase_levels` and `phrase_lung` (meaning), and here what a model knows of it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import cache

from nomina.anatomy.expressions import Expression, without
from nomina.anatomy.phrase_items import Sentence, sentences
from nomina.anatomy.phrase_relations import compiled
from nomina.anatomy.phrase_words import UNKNOWN_WORD, is_negated, normalise, read_words, sides_said
from nomina.anatomy.sides import SIDES
from nomina.anatomy.structures import Structure, structure, vocabulary
from nomina.errors import PromptError

LIKE = 0.65
"""Share of letters in common from which a known phrase is offered for an unknown one [choice: from 0.64 to
0.66 every misspelt name of tests/anatomy/words.yaml is offered what it means, and no strange word is]."""

REST_LIKE = 0.55
"""Share of letters in common from which a phrase is offered, the words for a kind of level left out [choice:
"disc L4" is offered "L4-L5 disc" (0.57), "intervertebral foramen" is not "vertebra prominens" (0.5)]."""

_KINDS = ("vertebra", "vertebrae", "vertebral", "intervertebral", "disc", "discs", "disk", "disks")

THIS_MODEL = "this model does not know"
"""How the refusal of a structure begins that is not among those that may be asked for."""


@dataclass(frozen=True)
class Target:
    """A structure, or the part of it at the height of others or inside another."""

    structure: Structure
    at: tuple[str, ...] = ()
    """Names of the structures whose height, from the top of the highest to the bottom of the lowest, cuts it;
    empty for the whole structure."""
    inside: str = ""
    """Name of the structure inside which it is wanted; empty for everywhere."""

    @property
    def is_part(self) -> bool:
        """Whether not the whole structure is meant."""
        return bool(self.place)

    @property
    def place(self) -> str:
        """Which part is meant, as it is printed: "at L3 vertebra"; empty for the whole structure."""
        if self.inside:
            return f"within {self.inside}"
        return f"at {' to '.join(self.at)}" if self.at else ""

    def __str__(self) -> str:
        return f"{self.structure.name} {self.place}".strip()


def regions_needed(targets: Iterable[Target]) -> str:
    """What the parts inside others need to be given, as "needs …"; empty where there are none."""
    places = list(dict.fromkeys(target.inside for target in targets if target.inside))
    if not places:
        return ""
    return (
        f"needs a label map on the scan's own grid with {', '.join(places)}, such as TotalSegmentator's: "
        f"`nomina segment --regions FILE --regions-scheme totalsegmentator`, in Python `regions=`"
    )


@dataclass(frozen=True)
class Explanation:
    """What a phrase was understood to mean."""

    text: str
    """The phrase as it was given."""
    targets: tuple[Target, ...]
    """What it names, each once."""
    expression: str
    """What it was compiled to: again a phrase, which names the same."""
    corrections: tuple[str, ...] = ()
    """Spelling that had to be corrected, one sentence each."""
    warnings: tuple[str, ...] = ()
    """Choices that were taken where the words leave one, a sentence each."""

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The structures of the targets, each once."""
        return tuple(dict.fromkeys(target.structure for target in self.targets))


def resolve(text: str, *, within: Collection[str] | None = None) -> tuple[Structure, ...]:
    """The structures that a phrase names, in the order named; those of a group or range from head to feet.

    Args:
        text: Words such as "L4-5 disk", "L2 to L4", "all lumbar discs", "the disc below L4".
        within: Names of the structures that may be asked for, e.g. those that a model knows; groups are
            restricted to them. None allows the whole vocabulary.

    Raises:
        PromptError: A word is unknown, the phrase names nothing or can mean two things, a named structure
            is not in `within`, or only a part of a structure is meant ("canal at L3": see `explain`); the
            message lists the nearest phrases.
    """
    return _whole(explain(text, within=within).targets)


def resolve_targets(
    texts: Iterable[str], within: Collection[str] | None = None, *, denial: str = THIS_MODEL
) -> tuple[Target, ...]:
    """The structures, and parts of structures, that several phrases name, in the order named, each once.

    Args:
        texts: The phrases.
        within: See `resolve`.
        denial: See `explain`.

    Raises:
        PromptError: There is no phrase, or some are not understood (see `resolve`): all of them are named.
    """
    explained = explain_all([texts] if isinstance(texts, str) else texts, within=within, denial=denial)
    found = [target for explanation in explained for target in explanation.targets]
    if not found:
        raise PromptError(
            "no structure was asked for; name at least one, for example 'L4 vertebra' or 'everything'"
        )
    return tuple(dict.fromkeys(found))


def explain_all(
    texts: Iterable[str], *, within: Collection[str] | None = None, denial: str = THIS_MODEL
) -> list[Explanation]:
    """What each of several phrases names: see `explain`.

    Raises:
        PromptError: Some are not understood: all of them are named, a line each.
    """
    found: list[Explanation] = []
    faults: list[str] = []
    for text in texts:
        try:
            found.append(explain(text, within=within, denial=denial))
        except PromptError as error:
            faults.append(str(error))
    if faults:
        raise PromptError("\n".join(dict.fromkeys(faults)))
    return found


def explain(text: str, *, within: Collection[str] | None = None, denial: str = THIS_MODEL) -> Explanation:
    """What a phrase names, whole structures and parts, with its expression, corrections and warnings.

    Args:
        text: See `resolve`.
        within: See `resolve`.
        denial: Words before the name of a structure that is not in `within`: who does not know it.

    Raises:
        PromptError: As `resolve`, but for parts of structures.
    """
    allowed = vocabulary() if within is None else {name: structure(name) for name in within}
    try:
        words, corrections = read_words(text)
        meant = [found for sentence in sentences(words) for found in _compile(sentence)]
        if not meant:
            raise PromptError("the phrase is empty")
    except PromptError as error:
        raise PromptError(
            f"{text[:80]!r} is not understood: {error}{_hint(text, allowed, str(error))}"
        ) from None
    targets = [target for expression in meant for target in _restrict(expression, allowed, denial)]
    return Explanation(
        text,
        tuple(dict.fromkeys(targets)),
        "; ".join(dict.fromkeys(expression.text for expression in meant)),
        corrections,
        tuple(dict.fromkeys(warning for expression in meant for warning in expression.warnings)),
    )


def _hint(text: str, allowed: Collection[str], problem: str) -> str:
    if is_negated(text):  # What is like the phrase is then what is not wanted.
        return ""
    near = nearest_phrases(text, allowed)
    if near:
        return f". Nearest known: {', '.join(map(repr, near))}"
    # Every other refusal says what to do, or that there is no such thing.
    return ", and nothing known is like it" if problem.startswith(UNKNOWN_WORD) else ""


def nearest_phrases(text: str, names: Collection[str]) -> list[str]:
    """The names and group phrases that are spelled much like `text`, at most three; none where none is.

    What lies on another side than `text` names is left out: it is spelled alike and never meant.
    """
    sides = sides_said(text)
    spelled = _spellings(frozenset(name for name in names if not _is_opposite(name, sides)))
    asked = normalise(text)[:80]
    found = get_close_matches(asked, spelled, n=6, cutoff=LIKE)
    rest = _without_kind(asked)
    found = [phrase for phrase in found if _likeness(rest, _without_kind(phrase)) >= REST_LIKE]
    return list(dict.fromkeys(spelled[phrase] for phrase in found))[:3]


def _is_opposite(name: str, sides: Collection[str]) -> bool:
    """Whether a structure lies on another side than the sides asked for; False where there are none."""
    # By the name: the left atrium, of which there is but one, has no side among structures.
    own = {side for side in SIDES if side in name.split()}
    return bool(sides and own) and own.isdisjoint(sides)


def _without_kind(phrase: str) -> str:
    """A phrase without "vertebra" and "disc", well spelled or not: they say nothing of which level it is."""
    return " ".join(word for word in phrase.split() if not get_close_matches(word, _KINDS, n=1, cutoff=0.8))


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _compile(sentence: Sentence) -> list[Expression]:
    wanted = [compiled(item) for item in sentence.wanted]
    if not sentence.left_out:
        return wanted
    return without(wanted, [compiled(item) for item in sentence.left_out])


def _whole(targets: Iterable[Target]) -> tuple[Structure, ...]:
    for target in targets:
        if target.is_part:
            raise PromptError(
                f"'{target}' is a part of {target.structure.name}, which cannot be asked for here; ask for "
                f"{target.structure.name!r}"
            )
    return tuple(dict.fromkeys(target.structure for target in targets))


@cache
def _spellings(names: frozenset[str]) -> dict[str, str]:
    """Name or group phrase for each way to spell it."""
    ordered = [name for name in vocabulary() if name in names]
    spelled = {normalise(name): name for name in (*ordered, *_group_phrases(ordered))}
    for name in ordered:
        spelled |= {normalise(synonym): name for synonym in structure(name).synonyms}
    return spelled


def _group_phrases(names: Collection[str]) -> list[str]:
    """Phrases that name several of the structures at once."""
    known = [structure(name) for name in names]
    sorts = {(found.kind, found.region.removesuffix(" spine")) for found in known}
    plurals = {"vertebra": "vertebrae", "disc": "discs"}
    regional = [f"all {region} {plurals[kind]}" for kind, region in sorted(sorts) if kind in plurals]
    return [*regional, *(f"all {plurals[kind]}" for kind in plurals if kind in dict(sorts)), "everything"]


def _restrict(expression: Expression, allowed: Collection[str], denial: str) -> list[Target]:
    """The targets of an expression that may be asked for; all of them, unless it is a group."""
    wanted = [*expression.members, *expression.at]
    inside = [item for item in expression.members if item.name in allowed]
    outside = [item for item in wanted if item.name not in allowed]
    if outside and not (expression.is_group and inside):
        near = _neighbours(outside[0], allowed)
        known = sorted(allowed, key=list(vocabulary()).index)
        hint = f"nearest known: {_listed(near)}" if near else f"known: {_listed(known) or 'nothing'}"
        unknown = _listed([f"'{item.name}'" for item in outside])
        raise PromptError(f"{denial} {unknown}; {hint}")
    at = tuple(item.name for item in expression.at)
    # What a part lies inside of comes from a label map of the user's, whatever the model knows.
    places = [place.name for place in expression.inside] or [""]
    return [Target(item, at, place) for item in inside for place in places]


def _listed(names: list[str]) -> str:
    """The first names, at most three, for people."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _neighbours(wanted: Structure, allowed: Collection[str]) -> list[str]:
    """The allowed structures nearest to `wanted`: its whole, its parts, then its kind, by place.

    In the spine everything is near; elsewhere only what is of one kind, or is spelled alike, and not what is
    on the other side.
    """
    sides = sides_said(wanted.name)
    allowed = [name for name in allowed if not _is_opposite(name, sides)]
    order = list(vocabulary())
    place = order.index(wanted.name)

    def rank(name: str) -> tuple[bool, bool, bool, int]:
        found = structure(name)
        is_part = found.part_of == wanted.name
        return name != wanted.part_of, not is_part, found.kind != wanted.kind, abs(order.index(name) - place)

    def is_of_spine(name: str) -> bool:
        return structure(name).region.endswith("spine")

    near = [name for name in sorted(allowed, key=rank) if rank(name)[:3] != (True, True, True)]
    if not near and is_of_spine(wanted.name):
        near = [name for name in sorted(allowed, key=rank) if is_of_spine(name)]
    return near[:3] or nearest_phrases(wanted.name, allowed)
