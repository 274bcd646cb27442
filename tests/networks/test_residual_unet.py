"""The convolutional backbone: resolution, reach, sizes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nomina.errors import ConfigError
from nomina.networks.residual_unet import ResidualBlock, ResidualUNet, ResidualUNetConfig

SMALL = ResidualUNetConfig(stage_channels=(8, 16, 24), stage_blocks=(1, 2, 1))
FOLDED = ResidualUNetConfig(stage_channels=(8, 16, 24), stage_blocks=(1, 2, 1), shuffle=2, output_channels=12)


def build(cfg: ResidualUNetConfig, num_inputs: int = 3) -> ResidualUNet:
    torch.manual_seed(0)
    return ResidualUNet(cfg, num_inputs)


FINE = ResidualUNetConfig(
    stage_channels=(8, 16, 24), stage_blocks=(1, 2, 1), shuffle=2, output_channels=16, has_fine_skip=True
)


@pytest.mark.parametrize(("cfg", "divisor"), [(SMALL, 4), (FOLDED, 8)])
def test_features_come_back_on_the_grid_of_the_input(cfg: ResidualUNetConfig, divisor: int) -> None:
    network = build(cfg)
    assert network.divisor == divisor
    features = network.encode(torch.randn(2, 3, 3 * divisor, 2 * divisor))
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, 3 * divisor // (s * cfg.shuffle), 2 * divisor // (s * cfg.shuffle))
        for c, s in zip((8, 16, 24), (1, 2, 4), strict=True)
    ]
    assert network.decode(features).shape == (2, network.num_outputs, 3 * divisor, 2 * divisor)


def test_folding_reaches_every_pixel_and_tells_neighbours_apart() -> None:
    network = build(FOLDED, num_inputs=1)
    image = torch.randn(1, 1, 16, 24, requires_grad=True)
    output = network.decode(network.encode(image))
    # Each output pixel has features of its own, though four share one position inside.
    pixels = output[0].flatten(1).T
    distances = torch.cdist(pixels, pixels) + 1e9 * torch.eye(len(pixels))
    assert distances.min() > 1e-4
    torch.autograd.backward(output.square().sum())
    assert image.grad is not None
    assert (image.grad != 0).all()


def test_a_new_fine_skip_changes_nothing_and_then_learns_from_single_pixels() -> None:
    without, network = build(replace(FINE, has_fine_skip=False)), build(FINE)
    missing, unexpected = network.load_state_dict(without.state_dict(), strict=False)
    assert unexpected == []
    assert {name.split(".")[0] for name in missing} == {"fine", "join"}
    image = torch.randn(1, 3, 16, 24)
    features = network.encode(image)
    assert [f.shape[1] for f in features] == list(network.channels) == [16, 8, 16, 24]
    expected = without.decode(without.encode(image))
    assert torch.equal(network.decode(features), expected)
    torch.autograd.backward(network.decode(features).square().sum())
    last = network.join[-1].weight
    assert isinstance(last, torch.nn.Parameter)
    assert last.grad is not None
    assert last.grad.abs().max() > 0


def test_a_fine_skip_needs_a_folded_network() -> None:
    with pytest.raises(ConfigError, match="has_fine_skip needs shuffle 2"):
        replace(FINE, shuffle=1)
    with pytest.raises(ConfigError, match="has_fine_skip needs shuffle 2"):
        replace(FINE, output_channels=12)


def test_a_block_that_halves_has_the_gradients_of_a_strided_shortcut() -> None:
    """At this size torch's own strided 1×1 convolution corrupts memory in its backward pass."""
    torch.manual_seed(0)
    block = ResidualBlock(8, 16, stride=2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(4, 8, 64, 64).contiguous(memory_format=torch.channels_last).requires_grad_()
    output = block(image)
    strided = F.conv2d(image.detach(), block.shortcut.weight, stride=2)
    expected = F.leaky_relu(block.second(block.first(image)) + strided, 0.01)
    torch.testing.assert_close(output, expected)
    torch.autograd.backward(block.shortcut(image[..., ::2, ::2]).sum())
    assert image.grad is not None
    columns = block.shortcut.weight.detach().sum(dim=(0, 2, 3))
    torch.testing.assert_close(image.grad[..., ::2, ::2], columns[:, None, None].expand(4, 8, 32, 32))
    assert image.grad[..., 1::2, :].abs().max() == 0


def test_a_batch_of_two_is_two_batches_of_one() -> None:
    network = build(SMALL)
    image = torch.randn(2, 3, 16, 16)

    def run(patch: Tensor) -> Tensor:
        return network.decode(network.encode(patch))

    torch.testing.assert_close(torch.cat([run(image[:1]), run(image[1:])]), run(image))


def test_the_number_of_parameters_is_the_documented_one() -> None:
    def count(cfg: ResidualUNetConfig) -> int:
        return sum(parameter.numel() for parameter in build(cfg).parameters())

    # One stage by hand: 3×3 convolutions 27·8 and 72·8, two norms of 2·8, a shortcut of 3·8.
    assert count(ResidualUNetConfig(stage_channels=(8,), stage_blocks=(1,))) == 216 + 576 + 32 + 24
    assert count(ResidualUNetConfig()) == 8_434_544
    spine_mr = ResidualUNetConfig(
        stage_channels=(32, 64, 128, 192, 256), stage_blocks=(1, 2, 2, 2, 2), shuffle=2
    )
    assert count(spine_mr) == 5_565_600


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiples of 8, got \[16, 20\]"):
        ResidualUNetConfig(stage_channels=(16, 20), stage_blocks=(1, 1))
    with pytest.raises(ConfigError, match=r"each of the 2 stages, got \[1\]"):
        ResidualUNetConfig(stage_channels=(16, 24), stage_blocks=(1,))
