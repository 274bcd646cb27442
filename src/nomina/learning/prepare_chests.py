"""Chest CTs with pulmonary vessels, whole or labelled in part, → a prepared dataset."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from nomina.anatomy.schemes import load_scheme
from nomina.anatomy.structures import structure
from nomina.errors import ConfigError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.volume import LabelMap
from nomina.learning.prepare_run import Job, Sample, run_jobs
from nomina.learning.prepared import PreparedDataset, chest_config
from nomina.phantoms.lung_labels import THIN
from nomina.phantoms.lung_plan import DEFAULT_LUNG, REVISION, LungConfig
from nomina.phantoms.lung_tissues import ChestContrast

Part = Literal["all", "left", "right", "arteries", "veins"]
"""What is annotated in a phantom; one side includes what has none: the trunk and the left atrium."""

FINEST_MM = 1.0
"""Phantoms are rendered at this voxel size or finer, and resampled from there, as scans are [choice]."""

_PHANTOM_STRUCTURES = (
    *("pulmonary trunk", "left pulmonary artery", "right pulmonary artery"),
    *("left pulmonary vein", "right pulmonary vein", "left atrium"),
)


@dataclass(frozen=True)
class ChestPhantoms:
    """Which phantoms to draw."""

    count: int
    """Number of chests; a rerun with a larger one adds to the folder."""
    seed: int = 0
    """Chests have the seeds `seed`, `seed + 1`, …"""
    annotated: Part = "all"
    """What the label maps keep; the rest is unlabelled and said to be so."""
    contrast: ChestContrast = "random"
    """Contrast medium; "random" draws one per chest."""
    has_thin: bool = False
    """Branches too thin for the grid to hold them together count as vessel; else they are ignored."""
    anatomy: LungConfig = DEFAULT_LUNG
    """Ranges to draw from; the voxel size of the default ones follows the preparation."""


def prepare_lung_phantoms(
    out: Path | str,
    phantoms: ChestPhantoms,
    image: CTPreparation,
    *,
    workers: int = 1,
    force: bool = False,
    on_case: Callable[[str], None] = lambda case_id: None,
) -> PreparedDataset:
    """Draw chest phantoms into a prepared dataset, one scan of each.

    Args:
        out: Folder of the prepared dataset; made if need be.
        phantoms: Which.
        image: How their scans are prepared.
        workers: Processes.
        force: As for `nomina.learning.prepare.prepare_cases`.
        on_case: Called with the id of each case as it is finished or found finished.

    Raises:
        ConfigError: `phantoms` asks for what there is not.
        CaseError: The folder has another config.
    """
    if phantoms.annotated not in get_args(Part):
        raise ConfigError(f"annotated must be one of {', '.join(get_args(Part))}, got {phantoms.annotated!r}")
    source: tuple[str, ...] = (phantoms.annotated, phantoms.contrast)
    if phantoms.anatomy == DEFAULT_LUNG:
        spacing_mm = min(image.spacing_mm, FINEST_MM)
        anatomy = replace(DEFAULT_LUNG, spacing_mm=(spacing_mm, spacing_mm, spacing_mm))
        phantoms = replace(phantoms, anatomy=anatomy)
    else:
        source += (str(phantoms.anatomy),)
    if phantoms.has_thin:
        source += ("thin branches",)
    jobs = [
        Job(
            (f"chest{number}",),
            "phantom",
            (f"chest seed {number}, revision {REVISION}", *source),
            partial(_load_phantom, number, phantoms),
        )
        for number in range(phantoms.seed, phantoms.seed + phantoms.count)
    ]
    config = chest_config(image)
    return run_jobs(jobs, Path(out), config, workers=workers, force=force, skip_bad=False, on_case=on_case)


def annotated_in(part: Part) -> tuple[str, ...]:
    """Structures of a phantom that a part keeps."""
    kinds = {"arteries": ("artery",), "veins": ("vein", "heart chamber")}
    found = [structure(name) for name in _PHANTOM_STRUCTURES]
    if part in kinds:
        return tuple(each.name for each in found if each.kind in kinds[part])
    return tuple(each.name for each in found if part == "all" or each.side in (None, part))


def with_only(label_map: LabelMap, names: Sequence[str]) -> LabelMap:
    """A label map in the `nomina` scheme with all else made background, as if nobody had drawn it."""
    scheme = load_scheme("nomina")
    kept = [value for value, name in {**scheme.labels, **scheme.partial}.items() if name in names]
    array = np.where(np.isin(label_map.array, kept), label_map.array, 0)
    return LabelMap(
        array,
        label_map.grid,
        names={value: name for value, name in label_map.names.items() if value in kept},
        scheme="nomina",
        ignored=label_map.ignored & frozenset(kept),
    )


def with_thin(label_map: LabelMap) -> LabelMap:
    """A phantom's label map with the branches that are too thin for its grid as vessels like all others."""
    thin = np.isin(label_map.array, list(label_map.ignored))
    array = np.where(thin, label_map.array - THIN, label_map.array)
    labels = load_scheme("nomina").labels
    names = {**label_map.names, **{value - THIN: labels[value - THIN] for value in label_map.ignored}}
    return replace(label_map, array=array, names=names, ignored=frozenset())


def _load_phantom(seed: int, phantoms: ChestPhantoms) -> Iterator[Sample]:
    from nomina.phantoms.lung_render import render_lung
    from nomina.phantoms.lung_vessels import sample_lung

    chest = sample_lung(seed, phantoms.anatomy)
    volume = render_lung(chest, seed, phantoms.contrast)
    annotated = annotated_in(phantoms.annotated)
    name = f"chest{seed}"
    record = {"id": name, "patient": name, "dataset": "phantom", "annotated": annotated}
    vessels = with_thin(chest.vessels) if phantoms.has_thin else chest.vessels
    yield Sample(record, volume, with_only(vessels, annotated), lungs=chest.lobes)
