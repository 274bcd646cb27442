"""Cases and phantoms made in several processes into a prepared dataset, each as a whole or not at all.

A run that is killed leaves no half case, and the next run goes on where it stopped.
"""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nomina.errors import CaseError, NominaError, OutputError
from nomina.folder_lock import locked_folder
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.prepare_case import prepare_case
from nomina.learning.prepared import (
    IGNORED,
    PrepareConfig,
    PreparedDataset,
    PreparedEntry,
    open_prepared,
    read_prepared,
    remove_arrays,
    write_array,
    write_index,
)


@dataclass(frozen=True)
class Sample:
    """A scan in memory with what is known about it."""

    record: dict[str, Any]
    volume: Volume
    label_map: LabelMap
    lungs: LabelMap | None = None
    """Lungs or lobes where they are known, as in a phantom."""


@dataclass(frozen=True)
class Job:
    """Work of one process: files or a seed, giving one or more cases."""

    case_ids: tuple[str, ...]
    dataset: str
    source: tuple[str, ...]
    load: Callable[[], Iterator[Sample]]


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    config: PrepareConfig,
    *,
    workers: int,
    force: bool,
    skip_bad: bool,
    on_case: Callable[[str], None],
) -> PreparedDataset:
    """Do what is not done yet; see `prepare_cases` for the arguments.

    Raises:
        CaseError: Cases are faulty (all are named), two share an id, or the folder has another config.
        OutputError: The folder cannot be written.
    """
    _require_distinct_ids(jobs)
    with locked_folder(out, "preparing cases"):
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
            raise CaseError(_in_words(faults, sum(len(job.case_ids) for job in jobs)))
        write_index(replace(dataset, is_complete=True))
        return open_prepared(out)


def _in_words(faults: Mapping[str, str], num_cases: int) -> str:
    lines = "\n".join(f"  {case_id}: {fault}" for case_id, fault in faults.items())
    return (
        f"{len(faults)} of {num_cases} cases cannot be used:\n{lines}\n"
        f"correct them and run again (the others are kept), or leave them out with --skip-bad"
    )


def _start(
    jobs: Sequence[Job], out: Path, config: PrepareConfig, force: bool
) -> tuple[PreparedDataset, list[Job]]:
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
    jobs: list[Job], out: Path, config: PrepareConfig, workers: int
) -> Iterator[tuple[Job, list[PreparedEntry] | str]]:
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


def _work(job: Job, out: Path, config: PrepareConfig) -> list[PreparedEntry] | str:
    try:
        return [_write(sample, job.source, out, config) for sample in job.load()]
    except OutputError:
        raise
    except NominaError as error:
        return str(error)


def _write(sample: Sample, source: tuple[str, ...], out: Path, config: PrepareConfig) -> PreparedEntry:
    prepared = prepare_case(sample.volume, sample.label_map, config, lungs=sample.lungs)
    counts = np.bincount(prepared.labels.ravel(), minlength=IGNORED + 1)
    case_id = sample.record["id"]
    write_array(out, case_id, "image", prepared.image)
    write_array(out, case_id, "labels", prepared.labels)
    if prepared.halves is not None:
        write_array(out, case_id, "halves", prepared.halves)
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


def _require_distinct_ids(jobs: Sequence[Job]) -> None:
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


def _tell(on_case: Callable[[str], None], job: Job) -> None:
    for case_id in job.case_ids:
        on_case(case_id)
