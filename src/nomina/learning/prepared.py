"""A prepared dataset: the folder that `nomina prepare` writes and training reads.

    dataset.json            PrepareConfig, one record per case, the cases left out and why
    {case}.image.npy        float16, axes R A S; MR: slices with mean 0 and deviation 1; CT: cubes, 0 to 1
    {case}.labels.npy       uint8 on the same grid: 0 background, 1… structures in order, 255 ignored
    {case}.halves.npy       uint8, CT only: 1 left, 2 right half of the chest, 0 between them

A case is part of the dataset once its record stands in `dataset.json`, which is replaced as a whole.
"""

import json
import tokenize
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float16, UInt8
from pydantic import TypeAdapter

from nomina.anatomy.levels import levels_between
from nomina.config import config, to_plain
from nomina.errors import CaseError, ConfigError
from nomina.imaging.ct_preparation import IGNORED as IGNORED
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.files import atomic_path, write_text_atomic
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.preparations import Preparation
from nomina.learning.cases import natural_order
from nomina.plain_files import read_json

FORMAT = 1
"""Goes up whenever the same source would give other voxels."""

_DAMAGE = (OSError, EOFError, ValueError, TypeError, OverflowError, SyntaxError, tokenize.TokenError)
"""What NumPy raises on damaged arrays."""

_VERTEBRAE = tuple(f"{level} vertebra" for level in levels_between("L5", "T9"))
_DISCS = tuple(f"{upper}-{lower} disc" for lower, upper in pairwise(levels_between("S1", "T9")))

STRUCTURE_PRESETS = {
    "spider18": (*_VERTEBRAE[:8], "spinal canal", *_DISCS[:8]),
    "mrspineseg19": ("sacrum", *_VERTEBRAE, *_DISCS),
}
"""Class orders by name; everything else that is labelled is ignored in training.

`spider18`: with the background 18 classes; rarer levels (T9 and up) have too few cases [choice]."""

CHEST_STRUCTURES = (
    *("pulmonary artery", "left pulmonary artery", "right pulmonary artery", "pulmonary trunk"),
    *("pulmonary vein", "left pulmonary vein", "right pulmonary vein", "left atrium"),
    *("airway", "airway wall"),
)
"""What label maps of chests may name: their one class order, whatever the dataset annotates. Which classes a
network learns from them is said by the recipe (`nomina.learning.validity`)."""


@config
class PrepareConfig:
    """What a prepared dataset holds; one dataset has one config."""

    structures: tuple[str, ...] = STRUCTURE_PRESETS["spider18"]
    """Class order: class index = position + 1, 0 is background."""
    image: Preparation = ImagePreparation()
    """Spacing and intensity scale; inference uses the same."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.structures) < IGNORED or len(set(self.structures)) < len(self.structures):
            raise ConfigError(f"structures must be 1 to {IGNORED - 1} different names, got {self.structures}")


def chest_config(image: CTPreparation) -> PrepareConfig:
    """The config of a dataset of chest CTs."""
    return PrepareConfig(structures=CHEST_STRUCTURES, image=image)


@dataclass(frozen=True)
class PreparedEntry:
    """One case of a prepared dataset; its arrays stay on disk until asked for."""

    folder: Path
    id: str
    patient: str
    dataset: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    """Voxel index to RAS+ mm."""
    spacing_mm: tuple[float, float, float]
    voxel_counts: dict[str, int]
    """Voxels of each structure, in class order."""
    num_ignored_voxels: int
    sequence: str | None = None
    subset: str | None = None
    doubtful: str | None = None
    annotated: tuple[str, ...] | None = None
    """Structures that somebody looked for; None in datasets where that is every class."""
    source: tuple[str, ...] = ()
    """What the case was made from; a rerun makes it again when this differs."""

    @property
    def grid(self) -> Grid:
        """Grid of image and labels."""
        return Grid(self.shape, np.array(self.affine))

    def image(self) -> Float16[np.ndarray, "i j k"]:
        """The normalised scan, as a read-only memory map."""
        return self._open("image", np.float16)

    def labels(self) -> UInt8[np.ndarray, "i j k"]:
        """Class indices, as a read-only memory map."""
        return self._open("labels", np.uint8)

    def halves(self) -> UInt8[np.ndarray, "i j k"]:
        """Half of the chest of each voxel (`nomina.assessment.lung_halves`), as a read-only memory map."""
        return self._open("halves", np.uint8)

    def _open(self, kind: str, dtype: type) -> np.ndarray:
        path = array_path(self.folder, self.id, kind)
        try:
            if path.exists() and not path.is_file():
                raise ValueError("it is no file")
            array = np.load(path, mmap_mode="r")
        except _DAMAGE as error:
            raise CaseError(
                f"case {self.id}: {path} cannot be read ({error}); run `nomina prepare` again"
            ) from error
        if array.shape != self.shape or array.dtype != dtype:
            raise CaseError(
                f"case {self.id}: {path} holds {array.shape} {array.dtype}, expected {self.shape} "
                f"{np.dtype(dtype)}; run `nomina prepare` again with --force"
            )
        return array


@dataclass(frozen=True)
class PreparedDataset:
    """A cache on disk."""

    folder: Path
    config: PrepareConfig
    cases: tuple[PreparedEntry, ...]
    """In natural order of their ids."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why each case that could not be prepared is not here."""
    is_complete: bool = False
    """False while cases asked for are missing."""


