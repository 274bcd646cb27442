"""Items that name a structure by another: "disc below L4", "vertebrae between L2 and L5", "canal at L3".

above, below    a singular noun is the neighbour, a plural one is all of them to the end of the spine
beside          the neighbours on both sides
between         without both ends, unless "inclusive" is said
at              the part of the canal or cord (or of a lung structure) at the height of vertebrae or discs
"""

from collections.abc import Sequence
from dataclasses import replace

from nomina.anatomy.expressions import Expression, of_kind, several, single, stack
from nomina.anatomy.levels import REGIONS, levels_of
from nomina.anatomy.lexicon import Word
from nomina.anatomy.phrase_items import Item, item_of
from nomina.anatomy.phrase_levels import MR_WEIGHTINGS, plain
from nomina.anatomy.phrase_lung import lung
from nomina.anatomy.structures import structure, vocabulary
from nomina.errors import PromptError

_STACKED = ("vertebra", "disc")
_ALONG_THE_SPINE = (*_STACKED, "sacrum", "coccyx")


def compiled(item: Item) -> Expression:
    """What one item names.

    Raises:
        PromptError: It names nothing, or can mean two things.
    """
    place = item.relation
    if place is None:
        if item.is_of_lung:
            return lung(item)
        return _cut(item, ()) if _has_uncut_head(item) and len(item.words) > 1 else plain(item)
    head, rest = item.words[:place], item.words[place + 1 :]
    word = item.words[place].text
    if any(other.kind == "relation" for other in rest):
        raise PromptError(f"{item.text!r} relates more than two things; name the levels")
    if word == "at":
        if item.noun and item.noun.text in _STACKED:  # "disc at the L4/5 level"
            kept = [w for w in (*head, *rest) if w.kind != "level word"]
            return plain(item_of(kept))
        return _cut(Item(head), rest)
    if not head:
        raise PromptError(f"{item.text!r} says where, but not what; add 'disc' or 'vertebra' before it")
    if item.noun is None or item.noun.text not in (*_STACKED, "everything"):
        raise PromptError(
            f"{item.text!r}: only vertebrae and discs are named by what lies {word} them; for a part of the "
            f"canal say for example 'canal at L3'"
        )
    _check_head(item, head)
    if word == "between":
        return _between(item, rest)
    anchor = _anchor(rest)
    found = _beside(item, anchor) if word == "beside" else _onwards(item, word, anchor)
    # "Disc below the lowest lumbar vertebra" takes the choice that its anchor takes.
    choices = plain(item_of(rest)).warnings if item.of("extreme") else ()
    return replace(found, warnings=(*found.warnings, *choices))


def _check_head(item: Item, head: Sequence[Word]) -> None:
    strange = [w.text for w in head if w.kind not in ("noun", "adjective", "region", "all")]
    if strange:
        raise PromptError(f"{item.text!r} is not clear before its relation: {', '.join(strange)}")


def _regions(item: Item) -> list[str]:
    """Letters of the regions said before the relation: "lumbar vertebrae" of "lumbar vertebrae below T10"."""
    return [word.region for word in item.words[: item.relation] if word.kind == "region"]


def _anchor(words: Sequence[Word]) -> str:
    """The one vertebra or disc that another is related to; the sacrum counts as S1."""
    if not words:
        raise PromptError("the relation lacks its second structure")
    if [word.text for word in words] == ["sacrum"]:
        return "S1 vertebra"
    found = plain(item_of(words))
    if len(found.members) != 1 or found.is_group or found.members[0].kind not in _STACKED:
        raise PromptError(f"{found.text} is not one vertebra or disc, so nothing can be named by it")
    return found.members[0].name


def _neighbour(anchor: str, kind: str, word: str) -> str | None:
    """The next structure of a kind; a vertebra and a disc are neighbours only where they touch."""
    row = stack(anchor)
    step = 1 if word == "below" else -1
    place = row.index(anchor) + step
    reach = 2 if structure(anchor).kind == kind else 1
    ahead = [row[n] for n in range(place, place + reach * step, step) if 0 <= n < len(row)]
    return next((name for name in ahead if structure(name).kind == kind), None)


