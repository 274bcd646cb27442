"""What a network holds per pixel: counted on a network whose tensors can be counted by hand."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nomina.inference import footprint
from nomina.inference.footprint import pixel_bytes, tile_bytes
from nomina.inference.segmenter import Segmenter
from nomina.networks.la_caf import LACAF
from nomina.networks.plain import PlainNet
from nomina.networks.words import EncodedPrompts

WORDS = EncodedPrompts(channel=torch.zeros(1, 1), generic=torch.zeros(1), statements=())


class ThreeMaps(PlainNet):
    """Five maps, then three of them, of which the first is let go."""

    divisor = 8

    def __init__(self) -> None:
        nn.Module.__init__(self)  # no backbone
        self.weight = nn.Parameter(torch.zeros(1000, 1000))

    def forward(self, patch: Tensor, words: object) -> Tensor:
        self.weight.t()  # a view of a weight is no memory of its own
        five = patch.repeat(1, 5, 1, 1)
        three = five[:, :3] + 1
        del five
        return three[:, :2]


def test_tensors_alive_at_once_are_counted() -> None:
    # The patch (1 map), five and three together; the softmax of two comes when five are gone.
    assert pixel_bytes(ThreeMaps(), WORDS, num_slices=1) == pytest.approx(4 * (1 + 5 + 3))


def test_the_count_does_not_depend_on_the_picture(
    small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter.load(small_checkpoint, device="cpu")
    small = segmenter._forward_bytes
    monkeypatch.setattr(footprint, "PROBE_PX", 160)
    assert Segmenter.load(small_checkpoint, device="cpu")._forward_bytes == pytest.approx(small, rel=0.03)
    # At the finest stage 8 channels, their skip and the join of both are alive together.
    assert small >= 4 * (8 + 8 + 16)


class ThreeCubes(LACAF):
    """Three maps of a tile, and two of them that are returned."""

    def __init__(self) -> None:
        nn.Module.__init__(self)  # no backbone
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, tile: Tensor, words: object) -> Tensor:
        three = tile.repeat(1, 3, 1, 1, 1)
        return three[:, :2] + 1


def test_the_tensors_of_a_tile_are_counted() -> None:
    # The tile, three maps and two of them; the sigmoid of two comes when three are gone.
    assert tile_bytes(ThreeCubes(), WORDS, (2, 4, 8)) == 4 * (1 + 3 + 2) * 64
