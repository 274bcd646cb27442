"""Turn a block and vary its look; every draw comes from an explicit generator."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

from nomina.config import config
from nomina.errors import ConfigError


@config
class BlockAugmentationConfig:
    """Probabilities and ranges; the defaults are the authors' release."""

    mirror: float = 0.0
    """Probability of exchanging left and right [authors' release: never]; not for classes with a side."""
    quarter_turns: float = 0.1
    """Probability of one to three quarter turns in the axial plane [authors' release]."""
    shift: float = 0.2
    """Probability of adding a number of up to `shift_by` to the image, whose range is 0 to 1 [authors'
    release]."""
    shift_by: float = 0.1
    """See `shift` [authors' release]."""
    gamma: float = 0.0
    """Probability of a gamma curve with exponent 0.7 to 1.4: more or less contrast medium [choice: off]."""
    noise: float = 0.0
    """Probability of Gaussian noise with standard deviation up to 0.04, 64 HU of a window of 1600 [choice:
    off]."""
    blur: float = 0.0
    """Probability of a Gaussian blur of 0.4 to 0.9 voxels: a softer kernel, thicker slices [choice: off]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie in 0 to 1, got {value}")


@dataclass(frozen=True)
class Turn:
    """How a block is turned: exact, voxel to voxel."""

    is_mirrored: bool
    num_quarters: int


def draw_turn(cfg: BlockAugmentationConfig, rng: np.random.Generator) -> Turn:
    """Draw a mirror image and quarter turns."""
    is_mirrored, is_turned = rng.random() < cfg.mirror, rng.random() < cfg.quarter_turns
    quarters = int(rng.integers(1, 4))
    return Turn(bool(is_mirrored), quarters if is_turned else 0)


def turned(array: Shaped[np.ndarray, "*n i j k"], turn: Turn) -> Shaped[np.ndarray, "*n i2 j2 k"]:
    """An array whose last axes are R, A, S; blocks that are not square in the axial plane keep their axes."""
    if turn.is_mirrored:
        array = array[..., ::-1, :, :]
    quarters = turn.num_quarters
    if array.shape[-3] != array.shape[-2]:
        quarters = 2 * (quarters // 2)
    return np.ascontiguousarray(np.rot90(array, quarters, axes=(-3, -2)))


def vary_window(
    image: Float[np.ndarray, "i j k"], cfg: BlockAugmentationConfig, rng: np.random.Generator
) -> Float[np.ndarray, "i j k"]:
    """A block in another look; values may leave 0 to 1."""
    if rng.random() < cfg.gamma:
        image = image.clip(0, 1) ** np.float32(np.exp(rng.uniform(np.log(0.7), np.log(1.4))))
    if rng.random() < cfg.blur:
        image = ndimage.gaussian_filter(image, float(rng.uniform(0.4, 0.9)), truncate=3.0)
    if rng.random() < cfg.noise:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + np.float32(rng.uniform(0.0, 0.04)) * noise
    if rng.random() < cfg.shift:
        image = image + np.float32(rng.uniform(-cfg.shift_by, cfg.shift_by))
    return image
