"""The vessel objective: numbers by hand in NumPy, what is not annotated, and the authors' way with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nomina.errors import ConfigError, GridMismatchError
from nomina.learning.vessel_losses import FAITHFUL, NOMINA, VesselLossConfig, vessel_objective

Case = tuple[Tensor, Tensor, Tensor, Tensor]
MASKED_FAITHFUL = replace(FAITHFUL, is_masked=True)


@pytest.fixture
def case() -> Case:
    """Logits, reference, annotated and skeleton: two images, two classes; half of the second unannotated."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 4, 3, 5, generator=generator)
    reference = torch.rand(2, 2, 4, 3, 5, generator=generator) < 0.3
    reference[0, 0, 1] = False
    annotated = torch.ones_like(reference)
    annotated[1, :, 2:] = False
    annotated[0, 1, 0, :2] = False
    skeleton = reference & (torch.rand(reference.shape, generator=generator) < 0.6)
    return logits, reference, annotated, skeleton


def arrays(case: Case) -> tuple[np.ndarray, ...]:
    logits, *masks = (value.detach().double().numpy() for value in case)
    return (1 / (1 + np.exp(-logits)), *masks)


def parts(case: Case, cfg: VesselLossConfig) -> dict[str, float]:
    logits, reference, annotated, skeleton = case
    losses = vessel_objective(logits, reference, annotated, cfg, skeleton=skeleton)
    return {name: float(value) for name, value in losses.items()}


def entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


@pytest.mark.parametrize("cfg", [FAITHFUL, MASKED_FAITHFUL], ids=["unmasked", "masked"])
def test_the_faithful_form_by_hand(case: Case, cfg: VesselLossConfig) -> None:
    p, y, annotated, _ = arrays(case)
    counted = annotated if cfg.is_masked else np.ones_like(annotated)
    dice, bce = [], []
    for b in range(2):
        for n in range(2):
            m = counted[b, n]
            bce.append((entropy(p[b, n], y[b, n]) * m).sum() / m.sum())
            for i in range(4):
                if m[i].sum():
                    overlap = (p[b, n, i] * y[b, n, i] * m[i]).sum()
                    sums = (p[b, n, i] * m[i]).sum() + (y[b, n, i] * m[i]).sum()
                    dice.append(1 - 2 * overlap / (sums + 1))
    assert len(dice) == (12 if cfg.is_masked else 16)
    assert parts(case, cfg) == pytest.approx({"dice": np.mean(dice), "bce": np.mean(bce)}, rel=1e-5)


@pytest.mark.parametrize("is_masked", [True, False])
def test_the_nomina_form_by_hand(case: Case, is_masked: bool) -> None:
    p, y, annotated, skeleton = arrays(case)
    m = annotated if is_masked else np.ones_like(annotated)
    expected: dict[str, list[float]] = {"dice": [], "bce": [], "skeleton": []}
    for n in range(2):
        p_n, y_n, m_n = p[:, n], y[:, n] * m[:, n], m[:, n]
        expected["dice"].append(1 - 2 * (p_n * y_n).sum() / ((p_n * m_n).sum() + y_n.sum()))
        expected["bce"].append((entropy(p_n, y[:, n]) * m_n).sum() / m_n.sum())
        tube = skeleton[:, n] * m_n
        expected["skeleton"].append(1 - (p_n * tube).sum() / tube.sum())
    cfg = replace(NOMINA, is_masked=is_masked)
    means = {name: np.mean(values) for name, values in expected.items()}
    assert parts(case, cfg) == pytest.approx(means, rel=1e-4)


def test_small_numbers_on_paper() -> None:
    """Two slices of two voxels at probability 1/2; the first has one vessel voxel, the second none."""
    logits = torch.zeros(1, 1, 2, 1, 2)
    reference = torch.tensor([True, False, False, False]).reshape(1, 1, 2, 1, 2)
    annotated = torch.ones_like(reference)
    faithful = vessel_objective(logits, reference, annotated, FAITHFUL)
    assert faithful["dice"].item() == pytest.approx((1 - 1 / (1 + 1 + 1) + 1) / 2)
    assert faithful["bce"].item() == pytest.approx(np.log(2))
    ours = vessel_objective(logits, reference, annotated, NOMINA, skeleton=reference)
    assert ours["dice"].item() == pytest.approx(1 - 1 / (2 + 1), rel=1e-4)
    assert ours["skeleton"].item() == pytest.approx(0.5, rel=1e-4)


def test_a_slice_without_reference_costs_one_and_teaches_nothing() -> None:
    logits = torch.randn(1, 1, 2, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    reference = torch.zeros(1, 1, 2, 3, 3, dtype=torch.bool)
    reference[0, 0, 0, 1] = True
    cfg = replace(FAITHFUL, bce=0.0)
    loss = vessel_objective(logits, reference, torch.ones_like(reference), cfg)["dice"]
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[0, 0, 1] == 0).all()
    assert (logits.grad[0, 0, 0] != 0).all()
    with torch.no_grad():
        elsewhere = logits[0, 0, 0].sigmoid()
        first = 1 - 2 * elsewhere[1].sum() / (elsewhere.sum() + 3 + 1)
    assert loss.item() == pytest.approx((first.item() + 1) / 2)


def test_the_slices_are_sagittal() -> None:
    """A vessel that runs within one sagittal slice touches one slice of Dice; across, it touches all."""
    logits = torch.full((1, 1, 4, 4, 4), -20.0)
    within, across = (torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool) for _ in range(2))
    within[0, 0, 1, 2, :] = True
    across[0, 0, :, 2, 1] = True
    cfg = replace(FAITHFUL, bce=0.0)
    losses = [
        vessel_objective(torch.where(y, 20.0, logits), y, torch.ones_like(y), cfg)["dice"].item()
        for y in (within, across)
    ]
    # Perfect masks: 1 - 2·4/(4 + 4 + 1) in one slice and 1 in three; 1 - 2/(1 + 1 + 1) in all four.
    assert losses == pytest.approx([(1 / 9 + 3) / 4, 1 / 3], abs=1e-5)


