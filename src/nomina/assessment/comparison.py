"""Two predictions of the same cases: differences of means, with intervals over patients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float

from nomina.assessment.metrics.empty_masks import case_wise, class_wise
from nomina.assessment.scores import METRICS, CaseScores
from nomina.assessment.statistics import patient_of
from nomina.assessment.summary import (
    Estimate,
    Statistic,
    estimated,
    one_policy,
    settled_scores,
    structures_in_order,
    tree_statistics,
)
from nomina.errors import ConfigError


@dataclass(frozen=True)
class Comparison:
    """Mean of the first prediction minus that of the second, over the same cases."""

    class_wise: Mapping[str, Estimate]
    """For each metric, the difference of the means over structures; positive: the first is higher."""
    case_wise: Mapping[str, Estimate]
    """For each metric, the difference of the means over cases."""
    num_cases: int
    num_patients: int
    seed: int
    """Seed of the bootstrap."""
    trees: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    """For each tree of lung vessels and metric, the difference of the means over cases."""


def compare(
    first: Sequence[CaseScores],
    second: Sequence[CaseScores],
    *,
    patients: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Paired comparison: every resample draws the same patients for both predictions.

    So the differences between patients, which both predictions share, do not widen the interval. An interval
    that holds 0 says that these cases do not tell the two apart. For distances lower is better.

    Args:
        first: Scores of at least one case.
        second: Scores of the same cases in any order, made under the same policy.
        patients: Patient of each case; without it the names of the cases tell.
        seed: Seed of the bootstrap.

    Raises:
        ConfigError: The cases, the policies or what was asked for differ, or there is no case.
    """
    second = _paired(first, second)
    policy = one_policy([*first, *second])
    names = [patient_of(case.case, patients) for case in first]
    structures = structures_in_order([*first, *second])

    def difference(one: Statistic, other: Statistic) -> Estimate:
        return estimated(lambda weights: one(weights) - other(weights), names, seed=seed)

    def over(mean: _Mean, metric: str) -> Estimate:
        of_first, of_second = (settled_scores(c, structures, metric, policy) for c in (first, second))
        return difference(partial(mean, of_first), partial(mean, of_second))

    first_trees, second_trees = tree_statistics(first), tree_statistics(second)
    return Comparison(
        class_wise={metric: over(class_wise, metric) for metric in METRICS},
        case_wise={metric: over(case_wise, metric) for metric in METRICS},
        num_cases=len(first),
        num_patients=len(set(names)),
        seed=seed,
        trees={
            tree: {metric: difference(one, second_trees[tree][metric]) for metric, one in metrics.items()}
            for tree, metrics in first_trees.items()
            if tree in second_trees
        },
    )


def _paired(first: Sequence[CaseScores], second: Sequence[CaseScores]) -> list[CaseScores]:
    """The second prediction's scores in the order of the first's; refused where they do not fit."""
    seconds = {case.case: case for case in second}
    only = {case.case for case in first} ^ set(seconds)
    if only or not first:
        raise ConfigError(
            f"two predictions are compared on the same cases; only one has {', '.join(sorted(only)) or 'any'}"
        )
    for one in first:
        if one.asked != seconds[one.case].asked:
            raise ConfigError(
                f"case {one.case}: the two predictions were asked for different structures, so their means "
                f"are over different ones; make both with the same words, or score both against the whole "
                f"reference (--all-structures, `only_asked=False`)"
            )
    return [seconds[case.case] for case in first]


_Mean = Callable[
    [Float[np.ndarray, "cases structures"], Float[np.ndarray, "b cases"]], Float[np.ndarray, " b"]
]
