"""Free text → typed words: spelling, plurals, numbers and levels, before any meaning is given to them."""

import re
import unicodedata
from dataclasses import replace
from functools import cache

from nomina.anatomy.levels import REGIONS
from nomina.anatomy.lexicon import FILLERS, LETTERS, LEXICON, REFUSED, REWRITES, Word
from nomina.anatomy.spelling import corrected
from nomina.anatomy.structures import vocabulary
from nomina.errors import PromptError

UNKNOWN_WORD = "unknown word"
"""How the refusal of a word begins that is in no list."""

_OPENING = re.compile(
    r"^\s*(?:please\s+)?(?:segment|show|find|give|outline|mark|highlight|extract)\s+(?:me\s+)?"
)

_PATTERN = re.compile(
    r"""(?P<negation>!+)
    | (?P<ordinal>\d{1,2}(?:st|nd|rd|th)(?![a-z0-9]))
    | (?P<level>(?<![a-z])(?:th|[cdtls])[ ]?-?[ ]?\d{1,3}(?=$|[^a-z0-9]|(?:th|[cdtls])\d))
    | (?P<number>\d{1,3}(?![a-z0-9]))
    | (?P<word>[a-z]+(?![a-z0-9]))
    | (?P<join>[-/])
    | (?P<list>[,;&+\n])
    | (?P<other>[^\s]+)""",
    re.VERBOSE | re.ASCII,
)


def read_words(text: str) -> tuple[tuple[Word, ...], tuple[str, ...]]:
    """Split a prompt into typed words; names that no pattern makes ("spinal canal") are one word each.

    Returns:
        The words without fillers, and one sentence per corrected spelling.

    Raises:
        PromptError: A word is unknown or leaves open what is wanted ("no"), or a level does not exist.
    """
    words, corrections = _read(text)
    return tuple(_join_names(words)), corrections


