"""The label map of `nomina segment --regions`, read for the first time or as its run card says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nomina.anatomy.resolve import Target
from nomina.anatomy.schemes import read_label_map
from nomina.cli.run_card import scan_sha256
from nomina.errors import SchemeError
from nomina.imaging.read import read_label_array
from nomina.imaging.volume import LabelMap
from nomina.inference.regions import values_used


@dataclass(frozen=True)
class Regions:
    """Regions of a user's, and where they come from."""

    path: Path
    label_map: LabelMap
    described: Mapping[str, Any]
    """Plain data for run card and JSON file: name and sha256 of the file, scheme, and the values used."""


def read_regions(path: Path, scheme: str | None, targets: Iterable[Target]) -> Regions:
    """Read what some targets lie inside of under a scheme; None: under the JSON file beside it.

    Raises:
        VolumeError: The file cannot be read.
        SchemeError: Its values do not follow the scheme, or nothing says what they mean.
    """
    try:
        label_map = read_label_map(path, scheme=scheme)
    except SchemeError as error:
        raise SchemeError(f"{error} (with --regions-scheme)") from error
    file = {"name": path.resolve().name, "sha256": scan_sha256(path)}
    return Regions(path, label_map, {**file, **values_used(label_map, targets)})


def regions_again(path: Path, said: Mapping[str, Any]) -> LabelMap:
    """The regions that a run card describes: its values say what they mean, not the JSON file beside them."""
    array, grid = read_label_array(path)
    names = {int(value): str(name) for name, value in said["values"].items()}
    used = np.where(np.isin(array, list(names)), array, 0)
    return LabelMap(used, grid, names=names, scheme=said["scheme"])
