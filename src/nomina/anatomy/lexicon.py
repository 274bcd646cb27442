"""The words that prompts are made of, Latin and English, and what each is in the sentence."""

from dataclasses import dataclass, field
from typing import Literal

from nomina.anatomy.structures import ORDINALS, ROMANS

Kind = (
    Literal[
        "level", "ordinal", "number", "region", "noun", "adjective", "phrase", "name", "join", "list", "all"
    ]
    | Literal["level word", "relation", "extreme", "except", "inclusive", "side", "position", "lung noun"]
)


@dataclass(frozen=True)
class Word:
    """One word of a prompt."""

    kind: Kind
    """Its part in the sentence; "relation" are above, below, beside, between and at."""
    text: str
    """How it is read, spelling corrected: "disc", "l4", "lumbar", "below"; of a join "-", "to" or "and"."""
    region: str = ""
    """Letter of the spinal region (C, T, L, S) of a level or region word."""
    number: int = 0
    """Number of a level, ordinal or numeral."""
    is_plural: bool = False
    """True for a noun that means several ("discs") and for the names of groups."""
    is_corrected: bool = field(default=False, compare=False)
    """True where the spelling was corrected, so that singular and plural are not certain."""
    remark: str = ""
    """A warning for who uses this word, because it means more or less than what nomina gives."""


REFUSED = (
    *("no", "non", "neither", "nor", "never", "none", "nothing"),
    *("dont", "doesnt", "isnt", "arent", "cannot", "cant", "wont", "shouldnt", "mustnt"),
)
"""Negations that leave open what is wanted; apostrophes are gone when they are looked up."""

FILLERS = (
    *("the", "a", "an", "of", "in", "from", "please", "whole", "entire", "complete", "only", "just"),
    *("within", "inside", "directly", "immediately"),
)
"""Words that change nothing."""

LETTERS = {"c": "C", "t": "T", "th": "T", "d": "T", "l": "L", "s": "S"}
"""How a level begins; D (dorsal) and Th are thoracic."""

WHOLE_VERTEBRA = (
    "nomina has no structure for the body of a vertebra alone; the whole vertebra is given, with its arch "
    "and processes"
)

_BESIDE = "next|adjacent|adjoining|close|neighbou?ring|bordering|touching"

REWRITES: tuple[tuple[str, str], ...] = (
    (r"\b(?:above and below|below and above|(?:on |at )?(?:both|either) sides? of)\b", "beside"),
    (rf"\b(?:{_BESIDE}) ((?:intervertebral )?(?!to\b)[a-z]+) (?:of|to)\b", r"\1 beside"),
    (rf"\b(?:{_BESIDE})(?: to)?\b", "beside"),
    (r"\b(?:superior|cranial|cephalad|rostral) to\b|\bon top of\b", "above"),
    (r"\b(?:inferior|caudal) to\b", "below"),
    (r"\b(?:at|on) (?:the )?(?:same )?(?:level|height)s? (?:of|as)\b", "at"),
    (r"\b(?:apart from|other than|except for|with the exception of|leav(?:e|ing) out)\b", "except"),
    (r"\b(?:but not|but without|and not|(?:that|which) (?:is|are) not)\b", "except"),
    (r"\bdo not\b", "dont"),
    (r"\bvertebrae of (?:the )?(?=\S+ dis[ck]\b)", "vertebrae beside "),
    (
        r"\b(dis[ck]s|disci) of (?:the )?"
        r"(?=(?:vertebra )?(?:th|[cdtls])[ -]?\d{1,2}\b(?! ?[-/]| (?:to|and|through)\b))",
        r"\1 beside ",
    ),
    (r"\bon the (left|right)(?: hand)?(?: side)?\b|\b(left|right)[- ]sided\b", r"\1\2"),
    (r"\b(?:as well as|together with|plus)\b", ","),
    (r"\b(?:up|down) to\b", "to"),
)
"""Turns of several words, and the word or sign that each stands for; applied in this order."""

MISSPELT = {"chord": "cord", "dics": "disc", "dsic": "disc", "disck": "disc", "cervicle": "cervical"}
"""Common misspellings that the rule of `spelling.corrected` does not reach."""

CORRECTABLE = (
    *("vertebra", "vertebrae", "vertebral", "spinal", "intervertebral", "canal", "sacrum", "coccyx"),
    *("cervical", "thoracic", "lumbar", "sacral", "everything", "pulmonary", "artery", "arteries", "veins"),
    *("trachea", "airway", "airways", "upper", "middle", "lower", "lowest", "highest"),
    *("above", "below", "beside", "between", "except", "without", "excluding"),
    *("columna", "discus", "canalis", "vertebralis", "intervertebralis", "arteria", "pulmonalis"),
)
"""A misspelt word may be read as one of these; none of them tells a level within its region."""

