"""nnU-Net's architecture is its authors' network, cut open."""

import pytest
import torch

from nomina.errors import ConfigError
from nomina.networks.build import build_network
from nomina.networks.nnunet import NNUNetBackbone, NNUNetConfig
from nomina.networks.plain import PlainConfig
from nomina.networks.residual_unet import ResidualUNetConfig

unet = pytest.importorskip(
    "dynamic_network_architectures.architectures.unet", reason="needs dynamic-network-architectures"
)
CHANNELS = (8, 16, 16, 16)


def authors_plain(num_inputs: int, num_classes: int) -> torch.nn.Module:
    return unet.PlainConvUNet(
        input_channels=num_inputs,
        n_stages=4,
        features_per_stage=CHANNELS,
        conv_op=torch.nn.Conv2d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2],
        n_conv_per_stage=2,
        num_classes=num_classes,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
    )


def test_the_plain_network_computes_what_the_authors_network_computes(structures: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    config = PlainConfig(backbone=NNUNetConfig(stage_channels=CHANNELS), num_slices=3)
    network = build_network(config, structures, text_width=16).eval()
    theirs = authors_plain(3, 6).eval()
    backbone = network.backbone
    assert isinstance(backbone, NNUNetBackbone)
    theirs.encoder.load_state_dict(backbone.encoder.state_dict(), strict=False)
    theirs.decoder.transpconvs.load_state_dict(backbone.up.state_dict())
    theirs.decoder.stages.load_state_dict(backbone.decoder.state_dict(), strict=False)
    theirs.decoder.seg_layers[-1].load_state_dict(network.head.state_dict())
    patch = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(network(patch), theirs(patch))


def test_sizes_are_those_that_the_authors_planner_gives() -> None:
    plain = NNUNetBackbone(NNUNetConfig(), 1)
    residual = NNUNetBackbone(NNUNetConfig(encoder="residual"), 1)
    millions = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (plain, residual)]
    assert [round(count, 1) for count in millions] == [20.6, 71.8]
    assert (plain.divisor, plain.num_outputs) == (32, 32)


def test_no_weight_is_kept_twice() -> None:
    backbone = NNUNetBackbone(NNUNetConfig(stage_channels=CHANNELS), 1)
    places = [value.data_ptr() for value in backbone.state_dict().values()]
    assert len(set(places)) == len(places)


def test_deep_supervision_reads_all_but_the_coarsest_stage_in_training_alone(
    structures: tuple[str, ...],
) -> None:
    config = PlainConfig(
        backbone=NNUNetConfig(stage_channels=CHANNELS), num_slices=1, has_deep_supervision=True
    )
    network = build_network(config, structures, text_width=16)
    patch = torch.randn(1, 1, 32, 32)
    output = network.parts(patch, None)
    assert [logits.shape for logits in output.coarse_logits] == [(1, 6, 16, 16)]
    assert network.eval().parts(patch, None).coarse_logits == ()
    with pytest.raises(ConfigError, match="needs the backbone nnunet, got residual_unet"):
        PlainConfig(backbone=ResidualUNetConfig(), has_deep_supervision=True)
    with pytest.raises(ConfigError, match="2 to 8 numbers"):
        NNUNetConfig(stage_channels=(8,))
