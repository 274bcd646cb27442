"""The training loop, readable top to bottom: draw, forward, backward, average, validate, save.

Every draw follows from (seed, step), so a run that was killed and resumed goes on exactly as if it had not been
(bit for bit on a CPU). Runs on a CPU, one GPU, or several under torchrun with the same recipe.
"""

import json
import logging
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nomina.config import to_plain
from nomina.errors import CheckpointError, ConfigError, NominaError
from nomina.language.bank import PromptBank
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.prompts import NUM_PARAPHRASES, all_sentences, image_statements
from nomina.learning.batches import Batch, TrainingData, hear, make_batch, open_training_data, true_choices
from nomina.learning.losses import objective
from nomina.learning.recipe import Recipe, TrainConfig
from nomina.learning.validate import validate
from nomina.networks.build import Network, build_network
from nomina.networks.checkpoint import CheckpointConfig, load_checkpoint, save_checkpoint
from nomina.networks.words import EncodedPrompts, encode_prompts

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"


@dataclass
class _Run:
    """Everything that changes while training."""

    network: Network
    averaged: dict[str, Tensor]
    """EMA of the weights: what is validated and saved."""
    optimiser: torch.optim.AdamW
    step: int = 0
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    """One record per validation."""


def fit(recipe: Recipe, out: Path, *, accelerator: str = "auto", devices: int | str = "auto") -> Path:
    """Train a network.

    Args:
        recipe: What to train on what.
        out: Folder of this run: `best/` and `last/` checkpoints, `state.safetensors` to resume from,
            `events…` for TensorBoard. A run found there is resumed.
        accelerator: "auto", "cpu" or "cuda".
        devices: Number of devices; "auto" takes all GPUs, or one CPU process.

    Returns:
        Folder of the best checkpoint.

    Raises:
        ConfigError: The recipe contradicts itself or the run in `out`.
        CaseError: The data cannot be read.
    """
    fabric = _fabric(recipe.train, accelerator, devices)
    fabric.launch()
    data = open_training_data(recipe.data)
    bank = _make_bank(recipe, data)
    words = [
        encode_prompts(bank, data.structures, paraphrase=p).to(fabric.device) for p in range(NUM_PARAPHRASES)
    ]

    torch.manual_seed(recipe.train.seed)
    network = build_network(recipe.network, data.structures, text_width=bank.vectors.shape[1])
    if recipe.initial_checkpoint is not None:
        _start_from(network, recipe.initial_checkpoint, data.structures)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    run = _Run(
        network,
        {k: v.detach().clone() for k, v in network.state_dict().items()},
        _optimiser(network, recipe.train),
    )
    out.mkdir(parents=True, exist_ok=True)
    _resume(run, recipe, out / STATE_FILE)
    wrapped, optimiser = fabric.setup(network, run.optimiser)
    wrapped.mark_forward_method("parts")
    logger.info(
        "%s: %.1f M parameters, %d training cases, %d validation cases, step %d of %d",
        recipe.name, _num_parameters(network) / 1e6, len(data.cases), len(data.validation), run.step, recipe.train.steps,
    )  # fmt: skip

    board = _board(out) if fabric.is_global_zero else None
    clock, saved = _Clock(run.step, recipe.train.steps), time.monotonic()
    while run.step < recipe.train.steps:
        parts = _train_step(fabric, wrapped, optimiser, run, recipe, data, words)
        run.step += 1
        _average(run, recipe.train.ema_decay)
        if run.step % recipe.train.log_every == 0:
            _log(run, parts, clock, board)
        is_last = run.step == recipe.train.steps
        if run.step % recipe.train.validate_every == 0 or is_last:
            _validate_and_save(fabric, run, recipe, data, bank, words[0], out, board)
        if fabric.is_global_zero and (is_last or time.monotonic() - saved > 60 * recipe.train.save_minutes):
            _save_state(run, recipe, out / STATE_FILE)
            saved = time.monotonic()
    return out / "best"


