import dataclasses

import numpy as np
import pytest

from nomina.errors import PromptError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.language.facts import (
    SEQUENCES,
    Facts,
    bottom_to_top,
    facts_from_counts,
    facts_from_label_map,
    is_supernumerary,
    perturb_facts,
    shifted_facts,
)

LUMBAR = ("L5 vertebra", "L4 vertebra", "L3 vertebra", "L2 vertebra", "L1 vertebra")
LUMBAR_DISCS = ("L5-S1 disc", "L4-L5 disc", "L3-L4 disc", "L2-L3 disc", "L1-L2 disc")
LUMBAR_FACTS = Facts("T2", LUMBAR, LUMBAR_DISCS, canal_visible=True)


def label_map(
    counts: dict[int, int], names: dict[int, str], ignored: tuple[int, ...] = (), dtype: type = np.int16
) -> LabelMap:
    array = np.zeros((10, 20, 30), dtype=dtype)
    flat = array.reshape(-1)
    start = 0
    for value, count in counts.items():
        flat[start : start + count] = value
        start += count
    return LabelMap(array, Grid(array.shape, np.eye(4)), names=names, ignored=frozenset(ignored))


def test_facts_name_what_is_visible_from_bottom_to_top():
    names = {3: "L3 vertebra", 1: "L5 vertebra", 2: "L4 vertebra", 201: "L5-S1 disc", 100: "spinal canal"}
    facts = facts_from_label_map(label_map({3: 500, 1: 400, 201: 150, 100: 99}, names), sequence="T1")
    assert facts == Facts("T1", ("L5 vertebra", "L3 vertebra"), ("L5-S1 disc",), canal_visible=False)
    assert (facts.lowest_vertebra, facts.highest_vertebra) == ("L5 vertebra", "L3 vertebra")
    assert (facts.num_vertebrae, facts.num_discs) == (2, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_a_structure_counts_as_visible_from_exactly_min_voxels_on(dtype):
    names = {1: "L5 vertebra", 2: "L4 vertebra"}
    facts = facts_from_label_map(label_map({1: 100, 2: 99}, names, dtype=dtype))
    assert facts.vertebrae == ("L5 vertebra",)
    assert facts_from_label_map(label_map({1: 100, 2: 99}, names), min_voxels=99).num_vertebrae == 2


def test_large_and_negative_label_values_are_counted_too():
    names = {-3: "L5 vertebra", 1_000_000: "L4 vertebra"}
    facts = facts_from_label_map(label_map({-3: 200, 1_000_000: 300}, names, dtype=np.int32))
    assert facts.vertebrae == ("L5 vertebra", "L4 vertebra")


def test_ignored_labels_do_not_count_as_visible():
    names = {1: "L5 vertebra", 102: "L4 vertebra"}
    facts = facts_from_label_map(label_map({1: 300, 102: 300}, names, ignored=(102,)))
    assert facts.vertebrae == ("L5 vertebra",)


def test_canal_and_sacrum_are_unknown_when_the_annotation_has_no_label_for_them():
    facts = facts_from_counts({"L5 vertebra": 1000})
    assert facts.canal_visible is None
    assert facts.sacrum_visible is None
    assert facts_from_counts({"sacrum": 0}).sacrum_visible is False
    assert facts_from_counts({"S1 vertebra": 0, "S2 vertebra": 500}).sacrum_visible is True


def test_sacral_segments_and_other_anatomy_are_not_counted_as_vertebrae():
    facts = facts_from_counts({"S1 vertebra": 900, "L5 vertebra": 900, "left kidney": 900})
    assert facts.vertebrae == ("L5 vertebra",)


def test_a_structure_without_voxels_is_never_visible_even_at_min_voxels_zero():
    assert facts_from_counts({"L5 vertebra": 0}, min_voxels=0).vertebrae == ()


def test_extra_levels_stand_at_their_place():
    names = ["L1 vertebra", "T13 vertebra", "T12 vertebra", "L6 vertebra", "L5 vertebra", "C1 vertebra"]
    assert bottom_to_top(names, "vertebra") == (
        *("L6 vertebra", "L5 vertebra", "L1 vertebra"),
        *("T13 vertebra", "T12 vertebra", "C1 vertebra"),
    )
    assert bottom_to_top(["L4-L5 disc", "L6-S1 disc", "L5-L6 disc"], "disc")[0] == "L6-S1 disc"


def test_only_t13_l6_and_their_discs_are_supernumerary():
    extra = ["T13 vertebra", "L6 vertebra", "T12-T13 disc", "T13-L1 disc", "L5-L6 disc", "L6-S1 disc"]
    usual = ["C1 vertebra", "T12 vertebra", "L1 vertebra", "L5 vertebra", "T12-L1 disc", "L5-S1 disc"]
    assert all(is_supernumerary(name) for name in extra)
    assert not any(is_supernumerary(name) for name in usual)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequence": "T3"}, "T1, T2, STIR, PD"),
        ({"vertebrae": ("L4 vertebra", "L5 vertebra")}, "bottom to top"),
        ({"vertebrae": ("L4 vertebra", "L4 vertebra")}, "repeats"),
        ({"vertebrae": ("S1 vertebra",)}, "S1 vertebra"),
        ({"vertebrae": ("L4-L5 disc",)}, "L4 vertebra"),
        ({"discs": ("L3-L5 disc",)}, "L3-L5 disc"),
    ],
)
def test_facts_that_make_no_sense_are_refused_with_a_reason(arguments, message):
    with pytest.raises(PromptError, match=message):
        Facts(**arguments)


