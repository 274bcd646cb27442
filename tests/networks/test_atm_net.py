"""ATM-Net as a whole: what the words can and cannot do, and that every part learns."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nomina.errors import ConfigError
from nomina.learning.losses import LossConfig, objective
from nomina.networks.atm_net import ATMNet, ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.layers.contrast import ChannelContrast
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.swin_unetr import SwinUNETRConfig
from nomina.networks.words import EncodedPrompts

CONVOLUTIONAL = ATMNetConfig(
    backbone=ResidualUNetConfig(stage_channels=(8, 16, 24), stage_blocks=(1, 1, 1)),
    fusion_width=16,
    contrast_width=8,
    num_slices=1,
)
SWIN = replace(CONVOLUTIONAL, backbone=SwinUNETRConfig(feature_size=12, drop_path_rate=0.0))
Build = Callable[..., ATMNet]
MakeWords = Callable[..., EncodedPrompts]


@pytest.fixture
def build(structures: tuple[str, ...]) -> Build:
    def make(cfg: ATMNetConfig = CONVOLUTIONAL, seed: int = 0) -> ATMNet:
        torch.manual_seed(seed)
        network = build_network(cfg, structures, text_width=16)
        assert isinstance(network, ATMNet)
        return network.eval()

    return make


def opened(network: ATMNet) -> ATMNet:
    """The network with all its zero starts away from zero, as after some training."""
    torch.manual_seed(5)
    for fusion in network.fusion:
        torch.nn.init.normal_(fusion.image_out.weight, std=0.1)  # type: ignore[union-attr,arg-type]
        torch.nn.init.normal_(fusion.view_embedding, std=0.1)  # type: ignore[arg-type]
    assert isinstance(network.head, ChannelContrast)
    for parameter in network.head.kernel[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.fixture
def patch() -> Tensor:
    return torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cfg", [CONVOLUTIONAL, SWIN], ids=["convolutional", "swin"])
def test_at_the_start_the_network_is_the_image_only_network(
    build: Build, make_words: MakeWords, patch: Tensor, cfg: ATMNetConfig
) -> None:
    network = build(cfg)
    blind = build(replace(cfg, has_fusion=False))
    missing = blind.load_state_dict(network.state_dict(), strict=False)
    assert not missing.missing_keys
    with torch.no_grad():
        logits = network(patch, make_words())
        assert torch.equal(logits, blind(patch, make_words()))
        for other in (make_words(seed=9), make_words().constant(2), make_words().saying([[0] * 6] * 2)):
            assert torch.equal(network(patch, other), logits)


@pytest.mark.parametrize("cfg", [CONVOLUTIONAL, SWIN], ids=["convolutional", "swin"])
def test_after_some_training_each_view_changes_the_result(
    build: Build, make_words: MakeWords, patch: Tensor, cfg: ATMNetConfig
) -> None:
    network, words = opened(build(cfg)), make_words()
    with torch.no_grad():
        logits = network(patch, words)
        for other in (
            words.constant(2),
            words.saying([[0] * 6] * 2),
            replace(words, channel=words.channel.roll(1, 0)),
            replace(words, generic=-words.generic),
        ):
            assert (network(patch, other) - logits).abs().max() > 1e-4


def test_statements_that_are_not_made_change_nothing(
    build: Build, make_words: MakeWords, patch: Tensor
) -> None:
    network, words = opened(build()), make_words()
    other = replace(words, statements=tuple(torch.randn_like(s) for s in words.statements))
    with torch.no_grad():
        said, unsaid = network(patch, words.constant(2)), network(patch, other.constant(2))
    torch.testing.assert_close(said, unsaid, atol=1e-5, rtol=1e-5)


def test_mode_b_is_the_networks_own_reading_of_the_picture(
    build: Build, make_words: MakeWords, patch: Tensor
) -> None:
    network, words = opened(build()), make_words()
    with torch.no_grad():
        statements, presence = network.predict_facts(patch)
        own = network.parts(patch, words)
        given = network(patch, words.given([logits.softmax(-1) for logits in statements]))
    torch.testing.assert_close(given, own.logits)
    assert own.presence is not None
    torch.testing.assert_close(own.presence, presence)


def test_a_reference_changes_no_logit(build: Build, make_words: MakeWords, patch: Tensor) -> None:
    network, words = opened(build()), make_words()
    with torch.no_grad():
        logits = network(patch, words)
        for seed in range(2):
            reference = torch.randint(0, 6, (2, 64, 64), generator=torch.Generator().manual_seed(seed))
            output = network.parts(patch, words, reference)
            assert torch.equal(output.logits, logits)
            assert output.contrast_loss is not None


@pytest.mark.parametrize("cfg", [CONVOLUTIONAL, SWIN], ids=["convolutional", "swin"])
def test_a_batch_of_two_is_two_batches_of_one(
    build: Build, make_words: MakeWords, patch: Tensor, cfg: ATMNetConfig
) -> None:
    network, words = opened(build(cfg)), make_words()
    with torch.no_grad():
        alone = torch.cat([network(patch[:1], words), network(patch[1:], words)])
        torch.testing.assert_close(alone, network(patch, words), atol=1e-5, rtol=1e-4)


def losses_of(network: ATMNet, patch: Tensor, words: EncodedPrompts, choices: Tensor) -> Tensor:
    torch.manual_seed(2)
    target = torch.randint(0, 6, (2, 64, 64))
    visible = torch.randint(0, 2, (2, 5)).bool()
    output = network.train().parts(patch, words, target)
    parts = objective(output, target, choices, visible, LossConfig(), progress=0.5)
    return torch.stack(list(parts.values())).sum()


@pytest.mark.parametrize("cfg", [CONVOLUTIONAL, SWIN], ids=["convolutional", "swin"])
def test_every_parameter_learns_from_one_step(
    build: Build, make_words: MakeWords, patch: Tensor, cfg: ATMNetConfig
) -> None:
    network = opened(build(cfg))
    torch.autograd.backward(losses_of(network, patch, make_words(), torch.zeros(2, 6, dtype=torch.long)))
    idle = [n for n, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert idle == []


@pytest.mark.parametrize("mode", ["predicted", "constant", "stated"])
def test_every_parameter_gets_a_gradient_even_when_nothing_is_known_of_the_facts(
    build: Build, make_words: MakeWords, patch: Tensor, mode: str
) -> None:
    """Several processes average gradients: a parameter without one stops them all."""
    words = make_words()
    heard = {
        "predicted": words,
        "constant": words.constant(2),
        "stated": words.saying([[None] * 6] * 2),
    }[mode]
    network = build()
    torch.autograd.backward(losses_of(network, patch, heard, torch.full((2, 6), -1)))
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_without_contrast_the_head_is_one_convolution(
    build: Build, make_words: MakeWords, patch: Tensor
) -> None:
    network = build(replace(CONVOLUTIONAL, has_contrast=False))
    output = network.parts(patch, make_words(), torch.zeros(2, 64, 64, dtype=torch.long))
    assert output.first_logits is None
    assert output.contrast_loss is None
    assert output.logits.shape == (2, 6, 64, 64)


def test_widths_that_make_no_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 8, got 12"):
        ATMNetConfig(fusion_width=12)
    with pytest.raises(ConfigError, match="at least 1, got 128 and 0"):
        ATMNetConfig(contrast_pool_stride=0)
