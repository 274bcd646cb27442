"""Labelled scans, or phantoms, → a prepared dataset (`nomina.learning.prepared`).

A run that is killed leaves no half case, and the next run goes on where it stopped.
"""

import itertools
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, UInt8

from nomina.anatomy.schemes import load_scheme, read_label_map
from nomina.assessment.scheme_check import check_label_map
from nomina.errors import CaseError, NominaError, OutputError
from nomina.folder_lock import locked_folder
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import normalise, resample_classes
from nomina.imaging.read import read_label_array, read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.cases import Case
from nomina.learning.prepared import (
    IGNORED,
    PrepareConfig,
    PreparedDataset,
    PreparedEntry,
    read_prepared,
    remove_arrays,
    write_array,
    write_index,
)
from nomina.learning.prepared import open_prepared as open_prepared
from nomina.phantoms.plan import REVISION

GRID_TOLERANCE = 0.1
"""Scan and label map belong together when no corner is further off than this share of the smallest spacing
[choice: headers of two file formats round differently; a tenth of a voxel moves no label]."""


@dataclass(frozen=True)
class PreparedCase:
    """One case as arrays."""

    image: Float16[np.ndarray, "i j k"]
    labels: UInt8[np.ndarray, "i j k"] | None
    """Class index per voxel; None where the case has no label map."""
    grid: Grid


def prepare_case(volume: Volume, label_map: LabelMap | None, config: PrepareConfig) -> PreparedCase:
    """A scan and its label map as a network sees them.

    Raises:
        VolumeError: The scan is not sagittal or has no contrast.
        CaseError: The label map lies elsewhere.
    """
    image, grid = normalise(volume, config.image)
    if label_map is None:
        return PreparedCase(image.astype(np.float16), None, grid)
    labels = label_map.canonical()
    source = volume.canonical().grid
    _require_same_place(source, labels.grid)
    classes = _class_indices(labels, config.structures)
    return PreparedCase(image.astype(np.float16), resample_classes(classes, source, grid), grid)


@dataclass(frozen=True)
class _Sample:
    """A scan in memory with what is known about it."""

    record: dict[str, Any]
    volume: Volume
    label_map: LabelMap


@dataclass(frozen=True)
class _Job:
    """Work of one process: files or a seed, giving one or more cases."""

    case_ids: tuple[str, ...]
    dataset: str
    source: tuple[str, ...]
    load: Callable[[], Iterator[_Sample]]


def prepare_cases(
    cases: Sequence[Case],
    out: Path | str,
    config: PrepareConfig,
    *,
    workers: int = 1,
    force: bool = False,
    skip_bad: bool = False,
    on_case: Callable[[str], None] = lambda case_id: None,
) -> PreparedDataset:
    """Prepare cases into a folder; finished ones whose files and config are unchanged are kept.

    Args:
        cases: What to prepare; cases of earlier runs stay in the folder.
        out: Folder of the prepared dataset; made if need be.
        config: What to prepare them to.
        workers: Processes.
        force: Make the cases again even if they are finished; empties a folder that has another config.
        skip_bad: Leave faulty cases out (named in `left_out`) instead of failing.
        on_case: Called with the id of each case as it is finished or found finished.

    Raises:
        CaseError: Cases are faulty (all are named), two share an id, the folder has another config, or a
            structure is one that the label scheme cannot name.
    """
    for scheme in {case.scheme for case in cases if case.labels is None}:
        _require_labelled(config.structures, load_scheme(scheme).labels.values(), f"scheme {scheme!r}")
    for case in cases:
        if case.labels is not None:
            _require_labelled(config.structures, case.labels, f"case {case.id}")
    jobs = [_Job((case.id,), case.dataset, _fingerprint(case), partial(_load_files, case)) for case in cases]
    return _run(jobs, Path(out), config, workers=workers, force=force, skip_bad=skip_bad, on_case=on_case)


def prepare_phantoms(
    out: Path | str,
    count: int,
    seed: int,
    config: PrepareConfig,
    workers: int = 1,
    *,
    force: bool = False,
    on_case: Callable[[str], None] = lambda case_id: None,
) -> PreparedDataset:
    """Draw spine phantoms into a prepared dataset: each spine is rendered twice, in different contrasts.

    Args:
        out: Folder of the prepared dataset; made if need be.
        count: Number of spines; a rerun with a larger count adds to the folder.
        seed: Spines have the seeds `seed`, `seed + 1`, …
        config: What to prepare them to.
        workers: Processes.
        force: As for `prepare_cases`.
        on_case: Called with the id of each case as it is finished or found finished.

    Raises:
        CaseError: The folder has another config, or a structure is one that phantoms do not label.
    """
    _require_labelled(config.structures, load_scheme("spider").labels.values(), "the phantom")
    jobs = [
        _Job(
            tuple(f"phantom{number}{letter}" for letter in _RENDERINGS),
            "phantom",
            (f"phantom seed {number}, revision {REVISION}",),
            partial(_load_phantom, number),
        )
        for number in range(seed, seed + count)
    ]
    return _run(jobs, Path(out), config, workers=workers, force=force, skip_bad=False, on_case=on_case)