@pytest.mark.parametrize("cfg", [MASKED_FAITHFUL, NOMINA], ids=["faithful, masked", "nomina"])
def test_what_is_not_annotated_has_no_gradient_and_no_say(case: Case, cfg: VesselLossConfig) -> None:
    logits, reference, annotated, skeleton = case
    logits.requires_grad_()
    losses = vessel_objective(logits, reference, annotated, cfg, skeleton=skeleton)
    torch.stack(list(losses.values())).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[~annotated] == 0).all()
    assert (logits.grad[annotated] != 0).all()
    wild = torch.where(annotated, logits, torch.tensor(float("nan"))).detach().requires_grad_()
    claimed = reference | ~annotated
    again = vessel_objective(wild, claimed, annotated, cfg, skeleton=skeleton | ~annotated)
    for name, value in losses.items():
        assert torch.equal(again[name], value)
    torch.stack(list(again.values())).sum().backward()
    assert wild.grad is not None
    assert torch.equal(wild.grad, logits.grad)


def test_the_authors_way_trains_what_is_not_annotated_as_background(case: Case) -> None:
    logits, reference, annotated, _ = case
    logits.requires_grad_()
    hidden = reference & annotated
    losses = vessel_objective(logits, hidden, annotated, FAITHFUL)
    torch.stack(list(losses.values())).sum().backward()
    assert logits.grad is not None
    # Towards lower logits, everywhere outside the annotation.
    assert (logits.grad[~annotated] > 0).all()
    nobody = vessel_objective(logits, hidden, torch.zeros_like(annotated), FAITHFUL)
    for name, value in losses.items():
        assert torch.equal(nobody[name], value)


@pytest.mark.parametrize("cfg", [FAITHFUL, MASKED_FAITHFUL, NOMINA], ids=["faithful", "masked", "nomina"])
def test_a_batch_that_nobody_annotated_costs_nothing_when_masked(case: Case, cfg: VesselLossConfig) -> None:
    logits, reference, annotated, skeleton = case
    logits.requires_grad_()
    losses = vessel_objective(logits, reference, torch.zeros_like(annotated), cfg, skeleton=skeleton)
    torch.stack(list(losses.values())).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (sum(losses.values()) == 0) == cfg.is_masked
    assert (logits.grad == 0).all() == cfg.is_masked


def test_a_class_that_is_nowhere_is_left_to_cross_entropy(case: Case) -> None:
    """PARSE has arteries alone: the veins' maps must not move Dice or recall, whatever they show."""
    logits, reference, annotated, skeleton = case
    reference[:, 1], skeleton[:, 1] = False, False
    both = vessel_objective(logits, reference, annotated, NOMINA, skeleton=skeleton)
    alone = vessel_objective(
        logits[:, :1], reference[:, :1], annotated[:, :1], NOMINA, skeleton=skeleton[:, :1]
    )
    torch.testing.assert_close(both["dice"], alone["dice"])
    torch.testing.assert_close(both["skeleton"], alone["skeleton"])
    assert both["bce"] != alone["bce"]


@pytest.mark.parametrize("cfg", [NOMINA, replace(FAITHFUL, dice=2.0, bce=0.0)], ids=["nomina", "dice alone"])
def test_a_perfect_answer_costs_nothing_or_what_the_smoothing_leaves(
    case: Case, cfg: VesselLossConfig
) -> None:
    _, reference, annotated, skeleton = case
    reference[:, :, :, 0] = True  # no slice is empty
    losses = parts((60.0 * (reference.float() - 0.5), reference, annotated, skeleton & reference), cfg)
    if cfg is NOMINA:
        assert losses == pytest.approx({"dice": 0, "bce": 0, "skeleton": 0}, abs=1e-5)
    else:
        volumes = reference.sum(dim=(3, 4)).double()
        assert losses == pytest.approx({"dice": 2 * (1 - 2 * volumes / (2 * volumes + 1)).mean().item()})


def test_weights_scale_their_parts(case: Case) -> None:
    one, other = parts(case, NOMINA), parts(case, replace(NOMINA, dice=0.5, bce=2.0, skeleton=3.0))
    assert other == pytest.approx({n: w * one[n] for n, w in (("dice", 0.5), ("bce", 2), ("skeleton", 3))})


def test_half_precision_logits_are_scored_in_full(case: Case) -> None:
    rounded = case[0].bfloat16()
    assert parts((rounded, *case[1:]), NOMINA) == parts((rounded.float(), *case[1:]), NOMINA)


@pytest.mark.usefixtures("unchecked")
def test_contradictions_are_refused(case: Case) -> None:
    logits, reference, annotated, skeleton = case
    with pytest.raises(ConfigError, match=r"skeleton recall is 1\.0, but no skeleton"):
        vessel_objective(logits, reference, annotated, NOMINA)
    with pytest.raises(GridMismatchError, match=r"annotated has shape \(2, 1, 4, 3, 5\), the logits have"):
        vessel_objective(logits, reference, annotated[:, :1], FAITHFUL, skeleton=skeleton)
    with pytest.raises(ConfigError, match="one more than 0"):
        VesselLossConfig(dice=0.0, bce=0.0)
    with pytest.raises(ConfigError, match="at least 0"):
        VesselLossConfig(skeleton=-1.0)
