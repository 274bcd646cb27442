"""The training loop: it learns, goes on after a kill as if nothing had been, and keeps what it should."""

import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from nomina.config import load_config, to_plain
from nomina.errors import CaseError, CheckpointError, ConfigError, NominaError
from nomina.learning import fit as fit_module
from nomina.learning import run_record, slice_task
from nomina.learning.augmentation import AugmentationConfig
from nomina.learning.devices import open_fabric
from nomina.learning.fit import fit, learning_rate
from nomina.learning.losses import LossConfig
from nomina.learning.prepared import PreparedDataset
from nomina.learning.recipe import DataSource, Recipe, TrainConfig, WordsConfig
from nomina.learning.run_record import Origin
from nomina.learning.sampling import SamplingConfig
from nomina.learning.task import Forward
from nomina.learning.training_state import STATE_FILE, TrainingState
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.checkpoint import load_checkpoint
from nomina.networks.nnunet import NNUNetConfig
from nomina.networks.plain import PlainConfig, PlainNet
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.swin_unetr import SwinUNETRConfig

RECIPES = Path(__file__).parents[2] / "recipes"
NO_AUGMENTATION = AugmentationConfig(**{field.name: 0.0 for field in fields(AugmentationConfig)})


def train(recipe: Recipe, out: Path) -> Path:
    return fit(recipe, out, accelerator="cpu")


def shorter(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **changes))


def state_of(out: Path) -> dict[str, Tensor]:
    return dict(load_file(out / STATE_FILE))


def assert_identical(one: Path, other: Path) -> None:
    """Weights, averages, optimiser moments, step, history and checkpoints are the same bit for bit."""
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []
    meta = [_meta(one), _meta(other)]
    assert meta[0]["history"] == meta[1]["history"]
    assert meta[0]["step"] == meta[1]["step"]
    for name in ("best", "last"):
        assert load_checkpoint(one / name).digest == load_checkpoint(other / name).digest


def _meta(out: Path) -> dict[str, Any]:
    with safe_open(out / STATE_FILE, "pt") as file:
        return dict(json.loads(file.metadata()["nomina"]))


def test_a_run_killed_at_any_step_goes_on_bit_for_bit(
    tiny_recipe: Recipe, tmp_path: Path, train_killed: Callable[..., None]
) -> None:
    train(tiny_recipe, tmp_path / "straight")
    for step in (1, 3):
        out = tmp_path / f"killed_{step}"
        train_killed(tiny_recipe, out, at=step)
        train(tiny_recipe, out)
        assert_identical(tmp_path / "straight", out)


