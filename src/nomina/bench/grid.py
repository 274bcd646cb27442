"""A grid: one base recipe, what each variant changes in it, and which runs to make; one YAML file.

Every run takes the same steps, batches, sampling and augmentation, so that a difference between two variants
is one between their networks and words.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from nomina.assessment.evaluate import MAX_LEVEL
from nomina.assessment.folders import Scoring
from nomina.assessment.metrics.empty_masks import EmptyPolicy
from nomina.bench.modes import ALL_MODES, Mode, modes_of
from nomina.bench.scans import ScoredScans, has_whole_vessels
from nomina.bench.words import WordSource, word_table_path
from nomina.config import config, load_config
from nomina.errors import CaseError, ConfigError
from nomina.learning.cases import Case, read_split
from nomina.learning.recipe import BlockRecipe, DataSource, Recipe, load_recipe


@config
class Variant:
    """What one network has that others have not."""

    set: dict[str, Any] = field(default_factory=dict)
    """Values of the base recipe to replace, by dotted name."""
    words: WordSource | None = None
    """Words without language (`nomina.bench.words`); None: the recipe's encoder."""
    half_labelled: float = 0.0
    """Share of the training patients of whom one lung counts as labelled (`DataSource.half_labelled`)."""
    control: str | None = None
    """Variant that this one is compared with; None: the grid's."""
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
    """Variant that every other is compared with, unless it names its own."""
    sweeps: tuple[Sweep, ...]
    modes: tuple[Mode, ...] | None = None
    """Inference modes to measure on networks that hear words; null: all that the networks have."""
    policy: EmptyPolicy = "penalise"
    """How a structure that only one map has enters averages."""
    max_level: int | None = MAX_LEVEL
    """Highest SPIDER number that is scored; null: all."""
    words_folder: str = "data/words"
    """Where the tables of words without language are written; relative to where the command runs."""

    def __post_init__(self) -> None:
        asked = {name for sweep in self.sweeps for name in sweep.variants} | set(self.controls.values())
        if strange := sorted(asked - set(self.variants)):
            raise ConfigError(
                f"grid {self.name} asks for the variant {strange[0]!r}; "
                f"it describes {', '.join(self.variants)}"
            )
        modes = self.modes or ()
        if "none" in modes:
            raise ConfigError("the mode 'none' is that of networks without words and cannot be asked for")
        if "best_shift" in modes and "predicted" not in modes:
            raise ConfigError("the mode 'best_shift' renames what 'predicted' found; ask for both")
        for name, variant in self.variants.items():
            if any(key.split(".")[0] == "data" for key in variant.set):
                raise ConfigError(
                    f"variant {name} sets `data`; a comparison needs equal data: set it for all"
                )

    @property
    def controls(self) -> dict[str, str]:
        """The variant that each is compared with."""
        return {name: variant.control or self.control for name, variant in self.variants.items()}


@dataclass(frozen=True)
class Run:
    """One training of a grid."""

    variant: str
    seed: int
    fold: int | None
    patients: int | None
    """Training patients asked for; None: all."""
    has_phantoms: bool
    recipe: Recipe | BlockRecipe
    modes: tuple[Mode, ...]
    """Inference modes to measure on it."""
    words: WordSource | None = None
    """Source of its words, where it is no language."""

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
        source = self.split_source
        return read_split(str(source.split), "validation", source.fold)

    @property
    def split_source(self) -> DataSource:
        """The data whose split says who is tested."""
        return _split_source(self.recipe)


def load_grid(path: Path | str, overrides: Sequence[str] = ()) -> GridConfig:
    """Read a grid file.

    Args:
        path: YAML file.
        overrides: `section.key=value` items that replace values of the file; one value of the recipe is
            `set.train.steps=1500`, whether the file writes it dotted or in sections.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not valid.
    """
    return load_config(GridConfig, path, overrides, dotted=("set",))


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


def scoring_of(cfg: GridConfig) -> Scoring:
    """How predictions, written in the scheme `nomina`, are scored; each reference brings its scheme."""
    return Scoring(prediction_scheme="nomina", policy=cfg.policy, max_level=cfg.max_level)


def cases_of(run: Run, cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """The scans of a run's test patients.

    Raises:
        CaseError: A patient has no scan, a file is missing, vessels are labelled in part, or a wrong prompt
            needs a second patient.
    """
    patients = run.test_patients
    found = tuple(case for case in cases if case.patient in patients)
    if missing := sorted(set(patients) - {case.patient for case in found}):
        raise CaseError(f"run {run.name} is to be tested on patient {', '.join(missing)}, who has no scan")
    for case in found:
        for path in (case.volume_path, case.label_map_path):
            if not path.is_file():
                raise CaseError(f"case {case.id}: {path} is missing; bring it, or leave the patient out")
        if isinstance(run.recipe, BlockRecipe) and not has_whole_vessels(case):
            raise CaseError(
                f"case {case.id}: not all arteries and veins of both lungs were annotated, so what is found "
                f"cannot be called wrong; test on whole cases"
            )
    if "shuffled" in run.modes and len(set(patients)) < 2:
        raise CaseError(f"run {run.name}: the mode 'shuffled' needs two test patients, got {len(patients)}")
    return found


def _run(
    cfg: GridConfig, seed: int, fold: int | None, patients: int | None, phantoms: bool, variant: str
) -> Run:
    described = cfg.variants[variant]
    values = {**cfg.set, **described.set, "train.seed": seed}
    if described.words is not None:
        table = word_table_path(cfg.words_folder, described.words, seed).as_posix()
        values["words.encoder"] = f"table:{table}"
    overrides = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    recipe = load_recipe(cfg.recipe, overrides)
    if recipe.initial_checkpoint is not None:
        raise ConfigError(
            f"variant {variant}: initial_checkpoint {recipe.initial_checkpoint} may have seen test patients; "
            f"a bench starts from fresh weights"
        )
    if described.words is not None and not isinstance(recipe, BlockRecipe):
        raise ConfigError(
            f"variant {variant}: `words` is for networks of blocks; set words.encoder to one-hot or random"
        )
    _split_source(recipe)
    data = tuple(
        source
        if source.split is None
        else replace(source, fold=fold, num_patients=patients, half_labelled=described.half_labelled)
        for source in recipe.data
        if phantoms or source.split is not None
    )
    recipe = replace(recipe, name=variant, data=data)
    modes = _modes(cfg, recipe, described.words)
    return Run(variant, seed, fold, patients, phantoms, recipe, modes, described.words)


def _modes(cfg: GridConfig, recipe: Recipe | BlockRecipe, words: WordSource | None) -> tuple[Mode, ...]:
    known = modes_of(recipe)
    asked = ALL_MODES if cfg.modes is None else ("none", *cfg.modes)
    # Where all classes hear one sentence, there is nothing to swap.
    modes = tuple(m for m in known if m in asked and not (words == "constant" and m == "swapped"))
    if not modes:
        raise ConfigError(
            f"grid {cfg.name} asks for no mode that {recipe.name} has; it has {', '.join(known)}"
        )
    return modes


def _split_source(recipe: Recipe | BlockRecipe) -> DataSource:
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


def _value(recipe: Recipe | BlockRecipe, name: str) -> Any:
    value: Any = recipe
    for part in name.split("."):
        value = getattr(value, part, None)  # A recipe for blocks has no scheme.
    return value
