"""Anatomy-aware text prompts (ATPG): facts → sentences, in two views.

*Image view*: what this scan shows. `image_view` writes it as one text; `image_statements` writes it as
statements with a finite set of options each, so that a network that is unsure can mix the options'
embeddings by its probabilities (expected embedding). It differs from scan to scan.

*Channel view*: what a structure is, where it lies and how it looks. One constant sentence per structure,
so it needs no annotation at test time.

ATM-Net's wording is not public; views, statements and templates (`templates.yaml`) are ours [choice].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from nomina.anatomy.structures import Structure, structure, vocabulary
from nomina.errors import PromptError
from nomina.language.facts import SEQUENCES, Facts, bottom_to_top, is_supernumerary

_TEMPLATES: dict[str, Any] = yaml.safe_load(
    (files("nomina.language") / "templates.yaml").read_text(encoding="utf-8")
)

TEMPLATE_VERSION: str = _TEMPLATES["version"]
"""Version of every sentence; saved with each prompt bank."""

NUM_PARAPHRASES = 3
"""Wordings of each sentence: 0 is used at inference, all are drawn from in training."""

GENERIC_SENTENCE: str = _TEMPLATES["generic"]
"""Image view when nothing is stated (mode A)."""

BACKGROUND = "background"
"""Name of the channel that is no structure."""


@dataclass(frozen=True)
class Statement:
    """One thing that can be said about a scan, with every way it can be."""

    name: str
    """What it is about: "sequence", "lowest_vertebra", "highest_vertebra", "num_vertebrae", "num_discs",
    "canal" or "sacrum"."""
    options: tuple[str, ...]
    """The values it can take: ("T1", "T2", "STIR", "PD"), ("L5 vertebra", …), ("0", "1", …) or
    ("visible", "not visible")."""

    def sentences(self, paraphrase: int = 0) -> tuple[str, ...]:
        """One sentence per option.

        Raises:
            PromptError: No such paraphrase.
        """
        template = _wording(_TEMPLATES["statements"][self.name], paraphrase)
        return tuple(_capitalised(template.format(option=self._in_words(o))) for o in self.options)

    def _in_words(self, option: str) -> str:
        if self.name == "sequence":
            return str(_TEMPLATES["sequences"][option])
        return _number(int(option)) if option.isdigit() else _level(option)


def image_statements(structures: Sequence[str]) -> tuple[Statement, ...]:
    """The statements that a model can make about a scan.

    Args:
        structures: Names of the structures that the model knows, in any order.

    Returns:
        Sequence; lowest and highest vertebra and number of vertebrae if any is known; number of discs if
        any is known; canal and sacrum where known. Vertebrae run from bottom to top.
    """
    vertebrae, discs = bottom_to_top(structures, "vertebra"), bottom_to_top(structures, "disc")
    statements = [Statement("sequence", SEQUENCES)]
    if vertebrae:
        statements += [Statement("lowest_vertebra", vertebrae), Statement("highest_vertebra", vertebrae)]
        statements += [Statement("num_vertebrae", tuple(str(n) for n in range(len(vertebrae) + 1)))]
    if discs:
        statements += [Statement("num_discs", tuple(str(n) for n in range(len(discs) + 1)))]
    if "spinal canal" in structures:
        statements += [Statement("canal", ("visible", "not visible"))]
    if "sacrum" in structures:
        statements += [Statement("sacrum", ("visible", "not visible"))]
    return tuple(statements)


def statement_choices(facts: Facts, statements: Sequence[Statement]) -> tuple[int | None, ...]:
    """Which option of each statement the facts choose.

    Returns:
        Option index per statement; None where the facts do not say or name something outside the options.
    """
    return said_choices(all_said(facts), statements)


def all_said(facts: Facts) -> dict[str, str]:
    """Everything that the facts say and know: the value of each statement by its name."""
    values = {
        "sequence": facts.sequence,
        "lowest_vertebra": facts.lowest_vertebra,
        "highest_vertebra": facts.highest_vertebra,
        "num_vertebrae": str(facts.num_vertebrae),
        "num_discs": str(facts.num_discs),
        "canal": _visibility(facts.canal_visible),
        "sacrum": _visibility(facts.sacrum_visible),
    }
    return {name: value for name, value in values.items() if value is not None and name not in facts.unknown}


def undecided(structures: Sequence[str], annotated: Sequence[str]) -> frozenset[str]:
    """Names of the statements that cannot be made where only some of the structures were annotated.

    Args:
        structures: Names of the structures that the model knows.
        annotated: Those of them that somebody looked for.
    """
    lacking = set(structures).difference(annotated)
    names: set[str] = set()
    if bottom_to_top(lacking, "vertebra"):
        names |= {"lowest_vertebra", "highest_vertebra", "num_vertebrae"}
    if bottom_to_top(lacking, "disc"):
        names |= {"num_discs"}
    return frozenset(names)


def said_choices(said: Mapping[str, str], statements: Sequence[Statement]) -> tuple[int | None, ...]:
    """Which option of each statement is chosen, where only some things are said.

    Args:
        said: Value of each statement that is made, e.g. `{"lowest_vertebra": "L5 vertebra"}`.
        statements: What can be said.

    Returns:
        Option index per statement; None where nothing is said or the value is outside the options.

    Raises:
        PromptError: There is no statement of a name, whatever the model.
    """
    _require_known_names(said)
    return tuple(
        statement.options.index(said[statement.name])
        if said.get(statement.name) in statement.options
        else None
        for statement in statements
    )


def require_sayable(said: Mapping[str, str], statements: Sequence[Statement]) -> None:
    """Refuse what a network would not hear, for those who would not learn that it was passed over.

    Args:
        said: Value of each statement that is made.
        statements: What can be said.

    Raises:
        PromptError: Nothing is said, there is no statement of a name, or a value is not among its options.
    """
    _require_known_names(said)
    options = {statement.name: statement.options for statement in statements}
    if not said:
        raise PromptError(f"nothing was told to the model; it can be told about {', '.join(options)}")
    for name, value in said.items():
        if name not in options:
            raise PromptError(f"the model cannot be told about {name}; it can about {', '.join(options)}")
        if value not in options[name]:
            raise PromptError(
                f"{name} cannot be {value!r} for this model; expected one of {', '.join(options[name])}"
            )


def _require_known_names(said: Mapping[str, str]) -> None:
    if unknown := sorted(set(said) - set(_TEMPLATES["statements"])):
        known = ", ".join(_TEMPLATES["statements"])
        raise PromptError(f"there is no statement about {unknown[0]!r}; known: {known}")


def image_view(facts: Facts, paraphrase: int = 0) -> str:
    """The whole image view as one text, for an encoder that reads several sentences at once.

    Args:
        facts: What the scan shows; what is None is left out.
        paraphrase: Wording, 0 to 2.

    Raises:
        PromptError: No such paraphrase.
    """
    region = _region_in_view(facts)
    spine = f"{region} spine".strip()
    seen = f"{_count(facts.num_vertebrae, 'vertebra')} and {_count(facts.num_discs, 'disc')}"
    extent = ""
    if facts.lowest_vertebra and facts.highest_vertebra:
        extent = _wording(_TEMPLATES["extent"], paraphrase).format(
            lowest=_level(facts.lowest_vertebra), highest=_level(facts.highest_vertebra)
        )
    text = _wording(_TEMPLATES["image"], paraphrase).format(
        sequence=f"{_TEMPLATES['sequences'][facts.sequence]} " if facts.sequence else "",
        region=region or "spine",
        spine=spine,
        Spine=_capitalised(spine),
        seen=seen,
        Seen=_capitalised(seen),
        extent=extent,
    )
    for name, is_visible in (("canal", facts.canal_visible), ("sacrum", facts.sacrum_visible)):
        if is_visible is not None:
            sentence = _wording(_TEMPLATES["statements"][name], paraphrase)
            text += " " + sentence.format(option=_visibility(is_visible))
    return text


def channel_view(name: str, paraphrase: int = 0) -> str:
    """The constant sentence about one structure: what it is, where it lies, how it looks.

    Args:
        name: Name of a structure as in the vocabulary, or "background".
        paraphrase: Wording, 0 to 2.

    Raises:
        PromptError: There is no sentence for that name, or no such paraphrase.
    """
    if name in _TEMPLATES["single"]:
        return _wording(_TEMPLATES["single"][name], paraphrase)
    known = structure(name)
    kind = "sacral segment" if _is_sacral(known) else known.kind
    if kind not in _TEMPLATES["rows"]:
        raise PromptError(
            f"there is no sentence about {name!r}: templates.yaml has none for the kind {kind!r}"
        )
    fields = _disc_fields(known) if kind == "disc" else _vertebra_fields(known)
    return _wording(_TEMPLATES["rows"][kind], paraphrase).format(**fields)


def all_sentences(structures: Sequence[str]) -> tuple[str, ...]:
    """Every sentence that a prompt bank for these structures must hold, each once.

    The generic sentence, all statements and channel views (background included) in all paraphrases, and
    the plain names.

    Raises:
        PromptError: A structure has no prompt.
    """
    names = (*structures, BACKGROUND)
    sentences = [GENERIC_SENTENCE]
    for paraphrase in range(NUM_PARAPHRASES):
        for statement in image_statements(structures):
            sentences += statement.sentences(paraphrase)
        sentences += [channel_view(name, paraphrase) for name in names]
    return tuple(dict.fromkeys((*sentences, *names)))


def _vertebra_fields(vertebra: Structure) -> dict[str, str]:
    return {
        "level": _level(vertebra.name),
        "region": vertebra.region.removesuffix(" spine"),
        "rank": "extra in some people" if is_supernumerary(vertebra.name) else _rank(vertebra),
        "above": _level(vertebra.above) if vertebra.above else "the skull",
        "below": _below_in_words(vertebra),
    }


def _below_in_words(vertebra: Structure) -> str:
    if vertebra.below is None:
        return "the coccyx"
    is_last_free = _is_sacral(vocabulary()[vertebra.below]) and not _is_sacral(vertebra)
    return "the sacrum" if is_last_free else _level(vertebra.below)


def _disc_fields(disc: Structure) -> dict[str, str]:
    levels = _level(disc.name)
    upper, lower = levels.split("-")
    return {
        "level": levels,
        "rank": "in some people only" if is_supernumerary(disc.name) else _rank(disc),
        "above": upper,
        "below": "the sacrum" if lower == "S1" else lower,
    }


def _rank(known: Structure) -> str:
    """Text such as "second above the sacrum" for L4 and L4-L5, "third from the top of the sacrum" for S3."""
    direction = "above" if _is_sacral(known) else "below"
    place, neighbour = 0, getattr(known, direction)
    while neighbour and _is_sacral(vocabulary()[neighbour]) == _is_sacral(known):
        place, neighbour = place + 1, getattr(vocabulary()[neighbour], direction)
    ordinal = _TEMPLATES["ordinals"][place]
    return f"{ordinal} from the top of the sacrum" if _is_sacral(known) else f"{ordinal} above the sacrum"


def _is_sacral(known: Structure) -> bool:
    return known.region == "sacral spine"


def _region_in_view(facts: Facts) -> str:
    """Region of the lowest vertebra; empty without vertebrae and for a scan from the neck to the loins."""
    if not facts.lowest_vertebra or not facts.highest_vertebra:
        return ""
    lowest, highest = (structure(name).region for name in (facts.lowest_vertebra, facts.highest_vertebra))
    is_whole = (lowest, highest) == ("lumbar spine", "cervical spine")
    return "" if is_whole else lowest.removesuffix(" spine")


def _count(number: int, noun: str) -> str:
    plural = {"vertebra": "vertebrae", "disc": "discs"}[noun]
    return f"{_number(number) if number else 'no'} {noun if number == 1 else plural}"


def _number(number: int) -> str:
    return str(_TEMPLATES["numbers"][number])


def _level(name: str) -> str:
    return name.removesuffix(" vertebra").removesuffix(" disc")


def _visibility(is_visible: bool | None) -> str | None:
    return None if is_visible is None else "visible" if is_visible else "not visible"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _wording(wordings: Sequence[str], paraphrase: int) -> str:
    if not 0 <= paraphrase < NUM_PARAPHRASES:
        raise PromptError(f"paraphrase must be 0 to {NUM_PARAPHRASES - 1}, got {paraphrase}")
    return wordings[paraphrase]
