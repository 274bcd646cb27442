"""The SegResNet backbone is MONAI's, cut open."""

import pytest
import torch
from monai.networks.nets import SegResNet

from nomina.errors import ConfigError
from nomina.networks.plain import PlainConfig, PlainNet
from nomina.networks.segresnet import SegResNetConfig


def test_the_plain_network_computes_what_monais_computes() -> None:
    torch.manual_seed(0)
    config = PlainConfig(backbone=SegResNetConfig(first_channels=8, blocks_down=(1, 1, 2)), num_slices=3)
    network = PlainNet(config, num_classes=5).eval()
    monai = SegResNet(2, 8, 3, 5, blocks_down=(1, 1, 2), blocks_up=(1, 1)).eval()
    monai.load_state_dict(network.backbone.net.state_dict(), strict=False)
    monai.conv_final[-1].conv.load_state_dict(network.head.state_dict())
    patch = torch.randn(1, 3, 16, 24)
    assert network.divisor == 4
    with torch.no_grad():
        torch.testing.assert_close(network(patch), monai(patch))


def test_every_parameter_learns() -> None:
    config = PlainConfig(backbone=SegResNetConfig(first_channels=8, blocks_down=(1, 1)), num_slices=1)
    network = PlainNet(config, num_classes=3)
    torch.autograd.backward(network(torch.randn(1, 1, 16, 16)).square().sum())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 8, got 12"):
        SegResNetConfig(first_channels=12)
    with pytest.raises(ConfigError, match="at least two numbers"):
        SegResNetConfig(blocks_down=(1,))