_LATIN_ORDINALS = (
    *("prima", "secunda", "tertia", "quarta", "quinta", "sexta"),
    *("septima", "octava", "nona", "decima", "undecima", "duodecima"),
)


def _entries(
    kind: Kind, spellings: str, text: str, region: str = "", *, plural: bool = False, remark: str = ""
) -> dict[str, Word]:
    return {
        spelling: Word(kind, text, region, is_plural=plural, remark=remark) for spelling in spellings.split()
    }


def _counted(kind: Kind, words: tuple[str, ...]) -> dict[str, Word]:
    return {word: Word(kind, word, number=number) for number, word in enumerate(words, start=1)}


LEXICON: dict[str, Word] = {
    **_entries("noun", "vertebra", "vertebra"),
    **_entries("noun", "body corpus", "vertebra", remark=WHOLE_VERTEBRA),
    **_entries("noun", "vertebrae vertebras", "vertebra", plural=True),
    **_entries("noun", "bodies corpora", "vertebra", plural=True, remark=WHOLE_VERTEBRA),
    **_entries("noun", "disc disk discus ivd", "disc"),
    **_entries("noun", "discs disks disci ivds", "disc", plural=True),
    **_entries("noun", "spine column columna backbone", "spine", plural=True),
    **_entries("noun", "everything structures", "everything", plural=True),
    **_entries("adjective", "spinal", "spinal"),
    **_entries("adjective", "vertebral vertebralis", "vertebral"),
    **_entries("adjective", "intervertebral intervertebralis intervertebrales", "intervertebral"),
    **_entries("adjective", "pulmonary pulmonalis pulmonales", "pulmonary"),
    **_entries("region", "cervical cervicalis cervicales", "cervical", "C"),
    **_entries("region", "thoracic thoracica thoracicae thoracal dorsal", "thoracic", "T"),
    **_entries("region", "lumbar lumbalis lumbales lumbal", "lumbar", "L"),
    **_entries("region", "sacral sacralis sacrales", "sacral", "S"),
    **{letter: Word("region", letter, region) for letter, region in LETTERS.items()},
    **_counted("ordinal", ORDINALS),
    **_counted("ordinal", _LATIN_ORDINALS),
    **_counted("number", ROMANS),
    **_entries("join", "to through thru until till", "to"),
    **_entries("list", "and", "and"),
    **_entries("all", "all every each", "all"),
    **_entries("all", "both", "both"),
    **_entries("level word", "level levels", "level"),
    **_entries("relation", "above over", "above"),
    **_entries("relation", "below under beneath underneath", "below"),
    **_entries("relation", "beside around", "beside"),
    **_entries("relation", "between", "between"),
    **_entries("relation", "at behind", "at"),
    **_entries("extreme", "lowest lowermost bottommost bottom last", "lowest"),
    **_entries("extreme", "highest uppermost topmost top", "highest"),
    **_entries("except", "except excluding exclude excluded excl without minus but not", "except"),
    **_entries("except", "skip omit ignore", "except"),
    **_entries("inclusive", "inclusive inclusively incl", "inclusive"),
    **_entries("side", "left sinister sinistri sinistra sinistrae sinistrum", "left"),
    **_entries("side", "right dexter dextri dextra dextrae dextrum", "right"),
    **_entries("position", "upper superior superioris", "upper"),
    **_entries("position", "middle medius medii", "middle"),
    **_entries("position", "lower inferior inferioris", "lower"),
    **_entries("lung noun", "artery arteria", "artery"),
    **_entries("lung noun", "arteries arteriae", "artery", plural=True),
    **_entries("lung noun", "vein vena", "vein"),
    **_entries("lung noun", "veins venae", "vein", plural=True),
    **_entries("lung noun", "vessel", "vessel"),
    **_entries("lung noun", "vessels", "vessel", plural=True),
    **_entries("lung noun", "lobe lobus", "lobe"),
    **_entries("lung noun", "lobes lobi", "lobe", plural=True),
    **_entries("lung noun", "lung pulmo pulmonis", "lung"),
    **_entries("lung noun", "lungs pulmones", "lung", plural=True),
}
"""Each word as it is read; the words of other names come from the vocabulary."""
