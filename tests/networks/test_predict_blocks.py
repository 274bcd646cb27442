"""Tiles of a chest: blended, they say what the whole would say, and nothing is lost at the borders."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nomina.errors import ConfigError
from nomina.networks.genesis_unet import GenesisUNetConfig
from nomina.networks.la_caf import LACAF, NOMINA
from nomina.networks.predict_blocks import num_tiles, predict_blocks
from nomina.networks.words import ClassPrompts

WORDS = ClassPrompts(torch.zeros(2, 8))


class Pointwise(LACAF):
    """Logits that depend on one voxel: invariant to translation, so that tiles must not show."""

    def __init__(self) -> None:
        backbone = GenesisUNetConfig(stage_channels=(4, 8), norm="instance")
        cfg = replace(NOMINA, backbone=backbone, width=8, num_heads=2, norm_groups=2)
        super().__init__(cfg, num_classes=2, text_width=8)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, patch: Tensor, words: ClassPrompts) -> Tensor:
        self.shapes.append(tuple(patch.shape))
        return torch.cat([8 * patch - 4, 2 - 5 * patch], dim=1)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("shape", [(20, 17, 30), (8, 8, 8), (5, 12, 8)])
def test_tiles_of_a_pointwise_network_equal_the_whole(shape: tuple[int, int, int], overlap: float) -> None:
    network = Pointwise().eval()
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    found = predict_blocks(network, image, WORDS, block_size=(8, 8, 8), overlap=overlap)
    tiles = torch.from_numpy(image)
    expected = torch.stack([(8 * tiles - 4).sigmoid(), (2 - 5 * tiles).sigmoid()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert set(network.shapes) == {(1, 1, 8, 8, 8)}
    assert len(network.shapes) == num_tiles(shape, (8, 8, 8), overlap)


def test_progress_ends_at_one_and_odd_tiles_are_refused() -> None:
    network = Pointwise().eval()
    image = np.zeros((16, 8, 8), dtype=np.float32)
    shares: list[float] = []
    predict_blocks(network, image, WORDS, block_size=(8, 8, 8), overlap=0.0, progress=shares.append)
    assert shares == [0.5, 1.0]
    with pytest.raises(ConfigError, match="multiples of 2"):
        predict_blocks(network, image, WORDS, block_size=(8, 9, 8), overlap=0.0)
