"""Free text → structures: what is understood, what is refused, what is never guessed."""

import contextlib
import re
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nomina.anatomy.phrase_words import is_negated
from nomina.anatomy.resolve import explain, nearest_phrases, regions_needed, resolve, resolve_targets
from nomina.anatomy.structures import vocabulary
from nomina.errors import PromptError

LEVELS = [name.removesuffix(" vertebra") for name in vocabulary() if name.endswith(" vertebra")]
DISCS = [name for name in vocabulary() if name.endswith(" disc")]
FEW = settings(max_examples=60, deadline=None)
MODEL = ["T12 vertebra", "L1 vertebra", "L2 vertebra", "L1-L2 disc", "L2-L3 disc", "spinal canal"]


def names(text: str, **kwargs: list[str]) -> list[str]:
    return [found.name for found in resolve(text, **kwargs)]


def vertebrae(*levels: str) -> list[str]:
    return [f"{level} vertebra" for level in levels]


def discs(*pairs: str) -> list[str]:
    return [f"{pair} disc" for pair in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L4", vertebrae("L4")),
        ("l 4", vertebrae("L4")),
        ("L-4", vertebrae("L4")),
        ("vertebra L4", vertebrae("L4")),
        ("vertebrae_L4", vertebrae("L4")),
        ("4th lumbar vertebra", vertebrae("L4")),
        ("the fourth lumbar vertebra", vertebrae("L4")),
        ("vertebra lumbalis IV", vertebrae("L4")),
        ("L4 vertebral body", vertebrae("L4")),
        ("Please segment the L4 vertebra", vertebrae("L4")),
        ("Th12", vertebrae("T12")),
        ("D12", vertebrae("T12")),
        ("atlas", vertebrae("C1")),
        ("first sacral segment", vertebrae("S1")),
        ("L4/5", discs("L4-L5")),
        ("L4-5 disk", discs("L4-L5")),
        ("L4–L5", discs("L4-L5")),
        ("L4 / L5 disc", discs("L4-L5")),
        ("disc L4 to L5", discs("L4-L5")),
        ("L5/L4 disc", discs("L4-L5")),
        ("L5/S", discs("L5-S1")),
        ("Th12/L1", discs("T12-L1")),
        ("T12-T13 disc", discs("T12-T13")),
        ("intervertebral disc between L4 and L5", discs("L4-L5")),
        ("disc between the fourth and fifth lumbar vertebrae", discs("L4-L5")),
        ("disc between twelfth thoracic and first lumbar vertebra", discs("T12-L1")),
        ("disc at the L4/5 level", discs("L4-L5")),
        ("spinal canal", ["spinal canal"]),
        ("canalis vertebralis", ["spinal canal"]),
        ("cord", ["spinal cord"]),
        ("os sacrum", ["sacrum"]),
        ("left pulmonary artery", ["left pulmonary artery"]),
        ("Pulmonary veins", ["pulmonary vein"]),
        ("lower lobe of the right lung", ["right lower lobe"]),
        ("LUL", ["left upper lobe"]),
        ("trachea", ["trachea"]),
    ],
)
def test_one_structure_is_found_however_it_is_said(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L2 to L4", vertebrae("L2", "L3", "L4")),
        ("from L4 through L2", vertebrae("L2", "L3", "L4")),
        ("L4 to L5", vertebrae("L4", "L5")),
        ("vertebrae L4-L5", vertebrae("L4", "L5")),
        ("L1-L3", vertebrae("L1", "L2", "L3")),
        ("T11 to L2", vertebrae("T11", "T12", "L1", "L2")),
        ("L4 to L6", vertebrae("L4", "L5", "L6")),
        ("T12 to T13", vertebrae("T12", "T13")),
        ("L5-S2", vertebrae("L5", "S1", "S2")),
        ("discs L3-S1", discs("L3-L4", "L4-L5", "L5-S1")),
        ("discs T11-L2", discs("T11-T12", "T12-L1", "L1-L2")),
        ("L1-L2 to L3-L4 discs", discs("L1-L2", "L2-L3", "L3-L4")),
        ("L4-L6 discs", discs("L4-L5", "L5-L6")),
    ],
)
def test_a_pair_of_levels_is_a_disc_or_a_range(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L3 and L4", vertebrae("L3", "L4")),
        ("L4, L3 & spinal canal", [*vertebrae("L4", "L3"), "spinal canal"]),
        ("L3, 4 and 5", vertebrae("L3", "L4", "L5")),
        ("fourth and fifth lumbar vertebrae", vertebrae("L4", "L5")),
        ("lumbar vertebrae 3 and 4", vertebrae("L3", "L4")),
        ("L3/4 and 4/5 discs", discs("L3-L4", "L4-L5")),
        ("discs L1-L3 and L4-S1", discs("L1-L2", "L2-L3", "L4-L5", "L5-S1")),
        ("L1-L2 and L2-L3 vertebrae", vertebrae("L1", "L2", "L3")),
        ("L4, L4-L5", [*vertebrae("L4"), *discs("L4-L5")]),
        ("L4 and L4 vertebra", vertebrae("L4")),
        ("vertebrae L3 and L4, disc L4-5", [*vertebrae("L3", "L4"), *discs("L4-L5")]),
    ],
)
def test_lists_keep_the_order_asked(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all vertebrae", [name for name in vocabulary() if name.endswith(" vertebra")]),
        ("every disc", DISCS),
        ("everything", list(vocabulary())),
        ("All", list(vocabulary())),
        ("lumbar vertebrae", vertebrae("L1", "L2", "L3", "L4", "L5", "L6")),
        ("all thoracic discs", [n for n in DISCS if n.startswith("T")]),
        ("cervical and thoracic discs", [n for n in DISCS if n[0] in "CT"]),
        ("whole spine", [n for n, found in vocabulary().items() if found.region.endswith(" spine")]),
    ],
)
def test_groups_hold_all_of_their_kind(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_lumbar_vertebrae_and_discs_are_both_lumbar() -> None:
    assert set(names("lumbar vertebrae and discs")) == {
        name for name, found in vocabulary().items() if found.region == "lumbar spine"
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vertabra L4", "L4 vertebra"),
        ("forth? no: fourth lumbar vertebra", None),
        ("spinal cannal", "spinal canal"),
        ("lumber vertebra 4", "L4 vertebra"),
        ("intravertebral disc L4-L5", "L4-L5 disc"),
        ("coccix", "coccyx"),
    ],
)
def test_small_misspellings_are_read_and_reported(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(PromptError):
            resolve(text)
        return
    found = explain(text)
    assert [item.name for item in found.structures] == [expected]
    assert len(found.corrections) == 1


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "   ",
            ",",
            "and",
            "?",
            "L",
            "-",
            "banana",
            "left kidney",
            "lung",
            "left artery",
            "card",
            "cold",
            "SC",
            "desks",
            "spire",
        ),
        *("L9", "L0", "C8", "T14", "S6", "L44", "L45 disc", "L4a", "1L4", "L4-L7 disc", "L" + "9" * 5000),
        *(
            "no L4",
            "not the canal",
            "except L4",
            "L4 except L5",
            "L4 except L4",
            "everything except",
            "all discs except L4",
            "all discs except L4-5 but L5-S1",
            "all discs except L5-S1 and the canal",
            "non-lumbar discs",
        ),
        *("L4 lesion", "L4 pedicle", "L4 endplate", "L4 nerve root", "T1 weighted L4", "T2 spinal canal"),
        *("thecal sac", "anal canal", "vertebral artery", "canal below L4", "sacrum at S1"),
        *("L4 L5", "L4L5", "disc L4", "discs L3 and L4", "L4 level", "L3-L5 disc", "L3/4/5 discs", "L4 to"),
        *("L5/1", "T12-1", "L5-S1 disc and 4", "second and L4", "fourth vertebra", "5 lumbar vertebrae"),
        *("C1-C2", "C1-C2 disc", "S1-S2", "L4-L4", "thoracic vertebra L4", "all sacral discs", "T13 to L6"),
        *(
            "disc",
            "vertebra",
            "lumbar",
            "lumbar disc",
            "all L4",
            "between L4 and L5",
            "altas",
            "axiss",
            "-L4",
        ),
        *("forth lumbar vertebra", "fith lumbar vertebra", "vertebra's L4", "x" * 100_000, "L4\x00", "🦴"),
    ],
)
def test_what_can_mean_nothing_or_two_things_is_refused_with_suggestions(text: str) -> None:
    with pytest.raises(PromptError, match="not understood: ") as raised:
        resolve(text)
    message = str(raised.value)
    if is_negated(text):
        assert "Nearest known" not in message
    elif "unknown word" in message:
        assert re.search(r"Nearest known: '|nothing known is like", message)
    else:  # It says what to do, or that there is no such thing.
        assert "nothing known is like" not in message
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("L5/1", "L5-S1 disc"),
        ("vertbra L4", None),
        ("disc L4", "L4-L5 disc"),
    ],
)
def test_the_suggestion_is_what_was_probably_meant(text: str, near: str | None) -> None:
    if near is None:
        assert names(text) == ["L4 vertebra"]
    else:
        with pytest.raises(PromptError, match=near):
            resolve(text)


