"""YAML and JSON from files that nobody vouches for: only plain data, of a size that can be worked with."""

import itertools
import json
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**17
"""Longest YAML file [choice: the longest label scheme has 7 KB]."""

MAX_NODES = 20_000
"""Most values of a YAML file, each counted as often as aliases repeat it [choice]."""

_MAX_DEPTH = 100
"""Deepest nesting of brackets: the time that PyYAML takes grows with its square."""

MAX_JSON_BYTES = 256 * 2**20
"""Longest JSON file [choice: the index of a million cases]."""


def parse_yaml(text: str) -> Any:
    """Plain data from YAML text.

    Raises:
        ValueError: It is not YAML, holds anything but plain data, or is too large.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES} bytes")
    if _depth(text) > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _count(root, {}, set())
        return loader.construct_document(root)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (yaml.YAMLError, OverflowError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(str(error)) from error
    finally:
        loader.dispose()


def read_yaml(path: Path) -> Any:
    """Plain data from a YAML file; errors as `parse_yaml`, and OSError."""
    return parse_yaml(_read(path, MAX_BYTES))


def parse_json(text: str) -> Any:
    """Plain data from JSON text.

    Raises:
        ValueError: It is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:
    """Plain data from a JSON file.

    Raises:
        ValueError: It is not JSON, is nested too deeply or too large.
        OSError: It cannot be read.
    """
    return parse_json(_read(path, MAX_JSON_BYTES))


def json_object(path: Path) -> dict[str, Any]:
    """What the object in a JSON file holds; nothing where there is none, or it cannot be read."""
    try:
        data = read_json(path)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _read(path: Path, max_bytes: int) -> str:
    # A pipe would wait for ever, a device never end.
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    if path.exists() and path.stat().st_size > max_bytes:
        raise ValueError(f"it is longer than {max_bytes} bytes")
    return path.read_text(encoding="utf-8")


def _depth(text: str) -> int:
    """How many more brackets are opened than closed, at most; those within texts count too."""
    steps = ((char in "[{") - (char in "]}") for char in text if char in "[]{}")
    return max(itertools.accumulate(steps), default=0)


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Number of values in a node, those behind an alias counted every time."""
    if id(node) in above:
        raise ValueError("an alias names a value that holds it")
    if id(node) not in known:
        above.add(id(node))
        parts = [node.value] if isinstance(node, yaml.ScalarNode) else node.value
        inner = [part for part in parts if isinstance(part, yaml.Node)]
        inner += [part for pair in parts if isinstance(pair, tuple) for part in pair]
        known[id(node)] = 1 + sum(_count(part, known, above) for part in inner)
        above.discard(id(node))
    if known[id(node)] > MAX_NODES:
        raise ValueError(f"it holds more than {MAX_NODES} values, its aliases followed")
    return known[id(node)]
