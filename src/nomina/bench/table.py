"""From the scores of runs to the rows of one table, with paired differences to the control.

Runs that differ in seed or fold alone make one row: their cases are pooled, and the bootstrap draws patients,
so that all seeds of a patient come and go together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nomina.assessment.comparison import Comparison, compare
from nomina.assessment.metrics.label_free import GROUPS
from nomina.assessment.scores import CaseScores
from nomina.assessment.summary import Estimate, Evaluation, summarise
from nomina.bench.grid import Run
from nomina.bench.measure import ModeScores
from nomina.bench.modes import ALL_MODES, LETTERS, STAMPS, USUAL_MODES, Mode

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Measured:
    """One finished run in one mode."""

    run: Run
    mode: Mode
    cases: tuple[ModeScores, ...]
    num_training_patients: int
    num_phantoms: int


@dataclass(frozen=True)
class Row:
    """One line of the table: a variant in a mode, over its seeds and folds."""

    variant: str
    mode: Mode
    letter: str
    """A to E or X; empty for other modes."""
    stamp: str
    """What must be said beside the numbers; empty for honest modes."""
    num_training_patients: tuple[int, ...]
    """Training patients of the runs, each number once."""
    num_phantoms: int
    seeds: tuple[int, ...]
    folds: tuple[int | None, ...]
    steps: int
    evaluation: Evaluation
    """Scores of all cases of all seeds, summarised; doubtful ones apart."""
    dice_of_seed: Mapping[int, float]
    """Class-wise Dice of each seed alone, for their spread."""
    gain: Comparison | None
    """This row minus the control on the cases, seeds and folds that both have; None for the control itself
    and where there is none."""
    against: str
    """The control, by variant, and mode where that is not the usual one of a control; empty without one."""
    half_labelled: float
    """Share of the training patients of whom one lung counts as labelled."""
    num_wrong: int
    """Cases whose wrong prompt differed from the right one; all of them for modes that are not `shuffled`."""

    @property
    def dice(self) -> Estimate:
        """Class-wise Dice."""
        return self.evaluation.class_wise["dice"]

    @property
    def dice_of_structure(self) -> dict[str, float]:
        """Mean Dice of each structure."""
        return {s.structure: s.averages["dice"].mean for s in self.evaluation.structures}

    @property
    def seed_deviation(self) -> float:
        """Standard deviation of the class-wise Dice over seeds; `nan` for one seed."""
        values = list(self.dice_of_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    @property
    def label_free(self) -> dict[str, Estimate]:
        """Dice of vertebrae, discs and canal, whatever they are called."""
        return {group: self.evaluation.label_free[group].dice for group in GROUPS}


_Key = tuple[str, Mode, int | None, bool, bool]


def make_rows(measured: Sequence[Measured], controls: Mapping[str, str]) -> tuple[Row, ...]:
    """Rows in the order of variants as they first appear, then patients, then modes.

    Args:
        measured: Finished runs, each in each of its modes, with at least one case.
        controls: Variant that each is compared with: in the mode `none`, or `predicted` or `named` where it
            hears words, at the same number of training patients and with the same phantoms. Swapped words are
            compared with the right ones of the same networks.
    """
    groups: dict[_Key, list[Measured]] = {}
    for one in measured:
        if any(not case.is_doubtful for case in one.cases):
            groups.setdefault(_key(one), []).append(one)
    order = list(dict.fromkeys(one.run.variant for one in measured))
    keys = sorted(groups, key=lambda key: _place(key, order))
    return tuple(_row(groups[key], _control_of(key, groups, controls[key[0]])) for key in keys)


def _key(one: Measured) -> _Key:
    run = one.run
    # Folds and the single split at the top of the split file test the same patients: never in one row.
    return run.variant, one.mode, run.patients, run.has_phantoms, run.fold is not None


def _place(key: _Key, variants: Sequence[str]) -> tuple[object, ...]:
    variant, mode, patients, has_phantoms, is_folds = key
    return (
        is_folds,
        not has_phantoms,
        patients is not None,
        -(patients or 0),
        variants.index(variant),
        ALL_MODES.index(mode),
    )


def _control_of(
    key: _Key, groups: Mapping[_Key, Sequence[Measured]], control: str
) -> Sequence[Measured] | None:
    name = key[0] if key[1] == "swapped" else control
    for mode in USUAL_MODES:
        other: _Key = (name, mode, *key[2:])
        if other in groups:
            return None if other == key else groups[other]
    return None


def _row(group: Sequence[Measured], control: Sequence[Measured] | None) -> Row:
    run, mode = group[0].run, group[0].mode
    cases, doubtful, patients = _pooled(group)
    seeds = sorted({one.run.seed for one in group})
    return Row(
        variant=run.variant,
        mode=mode,
        letter=LETTERS.get(mode, ""),
        stamp=STAMPS.get(mode, ""),
        num_training_patients=tuple(sorted({one.num_training_patients for one in group})),
        num_phantoms=group[0].num_phantoms,
        seeds=tuple(seeds),
        folds=tuple(sorted({one.run.fold for one in group}, key=lambda fold: -1 if fold is None else fold)),
        steps=run.recipe.train.steps,
        evaluation=summarise(cases, excluded=doubtful, patients=patients, seed=BOOTSTRAP_SEED),
        dice_of_seed={seed: _dice_of_seed(group, seed) for seed in seeds},
        gain=None if control is None else _gain(group, control),
        against="" if control is None else _named(control[0], run),
        half_labelled=run.split_source.half_labelled,
        num_wrong=sum(case.is_wrong for one in group for case in one.cases),
    )


def _named(control: Measured, run: Run) -> str:
    """The control as a table names it."""
    is_same = control.run.variant == run.variant
    return f"{control.run.variant} {control.mode}" if is_same else control.run.variant


def _gain(group: Sequence[Measured], control: Sequence[Measured]) -> Comparison | None:
    first, _, patients = _pooled(group)
    second, _, _ = _pooled(control)
    shared = {case.case for case in first} & {case.case for case in second}
    if not shared:
        return None
    return compare(
        [case for case in first if case.case in shared],
        [case for case in second if case.case in shared],
        patients=patients,
        seed=BOOTSTRAP_SEED,
    )


def _pooled(
    group: Sequence[Measured],
) -> tuple[list[CaseScores], list[CaseScores], dict[str, str]]:
    """Cases of all runs under names of their own, the doubtful ones, and the patient of each case."""
    cases: list[CaseScores] = []
    doubtful: list[CaseScores] = []
    patients: dict[str, str] = {}
    for one in group:
        for case in one.cases:
            name = f"{case.scores.case} seed {one.run.seed}"
            patients[name] = case.patient
            (doubtful if case.is_doubtful else cases).append(replace(case.scores, case=name))
    return cases, doubtful, patients


def _dice_of_seed(group: Sequence[Measured], seed: int) -> float:
    cases, _, patients = _pooled([one for one in group if one.run.seed == seed])
    return summarise(cases, patients=patients).class_wise["dice"].mean if cases else float("nan")