def _train_step(
    fabric: "Fabric",
    wrapped: Any,
    optimiser: Any,
    run: _Run,
    recipe: Recipe,
    data: TrainingData,
    words: list[EncodedPrompts],
) -> dict[str, float]:
    cfg = recipe.train
    wrapped.train()
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(run.step, cfg)
    sums: dict[str, float] = {}
    for micro_step in range(cfg.accumulate):
        seed = (cfg.seed, run.step, micro_step, fabric.global_rank)
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**31)))
        batch = make_batch(
            data,
            recipe.sampling,
            recipe.augmentation,
            batch_size=cfg.batch_size,
            num_slices=recipe.network.num_slices,
            seed=seed,
            device=fabric.device,
        )
        with fabric.no_backward_sync(wrapped, enabled=micro_step < cfg.accumulate - 1):
            parts = _losses(wrapped, batch, recipe, data, words, run.step / cfg.steps, seed)
            loss = sum(parts.values()) / cfg.accumulate
            fabric.backward(loss)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / cfg.accumulate
    if not all(math.isfinite(value) for value in sums.values()):
        raise ConfigError(f"the loss is not finite at step {run.step} ({sums}); lower train.learning_rate")
    fabric.clip_gradients(wrapped, optimiser, max_norm=cfg.clip_norm)
    optimiser.step()
    optimiser.zero_grad()
    return sums


def _losses(
    wrapped: Any,
    batch: Batch,
    recipe: Recipe,
    data: TrainingData,
    words: list[EncodedPrompts],
    progress: float,
    seed: tuple[int, ...],
) -> dict[str, Tensor]:
    rng = np.random.default_rng((*seed, 1))
    wording = words[int(rng.integers(len(words)))]
    heard = hear(wording, batch.facts, image_statements(data.structures), recipe.words, rng)
    output = wrapped.parts(batch.patch, heard, batch.target)
    choices = true_choices(batch.facts, data.structures).to(batch.patch.device)
    return objective(output, batch.target, choices, batch.visible, recipe.losses, progress)


def learning_rate(step: int, cfg: TrainConfig) -> float:
    """Linear warm-up, then a cosine from the peak to 1 % of it."""
    warmup = max(1, round(cfg.warmup_share * cfg.steps))
    if step < warmup:
        return cfg.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, cfg.steps - warmup)
    return cfg.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _start_from(network: Network, folder: str, structures: tuple[str, ...]) -> None:
    start = load_checkpoint(folder)
    if start.structures != structures:
        raise ConfigError(f"initial_checkpoint {folder} knows other structures than the data: {start.structures}")
    try:
        network.load_state_dict(start.network.state_dict())
    except RuntimeError as error:
        raise ConfigError(f"initial_checkpoint {folder} has another network than the recipe: {error}") from error


def _optimiser(network: Network, cfg: TrainConfig) -> torch.optim.AdamW:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": cfg.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=cfg.learning_rate)


@torch.no_grad()
def _average(run: _Run, decay: float) -> None:
    # Early on the average must not hold on to the random start.
    decay = min(decay, (1 + run.step) / (10 + run.step))
    weights = run.network.state_dict()
    names = [name for name, value in run.averaged.items() if value.is_floating_point()]
    torch._foreach_lerp_([run.averaged[n] for n in names], [weights[n] for n in names], 1 - decay)


