"""HASF: the zero start, masked text, and the formula in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax
from torch import Tensor

from nomina.networks.layers.fusion import HolisticSemanticFusion, position_encoding

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def fusion() -> HolisticSemanticFusion:
    """With its zero starts away from zero, as after some training."""
    torch.manual_seed(0)
    fusion = HolisticSemanticFusion(12, 20, width=16, num_heads=4).eval()
    for parameter in (fusion.view_embedding, fusion.image_out.weight, fusion.image_out.bias):
        torch.nn.init.normal_(parameter)
    return fusion


@pytest.fixture
def inputs() -> Inputs:
    """Features, image tokens, their mask, class tokens; the last image token of image 1 is padding."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    return (
        torch.randn(2, 12, 3, 5, generator=generator),
        torch.randn(2, 3, 20, generator=generator),
        mask,
        torch.randn(4, 20, generator=generator),
    )


def test_at_the_start_the_features_return_bit_for_bit(inputs: Inputs) -> None:
    features, image_tokens, mask, class_tokens = inputs
    fusion = HolisticSemanticFusion(12, 20, width=16, num_heads=4).eval()
    assert torch.equal(fusion(*inputs), features)
    assert torch.equal(fusion(features, image_tokens + 1, mask, class_tokens - 1), features)


def test_each_kind_of_text_comes_through(fusion: HolisticSemanticFusion, inputs: Inputs) -> None:
    features, image_tokens, mask, class_tokens = inputs
    fused = fusion(*inputs)
    assert not torch.allclose(fused, features, atol=1e-3)
    for other in (
        (features, image_tokens.roll(1, 2), mask, class_tokens),
        (features, image_tokens, mask, class_tokens.roll(1, 1)),
    ):
        assert not torch.allclose(fusion(*other), fused, atol=1e-4)


def test_masked_tokens_change_nothing(fusion: HolisticSemanticFusion, inputs: Inputs) -> None:
    features, image_tokens, mask, class_tokens = inputs
    fused = fusion(*inputs)
    other = torch.where(mask[..., None], image_tokens, 100 * torch.randn_like(image_tokens))
    assert torch.equal(fusion(features, other, mask, class_tokens), fused)
    longer = torch.cat([image_tokens, torch.randn(2, 4, 20)], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(fusion(features, longer, longer_mask, class_tokens), fused)


def test_the_order_of_tokens_changes_nothing(fusion: HolisticSemanticFusion, inputs: Inputs) -> None:
    features, image_tokens, mask, class_tokens = inputs
    order = torch.tensor([2, 0, 1])
    shuffled = fusion(features, image_tokens[:, order], mask[:, order], class_tokens.flip(0))
    torch.testing.assert_close(shuffled, fusion(*inputs))


def test_a_batch_of_two_is_two_batches_of_one(fusion: HolisticSemanticFusion, inputs: Inputs) -> None:
    features, image_tokens, mask, class_tokens = inputs
    alone = [fusion(features[[i]], image_tokens[[i]], mask[[i]], class_tokens) for i in range(2)]
    torch.testing.assert_close(torch.cat(alone), fusion(*inputs))


def test_hasf_is_its_formula(fusion: HolisticSemanticFusion, inputs: Inputs) -> None:
    expected = _hasf({k: v.numpy().astype(float) for k, v in fusion.state_dict().items()}, inputs, heads=4)
    np.testing.assert_allclose(fusion(*inputs).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_position_encoding_holds_sines_and_cosines_of_row_and_column() -> None:
    table = position_encoding(3, 4, 8).numpy().reshape(3, 4, 8)
    np.testing.assert_allclose(table, _positions(3, 4, 8), atol=1e-6)
    np.testing.assert_allclose(table[0, 0], [0, 0, 1, 1, 0, 0, 1, 1], atol=1e-7)
    np.testing.assert_allclose(table[2, 1, :2], [np.sin(2), np.sin(0.02)], atol=1e-6)
    np.testing.assert_allclose(table[2, 1, 4:6], [np.sin(1), np.sin(0.01)], atol=1e-6)


def test_every_position_of_a_full_size_map_is_different() -> None:
    table = position_encoding(32, 32, 256)
    gaps = torch.cdist(table, table) + 1e9 * torch.eye(len(table))
    assert gaps.min() > 0.5


def _hasf(w: dict[str, Any], inputs: Inputs, heads: int) -> np.ndarray:
    """X' = X + Z W_o, image by image, without torch."""
    features, image_tokens, mask, class_tokens = (tensor.numpy() for tensor in inputs)
    result = []
    for image, tokens, real in zip(features, image_tokens, mask, strict=True):
        channels, height, width = image.shape
        visual = _linear(_norm(image.reshape(channels, -1).T, w, "image_in.0"), w, "image_in.1")
        visual = visual + _positions(height, width, visual.shape[1]).reshape(len(visual), -1)
        text = np.concatenate(
            [
                _linear(_norm(part, w, "text_in.0"), w, "text_in.1") + w["view_embedding"][view]
                for view, part in enumerate((tokens[real], class_tokens))
            ]
        )
        text = text + _attention(text, visual, w, "text_reads_image", heads)
        fused = visual + _attention(visual, text, w, "image_reads_text", heads)
        hidden = _linear(_norm(fused, w, "feed_forward.0"), w, "feed_forward.1")
        hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
        fused = fused + _linear(hidden, w, "feed_forward.3")
        update = _linear(fused, w, "image_out").T.reshape(image.shape)
        result.append(image + update)
    return np.stack(result)


def _attention(queries: Any, keys: Any, w: dict[str, Any], name: str, heads: int) -> np.ndarray:
    q, k, v = (
        source @ matrix.T + bias
        for source, matrix, bias in zip(
            (queries, keys, keys),
            np.split(w[f"{name}.in_proj_weight"], 3),
            np.split(w[f"{name}.in_proj_bias"], 3),
            strict=True,
        )
    )
    parts = [
        softmax(qh @ kh.T / np.sqrt(qh.shape[1]), axis=1) @ vh
        for qh, kh, vh in zip(*(np.split(x, heads, axis=1) for x in (q, k, v)), strict=True)
    ]
    return np.concatenate(parts, axis=1) @ w[f"{name}.out_proj.weight"].T + w[f"{name}.out_proj.bias"]


def _norm(rows: Any, w: dict[str, Any], name: str) -> np.ndarray:
    centred = rows - rows.mean(1, keepdims=True)
    return centred / np.sqrt(rows.var(1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def _linear(rows: Any, w: dict[str, Any], name: str) -> np.ndarray:
    return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _positions(height: int, width: int, channels: int) -> np.ndarray:
    quarter = channels // 4
    table = np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            for f in range(quarter):
                rate = 10000.0 ** (-f / quarter)
                table[i, j, f], table[i, j, quarter + f] = np.sin(i * rate), np.cos(i * rate)
                table[i, j, 2 * quarter + f] = np.sin(j * rate)
                table[i, j, 3 * quarter + f] = np.cos(j * rate)
    return table
