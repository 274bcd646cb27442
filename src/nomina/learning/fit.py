"""The training loop, readable top to bottom: draw, forward, backward, average, validate, save.

Every draw follows from (seed, step), so a run that was killed and resumed goes on exactly as if it had not
been (bit for bit on a CPU). Runs on a CPU, one GPU, or several under torchrun with the same recipe.
"""

import logging
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nomina.config import to_plain
from nomina.errors import ConfigError, NominaError
from nomina.folder_lock import locked_folder
from nomina.language.bank import PromptBank
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.prompts import NUM_PARAPHRASES, all_sentences, image_statements
from nomina.learning.batches import Batch, TrainingData, hear, make_batch, open_training_data, true_choices
from nomina.learning.losses import objective
from nomina.learning.recipe import Recipe, TrainConfig
from nomina.learning.training_state import TrainingState, resume, save_state
from nomina.learning.validate import validate
from nomina.networks.atm_net import ATMNetConfig, NetworkOutput
from nomina.networks.build import SliceNetwork, build_network
from nomina.networks.checkpoint import (
    Checkpoint,
    CheckpointConfig,
    load_checkpoint,
    restore_checkpoint,
    save_checkpoint,
)
from nomina.networks.swin_unetr import SwinUNETRConfig
from nomina.networks.words import EncodedPrompts, encode_prompts

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


class _Forward(nn.Module):
    """A network behind the one method that several processes run together.

    Fabric rebuilds dataclasses that pass through `forward`, which frozen ones refuse: so what to run comes in
    as a function, and the fields of the output go out as a dict.
    """

    def __init__(self, network: SliceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, run: Callable[[SliceNetwork], NetworkOutput]) -> dict[str, Any]:
        return dict(vars(run(self.network)))


@dataclass(frozen=True)
class _Task:
    """Everything that stays the same while training."""

    fabric: "Fabric"
    recipe: Recipe
    data: TrainingData
    bank: PromptBank
    words: tuple[EncodedPrompts, ...]
    """The prompts in each wording."""
    out: Path
    board: Any
    """TensorBoard; None in all processes but the first."""


def fit(recipe: Recipe, out: Path, *, accelerator: str = "auto", devices: int | str = "auto") -> Path:
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
    fabric = _fabric(recipe.train, accelerator, devices)
    fabric.launch()
    with locked_folder(out, "training") if fabric.is_global_zero else nullcontext():
        return _fit(fabric, recipe, out)


def _fit(fabric: "Fabric", recipe: Recipe, out: Path) -> Path:
    start = None if recipe.initial_checkpoint is None else load_checkpoint(recipe.initial_checkpoint)
    data = open_training_data(recipe.data)
    bank = _make_bank(recipe, data) if start is None else _kept_bank(recipe, start)
    state = _first_state(recipe, data, bank, start, fabric.device)
    if fabric.is_global_zero:
        for name in ("best", "last"):
            restore_checkpoint(out / name)
    resume(state, recipe, out)
    network, optimiser = fabric.setup(_Forward(state.network), state.optimiser)
    wordings = (encode_prompts(bank, data.structures, paraphrase=p) for p in range(NUM_PARAPHRASES))
    words = tuple(wording.to(fabric.device) for wording in wordings)
    task = _Task(fabric, recipe, data, bank, words, out, _board(out) if fabric.is_global_zero else None)
    _log_start(task, state)

    cfg = recipe.train
    clock, saved = _Clock(state.step, cfg.steps), time.monotonic()
    while state.step < cfg.steps:
        losses = _train_step(task, network, optimiser, state.step)
        state.step += 1
        _average(state, cfg.ema_decay)
        if state.step % cfg.log_every == 0:
            _log(task, state.step, losses, clock)
        is_last = state.step == cfg.steps
        if state.step % cfg.validate_every == 0 or is_last:
            _validate_and_save(task, state)
        if fabric.is_global_zero and (is_last or time.monotonic() - saved > 60 * cfg.save_minutes):
            save_state(state, recipe, out)
            saved = time.monotonic()
    if task.board is not None:
        task.board.close()
    return out / "best"


def _train_step(task: _Task, network: Any, optimiser: Any, step: int) -> dict[str, float]:
    """One optimiser step; the mean of each part of the objective over its forward passes."""
    fabric, cfg = task.fabric, task.recipe.train
    network.train()
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, cfg)
    means: dict[str, float] = {}
    for micro_step in range(cfg.accumulate):
        seed = (cfg.seed, step, micro_step, fabric.global_rank)
        with fabric.no_backward_sync(network, enabled=micro_step < cfg.accumulate - 1):
            parts = _losses(task, network, step / cfg.steps, seed)
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


