"""Everything that changes while training, and the one file from which a killed run goes on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nomina.config import parse_config, to_plain
from nomina.errors import CheckpointError, ConfigError, OutputError
from nomina.imaging.files import atomic_path
from nomina.learning.recipe import BlockRecipe, Recipe
from nomina.networks.build import Network
from nomina.plain_files import parse_json

STATE_FILE = "state.safetensors"


@dataclass
class TrainingState:
    """Everything that changes while training."""

    network: Network
    averaged: dict[str, Tensor]
    """EMA of the weights: what is validated and saved."""
    optimiser: torch.optim.Optimizer
    step: int = 0
    """Optimiser steps done."""
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    """One record per validation."""


def save_state(state: TrainingState, recipe: Recipe | BlockRecipe, folder: Path) -> None:
    """Write weights, averages, optimiser moments, step and history to one file, replaced in one step.

    Raises:
        OutputError: The file cannot be written.
    """
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"averaged.{name}": value for name, value in state.averaged.items()}
    for index, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
    # Clones: safetensors refuses tensors that share memory, and channels-last ones.
    stored = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    meta = {
        "step": state.step,
        "best_score": state.best_score,
        "history": state.history,
        "recipe": to_plain(recipe),
    }
    path = folder / STATE_FILE
    with atomic_path(path) as temporary:
        try:
            save_file(stored, temporary, {"nomina": json.dumps(meta)})
        except SafetensorError as error:
            raise OutputError(
                f"{path} cannot be written: {error}; free space or train into another folder"
            ) from error


def resume(state: TrainingState, recipe: Recipe | BlockRecipe, folder: Path) -> None:
    """Set `state` to what `save_state` wrote; leave it alone where there is no file.

    Raises:
        CheckpointError: The file is damaged, or the data now ask for another network.
        ConfigError: The file belongs to another recipe.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            meta = _meta(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); remove it to start anew") from error
    if not is_same_run(meta["recipe"], recipe):
        raise ConfigError(
            f"{folder} holds a run of another recipe; train into another folder, or remove it to start anew"
        )
    try:
        state.network.load_state_dict(_section(tensors, "network."))
        for name, value in _section(tensors, "averaged.").items():
            state.averaged[name].copy_(value)
        _load_moments(state.optimiser, _section(tensors, "optimiser."))
    except (RuntimeError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path} does not fit the network ({error}); the data were prepared anew with other structures? "
            f"Remove it to start anew"
        ) from error
    state.step, state.best_score, state.history = meta["step"], meta["best_score"], meta["history"]


def steps_saved(folder: Path) -> int:
    """Steps after which `save_state` last wrote; 0 where there is no file.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            return int(_meta(file.metadata())["step"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); remove it to start anew") from error


def _meta(header: Mapping[str, str] | None) -> dict[str, Any]:
    """What `save_state` wrote beside the tensors."""
    if header is None or "nomina" not in header:
        raise ValueError("its header says nothing of a training")
    meta = parse_json(header["nomina"])
    if not isinstance(meta, dict):
        raise ValueError("its header holds no object")
    if lacking := [key for key in ("recipe", "step", "best_score", "history") if key not in meta]:
        raise ValueError(f"its header has no {lacking[0]}")
    return meta


def _load_moments(optimiser: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        index, name = key.split(".")
        if name != "step":
            # In the memory layout of the parameter, so that sums round as if the run had never stopped.
            value = torch.empty_like(parameters[int(index)]).copy_(value)
        moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def is_same_run(recorded: dict[str, Any], recipe: Recipe | BlockRecipe) -> bool:
    """Whether a run may go on under `recipe`: longer, or saved and reported at other times, not otherwise.

    Args:
        recorded: The recipe as it was written down, perhaps by a version with fewer settings.
        recipe: The recipe now.
    """
    try:
        known = parse_config(type(recipe), recorded, source="the recorded recipe")
    except ConfigError:
        return False
    return _without_length(to_plain(known)) == _without_length(to_plain(recipe))


def _without_length(recipe: dict[str, Any]) -> dict[str, Any]:
    bookkeeping = {"steps", "validate_every", "save_minutes", "log_every"}
    return {**recipe, "train": {k: v for k, v in recipe["train"].items() if k not in bookkeeping}}