def normalise(text: str) -> str:
    """Lower case, plain dashes, slashes and spaces; brackets, quotes and closing marks removed.

    An exclamation mark before a word, which is "not" to programmers, stays.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"(?<=n)['’](?=t\b)", "", text)
    text = "".join("-" if unicodedata.category(c) == "Pd" or c in "−⁃" else c for c in text)
    text = re.sub(r"(?<=\w) ?\.{2,} ?(?=\w)", " to ", text)
    text = re.sub(r"[()\[\]\"'“”‘’.:?_]", " ", text.replace("\\", "/"))
    text = re.sub(r"(?<=\w)!+|!+\s*$", " ", text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def is_negated(text: str) -> bool:
    """Whether a prompt says of something that it is not wanted."""
    words = re.findall(r"[a-z]+|!", _plain(text))
    return any(word in REFUSED or word == "!" or _is_except(word) for word in words)


def sides_said(text: str) -> set[str]:
    """The sides that a prompt names, "left" and "right", in whatever language and however spelled."""
    known = _known_words()
    words = re.findall(r"[a-z]+", _plain(text))
    read = [known.get(word) or known.get(corrected(word, known) or "") for word in words]
    return {word.text for word in read if word is not None and word.kind == "side"}


def _is_except(word: str) -> bool:
    return word in LEXICON and LEXICON[word].kind == "except"


def _plain(text: str) -> str:
    """Normalised, without an opening such as "please segment", and with turns of several words rewritten."""
    plain = _OPENING.sub("", normalise(text))
    for pattern, replacement in REWRITES:
        plain = re.sub(pattern, replacement, plain)
    return plain


def _read(text: str) -> tuple[list[Word], tuple[str, ...]]:
    plain = _plain(text)
    words: list[Word] = []
    corrections: list[str] = []
    unknown: list[str] = []
    for match in _PATTERN.finditer(plain):
        group, token = str(match.lastgroup), match.group()
        if group == "word":
            if token in FILLERS:
                continue
            word, correction = _read_word(token)
            corrections += [correction] if correction else []
        else:
            word = _read_sign(group, token)
        if word is None:
            unknown.append(token)
        else:
            words.append(word)
    if unknown:
        quoted = ", ".join(repr(token[:40]) for token in unknown)
        raise PromptError(f"{UNKNOWN_WORD}{'s' if len(unknown) > 1 else ''} {quoted}")
    return _bind_numbers(words), tuple(corrections)


def _read_word(token: str) -> tuple[Word | None, str]:
    if token in REFUSED:
        raise PromptError(
            f"{token!r} leaves open what is wanted; say what is, for example 'all vertebrae except L4'"
        )
    if token == "sc":
        raise PromptError("'SC' is the spinal canal to some and the spinal cord to others; write it out")
    known = _known_words()
    if token in known:
        return known[token], ""
    meant = corrected(token, known)
    if meant is None:
        return None, ""
    return replace(known[meant], is_corrected=True), f"{token!r} read as {meant!r}"


def _read_sign(group: str, token: str) -> Word | None:
    match group:
        case "negation":
            raise PromptError(
                f"{token!r} before a name says that it is not wanted; say what is, for example "
                f"'all vertebrae except L4'"
            )
        case "level":
            letters, digits = re.findall(r"[a-z]+|\d+", token)
            return _level(LETTERS[letters], int(digits))
        case "ordinal":
            return Word("ordinal", token, number=int(token[:-2]))
        case "number":
            return Word("number", token, number=int(token))
        case "join":
            return Word("join", token)
        case "list":
            return Word("list", token)
    return None


def _level(region: str, number: int) -> Word:
    if f"{region}{number} vertebra" not in vocabulary():
        last = [name for name in vocabulary() if re.match(rf"{region}\d+ ", name)][-1].split()[0]
        raise PromptError(
            f"there is no {region}{number}; {REGIONS[region]} vertebrae are {region}1 to {last}"
        )
    return Word("level", f"{region}{number}", region, number)


@cache
def _known_words() -> dict[str, Word]:
    """The lexicon and the words of names that no pattern makes ("canal", "medulla")."""
    words = re.findall(
        r"[a-z]+", " ".join(" ".join((s.name, *s.synonyms)) for s in vocabulary().values()).lower()
    )
    phrase_words = {word: Word("phrase", word) for word in words if word not in FILLERS}
    return phrase_words | LEXICON


@cache
def _names() -> dict[tuple[str, ...], str]:
    """Name of the structure for each name and synonym that no pattern makes, as their words are read.

    The lung's names are left out where each of their words has a meaning of its own (see `phrase_lung`).
    """
    found: dict[tuple[str, ...], str] = {}
    for item in vocabulary().values():
        for phrase in (item.name, *item.synonyms):
            if not any(character.isdigit() for character in phrase) or "segment" in phrase:
                words = _read(phrase)[0]
                if any(word.kind == "phrase" for word in words):
                    found[tuple(word.text for word in words)] = item.name
    return found


def _join_names(words: list[Word]) -> list[Word]:
    """Each run of words that is the name of a structure as one word, the longest first."""
    result: list[Word] = []
    names, place = _names(), 0
    longest = max(map(len, names))
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            name = names.get(tuple(word.text for word in words[place : place + length]))
            if name:
                result += _named(name)
                place += length
                break
        else:
            result.append(words[place])
            place += 1
    return result


def _named(name: str) -> list[Word]:
    """The words of a name: "atlas" is "vertebra C1", "RUL" is "right upper lobe"."""
    if vocabulary()[name].kind == "lobe":
        return [LEXICON[word] for word in name.split()]
    levels, _, kind = name.rpartition(" ")
    if kind not in ("vertebra", "disc"):
        return [Word("name", name)]
    words = [_level(level[0], int(level[1:])) for level in levels.split("-")]
    return [LEXICON[kind], words[0], *(word for level in words[1:] for word in (Word("join", "-"), level))]


def _bind_numbers(words: list[Word]) -> list[Word]:
    """Join ordinals and numbers with the region they belong to: "fourth … lumbar", "lumbar … IV", "L4/5"."""
    result = list(words)
    for index, word in enumerate(words):
        if word.kind == "ordinal" and not _is_before_extreme(words, index):
            result[index] = _level(_region_of_ordinal(words, index), word.number)
        elif word.kind == "number":
            result[index] = _level(_region_of_number(result, index), word.number)
        elif word.text in LETTERS and not _precedes_number(words, index):
            if not _is_short_s1(result, index):
                raise PromptError(f"{word.text!r} is not a level; write for example 'L4'")
            result[index] = _level("S", 1)
    return [word for word in result if word.text not in LETTERS]


def _is_before_extreme(words: list[Word], index: int) -> bool:
    """True for the second of "second lowest lumbar vertebra"."""
    return index + 1 < len(words) and words[index + 1].kind == "extreme"


def _region_of_ordinal(words: list[Word], index: int) -> str:
    """Region named after an ordinal ("fourth and fifth lumbar vertebrae") or before it ("lumbar: fourth")."""
    following = words[index + 1 :]
    if [word.kind for word in following[:2]] == ["noun", "region"]:  # "fourth vertebra of the lumbar spine"
        return following[1].region
    for word in following:
        if word.kind == "region":
            return word.region
        if word.kind not in ("ordinal", "list", "join"):
            break
    before = [word.region for word in words[:index] if word.kind == "region"]
    if not before:
        text = words[index].text
        raise PromptError(f"{text!r} of which region? Say for example '{text} lumbar vertebra'")
    return before[-1]


def _region_of_number(words: list[Word], index: int) -> str:
    """Region named before a bare number: "lumbar vertebra 4", "L4/5", "L3, 4 and 5"."""
    number = words[index]
    for word in reversed(words[:index]):
        if word.kind == "region":
            return word.region
        if word.kind == "level":
            # "L5/1" may mean L5-S1, and a noun between ("L5-S1 disc and 4") starts a new thought.
            if word.region == "S" or number.number < word.number:
                break
            return word.region
        if word.kind not in ("list", "join", "noun", "level word"):
            break
    raise PromptError(f"{number.text!r} of which region? Write levels in full, for example 'L4' or 'L4-L5'")


def _precedes_number(words: list[Word], index: int) -> bool:
    return index + 1 < len(words) and words[index + 1].kind == "number"


def _is_short_s1(words: list[Word], index: int) -> bool:
    """True for the S of "L5/S"."""
    return (
        words[index].text == "s"
        and index >= 2
        and words[index - 1].kind == "join"
        and words[index - 2].kind == "level"
        and words[index - 2].number >= 5
    )
