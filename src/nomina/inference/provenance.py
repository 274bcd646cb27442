"""Where a segmentation comes from: what every network's result says of checkpoint, versions and machine."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from nomina.imaging.preparations import coarse_notes
from nomina.imaging.volume import Volume
from nomina.networks.checkpoint import Checkpoint


def provenance(
    checkpoint: Checkpoint, mode: str, canonical: Volume, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Plain data; nothing in it names the patient.

    Args:
        checkpoint: What segmented the scan.
        mode: What the network was told; see `nomina.inference.modes.PromptMode`.
        canonical: The scan in canonical axes: how it was interpreted is noted, and whether it is coarse.
        notes: What else one must know, one sentence each.
    """
    calibration = checkpoint.config.verdicts
    return {
        "model": checkpoint.name,
        "digest": checkpoint.digest,
        "encoder": asdict(checkpoint.bank.provenance),
        "mode": mode,
        "scheme_of_levels": checkpoint.config.scheme,
        "scores_fitted_on": None if calibration is None else calibration.fitted_on,
        "versions": {name: version(name) for name in ("nomina", "torch")},
        "machine": {
            "device": next(checkpoint.network.parameters()).device.type,
            "threads": torch.get_num_threads(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        },
        "notes": [
            *canonical.notes,
            *coarse_notes(canonical.grid, checkpoint.config.preparation),
            *_phantom_notes(checkpoint),
            *notes,
        ],
    }


def _phantom_notes(checkpoint: Checkpoint) -> list[str]:
    """What one must know of a network that never saw a patient; nothing where its record does not say."""
    if checkpoint.run.get("training_patients") != [] or checkpoint.run.get("earlier_patients"):
        return []
    return [
        f"{checkpoint.name} was trained, and its scores were fitted, on phantoms alone: look at every mask."
    ]