def open_prepared(folder: Path | str) -> PreparedDataset:
    """A prepared dataset, for reading.

    Raises:
        CaseError: The folder holds no prepared dataset, an unfinished one, or one of another version.
    """
    dataset = read_prepared(Path(folder))
    if dataset is None:
        raise CaseError(f"{folder} holds no dataset.json; make the dataset with `nomina prepare`")
    if not dataset.is_complete:
        raise CaseError(
            f"{folder} is not finished ({len(dataset.cases)} cases so far); run the same `nomina prepare` "
            f"again"
        )
    return dataset


def read_prepared(folder: Path) -> PreparedDataset | None:
    """What `dataset.json` says, finished or not; None where there is none.

    Raises:
        CaseError: The file is damaged or of another version.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        version = content.pop("format")
        if version != FORMAT:
            raise CaseError(
                f"{path} has format {version}, this version of nomina reads {FORMAT}; prepare it "
                f"anew with --force"
            )
        cases = [{**case, "folder": folder} for case in content.pop("cases")]
        dataset = TypeAdapter(PreparedDataset).validate_python({**content, "folder": folder, "cases": cases})
        _refuse_strange_ids(dataset)
        return dataset
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CaseError):
            raise
        raise CaseError(
            f"{path} is not the index of a prepared dataset ({error}); prepare it anew with --force"
        ) from error


def _refuse_strange_ids(dataset: PreparedDataset) -> None:
    """Ids are parts of file names: none may lead out of the folder."""
    for case in dataset.cases:
        if not case.id or "\0" in case.id or {"/", "\\"} & set(case.id):
            raise ValueError(f"{case.id[:80]!r} is no id of a case")
        if min(case.shape) < 1:
            raise ValueError(f"case {case.id} has the impossible shape {case.shape}")


def write_index(dataset: PreparedDataset) -> None:
    """Replace `dataset.json` in one step."""
    cases = sorted(dataset.cases, key=lambda case: natural_order(case.id))
    content = {
        "format": FORMAT,
        "is_complete": dataset.is_complete,
        "config": to_plain(dataset.config),
        "left_out": dataset.left_out,
        "cases": [{key: value for key, value in asdict(case).items() if key != "folder"} for case in cases],
    }
    write_text_atomic(dataset.folder / "dataset.json", json.dumps(content, ensure_ascii=False))


def write_array(folder: Path, case_id: str, kind: str, array: np.ndarray) -> None:
    """Write "image", "labels" or "halves" of a case in one step."""
    with atomic_path(array_path(folder, case_id, kind)) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(array))


def remove_arrays(folder: Path, case_id: str) -> None:
    """Delete the arrays of a case that has no record any more."""
    for kind in ("image", "labels", "halves"):
        array_path(folder, case_id, kind).unlink(missing_ok=True)


def array_path(folder: Path, case_id: str, kind: str) -> Path:
    """Where "image", "labels" or "halves" of a case lies."""
    return folder / f"{case_id}.{kind}.npy"
