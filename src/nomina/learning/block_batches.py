"""Prepared chests → training batches: blocks, where each class is, and where anybody knows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from nomina.errors import CaseError, ConfigError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.learning.batches import draw_order, weighted_entries
from nomina.learning.block_augmentation import BlockAugmentationConfig, draw_turn, turned, vary_window
from nomina.learning.block_sampling import (
    BlockPlan,
    BlockSamplingConfig,
    ChestIndex,
    draw_block,
    index_chest,
)
from nomina.learning.prepared import IGNORED, PrepareConfig, PreparedEntry
from nomina.learning.recipe import DataSource
from nomina.learning.skeletons import tubed_skeleton
from nomina.learning.validity import Answer, Side, answer_table, answers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockBatch:
    """What one forward pass needs."""

    image: Float[Tensor, "b c i j k"]
    reference: Bool[Tensor, "b n i j k"]
    """Where each class is."""
    annotated: Bool[Tensor, "b n i j k"]
    """Where somebody knows whether it is there."""
    skeleton: Bool[Tensor, "b n i j k"] | None
    """Target of skeleton recall; None where nobody asked for it."""


@dataclass(frozen=True)
class ChestData:
    """The chests of a recipe, indexed, with their weights in the mixture."""

    prepare: PrepareConfig
    structures: tuple[str, ...]
    """What the network learns."""
    cases: tuple[ChestIndex, ...]
    case_weights: Float[np.ndarray, " cases"]
    validation: tuple[PreparedEntry, ...]

    def table(self, entry: PreparedEntry) -> Int8[np.ndarray, "256 3 n"]:
        """What is known of each class in a case, by label value and half of the chest."""
        return _table(entry, self.structures, self.prepare)


def open_chest_data(sources: Sequence[DataSource], structures: tuple[str, ...]) -> ChestData:
    """Open and index every source of a recipe.

    Raises:
        CaseError: A source cannot be read, no case is left to train on, or none shows a class.
        ConfigError: Two sources were prepared differently, or one holds no CT.
    """
    prepare, training, weights, validation = weighted_entries(sources)
    hidden = hidden_sides(sources, training)
    if not isinstance(prepare.image, CTPreparation):
        raise ConfigError(
            f"{sources[0].folder} holds slices of MR; a network of blocks reads what "
            f"`nomina prepare lung-phantoms` or `nomina prepare ct-folder` wrote"
        )
    cases = tuple(
        index_chest(entry, _table(entry, structures, prepare, hidden.get((entry.folder, entry.patient))))
        for entry in training
    )
    shown = {structures[index] for case in cases for index in case.present}
    for case in cases:
        if not len(case.present):
            logger.warning(
                "case %s shows none of %s, or its lungs were not found", case.entry.id, ", ".join(structures)
            )
    missing = [name for name in structures if name not in shown]
    if missing:
        raise CaseError(
            f"no training case shows {', '.join(missing)}; correct `structures` in the recipe, or the data"
        )
    return ChestData(prepare, structures, cases, np.asarray(weights), tuple(validation))


def make_block_batch(
    data: ChestData,
    sampling: BlockSamplingConfig,
    augmentation: BlockAugmentationConfig,
    *,
    batch_size: int,
    has_skeleton: bool,
    seed: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> BlockBatch:
    """Draw and cut one batch; the same `seed` gives the same batch."""
    rng = np.random.default_rng(seed)
    plans = [draw_block(data.cases, data.case_weights, sampling, rng) for _ in range(batch_size)]
    images, known = [], []
    for plan in plans:
        image, answer = cut_block(data.cases[plan.case], plan, sampling.block_size)
        draws = np.random.default_rng(plan.seed)
        turn = draw_turn(augmentation, draws)
        images.append(vary_window(turned(image, turn), augmentation, draws))
        known.append(turned(answer, turn))
    answer = np.stack(known)
    reference = answer == Answer.there
    skeleton = None
    if has_skeleton:
        skeleton = np.stack([[tubed_skeleton(mask) for mask in masks] for masks in reference])
    return BlockBatch(
        image=torch.from_numpy(np.stack(images)[:, None]).to(device),
        reference=torch.from_numpy(reference).to(device),
        annotated=torch.from_numpy(answer != Answer.unknown).to(device),
        skeleton=None if skeleton is None else torch.from_numpy(skeleton).to(device),
    )


def cut_block(
    index: ChestIndex, plan: BlockPlan, block_size: tuple[int, int, int]
) -> tuple[Float[np.ndarray, "i j k"], Int8[np.ndarray, "n i j k"]]:
    """The image of a planned block and what is known of each class; beyond the scan is air, and unknown."""
    inside, missing = [], []
    for start, side, size in zip(plan.start, block_size, index.entry.shape, strict=True):
        first, last = max(0, start), min(start + side, size)
        inside.append(slice(first, last))
        missing.append((first - start, start + side - last))
    where = tuple(inside)
    image = np.pad(np.asarray(index.entry.image()[where], dtype=np.float32), missing)
    labels = np.pad(np.asarray(index.entry.labels()[where]), missing, constant_values=IGNORED)
    halves = np.pad(np.asarray(index.entry.halves()[where]), missing)
    return image, answers(index.table, labels, halves)


def hidden_sides(
    sources: Sequence[DataSource], training: Sequence[PreparedEntry]
) -> dict[tuple[Path, str], Side]:
    """The lung that does not count as labelled, by folder and patient; see `DataSource.half_labelled`."""
    hidden: dict[tuple[Path, str], Side] = {}
    turns: tuple[Side, Side] = ("left", "right")
    for source in sources:
        folder = Path(source.folder)
        patients = draw_order(entry.patient for entry in training if entry.folder == folder)
        num_full = len(patients) - round(source.half_labelled * len(patients))
        hidden |= {(folder, name): turns[place % 2] for place, name in enumerate(patients[num_full:])}
    return hidden


def _table(
    entry: PreparedEntry, structures: tuple[str, ...], prepare: PrepareConfig, hidden: Side | None = None
) -> Int8[np.ndarray, "256 3 n"]:
    annotated = prepare.structures if entry.annotated is None else entry.annotated
    return answer_table(structures, prepare.structures, annotated, hidden=hidden)