@pytest.mark.parametrize(
    "text",
    ["lowest vertebra", "vertebra with fracture", "intervertebral foramen", "broken disc", "vertebrol"],
)
def test_no_level_is_offered_that_only_shares_the_word_for_its_kind(text: str) -> None:
    assert [name for name in nearest_phrases(text, vocabulary()) if re.search(r"\d", name)] == []


@FEW
@given(
    st.sampled_from(DISCS), st.sampled_from("-–—‐−/"), st.sampled_from(["", " "]), st.booleans(), st.data()
)
def test_a_disc_is_found_in_every_spelling(
    name: str, dash: str, space: str, upper_case: bool, data: st.DataObject
) -> None:
    upper, lower = name.removesuffix(" disc").split("-")
    if upper[0] == lower[0] and data.draw(st.booleans()):
        lower = lower[1:]
    pair = f"{upper}{space}{dash}{space}{lower}"
    noun = data.draw(st.sampled_from(["disc", "disk", "intervertebral disc", "intervertebral disks"]))
    text = data.draw(st.sampled_from([pair, f"{pair} {noun}", f"{noun} {pair}", f"the {noun} at {pair}"]))
    assert names(text.upper() if upper_case else text.lower()) == [name]


@FEW
@given(
    st.lists(st.sampled_from(list(vocabulary())), min_size=1, max_size=5),
    st.sampled_from([", ", " and ", "; "]),
)
def test_a_list_of_names_is_those_structures_once_each(wanted: list[str], separator: str) -> None:
    assert names(separator.join(wanted)) == list(dict.fromkeys(wanted))


