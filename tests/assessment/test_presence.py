import math
from dataclasses import replace

import pytest

from nomina.assessment.metrics.label_free import LabelFreeScores
from nomina.assessment.metrics.naming import NamedStructure, NamingScores
from nomina.assessment.presence import MISSED, named_as, presence_table
from nomina.assessment.scores import CaseScores, StructureScore


def case_of(
    found: dict[str, str], *named: tuple[str, str | None], not_scored: tuple[str, ...] = ()
) -> CaseScores:
    structures = tuple(
        StructureScore(name, where, 0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0) for name, where in found.items()
    )
    naming = NamingScores(tuple(NamedStructure(a, b, 0.9 if b else 0.0, "other") for a, b in named))
    return CaseScores(structures, naming, LabelFreeScores(()), 1.0, 1.0, "skip", None, not_scored)


CASES = [
    case_of({"L5 vertebra": "both", "L4 vertebra": "both"}),
    case_of({"L5 vertebra": "reference"}),
    case_of({"L5 vertebra": "both", "L4 vertebra": "prediction"}),
    case_of({"L5 vertebra": "both"}, not_scored=("L4 vertebra",)),
]


def test_presence_counts_cases_by_reference_and_prediction() -> None:
    lowest, next_, absent = presence_table(CASES, ["L5 vertebra", "L4 vertebra", "sacrum"])
    assert (lowest.num_both, lowest.num_prediction_only, lowest.num_reference_only, lowest.num_neither) == (
        3,
        0,
        1,
        0,
    )
    assert lowest.sensitivity == 0.75
    assert math.isnan(lowest.specificity)
    # The last case cannot judge L4, so it is no true negative.
    assert (next_.num_both, next_.num_prediction_only, next_.num_neither) == (1, 1, 1)
    assert next_.specificity == 0.5
    assert absent.num_neither == 4


def test_names_are_counted_by_the_structure_in_whose_place_they_lie() -> None:
    cases = [
        case_of({}, ("L4 vertebra", "L4 vertebra"), ("L3 vertebra", "L2 vertebra")),
        case_of({}, ("L4 vertebra", "L3 vertebra"), ("L3 vertebra", None)),
        case_of({}, ("L4 vertebra", "L3 vertebra")),
    ]
    assert named_as(cases) == {
        "L4 vertebra": {"L4 vertebra": 1, "L3 vertebra": 2},
        "L3 vertebra": {"L2 vertebra": 1, MISSED: 1},
    }


@pytest.mark.parametrize("cases", [[], [replace(CASES[0], structures=())]])
def test_no_structures_make_an_empty_table(cases: list[CaseScores]) -> None:
    assert presence_table(cases, []) == ()
    assert named_as(cases) == {}


def test_what_a_case_was_not_asked_for_is_no_true_negative() -> None:
    cases = [CASES[0], replace(CASES[1], asked=("L5 vertebra",))]
    counts = {counts.structure: counts for counts in presence_table(cases, ["L5 vertebra", "L4 vertebra"])}
    assert (counts["L5 vertebra"].num_both, counts["L5 vertebra"].num_reference_only) == (1, 1)
    assert (counts["L4 vertebra"].num_both, counts["L4 vertebra"].num_neither) == (1, 0)
