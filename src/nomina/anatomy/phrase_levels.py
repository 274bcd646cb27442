"""Items without relations → expressions: names, groups, single levels, pairs and ranges of levels.

How a pair of levels is read:

    "L4-L5", "L4/5"             neighbours: the disc between them
    "L1-L5"                     not neighbours: the vertebrae L1 … L5
    "L4 to L5"                  always vertebrae, as in "vertebrae L4-L5"
    "discs L1-S1"               the discs from L1 down to S1
"""

from dataclasses import replace
from itertools import pairwise

from nomina.anatomy.expressions import (
    Expression,
    disc_between,
    find_disc,
    names_from_to,
    of_kind,
    several,
    single,
)
from nomina.anatomy.levels import LEVELS, REGIONS, levels_in
from nomina.anatomy.phrase_items import Item
from nomina.anatomy.structures import structure, vocabulary
from nomina.errors import PromptError

MR_WEIGHTINGS = ("T1", "T2")
"""Levels that are also names of MR weightings."""

_PLURALS = {"vertebra": "vertebrae", "disc": "discs", "spine": "spine", "everything": "everything"}


def plain(item: Item) -> Expression:
    """What an item without a relation names.

    Raises:
        PromptError: It names nothing, or can mean two things.
    """
    if len(item.words) == 1 and item.words[0].kind == "name":
        return single(item.words[0].text)
    _check_words(item)
    if item.of("extreme"):
        return _extreme(item)
    levels = item.of("level")
    if not levels:
        return _with_remarks(item, _group(item))
    for word in item.of("region"):
        if word.region not in {level.region for level in levels}:
            raise PromptError(f"{levels[0].text} is not {word.text}")
    return _with_remarks(item, _one_level(item) if len(levels) == 1 else _several_levels(item))


def _with_remarks(item: Item, found: Expression) -> Expression:
    remarks = {word.remark for word in item.of("noun") if word.remark}
    return replace(found, warnings=(*found.warnings, *sorted(remarks)))


def _check_words(item: Item) -> None:
    sided = item.of("side")
    if sided and not item.of("lung noun"):
        raise PromptError(
            f"{item.text!r}: only the lungs, their lobes and vessels, and the left atrium have a side here"
        )
    tubes = [word.text for word in item.of("name") if word.text in ("spinal canal", "spinal cord")]
    if tubes and item.of("level"):  # "T2 spinal canal", which may be of a T2-weighted scan
        level = item.of("level")[0].text
        raise PromptError(
            f"{item.text!r} is not the name of one structure; say {tubes[0]!r}, or "
            f"'{tubes[0]} at the level of {level}'"
        )
    if item.of("phrase", "name", "lung noun", "side"):
        raise PromptError(f"{item.text!r} is not the name of one structure")
    if item.of("position"):
        raise PromptError(f"{item.text!r} does not say exactly which; name the levels")
    nouns = item.of("noun")
    if nouns and item.noun is None:
        raise PromptError(f"{item.text!r} mixes {' and '.join(noun.text for noun in nouns)}")
    if item.noun is None and item.of("adjective", "level word"):
        raise PromptError(f"{item.text!r} says where, but not whether a vertebra or a disc is meant")


def _group(item: Item) -> Expression:
    """Structures of "lumbar discs", "all vertebrae", "lumbar spine" and "everything"."""
    noun, is_all = item.noun, bool(item.of("all"))
    regions = item.of("region")
    if noun is None and (regions or not is_all or item.text == "both"):
        raise PromptError(f"{item.text!r} does not say what of it; add 'vertebrae', 'discs' or 'spine'")
    if noun and not noun.is_plural and not is_all:
        raise PromptError(f"{item.text!r} does not say which; add a level, or 'all'")
    if item.of("join", "ordinal", "inclusive") or "both" in item.text.split():
        raise PromptError(f"{item.text!r} is not clear; name the levels")
    names = _names_of_group(noun.text if noun else "everything", {word.region for word in regions})
    if not names:
        raise PromptError(f"there is no structure of the kind {item.text!r}")
    kind = noun.text if noun else "everything"
    prefix = "all " if kind in ("vertebra", "disc") else ""
    text = prefix + " ".join([*(REGIONS[word.region] for word in regions), _PLURALS[kind]])
    return Expression(text, tuple(map(structure, names)), is_group=True)


def _names_of_group(kind: str, regions: set[str]) -> list[str]:
    places = {f"{REGIONS[region]} spine" for region in regions}
    found = [item for item in vocabulary().values() if not places or item.region in places]
    if kind == "spine":
        return [item.name for item in found if item.region.endswith(" spine")]  # without canal and cord
    return [item.name for item in found if kind in ("everything", item.kind)]


