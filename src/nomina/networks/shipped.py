"""Where checkpoints lie: those that come with nomina have names. Needs no torch."""

from pathlib import Path

from nomina.errors import CheckpointError

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints"
"""Folder of the checkpoints that come with nomina."""


def checkpoint_folder(model: str | Path) -> Path:
    """The folder of a shipped checkpoint, or the folder given.

    Raises:
        CheckpointError: There is neither.
    """
    folder = SHIPPED / str(model)
    if not folder.is_dir():
        folder = Path(model)
    if not folder.is_dir():
        shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob("*/config.json")))
        raise CheckpointError(f"no checkpoint {str(model)!r}: give a folder, or a shipped one: {shipped}")
    return folder
