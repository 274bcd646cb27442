"""Free text → structures: "L4-5 disk", "fourth lumbar vertebra", "L2 to L4", "lumbar discs and the canal".

Nothing is guessed: every word must be understood, and a phrase that can mean two things is refused with the
nearest phrases that mean one. How a pair of levels is read:

    "L4-L5", "L4/5"             neighbours: the disc between them
    "L1-L5"                     not neighbours: the vertebrae L1 … L5
    "L4 to L5"                  always vertebrae, as in "vertebrae L4-L5"
    "discs L1-S1"               the discs from L1 down to S1
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Literal

from nomina.anatomy.phrase_words import Word, normalise, read_words
from nomina.anatomy.structures import REGIONS, Structure, nearest, structure, vocabulary
from nomina.errors import PromptError


@dataclass(frozen=True)
class Explanation:
    """What a phrase was understood to mean."""

    text: str
    """The phrase as it was given."""
    structures: tuple[Structure, ...]
    """What it names."""
    corrections: tuple[str, ...] = ()
    """Spelling that had to be corrected, one sentence each."""


@dataclass(frozen=True)
class _Phrase:
    """One item of a list: "L3-L4 discs" in "the canal and L3-L4 discs"."""

    words: tuple[Word, ...]
    noun: Word | None = field(default=None)
    """The noun that decides the kind; an item without one may take a plural noun from its neighbours."""

    def of(self, kind: str) -> list[Word]:
        return [word for word in self.words if word.kind == kind]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def resolve(text: str, *, within: Collection[str] | None = None) -> tuple[Structure, ...]:
    """The structures that a phrase names, in the order named; those of a group or range from head to feet.

    Args:
        text: Words such as "L4-5 disk", "L2 to L4", "all lumbar discs", "L3 and the spinal canal".
        within: Names of the structures that may be asked for, e.g. those that a model knows; groups are
            restricted to them. None allows the whole vocabulary.

    Raises:
        PromptError: A word is unknown, the phrase names nothing or can mean two things, or a named structure
            is not in `within`; the message lists the nearest phrases.
    """
    return explain(text, within=within).structures


def resolve_all(texts: Iterable[str], within: Collection[str] | None = None) -> tuple[Structure, ...]:
    """The structures that several phrases name, in the order named, each once.

    Raises:
        PromptError: There is no phrase, or one of them cannot be resolved (see `resolve`).
    """
    texts = [texts] if isinstance(texts, str) else texts
    found = [found for text in texts for found in resolve(text, within=within)]
    if not found:
        raise PromptError(
            "no structure was asked for; name at least one, for example 'L4 vertebra' or 'everything'"
        )
    return tuple(dict.fromkeys(found))


def explain(text: str, *, within: Collection[str] | None = None) -> Explanation:
    """`resolve`, together with the spelling that had to be corrected on the way.

    Raises:
        PromptError: As `resolve`.
    """
    allowed = vocabulary() if within is None else {name: structure(name) for name in within}
    try:
        words, corrections = read_words(text)
        phrases = _share_words(_split(words))
        if not phrases:
            raise PromptError("the phrase is empty")
        meanings = [_meaning(phrase) for phrase in phrases]
    except PromptError as error:
        near = ", ".join(map(repr, nearest_phrases(text, allowed)))
        raise PromptError(f"{text[:80]!r} is not understood: {error}. Nearest known: {near}") from None
    found = [found for meaning in meanings for found in _restrict(meaning, allowed)]
    return Explanation(text, tuple(dict.fromkeys(found)), corrections)


def nearest_phrases(text: str, names: Collection[str]) -> list[str]:
    """The names and group phrases that are spelled most like `text`, at most three."""
    spelled = _spellings(frozenset(names))
    found = nearest(normalise(text)[:80], spelled, count=6)
    return list(dict.fromkeys(spelled[phrase] for phrase in found))[:3]


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


def _split(words: Sequence[Word]) -> list[_Phrase]:
    """Items of a list; the "and" of "between L4 and L5" joins instead of separating."""
    items: list[list[Word]] = [[]]
    is_between = False
    for word in words:
        if word.kind == "list" and word.text != "\n" and is_between:
            items[-1].append(Word("join", "-"))
            is_between = False
        elif word.kind == "list":
            items.append([])
        else:
            is_between = is_between or word.text == "between"
            items[-1].append(word)
    return [_phrase(item) for item in items if item]


def _phrase(words: Sequence[Word]) -> _Phrase:
    nouns = [word for word in words if word.kind == "noun"]
    if any(word.text == "between" for word in words):
        # "disc between the L4 and L5 vertebrae": the vertebrae say where, the disc says what.
        nouns = [noun for noun in nouns if noun.text != "vertebra"]
    return _Phrase(tuple(words), nouns[0] if len({noun.text for noun in nouns}) == 1 else None)


def _share_words(phrases: list[_Phrase]) -> list[_Phrase]:
    """Give items what their neighbours say for both: "L3 and L4 vertebrae", "lumbar vertebrae and discs"."""
    result: list[_Phrase] = []
    for index, phrase in enumerate(phrases):
        if _is_bare(phrase):
            noun = _noun_after(phrase, phrases[index + 1 :]) or _noun_before(phrase, phrases[:index])
            result.append(replace(phrase, noun=noun))
        elif phrase.noun and phrase.noun.is_plural and phrase.words == (phrase.noun,) and result:
            regions = tuple(result[-1].of("region")) if not result[-1].of("level") else ()
            result.append(replace(phrase, words=(*regions, *phrase.words)))
        else:
            result.append(phrase)
    return result


def _is_bare(phrase: _Phrase) -> bool:
    return all(word.kind in ("level", "region", "join", "all", "level word") for word in phrase.words)


def _noun_after(phrase: _Phrase, others: Sequence[_Phrase]) -> Word | None:
    """The plural noun that ends a run of bare items: "discs" for the first of "L3/4 and L4/5 discs"."""
    donor = next((other for other in others if not _is_bare(other)), None)
    return _given(phrase, donor, position=-1)


def _noun_before(phrase: _Phrase, others: Sequence[_Phrase]) -> Word | None:
    """The plural noun that begins a run of bare items: "discs" for the last of "discs L3/4 and L4/5"."""
    donor = next((other for other in reversed(others) if not _is_bare(other)), None)
    if donor and donor.of("region"):  # "lumbar vertebrae 3 and 4"
        donor = replace(donor, words=tuple(word for word in donor.words if word.kind != "region"))
    return _given(phrase, donor, position=0)


def _given(phrase: _Phrase, donor: _Phrase | None, position: int) -> Word | None:
    if donor is None or donor.noun is None or not donor.noun.is_plural:
        return None
    same_sort = bool(phrase.of("level")) == bool(donor.of("level"))
    return donor.noun if same_sort and donor.words[position] == donor.noun else None


@dataclass(frozen=True)
class _Meaning:
    structures: Sequence[Structure]
    is_group: bool = False
    """True where only those that are known are wanted: "all discs"."""


def _meaning(phrase: _Phrase) -> _Meaning:
    """What one item names."""
    known = _names_by_words().get(phrase.text)
    if known:
        return _Meaning([structure(known)])
    _check_words(phrase)
    levels = phrase.of("level")
    if not levels:
        return _Meaning(_group(phrase), is_group=True)
    regions = {level.region for level in levels}
    for word in phrase.of("region"):
        if word.region not in regions:
            raise PromptError(f"{levels[0].text} is not {word.text}")
    return _Meaning([_one_level(phrase)] if len(levels) == 1 else _several_levels(phrase))


@cache
def _names_by_words() -> dict[str, str]:
    """Name of the structure for each name and synonym that no pattern makes, as their words are read."""
    names = [
        (phrase, found.name)
        for found in vocabulary().values()
        for phrase in (found.name, *found.synonyms)
        if not any(character.isdigit() for character in phrase) or "segment" in phrase
    ]
    return {" ".join(word.text for word in read_words(phrase)[0]): name for phrase, name in names}


def _check_words(phrase: _Phrase) -> None:
    words = {kind: phrase.of(kind) for kind in ("phrase", "noun", "adjective", "level word")}
    if words["phrase"]:
        raise PromptError(f"{phrase.text!r} is not the name of one structure")
    if words["noun"] and phrase.noun is None:
        raise PromptError(f"{phrase.text!r} mixes {' and '.join(noun.text for noun in words['noun'])}")
    if phrase.noun is None and (words["adjective"] or words["level word"]):
        raise PromptError(f"{phrase.text!r} says where, but not whether a vertebra or a disc is meant")


def _group(phrase: _Phrase) -> list[Structure]:
    """Structures of "lumbar discs", "all vertebrae", "lumbar spine" and "everything"."""
    noun, is_all = phrase.noun, bool(phrase.of("all"))
    regions = {f"{REGIONS[word.region]} spine" for word in phrase.of("region")}
    if noun is None and (regions or not is_all):
        raise PromptError(f"{phrase.text!r} does not say what of it; add 'vertebrae', 'discs' or 'spine'")
    if noun and not noun.is_plural and not is_all:
        raise PromptError(f"{phrase.text!r} does not say which; add a level, or 'all'")
    if phrase.of("join"):
        raise PromptError(f"{phrase.text!r} joins no levels")
    found = [found for found in vocabulary().values() if not regions or found.region in regions]
    if noun and noun.text == "spine":
        found = [item for item in found if item.region.endswith(" spine")]  # without the canal and the cord
    elif noun and noun.text != "everything":
        found = [item for item in found if item.kind == noun.text]
    if not found:
        raise PromptError(f"there is no structure of the kind {phrase.text!r}")
    return found


def _one_level(phrase: _Phrase) -> Structure:
    ((level,), noun) = phrase.of("level"), phrase.noun
    if phrase.of("all"):
        raise PromptError(f"{level.text} is one level, not a group")
    if any(word.text != "-" or noun is None for word in phrase.of("join")):
        raise PromptError(f"{phrase.text!r} lacks a second level")
    if noun is None or noun.text == "vertebra":
        return structure(f"{level.text} vertebra")
    discs = [name for name in vocabulary() if name.endswith(" disc") and level.text in name[:-5].split("-")]
    if noun.text == "disc" and discs:
        raise PromptError(f"a disc lies between two vertebrae; say {' or '.join(map(repr, discs))}")
    raise PromptError(f"{phrase.text!r} is not the name of one structure")


def _several_levels(phrase: _Phrase) -> list[Structure]:
    """Two levels are a disc or a range; two pairs are a range of discs."""
    shape = " ".join(
        "L" if w.kind == "level" else w.text for w in phrase.words if w.kind in ("level", "join")
    )
    levels = [word.text for word in phrase.of("level")]
    kind = phrase.noun.text if phrase.noun else ""
    if kind not in ("", "vertebra", "disc"):
        raise PromptError(f"{phrase.text!r} is not clear")
    match shape:
        case "L L" if kind == "disc":
            return [_disc(*levels)]
        case "L to L" if kind != "disc":
            return _range(f"{levels[0]} vertebra", f"{levels[1]} vertebra")
        case "between L - L" if kind != "disc":
            raise PromptError("between two levels lies a disc; say 'disc between …' or 'L1 to L5'")
        case "L - L" | "L / L" | "L to L" | "between L - L":
            return _pair(levels[0], levels[1], kind, is_plural=bool(phrase.noun and phrase.noun.is_plural))
        case "L - L to L - L" | "L / L to L / L" if kind != "vertebra":
            return _range(_disc(*levels[:2]).name, _disc(*levels[2:]).name)
    raise PromptError(f"{phrase.text!r} is not clear; separate structures by commas")


def _pair(first: str, last: str, kind: str, *, is_plural: bool) -> list[Structure]:
    """What "first-last" means; see the table at the top."""
    upper, lower = structure(f"{first} vertebra"), structure(f"{last} vertebra")
    if kind == "vertebra":
        return _range(upper.name, lower.name)
    if _find_disc(first, last):
        return [_disc(first, last)]
    if lower.name in (upper.name, upper.below, upper.above):
        raise PromptError(f"there is no disc between {first} and {last}")
    vertebrae = [found.name.split()[0] for found in _range(upper.name, lower.name)]
    if kind == "":
        return [structure(f"{level} vertebra") for level in vertebrae]
    if not is_plural:
        raise PromptError(f"{first} and {last} are not neighbours, so no single disc lies between them")
    return [_disc(*pair) for pair in pairwise(vertebrae)]


def _find_disc(first: str, last: str) -> str | None:
    return next((n for n in (f"{first}-{last} disc", f"{last}-{first} disc") if n in vocabulary()), None)


def _disc(first: str, last: str) -> Structure:
    found = _find_disc(first, last)
    if found is None:
        raise PromptError(f"there is no disc between {first} and {last}")
    return structure(found)


def _range(first: str, last: str) -> list[Structure]:
    """Structures of one kind from one to the other, head to feet; T13 and L6 only where they are named."""
    order = list(vocabulary())
    upper, lower = sorted((first, last), key=order.index)
    # The neighbours of T13 and L6 pass them by, so a chain that ends at one is found from its other end only.
    downwards = _chain(upper, lower, "below")
    chain = downwards or _chain(lower, upper, "above")[::-1]
    if not chain:
        raise PromptError(f"the way from {first} to {last} is not clear; name each structure")
    return chain


def _chain(start: str, end: str, direction: Literal["above", "below"]) -> list[Structure]:
    """Structures from `start` to `end`, each the neighbour of the one before; empty where none lead there."""
    chain = [structure(start)]
    while chain[-1].name != end:
        following = getattr(chain[-1], direction)
        if following is None:
            return []
        chain.append(structure(following))
    return chain


def _restrict(meaning: _Meaning, allowed: Collection[str]) -> list[Structure]:
    """The structures of `meaning` that may be asked for; all of them, unless it is a group."""
    inside = [item for item in meaning.structures if item.name in allowed]
    outside = [item for item in meaning.structures if item.name not in allowed]
    if outside and not (meaning.is_group and inside):
        names = ", ".join(item.name for item in outside[:3]) + (", …" if len(outside) > 3 else "")
        known = ", ".join(_neighbours(outside[0], allowed)) or "none"
        raise PromptError(f"{names} cannot be asked for here; nearest known: {known}")
    return inside


def _neighbours(wanted: Structure, allowed: Collection[str]) -> list[str]:
    """The allowed structures nearest to `wanted`: those of its kind first, then by place."""
    order = list(vocabulary())
    place = order.index(wanted.name)
    ranked = sorted(
        allowed, key=lambda name: (structure(name).kind != wanted.kind, abs(order.index(name) - place))
    )
    return ranked[:3]
