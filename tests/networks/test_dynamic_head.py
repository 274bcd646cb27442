"""The generated output layer against a loop over images, classes and voxels."""

import numpy as np
import torch
from torch import Tensor, nn

from nomina.networks.layers.dynamic_head import DynamicHead, generated_layers


def array(value: Tensor) -> np.ndarray:
    return value.detach().double().numpy()


def layers_by_hand(h: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """8 → 8 → 8 → 1 on `8 v` with one class's 153 numbers: weights 64, 64, 8, then biases 8, 8, 1."""
    w1, w2, w3 = theta[:64].reshape(8, 8), theta[64:128].reshape(8, 8), theta[128:136]
    b1, b2, b3 = theta[136:144], theta[144:152], theta[152]
    return w3 @ np.maximum(w2 @ np.maximum(w1 @ h + b1[:, None], 0) + b2[:, None], 0) + b3


def test_the_published_head_generates_153_numbers_per_class() -> None:
    head = DynamicHead(64, 512)
    assert head.controller.out_features == 153 == sum(head.sizes)
    assert sum(p.numel() for p in head.controller.parameters()) == 78_489
    assert sum(p.numel() for p in head.reduce.parameters()) == 648


def test_generated_layers_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    voxels = torch.randn(2, 8, 5, generator=generator)
    theta = torch.randn(2, 3, 153, generator=generator)
    logits = generated_layers(voxels, theta.split((64, 64, 8, 8, 8, 1), dim=-1))
    for b in range(2):
        for n in range(3):
            expected = layers_by_hand(array(voxels[b]), array(theta[b, n]))
            np.testing.assert_allclose(array(logits[b, n]), expected, rtol=1e-4, atol=1e-4)


def test_the_whole_head_by_hand() -> None:
    torch.manual_seed(0)
    head = DynamicHead(8, 6, num_groups=2)
    norm, _, conv = head.reduce
    assert isinstance(norm, nn.GroupNorm)
    assert isinstance(conv, nn.Conv3d)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    features, condition = torch.randn(2, 8, 3, 4, 2), torch.randn(2, 3, 6)
    logits = head(features, condition)
    assert conv.bias is not None
    for b in range(2):
        grouped = array(features[b]).reshape(2, -1)
        centred = grouped - grouped.mean(1, keepdims=True)
        normed = (centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)).reshape(8, -1)
        normed = normed * array(norm.weight)[:, None] + array(norm.bias)[:, None]
        h = array(conv.weight)[:, :, 0, 0, 0] @ np.maximum(normed, 0) + array(conv.bias)[:, None]
        for n in range(3):
            theta = array(head.controller.weight) @ array(condition[b, n]) + array(head.controller.bias)
            expected = layers_by_hand(h, theta).reshape(3, 4, 2)
            np.testing.assert_allclose(array(logits[b, n]), expected, rtol=1e-4, atol=1e-5)
