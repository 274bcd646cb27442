"""How words and picture meet: the published gate in both its forms, and our attention, in NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nomina.networks.layers.gates import MinMaxGate, PromptAttention, similarity_gate


def array(value: Tensor | None) -> np.ndarray:
    assert value is not None
    return value.detach().double().numpy()


@pytest.fixture
def text() -> Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def image() -> Tensor:
    return torch.randn(2, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 6, 2, 3, 2, generator=torch.Generator().manual_seed(2))


def test_the_gate_is_the_published_matrix_product(text: Tensor, image: Tensor, features: Tensor) -> None:
    """Âhat [v; v; v; v], as published, is s_k v: every row of the product is the image vector, scaled."""
    condition = array(MinMaxGate()(image, text, features))
    t = array(text)
    similarity = t @ t.T
    scaled = (similarity - similarity.min()) / (similarity.max() - similarity.min())
    for b in range(2):
        rows = np.tile(array(image[b]), (4, 1))
        np.testing.assert_allclose(condition[b, :, :8], scaled @ rows, atol=1e-5)
        np.testing.assert_allclose(condition[b, :, :8], scaled.sum(1)[:, None] * rows, atol=1e-5)
        np.testing.assert_allclose(condition[b, :, 8:], t, atol=1e-6)


def test_the_gate_by_hand() -> None:
    # A = [[1, 1], [1, 2]] → Â = [[0, 0], [0, 1]].
    assert similarity_gate(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist() == [0.0, 1.0]


def test_the_gate_lies_between_0_and_the_number_of_classes(text: Tensor) -> None:
    for scale in (1e-3, 1.0, 1e3):
        gate = similarity_gate(scale * text)
        assert (gate >= 0).all()
        assert (gate <= 4).all()
        torch.testing.assert_close(gate, similarity_gate(text), atol=1e-4, rtol=1e-4)


def test_a_single_class_is_not_scaled_and_equal_prompts_give_no_nan(text: Tensor) -> None:
    torch.testing.assert_close(similarity_gate(text[:1]), text[0].square().sum()[None])
    same = torch.ones(3, 8, requires_grad=True)
    gate = similarity_gate(same)
    gate.sum().backward()
    assert gate.tolist() == [0.0, 0.0, 0.0]
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_no_voxel_has_a_say_in_the_gate(text: Tensor, image: Tensor, features: Tensor) -> None:
    assert torch.equal(MinMaxGate()(image, text, features), MinMaxGate()(image, text, -9 * features))


def make_attention() -> PromptAttention:
    torch.manual_seed(0)
    attention = PromptAttention(6, width=8, num_heads=2).eval()
    torch.nn.init.normal_(attention.attention.in_proj_bias, std=0.3)
    torch.nn.init.normal_(attention.norm.weight)
    torch.nn.init.normal_(attention.norm.bias)
    return attention


def test_attention_by_hand(text: Tensor, image: Tensor, features: Tensor) -> None:
    layer = make_attention()
    condition = array(layer(image, text, features))
    mha, t = layer.attention, array(text)
    bias_q, bias_k, bias_v = array(mha.in_proj_bias).reshape(3, 8)
    for b in range(2):
        tokens = array(features[b]).reshape(6, -1).T
        q = t @ array(mha.q_proj_weight).T + bias_q
        k = tokens @ array(mha.k_proj_weight).T + bias_k
        v = tokens @ array(mha.v_proj_weight).T + bias_v
        heads = []
        for h in (slice(0, 4), slice(4, 8)):
            scores = np.exp(q[:, h] @ k[:, h].T / 2)
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, h])
        out = t + np.concatenate(heads, 1) @ array(mha.out_proj.weight).T + array(mha.out_proj.bias)
        centred = out - out.mean(1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        expected = normed * array(layer.norm.weight) + array(layer.norm.bias)
        np.testing.assert_allclose(condition[b, :, 8:], expected, atol=1e-5)
        np.testing.assert_allclose(condition[b, :, :8], np.tile(array(image[b]), (4, 1)), atol=1e-6)


def test_attention_reads_the_voxels_and_follows_the_order_of_prompts(
    text: Tensor, image: Tensor, features: Tensor
) -> None:
    layer = make_attention()
    with torch.no_grad():
        condition = layer(image, text, features)
        assert (layer(image, text, features.roll(1, 1)) - condition).abs().max() > 1e-2
        order = torch.tensor([3, 1, 0, 2])
        torch.testing.assert_close(layer(image, text[order], features), condition[:, order])
