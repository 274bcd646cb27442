"""Names of hand-made instances with known scores: the truth, the doubt, and what enumeration says."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from nomina.assessment import level_finding
from nomina.assessment.level_column import UNREACHABLE, column
from nomina.assessment.level_finding import Given, LowerEnd, SpineInstance, decided_by, identify_levels
from nomina.assessment.level_instances import scan_end
from nomina.assessment.spine_levels import LEVELS_UPWARDS, spine_kind

ON_SACRUM = LowerEnd(0.95, "the lowest disc lies on the sacrum")
UNSEEN = LowerEnd(0.0, "the sacrum is not in view")
DISCS = [f"{upper}-{lower} disc" for lower, upper in pairwise(LEVELS_UPWARDS)][4:]
"""From L5-S1 upwards."""


def discs(
    *called: str | dict[str, float] | None, gaps_mm: Sequence[float] | None = None
) -> list[SpineInstance]:
    """Discs 35 mm apart, or as told, from the bottom, and what a network calls each."""
    heights = np.concatenate([[0.0], np.cumsum(gaps_mm or [35.0] * (len(called) - 1))])
    return [
        SpineInstance(
            "disc", np.array([0.0, 0.0, z]), 8.0, {name: 1.0} if isinstance(name, str) else name or {}
        )
        for z, name in zip(heights, called, strict=True)
    ]


def names(found: level_finding.LevelFindings) -> list[str]:
    return [level.name for level in found.levels]


def test_agreeing_scores_over_a_sacrum_are_certain() -> None:
    found = identify_levels(discs(*DISCS[:6]), Given(ON_SACRUM))
    assert names(found) == DISCS[:6]
    assert min(level.confidence for level in found.levels) > 0.95


def test_without_the_sacrum_the_same_scores_are_uncertain() -> None:
    found = identify_levels(discs(*DISCS[1:7]), Given(UNSEEN))
    assert names(found) == DISCS[1:7]
    assert not any(level.is_sure for level in found.levels)
    assert {level.other for level in found.levels} <= set(DISCS)


def test_names_that_drift_in_a_cropped_scan_are_less_certain_than_names_that_agree() -> None:
    """The lowest are called too low, the highest right, as in real crops."""
    drifting = identify_levels(discs(*DISCS[1:4], *DISCS[5:8]), Given(UNSEEN))
    agreeing = identify_levels(discs(*DISCS[1:7]), Given(UNSEEN))
    assert drifting.levels[0].confidence < agreeing.levels[0].confidence - 0.1
    assert not any(level.is_sure for level in drifting.levels)


def test_scores_all_one_level_off_give_way_to_the_sacrum() -> None:
    found = identify_levels(discs(*DISCS[1:6]), Given(LowerEnd(0.999, "the sacrum is labelled")))
    assert names(found) == DISCS[:5]


def test_a_fixed_name_decides_everything() -> None:
    found = identify_levels(discs(*DISCS[1:6]), Given(UNSEEN, fixed={2: "L1-L2 disc"}))
    assert names(found) == DISCS[2:7]
    assert min(level.confidence for level in found.levels) > 0.95
    assert found.levels[2].confidence == pytest.approx(1.0)


def test_a_wide_gap_leaves_a_level_out_and_says_so() -> None:
    called = (DISCS[0], DISCS[1], DISCS[3], DISCS[4])
    found = identify_levels(discs(*called, gaps_mm=(35, 70, 35)), Given(ON_SACRUM))
    assert names(found) == list(called)
    assert any("L4 vertebra and L3 vertebra" in s or "L3 vertebra" in s for s in decided_by(ON_SACRUM, found))
    narrow = identify_levels(discs(*called, gaps_mm=(35, 35, 35)), Given(ON_SACRUM))
    assert names(narrow) == DISCS[:4]
    assert decided_by(ON_SACRUM, narrow) == (ON_SACRUM.reason,)


def test_a_gap_just_below_the_limit_has_no_room() -> None:
    called = (DISCS[0], DISCS[1], DISCS[3], DISCS[4])
    limit = level_finding.ROOM_FOR_ONE * 35
    for gap, is_left_out in ((limit - 1, False), (limit + 1, True)):
        found = identify_levels(discs(*called, gaps_mm=(35, gap, 35)), Given(ON_SACRUM))
        assert (names(found) == list(called)) == is_left_out


def test_a_name_used_twice_makes_an_extra_vertebra_likely() -> None:
    """T12-L1 twice over five lumbar vertebrae: T13, or a network that lost count."""
    called = (*DISCS[:6], DISCS[5], DISCS[6], DISCS[7])
    found = identify_levels(discs(*called), Given(ON_SACRUM, extras=frozenset()))
    plain = identify_levels(discs(*DISCS[:9]), Given(ON_SACRUM, extras=frozenset()))
    assert names(found) == DISCS[:9]
    assert found.extra["T13"] > 0.2 > 10 * plain.extra["T13"]
    assert found.levels[2].is_sure
    assert not found.levels[8].is_sure
    assert found.levels[8].other == "T10-T11 disc"
    assert any("T13" in sentence for sentence in decided_by(ON_SACRUM, found))


def test_a_network_that_knows_t13_and_l6_may_name_them() -> None:
    with_t13 = [*DISCS[:5], "T13-L1 disc", "T12-T13 disc", *DISCS[6:8]]
    assert names(identify_levels(discs(*with_t13), Given(ON_SACRUM))) == with_t13
    with_l6 = ["L6-S1 disc", "L5-L6 disc", *DISCS[1:5]]
    assert names(identify_levels(discs(*with_l6), Given(ON_SACRUM))) == with_l6


def test_a_rudimentary_lowest_disc_raises_the_doubt() -> None:
    whole = discs(*DISCS[:6])
    small = [replace(whole[0], volume_ml=3.0), *whole[1:]]
    sure, doubtful = (
        identify_levels(found, Given(ON_SACRUM)).levels[2].confidence for found in (whole, small)
    )
    assert doubtful < sure - 0.01


def test_discs_lie_between_their_vertebrae() -> None:
    kinds = ["disc", "vertebra"] * 4
    instances = [SpineInstance(kind, np.array([0.0, 0.0, 17.5 * n]), 8.0) for n, kind in enumerate(kinds)]
    found = names(identify_levels(instances, Given(ON_SACRUM)))
    assert found == [
        DISCS[0],
        "L5 vertebra",
        DISCS[1],
        "L4 vertebra",
        DISCS[2],
        "L3 vertebra",
        DISCS[3],
        "L2 vertebra",
    ]


def test_short_levels_are_not_lumbar() -> None:
    """Without any score the size alone tells a neck from a loin."""
    neck = identify_levels(discs(*[None] * 5, gaps_mm=[17.0] * 4), Given(UNSEEN))
    loin = identify_levels(discs(*[None] * 5, gaps_mm=[36.0] * 4), Given(UNSEEN))
    assert neck.levels[2].name.startswith(("C", "T1-", "T2-", "T3-"))
    assert loin.levels[2].name.startswith("L")
    assert not any(level.is_sure for level in (*neck.levels, *loin.levels))


def brute_force(instances: Sequence[SpineInstance], given: Given, nearby: Sequence[str]) -> dict:
    """Probability of every naming of the instances, straight from the definitions."""
    states = column()
    chains = {
        shift: (
            level_finding._allowed(instances, states, given.fixed),
            level_finding._votes(instances, states, shift),
        )
        for shift in given.shifts
    }
    steps = level_finding._steps(instances, states, False)
    start = level_finding._start(instances[0].kind, given.end, states, False)
    places = [states.index(name) for name in nearby]
    found: dict[tuple[str, ...], float] = {}
    for path in product(places, repeat=len(instances)):
        value = start[path[0]] + states.extra_log[path[-1]]
        value += sum(steps[i, a, b] for i, (a, b) in enumerate(pairwise(path)))
        for shift, (allowed, votes) in chains.items():
            own = sum(allowed[i, s] + votes[i, s] for i, s in enumerate(path))
            key = tuple(states.names[s] for s in path)
            found[key] = found.get(key, 0.0) + given.shifts[shift] * float(np.exp(value + own))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_confidences_are_those_of_all_namings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nearby = [name for name in column().names if spine_kind(name) == "disc"]
    called = [dict(zip(DISCS[:4], rng.dirichlet(np.full(4, 0.5)).tolist(), strict=True)) for _ in range(3)]
    instances = discs(*called, gaps_mm=rng.uniform(25, 60, 2).tolist())
    given = Given(LowerEnd(float(rng.random()), ""))
    every = brute_force(instances, given, nearby)
    total = sum(every.values())
    found = identify_levels(instances, given)
    for node, level in enumerate(found.levels):
        expected = sum(p for path, p in every.items() if path[node] == level.name) / total
        assert level.confidence == pytest.approx(expected, abs=1e-9)
        others = {path[node] for path in every} - {level.name}
        best_other = max(sum(p for path, p in every.items() if path[node] == o) / total for o in others)
        assert level.other_confidence == pytest.approx(best_other, abs=1e-9)


def test_the_column_has_ways_round_of_four_half_levels() -> None:
    states = column()
    at = states.index
    assert states.half_levels[at("S1 vertebra"), at("L5 vertebra")] == 2
    assert states.half_levels[at("L6 vertebra"), at("L5 vertebra")] == 2
    assert states.half_levels[at("L5-S1 disc"), at("L6 vertebra")] == UNREACHABLE
    assert states.half_levels[at("L4 vertebra"), at("L5 vertebra")] == UNREACHABLE
    assert states.half_levels[at("L1 vertebra"), at("C1 vertebra")] == 2 * (12 + 7)


@pytest.mark.parametrize(
    ("named", "room_mm", "has_bone", "least", "most"),
    [
        (1.0, 60, False, 0.95, 0.97),
        (1.0, 27, False, 0.89, 0.91),
        (1.0, 26, False, 0.0, 0.0),
        (1.0, 8, False, 0.0, 0.0),
        (1.0, 60, True, 0.89, 0.91),
        (0.6, 27, False, 0.17, 0.19),
        (0.4, 60, False, 0.0, 0.0),
        (0.0, 60, False, 0.0, 0.0),
    ],
)
def test_the_lower_end_is_seen_by_its_name_and_by_what_lies_below(
    named: float, room_mm: float, has_bone: bool, least: float, most: float
) -> None:
    end = scan_end({"L5-S1 disc": named}, room_mm, 35.0, has_bone_below=has_bone)
    assert least <= end.confidence <= most
    assert f"{named:.2f}" in end.reason
    assert f"{room_mm} mm" in end.reason
