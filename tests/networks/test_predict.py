"""A whole scan through a 2D network: every slice once, on its own grid, and no way to see a reference."""

import inspect
import itertools
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch

from nomina.networks import predict
from nomina.networks.atm_net import ATMNet, ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.checkpoint import Checkpoint
from nomina.networks.predict import predict_facts, predict_slices, structure_window
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.words import EncodedPrompts

MakeWords = Callable[..., EncodedPrompts]


@pytest.fixture
def network(structures: tuple[str, ...]) -> ATMNet:
    """Divisor 4, with words that reach the logits."""
    backbone = ResidualUNetConfig(stage_channels=(8, 16, 24), stage_blocks=(1, 1, 1))
    torch.manual_seed(0)
    cfg = ATMNetConfig(backbone=backbone, fusion_width=16, contrast_width=8, num_slices=3)
    network = build_network(cfg, structures, text_width=16).eval()
    assert isinstance(network, ATMNet)
    for fusion in network.fusion:
        torch.nn.init.normal_(fusion.image_out.weight, std=0.1)  # type: ignore[union-attr,arg-type]
    return network


@pytest.fixture
def scan() -> np.ndarray:
    """Seven slices of 18 × 22 pixels: neither side a multiple of 4."""
    return np.random.default_rng(0).normal(size=(7, 18, 22)).astype(np.float16)


def probabilities(
    network: ATMNet, scan: np.ndarray, words: EncodedPrompts, batch_size: int = 4
) -> np.ndarray:
    parts = list(predict_slices(network, scan, words, num_slices=3, batch_size=batch_size))
    ranges = [list(range(*where.indices(len(scan)))) for where, _ in parts]
    assert list(itertools.chain(*ranges)) == list(range(len(scan)))
    return np.concatenate([part.numpy() for _, part in parts])


def test_every_slice_comes_back_on_its_own_grid_with_probabilities_that_sum_to_one(
    network: ATMNet, scan: np.ndarray, make_words: MakeWords
) -> None:
    result = probabilities(network, scan, make_words())
    assert result.shape == (7, 6, 18, 22)
    np.testing.assert_allclose(result.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_number_of_slices_at_a_time_changes_nothing(
    network: ATMNet, scan: np.ndarray, make_words: MakeWords, batch_size: int
) -> None:
    expected = probabilities(network, scan, make_words())
    np.testing.assert_allclose(
        probabilities(network, scan, make_words(), batch_size), expected, atol=1e-5, rtol=1e-4
    )
    facts = predict_facts(network, scan, num_slices=3)
    other = predict_facts(network, scan, num_slices=3, batch_size=batch_size)
    torch.testing.assert_close(other.statements, facts.statements)


def test_a_slice_is_seen_with_its_neighbours_and_the_outermost_with_itself(
    network: ATMNet, scan: np.ndarray, make_words: MakeWords
) -> None:
    result = probabilities(network, scan, make_words().constant(1))
    for index, shown in ((0, [0, 0, 1]), (3, [2, 3, 4]), (6, [5, 6, 6])):
        padded = np.pad(scan[shown].astype(np.float32), ((0, 0), (1, 1), (1, 1)), constant_values=scan.min())
        with torch.no_grad():
            logits = network(torch.from_numpy(padded)[None], make_words().constant(1))
        expected = logits.softmax(1)[0, :, 1:-1, 1:-1].numpy()
        np.testing.assert_allclose(result[index], expected, atol=1e-5, rtol=1e-4)


def test_facts_of_a_scan_are_the_mean_of_its_slices_and_presence_the_largest(
    network: ATMNet, scan: np.ndarray
) -> None:
    facts = predict_facts(network, scan, num_slices=3)
    single = []
    for index in range(7):
        shown = scan[[max(index - 1, 0), index, min(index + 1, 6)]].astype(np.float32)
        padded = np.pad(shown, ((0, 0), (1, 1), (1, 1)), constant_values=scan.min())
        with torch.no_grad():
            single.append(network.predict_facts(torch.from_numpy(padded)[None]))
    for index, statement in enumerate(facts.statements):
        expected = torch.stack([s[0][index].softmax(-1) for s in single]).mean(0)
        torch.testing.assert_close(statement, expected, atol=1e-5, rtol=1e-4)
        assert statement.sum().item() == pytest.approx(1, abs=1e-5)
    highest = torch.cat([s[1].sigmoid() for s in single]).amax(0)
    torch.testing.assert_close(facts.presence, highest, atol=1e-5, rtol=1e-4)


def test_nothing_in_the_prediction_interface_can_carry_a_reference() -> None:
    for function in (predict_facts, predict_slices, structure_window):
        assert set(inspect.signature(function).parameters) <= {
            "network",
            "image",
            "words",
            "num_slices",
            "batch_size",
            "window",
            "width",
        }
    assert not {f.name for f in fields(Checkpoint)} & {"reference", "labels", "label_map"}
    assert "labels" not in inspect.getsource(predict)
