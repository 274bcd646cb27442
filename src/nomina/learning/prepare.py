"""Labelled scans, or phantoms, → a prepared dataset (`nomina.learning.prepared`).

A run that is killed leaves no half case, and the next run goes on where it stopped.
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from nomina.anatomy.schemes import load_scheme
from nomina.errors import CaseError, ConfigError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.learning.cases import Case
from nomina.learning.prepare_run import Job, Sample, run_jobs
from nomina.learning.prepared import PrepareConfig, PreparedDataset
from nomina.learning.read_case import read_case
from nomina.phantoms.contrasts import Contrast
from nomina.phantoms.plan import REVISION

logger = logging.getLogger(__name__)


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
        CaseError: Cases are faulty (all are named), two share an id, the folder has another config, or a case
            labels none of the structures.
    """
    cases = [replace(case, annotated=_annotated(case, config)) for case in cases]
    _tell_parts({case.id: case.annotated for case in cases}, config)
    jobs = [Job((case.id,), case.dataset, _fingerprint(case), partial(_load_files, case)) for case in cases]
    return run_jobs(jobs, Path(out), config, workers=workers, force=force, skip_bad=skip_bad, on_case=on_case)


def prepare_phantoms(
    out: Path | str,
    count: int,
    seed: int,
    config: PrepareConfig,
    workers: int = 1,
    *,
    contrasts: Sequence[Contrast] = ("random", "random"),
    force: bool = False,
    on_case: Callable[[str], None] = lambda case_id: None,
) -> PreparedDataset:
    """Draw spine phantoms into a prepared dataset, each spine once in every contrast.

    Args:
        out: Folder of the prepared dataset; made if need be.
        count: Number of spines; a rerun with a larger count adds to the folder.
        seed: Spines have the seeds `seed`, `seed + 1`, …
        config: What to prepare them to.
        workers: Processes.
        contrasts: One rendering each; no spine has two renderings of one contrast.
        force: As for `prepare_cases`.
        on_case: Called with the id of each case as it is finished or found finished.

    Raises:
        ConfigError: There is no contrast, or too many to have a letter.
        CaseError: The folder has another config, or phantoms label none of the structures.
    """
    _check_contrasts(contrasts)
    asked = "" if tuple(contrasts) == ("random", "random") else f", {' '.join(contrasts)}"
    annotated = _labelled(config, load_scheme("spider").labels.values(), "the phantom")
    _tell_parts({"each phantom": annotated}, config)
    jobs = [
        Job(
            tuple(f"phantom{number}{letter}" for letter, _ in zip(_LETTERS, contrasts, strict=False)),
            "phantom",
            (f"phantom seed {number}, revision {REVISION}{asked}",),
            partial(_load_phantom, number, annotated, tuple(contrasts)),
        )
        for number in range(seed, seed + count)
    ]
    return run_jobs(jobs, Path(out), config, workers=workers, force=force, skip_bad=False, on_case=on_case)


_LETTERS = "abcde"
"""One per rendering of a spine; `random` knows no more sequences than that."""


def _check_contrasts(contrasts: Sequence[str]) -> None:
    known = get_args(Contrast)
    named = [contrast for contrast in contrasts if contrast != "random"]
    if unknown := [contrast for contrast in named if contrast not in known]:
        raise ConfigError(f"contrasts must be of {', '.join(known)}, got {', '.join(unknown)}")
    if not 0 < len(contrasts) <= len(_LETTERS) or len(set(named)) < len(named):
        raise ConfigError(
            f"a spine is rendered in 1 to {len(_LETTERS)} contrasts, each but random once, "
            f"got {', '.join(contrasts) or 'none'}"
        )


def _load_phantom(
    seed: int, annotated: tuple[str, ...] | None, contrasts: tuple[Contrast, ...]
) -> Iterator[Sample]:
    from nomina.phantoms.render import render
    from nomina.phantoms.spine import sample_spine

    phantom = sample_spine(seed)
    seen: set[str | None] = {contrast.upper() for contrast in contrasts}
    seeds = itertools.count(1000 * seed)
    for letter, contrast in zip(_LETTERS, contrasts, strict=False):
        renderings = (render(phantom, number, contrast) for number in seeds)
        volume = next(each for each in renderings if contrast != "random" or each.sequence not in seen)
        seen.add(volume.sequence)
        record = {"id": f"phantom{seed}{letter}", "patient": f"phantom{seed}", "dataset": "phantom"}
        facts = {"sequence": volume.sequence, "annotated": annotated}
        yield Sample(record | facts, volume, phantom.label_map)


def _load_files(case: Case) -> Iterator[Sample]:
    volume, label_map = read_case(case)
    facts = ("id", "patient", "dataset", "subset", "doubtful", "annotated")
    record = {key: getattr(case, key) for key in facts} | {"sequence": case.sequence or volume.sequence}
    yield Sample(record, volume, label_map)


def _annotated(case: Case, config: PrepareConfig) -> tuple[str, ...] | None:
    """What was annotated in a case, of what is prepared."""
    named = case.labels or load_scheme(case.scheme).labels.values()
    return _labelled(config, named if case.annotated is None else case.annotated, f"case {case.id}")


def _labelled(config: PrepareConfig, named: Iterable[str], what: str) -> tuple[str, ...] | None:
    """The structures among some names; None for scans of slices that have them all.

    Raises:
        CaseError: There is none.
    """
    known = set(named)
    labelled = tuple(name for name in config.structures if name in known)
    if not labelled:
        raise CaseError(
            f"{what} labels none of {', '.join(config.structures)}; check its label scheme, or choose other "
            f"structures"
        )
    is_whole = len(labelled) == len(config.structures) and not isinstance(config.image, CTPreparation)
    return None if is_whole else labelled


def _tell_parts(annotated: Mapping[str, tuple[str, ...] | None], config: PrepareConfig) -> None:
    """Say which scans of slices are labelled in part: there background teaches nothing about the rest."""
    if isinstance(config.image, CTPreparation):
        return
    for names in dict.fromkeys(names for names in annotated.values() if names is not None):
        unknown = [name for name in config.structures if name not in names]
        found = [case_id for case_id, its in annotated.items() if its == names]
        logger.warning("unknown in %s, which has no labels for it: %s", ", ".join(found), ", ".join(unknown))


def _fingerprint(case: Case) -> tuple[str, ...]:
    facts = ("patient", "scheme", "labels", "sequence", "subset", "doubtful")
    parts = [f"{fact} {getattr(case, fact)}" for fact in facts]
    # Only where it says something: what earlier versions prepared stays as it is.
    parts += [f"annotated {case.annotated}"] if case.annotated is not None else []
    parts += [f"read with {case.load.keywords}"] if isinstance(case.load, partial) else []
    for path in (case.volume_path, case.label_map_path, *case.more_paths):
        status = path.stat() if path.is_file() else None
        parts.append(
            f"{path.name} {status.st_size} {status.st_mtime_ns}" if status else f"{path.name} missing"
        )
    return tuple(parts)
