"""A whole prepared scan through a 2D network, slice by slice: shared by validation and inference."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nomina.networks.atm_net import ATMNet
from nomina.networks.build import Network
from nomina.networks.words import EncodedPrompts


@dataclass(frozen=True)
class PredictedFacts:
    """What the network reads off the picture before any word is said, averaged over the slices of a scan."""

    statements: tuple[Float[Tensor, "1 o"], ...]
    """Probabilities of the sentences of each statement."""
    presence: Float[Tensor, " structures"]
    """Probability that each structure is in view."""


@torch.inference_mode()
def predict_facts(
    network: ATMNet, image: Float[np.ndarray, "i j k"], *, num_slices: int, batch_size: int = 4
) -> PredictedFacts:
    """Facts of one scan (mode B): each slice votes with its probabilities."""
    statements: list[list[Tensor]] = []
    presence: list[Tensor] = []
    for _, patch, _ in _slice_batches(network, image, num_slices, batch_size):
        logits, present = network.predict_facts(patch)
        statements.append([logit.float().softmax(-1) for logit in logits])
        presence.append(present.float().sigmoid())
    mixed = tuple(torch.cat(votes).mean(dim=0, keepdim=True) for votes in zip(*statements, strict=True))
    return PredictedFacts(mixed, torch.cat(presence).amax(dim=0))


@torch.inference_mode()
def predict_slices(
    network: Network,
    image: Float[np.ndarray, "i j k"],
    words: EncodedPrompts,
    *,
    num_slices: int,
    batch_size: int = 4,
) -> Iterator[tuple[slice, Float[Tensor, "b n j k"]]]:
    """Class probabilities of consecutive sagittal slices; nothing of the whole scan is held.

    Args:
        network: In eval mode.
        image: Prepared scan, slices first (`nomina.imaging.preparation.normalise`).
        words: Prompts; weights of one image serve every slice.
        num_slices: Input channels of the network.
        batch_size: Slices per forward pass.

    Yields:
        The range of slices, and their float32 probabilities on the prepared grid.
    """
    for where, patch, crop in _slice_batches(network, image, num_slices, batch_size):
        logits = network(patch, words)[:, :, crop[0], crop[1]]
        yield where, logits.float().softmax(dim=1)


def _slice_batches(
    network: Network, image: Float[np.ndarray, "i j k"], num_slices: int, batch_size: int
) -> Iterator[tuple[slice, Float[Tensor, "b c j k"], tuple[slice, slice]]]:
    """Batches of slices with their neighbours, padded to the network's divisor, and the crop that undoes it.

    Every batch is padded with the smallest value of the scan, so that results do not depend on `batch_size`.
    """
    parameter = next(network.parameters())
    reach, lowest = num_slices // 2, float(image.min())
    size_j, size_k = image.shape[1:]
    pad_j, pad_k = (-size_j % network.divisor, -size_k % network.divisor)
    crop = (slice(pad_j // 2, pad_j // 2 + size_j), slice(pad_k // 2, pad_k // 2 + size_k))
    padding = (pad_k // 2, pad_k - pad_k // 2, pad_j // 2, pad_j - pad_j // 2)
    for start in range(0, len(image), batch_size):
        where = slice(start, min(start + batch_size, len(image)))
        wanted = np.arange(where.start, where.stop)[:, None] + np.arange(-reach, reach + 1)
        patch = torch.from_numpy(np.asarray(image[np.clip(wanted, 0, len(image) - 1)], dtype=np.float32))
        patch = F.pad(patch, padding, value=lowest)
        patch = patch.to(parameter.device, memory_format=torch.channels_last)
        yield where, patch, crop
