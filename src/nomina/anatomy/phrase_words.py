"""Free text → typed words: spelling, plurals, numbers and levels, before any meaning is given to them.

A misspelt word is read as the nearest known one, except where that could change a level: numbers, ordinals,
Roman numerals and the names of single vertebrae ("atlas") are taken literally or not at all.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

from nomina.anatomy.structures import ORDINALS, REGIONS, ROMANS, vocabulary
from nomina.errors import PromptError

Kind = Literal[
    "level", "ordinal", "number", "region", "noun", "adjective", "phrase", "join", "list", "all", "level word"
]


@dataclass(frozen=True)
class Word:
    """One word of a prompt."""

    kind: Kind
    """Its part in the sentence."""
    text: str
    """How it is read, spelling corrected: "disc", "l4", "lumbar"; of a join "-", "to" or "between"."""
    region: str = ""
    """Letter of the spinal region (C, T, L, S) of a level or region word."""
    number: int = 0
    """Number of a level, ordinal or numeral."""
    is_plural: bool = False
    """True for a noun that means several ("discs") and for the names of groups."""


_NEGATIONS = (
    "no",
    "not",
    "non",
    "without",
    "except",
    "excluding",
    "exclude",
    "but",
    "minus",
    "neither",
    "never",
)
_FILLERS = ("the", "a", "an", "of", "at", "in", "from", "please", "whole", "entire")
_OPENING = re.compile(r"^\s*(?:please\s+)?(?:segment|show|find)\s+(?:me\s+)?")
_LETTERS = {"c": "C", "t": "T", "th": "T", "d": "T", "l": "L", "s": "S"}
"""How a level begins; D (dorsal) and Th are thoracic."""

_PATTERN = re.compile(
    r"""(?P<ordinal>\d{1,2}(?:st|nd|rd|th)(?![a-z0-9]))
    | (?P<level>(?<![a-z])(?:th|[cdtls])[ ]?-?[ ]?\d{1,3}(?=$|[^a-z0-9]|(?:th|[cdtls])\d))
    | (?P<number>\d{1,3}(?![a-z0-9]))
    | (?P<word>[a-z]+(?![a-z0-9]))
    | (?P<join>[-/])
    | (?P<list>[,;&+\n])
    | (?P<other>[^\s]+)""",
    re.VERBOSE | re.ASCII,
)


def _entries(
    kind: Kind, spellings: str, text: str, region: str = "", *, plural: bool = False
) -> dict[str, Word]:
    return {spelling: Word(kind, text, region, is_plural=plural) for spelling in spellings.split()}


_LEXICON: dict[str, Word] = {
    **_entries("noun", "vertebra body corpus", "vertebra"),
    **_entries("noun", "vertebrae vertebras bodies corpora", "vertebra", plural=True),
    **_entries("noun", "disc disk discus dics disck ivd", "disc"),
    **_entries("noun", "discs disks disci ivds", "disc", plural=True),
    **_entries("noun", "spine column", "spine", plural=True),
    **_entries("noun", "everything structures", "everything", plural=True),
    **_entries("adjective", "spinal", "spinal"),
    **_entries("adjective", "vertebral", "vertebral"),
    **_entries("adjective", "intervertebral intervertebralis", "intervertebral"),
    **_entries("region", "cervical cervicalis cervicales", "cervical", "C"),
    **_entries("region", "thoracic thoracica thoracicae thoracal dorsal", "thoracic", "T"),
    **_entries("region", "lumbar lumbalis lumbales lumbal", "lumbar", "L"),
    **_entries("region", "sacral sacralis sacrales", "sacral", "S"),
    **{letter: Word("region", letter, region) for letter, region in _LETTERS.items()},
    **{ordinal: Word("ordinal", ordinal, number=number) for number, ordinal in enumerate(ORDINALS, start=1)},
    **{roman: Word("number", roman, number=number) for number, roman in enumerate(ROMANS, start=1)},
    **_entries("join", "to through thru until till", "to"),
    **_entries("join", "between", "between"),
    **_entries("list", "and", "and"),
    **_entries("all", "all every each", "all"),
    **_entries("level word", "level levels", "level"),
}

# A misspelt word may be read as one of these; none of them tells a level within its region.
_CORRECTABLE = (
    *("vertebra", "vertebrae", "vertebral", "spinal", "intervertebral", "canal", "sacrum", "coccyx"),
    *("cervical", "thoracic", "lumbar", "sacral", "between", "everything"),
)


def read_words(text: str) -> tuple[tuple[Word, ...], tuple[str, ...]]:
    """Split a prompt into typed words.

    Returns:
        The words without fillers, and one sentence per corrected spelling.

    Raises:
        PromptError: A word is unknown, negates, or names a level that does not exist.
    """
    plain = _OPENING.sub("", normalise(text))
    words: list[Word] = []
    corrections: list[str] = []
    unknown: list[str] = []
    for match in _PATTERN.finditer(plain):
        group, token = str(match.lastgroup), match.group()
        if group == "word":
            if token in _FILLERS:
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
        raise PromptError(f"unknown {'word' if len(unknown) == 1 else 'words'} {quoted}")
    return tuple(_bind_numbers(words)), tuple(corrections)


def normalise(text: str) -> str:
    """Lower case, plain dashes, slashes and spaces; brackets, quotes and closing marks removed."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join("-" if unicodedata.category(c) == "Pd" or c in "−⁃" else c for c in text)
    text = re.sub(r"[()\[\]\"'“”‘’.:!?_]", " ", text.replace("\\", "/"))
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _read_word(token: str) -> tuple[Word | None, str]:
    if token in _NEGATIONS:
        raise PromptError(f"{token!r} excludes something; name only the structures that are wanted")
    if token == "sc":
        raise PromptError("'SC' is the spinal canal to some and the spinal cord to others; write it out")
    known = _known_words()
    if token in known:
        return known[token], ""
    corrected = _corrected(token)
    return (known[corrected], f"{token!r} read as {corrected!r}") if corrected else (None, "")


