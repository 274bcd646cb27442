"""Who has what: presence of each structure over cases, and which names were given for which."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nomina.assessment.scores import CaseScores

MISSED = "(missed)"
"""Name in the table of names for a reference vertebra or disc that nothing predicted overlaps enough."""


@dataclass(frozen=True)
class PresenceCounts:
    """In how many cases a structure is there, by reference and prediction; one voxel is enough."""

    structure: str
    num_both: int
    """True positives: both maps have it."""
    num_prediction_only: int
    """False positives."""
    num_reference_only: int
    """False negatives."""
    num_neither: int
    """True negatives: neither map has it, in cases whose reference can judge it."""

    @property
    def sensitivity(self) -> float:
        """Share of the cases that have it in which it is predicted; `nan` without such a case."""
        return _ratio(self.num_both, self.num_both + self.num_reference_only)

    @property
    def specificity(self) -> float:
        """Share of the cases without it in which it is not predicted; `nan` without such a case."""
        return _ratio(self.num_neither, self.num_neither + self.num_prediction_only)


def presence_table(cases: Sequence[CaseScores], structures: Sequence[str]) -> tuple[PresenceCounts, ...]:
    """Presence of each structure over cases.

    A predicted structure that a case's reference cannot judge (`not_scored`) is left out for that case, and
    so is a structure that the case's prediction was not asked for.

    Args:
        cases: Scores of any number of cases.
        structures: Names, in the order of the table.
    """
    found = [{score.structure: score.found_in for score in case.structures} for case in cases]
    table = []
    for name in structures:
        counts = Counter(
            in_case.get(name, "neither")
            for case, in_case in zip(cases, found, strict=True)
            if name in in_case or (name not in case.not_scored and (case.asked is None or name in case.asked))
        )
        table.append(
            PresenceCounts(name, counts["both"], counts["prediction"], counts["reference"], counts["neither"])
        )
    return tuple(table)


def named_as(cases: Sequence[CaseScores]) -> Mapping[str, Mapping[str, int]]:
    """For each reference vertebra or disc how often which name was found in its place (the shift matrix).

    Matching is by place, as for the naming scores; `MISSED` where nothing matches. One row off is a shift
    by one level.
    """
    table: dict[str, Counter[str]] = {}
    for case in cases:
        for structure in case.naming.structures:
            table.setdefault(structure.structure, Counter())[structure.named or MISSED] += 1
    return {name: dict(names) for name, names in table.items()}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
