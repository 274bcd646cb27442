"""A trained network in every inference mode: label maps and scores on disk, case by case, never made twice.

OUT/runs/RUN/modes/MODE/CASE.nii.gz         the prediction, on the scan's grid, in the scheme `nomina`
OUT/runs/RUN/modes/MODE/CASE.scores.json    its scores; written last, so it says that the case is done
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.evaluate import evaluate
from nomina.assessment.folders import Scoring
from nomina.assessment.scores import CaseScores
from nomina.bench.modes import Mode
from nomina.bench.scans import read_reference
from nomina.imaging.files import write_text_atomic
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write
from nomina.learning.cases import Case
from nomina.plain_files import read_json


@dataclass(frozen=True)
class Maker:
    """What made the predictions of a run, beside the scans."""

    digest: str
    """Digest of the network's checkpoint."""
    inference: int
    """Version of the code between a scan and its label map (`nomina.inference.version`)."""


@dataclass(frozen=True)
class ModeScores:
    """Scores of one case in one mode."""

    scores: CaseScores
    patient: str
    is_doubtful: bool
    """The dataset says that its labels may be wrong: it enters no mean."""
    is_wrong: bool = True
    """For wrong prompts: whether the network could tell the prompt from the right one."""


@runtime_checkable
class Server(Protocol):
    """A trained network and the test scans of its run."""

    def predict(self, index: int, mode: Mode) -> LabelMap:
        """The label map of one scan in one mode, on the scan's grid in the scheme `nomina`."""

    def is_wrong(self, index: int, mode: Mode) -> bool:
        """See `ModeScores.is_wrong`."""

    def comparable(self, label_map: LabelMap) -> LabelMap:
        """A prediction or a reference as it is to be compared with the other."""


Say = Callable[[str], None]
"""Told in a few words what is done now."""


def measure(
    server: Server,
    cases: Sequence[Case],
    modes: Sequence[Mode],
    folder: Path,
    scoring: Scoring,
    *,
    maker: Maker,
    say: Say = lambda text: None,
) -> None:
    """Segment and score every case in every mode; what is there already stays.

    Args:
        server: The trained network.
        cases: Scans with references, none of which it was trained on.
        modes: Inference modes; "best_shift" after the mode whose masks it renames.
        folder: Folder `modes` of the run.
        scoring: How predictions are scored; the scheme of references is that of each case.
        maker: The network.
        say: Told what is done.

    Raises:
        VolumeError: A scan or label map cannot be read.
        SchemeError: A reference does not follow its scheme.
        OutputError: A result cannot be written.
    """
    for mode in modes:
        for index, case in enumerate(cases):
            stamp = _stamp(maker, scoring, case)
            if _read(folder / mode, case, stamp) is not None:
                continue
            say(f"{mode}: {case.id}")
            path = prediction_path(folder / mode, case)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(server.predict(index, mode), path)
            scores = _score(server, path, case, scoring)
            record = {"stamp": stamp, "is_wrong": server.is_wrong(index, mode), "scores": asdict(scores)}
            write_text_atomic(_scores_path(folder / mode, case), json.dumps(record, indent=1))


def read_measured(
    maker: Maker, cases: Sequence[Case], mode: Mode, folder: Path, scoring: Scoring
) -> tuple[ModeScores, ...]:
    """Scores of the cases that are measured already with these weights and this version of inference.

    Args:
        maker: The network.
        cases: Cases of the run.
        mode: Inference mode.
        folder: Folder `modes` of the run.
        scoring: As given to `measure`.
    """
    found = []
    for case in cases:
        record = _read(folder / mode, case, _stamp(maker, scoring, case))
        if record is not None:
            found.append(record)
    return tuple(found)


def prediction_path(folder: Path, case: Case) -> Path:
    """Where the prediction for a case lies in the folder of a mode."""
    return folder / f"{case.id}.nii.gz"


def _score(server: Server, path: Path, case: Case, scoring: Scoring) -> CaseScores:
    """Scores of a prediction as it lies on disk, as `nomina evaluate` would give them."""
    prediction = server.comparable(read_label_map(path, scheme=scoring.prediction_scheme))
    reference = server.comparable(read_reference(case))
    return evaluate(prediction, reference, policy=scoring.policy, max_level=scoring.max_level, case=case.id)


def _read(folder: Path, case: Case, stamp: dict[str, Any]) -> ModeScores | None:
    """The scores of a case, where they are there and were made with these weights and code in this way."""
    try:
        record = read_json(_scores_path(folder, case))
        if record["stamp"] != stamp or not prediction_path(folder, case).is_file():
            return None
        scores = TypeAdapter(CaseScores).validate_python(record["scores"])
        return ModeScores(scores, case.patient, case.doubtful is not None, bool(record["is_wrong"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamp(maker: Maker, scoring: Scoring, case: Case) -> dict[str, Any]:
    """What scores depend on beside the files of a case."""
    options = asdict(replace(scoring, scheme=case.scheme))
    # Every mode is asked for everything, so this changes no score.
    del options["only_asked"]
    return {**asdict(maker), **options}


def _scores_path(folder: Path, case: Case) -> Path:
    return folder / f"{case.id}.scores.json"
