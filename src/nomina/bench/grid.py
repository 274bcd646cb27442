"""A grid: one base recipe, what each variant changes in it, and which runs to make; one YAML file.

Every run takes the same steps, batches, sampling and augmentation, so that a difference between two variants
is one between their networks and words.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from nomina.assessment.evaluate import MAX_LEVEL
from nomina.assessment.folders import Scoring
from nomina.assessment.metrics.empty_masks import EmptyPolicy
from nomina.bench.modes import MODES, Mode
from nomina.config import config, load_config
from nomina.errors import CaseError, ConfigError
from nomina.learning.cases import Case, read_split
from nomina.learning.datasets.folder import folder_cases
from nomina.learning.datasets.spider import spider_cases
from nomina.learning.recipe import DataSource, Recipe
from nomina.networks.plain import PlainConfig


@config
class ScoredScans:
    """Scans with references on which every run is scored, each by the network that never saw its patient."""

    dataset: Literal["spider", "folder"]
    """How the folder is laid out: as SPIDER's download, or `images/` and `labels/`."""
    folder: str
    """Relative to where the command runs."""


@config
class Variant:
    """What one network has that others have not."""

    set: dict[str, Any] = field(default_factory=dict)
    """Values of the base recipe to replace, by dotted name."""
    note: str = ""
    """Printed under the table, e.g. what a name does not claim."""


@config
class Sweep:
    """Runs for every combination of its lists."""

    variants: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    folds: tuple[int | None, ...] = (None,)
    """Folds of the split file; None takes its top-level lists."""
    patients: tuple[int | None, ...] = (None,)
    """Numbers of training patients; None: all of the split."""
    phantoms: tuple[bool, ...] = (True,)
    """Whether sources without a split (phantoms) take part."""


@config
class GridConfig:
    """Content of a grid file."""

    name: str
    recipe: str
    """Base recipe; path relative to where the command runs."""
    set: dict[str, Any] = field(default_factory=dict)
    """Values of the base recipe to replace in every run."""
    test: ScoredScans
    variants: dict[str, Variant]
    control: str
    """Variant that every other is compared with."""
    sweeps: tuple[Sweep, ...]
    modes: tuple[Mode, ...] = tuple(MODES)
    """Inference modes to measure on networks that hear words."""
    policy: EmptyPolicy = "penalise"
    """How a structure that only one map has enters averages."""
    max_level: int | None = MAX_LEVEL
    """Highest SPIDER number that is scored; null: all."""

    def __post_init__(self) -> None:
        asked = {name for sweep in self.sweeps for name in sweep.variants} | {self.control}
        if strange := sorted(asked - set(self.variants)):
            raise ConfigError(
                f"grid {self.name} asks for the variant {strange[0]!r}; "
                f"it describes {', '.join(self.variants)}"
            )
        if "none" in self.modes:
            raise ConfigError("the mode 'none' is that of networks without words and cannot be asked for")
        if "best_shift" in self.modes and "predicted" not in self.modes:
            raise ConfigError("the mode 'best_shift' renames what 'predicted' found; ask for both")


@dataclass(frozen=True)
class Run:
    """One training of a grid."""

    variant: str
    seed: int
    fold: int | None
    patients: int | None
    """Training patients asked for; None: all."""
    has_phantoms: bool
    recipe: Recipe
    modes: tuple[Mode, ...]
    """Inference modes to measure on it."""

    @property
    def name(self) -> str:
        """Folder of the run, e.g. "words-p5-no-phantoms-fold0-seed1"."""
        parts = [self.variant]
        parts += [] if self.patients is None else [f"p{self.patients}"]
        parts += [] if self.has_phantoms else ["no-phantoms"]
        parts += [] if self.fold is None else [f"fold{self.fold}"]
        return "-".join([*parts, f"seed{self.seed}"])

    @property
    def test_patients(self) -> list[str]:
        """Patients that this run never trains on and is scored on."""
        source = _split_source(self.recipe)
        return read_split(str(source.split), "validation", source.fold)


def load_grid(path: Path | str, overrides: Sequence[str] = ()) -> GridConfig:
    """Read a grid file.

    Args:
        path: YAML file.
        overrides: `section.key=value` items that replace values of the file.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not valid.
    """
    return load_config(GridConfig, path, overrides)