_RENDERINGS = ("a", "b")


def _load_phantom(seed: int) -> Iterator[_Sample]:
    from nomina.phantoms.render import render
    from nomina.phantoms.spine import sample_spine

    phantom = sample_spine(seed)
    seen: set[str | None] = set()
    renderings = (render(phantom, seed=1000 * seed + n, contrast="random") for n in itertools.count())
    for letter in _RENDERINGS:
        volume = next(volume for volume in renderings if volume.sequence not in seen)
        seen.add(volume.sequence)
        record = {"id": f"phantom{seed}{letter}", "patient": f"phantom{seed}", "dataset": "phantom"}
        yield _Sample(record | {"sequence": volume.sequence}, volume, phantom.label_map)


def _load_files(case: Case) -> Iterator[_Sample]:
    for what, path in (("scan", case.volume_path), ("label map", case.label_map_path)):
        if not path.is_file():
            raise CaseError(f"{what} is missing: expected {path}")
    volume = read_volume(case.volume_path)
    if case.labels is None:
        label_map = read_label_map(case.label_map_path, scheme=case.scheme)
    else:
        array, grid = read_label_array(case.label_map_path)
        names = {value: name for name, value in case.labels.items()}
        label_map = LabelMap(array, grid, names=names, scheme=case.scheme)
    faults = check_label_map(label_map)
    if faults:
        raise CaseError("; ".join(faults))
    record = {key: getattr(case, key) for key in ("id", "patient", "dataset", "subset", "doubtful")}
    yield _Sample(record | {"sequence": case.sequence or volume.sequence}, volume, label_map)


def _require_labelled(structures: Sequence[str], labelled: Iterable[str], what: str) -> None:
    unlabelled = [name for name in structures if name not in set(labelled)]
    if unlabelled:
        raise CaseError(
            f"{what} has no label for {', '.join(unlabelled)}: its background may hold them, and a "
            f"network would learn that they are never there; choose other structures"
        )


def _class_indices(label_map: LabelMap, structures: tuple[str, ...]) -> UInt8[np.ndarray, "i j k"]:
    """Label values → class indices; labelled things that are no class become `IGNORED`."""
    array = label_map.array
    lowest = int(array.min())
    class_of_value = np.full(int(array.max()) - lowest + 1, IGNORED, dtype=np.uint8)
    if lowest <= 0 <= int(array.max()):
        class_of_value[-lowest] = 0
    for value, name in label_map.names.items():
        if name in structures and 0 <= value - lowest < len(class_of_value):
            class_of_value[value - lowest] = 1 + structures.index(name)
    return class_of_value[array - lowest if lowest else array]


def _require_same_place(volume: Grid, labels: Grid) -> None:
    if volume.shape != labels.shape:
        raise CaseError(f"the label map has {labels.shape} voxels along R, A, S, the scan {volume.shape}")
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in volume.shape])).reshape(3, -1).T
    gap_mm = float(np.abs(volume.to_world(corners) - labels.to_world(corners)).max())
    if gap_mm > GRID_TOLERANCE * min(volume.spacing_mm):
        raise CaseError(f"the label map lies up to {gap_mm:.2f} mm off the scan; correct its header")


def _fingerprint(case: Case) -> tuple[str, ...]:
    facts = ("patient", "scheme", "labels", "sequence", "subset", "doubtful")
    parts = [f"{fact} {getattr(case, fact)}" for fact in facts]
    for path in (case.volume_path, case.label_map_path):
        status = path.stat() if path.is_file() else None
        parts.append(
            f"{path.name} {status.st_size} {status.st_mtime_ns}" if status else f"{path.name} missing"
        )
    return tuple(parts)


def _run(
    jobs: Sequence[_Job],
    out: Path,
    config: PrepareConfig,
    *,
    workers: int,
    force: bool,
    skip_bad: bool,
    on_case: Callable[[str], None],
) -> PreparedDataset:
    _require_distinct_ids(jobs)
    with locked_folder(out, "preparing cases"):
        return _run_alone(jobs, out, config, workers, force, skip_bad, on_case)


def _run_alone(
    jobs: Sequence[_Job],
    out: Path,
    config: PrepareConfig,
    workers: int,
    force: bool,
    skip_bad: bool,
    on_case: Callable[[str], None],
) -> PreparedDataset:
    dataset, todo = _start(jobs, out, config, force)
    write_index(dataset)
    for job in set(jobs).difference(todo):
        _tell(on_case, job)
    faults: dict[str, str] = {}
    for job, outcome in _outcomes(todo, out, config, workers):
        if isinstance(outcome, str):
            faults |= dict.fromkeys(job.case_ids, outcome)
            dataset = replace(dataset, left_out=dataset.left_out | faults)
        else:
            dataset = replace(dataset, cases=(*dataset.cases, *outcome))
        write_index(dataset)
        _tell(on_case, job)
    if faults and not skip_bad:
        lines = "\n".join(f"  {case_id}: {fault}" for case_id, fault in faults.items())
        raise CaseError(
            f"{len(faults)} of {sum(len(job.case_ids) for job in jobs)} cases cannot be used:\n{lines}\n"
            f"correct them and run again (the others are kept), or leave them out with --skip-bad"
        )
    write_index(replace(dataset, is_complete=True))
    return open_prepared(out)


