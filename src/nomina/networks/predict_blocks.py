"""A whole prepared chest through a network of blocks, tile by tile: shared by validation and inference."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nomina.errors import ConfigError
from nomina.networks.la_caf import LACAF
from nomina.networks.words import ClassPrompts


@torch.inference_mode()
def predict_blocks(
    network: LACAF,
    image: Float[np.ndarray, "i j k"],
    words: ClassPrompts,
    *,
    block_size: tuple[int, int, int],
    overlap: float,
    progress: Callable[[float], None] | None = None,
) -> Float[Tensor, "n i j k"]:
    """Probability of each class at each voxel, from overlapping tiles that count less towards their borders.

    One tile goes through the network at a time, so that no norm mixes two. A chest smaller than a tile is
    padded with 0, which is air. Probabilities are blended rather than logits: they are bounded, so that one
    tile that is very sure does not outvote all others.

    Args:
        network: In eval mode.
        image: Prepared chest (`nomina.imaging.ct_preparation.normalise_ct`).
        words: One prompt per class.
        block_size: Voxels of a tile, as in training.
        overlap: Share of its side that the next tile repeats, 0 or more and less than 1.
        progress: Called with the share done, 0 to 1.

    Returns:
        float32 on the CPU, 0 to 1; classes may overlap.

    Raises:
        ConfigError: The tile's sides are no multiples of what the network takes.
    """
    from monai.inferers import sliding_window_inference

    if any(side % network.divisor for side in block_size):
        raise ConfigError(f"sides of a tile must be multiples of {network.divisor}, got {block_size}")
    device = next(network.parameters()).device
    words = words.to(device)
    total, done = num_tiles(image.shape, block_size, overlap), 0

    def probabilities(tile: Tensor) -> Tensor:
        nonlocal done
        done += 1
        if progress:
            progress(min(1.0, done / total))
        return network(tile, words).float().sigmoid()

    blended = sliding_window_inference(
        torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None],
        roi_size=block_size,
        sw_batch_size=1,
        predictor=probabilities,
        overlap=overlap,
        mode="gaussian",
        sw_device=device,
        device=torch.device("cpu"),
    )
    result: Tensor = blended[0]
    return result


def num_tiles(shape: tuple[int, ...], block_size: tuple[int, int, int], overlap: float) -> int:
    """How many tiles cover a chest: the measure of the time that it takes."""
    counts = [
        1 + max(0, math.ceil((size - side) / max(1, int(side * (1 - overlap)))))
        for size, side in zip(shape, block_size, strict=True)
    ]
    return math.prod(counts)
