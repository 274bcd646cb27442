"""A whole prepared scan through a 2D network, slice by slice: shared by validation and inference.

A network that was trained on patches narrower than a scan sees a window of that width about the structures:
far in front of and behind them lies what it never saw, and there it finds discs that are none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from nomina.networks.atm_net import ATMNet
from nomina.networks.build import SliceNetwork
from nomina.networks.words import EncodedPrompts

LOOK_STEP = 4
"""One slice of so many is looked at to place the window [choice]: structures span many slices."""


@dataclass(frozen=True)
class PredictedFacts:
    """What the network reads off the picture before any word is said, averaged over the slices of a scan."""

    statements: tuple[Float[Tensor, "1 _"], ...]
    """Probabilities of the sentences of each statement."""
    presence: Float[Tensor, " structures"]
    """Probability that each structure is in view."""


@torch.inference_mode()
def structure_window(
    network: SliceNetwork,
    image: Float[np.ndarray, "i j k"],
    words: EncodedPrompts,
    *,
    num_slices: int,
    width: int | None,
    batch_size: int = 4,
) -> slice:
    """Where along A to look: `width` pixels about the middle of what the network finds in a few whole slices.

    The whole extent where the scan is not wider or `width` is None; its middle where nothing is found.
    """
    size = image.shape[1]
    if width is None or size <= width:
        return slice(0, size)
    found = torch.zeros(size)
    indices = np.arange(0, len(image), LOOK_STEP)
    for _, patch, crop in _slice_batches(network, image, num_slices, batch_size, indices):
        background = network(patch, words.constant(1))[:, :, crop[0], crop[1]].softmax(dim=1)[:, 0]
        found += (background < 0.5).sum(dim=(0, 2)).cpu()
    share = found.cumsum(0) / found.sum().clamp(min=1)
    middle = int((share < 0.5).sum()) if found.any() else size // 2
    start = min(max(0, middle - width // 2), size - width)
    return slice(start, start + width)


@torch.inference_mode()
def predict_facts(
    network: ATMNet,
    image: Float[np.ndarray, "i j k"],
    *,
    num_slices: int,
    batch_size: int = 4,
    window: slice = slice(None),
) -> PredictedFacts:
    """Facts of one scan (mode B): each slice votes with its probabilities."""
    statements: list[list[Tensor]] = []
    presence: list[Tensor] = []
    for _, patch, _ in _slice_batches(network, image[:, window], num_slices, batch_size):
        logits, present = network.predict_facts(patch)
        statements.append([logit.float().softmax(-1) for logit in logits])
        presence.append(present.float().sigmoid())
    mixed = tuple(torch.cat(votes).mean(dim=0, keepdim=True) for votes in zip(*statements, strict=True))
    return PredictedFacts(mixed, torch.cat(presence).amax(dim=0))


def predict_slices(
    network: SliceNetwork,
    image: Float[np.ndarray, "i j k"],
    words: EncodedPrompts,
    *,
    num_slices: int,
    batch_size: int = 4,
    window: slice = slice(None),
) -> Iterator[tuple[slice, Float[Tensor, "b n j k"]]]:
    """Class probabilities of consecutive sagittal slices; nothing of the whole scan is held.

    Args:
        network: In eval mode.
        image: Prepared scan, slices first (`nomina.imaging.preparation.normalise`).
        words: Prompts; weights of one image serve every slice.
        num_slices: Input channels of the network.
        batch_size: Slices per forward pass.
        window: Range along A that is shown to the network; all else is background.

    Yields:
        The range of slices, and their float32 probabilities on the prepared grid.
    """
    before, after, _ = window.indices(image.shape[1])
    for where, patch, crop in _slice_batches(network, image[:, window], num_slices, batch_size):
        # Inference mode lies around each pass alone: around the generator it would hold between two as well.
        with torch.inference_mode():
            logits = network(patch, words)[:, :, crop[0], crop[1]]
            probabilities = F.pad(logits.float().softmax(dim=1), (0, 0, before, image.shape[1] - after))
            probabilities[:, 0, :before] = 1
            probabilities[:, 0, after:] = 1
        yield where, probabilities


def _slice_batches(
    network: SliceNetwork,
    image: Float[np.ndarray, "i j k"],
    num_slices: int,
    batch_size: int,
    indices: Integer[np.ndarray, " s"] | None = None,
) -> Iterator[tuple[slice, Float[Tensor, "b c j k"], tuple[slice, slice]]]:
    """Batches of slices with their neighbours, padded to the network's divisor, and the crop that undoes it.

    `indices` are the slices wanted; None: all.
    Every batch is padded with the smallest value of the scan, so that results do not depend on `batch_size`.
    """
    parameter = next(network.parameters())
    reach, lowest = num_slices // 2, float(image.min())
    size_j, size_k = image.shape[1:]
    pad_j, pad_k = (-size_j % network.divisor, -size_k % network.divisor)
    crop = (slice(pad_j // 2, pad_j // 2 + size_j), slice(pad_k // 2, pad_k // 2 + size_k))
    padding = (pad_k // 2, pad_k - pad_k // 2, pad_j // 2, pad_j - pad_j // 2)
    middles = np.arange(len(image)) if indices is None else indices
    for start in range(0, len(middles), batch_size):
        where = slice(start, min(start + batch_size, len(middles)))
        wanted = middles[where, None] + np.arange(-reach, reach + 1)
        patch = torch.from_numpy(np.asarray(image[np.clip(wanted, 0, len(image) - 1)], dtype=np.float32))
        patch = F.pad(patch, padding, value=lowest)
        patch = patch.to(parameter.device, memory_format=torch.channels_last)
        yield where, patch, crop
