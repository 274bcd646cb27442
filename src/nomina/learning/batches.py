"""Prepared cases → training batches: patches, classes, and the facts that hold inside each patch."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from nomina.anatomy.structures import structure
from nomina.errors import CaseError, ConfigError
from nomina.imaging.preparation import ImagePreparation
from nomina.language.facts import Facts, facts_from_counts, perturb_facts
from nomina.language.prompts import Statement, image_statements, statement_choices, undecided
from nomina.learning.augmentation import AugmentationConfig, cut_patch, vary_intensity
from nomina.learning.cases import read_split
from nomina.learning.prepared import IGNORED, PrepareConfig, PreparedEntry, open_prepared
from nomina.learning.recipe import DataSource, WordsConfig
from nomina.learning.sampling import CaseIndex, SamplingConfig, draw_plan, index_case
from nomina.networks.words import EncodedPrompts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What one forward pass needs."""

    patch: Float[Tensor, "b c i j"]
    target: Integer[Tensor, "b i j"]
    """Class per pixel, 255 where unknown."""
    annotated: Bool[Tensor, "b n"]
    """Classes that somebody looked for in the patch's case; the background always."""
    visible: Bool[Tensor, "b structures"]
    """Structures of which at least half lies inside the patch."""
    facts: tuple[Facts, ...]
    """The same as facts, one per patch."""


