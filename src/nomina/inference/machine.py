"""Where a network calculates: what a run card must hold for a mask to be made again bit for bit."""

import torch
from torch import nn


def machine_of(network: nn.Module) -> dict[str, object]:
    """Device, threads and kind of CPU, as plain data."""
    return {
        "device": next(network.parameters()).device.type,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
