"""The file from which a run goes on: whole, or refused with what to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from nomina.config import to_plain
from nomina.errors import CheckpointError, ConfigError, OutputError
from nomina.learning.recipe import Recipe
from nomina.learning.training_state import (
    STATE_FILE,
    TrainingState,
    is_same_run,
    resume,
    save_state,
    steps_saved,
)
from nomina.networks.build import build_network

STRUCTURES = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")


@pytest.fixture
def make_state(tiny_recipe: Recipe) -> Callable[..., TrainingState]:
    """A state after `steps` optimiser steps on noise, from a seed."""

    def make(
        seed: int, steps: int = 2, structures: tuple[str, ...] = STRUCTURES, momentum: float | None = None
    ) -> TrainingState:
        torch.manual_seed(seed)
        network = build_network(tiny_recipe.network, structures, text_width=16)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser: torch.optim.Optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        if momentum is not None:
            optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=momentum, nesterov=True)
        for _ in range(steps):
            for parameter in network.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimiser.step()
        averaged = {name: torch.randn_like(v) for name, v in network.state_dict().items()}
        return TrainingState(network, averaged, optimiser, steps, 0.5, [{"step": 1.0, "dice": 0.5}])

    return make


def test_everything_comes_back_in_its_values_and_memory_layout(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    saved, fresh = make_state(0), make_state(1, steps=0)
    save_state(saved, tiny_recipe, tmp_path)
    resume(fresh, tiny_recipe, tmp_path)
    assert (fresh.step, fresh.best_score, fresh.history) == (2, 0.5, [{"step": 1.0, "dice": 0.5}])
    for name, value in saved.network.state_dict().items():
        assert torch.equal(fresh.network.state_dict()[name], value)
        assert torch.equal(fresh.averaged[name], saved.averaged[name])
        assert fresh.averaged[name].stride() == saved.averaged[name].stride()
    moments, restored = (s.optimiser.state_dict()["state"] for s in (saved, fresh))
    for index, values in moments.items():
        for name, value in values.items():
            assert torch.equal(restored[index][name], value)
            assert restored[index][name].stride() == value.stride()


def test_the_momentum_of_sgd_comes_back_too(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    saved, fresh = make_state(0, momentum=0.99), make_state(1, steps=0, momentum=0.99)
    save_state(saved, tiny_recipe, tmp_path)
    resume(fresh, tiny_recipe, tmp_path)
    for state in (saved, fresh):
        for parameter in state.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        state.optimiser.step()
    theirs = fresh.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in saved.network.state_dict().items())


def test_a_run_recorded_before_a_setting_existed_is_the_same_run(tiny_recipe: Recipe) -> None:
    recorded = to_plain(tiny_recipe)
    del recorded["train"]["optimiser"]
    assert is_same_run(recorded, tiny_recipe)
    sgd = replace(tiny_recipe, train=replace(tiny_recipe.train, optimiser="sgd"))
    assert not is_same_run(recorded, sgd)
    assert not is_same_run({**recorded, "strange": 1}, tiny_recipe)


def test_how_far_a_run_was_saved_can_be_asked_without_a_network(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    assert steps_saved(tmp_path) == 0
    save_state(make_state(0), tiny_recipe, tmp_path)
    assert steps_saved(tmp_path) == 2
    (tmp_path / STATE_FILE).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="remove it to start anew"):
        steps_saved(tmp_path)


def test_without_a_file_nothing_changes(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    state = make_state(0)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    resume(state, tiny_recipe, tmp_path)
    assert state.step == 2
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())


def test_a_damaged_or_foreign_file_is_refused(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    save_state(make_state(0), tiny_recipe, tmp_path)
    whole = (tmp_path / STATE_FILE).read_bytes()
    (tmp_path / STATE_FILE).write_bytes(whole[:100])
    with pytest.raises(CheckpointError, match=r"cannot be read .* remove it to start anew"):
        resume(make_state(1), tiny_recipe, tmp_path)
    save_file({"weight": torch.zeros(2)}, tmp_path / STATE_FILE)
    with pytest.raises(CheckpointError, match=r"cannot be read .* remove it to start anew"):
        resume(make_state(1), tiny_recipe, tmp_path)


@pytest.mark.parametrize("meta", ["[" * 100_000, "[]", "7", '{"step": 2}', "{"])
def test_a_file_whose_header_is_damaged_is_refused(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, meta: str, tmp_path: Path
) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / STATE_FILE, {"nomina": meta})
    with pytest.raises(CheckpointError, match=r"cannot be read .* remove it to start anew"):
        resume(make_state(1), tiny_recipe, tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot be read .* remove it to start anew"):
        steps_saved(tmp_path)


def test_data_prepared_anew_with_other_structures_are_noticed(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    save_state(make_state(0), tiny_recipe, tmp_path)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        resume(make_state(1, structures=STRUCTURES[:3]), tiny_recipe, tmp_path)


def test_only_length_and_reporting_may_differ(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    save_state(make_state(0), tiny_recipe, tmp_path)
    longer = replace(tiny_recipe.train, steps=99, validate_every=7, save_minutes=3.0, log_every=2)
    resume(make_state(1), replace(tiny_recipe, train=longer), tmp_path)
    for train in (replace(tiny_recipe.train, seed=1), replace(tiny_recipe.train, learning_rate=0.5)):
        with pytest.raises(ConfigError, match="holds a run of another recipe"):
            resume(make_state(1), replace(tiny_recipe, train=train), tmp_path)


def test_an_unwritable_place_is_said(
    make_state: Callable[..., TrainingState], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_state(make_state(0), tiny_recipe, tmp_path / "nowhere")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("bad tensor")])
def test_a_state_that_cannot_be_written_leaves_the_earlier_one_and_nothing_else(
    make_state: Callable[..., TrainingState],
    tiny_recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    save_state(make_state(0), tiny_recipe, folder)
    before = (folder / STATE_FILE).read_bytes()

    def half(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr("nomina.learning.training_state.save_file", half)
    with pytest.raises(OutputError, match=rf"{STATE_FILE} cannot be written"):
        save_state(make_state(1), tiny_recipe, folder)
    assert [path.name for path in folder.iterdir()] == [STATE_FILE]
    assert (folder / STATE_FILE).read_bytes() == before
