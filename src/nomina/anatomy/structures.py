"""`Structure`: one thing in the body that can be named, and the vocabulary of all of them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from nomina.anatomy.levels import REGIONS
from nomina.errors import PromptError

ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh"),
    *("eighth", "ninth", "tenth", "eleventh", "twelfth", "thirteenth"),
)
"""Word for each number from 1 on, as far as vertebrae are counted."""

ROMANS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii")
"""Roman numeral of each number from 1 on."""

_LATIN = {"C": "cervicalis", "T": "thoracica", "L": "lumbalis", "S": "sacralis"}


@dataclass(frozen=True)
class Structure:
    """A named anatomical structure; instances come from the YAML files in `vocabulary/`."""

    name: str
    """The one name used everywhere, e.g. "L4 vertebra", "L4-L5 disc", "spinal canal"."""
    kind: str
    """What it is: "vertebra", "disc", "canal", "cord", "sacrum", "coccyx", "artery", "vein", "lobe" …"""
    region: str
    """Part of the body: "cervical spine", "thoracic spine" … "sacral spine", "spine" (all of it), "lung"."""
    snomed_code: str
    """SNOMED CT code of the structure."""
    snomed_meaning: str
    """SNOMED CT (DICOM) meaning of the code."""
    colour: tuple[int, int, int]
    """Display colour, sRGB 0 to 255."""
    label: int
    """Value in the `nomina` label scheme."""
    synonyms: tuple[str, ...] = ()
    """Other names, Latin and English, and abbreviations."""
    above: str | None = None
    """Name of the next structure of the same kind towards the head."""
    below: str | None = None
    """Name of the next structure of the same kind towards the feet."""
    side: str | None = None
    """"left", "right" or None for midline structures."""
    part_of: str | None = None
    """Name of the structure that includes this one: the sacrum for S1, the spinal canal for the cord."""


@cache
def vocabulary() -> Mapping[str, Structure]:
    """Every structure that can be named, by name; read-only, file by file: the lungs, then the spine.

    The spine goes from head to feet; structures that span its levels come last.

    `above` and `below` of T13, L6 and their discs name their neighbours, which in turn name each other:
    in a standard spine T12 is followed by L1.
    """
    structures: dict[str, Structure] = {}
    for file in sorted((files("nomina.anatomy") / "vocabulary").iterdir(), key=lambda item: item.name):
        if file.name.endswith(".yaml"):
            structures |= _read_structures(yaml.safe_load(file.read_text(encoding="utf-8")))
    return MappingProxyType(structures)


def structure(name: str) -> Structure:
    """The structure with exactly this name.

    Raises:
        PromptError: There is none; the nearest names are listed. `resolve` understands free text.
    """
    try:
        return vocabulary()[name]
    except KeyError:
        near = ", ".join(map(repr, nearest(name, vocabulary())))
        raise PromptError(f"no structure is named {name!r}; nearest names: {near}") from None


def nearest(text: str, candidates: Iterable[str]) -> list[str]:
    """The up to three candidates spelled most like `text`, best first; at least one where there are any."""
    spelled = {candidate.casefold(): candidate for candidate in candidates}
    text = text.casefold()
    found = difflib.get_close_matches(text, spelled, cutoff=0.5)
    return [spelled[key] for key in found or difflib.get_close_matches(text, spelled, cutoff=0.0)]


def _read_structures(data: dict[str, Any]) -> dict[str, Structure]:
    entries = [entry | {"region": region} for region, group in data["structures"].items() for entry in group]
    result: dict[str, Structure] = {}
    for entry in entries:
        above, below = _kin(entry, entries) if data.get("is_stacked", True) else (None, None)
        code, meaning = entry["snomed"]
        result[entry["name"]] = Structure(
            name=entry["name"],
            kind=entry["kind"],
            region=entry["region"],
            snomed_code=code,
            snomed_meaning=meaning,
            colour=tuple(entry["colour"]),
            label=entry["label"],
            synonyms=(*entry.get("synonyms", ()), *_regular_synonyms(entry, data["synonym_patterns"])),
            above=above,
            below=below,
            side=entry.get("side"),
            part_of=entry.get("part_of"),
        )
    return result


def _kin(entry: dict[str, Any], entries: list[dict[str, Any]]) -> tuple[str | None, str | None]:
    """Names of the structures above and below; those of a standard spine follow from the order."""
    if "kin" in entry:
        above, below = entry["kin"]
        return above, below
    row = [other["name"] for other in entries if other["kind"] == entry["kind"] and "kin" not in other]
    padded = [None, *row, None]
    place = padded.index(entry["name"])
    return padded[place - 1], padded[place + 1]


def _regular_synonyms(entry: dict[str, Any], patterns: dict[str, list[str]]) -> list[str]:
    """Synonyms that follow from the level, e.g. "L4-5 disk" of "L4-L5 disc"."""
    levels = re.findall(r"([CTLS])(\d+)", entry["name"])
    if entry["kind"] == "vertebra":
        ((letter, number),) = levels
        kinds = ["vertebra", f"{REGIONS[letter]} vertebra"]
        words = _level_words(letter, int(number))
    elif entry["kind"] == "disc":
        (upper_letter, upper), (lower_letter, lower) = levels
        kinds = ["disc", "disc within a region"] if upper_letter == lower_letter else ["disc"]
        words = {
            "upper": upper_letter + upper,
            "lower": lower_letter + lower,
            "lower_number": lower,
            "upper_ordinal": ORDINALS[int(upper) - 1],
            "lower_ordinal": ORDINALS[int(lower) - 1],
            "region": REGIONS[upper_letter],
        }
    else:
        return []
    return [pattern.format(**words) for kind in kinds for pattern in patterns.get(kind, ())]


def _level_words(letter: str, number: int) -> dict[str, str]:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
    return {
        "level": f"{letter}{number}",
        "region": REGIONS[letter],
        "latin": _LATIN[letter],
        "number": str(number),
        "nth": f"{number}{ending}",
        "ordinal": ORDINALS[number - 1],
        "roman": ROMANS[number - 1].upper(),
    }
