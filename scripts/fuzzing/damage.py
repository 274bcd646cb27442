"""Damage that knows no format: lost ends, flipped bits, lost, doubled and overwritten blocks."""

import numpy as np

from fuzzing.cases import Expectation, Mutant, Original, mutant

_TEXT = ("recipe", "scheme")
"""Readers of formats without any redundancy: a part of a recipe may be a recipe."""


def truncate(rng: np.random.Generator, original: Original) -> Mutant:
    """The end of a file is missing, from any byte on."""
    name, data = _pick(rng, original)
    return mutant(original, "truncated", _whole(original), {name: data[: rng.integers(len(data))]})


def truncate_near_end(rng: np.random.Generator, original: Original) -> Mutant:
    """The last few bytes are missing, where checksums and lengths stand."""
    name, data = _pick(rng, original)
    cut = int(rng.integers(1, min(40, len(data)) + 1))
    return mutant(original, "truncated near its end", _whole(original), {name: data[:-cut]})


def flip_bits(rng: np.random.Generator, original: Original) -> Mutant:
    """One to eight bits are flipped anywhere."""
    name, data = _pick(rng, original)
    return _flipped(rng, original, name, len(data), "bits flipped")


def flip_header_bits(rng: np.random.Generator, original: Original) -> Mutant:
    """One to eight bits are flipped among the first 700 bytes."""
    name, data = _pick(rng, original)
    return _flipped(rng, original, name, min(700, len(data)), "header bits flipped")


def overwrite(rng: np.random.Generator, original: Original) -> Mutant:
    """A block is overwritten by one value, as on a failing disk."""
    name, data = _pick(rng, original)
    start, stop = _block(rng, len(data))
    fill = bytes([rng.choice([0, 0xFF, 0x20, rng.integers(256)])]) * (stop - start)
    expectation = _expectation(original, name, start)
    return mutant(original, "block overwritten", expectation, {name: data[:start] + fill + data[stop:]})


def delete_block(rng: np.random.Generator, original: Original) -> Mutant:
    """A block in the middle is missing."""
    name, data = _pick(rng, original)
    start, stop = _block(rng, len(data))
    expectation = _expectation(original, name, start)
    return mutant(original, "block missing", expectation, {name: data[:start] + data[stop:]})


def double_block(rng: np.random.Generator, original: Original) -> Mutant:
    """A block comes twice."""
    name, data = _pick(rng, original)
    start, stop = _block(rng, len(data))
    expectation = _expectation(original, name, start)
    return mutant(original, "block doubled", expectation, {name: data[:stop] + data[start:]})


def insert_noise(rng: np.random.Generator, original: Original) -> Mutant:
    """Random bytes are inserted."""
    name, data = _pick(rng, original)
    start = int(rng.integers(len(data)))
    noise = rng.bytes(int(rng.integers(1, 64)))
    expectation = _expectation(original, name, start)
    return mutant(original, "noise inserted", expectation, {name: data[:start] + noise + data[start:]})


def only_noise(rng: np.random.Generator, original: Original) -> Mutant:
    """The file is noise after its first bytes."""
    name, data = _pick(rng, original)
    kept = int(rng.integers(0, 200))
    noise = rng.bytes(len(data))
    return mutant(original, "noise", _expectation(original, name, 0), {name: data[:kept] + noise})


def empty(rng: np.random.Generator, original: Original) -> Mutant:
    """A file is empty."""
    name, _ = _pick(rng, original)
    return mutant(original, "empty file", _whole(original), {name: b""})


BYTES = (
    truncate, truncate, truncate_near_end, flip_bits, flip_bits, flip_header_bits, overwrite, delete_block,
    double_block, insert_noise, only_noise, empty,
)  # fmt: skip
"""Damage by bytes; what comes twice is drawn twice as often."""


def _pick(rng: np.random.Generator, original: Original) -> tuple[str, bytes]:
    names = sorted(original.files)
    name = names[rng.integers(len(names))]
    return name, original.files[name]


def _whole(original: Original) -> Expectation:
    return "free" if original.reader in _TEXT else "same"


def _expectation(original: Original, name: str, start: int) -> Expectation:
    checked_from = original.checked_from.get(name)
    return "same" if checked_from is not None and start >= checked_from else "free"


def _block(rng: np.random.Generator, length: int) -> tuple[int, int]:
    start = int(rng.integers(length))
    return start, min(length, start + int(rng.integers(1, 200)))


def _flipped(rng: np.random.Generator, original: Original, name: str, stop: int, what: str) -> Mutant:
    data = bytearray(original.files[name])
    places = rng.integers(stop, size=int(rng.integers(1, 9)))
    for place in places:
        data[place] ^= 1 << int(rng.integers(8))
    return mutant(original, what, _expectation(original, name, int(places.min())), {name: bytes(data)})
