"""Bootstrap intervals over patients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nomina.errors import ConfigError

NUM_RESAMPLES = 2000
"""Bootstrap resamples [choice]: the Monte-Carlo error of a 95 % limit is then below a tenth of its width."""


@dataclass(frozen=True)
class Interval:
    """Percentile bootstrap interval of a statistic."""

    low: float
    """Lower limit; `nan` when there are fewer than two patients."""
    high: float
    """Upper limit; `nan` when there are fewer than two patients."""
    level: float = 0.95
    """Share of resamples between the limits."""


def patient_of(case: str, patients: Mapping[str, str] | None = None) -> str:
    """Patient of a case: from the mapping where one is given, else from its name.

    That is the part before the first "_", as in "152_t2_SPACE"; where it has no digit and a number of three
    or more digits follows, the number belongs to it, as in "phantom_00003". Shorter ones ("anna_2") count
    scans: one patient taken for several makes intervals too narrow, and nothing shows it.

    Raises:
        ConfigError: A mapping is given and does not hold the case.
    """
    if patients is None:
        first, _, rest = case.partition("_")
        number = rest.partition("_")[0]
        is_word = not any(letter.isdigit() for letter in first)
        is_case_number = number.isdigit() and len(number) >= 3
        return f"{first}_{number}" if is_word and is_case_number else first
    if case not in patients:
        raise ConfigError(f"the mapping of cases to patients does not hold case {case!r}; add it")
    return patients[case]


def patient_resamples(
    patients: Sequence[str], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Float[np.ndarray, "b cases"]:
    """How often each case appears in each bootstrap resample.

    Patients are drawn with replacement, as many as there are; all cases of a drawn patient come with it.

    Args:
        patients: Patient of each case.
        seed: Seed of the draw; the same seed gives the same resamples.
        num_resamples: Number of resamples.
    """
    names = sorted(set(patients))
    position = {name: index for index, name in enumerate(names)}
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
    return drawn[:, [position[patient] for patient in patients]].astype(np.float64)


def bootstrap_interval(
    statistic: Callable[[Float[np.ndarray, "b cases"]], Float[np.ndarray, " b"]],
    patients: Sequence[str],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of a statistic of cases, resampled by patient.

    Args:
        statistic: From the weights of the cases, one row per resample, the statistic of every resample.
        patients: Patient of each case.
        seed: Seed of the draw.
        num_resamples: Number of resamples.
        level: Coverage of the interval, 0 to 1.

    Returns:
        The limits; resamples in which the statistic does not exist (`nan`) are left out of the percentiles.
    """
    if len(set(patients)) < 2:
        return Interval(float("nan"), float("nan"), level)
    values = statistic(patient_resamples(patients, seed=seed, num_resamples=num_resamples))
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"), level)
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high), level)