def _losses(task: _Task, network: Any, progress: float, seed: tuple[int, ...]) -> dict[str, Tensor]:
    """The parts of the objective on the batch, in the words and with the dropout that follow from `seed`."""
    recipe, data = task.recipe, task.data
    torch.manual_seed(int(np.random.default_rng(seed).integers(2**31)))
    batch = _draw(task, seed)
    rng = np.random.default_rng((*seed, 1))
    wording = task.words[int(rng.integers(len(task.words)))]
    heard = hear(wording, batch.facts, image_statements(data.structures), recipe.words, rng)
    patch = batch.patch.contiguous(memory_format=_layout(recipe.train, batch.patch.device))
    output = NetworkOutput(**network(lambda inner: inner.parts(patch, heard, batch.target)))
    choices = true_choices(batch.facts, data.structures).to(batch.patch.device)
    kinds = data.kinds.to(batch.patch.device)
    return objective(output, batch.target, choices, batch.visible, recipe.losses, progress, kinds)


def _draw(task: _Task, seed: tuple[int, ...]) -> Batch:
    recipe = task.recipe
    return make_batch(
        task.data,
        recipe.sampling,
        recipe.augmentation,
        batch_size=recipe.train.batch_size,
        num_slices=recipe.network.num_slices,
        seed=seed,
        device=task.fabric.device,
    )


def learning_rate(step: int, cfg: TrainConfig) -> float:
    """Linear warm-up, then a cosine from the peak to 1 % of it; for SGD nnU-Net's polynomial."""
    if cfg.optimiser == "sgd":
        return cfg.learning_rate * (1 - step / cfg.steps) ** 0.9
    warmup = max(1, round(cfg.warmup_share * cfg.steps))
    if step < warmup:
        return cfg.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, cfg.steps - warmup)
    return cfg.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _first_state(
    recipe: Recipe, data: TrainingData, bank: PromptBank, start: Checkpoint | None, device: torch.device
) -> TrainingState:
    """Fresh weights, or those of the initial checkpoint, before the first step."""
    torch.manual_seed(recipe.train.seed)
    network = build_network(recipe.network, data.structures, text_width=bank.vectors.shape[1])
    _require_fitting_patch(recipe, network)
    if start is not None:
        _start_from(network, start, recipe, data.structures)
    network.to(device).to(memory_format=_layout(recipe.train, device))  # type: ignore[call-overload]
    averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return TrainingState(network, averaged, _optimiser(network, recipe.train))


def _require_fitting_patch(recipe: Recipe, network: SliceNetwork) -> None:
    cfg, divisor = recipe.network, network.divisor
    if isinstance(cfg, ATMNetConfig):
        divisor = math.lcm(divisor, cfg.contrast_pool_stride)
    smallest = 64 if isinstance(cfg.backbone, SwinUNETRConfig) else divisor
    if any(side % divisor or side < smallest for side in recipe.sampling.patch_size):
        raise ConfigError(
            f"sampling.patch_size must be multiples of {divisor}, at least {smallest}, for this network, "
            f"got {list(recipe.sampling.patch_size)}"
        )


def _start_from(
    network: SliceNetwork, start: Checkpoint, recipe: Recipe, structures: tuple[str, ...]
) -> None:
    folder = recipe.initial_checkpoint
    if start.structures != structures:
        raise ConfigError(
            f"initial_checkpoint {folder} knows other structures than the data: {start.structures}"
        )
    try:
        missing, unexpected = network.load_state_dict(start.network.state_dict(), strict=False)
    except RuntimeError as error:
        raise ConfigError(
            f"initial_checkpoint {folder} has another network than the recipe: {error}"
        ) from error
    # A fine skip may come new: it adds nothing until it is trained.
    odd = [
        *unexpected,
        *(name for name in missing if not name.startswith(("backbone.fine.", "backbone.join."))),
    ]
    if odd:
        raise ConfigError(
            f"initial_checkpoint {folder} has another network than the recipe: "
            f"{', '.join(odd[:5])} stand in one of the two alone"
        )


def _make_bank(recipe: Recipe, data: TrainingData) -> PromptBank:
    encoder = load_encoder(recipe.words.encoder, source=recipe.words.encoder_source)
    return build_bank(encoder, all_sentences(data.structures))


def _kept_bank(recipe: Recipe, start: Checkpoint) -> PromptBank:
    """The words of the initial checkpoint: new vectors would be strange to its weights."""
    asked, known = recipe.words.encoder, start.bank.provenance.encoder
    if asked != known and not asked.startswith("table:"):
        raise ConfigError(
            f"initial_checkpoint {recipe.initial_checkpoint} was trained with the words of {known!r}, the "
            f"recipe says words.encoder {asked!r}; write {known!r}"
        )
    return start.bank


def _optimiser(network: SliceNetwork, cfg: TrainConfig) -> torch.optim.Optimizer:
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


