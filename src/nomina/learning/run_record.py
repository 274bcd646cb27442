"""The run, as the checkpoint remembers it."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nomina.config import to_plain
from nomina.learning.task import Task
from nomina.learning.training_state import TrainingState


def run_record(
    task: Task, state: TrainingState, scores: Mapping[str, float], commit: str | None
) -> dict[str, Any]:
    """Recipe, progress, scores and data of a run; no paths of this machine and no patient data."""
    return {
        "recipe": to_plain(task.recipe),
        "step": state.step,
        "validation": dict(scores),
        "history": state.history,
        "training_patients": sorted({e.patient for e in task.training if e.dataset != "phantom"}),
        "num_phantoms": sum(entry.dataset == "phantom" for entry in task.training),
        "validation_patients": sorted({entry.patient for entry in task.validation}),
        "versions": {name: version(name) for name in ("nomina", "torch", "monai", "numpy")},
        "python": platform.python_version(),
        "commit": commit,
    }


def current_commit(source: Path = Path(__file__)) -> str | None:
    """Commit of the repository that holds a source file; None where none does, as once it is installed."""
    name = ["git", "ls-files", "--error-unmatch", source.name]
    try:
        # The repository around a virtual environment is somebody else's.
        subprocess.run(name, capture_output=True, check=True, cwd=source.parent)
        command = ["git", "rev-parse", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=source.parent)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
