"""`Case`: one labelled scan on disk; and which patients train and which validate."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nomina.errors import CaseError
from nomina.imaging.volume import LabelMap, Volume
from nomina.plain_files import read_json


@dataclass(frozen=True)
class Case:
    """A scan and its label map, as files; neither has to exist until the case is prepared."""

    id: str
    """Unique in its dataset; names the files of the prepared case."""
    patient: str
    """Splits go by this: all scans of one patient lie on one side."""
    volume_path: Path
    label_map_path: Path
    scheme: str
    """Label scheme of the label map, e.g. "spider"; only a name for people where `labels` is given."""
    dataset: str
    """Where the case comes from, e.g. "spider"."""
    labels: Mapping[str, int] | None = None
    """Label value of each structure, for label maps that follow no known scheme."""
    sequence: str | None = None
    """MR weighting: "T1", "T2" or None where nothing says it."""
    subset: str | None = None
    """Part of the dataset as its authors divide it, e.g. "training"."""
    doubtful: str | None = None
    """Why the labels of this case may be wrong; None where nothing speaks against them."""
    annotated: tuple[str, ...] | None = None
    """Names (of the vocabulary) of the structures that were annotated in this case; None: all that the scheme
    names. Where the scheme names a whole, its side may stand here: "left pulmonary artery" says that only
    the left half of "pulmonary artery" was drawn. Background says nothing about a structure that is not
    named here."""
    more_paths: tuple[Path, ...] = ()
    """Further files that the case is made from, e.g. a second mask; a change in one makes the case anew."""
    load: "Callable[[Case], tuple[Volume, LabelMap]] | None" = None
    """Reads the files where that takes more than a scan and a label map on one grid; None reads these two."""


def natural_order(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which "Case2" comes before "Case10"."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def select_patients(cases: Sequence[Case], patients: Sequence[str]) -> list[Case]:
    """The cases of the given patients, in the order of `cases`.

    Raises:
        CaseError: A patient has no case.
    """
    missing = [patient for patient in patients if patient not in {case.patient for case in cases}]
    if missing:
        raise CaseError(
            f"no case of patient {', '.join(missing)} among {len(cases)} cases; check the patient ids"
        )
    return [case for case in cases if case.patient in set(patients)]


def read_split(path: Path | str, name: str, fold: int | None = None) -> list[str]:
    """Patient ids of one part of a split file.

    The file is JSON: `{"train": [ids], "validation": [ids], "folds": [{"train": […], "validation": […]}]}`.

    Args:
        path: The split file.
        name: "train" or "validation".
        fold: Index into `folds`; None takes the two lists at the top.

    Raises:
        CaseError: The file or the part cannot be read, or a patient is on both sides or twice on one.
    """
    split = _read_json(path)
    if fold is not None:
        folds = split.get("folds", [])
        if not 0 <= fold < len(folds):
            raise CaseError(f"{path} has {len(folds)} folds, numbered from 0; got fold {fold}")
        split = folds[fold]
    sides = {side: _patients(path, side, split.get(side, [])) for side in ("train", "validation")}
    both = sorted(set(sides["train"]) & set(sides["validation"]), key=natural_order)
    if both:
        raise CaseError(
            f"{path}: patient {', '.join(both)} stands in train and in validation; keep one of the two"
        )
    if name not in sides or name not in split:
        raise CaseError(f"{path} has no part {name!r}; expected the lists 'train' and 'validation'")
    if len(set(sides[name])) < len(sides[name]):
        raise CaseError(f"{path}: a patient stands twice in {name!r}; each must stand there once")
    return sides[name]


def _patients(path: Path | str, side: str, patients: Any) -> list[str]:
    if not isinstance(patients, list) or not all(isinstance(patient, str | int) for patient in patients):
        raise CaseError(f'{path}: {side!r} must be a list of patients such as [11, "22"], got {patients!r}')
    return [str(patient) for patient in patients]


def _read_json(path: Path | str) -> dict[str, Any]:
    try:
        content = read_json(Path(path))
    except (OSError, ValueError) as error:
        raise CaseError(
            f"{path} cannot be read as a JSON split file: {error}; it must hold the lists 'train' and "
            f"'validation'"
        ) from error
    if not isinstance(content, dict):
        raise CaseError(f"{path} must hold a JSON object with 'train' and 'validation'")
    return content
