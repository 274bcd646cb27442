"""CCAE: the formula in NumPy, what the loss ignores, and why it pools with the reference."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.special import erf, log_softmax, softmax
from torch import Tensor, nn

from nomina.networks.layers.contrast import ChannelContrast

UNKNOWN = 255


@pytest.fixture
def contrast() -> ChannelContrast:
    """Five classes, and a kernel that is no longer zero."""
    torch.manual_seed(0)
    contrast = ChannelContrast(6, 5, 10, width=8)
    for parameter in contrast.kernel[-1].parameters():
        nn.init.normal_(parameter, std=0.3)
    nn.init.normal_(contrast.class_offset, std=0.1)
    return contrast


@pytest.fixture
def features() -> Float[Tensor, "b c i j"]:
    return torch.randn(2, 6, 8, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tokens() -> Float[Tensor, "n e"]:
    return torch.randn(5, 10, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def reference() -> Tensor:
    """Image 0 has classes 0 to 3, image 1 has 0 and 4; some pixels are unknown."""
    reference = torch.zeros(2, 8, 12, dtype=torch.long)
    reference[0, 2:4], reference[0, 4:6], reference[0, 6:, :5] = 1, 2, 3
    reference[1, :, 6:] = 4
    reference[:, 0, :3] = UNKNOWN
    return reference


def test_ccae_is_its_formula(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor, reference: Tensor
) -> None:
    w = {name: value.numpy().astype(float) for name, value in contrast.state_dict().items()}
    logits, first, loss = _ccae(w, features.numpy(), tokens.numpy(), reference.numpy())
    ours, ours_first = contrast(features, tokens)
    np.testing.assert_allclose(ours.detach().numpy(), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours_first.detach().numpy(), first, rtol=1e-4, atol=1e-5)
    assert contrast.loss(features, tokens, reference).item() == pytest.approx(loss, rel=1e-4)


def test_at_the_start_text_changes_no_logit(features: Tensor, tokens: Tensor) -> None:
    contrast = ChannelContrast(6, 5, 10, width=8)
    logits, first = contrast(features, tokens)
    torch.testing.assert_close(logits, first)
    assert torch.equal(contrast(features, tokens + torch.randn_like(tokens))[0], logits)


def test_at_the_start_the_loss_is_about_ln_n_or_a_little_more() -> None:
    losses = []
    for seed in range(8):
        torch.manual_seed(seed)
        contrast = ChannelContrast(16, 18, 32)
        near_equal = torch.randn(1, 32) + 0.02 * torch.randn(18, 32)
        reference = torch.randint(0, 18, (4, 16, 16))
        losses.append(contrast.loss(torch.randn(4, 16, 16, 16), near_equal, reference).item())
    assert math.log(18) - 0.05 < min(losses)
    assert max(losses) < math.log(18) + 0.6


def test_a_constant_added_to_every_sentence_changes_nothing(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor
) -> None:
    shifted = contrast(features, tokens + torch.randn(1, 10))[0]
    torch.testing.assert_close(shifted, contrast(features, tokens)[0], atol=1e-5, rtol=1e-4)


def test_unknown_pixels_do_not_count(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor, reference: Tensor
) -> None:
    unknown = (reference == UNKNOWN)[:, None]
    other = torch.where(unknown, 50.0, features).requires_grad_()
    loss = contrast.loss(other, tokens, reference)
    torch.testing.assert_close(loss, contrast.loss(features, tokens, reference))
    torch.autograd.backward(loss)
    assert other.grad is not None
    assert (other.grad * unknown).abs().max() == 0
    assert other.grad.abs().max() > 0


def test_classes_absent_everywhere_are_no_answer_to_an_image(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor
) -> None:
    """Only text → image leaves the absent classes out: an image may well be taken for an absent class."""
    reference = torch.zeros(2, 8, 12, dtype=torch.long)
    loss = contrast.loss(features, tokens, reference)
    similarity = _similarity(contrast, features, tokens, reference)
    expected = F.cross_entropy(similarity[:, 0], torch.zeros(2, dtype=torch.long)) / 2
    torch.testing.assert_close(loss, expected)


def test_a_batch_without_a_known_pixel_costs_nothing(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor
) -> None:
    loss = contrast.loss(features, tokens, torch.full((2, 8, 12), UNKNOWN))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in contrast.parameters())


def test_a_batch_of_two_is_two_batches_of_one(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor
) -> None:
    alone = torch.cat([contrast(features[[i]], tokens)[0] for i in range(2)])
    torch.testing.assert_close(alone, contrast(features, tokens)[0])


def test_pooling_with_stride_4_is_close_to_exact_on_smooth_maps(
    contrast: ChannelContrast, tokens: Tensor
) -> None:
    torch.manual_seed(3)
    smooth = F.interpolate(torch.randn(2, 6, 4, 4), (64, 64), mode="bicubic", align_corners=True)
    reference = torch.zeros(2, 64, 64, dtype=torch.long)
    reference[:, 10:33, 5:40], reference[:, 40:61, 20:50] = 1, 2
    exact, exact_loss = contrast(smooth, tokens)[0], contrast.loss(smooth, tokens, reference)
    contrast.pool_stride = 4
    pooled, first = contrast(smooth, tokens)
    assert first.shape == (2, 5, 16, 16)
    assert (pooled - exact).abs().max() < 0.01 * exact.abs().max()
    assert contrast.loss(smooth, tokens, reference).item() == pytest.approx(exact_loss.item(), rel=0.02)


@pytest.mark.parametrize(
    ("num_classes", "num_steps", "side"),
    [(6, 100, 16), pytest.param(18, 120, 32, marks=pytest.mark.slow)],
    ids=["small", "as many classes as a spine"],
)
def test_a_loss_pooled_with_predictions_is_solved_without_anatomy_and_ours_is_not(
    num_classes: int, num_steps: int, side: int
) -> None:
    """Trained on pure noise with random class maps: nothing can be learned, so no loss may fall."""
    by_reference, retrieved = _train_on_noise(num_classes, num_steps, side, is_shortcut=False)
    assert by_reference > math.log(num_classes) - 0.15
    assert retrieved < 2 / num_classes
    by_prediction, retrieved = _train_on_noise(num_classes, num_steps, side, is_shortcut=True)
    assert by_prediction < 0.1 * math.log(num_classes)
    assert retrieved > 0.9


def _train_on_noise(num_classes: int, num_steps: int, side: int, *, is_shortcut: bool) -> tuple[float, float]:
    """Loss and share of classes retrieved on fresh noise after training."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(16, 16, 3, padding=1))
    contrast = ChannelContrast(16, num_classes, 32)
    tokens = torch.randn(1, 32) + 0.02 * torch.randn(num_classes, 32)
    optimiser = torch.optim.Adam([*body.parameters(), *contrast.parameters()], lr=3e-3)
    losses, right = [], []
    for step in range(num_steps + 10):
        features = body(torch.randn(8, 1, side, side))
        reference = torch.randint(0, num_classes, (8, side, side))
        if is_shortcut:
            similarity = _similarity(contrast, features, tokens, None)
            targets = torch.arange(num_classes).expand(8, -1)
            both_ways = (similarity, similarity.transpose(1, 2))
            losses_both = [F.cross_entropy(s.flatten(0, 1), targets.flatten()) for s in both_ways]
            loss = torch.stack(losses_both).mean()
        else:
            similarity = _similarity(contrast, features, tokens, reference)
            loss = contrast.loss(features, tokens, reference)
        if step < num_steps:
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        else:
            losses.append(loss.item())
            right.append((similarity.argmax(-1) == torch.arange(num_classes)).float().mean().item())
    return float(np.mean(losses)), float(np.mean(right))


