"""Damaged and hostile files through every reader: the short version of `scripts/fuzz_readers.py`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory limit needs Linux")


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "fuzz_readers.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_three_hundred_inputs_bring_no_crash_hang_unbounded_memory_or_wrong_success() -> None:
    result = fuzz("--count", "300", "--seed", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    total = next(line.split() for line in result.stdout.splitlines() if line.startswith("all "))
    counts = [int(word) for word in total[1:]]
    assert counts[0] == sum(counts[1:]) == 300
    assert counts[4:] == [0, 0, 0, 0]
    assert min(counts[1:4]) > 10, "the inputs are no longer a mixture of sound and damaged ones"


def test_the_same_seed_gives_the_same_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from fuzzing.plan import make

    for number in (3, 77, 140):
        one, other = make(5, number), make(5, number)
        assert (one.files, one.links, one.sizes, one.mutation) == (
            other.files,
            other.links,
            other.sizes,
            other.mutation,
        )
        assert one.files != make(6, number).files or one.mutation != make(6, number).mutation


def test_hostile_texts_beside_a_hostile_character_set_are_written_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from fuzzing.dicom import _with_tags
    from fuzzing.plan import originals

    original = next(original for original in originals() if original.kind == "DICOM series")
    tags = [("TemporalPositionIdentifier", "1e400"), ("SpecificCharacterSet", "\x00\x01")]
    made = _with_tags(np.random.default_rng(0), original, "m", "free", tags, in_all=True)
    for data in made.files.values():
        assert b"\x08\x00\x05\x00CS\x02\x00\x00\x01" in data
        assert b"\x20\x00\x00\x01IS\x06\x001e400 " in data


def test_failures_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is judged: each kind of failure is named as what it is."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from fuzzing import worker
    from fuzzing.cases import Mutant, Original

    def outcome(expectation: str, behaviour: object) -> str:
        def read(mutant: Mutant, folder: Path) -> object:
            if isinstance(behaviour, Exception):
                raise behaviour
            return behaviour

        monkeypatch.setattr(worker, "read", read)
        original = Original("x", "recipe", {"x": b""}, "x", content="whole")
        return worker.run(Mutant(original, "m", expectation, {"x": b""}), 0).outcome  # type: ignore[arg-type]

    from nomina.errors import ConfigError

    assert outcome("same", "whole") == "sound"
    assert outcome("same", "other") == "wrong success"
    assert outcome("free", "other") == "undetectable"
    assert outcome("refuse", "whole") == "wrong success"
    assert outcome("refuse", ConfigError("no")) == "refused"
    assert outcome("free", KeyError("x")) == "crash"
    assert outcome("free", MemoryError()) == "memory"
