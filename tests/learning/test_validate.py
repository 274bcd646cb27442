"""Scores on whole scans, with networks whose answers are known."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nomina.language.encoders import load_encoder
from nomina.learning import validate as validate_module
from nomina.learning.batches import TrainingData
from nomina.learning.prepared import PreparedDataset
from nomina.learning.validate import validate
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.plain import PlainNet
from nomina.networks.predict import predict_slices
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.networks.words import EncodedPrompts, encode_prompts

MakePrepared = Callable[..., PreparedDataset]
Spine = Callable[..., tuple[np.ndarray, np.ndarray]]
STRUCTURES = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")
WORDS = EncodedPrompts(channel=torch.zeros(6, 4), generic=torch.zeros(4), statements=())


class Reader(PlainNet):
    """Reads the class off the intensity: the image of these tests is the predicted class itself."""

    divisor = 4

    def __init__(self) -> None:
        nn.Module.__init__(self)  # no backbone
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, patch: Tensor, words: EncodedPrompts) -> Tensor:
        classes = torch.arange(6)[None, :, None, None]
        return -10 * (patch[:, :1] - classes).abs()


@pytest.fixture
def score(tmp_path: Path, make_prepared: MakePrepared) -> Callable[..., dict[str, float]]:
    """Scores predictions against references, given as arrays of classes, one pair per scan."""

    def run(*pairs: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        cases = {
            f"p{n}_t2": (predicted.astype(float), reference) for n, (predicted, reference) in enumerate(pairs)
        }
        dataset = make_prepared(tmp_path, cases)
        data = TrainingData(dataset.config, (), np.zeros(0), dataset.cases)
        return validate(Reader().eval(), data, WORDS, num_slices=1)

    return run


def test_a_perfect_prediction_scores_one(score: Callable[..., dict[str, float]], short_spine: Spine) -> None:
    _, labels = short_spine()
    assert score((labels, labels)) == {
        "dice": 1.0,
        "dice_vertebrae": 1.0,
        "dice_discs": 1.0,
        "dice_canal": 1.0,
    }


def test_what_a_scan_was_not_annotated_for_is_not_scored_there(
    tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine
) -> None:
    """Everything is found; only vertebrae and one of two discs have labels that count."""
    _, labels = short_spine()
    reference = np.where(labels == 3, 0, labels)
    known = ("L5 vertebra", "L4 vertebra", "L5-S1 disc")
    dataset = make_prepared(
        tmp_path, {"p0_t2": (labels.astype(float), reference)}, annotated={"p0_t2": known}
    )
    data = TrainingData(dataset.config, (), np.zeros(0), dataset.cases)
    scores = validate(Reader().eval(), data, WORDS, num_slices=1)
    assert scores == {"dice": 1.0, "dice_vertebrae": 1.0, "dice_discs": 1.0}


def test_dice_is_the_number_by_hand(score: Callable[..., dict[str, float]]) -> None:
    reference = np.zeros((2, 8, 8), dtype=np.uint8)
    predicted = reference.copy()
    reference[0, :4], predicted[0, 2:6] = 1, 1  # 32 and 32 voxels, 16 in common
    scores = score((predicted, reference))
    assert scores["dice"] == pytest.approx(0.5)
    assert scores["dice_vertebrae"] == pytest.approx(0.5)
    assert "dice_discs" not in scores  # on neither side in any scan
    assert "dice_canal" not in scores


def test_wrong_names_cost_the_named_score_alone(
    score: Callable[..., dict[str, float]], short_spine: Spine
) -> None:
    """L4 called L5 and L5 called L4: every vertebra is found, each under the wrong name."""
    _, labels = short_spine()
    swapped = np.array([0, 2, 1, 3, 4, 5], dtype=np.uint8)[labels]
    scores = score((swapped, labels))
    assert scores["dice"] == pytest.approx(3 / 5)
    assert scores["dice_vertebrae"] == 1.0


def test_what_is_missing_or_invented_scores_zero(
    score: Callable[..., dict[str, float]], short_spine: Spine
) -> None:
    _, labels = short_spine()
    without_l4 = np.where(labels == 2, 0, labels)
    assert score((without_l4, labels))["dice"] == pytest.approx(4 / 5)
    assert score((labels, without_l4))["dice"] == pytest.approx(4 / 5)


def test_a_structure_on_neither_side_is_left_out_and_scans_are_averaged_first(
    score: Callable[..., dict[str, float]], short_spine: Spine
) -> None:
    _, labels = short_spine()
    without_l4 = np.where(labels == 2, 0, labels)
    without_canal = np.where(labels == 3, 0, labels)
    # L4: absent from scan 0 on both sides, right in scan 1. Canal: right, then missed.
    scores = score((without_l4, without_l4), (without_canal, labels))
    assert scores["dice"] == pytest.approx((1 + 1 + 0.5 + 1 + 1) / 5)
    assert scores["dice_canal"] == pytest.approx(0.5)
    assert score((without_canal, without_canal), (labels, labels))["dice_canal"] == 1.0


def test_unknown_voxels_do_not_count(score: Callable[..., dict[str, float]], short_spine: Spine) -> None:
    _, labels = short_spine()
    unknown = labels.copy()
    unknown[:, 12:24, 20:26] = 255
    predicted = np.where(unknown == 255, 3, labels)
    assert score((predicted, unknown))["dice"] == 1.0


def test_nothing_to_validate_on_gives_no_score(score: Callable[..., dict[str, float]]) -> None:
    assert score() == {}


def test_predictions_stay_when_the_reference_becomes_noise(
    tmp_path: Path,
    make_prepared: MakePrepared,
    short_spine: Spine,
    write_table: Callable[[Path, int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With words and all parts open; the reference lies beside the scan, and may only score it."""
    image, labels = short_spine()
    noise = np.random.default_rng(1).integers(0, 6, labels.shape).astype(np.uint8)
    bank = load_encoder(write_table(tmp_path / "words.npz", 0)).bank
    cfg = ATMNetConfig(
        backbone=ResidualUNetConfig(stage_channels=(8, 16), stage_blocks=(1, 1)),
        fusion_width=16,
        contrast_width=8,
        num_slices=1,
    )
    torch.manual_seed(0)
    network = build_network(cfg, STRUCTURES, text_width=16).eval()
    for fusion in network.fusion:
        nn.init.normal_(fusion.image_out.weight, std=0.1)
    seen: list[Tensor] = []

    def listen(*args: Any, **options: Any) -> Iterator[Any]:
        for where, probabilities in predict_slices(*args, **options):
            seen.append(probabilities)
            yield where, probabilities

    monkeypatch.setattr(validate_module, "predict_slices", listen)
    scores = []
    for name, reference in (("true", labels), ("noise", noise)):
        dataset = make_prepared(tmp_path / name, {"p1_t2": (image, reference)})
        data = TrainingData(dataset.config, (), np.zeros(0), dataset.cases)
        scores.append(validate(network, data, encode_prompts(bank, STRUCTURES), num_slices=1))
    first, second = torch.cat(seen).chunk(2)
    assert torch.equal(first, second)
    assert scores[0] != scores[1]
