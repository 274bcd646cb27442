"""Hostile YAML and JSON, and checkpoints whose hashes were made to fit the damage."""

import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np

from fuzzing.bombs import MIB
from fuzzing.cases import Expectation, Mutant, Original, mutant

_LAUGHS = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_YAML = (
    _LAUGHS,
    _LAUGHS + "name: *a11\ndata: *a11\n",
    "name: !!python/object/apply:os.system ['touch escaped']\n",
    "!!python/object/new:os._exit [3]\n",
    "name: !!python/name:os.system\n",
    "a: &a [*a]\n",
    "a: &a {b: *a}\nname: *a\n",
    "name: " + "[" * 100_000,
    "name: " + "{a: " * 3000,
    "name: " + "9" * 6000 + "\n",
    "name: 0x" + "f" * 100_000 + "\n",
    "name: 2001-99-99\n",
    "name: 2001-01-01 99:99:99\n",
    "name: 0b_\n",
    "name: 1:2:99:99999999999999\n",
    "name: !!binary " + "A" * 100_001 + "\n",
    "name: !!timestamp x\n",
    "name: !!int ''\n",
    "name: !!float x\n",
    "name: !!set {a, b}\n",
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "<<: [1, 2]\n",
    "name: x\nname: y\n",
    "--- a\n--- b\n",
    "name: 'x\n",
    "\t- a",
    "%YAML 9.9\n---\na: b",
    'name: "\\ud800"\n',
    "name: .nan\ntrain: {learning_rate: .nan, steps: .inf}\n",
    "labels: {.nan: x, .inf: y}\n",
    "name: x\ntrain: {steps: 1e400}\n",
    "- " * 20_000,
    "null",
    "a: b\n" * 300_000,
    "labels: {" + ", ".join(f"{n}: {n}" for n in range(1, 60_000)) + "}\n",
    "\0",
)


def hostile_yaml(rng: np.random.Generator, original: Original) -> Mutant:
    """Aliases that multiply, tags that would run code, numbers and dates that cannot be."""
    text = _YAML[rng.integers(len(_YAML))]
    if rng.random() < 0.3:
        text += original.files[original.target].decode()
    data = text.encode("utf-8", "surrogatepass")
    return mutant(original, "hostile YAML", "free", {original.target: data})


def yaml_value(rng: np.random.Generator, original: Original) -> Mutant:
    """A value is replaced by one of another kind or size."""
    lines = original.files[original.target].decode().split("\n")
    n = int(rng.integers(len(lines)))
    key, colon, _ = lines[n].rpartition(": ")
    value = [
        "-1",
        "1e30",
        "[]",
        "{}",
        "null",
        "'x'",
        ".nan",
        "[1, 2, 3]",
        "99999999999",
        "!!python/none",
        "&a [*a]",
    ]
    lines[n] = f"{key}{colon}{value[rng.integers(len(value))]}"
    return mutant(original, "hostile value", "free", {original.target: "\n".join(lines).encode()})


def hostile_json(rng: np.random.Generator, original: Original) -> Mutant:
    """A JSON file holds something else, is nested without end, or has values of another kind."""
    names = [name for name in sorted(original.files) if name.endswith(".json")]
    name = names[rng.integers(len(names))]
    whole = [
        b"[" * 100_000, b'{"a":' * 100_000, b"null", b"[]", b"{}", b"3", b'"x"', b"NaN", b"9" * 6000,
        b"1e999", b"\xff",
        b'{"structures": [' + b",".join(b'{"label": %d, "name": "n%d"}' % (n % 65535 + 1,
        n) for n in range(60_000)) + b"]}",
        b'{"structures": [' + b'{"label": 1, "name": "a"},' * 60_000 + b'{"label": 2, "name": "a"}]}',
    ]  # fmt: skip
    if rng.random() < 0.3:
        data = whole[rng.integers(len(whole))]
    else:
        data = json.dumps(_changed(rng, json.loads(original.files[name]))).encode()
    return _fitting(mutant(original, "hostile JSON", "free", {name: data}))


_JSON_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 10**30, 1e308, float("nan"), "", "x", "../../outside", "a\0b", [], {}, [[]],
    "L4 vertebra", [1, 2, 3], {"a": 1}, 65536, 1.5, "é" * 1000, [10**6] * 6, "/etc/passwd",
)  # fmt: skip


def _changed(rng: np.random.Generator, data: Any) -> Any:
    """The same data with one value, key or element replaced, at any depth."""
    if isinstance(data, dict) and data and rng.random() < 0.85:
        key = list(data)[rng.integers(len(data))]
        if rng.random() < 0.1:
            return {other: value for other, value in data.items() if other != key}
        return data | {key: _changed(rng, data[key])}
    if isinstance(data, list) and data and rng.random() < 0.85:
        n = int(rng.integers(len(data)))
        return [*data[:n], _changed(rng, data[n]), *data[n + 1 :]]
    return _JSON_VALUES[rng.integers(len(_JSON_VALUES))]


def fitting_damage(rng: np.random.Generator, original: Original) -> Mutant:
    """Bits are flipped in a checkpoint, and its record of hashes is made to fit the damage."""
    names = [name for name in sorted(original.files) if name not in ("run.json", "MODEL_CARD.md")]
    name = names[rng.integers(len(names))]
    data = bytearray(original.files[name])
    for _ in range(int(rng.integers(1, 9))):
        data[rng.integers(min(len(data), 4000))] ^= 1 << int(rng.integers(8))
    return _fitting(mutant(original, "bits flipped, hashes made to fit", "free", {name: bytes(data)}))


def hostile_bank(rng: np.random.Generator, original: Original) -> Mutant:
    """The arrays of a prompt bank are huge, pickled, compressed bombs or nested."""
    header = [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 8), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9" + "9" * 40 + ",), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000 + ")" * 3000 + ", }",
        "{'descr': '" + "<f4" * 10 + "', 'fortran_order': 3, 'shape': (1,), }",
        "{'descr': [('a', '<f4', (99999, 99999))], 'fortran_order': False, 'shape': (9,), }",
        "\0" * 50,
        "{",
        "__import__('os').system('true')",
    ]
    text = header[rng.integers(len(header))].encode()
    array = b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + b"\x80\x04." * 10
    if rng.random() < 0.3:
        array = (
            b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (100000000, 8), }".ljust(
                128
            )
        )
        array += bytes(64 * MIB)
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(original.files["bank.npz"])) as source,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        replaced = ["header.npy", "vectors.npy"][rng.integers(2)]
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), array if name == replaced else source.read(name), 8)
    return _fitting(mutant(original, "hostile arrays", "refuse", {"bank.npz": stream.getvalue()}))


def _fitting(made: Mutant, expectation: Expectation | None = None) -> Mutant:
    """A checkpoint whose run.json records the damaged files."""
    if made.original.reader != "checkpoint":
        return made
    try:
        run = json.loads(made.files["run.json"])
        names = list(run["files"])
        run["files"] = {
            name: hashlib.sha256(made.files[name]).hexdigest() for name in names if name in made.files
        }
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return made
    return made.with_file("run.json", json.dumps(run).encode())


YAML = (hostile_yaml, hostile_yaml, yaml_value)
JSON = (hostile_json,)
CHECKPOINT = (fitting_damage,)
BANK = (hostile_bank,)