@dataclass(frozen=True)
class TrainingData:
    """The cases of a recipe, indexed, with their weights in the mixture."""

    prepare: PrepareConfig
    cases: tuple[CaseIndex, ...]
    case_weights: Float[np.ndarray, " cases"]
    validation: tuple[PreparedEntry, ...]

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of classes 1…n−1."""
        return self.prepare.structures

    def annotated(self, entry: PreparedEntry) -> Bool[Tensor, " n"]:
        """Which classes somebody looked for in a case; the background always."""
        names = self.structures if entry.annotated is None else entry.annotated
        return torch.tensor([True, *(name in names for name in self.structures)])

    @property
    def kinds(self) -> Integer[Tensor, " n"]:
        """Kind of each class as a number: background 0, then kinds in the order of their first structure."""
        names = ["background", *(structure(name).kind for name in self.structures)]
        order = list(dict.fromkeys(names))
        return torch.tensor([order.index(name) for name in names])


def open_training_data(sources: Sequence[DataSource]) -> TrainingData:
    """Open and index every source of a recipe.

    Raises:
        CaseError: A source cannot be read, or no case is left to train on.
        ConfigError: Two sources were prepared differently.
    """
    prepare, training, weights, validation = weighted_entries(sources)
    if validation and not any(sum(entry.voxel_counts.values()) for entry in validation):
        raise CaseError("no validation case shows any of the structures; check the split and the labels")
    if not isinstance(prepare.image, ImagePreparation):
        raise ConfigError(
            f"{sources[0].folder} holds CT; a network of slices reads what `nomina prepare spider`, "
            f"`mrspineseg`, `folder` or `phantoms` wrote"
        )
    num_classes = len(prepare.structures) + 1
    cases = tuple(index_case(entry, num_classes) for entry in training)
    return TrainingData(prepare, cases, np.asarray(weights), tuple(validation))


def weighted_entries(
    sources: Sequence[DataSource],
) -> tuple[PrepareConfig, list[PreparedEntry], list[float], list[PreparedEntry]]:
    """The common config of some sources, their training cases with weights that sum to 1, and the others.

    Raises:
        CaseError: A source cannot be read, no case is left to train on, or a patient trains in one source
            and validates in another.
        ConfigError: Two sources were prepared differently.
    """
    if not sources:
        raise ConfigError("a recipe needs at least one entry in `data`")
    datasets = [open_prepared(source.folder) for source in sources]
    for source, dataset in zip(sources, datasets, strict=True):
        if dataset.config != datasets[0].config:
            raise ConfigError(
                f"{source.folder} was prepared differently from {sources[0].folder} (spacing or structures); "
                f"prepare both with the same settings"
            )
    training: list[PreparedEntry] = []
    weights: list[float] = []
    validation: list[PreparedEntry] = []
    for source, dataset in zip(sources, datasets, strict=True):
        entries, others = _divided(dataset.cases, source)
        if not entries and not source.is_validation:
            raise CaseError(f"{source.folder} gives no case to train on; check the split and the folder")
        training += entries
        validation += others
        weights += [source.weight / len(entries) for _ in entries]
    if not training:
        raise CaseError("every source of `data` validates, none trains; leave is_validation out of one")
    _refuse_patients_on_both_sides(training, validation)
    shares = (np.asarray(weights) / sum(weights)).tolist()
    return datasets[0].config, training, shares, validation


def _divided(
    cases: Sequence[PreparedEntry], source: DataSource
) -> tuple[list[PreparedEntry], list[PreparedEntry]]:
    """The cases of a source that train and those that validate."""
    if source.is_validation:
        return [], list(cases)
    if source.split is None:
        return list(cases), []
    sides = {name: read_split(source.split, name, source.fold) for name in ("train", "validation")}
    here = {case.patient for case in cases}
    lost = {name: [patient for patient in sides[name] if patient not in here] for name in sides}
    if any(lost.values()):
        parts = [f"{', '.join(patients)} ({name})" for name, patients in lost.items() if patients]
        logger.warning("%s has no case of patient %s", source.folder, " and ".join(parts))
    train, validate = set(_draw_patients(sides["train"], source)), set(sides["validation"])
    return (
        [case for case in cases if case.patient in train],
        [case for case in cases if case.patient in validate],
    )


def _refuse_patients_on_both_sides(
    training: Sequence[PreparedEntry], validation: Sequence[PreparedEntry]
) -> None:
    """A split speaks for its own source; another source may hold the same patients."""
    trained = {(entry.dataset, entry.patient) for entry in training}
    for entry in validation:
        if (entry.dataset, entry.patient) in trained:
            raise CaseError(
                f"patient {entry.patient} of {entry.dataset} trains and validates, in two sources of `data`; "
                f"give each source the split, or leave one out"
            )


def draw_order(patients: Iterable[str]) -> list[str]:
    """Patients in one fixed order, which the order of the split file does not change."""
    ordered = sorted(set(patients))
    return [ordered[index] for index in np.random.default_rng(0).permutation(len(ordered))]


def _draw_patients(patients: Sequence[str], source: DataSource) -> Sequence[str]:
    """The first `num_patients` of `draw_order`."""
    if source.num_patients is None:
        return patients
    if source.num_patients > len(patients):
        raise ConfigError(
            f"{source.split} has {len(patients)} training patients, num_patients asks for "
            f"{source.num_patients}; ask for fewer"
        )
    return draw_order(patients)[: source.num_patients]


def make_batch(
    data: TrainingData,
    sampling: SamplingConfig,
    augmentation: AugmentationConfig,
    *,
    batch_size: int,
    num_slices: int,
    seed: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> Batch:
    """Draw and cut one batch; the same `seed` gives the same batch."""
    rng = np.random.default_rng(seed)
    plans = [draw_plan(data.cases, data.case_weights, sampling, rng) for _ in range(batch_size)]
    patches, targets, annotated, visible, facts = [], [], [], [], []
    for plan in plans:
        index = data.cases[plan.case]
        patch, target = cut_patch(index, plan, sampling.patch_size, num_slices, device)
        patches.append(vary_intensity(patch, augmentation, plan.seed, _kind_of_pixel(target, data.kinds)))
        known = data.annotated(index.entry)
        targets.append(_annotated_pixels(target, known.to(target.device)))
        annotated.append(known)
        seen = index.visible(plan, sampling.patch_size)
        visible.append(torch.from_numpy(seen))
        facts.append(_facts(data.structures, seen, known[1:].numpy(), index.entry.sequence))
    return Batch(
        patch=torch.stack(patches),
        target=torch.stack(targets),
        annotated=torch.stack(annotated).to(device),
        visible=torch.stack(visible).to(device),
        facts=tuple(facts),
    )


def _kind_of_pixel(target: Integer[Tensor, "i j"], kinds: Integer[Tensor, " n"]) -> Integer[Tensor, "i j"]:
    """Kind of each pixel; what is ignored counts as background."""
    return kinds.to(target.device)[torch.where(target == IGNORED, 0, target)]


def _annotated_pixels(
    target: Integer[Tensor, "i j"], annotated: Bool[Tensor, " n"]
) -> Integer[Tensor, "i j"]:
    """The target without what has a label and yet does not count as annotated."""
    known = target != IGNORED
    return torch.where(known & annotated[torch.where(known, target, 0)], target, IGNORED)


def _facts(
    structures: Sequence[str],
    seen: Bool[np.ndarray, " structures"],
    annotated: Bool[np.ndarray, " structures"],
    sequence: str | None,
) -> Facts:
    """What is visible of the annotated structures, and which statements that leaves open."""
    known = [name for name, is_known in zip(structures, annotated, strict=True) if is_known]
    counts = {name: int(is_seen) for name, is_seen in zip(structures, seen, strict=True) if name in known}
    facts = facts_from_counts(counts, sequence=sequence, min_voxels=1)
    return replace(facts, unknown=undecided(structures, known))


def true_choices(facts: Sequence[Facts], structures: Sequence[str]) -> Integer[Tensor, "b s"]:
    """Index of the true sentence of each statement; −1 where the facts do not say."""
    statements = image_statements(structures)
    rows = [[-1 if c is None else c for c in statement_choices(fact, statements)] for fact in facts]
    return torch.tensor(rows)


def hear(
    words: EncodedPrompts,
    facts: Sequence[Facts],
    statements: Sequence[Statement],
    cfg: WordsConfig,
    rng: np.random.Generator,
) -> EncodedPrompts:
    """The prompts of one training step: predicted, constant, or stated (true or perturbed) facts."""
    kind = rng.random()
    if kind < cfg.predicted_share:
        return words.predicted()
    if kind < cfg.predicted_share + cfg.constant_share:
        return words.constant(len(facts))
    heard = [
        perturb_facts(fact, rng, shift_probability=0.4, drop_probability=0.3, add_probability=0.3)
        if rng.random() < cfg.perturbed_share
        else fact
        for fact in facts
    ]
    return words.saying([statement_choices(fact, statements) for fact in heard])