def _start(
    jobs: Sequence[_Job], out: Path, config: PrepareConfig, force: bool
) -> tuple[PreparedDataset, list[_Job]]:
    """The dataset without the cases that are to be made, and the jobs that make them."""
    old = _earlier(out, config, force)
    asked = {case_id: job for job in jobs for case_id in job.case_ids}
    strangers = [case.id for case in old.cases if case.id in asked and asked[case.id].dataset != case.dataset]
    if strangers:
        raise CaseError(
            f"{out} already holds cases named {', '.join(strangers)} of another dataset; choose "
            f"another folder"
        )
    kept = [
        case
        for case in old.cases
        if case.id not in asked or (case.source == asked[case.id].source and not force)
    ]
    finished = {case.id for case in kept}
    todo = [job for job in jobs if not finished.issuperset(job.case_ids)]
    again = {case_id for job in todo for case_id in job.case_ids}
    cases = tuple(case for case in kept if case.id not in again)
    left_out = {case_id: fault for case_id, fault in old.left_out.items() if case_id not in asked}
    return PreparedDataset(out, config, cases, left_out), todo


def _earlier(out: Path, config: PrepareConfig, force: bool) -> PreparedDataset:
    """What earlier runs left in the folder, emptied by `force` if it does not fit."""
    nothing = PreparedDataset(out, config, ())
    try:
        old = read_prepared(out)
    except CaseError:
        if not force:
            raise
        return nothing
    if old is None:
        return nothing
    if old.config != config and not force:
        raise CaseError(
            f"{out} was prepared with another config: {_difference(old.config, config)}; choose another "
            f"folder, or prepare it anew with --force"
        )
    if old.config != config:
        write_index(nothing)
        for case in old.cases:
            remove_arrays(out, case.id)
        return nothing
    return old


def _outcomes(
    jobs: list[_Job], out: Path, config: PrepareConfig, workers: int
) -> Iterator[tuple[_Job, list[PreparedEntry] | str]]:
    """Each job with its finished cases, or with its fault in words."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, _work(job, out, config)
        return
    # spawn: a fork of a process whose libraries run threads may hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_work, job, out, config): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise OutputError(
                f"a process of {workers} was killed, most likely for want of memory; run again with fewer "
                f"--workers (finished cases are kept)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _work(job: _Job, out: Path, config: PrepareConfig) -> list[PreparedEntry] | str:
    try:
        return [_write(sample, job.source, out, config) for sample in job.load()]
    except OutputError:
        raise
    except NominaError as error:
        return str(error)


def _write(sample: _Sample, source: tuple[str, ...], out: Path, config: PrepareConfig) -> PreparedEntry:
    prepared = prepare_case(sample.volume, sample.label_map, config)
    if prepared.labels is None:
        raise AssertionError("a case of a dataset has a label map")
    counts = np.bincount(prepared.labels.ravel(), minlength=IGNORED + 1)
    case_id = sample.record["id"]
    write_array(out, case_id, "image", prepared.image)
    write_array(out, case_id, "labels", prepared.labels)
    return PreparedEntry(
        folder=out,
        shape=prepared.grid.shape,
        affine=tuple(tuple(float(value) for value in row) for row in prepared.grid.affine),
        spacing_mm=prepared.grid.spacing_mm,
        voxel_counts={name: int(counts[index]) for index, name in enumerate(config.structures, start=1)},
        num_ignored_voxels=int(counts[IGNORED]),
        source=source,
        **sample.record,
    )


def _require_distinct_ids(jobs: Sequence[_Job]) -> None:
    ids = [case_id for job in jobs for case_id in job.case_ids]
    if not ids:
        raise CaseError("there is nothing to prepare; give at least one case")
    twice = [case_id for case_id, count in Counter(ids).items() if count > 1]
    if twice:
        raise CaseError(f"case {', '.join(twice)} is given twice; every case needs its own id")


def _difference(old: PrepareConfig, new: PrepareConfig) -> str:
    parts = []
    if old.image != new.image:
        parts.append(f"{old.image} there, {new.image} now")
    if old.structures != new.structures:
        parts.append(f"structures {', '.join(old.structures)} there, {', '.join(new.structures)} now")
    return "; ".join(parts)


def _tell(on_case: Callable[[str], None], job: _Job) -> None:
    for case_id in job.case_ids:
        on_case(case_id)