def _extreme(item: Item) -> Expression:
    """The one of "lowest lumbar vertebra" or "second highest disc", in a standard spine."""
    (word, *more), noun, regions = item.of("extreme"), item.noun, item.of("region")
    if more or item.of("level", "join", "all") or len(regions) > 1:
        raise PromptError(f"{item.text!r} is not clear; name the level")
    if noun is None or noun.text not in ("vertebra", "disc"):
        raise PromptError(f"{item.text!r}: of what? Say for example '{word.text} lumbar vertebra'")
    if noun.is_plural:
        raise PromptError(f"{item.text!r} does not say how many; give a range, for example 'L4 to L5'")
    if noun.text == "vertebra" and not regions:
        raise PromptError(f"{item.text!r} of which region? Say for example '{word.text} lumbar vertebra'")
    standard = [name for name in vocabulary() if set(levels_in(name)) <= set(LEVELS)]
    row = of_kind(noun.text, standard, [region.region for region in regions])
    place = (item.of("ordinal")[0].number if item.of("ordinal") else 1) - 1
    if place >= len(row):
        raise PromptError(
            f"{item.text!r}: there are only {len(row)}" if row else f"there is no {item.text!r}"
        )
    name = row[::-1][place] if word.text == "lowest" else row[place]
    return _with_remarks(item, single(name, _by_anatomy(item.text, name, word.text)))


def _by_anatomy(text: str, name: str, end: str) -> str:
    rare = {"L": " and has no L6", "T": " and has no T13"}.get(name[0], "") if end == "lowest" else ""
    return (
        f"'{text}' is read as {name}, as in a spine that is complete{rare}; it is not looked for in the scan"
    )


def _one_level(item: Item) -> Expression:
    ((level,), noun) = item.of("level"), item.noun
    discs = [name for name in of_kind("disc", vocabulary()) if level.text in levels_in(name)]
    if noun and noun.text == "disc" and "both" in item.text.split():
        return _both_discs(level.text)
    if item.of("all"):
        raise PromptError(f"{level.text} is one level, not a group")
    if any(word.text != "-" or noun is None for word in item.of("join")):
        raise PromptError(f"{item.text!r} lacks a second level")
    if noun is None or noun.text == "vertebra":
        name = f"{level.text} vertebra"
        return single(name, *(_other_meaning(level.text) if noun is None else ()))
    if noun.text == "disc" and discs:
        raise PromptError(f"a disc lies between two vertebrae; say {' or '.join(map(repr, discs))}")
    raise PromptError(f"{item.text!r} is not the name of one structure")


def _both_discs(level: str) -> Expression:
    """The discs of "both discs of L3"."""
    found = structure(f"{level} vertebra")
    near = [(n.split()[0], level) for n in (found.above, found.below) if n]
    names = [disc for pair in near if (disc := find_disc(*pair))]
    if not names:
        raise PromptError(f"no disc touches {level}")
    members = tuple(map(structure, names))
    return Expression(f"discs beside {level} vertebra", members)


def _other_meaning(level: str) -> tuple[str, ...]:
    """What a level without a noun could also mean."""
    if level in MR_WEIGHTINGS:
        return (f"{level!r} is read as the vertebra, not as the MR weighting",)
    if level.startswith("C"):
        return (f"{level!r} is read as the vertebra, not as the nerve root or cord segment of that name",)
    return ()


def _several_levels(item: Item) -> Expression:
    """Two levels are a disc or a range; two pairs are a range of discs."""
    shape = " ".join("L" if w.kind == "level" else w.text for w in item.of("level", "join"))
    levels = [word.text for word in item.of("level")]
    kind = item.noun.text if item.noun else ""
    if kind not in ("", "vertebra", "disc") or "both" in item.text.split():
        raise PromptError(f"{item.text!r} is not clear")
    match shape:
        case "L L" if kind == "disc":
            return single(disc_between(*levels))
        case "L to L" if kind != "disc":
            found = several(names_from_to(f"{levels[0]} vertebra", f"{levels[1]} vertebra"))
            return replace(found, warnings=_not_the_disc(item, *levels))
        case "L - L" | "L / L" | "L to L":
            return _pair(item, levels[0], levels[1], kind)
        case "L - L to L - L" | "L / L to L / L" if kind != "vertebra":
            return several(names_from_to(disc_between(*levels[:2]), disc_between(*levels[2:])))
    raise PromptError(f"{item.text!r} is not clear; separate structures by commas")


def _pair(item: Item, first: str, last: str, kind: str) -> Expression:
    """What "first-last" means; see the table at the top."""
    upper, lower = structure(f"{first} vertebra"), structure(f"{last} vertebra")
    if kind == "vertebra":
        return several(names_from_to(upper.name, lower.name))
    disc = find_disc(first, last)
    if disc:
        choice = f"'{first}-{last}' is read as the disc; for both vertebrae say '{first} to {last}'"
        return single(disc, *([choice] if kind == "" else []))
    if lower.name in (upper.name, upper.below, upper.above):
        raise PromptError(f"there is no disc between {first} and {last}")
    vertebrae = names_from_to(upper.name, lower.name)
    if kind == "":
        return several(
            vertebrae, f"'{first}-{last}' is read as vertebrae; for discs say 'discs {first}-{last}'"
        )
    if item.noun is None or not item.noun.is_plural:
        raise PromptError(f"{first} and {last} are not neighbours, so no single disc lies between them")
    return several([disc_between(*(name.split()[0] for name in pair)) for pair in pairwise(vertebrae)])


def _not_the_disc(item: Item, first: str, last: str) -> tuple[str, ...]:
    if item.noun is None and find_disc(first, last):
        return (f"{item.text!r} is read as both vertebrae; for the disc between them say '{first}-{last}'",)
    return ()