def test_steps_that_a_resumed_run_takes_again_stand_once_in_its_curves(
    tiny_recipe: Recipe, tmp_path: Path, train_killed: Callable[..., None]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe, out = shorter(tiny_recipe, save_minutes=60.0), tmp_path / "out"
    train_killed(recipe, out, at=3)
    assert not (out / STATE_FILE).exists()
    train(recipe, out)
    curves = EventAccumulator(str(out))
    curves.Reload()
    assert [event.step for event in curves.Scalars("loss/segmentation")] == [1, 2, 3, 4, 5]
    assert [event.step for event in curves.Scalars("validation/dice")] == [2, 4, 5]


def test_the_first_step_is_the_same_whatever_random_numbers_were_drawn_before(
    tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = shorter(tiny_recipe, steps=1)
    train(recipe, tmp_path / "one")
    torch.manual_seed(99)
    np.random.default_rng(99).random(7)
    train(recipe, tmp_path / "two")
    assert_identical(tmp_path / "one", tmp_path / "two")
    train(shorter(recipe, seed=1), tmp_path / "three")
    changed = state_of(tmp_path / "three")
    assert any(not torch.equal(v, changed[k]) for k, v in state_of(tmp_path / "one").items())


def test_a_finished_run_is_left_alone_and_a_longer_one_goes_on(
    tiny_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = shorter(tiny_recipe, steps=2)
    best = train(recipe, tmp_path / "out")
    before = state_of(tmp_path / "out")
    assert train(recipe, tmp_path / "out") == best
    assert all(torch.equal(v, before[k]) for k, v in state_of(tmp_path / "out").items())
    train(shorter(recipe, steps=3), tmp_path / "out")
    assert load_checkpoint(tmp_path / "out" / "last").run["step"] == 3
    train(recipe, tmp_path / "out")
    assert "holds 3 steps, the recipe asks for 2: nothing is left to train" in caplog.text


def test_another_recipe_in_the_same_folder_is_refused(tiny_recipe: Recipe, tmp_path: Path) -> None:
    recipe = shorter(tiny_recipe, steps=1)
    train(recipe, tmp_path / "out")
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        train(replace(recipe, losses=LossConfig(contrast=0.3)), tmp_path / "out")


def test_the_best_checkpoint_is_the_one_with_the_highest_validation_dice(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.7, 0.4])
    monkeypatch.setattr(slice_task, "validate", lambda *args, **kwargs: {"dice": next(scores)})
    recipe = shorter(tiny_recipe, steps=3, validate_every=1)
    best = load_checkpoint(train(recipe, tmp_path / "out"))
    assert best.run["step"] == 2
    assert best.run["validation"] == {"dice": 0.7}
    last = load_checkpoint(tmp_path / "out" / "last")
    assert [record["dice"] for record in last.run["history"]] == [0.2, 0.7, 0.4]


def test_the_checkpoint_holds_the_averaged_weights_and_the_record_of_the_run(
    tiny_recipe: Recipe, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(train(shorter(tiny_recipe, steps=2), tmp_path / "out"))
    state = state_of(tmp_path / "out")
    for name, value in checkpoint.network.state_dict().items():
        torch.testing.assert_close(value, state[f"averaged.{name}"], rtol=0, atol=0)
    assert any(
        not torch.equal(value, state["network." + name.removeprefix("averaged.")])
        for name, value in state.items()
        if name.startswith("averaged.")
    )
    assert checkpoint.run["training_patients"] == ["p1"]
    assert checkpoint.run["validation_patients"] == ["p2"]
    assert checkpoint.run["num_phantoms"] == 0
    assert set(checkpoint.run["versions"]) == {"nomina", "torch", "monai", "numpy"}
    assert checkpoint.run["recipe"] == to_plain(shorter(tiny_recipe, steps=2))
    assert checkpoint.config.preparation.in_plane_spacing_mm == 1.0


def test_the_commit_is_that_of_the_start_and_not_of_the_last_save(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter(["at the start", "while it ran", "at the end"])
    monkeypatch.setattr(run_record, "current_commit", lambda: next(commits))
    train(shorter(tiny_recipe, steps=2, validate_every=1), tmp_path / "out")
    assert load_checkpoint(tmp_path / "out" / "last").run["commit"] == "at the start"


def test_progress_says_losses_and_time_left(
    tiny_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="nomina.learning"):
        train(shorter(tiny_recipe, steps=1), tmp_path / "out")
    assert "2 training cases, 1 validation cases, step 0 of 1" in caplog.text
    assert "s/step, 0 h 00 min left" in caplog.text
    assert "step 1 validation: dice" in caplog.text
    assert list((tmp_path / "out").glob("events*"))


def test_training_without_validation_scans_keeps_the_newest_weights(
    tiny_recipe: Recipe, tmp_path: Path
) -> None:
    source = replace(tiny_recipe.data[0], split=None)
    best = train(replace(shorter(tiny_recipe, steps=3), data=(source,)), tmp_path / "out")
    assert load_checkpoint(best).run["step"] == 3


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.1),  # warm-up over 10 of 110 steps, up by a tenth of the peak each
        (4, 0.5),
        (9, 1.0),
        (10, 1.0),
        (35, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 4))),
        (60, 0.505),
        (110, 0.01),
    ],
)
def test_the_learning_rate_rises_and_falls(step: int, rate: float) -> None:
    cfg = TrainConfig(steps=110, warmup_share=10 / 110, learning_rate=2e-3)
    assert learning_rate(step, cfg) == pytest.approx(2e-3 * rate)


