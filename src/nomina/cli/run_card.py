"""A run card: all that a label map was made from, so that it can be made again bit for bit."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from nomina.errors import ConfigError
from nomina.imaging.dicom_series import is_dicom_file
from nomina.imaging.segmentation import Segmentation
from nomina.plain_files import json_object, read_json

FORMAT = "nomina-run-1"
"""Name and version of the file's layout."""

LIBRARIES = ("nomina", "torch", "numpy", "scipy", "connected-components-3d")
"""Whose versions a mask may depend on."""

_PARTS = ("scan", "asked", "model", "machine", "memory", "versions", "output")


def run_card(result: Segmentation, *, scan: Path, output: Path, model_path: Path | None) -> dict[str, Any]:
    """The card of one result, as plain data.

    It names files without their folders, and holds no patient data beyond these names.

    Args:
        result: In the label scheme in which it is written.
        scan: File or DICOM folder that was read.
        output: Label map that is written.
        model_path: Folder of the checkpoint: given, the card holds absolute paths of scan and checkpoint.
    """
    provenance, everything = result.provenance, not result.prompts
    card: dict[str, Any] = {
        "format": FORMAT,
        "scan": {"name": scan.resolve().name, "sha256": scan_sha256(scan)},
        "asked": {
            "prompts": None if everything else list(result.prompts),
            "anchors": list(provenance.get("anchors", ())),
            "mode": provenance["mode"],
            "scheme": result.label_map.scheme,
        },
        "model": {"name": provenance["model"], "digest": provenance["digest"]},
        "machine": dict(provenance["machine"]),
        "memory": dict(provenance["memory"]),
        "versions": {name: version(name) for name in LIBRARIES},
        "output": {"name": output.name, "voxels_sha256": voxels_sha256(result.label_map.array)},
    }
    if (regions := provenance.get("regions")) is not None:
        card["regions"] = dict(regions)
    if model_path is not None:
        card["scan"]["path"] = str(scan.resolve())
        card["model"]["path"] = str(model_path.resolve())
    return card


def read_card(path: Path) -> dict[str, Any]:
    """Read a card that `nomina segment --card` wrote.

    Raises:
        ConfigError: The file is missing, or no such card.
    """
    try:
        card = read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a run card: {error}; copy it again") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ConfigError(
            f"{path} is no run card: expected a JSON file of format {FORMAT!r}, as `nomina segment --card` "
            f"writes it"
        )
    missing = [part for part in _PARTS if not isinstance(card.get(part), dict)]
    if missing:
        raise ConfigError(f"the run card {path} lacks {', '.join(missing)}; copy it again")
    return card


def is_card_file(path: Path) -> bool:
    """Whether a file is a run card."""
    return bool(json_object(path).get("format") == FORMAT)


def scan_sha256(scan: Path) -> str:
    """sha256 of a file; of a DICOM folder, that of its images' hashes in ascending order, without names."""
    if scan.is_dir():
        images = [entry for entry in scan.iterdir() if entry.is_file() and is_dicom_file(entry)]
        return hashlib.sha256("".join(sorted(map(scan_sha256, images))).encode()).hexdigest()
    with scan.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def voxels_sha256(array: Integer[np.ndarray, "i j k"]) -> str:
    """sha256 over shape and label values, whatever the format, type and compression of the file."""
    content = hashlib.sha256(json.dumps(array.shape).encode())
    for plane in array:
        content.update(np.ascontiguousarray(plane, dtype="<u4").tobytes())
    return content.hexdigest()


def changed_versions(card: Mapping[str, Any]) -> list[str]:
    """One sentence per library that has another version here than the card names."""
    here = {name: version(name) for name in LIBRARIES}
    return [
        f"{name} is {here.get(name, 'not known')} here, the card says {said}"
        for name, said in card["versions"].items()
        if here.get(name) != said
    ]
