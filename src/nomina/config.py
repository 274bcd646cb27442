"""Frozen dataclasses ⇄ YAML and JSON: the one place that validates."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError

from nomina.errors import ConfigError
from nomina.plain_files import parse_yaml, read_yaml

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass; unknown keys in a file are refused."""
    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def load_config(
    cls: type[T], path: Path | str, overrides: Sequence[str] = (), *, dotted: Sequence[str] = ()
) -> T:
    """Read a YAML file into a config dataclass.

    Args:
        cls: The dataclass, decorated with `config`.
        path: YAML file.
        overrides: `section.key=value` items that replace values of the file; values are read as YAML.
        dotted: Sections whose own keys are dotted names, such as `train.steps: 1500`.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not valid; all faults are listed.
    """
    return parse_config(cls, read_config(path, overrides, dotted=dotted), source=str(path))


def read_config(
    path: Path | str, overrides: Sequence[str] = (), *, dotted: Sequence[str] = ()
) -> dict[str, Any]:
    """What `load_config` validates, for files of which the content says what they are.

    Raises:
        ConfigError: The file cannot be read, or an override fits nothing in it.
    """
    path = Path(path)
    try:
        data = read_yaml(path) or {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, got a {type(data).__name__}")
    for item in overrides:
        _override(data, item, dotted)
    return data


def parse_config(cls: type[T], data: Any, *, source: str) -> T:
    """Validate plain data (from YAML or JSON) as a config dataclass; `source` names it in errors."""
    try:
        return TypeAdapter(cls).validate_python(data)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, fault['loc'])) or '(top)'}: {fault['msg'].removeprefix('Value error, ')} "
            f"(got {_shown(fault['input'])})"
            for fault in error.errors()
        ]
        raise ConfigError(
            f"{source} is not a valid {getattr(cls, '__name__', 'config')}:\n" + "\n".join(lines)
        ) from error


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python refuses to write numbers of thousands of digits.
        return "a number of thousands of digits"


def to_plain(value: Any) -> Any:
    """A config dataclass as plain dicts and lists, fit for YAML and JSON."""
    return json.loads(TypeAdapter(type(value)).dump_json(value))


def _override(data: dict[str, Any], item: str, dotted: Sequence[str]) -> None:
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise ConfigError(f"an override reads section.key=value, got {item!r}")
    names = key.strip().split(".")
    while len(names) > 1:
        section, *names = names
        found = data.get(section, {})
        if not isinstance(found, dict):
            raise ConfigError(f"override {item!r}: {section!r} is a value, not a section")
        # A copy: YAML gives a section and its aliases as one object, and only this place is to change.
        data[section] = dict(found)
        data = data[section]
        whole = ".".join(names)
        if section in dotted and (whole in data or names[0] not in data):
            names = [whole]
    try:
        data[names[0]] = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"override {item!r}: its value is not YAML: {error}") from error