def expand(cfg: GridConfig) -> tuple[Run, ...]:
    """Every run of a grid, each once; seeds first, so that a grid stopped early has every variant once.

    Raises:
        ConfigError: A recipe is not valid, has no split or starts from trained weights; variants differ in
            more than network, words, loss and optimiser; or two runs have one name.
    """
    keys: dict[tuple[Any, ...], None] = {}
    for sweep in cfg.sweeps:
        combinations = product(sweep.seeds, sweep.folds, sweep.patients, sweep.phantoms, sweep.variants)
        keys |= dict.fromkeys(combinations)
    runs = tuple(_run(cfg, *key) for key in keys)
    _require_equal(cfg, runs)
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two runs of grid {cfg.name} would be called {twice[0]!r}; rename a variant")
    return runs


def scoring_of(cfg: GridConfig, scheme: str) -> Scoring:
    """How the predictions of a grid are scored: they are written in the scheme `nomina`."""
    return Scoring(scheme, "nomina", cfg.policy, cfg.max_level)


def open_cases(cfg: GridConfig) -> tuple[Case, ...]:
    """Every test scan.

    Raises:
        CaseError: The folder is not laid out as said, a file is missing, or labels follow no known scheme.
    """
    read = spider_cases if cfg.test.dataset == "spider" else folder_cases
    cases = tuple(read(cfg.test.folder))
    for case in cases:
        if case.labels is not None:
            raise CaseError(
                f"{cfg.test.folder}: give label maps of a known scheme; these have names of their own"
            )
    return cases


def cases_of(run: Run, cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """The scans of a run's test patients.

    Raises:
        CaseError: A patient has no scan, a file is missing, or a wrong prompt needs a second patient.
    """
    patients = run.test_patients
    found = tuple(case for case in cases if case.patient in patients)
    if missing := sorted(set(patients) - {case.patient for case in found}):
        raise CaseError(f"run {run.name} is to be tested on patient {', '.join(missing)}, who has no scan")
    for case in found:
        for path in (case.volume_path, case.label_map_path):
            if not path.is_file():
                raise CaseError(f"case {case.id}: {path} is missing; bring it, or leave the patient out")
    if "shuffled" in run.modes and len(set(patients)) < 2:
        raise CaseError(f"run {run.name}: the mode 'shuffled' needs two test patients, got {len(patients)}")
    return found


def _run(
    cfg: GridConfig, seed: int, fold: int | None, patients: int | None, phantoms: bool, variant: str
) -> Run:
    values = {**cfg.set, **cfg.variants[variant].set, "train.seed": seed}
    overrides = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    recipe = load_config(Recipe, cfg.recipe, overrides)
    if recipe.initial_checkpoint is not None:
        raise ConfigError(
            f"variant {variant}: initial_checkpoint {recipe.initial_checkpoint} may have seen test patients; "
            f"a bench starts from fresh weights"
        )
    _split_source(recipe)
    data = tuple(
        source if source.split is None else replace(source, fold=fold, num_patients=patients)
        for source in recipe.data
        if phantoms or source.split is not None
    )
    modes = tuple(mode for mode in MODES if mode in cfg.modes)
    if isinstance(recipe.network, PlainConfig):
        modes = ("none", *(mode for mode in cfg.modes if mode == "best_shift"))
    recipe = replace(recipe, name=variant, data=data)
    return Run(variant, seed, fold, patients, phantoms, recipe, modes)


def _split_source(recipe: Recipe) -> DataSource:
    found = [source for source in recipe.data if source.split is not None]
    if len(found) != 1:
        raise ConfigError(
            f"recipe {recipe.name}: exactly one source of `data` must have a split, which says who is "
            f"tested; {len(found)} have one"
        )
    return found[0]


def _require_equal(cfg: GridConfig, runs: tuple[Run, ...]) -> None:
    """Refuse variants that would train longer, on other patches, or in another look."""
    for run in runs:
        ours, first = run.recipe, runs[0].recipe
        for name in (
            "train.steps",
            "train.batch_size",
            "train.accumulate",
            "sampling",
            "augmentation",
            "scheme",
        ):
            if _value(ours, name) != _value(first, name):
                raise ConfigError(
                    f"variant {run.variant} has another {name} than {runs[0].variant}; a comparison needs it "
                    f"equal: set it for the whole grid {cfg.name}"
                )


def _value(recipe: Recipe, name: str) -> Any:
    value: Any = recipe
    for part in name.split("."):
        value = getattr(value, part)
    return value
