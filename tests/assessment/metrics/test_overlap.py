import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import dice as dissimilarity

from nomina.assessment.metrics.overlap import count_overlaps, dice
from nomina.errors import GridMismatchError

label_arrays = arrays(np.int16, (3, 4, 5), elements=st.sampled_from([0, 0, 1, 2, 100, 205]))


def test_dice_of_a_bar_shifted_by_a_quarter_is_three_quarters() -> None:
    reference = np.zeros((1, 1, 8), dtype=bool)
    reference[..., 1:5] = True
    assert dice(np.roll(reference, 1, axis=2), reference) == 0.75


def test_dice_of_two_empty_masks_is_nan_and_of_one_empty_mask_is_zero() -> None:
    empty, full = np.zeros((2, 2, 2), dtype=bool), np.ones((2, 2, 2), dtype=bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == dice(full, empty) == 0.0


def test_dice_agrees_with_monai_and_scipy() -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    generator = np.random.default_rng(5)
    for share in (0.1, 0.4, 0.8):
        one, other = generator.random((6, 7, 8)) < share, generator.random((6, 7, 8)) < share
        tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (one, other)]
        assert dice(one, other) == pytest.approx(float(metrics.compute_dice(*tensors)), rel=1e-6)
        assert dice(one, other) == pytest.approx(1 - dissimilarity(one.ravel(), other.ravel()))


@pytest.mark.usefixtures("unchecked")
def test_dice_refuses_masks_of_different_shape() -> None:
    with pytest.raises(GridMismatchError, match=r"\(2, 2, 2\).*\(2, 2, 3\)"):
        dice(np.ones((2, 2, 2), dtype=bool), np.ones((2, 2, 3), dtype=bool))


@settings(max_examples=40, deadline=None)
@given(label_arrays, label_arrays)
def test_the_table_agrees_with_masks_for_every_pair_of_labels(
    prediction: np.ndarray, reference: np.ndarray
) -> None:
    overlaps = count_overlaps(prediction, reference)
    for value in (1, 2, 100, 205):
        assert overlaps.num_prediction(value) == (prediction == value).sum()
        assert overlaps.num_reference(value) == (reference == value).sum()
        for other in (1, 2, 100, 205):
            one, two = prediction == other, reference == value
            assert overlaps.shared(value, other) == (one & two).sum()
            expected = dice(one, two)
            got = overlaps.dice(value, other)
            assert got == expected or (math.isnan(got) and math.isnan(expected))


def test_iou_of_two_labels_is_shared_over_union() -> None:
    prediction = np.array([[[1, 1, 1, 2, 0, 0]]])
    reference = np.array([[[0, 5, 5, 5, 5, 0]]])
    overlaps = count_overlaps(prediction, reference)
    row = overlaps.reference_values.tolist().index(5)
    ious = dict(zip(overlaps.prediction_values.tolist(), overlaps.ious()[row].tolist(), strict=True))
    assert ious[1] == 2 / 5
    assert ious[2] == 1 / 4