def _onwards(item: Item, word: str, anchor: str) -> Expression:
    """Above or below: the neighbour, or all there are."""
    regions = _regions(item)
    kind = item.noun.text if item.noun else ""
    if item.noun and item.noun.is_corrected:
        raise PromptError(
            f"one {kind} {word} {anchor}, or all? Spell it as 'disc', 'discs', 'vertebra' or 'vertebrae'"
        )
    if kind == "everything" or item.of("all") or (item.noun and item.noun.is_plural):
        return _all_onwards(kind, regions, word, anchor)
    name = _neighbour(anchor, kind, word)
    if name is None or (regions and name[0] not in regions):
        raise PromptError(f"there is no {kind} {word} {anchor}" + (" in that region" if name else ""))
    return Expression(f"{kind} {word} {anchor}", (structure(name),))


def _all_onwards(kind: str, regions: Sequence[str], word: str, anchor: str) -> Expression:
    row = [name for name, found in vocabulary().items() if found.kind in _ALONG_THE_SPINE]
    place = row.index(anchor)
    beyond = row[place + 1 :] if word == "below" else [name for name in row[:place] if name != "sacrum"]
    names = of_kind("" if kind == "everything" else kind, beyond, regions)
    if not names:
        raise PromptError(f"nothing of that kind lies {word} {anchor}")
    plural = {"vertebra": "vertebrae", "disc": "discs"}.get(kind, "everything")
    head = " ".join([*(REGIONS[region] for region in regions), plural])
    choice = f"'{head} {word} {anchor}' is read as all of them; for the next one say '{kind} {word} …'"
    return Expression(
        f"{head} {word} {anchor}",
        tuple(map(structure, names)),
        is_group=True,
        warnings=(choice,) if kind != "everything" else (),
    )


def _beside(item: Item, anchor: str) -> Expression:
    noun = item.noun.text if item.noun else ""
    if item.noun is None or noun == "everything":
        raise PromptError(f"{item.text!r} is not clear; say 'discs' or 'vertebrae'")
    found = [_neighbour(anchor, noun, word) for word in ("above", "below")]
    names = [name for name in found if name]
    if len(names) > 1 and not (item.noun.is_plural or item.of("all")):
        raise PromptError(f"{item.text!r} can be {' or '.join(names)}; say 'above' or 'below'")
    if not names:
        raise PromptError(f"no {noun} lies beside {anchor}")
    plural = {"vertebra": "vertebrae", "disc": "discs"}[noun]
    return Expression(f"{plural} beside {anchor}", tuple(map(structure, names)))


def _between(item: Item, rest: Sequence[Word]) -> Expression:
    noun = item.noun.text if item.noun else ""
    is_inclusive = any(word.kind == "inclusive" for word in rest)
    ends = _ends([word for word in rest if word.kind != "inclusive"], noun)
    if isinstance(ends, Expression):
        return ends
    row = stack(*ends)
    low, high = sorted(map(row.index, ends))
    inside = row[low : high + 1] if is_inclusive else row[low + 1 : high]
    kind = "" if noun == "everything" else noun
    names = of_kind(kind, inside, _regions(item))
    if not names:
        raise PromptError(f"there is no {noun} between {ends[0]} and {ends[1]}")
    is_one = item.noun is not None and not item.noun.is_plural and not item.of("all")
    if is_one and len(names) > 1:
        raise PromptError(
            f"{ends[0]} and {ends[1]} are not neighbours, so no single {noun} lies between them"
        )
    if len(names) == 1:
        return single(names[0])
    if noun == "disc":
        return several(names)
    members = tuple(map(structure, names))
    plural = {"vertebra": "vertebrae"}.get(noun, "everything")
    text = f"{plural} between {ends[0]} and {ends[1]}{' inclusive' if is_inclusive else ''}"
    choice = f"'between' is read without its ends {ends[0]} and {ends[1]}; add 'inclusive' for both"
    return Expression(text, members, warnings=() if is_inclusive else (choice,))


