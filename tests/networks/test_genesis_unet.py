"""The backbone: its size, its norms, and what of a patch reaches where."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomina.errors import ConfigError
from nomina.networks.genesis_unet import GenesisUNet, GenesisUNetConfig

NORMS = ("batch_always", "instance", "group")


def make(norm: str = "batch_always", seed: int = 0) -> GenesisUNet:
    torch.manual_seed(seed)
    cfg = GenesisUNetConfig(stage_channels=(8, 16, 32), norm=norm, num_groups=2)  # type: ignore[arg-type]
    network = GenesisUNet(cfg, 1)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.2)
    return network


@pytest.fixture
def patch() -> Tensor:
    return torch.randn(2, 1, 16, 8, 12, generator=torch.Generator().manual_seed(1))


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = GenesisUNet(GenesisUNetConfig(), 1)
    assert sum(p.numel() for p in network.parameters()) == 19_073_600
    widths = [m.out_channels for m in network.encoder.modules() if isinstance(m, nn.Conv3d)]
    assert widths == [32, 64, 64, 128, 128, 256, 256, 512]


@pytest.mark.parametrize("norm", NORMS)
def test_both_outputs_are_those_of_a_u_net_written_out(patch: Tensor, norm: str) -> None:
    """One level down, by hand: convolutions by torch, the order of the parts and the norms by NumPy."""
    torch.manual_seed(0)
    cfg = GenesisUNetConfig(stage_channels=(4, 8), norm=norm, num_groups=2)  # type: ignore[arg-type]
    network = GenesisUNet(cfg, 1)
    axes = {"batch_always": (0, 2, 3, 4), "instance": (2, 3, 4)}

    def normed(x: np.ndarray, layer: nn.Module) -> np.ndarray:
        shape = x.shape
        if norm == "group":
            x = x.reshape(shape[0], 2, -1)
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
            x = x.reshape(shape)
        else:
            mean, var = (f(x, axis=axes[norm], keepdims=True) for f in (np.mean, np.var))
            x = (x - mean) / np.sqrt(var + 1e-5)
        weight, bias = (p.detach().numpy()[:, None, None, None] for p in (layer.weight, layer.bias))
        return x * weight + bias

    def level(x: np.ndarray, layers: nn.Module) -> np.ndarray:
        assert isinstance(layers, nn.Sequential)
        for conv, norm_layer in ((layers[0], layers[1]), (layers[3], layers[4])):
            x = np.maximum(normed(conv(torch.from_numpy(x)).numpy(), norm_layer), 0)
        return x

    with torch.no_grad():
        features, bottleneck = network(patch)
        fine = level(patch.numpy(), network.encoder[0])
        b, c, i, j, k = fine.shape
        pooled = fine.reshape(b, c, i // 2, 2, j // 2, 2, k // 2, 2).max(axis=(3, 5, 7))
        deep = level(pooled, network.encoder[1])
        weight, bias = network.up[0].weight, network.up[0].bias
        up = F.conv_transpose3d(torch.from_numpy(deep), weight, bias, stride=2).numpy()
        expected = level(np.concatenate([up, fine], axis=1), network.decoder[0])
    np.testing.assert_allclose(bottleneck, deep, atol=1e-5)
    np.testing.assert_allclose(features, expected, atol=2e-5)


def test_batch_statistics_are_used_at_inference_too(patch: Tensor) -> None:
    network = make("batch_always").train()
    with torch.no_grad():
        trained, _ = network(patch)
        inferred, _ = network.eval()(patch)
    assert torch.equal(trained, inferred)
    assert list(network.buffers()) == []


def test_batch_statistics_let_the_windows_of_a_batch_influence_each_other(patch: Tensor) -> None:
    network = make("batch_always").eval()
    other = torch.cat([patch[:1], 3 * patch[1:] + 5])
    with torch.no_grad():
        assert (network(patch)[0][0] - network(other)[0][0]).abs().max() > 0.1


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_other_norms_keep_the_windows_of_a_batch_apart(patch: Tensor, norm: str) -> None:
    network = make(norm).eval()
    with torch.no_grad():
        together, alone = network(patch), network(patch[:1])
        torch.testing.assert_close(together[0][:1], alone[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together[1][:1], alone[1], atol=1e-5, rtol=1e-4)
        other = network(torch.cat([patch[:1], 3 * patch[1:] + 5]))
        torch.testing.assert_close(other[0][:1], alone[0], atol=1e-5, rtol=1e-4)


def test_sizes_that_do_not_fit_are_refused_with_the_next_that_does() -> None:
    network = make("instance")
    with pytest.raises(ConfigError, match=r"multiples of 4, got \(10, 8, 8\); pad it to \(12, 8, 8\)"):
        network(torch.zeros(1, 1, 10, 8, 8))
    with pytest.raises(ConfigError, match=r"single voxel at the bottom.*at least 8"):
        network(torch.zeros(1, 1, 4, 4, 4))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"stage_channels": (8,)}, r"two or more even numbers, got \[8\]"),
        ({"stage_channels": (8, 15)}, "even numbers"),
        ({"num_groups": 0}, "at least 1, got 0"),
        ({"stage_channels": (8, 16), "norm": "group", "num_groups": 8}, "multiple of num_groups 8"),
    ],
)
def test_settings_that_make_no_network_are_refused(fault: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenesisUNetConfig(**fault)  # type: ignore[arg-type]
