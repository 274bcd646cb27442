"""The Swin UNETR backbone is MONAI's, cut open."""

import pytest
import torch
from monai.networks.layers import DropPath
from monai.networks.nets import SwinUNETR
from torch import nn

from nomina.errors import ConfigError
from nomina.networks.swin_unetr import SwinUNETRBackbone, SwinUNETRConfig


@pytest.mark.parametrize(("feature_size", "millions"), [(12, 1.59), (24, 6.30), (48, 25.14)])
def test_the_number_of_parameters_is_the_published_one(feature_size: int, millions: float) -> None:
    backbone = SwinUNETRBackbone(SwinUNETRConfig(feature_size=feature_size), 1)
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert round(count / 1e6, 2) == millions


def test_decoding_what_was_encoded_is_monais_forward_pass() -> None:
    torch.manual_seed(0)
    backbone = SwinUNETRBackbone(SwinUNETRConfig(feature_size=12), 3).eval()
    monai = SwinUNETR(in_channels=3, out_channels=1, feature_size=12, spatial_dims=2)
    monai.out = nn.Identity()
    monai.load_state_dict(backbone.net.state_dict())
    patch = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone.decode(backbone.encode(patch)), monai.eval()(patch))


def test_the_last_two_features_are_the_raw_skip_and_the_bottleneck() -> None:
    backbone = SwinUNETRBackbone(SwinUNETRConfig(feature_size=12), 1).eval()
    with torch.no_grad():
        features = backbone.encode(torch.randn(1, 1, 64, 96))
    expected = [(12, 1), (12, 2), (24, 4), (48, 8), (96, 16), (192, 32)]
    assert [f.shape[1:] for f in features] == [(c, 64 // s, 96 // s) for c, s in expected]
    assert backbone.channels == tuple(channels for channels, _ in expected)


def test_the_drop_path_rate_reaches_the_blocks() -> None:
    backbone = SwinUNETRBackbone(SwinUNETRConfig(feature_size=12, drop_path_rate=0.3), 1)
    rates = [m.drop_prob for m in backbone.modules() if isinstance(m, DropPath)]
    assert max(rates) == pytest.approx(0.3)


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 12, got 20"):
        SwinUNETRConfig(feature_size=20)