@FEW
@given(st.data())
def test_a_typing_error_in_a_word_never_changes_the_level(data: st.DataObject) -> None:
    """One letter deleted, doubled, swapped, replaced or added: the same structure, or a refusal.

    An error in the level itself ("L4" → "T4", "IV" → "VI") is another level; nobody could know.
    """
    found = vocabulary()[data.draw(st.sampled_from(list(vocabulary())))]
    words = data.draw(st.sampled_from([found.name, *found.synonyms])).split()
    places = [n for n, word in enumerate(words) if word.isalpha() and not re.fullmatch("[IVX]+", word)]
    assume(places)
    place = data.draw(st.sampled_from(places))
    word, letter = words[place], data.draw(st.sampled_from(string.ascii_lowercase))
    at = data.draw(st.integers(0, len(word) - 1))
    head, here, tail = word[:at], word[at], word[at + 1 :]
    edits = [head + tail, head + here + here + tail, head + tail[:1] + here + tail[1:]]
    words[place] = data.draw(st.sampled_from([*edits, head + letter + tail, head + letter + here + tail]))
    with contextlib.suppress(PromptError):
        assert resolve(" ".join(words)) == (found,)


@FEW
@given(st.text(max_size=30))
def test_any_text_gives_structures_or_a_prompt_error(text: str) -> None:
    with contextlib.suppress(PromptError):
        assert resolve(text)


