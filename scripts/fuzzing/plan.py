"""Which input has which number: everything follows from the seed and the number."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fuzzing.cases import Mutant, Original
from fuzzing.containers import ANY_FILE, GZIP, PACKED_VOXELS, SERIES, ZIP
from fuzzing.damage import BYTES
from fuzzing.dicom import DEFLATED, DICOM
from fuzzing.headers import NIFTI, TEXT_HEADER
from fuzzing.originals import image_originals
from fuzzing.other_originals import other_originals
from fuzzing.readers import read
from fuzzing.texts import BANK, CHECKPOINT, JSON, YAML

Mutation = Callable[[np.random.Generator, Original], Mutant]


@cache
def originals() -> tuple[Original, ...]:
    """Every original, with what a reader makes of it."""
    return tuple(map(_with_content, (*image_originals(), *other_originals())))


def make(seed: int, number: int) -> Mutant:
    """The input of that number."""
    rng = np.random.default_rng((seed, number))
    original = originals()[number % len(originals())]
    special = _special(original)
    # Half of the inputs know their format, half do not.
    choices = special if special and rng.random() < 0.5 else (*BYTES, *ANY_FILE)
    return choices[rng.integers(len(choices))](rng, original)


def write(mutant: Mutant, folder: Path) -> None:
    """Lay an input out in a folder; what must not be reached lies in the folder above."""
    import os

    for name, data in mutant.files.items():
        (folder / name).write_bytes(data.replace(b"ABSOLUTE", bytes(folder.parent / "outside.raw")))
    for name, size in mutant.sizes.items():
        os.truncate(folder / name, size)
    for name, target in mutant.links.items():
        (folder / name).symlink_to(target)
    for name in mutant.pipes:
        os.mkfifo(folder / name)


def _with_content(original: Original) -> Original:
    from dataclasses import replace

    whole = Mutant(original, "none", "same", original.files)
    with TemporaryDirectory() as folder:
        write(whole, Path(folder))
        return replace(original, content=read(whole, Path(folder)))


def _special(original: Original) -> Sequence[Mutation]:
    """Damage that knows the format of an original."""
    kind, files = original.kind, original.files
    by_reader: dict[str, Sequence[Mutation]] = {
        "recipe": YAML,
        "scheme": YAML,
        "sidecar": JSON,
        "checkpoint": (*JSON, *CHECKPOINT, *BANK),
        "bank": BANK,
        "dataset": JSON,
    }
    if original.reader in by_reader:
        return by_reader[original.reader]
    if kind.startswith("DICOM"):
        return (*DICOM, *(SERIES if "series" in kind else ()), *(DEFLATED if "deflated" in kind else ()))
    if kind == "zip":
        return ZIP
    if ".nii" in original.target:
        return (*NIFTI, *(GZIP if original.target.endswith(".gz") else ()))
    is_packed = any(name in files for name in original.checked_from)
    return (*TEXT_HEADER, *(PACKED_VOXELS if is_packed else ()))