def _validate_and_save(task: _Task, state: TrainingState) -> None:
    """Score the averaged weights, and write `last`, and `best` where they are the best so far."""
    if task.fabric.is_global_zero:
        scores = _validate(task, state)
        # Without validation scans the newest weights are the best.
        score = scores.get("dice", float(state.step))
        names = ("best", "last") if score > state.best_score else ("last",)
        state.best_score = max(state.best_score, score)
        recipe, data = task.recipe, task.data
        cfg = CheckpointConfig(
            network=recipe.network,
            preparation=data.prepare.image,
            window_px=recipe.sampling.patch_size[0],
            scheme=recipe.scheme,
        )
        for name in names:
            save_checkpoint(
                task.out / name,
                weights=state.averaged,
                cfg=cfg,
                structures=data.structures,
                bank=task.bank,
                run=_record(state, recipe, data, scores),
            )
    task.fabric.barrier()


def _validate(task: _Task, state: TrainingState) -> dict[str, float]:
    network = state.network
    present = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(state.averaged)
    network.eval()
    recipe = task.recipe
    scores = validate(
        network,
        task.data,
        task.words[0],
        num_slices=recipe.network.num_slices,
        window_px=recipe.sampling.patch_size[0],
    )
    network.load_state_dict(present)
    state.history.append({"step": state.step, **scores})
    if scores:
        text = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        logger.info("step %d validation: %s", state.step, text)
    for name, value in scores.items():
        task.board.add_scalar(f"validation/{name}", value, state.step)
    return scores


def _record(
    state: TrainingState, recipe: Recipe, data: TrainingData, scores: Mapping[str, float]
) -> dict[str, Any]:
    """The run, as the checkpoint remembers it; no paths of this machine and no patient data."""
    return {
        "recipe": to_plain(recipe),
        "step": state.step,
        "validation": dict(scores),
        "history": state.history,
        "training_patients": sorted({c.entry.patient for c in data.cases if c.entry.dataset != "phantom"}),
        "num_phantoms": sum(c.entry.dataset == "phantom" for c in data.cases),
        "validation_patients": sorted({entry.patient for entry in data.validation}),
        "versions": {name: version(name) for name in ("nomina", "torch", "monai", "numpy")},
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


class _Clock:
    """Seconds per step and time left."""

    def __init__(self, step: int, num_steps: int) -> None:
        self.first, self.num_steps, self.start = step, num_steps, time.monotonic()

    def text(self, step: int) -> str:
        per_step = (time.monotonic() - self.start) / max(1, step - self.first)
        left = round(per_step * (self.num_steps - step) / 60)
        return f"{per_step:.2f} s/step, {left // 60} h {left % 60:02d} min left"


def _log_start(task: _Task, state: TrainingState) -> None:
    if task.fabric.is_global_zero:
        logger.info(
            "%s: %.1f M parameters, %d training cases, %d validation cases, step %d of %d",
            task.recipe.name,
            sum(parameter.numel() for parameter in state.network.parameters()) / 1e6,
            len(task.data.cases),
            len(task.data.validation),
            state.step,
            task.recipe.train.steps,
        )


def _log(task: _Task, step: int, losses: Mapping[str, float], clock: _Clock) -> None:
    if task.fabric.is_global_zero:
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        logger.info("step %d  %s  %s", step, text, clock.text(step))
        for name, value in losses.items():
            task.board.add_scalar(f"loss/{name}", value, step)


def _fabric(cfg: TrainConfig, accelerator: str, devices: int | str) -> "Fabric":
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments import TorchElasticEnvironment
    except ImportError as error:
        raise NominaError('training needs more packages: pip install "nomina[train]"') from error
    has_gpu = torch.cuda.is_available()
    if accelerator not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"accelerator must be auto, cpu or cuda, got {accelerator!r}")
    if accelerator == "cuda" and not has_gpu:
        raise ConfigError("accelerator is cuda, but torch finds no CUDA device here; use cpu")
    if accelerator == "auto":
        accelerator = "cuda" if has_gpu else "cpu"
    num_nodes = 1
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        num_nodes = int(os.environ["WORLD_SIZE"]) // devices
    elif devices == "auto" and accelerator == "cpu":
        devices = 1
    precision = "bf16-mixed" if _is_bf16(cfg, accelerator) else "32-true"
    return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, precision=precision)


def _is_bf16(cfg: TrainConfig, device_type: str) -> bool:
    """Whether to train in bf16: as the recipe says, or where the device calculates in it."""
    can = device_type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return cfg.precision == "bf16" or (cfg.precision == "auto" and can)


def _layout(cfg: TrainConfig, device: torch.device) -> torch.memory_format:
    """Layout of network and patches: on CPUs float32 gradients take a third less time channels first."""
    return torch.channels_last if _is_bf16(cfg, device.type) else torch.contiguous_format


def _board(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise NominaError('training needs more packages: pip install "nomina[train]"') from error
    return SummaryWriter(str(out))
