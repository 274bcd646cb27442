"""Where a training runs, in which precision, and how its tensors lie in memory."""

import os
from typing import TYPE_CHECKING

import torch

from nomina.errors import ConfigError, NominaError
from nomina.learning.recipe import TrainConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def open_fabric(cfg: TrainConfig, accelerator: str, devices: int | str) -> "Fabric":
    """The processes and devices of a run; see `fit`.

    Raises:
        ConfigError: The device is not known or not there.
        NominaError: The packages of `nomina[train]` are not installed.
    """
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
    precision = "bf16-mixed" if is_bf16(cfg, accelerator) else "32-true"
    return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, precision=precision)


def is_bf16(cfg: TrainConfig, device_type: str) -> bool:
    """Whether to train in bf16: as the recipe says, or where the device calculates in it."""
    can = device_type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return cfg.precision == "bf16" or (cfg.precision == "auto" and can)


def slice_layout(cfg: TrainConfig, device: torch.device) -> torch.memory_format:
    """Layout of network and patches: on CPUs float32 gradients take a third less time channels first."""
    return torch.channels_last if is_bf16(cfg, device.type) else torch.contiguous_format


def block_layout(cfg: TrainConfig, device: torch.device) -> torch.memory_format:
    """The same for networks of blocks."""
    return torch.channels_last_3d if is_bf16(cfg, device.type) else torch.contiguous_format