def _similarity(
    contrast: ChannelContrast, features: Tensor, tokens: Tensor, reference: Tensor | None
) -> Float[Tensor, "b n n"]:
    """Image–text similarity, pooled with a reference or (the shortcut) with the network's own assignment."""
    if reference is None:
        masks = contrast.first_logits(features).softmax(1)
    else:
        masks = F.one_hot(reference, len(tokens)).permute(0, 3, 1, 2).float()
    means = torch.einsum("bnij,bcij->bnc", masks, features) / (masks.sum((2, 3))[..., None] + 1e-4)
    vectors = F.normalize(contrast.image_projection(means), dim=-1)
    return contrast.log_scale.exp() * vectors @ contrast.class_texts(tokens).T


def _ccae(w: dict[str, Any], features: Any, tokens: Any, reference: Any) -> tuple[Any, Any, float]:
    """Final logits, first logits and L_ftc, image by image, without torch."""
    kernel, bias = w["first_logits.weight"][:, :, 0, 0], w["first_logits.bias"]
    text = _unit(_mlp(tokens - tokens.mean(0), w, "text_projection") + w["class_offset"])
    logits, firsts, to_text, to_image = [], [], [], []
    for image, labels in zip(features, reference, strict=True):
        pixels, labels = image.reshape(len(image), -1).T, labels.ravel()
        first = pixels @ kernel.T + bias
        vectors = _pooled(softmax(first, axis=1), pixels, w)
        theta = _mlp(np.concatenate([vectors, text], axis=1), w, "kernel")
        final = pixels @ (kernel + theta[:, :-1]).T + bias + theta[:, -1]
        firsts.append(first.T.reshape(-1, *image.shape[1:]))
        logits.append(final.T.reshape(-1, *image.shape[1:]))
        one_hot = (labels[:, None] == np.arange(len(tokens))).astype(float)
        present = np.flatnonzero(one_hot.any(0))
        similarity = np.exp(w["log_scale"]) * _pooled(one_hot, pixels, w) @ text.T
        to_text += [-log_softmax(similarity[k])[k] for k in present]
        to_image += [-log_softmax(similarity[present, k])[list(present).index(k)] for k in present]
    return np.stack(logits), np.stack(firsts), (np.mean(to_text) + np.mean(to_image)) / 2


def _pooled(masks: Any, pixels: Any, w: dict[str, Any]) -> Any:
    return _unit(_mlp(masks.T @ pixels / (masks.sum(0)[:, None] + 1e-4), w, "image_projection"))


def _mlp(rows: Any, w: dict[str, Any], name: str) -> Any:
    hidden = rows @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]
    hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
    return hidden @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
