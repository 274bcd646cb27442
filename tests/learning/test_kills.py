"""kill -9 at every change of the disk: no half result under a final name, and the next run goes on."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nomina.errors import CaseError, NominaError, OutputError
from nomina.folder_lock import LOCK_FILE, locked_folder
from nomina.learning.datasets.spider import spider_cases
from nomina.learning.fit import fit
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepared import PrepareConfig, PreparedDataset, open_prepared, read_prepared
from nomina.learning.recipe import Recipe
from nomina.learning.training_state import STATE_FILE
from nomina.networks.checkpoint import load_checkpoint, restore_checkpoint

KilledAt = Callable[[Callable[[], object], Path, int], bool]
ReadOnly = Callable[[Path], AbstractContextManager[None]]

CONFIG = PrepareConfig(structures=("L5 vertebra", "L4 vertebra", "spinal canal"))


def assert_is_whole(folder: Path) -> None:
    """What the index lists can be read; an index that is there is no half one."""
    dataset = read_prepared(folder)
    for case in dataset.cases if dataset else ():
        assert case.image().shape == case.labels().shape == case.shape


def assert_same(one: PreparedDataset, other: PreparedDataset) -> None:
    assert [case.id for case in one.cases] == [case.id for case in other.cases]
    for first, second in zip(one.cases, other.cases, strict=True):
        np.testing.assert_array_equal(first.image(), second.image())
        np.testing.assert_array_equal(first.labels(), second.labels())


def prepare_killed(
    spider_folder: Path, tmp_path: Path, killed_at: KilledAt, changes: "itertools.count[int]"
) -> int:
    """Prepare into new folders, killed before change n, then again; returns how many changes there are."""
    cases = spider_cases(spider_folder)[:2]
    reference = prepare_cases(cases, tmp_path / "reference", CONFIG)
    for n in changes:
        out = tmp_path / f"out{n}"
        if not killed_at(lambda out=out: prepare_cases(cases, out, CONFIG), out, n):  # type: ignore[misc]
            return n - 1
        if out.is_dir():
            assert_is_whole(out)
            # The last changes come when all cases are listed.
            with suppress(CaseError):
                assert len(open_prepared(out).cases) == len(cases)
        assert_same(prepare_cases(cases, out, CONFIG), reference)
        names = {path.name for path in out.iterdir()}
        assert names == {path.name for path in reference.folder.iterdir()}
    raise AssertionError


def test_prepare_killed_before_its_first_array_leaves_nothing_half(
    spider_folder: Path, tmp_path: Path, killed_at: KilledAt
) -> None:
    cases = spider_cases(spider_folder)[:1]
    assert killed_at(lambda: prepare_cases(cases, tmp_path / "out", CONFIG), tmp_path / "out", 5)
    assert_is_whole(tmp_path / "out")
    assert prepare_cases(cases, tmp_path / "out", CONFIG).is_complete


@pytest.mark.slow
def test_prepare_killed_at_every_change_goes_on(
    spider_folder: Path, tmp_path: Path, killed_at: KilledAt
) -> None:
    assert prepare_killed(spider_folder, tmp_path, killed_at, itertools.count(1)) > 10


def assert_loadable(out: Path) -> None:
    """Checkpoints under their names are whole; the one that a kill between two renames took is restored."""
    for name in ("best", "last"):
        if (out / name).exists():
            load_checkpoint(out / name)


def test_training_killed_while_it_saves_ends_with_the_same_weights(
    tiny_recipe: Recipe, tmp_path: Path, killed_at: KilledAt
) -> None:
    fit(tiny_recipe, tmp_path / "reference", accelerator="cpu")
    out = tmp_path / "run"
    assert killed_at(lambda: fit(tiny_recipe, out, accelerator="cpu"), out, 15)
    assert_loadable(out)
    fit(tiny_recipe, out, accelerator="cpu")
    one, other = load_file(out / STATE_FILE), load_file(tmp_path / "reference" / STATE_FILE)
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.slow
def test_training_killed_at_every_change_ends_with_the_same_weights(
    tiny_recipe: Recipe, tmp_path: Path, killed_at: KilledAt
) -> None:
    reference = tmp_path / "reference"
    fit(tiny_recipe, reference, accelerator="cpu")
    for n in itertools.count(1, 3):
        out = tmp_path / f"run{n}"
        if not killed_at(lambda out=out: fit(tiny_recipe, out, accelerator="cpu"), out, n):  # type: ignore[misc]
            break
        assert_loadable(out)
        fit(tiny_recipe, out, accelerator="cpu")
        one, other = load_file(out / STATE_FILE), load_file(reference / STATE_FILE)
        assert all(torch.equal(one[name], other[name]) for name in other)
        assert load_checkpoint(out / "best").digest == load_checkpoint(reference / "best").digest
        assert not [path.name for path in out.iterdir() if path.name.endswith((".part", ".old"))]
    assert n > 20


def test_a_checkpoint_taken_away_by_a_kill_between_two_renames_comes_back(tmp_path: Path) -> None:
    for name in ("best.old", "best.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    restore_checkpoint(tmp_path / "best")
    assert (tmp_path / "best" / "model.safetensors").read_text() == "best.old"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_two_processes_do_not_prepare_into_one_folder(
    spider_folder: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    # flock knows open files, not processes: a second opening in this process is refused all the same.
    with locked_folder(tmp_path / "out", "preparing cases"):
        with pytest.raises(OutputError, match="another process is preparing cases there"):
            prepare_cases(spider_cases(spider_folder), tmp_path / "out", CONFIG)
        with pytest.raises(OutputError, match="another process is preparing cases there"):
            fit(tiny_recipe, tmp_path / "out", accelerator="cpu")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {LOCK_FILE}


def test_a_full_disk_is_named_and_leaves_no_half_case(spider_folder: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    cases, limits = spider_cases(spider_folder)[:1], resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(NominaError, match=r"image\.npy cannot be written"):
            prepare_cases(cases, tmp_path / "out", CONFIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_is_whole(tmp_path / "out")
    assert prepare_cases(cases, tmp_path / "out", CONFIG).is_complete


def test_a_read_only_folder_is_named(
    spider_folder: Path, tmp_path: Path, tiny_recipe: Recipe, read_only: ReadOnly
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with read_only(out):
        with pytest.raises(OutputError, match="out cannot be written to: Permission denied"):
            prepare_cases(spider_cases(spider_folder), out, CONFIG)
        with pytest.raises(OutputError, match="out cannot be written to: Permission denied"):
            fit(tiny_recipe, out, accelerator="cpu")
    assert list(out.iterdir()) == []
