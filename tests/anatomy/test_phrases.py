"""What people may type → what it must mean: the table in `phrases.yaml`, and its score."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from nomina.anatomy.lexicon import LEXICON
from nomina.anatomy.resolve import explain, resolve_targets
from nomina.anatomy.structures import vocabulary
from nomina.errors import PromptError

TABLE: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "phrases.yaml").read_text(encoding="utf-8")
)
ROWS = [row for rows in TABLE.values() for row in rows]
ANSWERED = [row for row in ROWS if "refused" not in row]


def names(text: str) -> list[str]:
    """Full names of "V: L1 L2", "D: L1-L2" and "a / b"."""
    if text[:3] in ("V: ", "D: "):
        return [f"{level} {'vertebra' if text[0] == 'V' else 'disc'}" for level in text[3:].split()]
    return text.split(" / ")


THORACOLUMBAR = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1")
MODELS: dict[str | None, list[str] | None] = {
    None: None,
    "spine": [
        *(f"{level} vertebra" for level in THORACOLUMBAR[:-1]),
        *(f"{a}-{b} disc" for a, b in pairwise(THORACOLUMBAR)),
        "spinal canal",
    ],
    "vessels": ["pulmonary artery", "pulmonary vein"],
    "lung": [
        *(f"{side} pulmonary {vessel}" for vessel in ("artery", "vein") for side in ("left", "right")),
        *(f"left {place} lobe" for place in ("upper", "lower")),
        *(f"right {place} lobe" for place in ("upper", "middle", "lower")),
    ],
}


def fault(row: dict[str, Any]) -> str | None:
    """What is wrong with the answer to a row; None where it is right."""
    try:
        found = explain(row["say"], within=MODELS[row.get("within")])
    except PromptError as error:
        if "refused" not in row:
            return f"refused: {error}"
        return None if row["refused"] in str(error) else f"refused for another reason: {error}"
    got = [target.structure.name for target in found.targets]
    if "refused" in row:
        return f"answered: {got}"
    order = list(vocabulary())
    # "spinal canal" of a group stands where the vocabulary has it.
    if got != names(row["means"]) and (len(got) < 7 or sorted(got, key=order.index) != names(row["means"])):
        return f"means {got}"
    at = row.get("at", "")
    at = at if isinstance(at, list) else [at] * len(got)
    if [target.at for target in found.targets] != [tuple(names(ends)) if ends else () for ends in at]:
        return f"at {[target.at for target in found.targets]}"
    inside = row.get("inside", "")
    inside = inside if isinstance(inside, list) else [inside] * len(got)
    if [target.inside for target in found.targets] != inside:
        return f"inside {[target.inside for target in found.targets]}"
    for key, said in (("warns", found.warnings), ("fixes", found.corrections)):
        if bool(said) != (key in row) or row.get(key, "") not in " ".join(said):
            return f"{key}: {said}"
    return None


def test_every_phrase_of_the_table_is_understood_as_it_should_be() -> None:
    faults = {row["say"]: problem for row in ROWS if (problem := fault(row))}
    score = f"{len(ROWS) - len(faults)} of {len(ROWS)} phrases"
    print(score)  # noqa: T201 (seen with `pytest -s`)
    assert not faults, score + "".join(f"\n  {say!r}: {problem}" for say, problem in faults.items())


def test_the_table_is_large_and_has_no_phrase_twice() -> None:
    said = [(row["say"], row.get("within")) for row in ROWS]
    assert len(set(said)) == len(said) >= 250


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row["say"])
def test_the_printed_expression_means_the_same(row: dict[str, Any]) -> None:
    within = MODELS[row.get("within")]
    found = explain(row["say"], within=within)
    again = explain(found.expression, within=within)
    assert again.targets == found.targets
    assert again.expression.replace(";", ",") == found.expression.replace(";", ",")


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row["say"])
def test_one_wrong_letter_never_moves_a_level(row: dict[str, Any]) -> None:
    """Each letter of each word without digits is dropped in turn: the same targets, or a refusal.

    What remains may be another word ("discs" → "disc"); that is no misspelling.
    """
    within = MODELS[row.get("within")]
    expected = set(explain(row["say"], within=within).targets)
    words = row["say"].split(" ")
    for place, word in enumerate(words):
        if not word.isalpha() or word.isupper() or len(word) < 4:
            continue
        for at in range(len(word)):
            shorter = word[:at] + word[at + 1 :]
            if shorter.casefold() in LEXICON:
                continue
            text = " ".join([*words[:place], shorter, *words[place + 1 :]])
            try:
                got = set(resolve_targets([text], within))
            except PromptError:
                continue
            assert got == expected, text
