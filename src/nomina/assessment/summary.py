"""From the scores of cases to the numbers of a table: means, intervals over patients, and counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

import numpy as np
from jaxtyping import Float, Integer

from nomina.assessment.metrics.empty_masks import (
    Average,
    EmptyPolicy,
    average,
    case_wise,
    class_wise,
    mean_over_cases,
)
from nomina.assessment.metrics.label_free import GROUPS, LabelFreeGroup
from nomina.assessment.metrics.naming import NameOutcome
from nomina.assessment.presence import PresenceCounts, named_as, presence_table
from nomina.assessment.scores import METRICS, CaseScores
from nomina.assessment.spine_levels import spine_kind, spine_rank
from nomina.assessment.statistics import NUM_RESAMPLES, Interval, bootstrap_interval, patient_of
from nomina.assessment.tree_scores import TREE_METRICS, average_tree_scores, tree_values
from nomina.errors import ConfigError


@dataclass(frozen=True)
class Estimate:
    """A mean and its bootstrap interval over patients."""

    mean: float
    """`nan` when there was nothing to average."""
    interval: Interval


@dataclass(frozen=True)
class StructureSummary:
    """One structure over all cases."""

    structure: str
    averages: Mapping[str, Average]
    """For each metric, the mean over cases under the policy."""


@dataclass(frozen=True)
class NamingSummary:
    """Naming of vertebrae and discs over all cases."""

    counts: Mapping[NameOutcome, int]
    """Reference vertebrae and discs by outcome."""
    right: Estimate
    """Share of all reference vertebrae and discs that are found under their own name."""
    identified: Estimate
    """Share of all reference vertebrae whose predicted namesake lies in their place (identification rate)."""
    num_cases: int
    """Cases whose reference has vertebrae or discs."""
    num_all_levels_right: int
    """Cases in which every vertebra and disc is found under its own name."""
    num_no_level_wrong: int
    """Cases in which no vertebra or disc that is found carries another name."""


@dataclass(frozen=True)
class LabelFreeSummary:
    """Label-free scores of one group of structures over all cases."""

    dice: Estimate
    """Mean over cases of the group's mean."""
    asd_mm: Estimate
    """Mean over cases of the group's mean."""
    num_detected: int
    """Structures of Dice ≥ 0.1 in all cases."""
    num_reference: int
    """Structures in all references."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of many cases and their summary."""

    cases: tuple[CaseScores, ...]
    """The cases that every mean is taken over."""
    structures: tuple[StructureSummary, ...]
    """Vertebrae and discs from the bottom, then the rest."""
    class_wise: Mapping[str, Estimate]
    """For each metric, the mean over structures of each structure's mean over cases."""
    case_wise: Mapping[str, Estimate]
    """For each metric, the mean over cases of each case's mean over structures."""
    class_wise_by_policy: Mapping[EmptyPolicy, Mapping[str, float]]
    """The class-wise means under every policy."""
    naming: NamingSummary
    label_free: Mapping[LabelFreeGroup, LabelFreeSummary]
    policy: EmptyPolicy
    max_level: int | None
    """Highest SPIDER number that was scored; None: no cut-off, or not a SPIDER reference."""
    num_patients: int
    seed: int
    """Seed of the bootstrap."""
    num_resamples: int = NUM_RESAMPLES
    """Bootstrap resamples."""
    excluded: tuple[CaseScores, ...] = ()
    """Cases scored apart: in no mean."""
    missing: tuple[str, ...] = ()
    """References without a prediction: in no mean."""
    presence: tuple[PresenceCounts, ...] = ()
    """In how many cases each structure is there, by reference and prediction; ordered as `structures`."""
    named_as: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each reference vertebra or disc how often which name was found in its place."""
    trees: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    """For each tree of lung vessels ("artery", "vein") and metric the mean over the cases that have it."""
    tree_averages: Mapping[str, Mapping[str, Average]] = field(default_factory=dict)
    """The same means with how many cases entered each: a tree that is not predicted has no precision."""


def summarise(
    cases: Sequence[CaseScores],
    *,
    excluded: Sequence[CaseScores] = (),
    missing: Sequence[str] = (),
    patients: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Average the scores of cases under their policy.

    Args:
        cases: Scores of at least one case, all made with one policy.
        excluded: Scores of cases that enter no mean.
        missing: References that had no prediction.
        patients: Patient of each case; without it the names of the cases tell (`patient_of`).
        seed: Seed of the bootstrap.

    Raises:
        ConfigError: There is no case, the cases have different policies, or `patients` lacks a case.
    """
    if not cases:
        raise ConfigError("there is no case to average; exclude fewer cases")
    policy = one_policy(cases)
    patient_names = [patient_of(case.case, patients) for case in cases]
    estimate = partial(estimated, patients=patient_names, seed=seed)
    structures = structures_in_order(cases)
    settled = {metric: settled_scores(cases, structures, metric, policy) for metric in METRICS}
    return Evaluation(
        cases=tuple(cases),
        structures=tuple(_structure_summary(cases, structure) for structure in structures),
        class_wise={m: estimate(partial(class_wise, settled[m])) for m in METRICS},
        case_wise={m: estimate(partial(case_wise, settled[m])) for m in METRICS},
        class_wise_by_policy={p: _class_wise_means(cases, structures, p) for p in get_args(EmptyPolicy)},
        naming=_naming_summary(cases, estimate),
        label_free={group: _label_free_summary(cases, group, estimate) for group in GROUPS},
        policy=policy,
        max_level=cases[0].max_level,
        num_patients=len(set(patient_names)),
        seed=seed,
        excluded=tuple(excluded),
        missing=tuple(missing),
        presence=presence_table(cases, structures),
        named_as=named_as(cases),
        trees=_tree_summary(cases, estimate),
        tree_averages=average_tree_scores([case.trees for case in cases]),
    )


