"""Where checkpoints lie: those that come with nomina have names. Needs no torch."""

from collections.abc import Sequence
from pathlib import Path

from nomina.anatomy.resolve import resolve_targets
from nomina.anatomy.sides import nameable
from nomina.errors import CheckpointError, PromptError
from nomina.plain_files import read_json

DEFAULT = "spine-mr"
"""The shipped checkpoint that is used where no words choose one."""

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
        raise CheckpointError(
            f"no checkpoint {str(model)!r}: give a folder, or a shipped one: {', '.join(shipped_names())}"
        )
    return folder


def nameable_of(model: str | Path) -> tuple[str, ...]:
    """What can be asked of a shipped checkpoint or a checkpoint folder, without loading its network.

    Raises:
        CheckpointError: There is no such checkpoint, or it does not list its structures.
    """
    path = checkpoint_folder(model) / "structures.json"
    try:
        names = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; give the folder of a checkpoint") from error
    if not isinstance(names, list):
        raise CheckpointError(f"{path} must hold a list of structures; copy the checkpoint again")
    return nameable([str(name) for name in names])


def shipped_names() -> list[str]:
    """Names of the checkpoints that come with nomina."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def shipped_of(modality: str) -> list[str]:
    """Names of the checkpoints that come with nomina and read scans of a modality, e.g. "CT"."""
    return [
        name for name in shipped_names() if read_json(SHIPPED / name / "config.json")["modality"] == modality
    ]


def shipped_for(prompts: Sequence[str] | None) -> str:
    """The shipped checkpoint that knows all that the words name; `DEFAULT` where everything is asked for.

    Raises:
        PromptError: Words that name nothing, or what no single shipped checkpoint knows.
    """
    if prompts is None:
        return DEFAULT
    known = {name: nameable(read_json(SHIPPED / name / "structures.json")) for name in shipped_names()}
    everything = [name for names in known.values() for name in names]
    targets = resolve_targets(prompts, within=everything, denial="no shipped model knows")
    wanted = {name for target in targets for name in (target.structure.name, *target.at)}
    fitting = [name for name, names in known.items() if wanted <= set(names)]
    if fitting:
        return DEFAULT if DEFAULT in fitting else fitting[0]
    parts = [
        f"{name} knows {', '.join(sorted(wanted & set(names)))}"
        for name, names in known.items()
        if wanted & set(names)
    ]
    raise PromptError(f"no shipped checkpoint knows all of it: {'; '.join(parts)}; ask for them in two runs")
