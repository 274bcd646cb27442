"""A trained network in every inference mode: label maps and scores on disk, case by case, never made twice.

OUT/runs/RUN/modes/MODE/CASE.nii.gz         the prediction, on the scan's grid, in the scheme `nomina`
OUT/runs/RUN/modes/MODE/CASE.scores.json    its scores; written last, so it says that the case is done
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.best_shift import best_shift
from nomina.assessment.case_files import CaseFiles
from nomina.assessment.folders import Scoring, score_files
from nomina.assessment.scores import CaseScores
from nomina.bench.modes import (
    HONEST_MODES,
    Mode,
    ReferenceFacts,
    other_facts,
    reference_facts,
    segment_honestly,
    segment_stamped,
)
from nomina.imaging.files import write_text_atomic
from nomina.imaging.read import read_volume
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write
from nomina.inference.segmenter import Segmenter
from nomina.learning.cases import Case


@dataclass(frozen=True)
class ModeScores:
    """Scores of one case in one mode."""

    scores: CaseScores
    patient: str
    is_doubtful: bool
    """The dataset says that its labels may be wrong: it enters no mean."""
    is_wrong: bool = True
    """For wrong prompts: whether the network could tell the prompt from the right one."""


Say = Callable[[str], None]
"""Told in a few words what is done now."""


def measure(
    segmenter: Segmenter,
    cases: Sequence[Case],
    modes: Sequence[Mode],
    folder: Path,
    scoring: Scoring,
    say: Say = lambda text: None,
) -> None:
    """Segment and score every case in every mode; what is there already stays.

    Args:
        segmenter: The trained network.
        cases: Scans with references, none of which it was trained on.
        modes: Inference modes; "best_shift" after the mode whose masks it renames.
        folder: Folder `modes` of the run.
        scoring: How predictions are scored; its scheme is set to that of each case.
        say: Told what is done.

    Raises:
        VolumeError: A scan or label map cannot be read.
        SchemeError: A reference does not follow its scheme.
        OutputError: A result cannot be written.
    """
    facts: list[ReferenceFacts] = []
    wrong: list[bool] = []
    for mode in modes:
        if mode not in HONEST_MODES and not facts:
            facts, wrong = _facts_of(cases, segmenter.checkpoint.structures)
        for index, case in enumerate(cases):
            stamp = _stamp(segmenter, replace(scoring, scheme=case.scheme))
            if _read(folder / mode, case, stamp) is not None:
                continue
            say(f"{mode}: {case.id}")
            # An honest mode is not handed a reference at all.
            told = None if mode in HONEST_MODES else facts[index]
            label_map = _predict(segmenter, case, mode, told, folder)
            is_wrong = wrong[index] if mode == "shuffled" else True
            _write(label_map, folder / mode, case, scoring, stamp, is_wrong)


def read_measured(
    segmenter_digest: str, cases: Sequence[Case], mode: Mode, folder: Path, scoring: Scoring
) -> tuple[ModeScores, ...]:
    """Scores of the cases that are measured already with these weights.

    Args:
        segmenter_digest: Digest of the checkpoint.
        cases: Cases of the run.
        mode: Inference mode.
        folder: Folder `modes` of the run.
        scoring: As given to `measure`.
    """
    found = []
    for case in cases:
        stamp = _stamp_of(segmenter_digest, replace(scoring, scheme=case.scheme))
        record = _read(folder / mode, case, stamp)
        if record is not None:
            found.append(record)
    return tuple(found)


def read_scan(case: Case) -> Volume:
    """The scan of a case, with the weighting that the dataset's file names give where the header has none."""
    volume = read_volume(case.volume_path)
    return replace(volume, sequence=volume.sequence or case.sequence)


def _predict(
    segmenter: Segmenter, case: Case, mode: Mode, facts: ReferenceFacts | None, folder: Path
) -> LabelMap:
    if mode == "best_shift":
        return _shifted(segmenter, case, folder)
    volume = read_scan(case)
    if facts is None:
        return segment_honestly(segmenter, volume, mode)
    return segment_stamped(segmenter, volume, mode, facts)


def _shifted(segmenter: Segmenter, case: Case, folder: Path) -> LabelMap:
    """The masks of the usual mode under the names that fit the reference best."""
    usual = next(mode for mode in ("none", "predicted") if _map_path(folder / mode, case).is_file())
    found = read_label_map(_map_path(folder / usual, case), scheme="nomina")
    reference = read_label_map(case.label_map_path, scheme=case.scheme)
    names = segmenter.checkpoint.structures
    shifted, _ = best_shift(found.canonical(), reference.canonical(), names)
    return shifted.reoriented_like(found.grid)


def _facts_of(cases: Sequence[Case], structures: Sequence[str]) -> tuple[list[ReferenceFacts], list[bool]]:
    """Facts of each case's reference and of another patient's, and whether the two can be told apart."""
    own = [
        reference_facts(read_label_map(case.label_map_path, scheme=case.scheme), case.sequence)
        for case in cases
    ]
    patients = [case.patient for case in cases]
    if len(set(patients)) < 2:
        return [ReferenceFacts(facts, facts) for facts in own], [False] * len(own)
    others = [other_facts(index, patients, own, structures) for index in range(len(own))]
    facts = [ReferenceFacts(mine, other) for mine, (other, _) in zip(own, others, strict=True)]
    return facts, [is_wrong for _, is_wrong in others]


def _write(
    label_map: LabelMap, folder: Path, case: Case, scoring: Scoring, stamp: dict[str, Any], is_wrong: bool
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = _map_path(folder, case)
    write(label_map, path)
    pair = CaseFiles(case.id, case.label_map_path, path)
    (scores,) = score_files([pair], replace(scoring, scheme=case.scheme))
    record = {"stamp": stamp, "is_wrong": is_wrong, "scores": asdict(scores)}
    write_text_atomic(_scores_path(folder, case), json.dumps(record, indent=1))


def _read(folder: Path, case: Case, stamp: dict[str, Any]) -> ModeScores | None:
    """The scores of a case, where they are there and were made with these weights in this way."""
    path = _scores_path(folder, case)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["stamp"] != stamp or not _map_path(folder, case).is_file():
            return None
        scores = TypeAdapter(CaseScores).validate_python(record["scores"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
    return ModeScores(scores, case.patient, case.doubtful is not None, bool(record["is_wrong"]))


def _stamp(segmenter: Segmenter, scoring: Scoring) -> dict[str, Any]:
    return _stamp_of(segmenter.checkpoint.digest, scoring)


def _stamp_of(digest: str, scoring: Scoring) -> dict[str, Any]:
    """What scores depend on beside the files of a case."""
    return {"digest": digest, **asdict(scoring)}


def _map_path(folder: Path, case: Case) -> Path:
    return folder / f"{case.id}.nii.gz"


def _scores_path(folder: Path, case: Case) -> Path:
    return folder / f"{case.id}.scores.json"
