"""Dice on whole validation chests, on the prepared grid: it chooses the checkpoint step, nothing else."""

import numpy as np

from nomina.learning.block_batches import ChestData
from nomina.learning.block_sampling import BlockSamplingConfig
from nomina.learning.prepared import PreparedEntry
from nomina.learning.validity import Answer, answers
from nomina.networks.la_caf import LACAF
from nomina.networks.predict_blocks import predict_blocks
from nomina.networks.words import ClassPrompts

MARGIN_VOXELS = 12
"""Room around the labels in which a false find still counts [choice]; further away nothing is looked at."""


def validate_blocks(
    network: LACAF, data: ChestData, words: ClassPrompts, sampling: BlockSamplingConfig, floor: float
) -> dict[str, float]:
    """Dice of each class over the voxels where somebody knows, averaged over the validation chests.

    Args:
        network: In training or not.
        data: The chests and what is known of them.
        words: Prompts of the classes.
        sampling: How a chest is covered with tiles.
        floor: Probability from which a voxel belongs to a vessel.

    Returns:
        `dice_{class}` with underscores, the mean over the chests of which anything is known of the class;
        and `dice`, the mean of these. A class found but not there, or there but not found, scores 0; one
        absent on both sides is left out. Empty when there is nothing to validate on.
    """
    rows = [_dice(network, entry, data, words, sampling, floor) for entry in data.validation]
    scores: dict[str, float] = {}
    for index, name in enumerate(data.structures):
        values = [row[index] for row in rows if not np.isnan(row[index])]
        if values:
            scores[f"dice_{name.replace(' ', '_')}"] = float(np.mean(values))
    return {"dice": float(np.mean(list(scores.values()))), **scores} if scores else {}


def _dice(
    network: LACAF,
    entry: PreparedEntry,
    data: ChestData,
    words: ClassPrompts,
    sampling: BlockSamplingConfig,
    floor: float,
) -> list[float]:
    """Dice of each class in one chest; nan where it is absent on both sides."""
    labels = np.asarray(entry.labels())
    box = _box(labels)
    known = answers(data.table(entry), labels[box], np.asarray(entry.halves())[box])
    image = np.asarray(entry.image()[box], dtype=np.float32)
    found = predict_blocks(
        network, image, words, block_size=sampling.block_size, overlap=sampling.tile_overlap
    )
    scores = []
    for probability, answer in zip(found.numpy(), known, strict=True):
        predicted = (probability > floor) & (answer != Answer.unknown)
        there = answer == Answer.there
        total = int(predicted.sum()) + int(there.sum())
        scores.append(2 * int((predicted & there).sum()) / total if total else float("nan"))
    return scores


def _box(labels: np.ndarray) -> tuple[slice, ...]:
    places = np.argwhere(labels)
    if not len(places):
        return tuple(slice(0, size) for size in labels.shape)
    low, high = places.min(axis=0) - MARGIN_VOXELS, places.max(axis=0) + 1 + MARGIN_VOXELS
    return tuple(slice(max(0, int(a)), int(b)) for a, b in zip(low, high, strict=True))
