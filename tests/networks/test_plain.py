"""The control has ATM-Net's backbone and no words."""

from collections.abc import Callable

import torch

from nomina.networks.build import build_network
from nomina.networks.plain import PlainConfig, PlainNet
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.words import EncodedPrompts

CONFIG = PlainConfig(backbone=ResidualUNetConfig(stage_channels=(8, 16), stage_blocks=(1, 1)), num_slices=1)


def test_words_change_nothing_and_every_parameter_learns(
    make_words: Callable[..., EncodedPrompts], structures: tuple[str, ...]
) -> None:
    network = build_network(CONFIG, structures, text_width=16)
    assert isinstance(network, PlainNet)
    patch = torch.randn(1, 1, 16, 16)
    logits = network(patch)
    assert logits.shape == (1, 6, 16, 16)
    assert torch.equal(network(patch, make_words()), logits)
    torch.autograd.backward(logits.square().sum())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_logits_are_a_linear_reading_of_the_backbones_features() -> None:
    network = PlainNet(CONFIG, num_classes=3)
    patch = torch.randn(1, 1, 16, 16)
    features = network.backbone.decode(network.backbone.encode(patch))
    weight, bias = network.head.weight[:, :, 0, 0], network.head.bias
    assert bias is not None
    expected = torch.einsum("nc,bcij->bnij", weight, features) + bias[:, None, None]
    torch.testing.assert_close(network(patch), expected, atol=1e-5, rtol=1e-5)
