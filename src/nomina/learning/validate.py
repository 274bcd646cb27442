"""Scores on whole validation scans, on the prepared grid: they choose the checkpoint step, nothing else."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer

from nomina.learning.batches import TrainingData
from nomina.learning.prepared import IGNORED, PreparedEntry
from nomina.networks.atm_net import ATMNet
from nomina.networks.build import SliceNetwork
from nomina.networks.predict import predict_facts, predict_slices, structure_window
from nomina.networks.words import EncodedPrompts


def validate(
    network: SliceNetwork,
    data: TrainingData,
    words: EncodedPrompts,
    *,
    num_slices: int,
    window_px: int | None = None,
) -> dict[str, float]:
    """Class-wise and label-free Dice over the validation scans, prompted with predicted facts (mode B).

    Returns:
        `dice`: mean over structures of the mean over scans, where a structure found but not there, or there
        but not found, scores 0 and one absent on both sides is left out; `dice_vertebrae`, `dice_discs` and
        `dice_canal` ignore the level names and are left out where no scan shows any. Empty when there is
        nothing to validate on.
    """
    if not data.validation:
        return {}
    overlaps = [
        _overlap(network, entry, words, data.annotated(entry), num_slices, window_px)
        for entry in data.validation
    ]
    per_scan = np.stack([_dice(np.diagonal(table), table.sum(0), table.sum(1))[1:] for table in overlaps])
    scored = ~np.isnan(per_scan).all(axis=0)
    scores = {"dice": float(np.nanmean(per_scan[:, scored], axis=0).mean())}
    for group, ending in (("vertebrae", "vertebra"), ("discs", "disc"), ("canal", "canal")):
        members = [i + 1 for i, name in enumerate(data.structures) if name.endswith(ending)]
        values = [
            _dice(t[np.ix_(members, members)].sum(), t[members].sum(), t[:, members].sum()) for t in overlaps
        ]
        if not np.isnan(values).all():
            scores[f"dice_{group}"] = float(np.nanmean(values))
    return scores


@torch.inference_mode()
def _overlap(
    network: SliceNetwork,
    entry: PreparedEntry,
    words: EncodedPrompts,
    annotated: Bool[torch.Tensor, " n"],
    num_slices: int,
    window_px: int | None,
) -> Integer[np.ndarray, "n n"]:
    """Voxels by (predicted, reference) class; voxels of unknown class are left out.

    What was not annotated counts as background where it is predicted, as it does in the reference.
    """
    image, labels = np.asarray(entry.image(), dtype=np.float32), np.asarray(entry.labels())
    window = structure_window(network, image, words, num_slices=num_slices, width=window_px)
    if isinstance(network, ATMNet):
        words = words.given(predict_facts(network, image, num_slices=num_slices, window=window).statements)
    num_classes, is_known = len(annotated), annotated.numpy()
    table = np.zeros((num_classes, num_classes), dtype=np.int64)
    for where, probabilities in predict_slices(network, image, words, num_slices=num_slices, window=window):
        predicted = probabilities.argmax(dim=1).cpu().numpy()
        known = labels[where] != IGNORED
        predicted, reference = predicted[known], labels[where][known]
        predicted = np.where(is_known[predicted], predicted, 0)[is_known[reference]]
        pairs = predicted * num_classes + reference[is_known[reference]]
        table += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return table


def _dice(
    overlap: Integer[np.ndarray, "..."] | np.integer,
    predicted: Integer[np.ndarray, "..."] | np.integer,
    reference: Integer[np.ndarray, "..."] | np.integer,
) -> Float[np.ndarray, "..."]:
    """Dice from voxel counts; nan where both are empty."""
    total = predicted + reference
    return np.where(total > 0, 2 * overlap / np.maximum(total, 1), np.nan)
