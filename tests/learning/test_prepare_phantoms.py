"""Phantoms → prepared dataset."""

from pathlib import Path

import numpy as np
import pytest

from nomina.errors import CaseError, ConfigError
from nomina.learning.prepare import prepare_phantoms
from nomina.learning.prepared import STRUCTURE_PRESETS, PrepareConfig


def test_a_spine_is_rendered_twice_and_a_larger_count_adds_spines(tmp_path: Path) -> None:
    first = prepare_phantoms(tmp_path, count=1, seed=5, config=PrepareConfig())
    assert [case.id for case in first.cases] == ["phantom5a", "phantom5b"]
    assert {case.patient for case in first.cases} == {"phantom5"}
    a, b = first.cases
    np.testing.assert_array_equal(a.labels(), b.labels())
    assert a.sequence != b.sequence
    assert np.corrcoef(a.image().ravel()[::7], b.image().ravel()[::7])[0, 1] < 0.99
    assert (
        min(a.voxel_counts[name] for name in ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc"))
        > 500
    )

    written = (tmp_path / "phantom5a.image.npy").stat().st_mtime_ns
    both = prepare_phantoms(tmp_path, count=2, seed=5, config=PrepareConfig())
    assert [case.id for case in both.cases] == ["phantom5a", "phantom5b", "phantom6a", "phantom6b"]
    assert (tmp_path / "phantom5a.image.npy").stat().st_mtime_ns == written


def test_a_spine_is_rendered_in_the_contrasts_asked_for(tmp_path: Path) -> None:
    asked = prepare_phantoms(tmp_path, 1, 5, PrepareConfig(), contrasts=("random", "gre", "t2"))
    assert [case.id for case in asked.cases] == ["phantom5a", "phantom5b", "phantom5c"]
    first, *named = (case.sequence for case in asked.cases)
    assert named == ["GRE", "T2"]
    assert first not in named
    again = prepare_phantoms(tmp_path, 1, 5, PrepareConfig(), contrasts=("stir",))
    assert next(case.sequence for case in again.cases if case.id == "phantom5a") == "STIR"


@pytest.mark.parametrize("contrasts", [(), ("t2", "t2"), ("random",) * 6, ("flair",)])
def test_contrasts_that_cannot_be_had_are_refused(tmp_path: Path, contrasts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="contrasts"):
        prepare_phantoms(tmp_path / "out", 1, 5, PrepareConfig(), contrasts=contrasts)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_classes_that_phantoms_never_label_are_unknown_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    structures = STRUCTURE_PRESETS["mrspineseg19"]
    case = prepare_phantoms(tmp_path / "out", 1, 5, PrepareConfig(structures=structures)).cases[0]
    assert "unknown in each phantom, which has no labels for it: sacrum" in caplog.text
    assert case.annotated == tuple(name for name in structures if name != "sacrum")
    with pytest.raises(CaseError, match="the phantom labels none of sacrum"):
        prepare_phantoms(tmp_path / "none", 1, 5, PrepareConfig(structures=("sacrum",)))
