"""YAML and JSON that nobody vouches for."""

import os
from pathlib import Path

import pytest

from nomina.anatomy.schemes import LabelScheme
from nomina.config import load_config
from nomina.errors import ConfigError
from nomina.learning.recipe import Recipe
from nomina.plain_files import MAX_BYTES, json_object, parse_yaml, read_json, read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


def test_plain_data_comes_back_with_aliases_followed() -> None:
    assert parse_yaml("a: &x [1, 2.5, null]\nb: *x\nc: {<<: {d: yes}}") == {
        "a": [1, 2.5, None],
        "b": [1, 2.5, None],
        "c": {"d": True},
    }
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "more than 20000 values"),
        ("a: &a [*a]", "an alias names a value that holds it"),
        ("name: " + "[" * 90_000, "nested too deeply"),
        ("- " * 20_000, "nested too deeply"),
        ("x" * (MAX_BYTES + 1), "longer than"),
        ("name: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("name: 2001-99-99", "month must be in"),
        ("name: 0b_", "invalid literal"),
        ("name: " + "9" * 6000, "4300"),
        ("a: b: c", "mapping values"),
        ("\0", "special characters"),
    ],
)
def test_hostile_yaml_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_yaml(text)


def test_json_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a.json")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for read in (read_yaml, read_json):
        with pytest.raises(ValueError, match="no file"):
            read(tmp_path / "pipe.yaml")


def test_a_number_of_thousands_of_digits_is_named_without_writing_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"name: 0x{'f' * 9000}\n")
    with pytest.raises(ConfigError, match="a number of thousands of digits"):
        load_config(Recipe, tmp_path / "a.yaml")


def test_faults_are_said_without_the_words_of_the_validator(tmp_path: Path) -> None:
    path = tmp_path / "scheme.yaml"
    path.write_text("name: mine\nversion: '1'\nsource: me\nlabels: {70000: L4 vertebra}\n")
    with pytest.raises(ConfigError, match=r"\(top\): scheme 'mine': values must lie in 1 … 65535") as error:
        load_config(LabelScheme, path)
    assert "Value error" not in str(error.value)


@pytest.mark.parametrize("text", [None, "", "[1, 2]", "3", "{", "[" * 100_000])
def test_what_is_no_json_object_holds_nothing(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    assert json_object(path) == {}
    path.write_text('{"a": [1]}')
    assert json_object(path) == {"a": [1]}
    assert json_object(tmp_path) == {}
