"""The scans that a grid is scored on, with references: files as they were downloaded, or prepared chests.

A prepared chest is brought back to Hounsfield units, so that it goes the way of every scan; it is then scored
on the voxels of the prepared dataset, as the authors of LA-CAF did. Files are scored on their own voxels.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from nomina.anatomy.schemes import read_label_map
from nomina.config import config
from nomina.errors import CaseError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.read import read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.language.vessel_prompts import VESSELS
from nomina.learning.cases import Case
from nomina.learning.datasets.folder import folder_cases
from nomina.learning.datasets.spider import spider_cases
from nomina.learning.prepared import IGNORED, PreparedEntry, array_path, open_prepared
from nomina.learning.validity import Answer, answer_table


@config
class ScoredScans:
    """Scans with references on which every run is scored, each by the network that never saw its patient."""

    dataset: Literal["spider", "folder", "prepared"]
    """How the folder is laid out: as SPIDER's download, with `images/` and `labels/`, or as `nomina prepare`
    writes chests."""
    folder: str
    """Relative to where the command runs."""


def open_scans(test: ScoredScans) -> tuple[Case, ...]:
    """Every test scan.

    Raises:
        CaseError: The folder is not laid out as said, a file is missing, or labels follow no known scheme.
    """
    if test.dataset == "prepared":
        return _prepared_cases(test.folder)
    read = spider_cases if test.dataset == "spider" else folder_cases
    cases = tuple(read(test.folder))
    for case in cases:
        if case.labels is not None:
            raise CaseError(
                f"{test.folder}: give label maps of a known scheme; these have names of their own"
            )
    return cases


def read_scan(case: Case) -> Volume:
    """The scan of a case, with the weighting that the dataset's file names give where the header has none."""
    if case.load is not None:
        return case.load(case)[0]
    volume = read_volume(case.volume_path)
    return replace(volume, sequence=volume.sequence or case.sequence)


def read_reference(case: Case) -> LabelMap:
    """The reference of a case."""
    if case.load is not None:
        return case.load(case)[1]
    return read_label_map(case.label_map_path, scheme=case.scheme)


def has_whole_vessels(case: Case) -> bool:
    """Whether arteries and veins of both lungs were annotated, so that background says there is none."""
    if case.annotated is None:
        return True
    return bool((answer_table(VESSELS, (), case.annotated)[0] == Answer.absent).all())


def _prepared_cases(folder: str) -> tuple[Case, ...]:
    dataset = open_prepared(folder)
    preparation = dataset.config.image
    if not isinstance(preparation, CTPreparation):
        raise CaseError(
            f"{folder} holds slices of MR, which lost their scale; score the scans themselves: "
            f"dataset: spider or folder"
        )
    return tuple(
        Case(
            id=entry.id,
            patient=entry.patient,
            volume_path=array_path(entry.folder, entry.id, "image"),
            label_map_path=array_path(entry.folder, entry.id, "labels"),
            scheme="prepared",
            dataset=entry.dataset,
            doubtful=entry.doubtful,
            annotated=entry.annotated,
            load=partial(_restored, entry, preparation, dataset.config.structures),
        )
        for entry in dataset.cases
    )


def _restored(
    entry: PreparedEntry, preparation: CTPreparation, structures: tuple[str, ...], case: Case
) -> tuple[Volume, LabelMap]:
    low, high = preparation.window_hu
    array = np.asarray(entry.image(), dtype=np.float32) * (high - low) + low
    names = dict(enumerate(structures, start=1))
    labels = LabelMap(
        np.asarray(entry.labels()), entry.grid, names=names, scheme=case.scheme, ignored=frozenset({IGNORED})
    )
    return Volume(array, entry.grid, modality="CT"), labels
