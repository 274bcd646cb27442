"""The training loop, readable top to bottom: draw, forward, backward, average, validate, save.

Every draw follows from (seed, step), so a run that was killed and resumed goes on exactly as if it had not
been (bit for bit on a CPU). Runs on a CPU, one GPU, or several under torchrun with the same recipe. What is
drawn, heard and scored is the network's `Task`.
"""

import logging
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nomina.errors import ConfigError, NominaError
from nomina.folder_lock import locked_folder
from nomina.learning.block_task import open_block_task
from nomina.learning.devices import open_fabric
from nomina.learning.recipe import BlockRecipe, Recipe, TrainConfig
from nomina.learning.run_record import Origin, origin_of, run_record
from nomina.learning.slice_task import open_slice_task
from nomina.learning.task import Forward, Task, start_from
from nomina.learning.training_state import TrainingState, resume, save_state
from nomina.networks.build import build_network
from nomina.networks.checkpoint import Checkpoint, load_checkpoint, restore_checkpoint, save_checkpoint
from nomina.networks.shipped import checkpoint_folder

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """Everything that stays the same while training."""

    fabric: "Fabric"
    task: Task
    out: Path
    board: Any
    """TensorBoard; None in all processes but the first."""
    origin: Origin

    @property
    def train(self) -> TrainConfig:
        return self.task.recipe.train


def fit(
    recipe: Recipe | BlockRecipe, out: Path, *, accelerator: str = "auto", devices: int | str = "auto"
) -> Path:
    """Train a network.

    Args:
        recipe: What to train on what.
        out: Folder of this run: `best/` and `last/` checkpoints, `state.safetensors` to resume from,
            `events…` for TensorBoard. A run found there is resumed.
        accelerator: "auto", "cpu" or "cuda".
        devices: Number of devices; "auto" takes all GPUs, or one CPU process. Under torchrun its number of
            processes counts instead.

    Returns:
        Folder of the best checkpoint.

    Raises:
        ConfigError: The recipe contradicts itself or the run in `out`, or the loss is not finite.
        CaseError: The data cannot be read.
        CheckpointError: `initial_checkpoint` or the state in `out` cannot be used.
        NominaError: The packages of `nomina[train]` are not installed.
    """
    fabric = open_fabric(recipe.train, accelerator, devices)
    fabric.launch()
    first = recipe.initial_checkpoint
    start = None if first is None else load_checkpoint(checkpoint_folder(first))
    task = open_task(recipe, start, fabric.device)
    state = _first_state(task, start, fabric.device)
    origin = origin_of(task, start)
    with locked_folder(out, "training") if fabric.is_global_zero else nullcontext():
        return _fit(fabric, task, state, origin, out)


def _fit(fabric: "Fabric", task: Task, state: TrainingState, origin: Origin, out: Path) -> Path:
    recipe = task.recipe
    if fabric.is_global_zero:
        for name in ("best", "last"):
            restore_checkpoint(out / name)
    resume(state, recipe, out)
    network, optimiser = fabric.setup(Forward(state.network), state.optimiser)
    board = _board(out, state.step) if fabric.is_global_zero else None
    run = _Run(fabric, task, out, board, origin)
    _log_start(run, state)

    cfg = recipe.train
    clock, saved = _Clock(state.step, cfg.steps), time.monotonic()
    while state.step < cfg.steps:
        losses = _train_step(run, network, optimiser, state.step)
        state.step += 1
        _average(state, cfg.ema_decay)
        if state.step % cfg.log_every == 0:
            _log(run, state.step, losses, clock)
        is_last = state.step == cfg.steps
        if state.step % cfg.validate_every == 0 or is_last:
            _validate_and_save(run, state)
        if fabric.is_global_zero and (is_last or time.monotonic() - saved > 60 * cfg.save_minutes):
            save_state(state, recipe, out)
            saved = time.monotonic()
    if run.board is not None:
        run.board.close()
    return out / "best"


def open_task(recipe: Recipe | BlockRecipe, start: Checkpoint | None, device: torch.device) -> Task:
    """The data and words of a recipe, with what its kind of network does with them."""
    match recipe:
        case BlockRecipe():
            return open_block_task(recipe, start, device)
        case Recipe():
            return open_slice_task(recipe, start, device)


def _train_step(run: _Run, network: Any, optimiser: Any, step: int) -> dict[str, float]:
    """One optimiser step; the mean of each part of the objective over its forward passes."""
    fabric, cfg = run.fabric, run.train
    network.train()
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, cfg)
    means: dict[str, float] = {}
    for micro_step in range(cfg.accumulate):
        seed = (cfg.seed, step, micro_step, fabric.global_rank)
        with fabric.no_backward_sync(network, enabled=micro_step < cfg.accumulate - 1):
            parts = run.task.losses(network, step / cfg.steps, seed)
            fabric.backward(sum(parts.values()) / cfg.accumulate)
        for name, value in parts.items():
            means[name] = means.get(name, 0.0) + float(value.detach()) / cfg.accumulate
    norm = fabric.clip_gradients(network, optimiser, max_norm=cfg.clip_norm, error_if_nonfinite=False)
    if not all(math.isfinite(value) for value in (*means.values(), float(norm))):
        raise ConfigError(
            f"the loss or its gradient is not finite at step {step} ({means}); lower train.learning_rate"
        )
    optimiser.step()
    optimiser.zero_grad()
    return means


