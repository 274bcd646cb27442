"""Items of the lung → expressions: "right upper lobe", "arteries of the left lung", "veins in the LUL".

The vessels of a lobe are the part of the vessels that lies in it, whichever branch it is of.
"""

from nomina.anatomy.expressions import Expression, single
from nomina.anatomy.phrase_items import Item
from nomina.anatomy.structures import Structure, vocabulary
from nomina.errors import PromptError

_VESSELS = {
    "artery": ["pulmonary artery"],
    "vein": ["pulmonary vein"],
    "vessel": ["pulmonary artery", "pulmonary vein"],
}


def lung(item: Item) -> Expression:
    """What an item of lung words names.

    Raises:
        PromptError: It names nothing, can mean two things, or is finer than the vocabulary.
    """
    nouns = item.of("lung noun")
    kinds = {noun.text for noun in nouns}
    sides = {word.text for word in item.of("side")}
    if not nouns:
        raise PromptError(f"{item.text!r} does not say of what; add for example 'lung' or 'pulmonary artery'")
    if len(sides) > 1 or len(item.of("position")) > 1 or len(kinds - {"lung", "lobe"}) > 1:
        raise PromptError(f"{item.text!r} mixes several structures; separate them by commas")
    side = next(iter(sides), "")
    vessel = next((kind for kind in ("artery", "vein", "vessel") if kind in kinds), None)
    if vessel:
        return _vessels(item, vessel, side)
    is_plural = any(noun.is_plural for noun in nouns) or bool(item.of("all"))
    if "lobe" in kinds:
        return _lobes(item, side, is_plural)
    if item.of("position") or any(word.text == "pulmonary" for word in item.words):
        raise PromptError(
            f"{item.text!r} is not the name of one structure; say for example 'right upper lobe'"
        )
    return _choice(item, _found("lung", side), is_plural)


def _vessels(item: Item, vessel: str, side: str) -> Expression:
    kinds = {noun.text for noun in item.of("lung noun")}
    if "lobe" in kinds:
        return _vessels_within(item, vessel, side)
    if item.of("position"):
        # "Superior pulmonary vein" is one vein, which drains more than the upper lobe.
        lobes = _lobes(item, side, is_plural=True).members
        parts = " or ".join(f"'{_VESSELS[vessel][0]} within {lobe.name}'" for lobe in lobes)
        raise PromptError(f"{item.text!r} is not in the vocabulary; for what lies in a lobe say {parts}")
    if "lung" not in kinds and not any(word.text == "pulmonary" for word in item.words):
        raise PromptError(f"{item.text!r} of what? Say for example '{side or 'left'} pulmonary artery'")
    is_both = any(word.text == "both" for word in item.words)
    sides = [side] if side else ["left", "right"] if is_both else [""]
    names = [f"{one} {name}".strip() for name in _VESSELS[vessel] for one in sides]
    members = tuple(vocabulary()[name] for name in names)
    return single(names[0]) if len(names) == 1 else Expression(", ".join(names), members)


def _vessels_within(item: Item, vessel: str, side: str) -> Expression:
    """The part of the vessels that lies in lobes, which tell the side."""
    lobe_nouns = [noun for noun in item.of("lung noun") if noun.text == "lobe"]
    is_plural = any(noun.is_plural for noun in lobe_nouns) or any(word.text == "both" for word in item.words)
    lobes = _lobes(item, side, is_plural).members
    names = _VESSELS[vessel]
    return Expression(
        ", ".join(f"{name} within {lobe.name}" for name in names for lobe in lobes),
        tuple(vocabulary()[name] for name in names),
        inside=lobes,
    )


def _lobes(item: Item, side: str, is_plural: bool) -> Expression:
    position = next((word.text for word in item.of("position")), "")
    return _choice(
        item,
        [lobe for lobe in _found("lobe", side) if position in lobe.name.split() or not position],
        is_plural,
    )


def _found(kind: str, side: str) -> list[Structure]:
    return [found for found in vocabulary().values() if found.kind == kind and side in ("", found.side)]


def _choice(item: Item, found: list[Structure], is_plural: bool) -> Expression:
    """All of several where a plural asks for them, else the only one."""
    if not found:
        raise PromptError(f"there is no {item.text!r}; only the right lung has a middle lobe")
    if len(found) == 1:
        return single(found[0].name)
    if not is_plural:
        raise PromptError(f"{item.text!r} can be {' or '.join(one.name for one in found)}")
    return Expression(", ".join(one.name for one in found), tuple(found), is_group=True)
