"""A plain folder of one's own scans and label maps.

images/{name}.{nii.gz|nii|mha|nrrd}
labels/{name}.{nii.gz|nii|mha|nrrd}       the same names; the format may differ
dataset.json                              optional, see `FolderDescription`
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from nomina.anatomy.schemes import load_scheme
from nomina.config import config, parse_config
from nomina.errors import CaseError
from nomina.learning.annotated import require_annotated
from nomina.learning.cases import Case, natural_order
from nomina.plain_files import read_json

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")


@config
class FolderDescription:
    """Content of a folder's `dataset.json`; every key may be left out."""

    name: str = "folder"
    """Name of the dataset."""
    scheme: str | None = None
    """Label scheme of the label maps, e.g. "spider"; without `scheme` and `labels` it is "nomina"."""
    labels: dict[str, int] | None = None
    """Label value of each structure, for label maps that follow no known scheme."""
    sequence: str | None = None
    """MR weighting of all scans: "T1" or "T2"."""
    patients: dict[str, str] = dataclasses.field(default_factory=dict)
    """Patient of each scan name; a scan that is not listed is a patient of its own."""
    annotated: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """What was annotated in each scan that is labelled in part, as `Case.annotated`; in a scan that is not
    listed it is all that the label values name."""


def folder_cases(root: Path | str) -> list[Case]:
    """Every case of a folder, in natural order of its name.

    A scan without label map, or the reverse, is listed too: preparing it reports the missing file.

    Args:
        root: The folder that holds `images` and `labels`.

    Raises:
        CaseError: There are no scans, one name stands for two files, or `annotated` names a scan that is not
            there or a structure without label.
        ConfigError: `dataset.json` holds an unknown key or a wrong value.
    """
    root = Path(root)
    description = _read_description(root / "dataset.json")
    volumes, label_maps = _files(root / "images"), _files(root / "labels")
    if not volumes:
        raise CaseError(
            f"{root} holds no images/*{{{','.join(SUFFIXES)}}}; put scans into images/ "
            f"and label maps into labels/"
        )
    scheme = description.scheme or ("nomina" if description.labels is None else description.name)
    names = volumes.keys() | label_maps.keys()
    _check_annotated(description, scheme, names)
    return [
        Case(
            id=name,
            patient=description.patients.get(name, name),
            volume_path=volumes.get(name, root / "images" / f"{name}.nii.gz"),
            label_map_path=label_maps.get(name, root / "labels" / f"{name}.nii.gz"),
            scheme=scheme,
            dataset=description.name,
            labels=description.labels,
            sequence=description.sequence,
            annotated=description.annotated.get(name),
        )
        for name in sorted(names, key=natural_order)
    ]


def _check_annotated(description: FolderDescription, scheme: str, names: Iterable[str]) -> None:
    """A scan name that is mistyped here would count as labelled in full."""
    strangers = sorted(description.annotated.keys() - set(names), key=natural_order)
    if strangers:
        raise CaseError(
            f"dataset.json: 'annotated' names {', '.join(strangers)}, which is no scan here; expected the "
            f"name of a file without its suffix"
        )
    if description.annotated:
        labelled = description.labels or load_scheme(scheme).labels.values()
        for name, annotated in description.annotated.items():
            require_annotated(annotated, labelled, f"dataset.json, {name}")


def _read_description(path: Path) -> FolderDescription:
    if not path.is_file():
        return FolderDescription()
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise CaseError(f"{path} cannot be read as JSON: {error}; correct it, or remove it") from error
    description = parse_config(FolderDescription, content, source=str(path))
    if description.scheme and description.labels:
        raise CaseError(f"{path} gives both 'scheme' and 'labels'; keep the one that the label maps follow")
    return description


def _files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix is None or path.name.startswith("."):
            continue
        name = path.name[: -len(suffix)]
        if name in files:
            raise CaseError(f"{folder} holds {files[name].name} and {path.name}; keep one of them")
        files[name] = path
    return files