def learning_rate(step: int, cfg: TrainConfig) -> float:
    """Linear warm-up, then a cosine from the peak to 1 % of it; for SGD nnU-Net's polynomial."""
    if cfg.optimiser == "sgd":
        return cfg.learning_rate * (1 - step / cfg.steps) ** 0.9
    warmup = max(1, round(cfg.warmup_share * cfg.steps))
    if step < warmup:
        return cfg.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, cfg.steps - warmup)
    return cfg.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _first_state(task: Task, start: Checkpoint | None, device: torch.device) -> TrainingState:
    """Fresh weights, or those of the initial checkpoint, before the first step."""
    recipe = task.recipe
    torch.manual_seed(recipe.train.seed)
    network = build_network(recipe.network, task.structures, text_width=task.bank.vectors.shape[1])
    task.require_fitting(network)
    if start is not None:
        start_from(network, start, task.structures)
    network.to(device).to(memory_format=task.layout)  # type: ignore[call-overload]
    averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return TrainingState(network, averaged, _optimiser(network, recipe.train))


def _optimiser(network: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": cfg.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if cfg.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=cfg.learning_rate, momentum=0.99, nesterov=True)
    return torch.optim.AdamW(groups, lr=cfg.learning_rate)


@torch.no_grad()
def _average(state: TrainingState, decay: float) -> None:
    # Early on the average must not hold on to the random start.
    decay = min(decay, (1 + state.step) / (10 + state.step))
    weights = state.network.state_dict()
    names = [name for name, value in state.averaged.items() if value.is_floating_point()]
    torch._foreach_lerp_([state.averaged[n] for n in names], [weights[n] for n in names], 1 - decay)


def _validate_and_save(run: _Run, state: TrainingState) -> None:
    """Score the averaged weights, and write `last`, and `best` where they are the best so far."""
    if run.fabric.is_global_zero:
        scores = _validate(run, state)
        # Without validation scans the newest weights are the best.
        score = scores.get("dice", float(state.step))
        names = ("best", "last") if score > state.best_score else ("last",)
        state.best_score = max(state.best_score, score)
        for name in names:
            save_checkpoint(
                run.out / name,
                weights=state.averaged,
                cfg=run.task.checkpoint_config(),
                structures=run.task.structures,
                bank=run.task.bank,
                run=run_record(run.task, state, scores, run.origin),
            )
    run.fabric.barrier()


def _validate(run: _Run, state: TrainingState) -> dict[str, float]:
    network = state.network
    present = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(state.averaged)
    network.eval()
    scores = run.task.validate(network)
    network.load_state_dict(present)
    state.history.append({"step": state.step, **scores})
    if scores:
        text = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        logger.info("step %d validation: %s", state.step, text)
    for name, value in scores.items():
        run.board.add_scalar(f"validation/{name}", value, state.step)
    return scores


class _Clock:
    """Seconds per step and time left."""

    def __init__(self, step: int, num_steps: int) -> None:
        self.first, self.num_steps, self.start = step, num_steps, time.monotonic()

    def text(self, step: int) -> str:
        per_step = (time.monotonic() - self.start) / max(1, step - self.first)
        left = round(per_step * (self.num_steps - step) / 60)
        return f"{per_step:.2f} s/step, {left // 60} h {left % 60:02d} min left"


def _log_start(run: _Run, state: TrainingState) -> None:
    if run.fabric.is_global_zero:
        if state.step > run.train.steps:
            logger.warning(
                "%s holds %d steps, the recipe asks for %d: nothing is left to train",
                run.out,
                state.step,
                run.train.steps,
            )
        logger.info(
            "%s: %.1f M parameters, %d training cases, %d validation cases, step %d of %d",
            run.task.recipe.name,
            sum(parameter.numel() for parameter in state.network.parameters()) / 1e6,
            len(run.task.training),
            len(run.task.validation),
            state.step,
            run.train.steps,
        )


def _log(run: _Run, step: int, losses: Mapping[str, float], clock: _Clock) -> None:
    if run.fabric.is_global_zero:
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        logger.info("step %d  %s  %s", step, text, clock.text(step))
        for name, value in losses.items():
            run.board.add_scalar(f"loss/{name}", value, step)


def _board(out: Path, steps_done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise NominaError('training needs more packages: pip install "nomina[train]"') from error
    # What a killed run had reported after its last save comes again.
    return SummaryWriter(str(out), purge_step=steps_done + 1)