def _ends(words: Sequence[Word], noun: str) -> tuple[str, str] | Expression:
    """Both ends of "between L2 and L5"; for "disc between L4-L5" already the disc."""
    places = [place for place, word in enumerate(words) if word.text == "and"]
    if places:
        return _anchor(words[: places[0]]), _anchor(words[places[0] + 1 :])
    found = plain(item_of(words)) if words else None
    if found and noun == "disc" and [member.kind for member in found.members] == ["disc"]:
        return replace(found, warnings=())
    if found and len(found.members) > 1 and not found.is_group:
        return found.members[0].name, found.members[-1].name
    raise PromptError("'between' needs two structures joined by 'and'")


def _has_uncut_head(item: Item) -> bool:
    """True for a canal or cord beside levels or a region: "canal of L3", "L3 canal", "lumbar spinal canal".

    A level before it may be an MR weighting: "T2 spinal canal".
    """
    names = [place for place, word in enumerate(item.words) if word.kind == "name"]
    if len(names) != 1 or item.words[names[0]].text not in ("spinal canal", "spinal cord"):
        return False
    before, after = item.words[: names[0]], item.words[names[0] + 1 :]
    fits = all(word.kind in ("level", "region", "join", "noun", "level word") for word in after)
    return fits and all(
        word.kind in ("region", "level", "join", "level word") and word.text not in MR_WEIGHTINGS
        for word in before
    )


def _cut(item: Item, rest: Sequence[Word]) -> Expression:
    """The part of a long structure at the height of others."""
    long = [word for word in item.words if word.kind == "name" or item.is_of_lung]
    others = [*(word for word in item.words if word not in long), *rest]
    if not long or not others:
        raise PromptError(f"{item.text!r} with a level: say what is wanted and where, as in 'canal at L3'")
    head = lung(Item(tuple(long))) if item.is_of_lung else plain(Item(tuple(long)))
    if head.inside:
        raise PromptError(f"{head.text} is a part already; leave the level or the lobe out")
    if any(m.region != "lung" and m.kind not in ("canal", "cord") for m in head.members):
        raise PromptError(f"{head.text} lies at one level; only the canal, the cord and the lungs can be cut")
    ends, warnings = _heights([word for word in others if word.kind != "level word"])
    text = " to ".join(dict.fromkeys(end for end in ends))
    return Expression(
        f"{head.text} at {text}",
        head.members,
        at=tuple(map(structure, dict.fromkeys(ends))),
        warnings=warnings,
    )


def _heights(words: Sequence[Word]) -> tuple[list[str], tuple[str, ...]]:
    """Names of the highest and the lowest structure of a height, and the choices that were taken."""
    regions = [word for word in words if word.kind == "region"]
    if regions and len(regions) == len([word for word in words if word.kind != "noun"]):
        if len(regions) > 1:
            raise PromptError("name one region, or a range as in 'canal from T10 to L2'")
        levels = levels_of(regions[0].region)
        name = REGIONS[regions[0].region]
        warning = f"'{name}' is read as from the top of {levels[0]} to the bottom of {levels[-1]}"
        return [f"{levels[0]} vertebra", f"{levels[-1]} vertebra"], (warning,)
    if any(word.kind in ("relation", "list") for word in words):
        raise PromptError("the height is not clear; name a level, or a range as in 'canal from T10 to L2'")
    if [word.text for word in words] == ["sacrum"]:
        return ["sacrum"], ()
    found = plain(item_of(words))
    if found.is_group or any(member.kind not in _STACKED for member in found.members):
        raise PromptError(f"{found.text} is no height; name a level, or a range as in 'canal from T10 to L2'")
    return [found.members[0].name, found.members[-1].name], found.warnings
