"""The run, as the checkpoint remembers it."""

import logging
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nomina.config import to_plain
from nomina.learning.cases import natural_order
from nomina.learning.task import Task
from nomina.learning.training_state import TrainingState
from nomina.networks.checkpoint import Checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What a run came from; it stays the same while training."""

    commit: str | None
    """Of the code as it was loaded: a repository may move on while a run lasts."""
    earlier_patients: tuple[str, ...]
    """Patients that trained the initial checkpoint, or one that it started from itself."""


def run_record(
    task: Task, state: TrainingState, scores: Mapping[str, float], origin: Origin
) -> dict[str, Any]:
    """Recipe, progress, scores and data of a run; no paths of this machine and no patient data."""
    return {
        "recipe": to_plain(task.recipe),
        "step": state.step,
        "validation": dict(scores),
        "history": state.history,
        "training_patients": sorted({e.patient for e in task.training if e.dataset != "phantom"}),
        "num_phantoms": sum(entry.dataset == "phantom" for entry in task.training),
        "earlier_patients": list(origin.earlier_patients),
        "validation_patients": sorted({entry.patient for entry in task.validation}),
        "versions": {name: version(name) for name in ("nomina", "torch", "monai", "numpy")},
        "python": platform.python_version(),
        "commit": origin.commit,
    }


def origin_of(task: Task, start: Checkpoint | None) -> Origin:
    """Where a run comes from; warns of validation patients whom the initial checkpoint knows already."""
    if start is None:
        return Origin(current_commit(), ())
    earlier = {*start.run.get("training_patients", ()), *start.run.get("earlier_patients", ())}
    if known := sorted(earlier & {entry.patient for entry in task.validation}, key=natural_order):
        logger.warning(
            "patient %s validates, but trained initial_checkpoint %s, if the names mean the same people: "
            "validation scores are too good",
            ", ".join(known),
            start.name,
        )
    return Origin(current_commit(), tuple(sorted(earlier, key=natural_order)))


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
