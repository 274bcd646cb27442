"""What is done with a fuzz input: nomina's public readers, and `nomina doctor`'s."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.cases import Mutant
from nomina.errors import NominaError


class DoctorError(Exception):
    """`nomina doctor` finds no error in what the reader refuses."""


def read(mutant: Mutant, folder: Path) -> Any:
    """Read an input that lies in `folder` as its format is read.

    Returns:
        What was read, in the form of `Original.content`.

    Raises:
        NominaError: It was refused.
        DoctorError: It was refused, but by the doctor it is sound.
    """
    return _READERS[mutant.original.reader](folder / mutant.original.target)


def is_same(content: Any, other: Any) -> bool:
    """Whether two contents are the same voxels at the same places, or the same values."""
    if isinstance(content, tuple) and isinstance(other, tuple):
        return len(content) == len(other) and all(map(is_same, content, other))
    if isinstance(content, np.ndarray):
        close = content.dtype.kind == "f"
        return content.shape == other.shape and bool(
            np.allclose(content, other, atol=1e-6) if close else np.array_equal(content, other)
        )
    return bool(content == other)


def _scan(path: Path) -> Any:
    from nomina.imaging.doctor import examine
    from nomina.imaging.read import read_volume

    refused = None
    try:
        volume = read_volume(path)
    except NominaError as error:
        refused = error
    examinations = examine(path)
    if refused is None:
        return volume.array, volume.grid.affine
    if not any(examination.has_errors for examination in examinations):
        raise DoctorError(str(refused)) from refused
    raise refused


def _labels(path: Path) -> Any:
    from nomina.anatomy.schemes import read_label_map

    label_map = read_label_map(path, scheme="spider")
    return label_map.array, label_map.grid.affine


def _sidecar(path: Path) -> Any:
    from nomina.anatomy.schemes import read_label_map

    label_map = read_label_map(path)
    return label_map.array, label_map.grid.affine, dict(label_map.names)


def _recipe(path: Path) -> Any:
    from nomina.config import load_config, to_plain
    from nomina.learning.recipe import Recipe

    return to_plain(load_config(Recipe, path))


def _scheme(path: Path) -> Any:
    from nomina.anatomy.schemes import load_scheme

    scheme = load_scheme(path)
    return dict(scheme.labels), dict(scheme.partial)


def _bank(path: Path) -> Any:
    from nomina.language.bank import PromptBank

    return PromptBank.load(path).digest


def _checkpoint(path: Path) -> Any:
    from nomina.networks.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    weights = [value.numpy() for value in checkpoint.network.state_dict().values()]
    return checkpoint.structures, checkpoint.bank.digest, tuple(weights)


def _dataset(path: Path) -> Any:
    from nomina.learning.prepared import open_prepared

    dataset = open_prepared(path)
    return tuple(
        (case.id, np.array(case.image()), np.array(case.labels()), case.grid.affine) for case in dataset.cases
    )


_READERS: dict[str, Callable[[Path], Any]] = {
    "scan": _scan,
    "labels": _labels,
    "sidecar": _sidecar,
    "recipe": _recipe,
    "scheme": _scheme,
    "bank": _bank,
    "checkpoint": _checkpoint,
    "dataset": _dataset,
}