def perturbed(facts: Facts, seed: int = 0, **probabilities: float) -> Facts:
    chances = {"shift_probability": 0.0, "drop_probability": 0.0, "add_probability": 0.0} | probabilities
    return perturb_facts(facts, np.random.default_rng(seed), **chances)


def test_no_noise_leaves_facts_as_they_are():
    extra = Facts("PD", ("L6 vertebra", "L5 vertebra"), ("L6-S1 disc", "L5-L6 disc"), canal_visible=True)
    assert perturbed(LUMBAR_FACTS) == LUMBAR_FACTS
    assert perturbed(extra) == extra
    assert perturbed(Facts(), shift_probability=1, drop_probability=1, add_probability=1) == Facts()


def test_a_shift_moves_every_name_by_one_and_loses_what_leaves_the_spine():
    results = {perturbed(LUMBAR_FACTS, seed, shift_probability=1) for seed in range(20)}
    up = Facts(
        "T2",
        ("L4 vertebra", "L3 vertebra", "L2 vertebra", "L1 vertebra", "T12 vertebra"),
        ("L4-L5 disc", "L3-L4 disc", "L2-L3 disc", "L1-L2 disc", "T12-L1 disc"),
        canal_visible=True,
    )
    down = Facts(
        "T2",
        ("L5 vertebra", "L4 vertebra", "L3 vertebra", "L2 vertebra"),
        ("L5-S1 disc", "L4-L5 disc", "L3-L4 disc", "L2-L3 disc"),
        canal_visible=True,
    )
    assert results == {up, down}


def test_a_drop_loses_one_vertebra_and_the_disc_below_it():
    results = {perturbed(LUMBAR_FACTS, seed, drop_probability=1) for seed in range(60)}
    assert results == {
        dataclasses.replace(
            LUMBAR_FACTS,
            vertebrae=LUMBAR[:n] + LUMBAR[n + 1 :],
            discs=LUMBAR_DISCS[:n] + LUMBAR_DISCS[n + 1 :],
        )
        for n in range(5)
    }


def test_an_added_level_continues_the_row_at_one_end():
    middle = Facts(None, ("L4 vertebra", "L3 vertebra"), ("L3-L4 disc",))
    results = {perturbed(middle, seed, add_probability=1) for seed in range(20)}
    assert results == {
        Facts(None, ("L5 vertebra", "L4 vertebra", "L3 vertebra"), ("L4-L5 disc", "L3-L4 disc")),
        Facts(None, ("L4 vertebra", "L3 vertebra", "L2 vertebra"), ("L3-L4 disc", "L2-L3 disc")),
    }


def test_noise_comes_at_the_stated_rate_and_can_be_replayed():
    rng = np.random.default_rng(7)
    changed = np.mean([perturb_facts(LUMBAR_FACTS, rng) != LUMBAR_FACTS for _ in range(2000)])
    # An addition below L5 has nowhere to go: 1 - 0.9 * 0.9 * 0.95.
    assert changed == pytest.approx(1 - 0.9 * 0.9 * 0.95, abs=0.03)
    assert perturbed(LUMBAR_FACTS, 3, shift_probability=0.5) == perturbed(
        LUMBAR_FACTS, 3, shift_probability=0.5
    )


def test_noisy_facts_are_always_valid_facts():
    rng = np.random.default_rng(1)
    top = Facts("STIR", ("C3 vertebra", "C2 vertebra", "C1 vertebra"), ("C3-C4 disc", "C2-C3 disc"))
    for facts in (LUMBAR_FACTS, top):
        for _ in range(300):
            noisy = perturb_facts(
                facts, rng, shift_probability=0.5, drop_probability=0.5, add_probability=0.5
            )
            assert noisy.sequence in SEQUENCES


def test_shifted_facts_name_every_level_one_too_high_or_too_low_and_lose_what_leaves_the_spine():
    up = shifted_facts(LUMBAR_FACTS, 1)
    assert (up.lowest_vertebra, up.highest_vertebra) == ("L4 vertebra", "T12 vertebra")
    assert (up.discs[0], up.discs[-1]) == ("L4-L5 disc", "T12-L1 disc")
    assert (up.num_vertebrae, up.num_discs, up.sequence, up.canal_visible) == (5, 5, "T2", True)
    down = shifted_facts(LUMBAR_FACTS, -1)
    assert (down.vertebrae, down.discs) == (LUMBAR[:-1], LUMBAR_DISCS[:-1])
    assert shifted_facts(LUMBAR_FACTS, 0) == LUMBAR_FACTS
