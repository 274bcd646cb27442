import math

import numpy as np
import pytest

from nomina.assessment.statistics import bootstrap_interval, patient_of, patient_resamples
from nomina.errors import ConfigError


def mean_of(values: np.ndarray):  # type: ignore[no-untyped-def]
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_the_patient_is_the_part_before_the_first_underscore_or_comes_from_the_mapping() -> None:
    assert patient_of("152_t2_SPACE") == "152"
    assert patient_of("case7") == "case7"
    assert patient_of("152_t2_SPACE", {"152_t2_SPACE": "p9"}) == "p9"
    with pytest.raises(ConfigError, match="'152_t1'"):
        patient_of("152_t1", {"152_t2_SPACE": "p9"})


def test_a_word_and_a_case_number_are_a_patient_together() -> None:
    # All phantoms of a folder were one patient once, and no interval could be drawn.
    assert [patient_of(f"phantom_{n:05d}") for n in (0, 3)] == ["phantom_00000", "phantom_00003"]
    assert patient_of("case_012_t2") == patient_of("case_012_t1") == "case_012"
    assert patient_of("anna_t1") == patient_of("anna_2") == "anna"
    assert patient_of("p12_003") == "p12"
    assert patient_of("sub-03_T2w") == patient_of("sub-03_2") == "sub-03"


def test_all_cases_of_a_patient_are_drawn_together() -> None:
    weights = patient_resamples(["a", "b", "a", "c"], seed=1, num_resamples=200)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    per_patient = weights[:, [0, 1, 3]].sum(axis=1)
    assert np.array_equal(per_patient, np.full(200, 3.0))
    assert weights[:, 1].mean() == pytest.approx(1.0, abs=0.2)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).normal(size=30)
    patients = [str(n) for n in range(30)]
    first, again, other = (bootstrap_interval(mean_of(values), patients, seed=seed) for seed in (5, 5, 6))
    assert (first.low, first.high) == (again.low, again.high)
    assert (first.low, first.high) != (other.low, other.high)
    assert first.low == pytest.approx(other.low, abs=0.1)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(size=400)
    interval = bootstrap_interval(mean_of(values), [str(n) for n in range(400)], seed=0)
    expected = 2 * 1.96 * values.std() / math.sqrt(400)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.06)


def test_about_95_of_100_intervals_cover_the_true_mean() -> None:
    generator = np.random.default_rng(2)
    patients = [str(n) for n in range(40)]
    covered = 0
    for _ in range(200):
        interval = bootstrap_interval(
            mean_of(generator.normal(0.7, 0.1, 40)), patients, seed=0, num_resamples=500
        )
        covered += interval.low <= 0.7 <= interval.high
    assert 0.89 <= covered / 200 <= 0.98


def test_repeated_scans_of_a_patient_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(3).normal(size=20)
    patients = [str(n) for n in range(20)]
    once = bootstrap_interval(mean_of(values), patients, seed=0)
    five_times = bootstrap_interval(mean_of(np.tile(values, 5)), patients * 5, seed=0)
    assert (once.low, once.high) == pytest.approx((five_times.low, five_times.high))


def test_of_two_patients_the_interval_reaches_from_one_to_the_other() -> None:
    # A quarter of all resamples is one of the two twice.
    interval = bootstrap_interval(mean_of(np.array([1.0, 2.0])), ["a", "b"], seed=0)
    assert (interval.low, interval.high) == (1.0, 2.0)


def test_one_patient_gives_no_interval() -> None:
    interval = bootstrap_interval(mean_of(np.array([1.0, 2.0])), ["a", "a"], seed=0)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