def tree_statistics(cases: Sequence[CaseScores]) -> dict[str, dict[str, "Statistic"]]:
    """For each tree that a reference has and each metric: from weights of the cases to its weighted mean."""
    statistics: dict[str, dict[str, Statistic]] = {}
    for tree, values in tree_values([case.trees for case in cases]).items():
        statistics[tree] = {m: partial(_mean_of_column, values[:, i]) for i, m in enumerate(TREE_METRICS)}
    return statistics


Statistic = Callable[[Float[np.ndarray, "b cases"]], Float[np.ndarray, " b"]]
"""From the weights of cases, one row per resample, to a number for each row."""
_Estimator = Callable[[Statistic], Estimate]


def estimated(statistic: Statistic, patients: Sequence[str], *, seed: int) -> Estimate:
    """A statistic of all cases, each counted once, and its interval.

    Args:
        statistic: See `Statistic`.
        patients: Patient of each case.
        seed: Seed of the bootstrap.
    """
    everyone = np.ones((1, len(patients)))
    return Estimate(float(statistic(everyone)[0]), bootstrap_interval(statistic, patients, seed=seed))


def one_policy(cases: Sequence[CaseScores]) -> EmptyPolicy:
    """The policy under which all of the cases, at least one, were scored.

    Raises:
        ConfigError: There are several.
    """
    policy, *others = {case.policy for case in cases}
    if others:
        names = ", ".join(sorted([policy, *others]))
        raise ConfigError(f"the cases were scored under different policies ({names}); score all under one")
    return policy


def structures_in_order(cases: Sequence[CaseScores]) -> list[str]:
    """Vertebrae from the bottom, discs from the bottom, then everything else as it first appears."""
    names = list(dict.fromkeys(score.structure for case in cases for score in case.structures))

    def place(name: str) -> tuple[int, int]:
        kind, rank = spine_kind(name), spine_rank(name)
        return ("vertebra", "disc", None).index(kind), 99 if rank is None else rank

    return sorted(names, key=place)


def settled_scores(
    cases: Sequence[CaseScores], structures: Sequence[str], metric: str, policy: EmptyPolicy
) -> Float[np.ndarray, "cases structures"]:
    """The values with which one metric enters averages; `nan` where the policy leaves one out."""
    column = {structure: index for index, structure in enumerate(structures)}
    values = np.full((len(cases), len(structures)), np.nan)
    for row, case in enumerate(cases):
        for score in case.structures:
            values[row, column[score.structure]] = case.settled(score, metric, policy)
    return values


def _structure_summary(cases: Sequence[CaseScores], structure: str) -> StructureSummary:
    scores = [(case, score) for case in cases for score in case.structures if score.structure == structure]
    presence = [score.found_in for _, score in scores]
    return StructureSummary(
        structure,
        {m: average([case.settled(score, m) for case, score in scores], presence) for m in METRICS},
    )


def _class_wise_means(
    cases: Sequence[CaseScores], structures: Sequence[str], policy: EmptyPolicy
) -> dict[str, float]:
    everyone = np.ones((1, len(cases)))
    return {m: float(class_wise(settled_scores(cases, structures, m, policy), everyone)[0]) for m in METRICS}


def _naming_summary(cases: Sequence[CaseScores], estimate: _Estimator) -> NamingSummary:
    right = np.array([[case.naming.count("right"), len(case.naming.structures)] for case in cases])
    identified = np.array([[sum(case.identified.values()), len(case.identified)] for case in cases])
    judged = [case.naming for case in cases if case.naming.structures]
    return NamingSummary(
        counts={outcome: sum(n.count(outcome) for n in judged) for outcome in get_args(NameOutcome)},
        right=estimate(partial(_share, right)),
        identified=estimate(partial(_share, identified)),
        num_cases=len(judged),
        num_all_levels_right=sum(bool(naming.all_levels_right) for naming in judged),
        num_no_level_wrong=sum(bool(naming.no_level_wrong) for naming in judged),
    )


def _tree_summary(cases: Sequence[CaseScores], estimate: _Estimator) -> dict[str, dict[str, Estimate]]:
    return {
        tree: {metric: estimate(statistic) for metric, statistic in statistics.items()}
        for tree, statistics in tree_statistics(cases).items()
    }


def _mean_of_column(
    values: Float[np.ndarray, " cases"], weights: Float[np.ndarray, "b cases"]
) -> Float[np.ndarray, " b"]:
    return mean_over_cases(values[:, None], weights)[:, 0]


def _share(
    totals: Integer[np.ndarray, "cases 2"], weights: Float[np.ndarray, "b cases"]
) -> Float[np.ndarray, " b"]:
    """Sum of the first column over that of the second; `nan` where there is nothing."""
    part, whole = (weights @ totals).T
    return np.divide(part, whole, out=np.full(len(weights), np.nan), where=whole > 0)


def _label_free_summary(
    cases: Sequence[CaseScores], group: LabelFreeGroup, estimate: _Estimator
) -> LabelFreeSummary:
    scores = [case.label_free.group(group) for case in cases]
    return LabelFreeSummary(
        dice=estimate(partial(_mean_of_column, np.array([score.dice for score in scores]))),
        asd_mm=estimate(partial(_mean_of_column, np.array([score.asd_mm for score in scores]))),
        num_detected=sum(score.num_detected for score in scores),
        num_reference=sum(score.num_reference for score in scores),
    )