def test_groups_are_restricted_to_what_a_model_knows() -> None:
    assert names("all vertebrae", within=MODEL) == vertebrae("T12", "L1", "L2")
    assert names("lumbar discs", within=MODEL) == discs("L1-L2", "L2-L3")
    assert set(names("everything", within=MODEL)) == set(MODEL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("T10", "this model does not know 'T10 vertebra'; nearest known: T12 vertebra"),
        ("L4-5 disc", "nearest known: L2-L3 disc"),
        ("L1 to L3", "does not know 'L3 vertebra'"),
        ("cervical discs", "nearest known: L1-L2 disc"),
        ("spinal canal and cord", "does not know 'spinal cord'"),
    ],
)
def test_a_structure_that_a_model_does_not_know_is_refused_with_the_nearest(text: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        resolve(text, within=MODEL)


def test_where_a_model_knows_nothing_alike_it_says_what_it_knows() -> None:
    with pytest.raises(PromptError) as refusal:
        resolve("right lung", within=["pulmonary vein", "pulmonary artery"])
    assert str(refusal.value) == (
        "this model does not know 'right lung'; known: pulmonary artery, pulmonary vein"
    )


def test_within_refuses_names_that_are_no_structures() -> None:
    with pytest.raises(PromptError, match="no structure is named 'liver'"):
        resolve("L1", within=["L1 vertebra", "liver"])


def test_several_phrases_are_joined_without_repetition() -> None:
    found = resolve_targets(["L4-5 disk", "L4", "L4 to L5", "disc L4/5"])
    assert [target.structure.name for target in found] == ["L4-L5 disc", "L4 vertebra", "L5 vertebra"]


def test_no_phrase_at_all_is_refused() -> None:
    with pytest.raises(PromptError, match="no structure was asked for"):
        resolve_targets([])


def test_one_string_counts_as_one_phrase() -> None:
    assert [str(target) for target in resolve_targets("L4")] == ["L4 vertebra"]


def test_what_is_like_nothing_known_is_offered_nothing_and_what_is_misspelt_its_name() -> None:
    words = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
    assert min(map(len, words.values())) >= 60
    assert [word for word in words["strange"] if nearest_phrases(word, vocabulary())] == []
    offered = {text: nearest_phrases(text, vocabulary()) for text in words["misspelt"]}
    assert [text for text, name in words["misspelt"].items() if name not in offered[text]] == []


@pytest.mark.parametrize("text", ["no L4 vertebra", "not the spinal canal", "!L4 vertebra", "skip all discs"])
def test_what_is_not_wanted_is_not_offered(text: str) -> None:
    with pytest.raises(PromptError) as refused:
        resolve(text)
    assert "Nearest known" not in str(refused.value)
    assert "nothing known is like" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("right atrium", []),
        ("rigth atriom", []),
        ("atrium dextrum", []),
        ("left atriom", ["left atrium"]),
        ("right pulmonary artery foo", ["right pulmonary artery", "pulmonary trunk", "pulmonary artery"]),
    ],
)
def test_no_phrase_of_the_other_side_is_offered(text: str, offered: list[str]) -> None:
    assert nearest_phrases(text, vocabulary()) == offered


def test_a_structure_that_the_model_does_not_know_is_not_answered_with_the_other_side() -> None:
    known = ["left pulmonary artery", "left pulmonary vein", "pulmonary trunk"]
    with pytest.raises(PromptError, match="nearest known") as refused:
        resolve("right pulmonary artery", within=known)
    assert "left" not in str(refused.value)
    with pytest.raises(PromptError, match="nearest known: left pulmonary artery"):
        resolve("pulmonary artery", within=known)


@pytest.mark.parametrize("words", ["right upper arteries", "inferior right pulmonary artery"])
def test_a_refusal_that_names_the_nearest_offers_nothing_of_the_other_side(words: str) -> None:
    with pytest.raises(PromptError) as refused:
        resolve(words)
    assert "'right pulmonary artery'" in str(refused.value)
    assert "left" not in str(refused.value)


def test_what_lies_in_a_lobe_is_a_part_that_resolve_refuses_and_explain_says() -> None:
    found = explain("RLL arteries", within=["pulmonary artery"])
    assert found.expression == "pulmonary artery within right lower lobe"
    assert [str(target) for target in found.targets] == ["pulmonary artery within right lower lobe"]
    assert [target.is_part for target in found.targets] == [True]
    assert "right lower lobe" in regions_needed(found.targets)
    assert regions_needed(explain("pulmonary artery").targets) == ""
    with pytest.raises(PromptError, match="is a part of pulmonary artery"):
        resolve("RLL arteries")
