"""The objective: numbers by hand, what is ignored, and parity with MONAI and torch."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceFocalLoss
from torch import Tensor

from nomina.errors import ConfigError
from nomina.learning.losses import (
    LossConfig,
    dice_focal,
    fact_loss,
    kind_logits,
    kind_loss,
    objective,
    with_annotated,
)
from nomina.networks.atm_net import NetworkOutput

IGNORED = 255
DICE = LossConfig(focal=0.0)
FOCAL = LossConfig(dice=0.0)


def logits_of(probabilities: Tensor) -> Tensor:
    """Logits `b n i j` whose softmax is given as `b i j n`."""
    return probabilities.log().movedim(-1, 1)


@pytest.fixture
def two_pixels() -> tuple[Tensor, Tensor]:
    """Classes 1 and 2; given probabilities 0.6 and 0.5 for the right class."""
    probabilities = torch.tensor([[[[0.3, 0.6, 0.1], [0.25, 0.25, 0.5]]]])
    return logits_of(probabilities), torch.tensor([[[1, 2]]])


@pytest.fixture
def random_case() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 8, 8, generator=generator)
    return logits, torch.randint(0, 5, (2, 8, 8), generator=generator)


def test_dice_by_hand(two_pixels: tuple[Tensor, Tensor]) -> None:
    # Class 1: 2·0.6 / (0.6 + 0.25 + 1); class 2: 2·0.5 / (0.1 + 0.5 + 1). Background is left out.
    expected = 1 - (1.2 / 1.85 + 1.0 / 1.6) / 2
    assert dice_focal(*two_pixels, DICE).item() == pytest.approx(expected, abs=1e-4)


def test_focal_by_hand(two_pixels: tuple[Tensor, Tensor]) -> None:
    expected = (0.4**2 * -math.log(0.6) + 0.5**2 * -math.log(0.5)) / 2
    assert dice_focal(*two_pixels, FOCAL).item() == pytest.approx(expected, rel=1e-5)


def test_the_two_are_summed_with_their_weights(two_pixels: tuple[Tensor, Tensor]) -> None:
    dice, focal = dice_focal(*two_pixels, DICE), dice_focal(*two_pixels, FOCAL)
    both = dice_focal(*two_pixels, LossConfig(dice=0.5, focal=3.0))
    torch.testing.assert_close(both, 0.5 * dice + 3 * focal)


def test_focal_without_gamma_is_cross_entropy(random_case: tuple[Tensor, Tensor]) -> None:
    logits, target = random_case
    loss = dice_focal(logits, target, LossConfig(dice=0.0, focal_gamma=0.0))
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))
    target[0, :3] = IGNORED
    loss = dice_focal(logits, target, LossConfig(dice=0.0, focal_gamma=0.0))
    torch.testing.assert_close(loss, F.cross_entropy(logits, target, ignore_index=IGNORED))


def test_a_perfect_answer_costs_nothing(random_case: tuple[Tensor, Tensor]) -> None:
    _, target = random_case
    logits = 50.0 * F.one_hot(target, 5).movedim(-1, 1)
    assert dice_focal(logits, target, LossConfig()).item() == pytest.approx(0, abs=1e-5)


def test_dice_averages_over_the_classes_of_the_batch_alone() -> None:
    """Class 2 is nowhere: claiming it costs Dice nothing (focal does that); class 1 is in image 0 only."""
    probabilities = torch.tensor([[[[0.1, 0.8, 0.1]]], [[[0.5, 0.2, 0.3]]]])
    target = torch.tensor([[[1]], [[0]]])
    expected = 1 - 2 * 0.8 / (0.8 + 0.2 + 1)
    assert dice_focal(logits_of(probabilities), target, DICE).item() == pytest.approx(expected, abs=1e-4)


def test_coarser_logits_count_half_and_a_quarter_and_all_weights_sum_to_one() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (1, 8, 16), generator=generator)
    levels = [torch.randn(1, 3, side, 2 * side, generator=generator) for side in (8, 4, 2)]
    output = NetworkOutput(levels[0], coarse_logits=tuple(levels[1:]))
    nothing = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, 2, dtype=torch.bool)
    parts = objective(output, target, *nothing, LossConfig(), 1.0)
    targets = [target, target[:, 1::2, 1::2], target[:, 2::4, 2::4]]
    losses = [dice_focal(*pair, LossConfig()) for pair in zip(levels, targets, strict=True)]
    torch.testing.assert_close(parts["segmentation"], losses[0] * 4 / 7)
    torch.testing.assert_close(parts["coarse"], losses[1] * 2 / 7 + losses[2] / 7)


@pytest.mark.parametrize("is_monai_form", [False, True])
def test_ignored_pixels_have_no_gradient_and_no_say(
    random_case: tuple[Tensor, Tensor], is_monai_form: bool
) -> None:
    logits, target = random_case
    target[:, 2:5, 3:] = IGNORED
    cfg = LossConfig(is_monai_form=is_monai_form)
    unknown = (target == IGNORED)[:, None].expand_as(logits)
    logits.requires_grad_()
    loss = dice_focal(logits, target, cfg)
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert (logits.grad[unknown] == 0).all()
    assert (logits.grad[~unknown] != 0).any()
    other = torch.where(unknown, 7 * torch.randn_like(logits), logits)
    torch.testing.assert_close(dice_focal(other, target, cfg), loss)


def test_ignored_pixels_are_as_if_they_were_not_there(random_case: tuple[Tensor, Tensor]) -> None:
    logits, target = random_case
    target[:, :, 5:] = IGNORED
    cropped = dice_focal(logits[..., :5], target[..., :5], LossConfig())
    torch.testing.assert_close(dice_focal(logits, target, LossConfig()), cropped)


@pytest.mark.parametrize("value", [IGNORED, 0])
def test_batches_without_structures_give_finite_losses_and_gradients(value: int) -> None:
    logits = torch.randn(1, 4, 6, 6, requires_grad=True)
    loss = dice_focal(logits, torch.full((1, 6, 6), value), LossConfig())
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (loss.item() == 0) == (value == IGNORED)


def test_the_monai_form_is_monais_stock_class(random_case: tuple[Tensor, Tensor]) -> None:
    logits, target = random_case
    cfg = LossConfig(is_monai_form=True, dice=0.7, focal=1.3, focal_gamma=1.5)
    stock = DiceFocalLoss(softmax=True, to_onehot_y=True, gamma=1.5, lambda_dice=0.7, lambda_focal=1.3)
    torch.testing.assert_close(dice_focal(logits, target, cfg), stock(logits, target[:, None]))


def test_the_monai_form_takes_what_is_ignored_for_background_that_was_surely_found(
    random_case: tuple[Tensor, Tensor],
) -> None:
    logits, target = random_case
    target[:, 2:5, 3:] = IGNORED
    cfg, known = LossConfig(is_monai_form=True), target != IGNORED
    sure = torch.full_like(logits, -50.0)
    sure[:, 0] = 50.0
    expected = dice_focal(torch.where(known[:, None], logits, sure), torch.where(known, target, 0), cfg)
    torch.testing.assert_close(dice_focal(logits, target, cfg), expected)


def test_half_precision_logits_are_scored_in_full(random_case: tuple[Tensor, Tensor]) -> None:
    logits, target = random_case
    rounded = logits.bfloat16()
    loss = dice_focal(rounded, target, LossConfig())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, dice_focal(rounded.float(), target, LossConfig()))


KINDS = torch.tensor([0, 1, 1, 2, 1])
"""Background, two levels of kind 1, one of kind 2, a third of kind 1."""


def test_kinds_have_the_summed_probability_of_their_levels(random_case: tuple[Tensor, Tensor]) -> None:
    probabilities = random_case[0].softmax(dim=1)
    summed = torch.stack([probabilities[:, members].sum(1) for members in ([0], [1, 2, 4], [3])], dim=1)
    torch.testing.assert_close(kind_logits(random_case[0], KINDS).softmax(dim=1), summed)


def test_confusing_levels_of_one_kind_costs_the_kinds_nothing(random_case: tuple[Tensor, Tensor]) -> None:
    logits, target = random_case
    target[0, :2] = IGNORED
    exchanged = logits[:, [0, 2, 4, 3, 1]]
    cfg = LossConfig(focal_gamma=0.0)
    torch.testing.assert_close(
        kind_loss(exchanged, target, KINDS, cfg), kind_loss(logits, target, KINDS, cfg)
    )
    assert dice_focal(exchanged, target, cfg).item() != pytest.approx(dice_focal(logits, target, cfg).item())


def test_the_loss_on_kinds_by_hand(two_pixels: tuple[Tensor, Tensor]) -> None:
    """Both pixels are of kind 1, with 0.7 and 0.75; the weights of the level losses stay out."""
    cfg = LossConfig(dice=0.3, focal=0.0, focal_gamma=0.0)
    expected = 1 - 2 * 1.45 / (1.45 + 2) - (math.log(0.7) + math.log(0.75)) / 2
    assert kind_loss(*two_pixels, torch.tensor([0, 1, 1]), cfg).item() == pytest.approx(expected, abs=1e-4)


def test_an_ignored_pixel_has_no_kind(two_pixels: tuple[Tensor, Tensor]) -> None:
    logits, target = two_pixels
    target[..., 1] = IGNORED
    alone = kind_loss(logits[..., :1], target[..., :1], torch.tensor([0, 1, 1]), LossConfig())
    torch.testing.assert_close(kind_loss(logits, target, torch.tensor([0, 1, 1]), LossConfig()), alone)


@pytest.fixture
def output(random_case: tuple[Tensor, Tensor]) -> NetworkOutput:
    logits, _ = random_case
    generator = torch.Generator().manual_seed(1)
    return NetworkOutput(
        logits,
        first_logits=torch.randn(2, 5, 2, 2, generator=generator),
        statements=(torch.randn(2, 3, generator=generator), torch.randn(2, 4, generator=generator)),
        presence=torch.randn(2, 4, generator=generator),
        contrast_loss=torch.tensor(3.0),
    )


def test_facts_cost_cross_entropies_by_hand(output: NetworkOutput) -> None:
    visible = torch.tensor([[True, False, True, True], [False, False, True, False]])
    choices = torch.tensor([[2, -1], [0, -1]])
    assert output.presence is not None
    right = torch.where(visible, output.presence.sigmoid(), 1 - output.presence.sigmoid())
    said = output.statements[0].softmax(-1)[[0, 1], [2, 0]]
    expected = -right.log().mean() - said.log().mean()
    everywhere = torch.ones_like(visible)
    torch.testing.assert_close(fact_loss(output, choices, visible, everywhere), expected)


def test_the_presence_of_what_nobody_looked_for_costs_nothing(output: NetworkOutput) -> None:
    visible = torch.zeros(2, 4, dtype=torch.bool)
    annotated = torch.tensor([[True, False, False, True], [False, False, False, False]])
    assert output.presence is not None
    expected = -(1 - output.presence.sigmoid())[annotated].log().mean()
    choices = torch.full((2, 2), -1)
    torch.testing.assert_close(fact_loss(output, choices, visible, annotated), expected)
    assert fact_loss(output, choices, visible, torch.zeros_like(annotated)).item() == 0


def test_what_nobody_looked_for_is_a_part_of_the_background() -> None:
    """Class 2 of 3 was annotated in the second image alone."""
    probabilities = torch.tensor([0.2, 0.3, 0.4, 0.1]).expand(2, 2, 2, 4)
    annotated = torch.tensor([[True, True, False, True], [True, True, True, True]])
    merged = with_annotated(NetworkOutput(logits_of(probabilities)), annotated).logits.softmax(dim=1)
    torch.testing.assert_close(merged[0, :, 0, 0], torch.tensor([0.6, 0.3, 0.0, 0.1]))
    torch.testing.assert_close(merged[1, :, 0, 0], torch.tensor([0.2, 0.3, 0.4, 0.1]))


def test_an_unknown_class_may_be_found_in_the_background_and_nowhere_else(
    random_case: tuple[Tensor, Tensor],
) -> None:
    """Next to nothing moves it where it stands for background; it is pushed out of what was annotated."""
    logits, _ = random_case
    target = torch.zeros(2, 8, 8, dtype=torch.long)
    target[:, :4] = 1
    logits = logits.clone()
    logits[:, 2] += 8.0  # the network finds class 2 everywhere
    logits.requires_grad_()
    annotated = torch.tensor([[True, True, False, True, True]] * 2)
    nothing, full = torch.zeros(2, 0, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool)
    cfg = LossConfig(dice=0.0, focal_gamma=0.0, kinds=1.0)
    kinds = torch.tensor([0, 1, 1, 2, 2])
    parts = objective(NetworkOutput(logits), target, nothing, full, cfg, 1.0, kinds, annotated)
    (gradient,) = torch.autograd.grad(parts["segmentation"], logits)
    assert gradient[:, 2, 4:].abs().max() < 1e-3
    assert (gradient[:, 2, :4] > 5e-3).all()
    assert torch.isfinite(parts["kinds"])
    whole = objective(NetworkOutput(logits), target, nothing, full, cfg, 1.0, kinds)
    assert whole["segmentation"] > parts["segmentation"] + 1


def test_an_image_that_does_not_say_leaves_the_mean_to_the_others(output: NetworkOutput) -> None:
    visible = torch.zeros(2, 4, dtype=torch.bool)
    nothing = fact_loss(output, torch.full((2, 2), -1), visible, ~visible)
    one = fact_loss(output, torch.tensor([[-1, -1], [-1, 3]]), visible, ~visible)
    torch.testing.assert_close(one - nothing, -output.statements[1][1].log_softmax(-1)[3])


def test_the_objective_weighs_its_parts(output: NetworkOutput, random_case: tuple[Tensor, Tensor]) -> None:
    logits, target = random_case
    target[0, :4, :4] = IGNORED
    choices, visible = torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool)
    cfg = LossConfig(contrast=2.0, first_logits=0.25, facts=0.3)
    parts = objective(output, target, choices, visible, cfg, progress=1.0)
    assert set(parts) == {"segmentation", "first_logits", "contrast", "facts"}
    torch.testing.assert_close(parts["segmentation"], dice_focal(logits, target, cfg))
    assert output.first_logits is not None
    # Each of the 2 × 2 coarse pixels stands for 4 × 4; the class is that of the pixel at its middle.
    coarse = torch.stack([target[:, i, j] for i in (2, 6) for j in (2, 6)], dim=1).reshape(2, 2, 2)
    assert (coarse == IGNORED).sum() == 1
    torch.testing.assert_close(parts["first_logits"], 0.25 * dice_focal(output.first_logits, coarse, cfg))
    torch.testing.assert_close(parts["facts"], 0.3 * fact_loss(output, choices, visible, visible))
    assert parts["contrast"].item() == 6.0


def test_the_objective_weighs_kinds_where_asked(
    output: NetworkOutput, random_case: tuple[Tensor, Tensor]
) -> None:
    logits, target = random_case
    choices, visible = torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool)
    cfg = LossConfig(kinds=0.5)
    parts = objective(output, target, choices, visible, cfg, 1.0, KINDS)
    torch.testing.assert_close(parts["kinds"], 0.5 * kind_loss(logits, target, KINDS, cfg))
    with pytest.raises(ConfigError, match="kinds of the classes are not given"):
        objective(output, target, choices, visible, cfg, 1.0)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.05, 0.25), (0.2, 1.0), (0.9, 1.0)])
def test_the_contrast_warms_up(
    output: NetworkOutput, random_case: tuple[Tensor, Tensor], progress: float, share: float
) -> None:
    cfg = LossConfig(contrast=2.0, contrast_warmup=0.2)
    choices, visible = torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool)

    def contrast(cfg: LossConfig) -> float:
        return objective(output, random_case[1], choices, visible, cfg, progress)["contrast"].item()

    assert contrast(cfg) == pytest.approx(6.0 * share)
    assert contrast(replace(cfg, contrast_warmup=0.0)) == 6.0


def test_a_network_without_words_has_the_segmentation_loss_alone(
    random_case: tuple[Tensor, Tensor],
) -> None:
    logits, target = random_case
    nothing = torch.zeros(2, 0)
    parts = objective(NetworkOutput(logits), target, nothing.long(), nothing.bool(), LossConfig(), 0.5)
    assert set(parts) == {"segmentation"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"contrast": -1.0}, "at least 0"),
        ({"focal_gamma": 0.5}, "0 or at least 1"),
        ({"contrast_warmup": 2.0}, "share of the steps"),
    ],
)
def test_settings_out_of_range_are_refused(fault: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossConfig(**fault)  # type: ignore[arg-type]
