"""Score folders of label maps: what `nomina evaluate`, `nomina bench` and a notebook call."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nomina.assessment.case_files import CaseFiles, asked_for, check_complete, pair_files, select_cases
from nomina.assessment.comparison import Comparison, compare
from nomina.assessment.evaluate import MAX_LEVEL, evaluate
from nomina.assessment.metrics.empty_masks import EmptyPolicy, check_policy
from nomina.assessment.scores import CaseScores
from nomina.assessment.summary import Evaluation, summarise
from nomina.errors import CaseError


@dataclass(frozen=True)
class Scoring:
    """How label maps are read and scored.

    Raises:
        ConfigError: The policy is unknown.
    """

    scheme: str | None = None
    """Label scheme of the references; None: what the JSON file beside each says."""
    prediction_scheme: str | None = None
    """Label scheme of the predictions; None: what the JSON file beside each says, or the references' scheme
    where there is none."""
    policy: EmptyPolicy = "penalise"
    """How a structure that only one map has enters averages."""
    max_level: int | None = MAX_LEVEL
    """Highest SPIDER number that is scored; None: all."""
    only_asked: bool = True
    """Whether a prediction whose JSON file says what it was asked for is scored on that alone."""

    def __post_init__(self) -> None:
        check_policy(self.policy)


Watch = Callable[[Sequence[CaseFiles]], Iterable[CaseFiles]]
"""Hands cases on one by one, e.g. with a progress bar."""


def evaluate_folders(
    predictions: Path,
    references: Path,
    scoring: Scoring | None = None,
    *,
    cases: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_missing: bool = False,
    seed: int = 0,
    watch: Watch = iter,
) -> Evaluation:
    """Score every reference of a folder against the prediction of the same name, and summarise.

    Args:
        predictions: Folder of predicted label maps (or one file).
        references: Folder of reference label maps (or one file).
        scoring: Schemes, policy and cut-off; None: the defaults of `Scoring`.
        cases: Names of the cases (or patients) to score; empty: all references. Where a case and a patient
            have one name, it is the case.
        exclude: Names of cases (or patients) that are scored but enter no mean.
        allow_missing: List references without a prediction in the result instead of refusing them.
        seed: Seed of the bootstrap over patients.
        watch: Sees each case before it is scored.

    Raises:
        CaseError: A prediction is missing, or names fit no case.
        GridMismatchError: A prediction does not cover its reference's voxels.
        VolumeError: A file cannot be read.
        SchemeError: A file does not follow its scheme.
        ConfigError: Every case is excluded.
    """
    scoring = scoring or Scoring()
    pairs = _paired(predictions, references, cases, allow_missing=allow_missing)
    apart = {pair.case for pair in select_cases(pairs, exclude)}
    scores = _scores(pairs, scoring, watch)
    return summarise(
        [score for score in scores if score.case not in apart],
        excluded=[score for score in scores if score.case in apart],
        missing=[pair.case for pair in pairs if pair.prediction is None],
        seed=seed,
    )


def compare_folder(
    first: Evaluation,
    predictions: Path,
    references: Path,
    scoring: Scoring | None = None,
    *,
    allow_missing: bool = False,
    seed: int = 0,
    watch: Watch = iter,
) -> tuple[Comparison, tuple[str, ...]]:
    """Score other predictions of the cases of an evaluation, and compare the two case by case.

    Args:
        first: What the others are compared with.
        predictions: The other predictions: a folder, or one file.
        references: See `evaluate_folders`.
        scoring: See `evaluate_folders`.
        allow_missing: Compare on the cases that both have instead of refusing what the others lack.
        seed: Seed of the bootstrap over patients.
        watch: Sees each case before it is scored.

    Returns:
        The comparison, and the cases that it is without because the other predictions lack them.

    Raises:
        CaseError: Another prediction is missing, or there is none of these cases.
        ConfigError: The two were asked for different structures.
    """
    scoring = scoring or Scoring()
    cases = [scores.case for scores in first.cases]
    pairs = _paired(predictions, references, cases, allow_missing=allow_missing)
    lacking = tuple(pair.case for pair in pairs if pair.prediction is None)
    if len(lacking) == len(pairs):
        raise CaseError(
            f"{predictions} has a prediction of none of the cases {', '.join(lacking[:5])}; "
            f"give predictions of the same cases"
        )
    others = _scores(pairs, scoring, watch)
    shared = [scores for scores in first.cases if scores.case not in lacking]
    return compare(shared, others, seed=seed), lacking


def _scores(pairs: Sequence[CaseFiles], scoring: Scoring, watch: Watch) -> list[CaseScores]:
    """Scores of each prediction that is there."""
    scores = []
    for pair in watch([pair for pair in pairs if pair.prediction is not None]):
        prediction, reference = pair.read(scheme=scoring.scheme, prediction_scheme=scoring.prediction_scheme)
        asked = asked_for(pair.prediction) if scoring.only_asked and pair.prediction else None
        scores.append(
            evaluate(
                prediction,
                reference,
                policy=scoring.policy,
                max_level=scoring.max_level,
                asked=asked,
                case=pair.case,
            )
        )
    return scores


def _paired(
    predictions: Path, references: Path, cases: Sequence[str], *, allow_missing: bool
) -> tuple[CaseFiles, ...]:
    """The files of these cases, or of all; refused where a prediction is missing and may not be."""
    pairs = pair_files(predictions, references)
    if cases:
        pairs = _chosen(pairs, cases)
    if not allow_missing:
        try:
            check_complete(pairs)
        except CaseError as error:
            raise CaseError(
                f"{predictions}: {error}, or go on without them (--allow-missing, `allow_missing=True`)"
            ) from error
    return pairs


def _chosen(pairs: tuple[CaseFiles, ...], names: Sequence[str]) -> tuple[CaseFiles, ...]:
    """The cases of these names, and all cases of the patients among them."""
    cases = {pair.case for pair in pairs}
    of_patients = select_cases(pairs, [name for name in names if name not in cases])
    return tuple(pair for pair in pairs if pair.case in names or pair in of_patients)