def test_the_rate_of_sgd_falls_as_nnunets_from_the_start() -> None:
    cfg = TrainConfig(steps=100, optimiser="sgd", learning_rate=1e-2)
    rates = [learning_rate(step, cfg) for step in (0, 50, 99)]
    assert rates == pytest.approx([1e-2, 1e-2 * 0.5**0.9, 1e-2 * 0.01**0.9])


def test_nnunets_architecture_learns_by_sgd_with_deep_supervision(
    tiny_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("dynamic_network_architectures", reason="needs dynamic-network-architectures")
    network = PlainConfig(
        backbone=NNUNetConfig(stage_channels=(8, 8, 8, 8)), num_slices=3, has_deep_supervision=True
    )
    recipe = replace(tiny_recipe, network=network)
    caplog.set_level(logging.INFO, logger="nomina.learning")
    train(shorter(recipe, optimiser="sgd", learning_rate=0.05, steps=6, ema_decay=0.0), tmp_path / "out")
    said = [record.getMessage() for record in caplog.records if " coarse " in record.getMessage()]
    losses = [float(text.split("segmentation ")[1].split()[0]) for text in said]
    assert len(losses) == 6
    assert min(losses[3:]) < losses[0]
    loaded = load_checkpoint(tmp_path / "out" / "last")
    assert loaded.config.network == network


class OneWeight(PlainNet):
    """A network that is one number."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)  # no backbone
        self.weight = torch.nn.Parameter(torch.tensor([[0.0]]))


def test_the_average_follows_its_formula() -> None:
    network = OneWeight()
    state = TrainingState(network, {"weight": torch.tensor([[0.0]])}, torch.optim.AdamW(network.parameters()))
    expected = 0.0
    for step, weight in enumerate((4.0, -2.0, 1.0), start=1):
        torch.nn.init.constant_(network.weight, weight)
        state.step = step
        fit_module._average(state, decay=0.25)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
        assert state.averaged["weight"].item() == pytest.approx(expected)
    assert (1 + 1) / (10 + 1) < 0.25 < (1 + 3) / (10 + 3)  # both branches were taken


def test_weight_decay_spares_norms_biases_and_scales(tiny_recipe: Recipe, tmp_path: Path) -> None:
    state = _run_and_state(tiny_recipe, tmp_path)[1]
    decayed, spared = state.optimiser.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    named = dict(state.network.named_parameters())
    spared_names = {name for name, p in named.items() if any(p is other for other in spared["params"])}
    assert {"fusion.0.image_out.bias", "head.log_scale", "head.first_logits.bias"} <= spared_names
    assert all(named[name].ndim <= 1 for name in spared_names)
    assert len(decayed["params"]) + len(spared_names) == len(named)


def test_accumulated_gradients_are_the_mean_of_their_forward_passes(
    tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Two passes over 2 patches are not one over 4: Dice is taken per forward pass, by design."""
    recipe = shorter(tiny_recipe, accumulate=2, clip_norm=1e9)
    run, state = _run_and_state(recipe, tmp_path)
    network = run.fabric.setup_module(Forward(state.network))
    recorded: list[Tensor] = []

    class Recorder:
        param_groups: list[dict[str, Any]] = [{"params": list(state.network.parameters())}]  # noqa: RUF012

        def step(self) -> None:
            recorded.extend(p.grad.clone() for p in state.network.parameters() if p.grad is not None)

        def zero_grad(self) -> None:
            state.network.zero_grad()

    fit_module._train_step(run, network, Recorder(), step=3)
    for micro_step in range(2):
        parts = run.task.losses(network, 3 / recipe.train.steps, (0, 3, micro_step, 0))
        torch.autograd.backward(torch.stack(list(parts.values())).sum() / 2)
    expected = [p.grad for p in state.network.parameters() if p.grad is not None]
    for one, other in zip(recorded, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("precision", "inside"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_precision_of_the_recipe_is_that_of_the_convolutions_and_not_of_the_losses(
    tiny_recipe: Recipe, tmp_path: Path, precision: str, inside: torch.dtype
) -> None:
    run, state = _run_and_state(shorter(tiny_recipe, precision=precision), tmp_path)
    network = run.fabric.setup_module(Forward(state.network))
    seen: list[torch.dtype] = []
    convolution = next(m for m in state.network.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    parts = run.task.losses(network, 0.5, (0, 0, 0, 0))
    assert seen == [inside]
    assert {value.dtype for value in parts.values()} == {torch.float32}


def test_fine_tuning_starts_from_the_checkpoint_and_keeps_its_words(
    tiny_recipe: Recipe, tmp_path: Path, write_table: Callable[[Path, int], str]
) -> None:
    first = load_checkpoint(train(shorter(tiny_recipe, steps=2), tmp_path / "first"))
    tuned_recipe = replace(
        shorter(tiny_recipe, steps=1, learning_rate=1e-9),
        initial_checkpoint=str(tmp_path / "first" / "best"),
        words=WordsConfig(encoder=write_table(tmp_path / "other.npz", 1)),
    )
    tuned = load_checkpoint(train(tuned_recipe, tmp_path / "tuned"))
    assert tuned.bank.digest == first.bank.digest
    for name, value in tuned.network.state_dict().items():
        torch.testing.assert_close(value, first.network.state_dict()[name], atol=1e-6, rtol=0)


def test_patients_who_trained_an_initial_checkpoint_are_recorded_and_warned_of(
    tiny_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """p1 trains the first network; the third, two steps on, validates on p1."""
    (source,) = tiny_recipe.data
    exchanged = tmp_path / "exchanged.json"
    exchanged.write_text('{"train": ["p2"], "validation": ["p1"]}')
    first = train(shorter(tiny_recipe, steps=1), tmp_path / "first")
    second = replace(shorter(tiny_recipe, steps=1), initial_checkpoint=str(first))
    train(second, tmp_path / "second")
    assert "validates, but trained" not in caplog.text
    third = replace(second, initial_checkpoint=str(tmp_path / "second" / "last"))
    train(replace(third, data=(replace(source, split=str(exchanged)),)), tmp_path / "third")
    assert "patient p1 validates, but trained initial_checkpoint last" in caplog.text
    record = load_checkpoint(tmp_path / "third" / "last").run
    assert (record["training_patients"], record["earlier_patients"]) == (["p2"], ["p1"])


def test_fine_tuning_refuses_what_does_not_fit(tiny_recipe: Recipe, tmp_path: Path) -> None:
    train(shorter(tiny_recipe, steps=1), tmp_path / "first")
    tuning = replace(tiny_recipe, initial_checkpoint=str(tmp_path / "first" / "best"))
    with pytest.raises(ConfigError, match="was trained with the words of 'random-0'"):
        train(replace(tuning, words=WordsConfig(encoder="minilm")), tmp_path / "out")
    wider = ResidualUNetConfig(stage_channels=(8, 24), stage_blocks=(1, 1))
    assert isinstance(tuning.network, ATMNetConfig)
    with pytest.raises(ConfigError, match="has another network than the recipe"):
        train(replace(tuning, network=replace(tuning.network, backbone=wider)), tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"no checkpoint .*nowhere.*a shipped one"):
        train(replace(tuning, initial_checkpoint=str(tmp_path / "nowhere")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_structures_without_any_annotation_are_kept_and_not_learnt(
    tiny_recipe: Recipe,
    tmp_path: Path,
    make_prepared: Callable[..., PreparedDataset],
    short_spine: Callable[..., tuple[np.ndarray, np.ndarray]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = {"p1_t2": ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc")}
    make_prepared(tmp_path / "mine", {"p1_t2": short_spine()}, annotated=known)
    mine = replace(shorter(tiny_recipe, steps=2), data=(DataSource(folder=str(tmp_path / "mine")),))
    with pytest.raises(CaseError, match="no training case was annotated for L4-L5 disc"):
        train(mine, tmp_path / "out")
    first = train(shorter(tiny_recipe, steps=1), tmp_path / "first")
    train(replace(mine, initial_checkpoint=str(first)), tmp_path / "out")
    assert "no training case was annotated for L4-L5 disc: what best knows of it may fade" in caplog.text


def test_a_shipped_checkpoint_is_started_from_by_name(tiny_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="initial_checkpoint spine-mr knows other structures"):
        train(replace(tiny_recipe, initial_checkpoint="spine-mr"), tmp_path / "out")


def test_a_patch_that_the_network_cannot_take_is_refused_before_training(
    tiny_recipe: Recipe, tmp_path: Path
) -> None:
    odd = replace(tiny_recipe, sampling=SamplingConfig(patch_size=(33, 40)))
    with pytest.raises(ConfigError, match=r"multiples of 2, at least 2, for this network, got \[33, 40\]"):
        train(odd, tmp_path / "out")
    swin = replace(tiny_recipe, network=ATMNetConfig(backbone=SwinUNETRConfig(feature_size=12)))
    with pytest.raises(ConfigError, match="multiples of 32, at least 64"):
        train(replace(swin, sampling=SamplingConfig(patch_size=(32, 64))), tmp_path / "out")


def test_a_loss_that_is_not_finite_stops_the_run(tiny_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not finite at step 1 .* lower train\.learning_rate"):
        train(shorter(tiny_recipe, learning_rate=1e30, warmup_share=0.0), tmp_path / "out")


def test_devices_that_are_not_there_are_refused(tiny_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be auto, cpu or cuda, got 'abacus'"):
        fit(tiny_recipe, tmp_path / "out", accelerator="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            fit(tiny_recipe, tmp_path / "out", accelerator="cuda")


def test_missing_packages_are_named(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(NominaError, match=r'pip install "nomina\[train\]"'):
        train(tiny_recipe, tmp_path / "out")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"save_minutes": -1.0}, "save_minutes must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(fault: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**fault)


def overfitting(
    tmp_path: Path, make_prepared: Callable[..., PreparedDataset], arrays: tuple[np.ndarray, np.ndarray]
) -> Recipe:
    """The `faithful` recipe on four slices, which are at once the validation scan, without augmentation."""
    # Patches are centred on the structures: with these in the middle of the scan, patch and scan agree.
    side = arrays[0].shape[1]
    centred = tuple(np.roll(array, side // 2 - 16, axis=1) for array in arrays)
    make_prepared(tmp_path / "four", {"p1_t2": centred, "p2_t2": centred})
    (tmp_path / "split.json").write_text('{"train": ["p1"], "validation": ["p2"]}')
    sampling = SamplingConfig(
        patch_size=(side, side),
        rotation_deg=0,
        scale=(1, 1),
        shift_mm=(0, 0),
        loose_share=0,
        elastic_mm=0,
        slice_shares=(0, 0, 1),
    )
    return replace(
        load_config(Recipe, RECIPES / "atm_net_spider.yaml"),
        data=(DataSource(folder=str(tmp_path / "four"), split=str(tmp_path / "split.json")),),
        words=WordsConfig(encoder="minilm"),
        sampling=sampling,
        augmentation=NO_AUGMENTATION,
    )


def test_a_small_network_with_the_faithful_objective_overfits_four_slices(
    tmp_path: Path,
    make_prepared: Callable[..., PreparedDataset],
    short_spine: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    recipe = overfitting(tmp_path, make_prepared, short_spine(size=(4, 48, 48), shift=4))
    backbone = ResidualUNetConfig(stage_channels=(8, 16, 24, 32), stage_blocks=(1, 1, 1, 1))
    assert isinstance(recipe.network, ATMNetConfig)
    network = replace(recipe.network, backbone=backbone, fusion_width=32, contrast_width=32)
    length = TrainConfig(
        steps=80, batch_size=4, learning_rate=5e-3, ema_decay=0.7, precision="fp32", validate_every=80
    )
    losses, dice = losses_and_dice(replace(recipe, network=network, train=length), tmp_path / "out")
    assert np.mean(losses[-5:]) < 0.2 * np.mean(losses[:5])
    assert dice > 0.9


@pytest.mark.slow
def test_the_faithful_preset_overfits_four_slices(
    tmp_path: Path,
    make_prepared: Callable[..., PreparedDataset],
    short_spine: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    recipe = overfitting(tmp_path, make_prepared, short_spine(size=(4, 64, 64), shift=8))
    assert isinstance(recipe.network, ATMNetConfig)
    network = replace(recipe.network, backbone=SwinUNETRConfig(feature_size=12))
    length = TrainConfig(
        steps=60, batch_size=4, learning_rate=2e-3, ema_decay=0.7, precision="fp32", validate_every=60
    )
    losses, dice = losses_and_dice(replace(recipe, network=network, train=length), tmp_path / "out")
    assert np.mean(losses[-5:]) < 0.2 * np.mean(losses[:5])
    assert dice > 0.9


def losses_and_dice(recipe: Recipe, out: Path) -> tuple[list[float], float]:
    """Segmentation loss of each step, and Dice after the last."""
    losses: list[float] = []

    def record(run: Any, step: int, parts: dict[str, float], clock: Any) -> None:
        losses.append(parts["segmentation"])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fit_module, "_log", record)
        checkpoint = load_checkpoint(train(shorter(recipe, log_every=1), out))
    return losses, checkpoint.run["validation"]["dice"]


@pytest.mark.slow
def test_a_process_that_is_really_killed_goes_on_bit_for_bit(tiny_recipe: Recipe, tmp_path: Path) -> None:
    recipe = shorter(tiny_recipe, steps=40)
    train(recipe, tmp_path / "straight")
    out = tmp_path / "killed"
    process = subprocess.Popen(_command(recipe, tmp_path, out), stderr=subprocess.DEVNULL, env=_environment())
    try:
        deadline = time.monotonic() + 300
        while not (out / STATE_FILE).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -9, "the run ended before it could be killed"
    train(recipe, out)
    assert_identical(tmp_path / "straight", out)


@pytest.mark.slow
def test_two_processes_train_one_network(tiny_recipe: Recipe, tmp_path: Path) -> None:
    recipe = shorter(tiny_recipe, steps=3, precision="bf16")
    out = tmp_path / "two"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, *_command(recipe, tmp_path, out)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out / "best")]
    assert done.stderr.count("training cases") == 1
    assert load_checkpoint(out / "best").run["step"] in (2, 3)
    # Half of the patches come from the second process: other weights than with one alone.
    train(recipe, tmp_path / "one")
    alone, both = state_of(tmp_path / "one"), state_of(out)
    assert any(not torch.equal(alone[name], both[name]) for name in alone if name.startswith("network."))


def _command(recipe: Recipe, tmp_path: Path, out: Path) -> list[str]:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(to_plain(recipe)))
    arguments = ["train", str(path), "--out", str(out), "--accelerator", "cpu"]
    return [sys.executable, "-m", "nomina.cli.main", *arguments]


def _environment() -> dict[str, str]:
    """One thread, as in this process: sums of several threads round otherwise."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _run_and_state(recipe: Recipe, out: Path) -> tuple[Any, TrainingState]:
    """What `fit` makes before its first step."""
    fabric = open_fabric(recipe.train, "cpu", 1)
    task = fit_module.open_task(recipe, None, fabric.device)
    state = fit_module._first_state(task, None, fabric.device)
    return fit_module._Run(fabric, task, out, None, Origin(None, ())), state