def _validate_and_save(
    fabric: "Fabric",
    run: _Run,
    recipe: Recipe,
    data: TrainingData,
    bank: PromptBank,
    words: EncodedPrompts,
    out: Path,
    board: Any,
) -> None:
    if fabric.is_global_zero:
        present = {name: value.clone() for name, value in run.network.state_dict().items()}
        run.network.load_state_dict(run.averaged)
        run.network.eval()
        scores = validate(run.network, data, words, num_slices=recipe.network.num_slices)
        run.network.load_state_dict(present)
        run.history.append({"step": run.step, **scores})
        logger.info("step %d validation: %s", run.step, "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))
        for name, value in scores.items():
            board.add_scalar(f"validation/{name}", value, run.step)
        score = scores.get("dice", float(run.step))
        names = ("best", "last") if score > run.best_score else ("last",)
        run.best_score = max(run.best_score, score)
        cfg = CheckpointConfig(network=recipe.network, preparation=data.prepare.image, scheme=recipe.scheme)
        for name in names:
            save_checkpoint(
                out / name,
                weights=run.averaged,
                cfg=cfg,
                structures=data.structures,
                bank=bank,
                run=_record(run, recipe, data, scores),
            )
    fabric.barrier()


def _record(run: _Run, recipe: Recipe, data: TrainingData, scores: Mapping[str, float]) -> dict[str, Any]:
    """The run, as the checkpoint remembers it; no paths of this machine and no patient data."""
    return {
        "recipe": to_plain(recipe),
        "step": run.step,
        "validation": dict(scores),
        "history": run.history,
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


def _make_bank(recipe: Recipe, data: TrainingData) -> PromptBank:
    encoder = load_encoder(recipe.words.encoder, source=recipe.words.encoder_source)
    return build_bank(encoder, all_sentences(data.structures))


def _save_state(run: _Run, recipe: Recipe, path: Path) -> None:
    """One file, replaced in one step: weights, averages, optimiser moments, step, history."""
    tensors = {f"network.{name}": value for name, value in run.network.state_dict().items()}
    tensors |= {f"averaged.{name}": value for name, value in run.averaged.items()}
    for index, moments in run.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
    meta = {
        "step": run.step,
        "best_score": run.best_score,
        "history": run.history,
        "recipe": to_plain(recipe),
    }
    part = path.with_name(path.name + ".part")
    # Clones: safetensors refuses tensors that share memory, and channels-last ones.
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        part,
        {"nomina": json.dumps(meta)},
    )
    os.replace(part, path)


def _resume(run: _Run, recipe: Recipe, path: Path) -> None:
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["nomina"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); remove it to start anew") from error
    if _without_length(meta["recipe"]) != _without_length(to_plain(recipe)):
        raise ConfigError(
            f"{path.parent} holds a run of another recipe; train into another folder, or remove it to start anew"
        )
    run.network.load_state_dict(_section(tensors, "network."))
    run.averaged.update(
        {name: value.to(run.averaged[name].device) for name, value in _section(tensors, "averaged.").items()}
    )
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _section(tensors, "optimiser.").items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = value
    run.optimiser.load_state_dict({**run.optimiser.state_dict(), "state": moments})
    run.step, run.best_score, run.history = meta["step"], meta["best_score"], meta["history"]


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _without_length(recipe: dict[str, Any]) -> dict[str, Any]:
    """A resumed run may be made longer, or save and report at other times."""
    bookkeeping = {"steps", "validate_every", "save_minutes", "log_every"}
    return {**recipe, "train": {k: v for k, v in recipe["train"].items() if k not in bookkeeping}}


class _Clock:
    """Seconds per step and time left."""

    def __init__(self, step: int, num_steps: int) -> None:
        self.first, self.num_steps, self.start = step, num_steps, time.monotonic()

    def text(self, step: int) -> str:
        per_step = (time.monotonic() - self.start) / max(1, step - self.first)
        left = round(per_step * (self.num_steps - step) / 60)
        return f"{per_step:.2f} s/step, {left // 60} h {left % 60:02d} min left"


def _log(run: _Run, parts: Mapping[str, float], clock: _Clock, board: Any) -> None:
    text = "  ".join(f"{name} {value:.4f}" for name, value in parts.items())
    logger.info("step %d  %s  %s", run.step, text, clock.text(run.step))
    if board is not None:
        for name, value in parts.items():
            board.add_scalar(f"loss/{name}", value, run.step)


def _num_parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _fabric(cfg: TrainConfig, accelerator: str, devices: int | str) -> "Fabric":
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise NominaError('training needs more packages: pip install "nomina[train]"') from error
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if devices == "auto" and accelerator == "cpu":
        devices = 1
    precision = "bf16-mixed" if cfg.precision == "bf16" else "32-true"
    return Fabric(accelerator=accelerator, devices=devices, precision=precision)


def _board(out: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out))