def _read_sign(group: str, token: str) -> Word | None:
    match group:
        case "level":
            letters, digits = re.findall(r"[a-z]+|\d+", token)
            return _level(_LETTERS[letters], int(digits))
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
    phrase_words = {word: Word("phrase", word) for word in words if word not in _FILLERS}
    return phrase_words | _LEXICON


def _corrected(token: str) -> str | None:
    """The one known word that `token` misspells, or None where there is none or more than one."""
    if not 5 <= len(token) <= 20:
        return None
    known = _known_words()
    near: dict[int, set[str]] = {}
    for word in _CORRECTABLE:
        # Few people misspell the first letter, and that rule keeps "banal" from becoming "canal".
        if word[0] == token[0]:
            near.setdefault(_edits(token, word), set()).add(word)
    for edits in range(1, 3 if len(token) >= 8 else 2):
        if edits in near:
            meanings = {known[word].text for word in near[edits]}
            singular_first = sorted(near[edits], key=lambda word: known[word].is_plural)
            return singular_first[0] if len(meanings) == 1 else None
    return None


def _edits(a: str, b: str) -> int:
    """Letters inserted, deleted, replaced or swapped with their neighbour to turn `a` into `b`."""
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def _bind_numbers(words: list[Word]) -> list[Word]:
    """Join ordinals and numbers with the region they belong to: "fourth … lumbar", "lumbar … IV", "L4/5"."""
    result = list(words)
    for index, word in enumerate(words):
        if word.kind == "ordinal":
            result[index] = _level(_region_of_ordinal(words, index), word.number)
        elif word.kind == "number":
            result[index] = _level(_region_of_number(result, index), word.number)
        elif word.text in _LETTERS and not _precedes_number(words, index):
            if not _is_short_s1(result, index):
                raise PromptError(f"{word.text!r} is not a level; write for example 'L4'")
            result[index] = _level("S", 1)
    return [word for word in result if word.text not in _LETTERS]


def _region_of_ordinal(words: list[Word], index: int) -> str:
    """Region named after an ordinal ("fourth and fifth lumbar vertebrae") or before it ("lumbar: fourth")."""
    for word in words[index + 1 :]:
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
