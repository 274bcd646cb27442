"""Text and image adapters against formulas written out in NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import Tensor, nn

from nomina.errors import ConfigError, PromptError
from nomina.networks.layers.adapters import AttentionPooling, AxisMLP, TextAdapters, centred


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def array(value: Tensor | None) -> np.ndarray:
    assert value is not None
    return value.detach().double().numpy()


def by_hand(network: nn.Module, prompt: np.ndarray) -> np.ndarray:
    """ReLU(W2 GELU(W1 e + b1) + b2)."""
    assert isinstance(network, nn.Sequential)
    w1, b1, w2, b2 = (array(p) for p in network.parameters())
    return np.maximum(w2 @ gelu(w1 @ prompt + b1) + b2, 0)


@pytest.fixture
def prompts() -> Tensor:
    return torch.randn(3, 10, generator=torch.Generator().manual_seed(0))


def make(**settings: object) -> TextAdapters:
    torch.manual_seed(1)
    return TextAdapters(3, 10, hidden=5, width=7, **settings)  # type: ignore[arg-type]


def test_each_class_has_its_own_network(prompts: Tensor) -> None:
    adapters = make()
    expected = [by_hand(adapters.networks[k], array(prompts[k])) for k in range(3)]
    np.testing.assert_allclose(array(adapters(prompts)), expected, atol=1e-6)
    with pytest.raises(PromptError, match="each of 3 classes, got 2 prompts"):
        adapters(prompts[:2])


def test_the_residual_path_is_blended_with_a_learned_share_per_class(prompts: Tensor) -> None:
    adapters = make(blend=0.2)
    assert adapters.blend.tolist() == pytest.approx([0.2] * 3)
    with torch.no_grad():
        adapters.blend.copy_(torch.tensor([0.2, 0.0, 0.9]))
    expected = [
        a * by_hand(adapters.networks[k], array(prompts[k]))
        + (1 - a) * array(adapters.residual.weight) @ array(prompts[k])
        for k, a in enumerate((0.2, 0.0, 0.9))
    ]
    np.testing.assert_allclose(array(adapters(prompts)), expected, atol=1e-6)
    adapters(prompts).square().sum().backward()
    assert adapters.blend.grad is not None
    assert (adapters.blend.grad != 0).all()


def test_the_residual_path_starts_with_the_angles_of_the_prompts() -> None:
    """Prompts in as many dimensions as the adapter is wide keep all their products."""
    torch.manual_seed(0)
    adapters = TextAdapters(4, 8, hidden=5, width=16, blend=0.0)
    prompts = torch.randn(4, 8)
    text = adapters(prompts)
    torch.testing.assert_close(text @ text.T, prompts @ prompts.T, atol=1e-5, rtol=1e-5)


def test_centred_adapters_hear_what_tells_the_prompts_apart(prompts: Tensor) -> None:
    adapters = make(blend=0.2, is_centred=True)
    apart = array(prompts) - array(prompts).mean(axis=0)
    apart /= np.sqrt((apart**2).mean())
    expected = [
        0.2 * by_hand(adapters.networks[k], apart[k]) + 0.8 * array(adapters.residual.weight) @ apart[k]
        for k in range(3)
    ]
    np.testing.assert_allclose(array(adapters(prompts)), expected, atol=1e-5)
    # A common template adds about the same to every prompt, and another encoder has another scale.
    torch.testing.assert_close(adapters(7 * prompts + 3), adapters(prompts), atol=1e-4, rtol=1e-3)
    assert torch.equal(centred(prompts[:1]), torch.zeros(1, 10))
    assert torch.equal(centred(torch.ones(3, 10)), torch.zeros(3, 10))


def test_a_shared_adapter_takes_any_number_of_prompts_and_follows_their_order(prompts: Tensor) -> None:
    adapters = make(blend=0.2, is_shared=True)
    assert len(adapters.networks) == 1
    order = torch.tensor([2, 0, 1, 0])
    torch.testing.assert_close(adapters(prompts[order]), adapters(prompts)[order])


def test_the_axis_mlp_folds_the_last_axis_three_times_with_the_same_weights() -> None:
    torch.manual_seed(0)
    pooling = AxisMLP(side=4)
    features = torch.randn(2, 3, 4, 4, 4)
    w1, b1, w2, b2 = (array(p) for p in pooling.parameters())

    def fold(x: np.ndarray) -> float:
        return float((w2 @ gelu(w1 @ x + b1) + b2).item())

    for b in range(2):
        for c in range(3):
            voxels = array(features[b, c])
            plane = [[fold(voxels[i, j]) for j in range(4)] for i in range(4)]
            line = [fold(np.array(plane[i])) for i in range(4)]
            assert pooling(features)[b, c].item() == pytest.approx(fold(np.array(line)), abs=1e-6)


def test_the_axis_mlp_takes_one_size_and_says_which() -> None:
    with pytest.raises(ConfigError, match=r"12×12×12 voxels \(a patch of 96×96×96.*got \(12, 12, 6\)"):
        AxisMLP()(torch.zeros(1, 2, 12, 12, 6))
    assert sum(p.numel() for p in AxisMLP().parameters()) == 43


def test_attention_pooling_starts_as_the_mean() -> None:
    features = torch.randn(2, 8, 3, 5, 2, generator=torch.Generator().manual_seed(0))
    pooling = AttentionPooling(8, num_heads=2)
    torch.testing.assert_close(pooling(features), features.mean(dim=(2, 3, 4)))


def test_attention_pooling_by_hand() -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(4, num_heads=2)
    nn.init.normal_(pooling.score.weight)
    features = torch.randn(2, 4, 3, 2, 2)
    voxels = array(features).reshape(2, 4, -1)
    weight = array(pooling.score.weight)[:, :, 0, 0, 0]
    for b in range(2):
        scores = np.exp(weight @ voxels[b])
        weights = scores / scores.sum(axis=1, keepdims=True)
        expected = [weights[c // 2] @ voxels[b, c] for c in range(4)]
        np.testing.assert_allclose(array(pooling(features)[b]), expected, atol=1e-6)
