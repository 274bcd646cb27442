"""Typed words: how text is cut up and which misspellings are read."""

import pytest

from nomina.anatomy.phrase_words import normalise, read_words
from nomina.errors import PromptError


def read(text: str) -> list[tuple[str, str]]:
    return [(word.kind, word.text) for word in read_words(text)[0]]


def test_case_dashes_brackets_and_spaces_are_made_plain() -> None:
    assert normalise("  “L4”\u2013\u00a0L5\t(Disc)! ") == "l4 - l5 disc"
    assert normalise("Ⅳ") == "iv"


def test_fillers_and_an_opening_verb_are_left_out() -> None:
    assert read("Please show me the body of L4") == [("noun", "vertebra"), ("level", "L4")]


def test_numbers_take_the_region_named_before_them() -> None:
    assert read("L3, 4/5") == [
        ("level", "L3"),
        ("list", ","),
        ("level", "L4"),
        ("join", "/"),
        ("level", "L5"),
    ]


def test_ordinals_take_the_region_named_after_them() -> None:
    levels = [
        text for kind, text in read("twelfth thoracic, first and 2nd lumbar vertebrae") if kind == "level"
    ]
    assert levels == ["T12", "L1", "L2"]


def test_a_short_s_after_l5_is_s1() -> None:
    assert read("L5-S") == [("level", "L5"), ("join", "-"), ("level", "S1")]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("vertbra", "vertebra"), ("vertabrae", "vertebrae"), ("cannal", "canal"), ("lumbr", "lumbar")],
)
def test_a_misspelt_word_is_read_and_said(typed: str, meant: str) -> None:
    words, corrections = read_words(typed)
    assert corrections == (f"{typed!r} read as {meant!r}",)
    assert words == read_words(meant)[0]


@pytest.mark.parametrize(
    "word", ["forth", "sixt", "fourht", "altas", "banal", "spain", "card", "sacrul", "desks"]
)
def test_words_that_tell_a_level_or_are_far_off_are_never_corrected(word: str) -> None:
    with pytest.raises(PromptError, match=f"unknown word '{word}'"):
        read_words(word)


def test_every_unknown_word_is_named() -> None:
    with pytest.raises(PromptError, match="unknown words 'swollen', 'kidney'"):
        read_words("swollen kidney")
