"""Where along A the network looks, and that nothing is found outside."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nomina.networks.plain import PlainNet
from nomina.networks.predict import predict_slices, structure_window
from nomina.networks.words import EncodedPrompts

WORDS = EncodedPrompts(channel=torch.zeros(2, 4), generic=torch.zeros(4), statements=())


class Bright(PlainNet):
    """Calls every bright pixel a structure."""

    divisor = 4

    def __init__(self) -> None:
        nn.Module.__init__(self)  # no backbone
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, patch: Tensor, words: EncodedPrompts) -> Tensor:
        return 20 * torch.stack([0.5 - patch[:, 0], patch[:, 0] - 0.5], dim=1)


NETWORK = Bright().eval()


def scan_with_structure(first: int, last: int, size: int = 90) -> np.ndarray:
    image = np.zeros((9, size, 20), dtype=np.float32)
    image[:, first : last + 1, 5:15] = 1
    return image


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(40, 49, slice(25, 65)), (0, 9, slice(0, 40)), (80, 89, slice(50, 90))],
)
def test_the_window_lies_about_the_structures_and_inside_the_scan(
    first: int, last: int, expected: slice
) -> None:
    window = structure_window(NETWORK, scan_with_structure(first, last), WORDS, num_slices=1, width=40)
    assert abs(window.start - expected.start) <= 1
    assert window.stop - window.start == 40


def test_a_far_island_does_not_move_the_window() -> None:
    image = scan_with_structure(30, 49)
    image[:, 85:88, :4] = 1
    assert abs(structure_window(NETWORK, image, WORDS, num_slices=1, width=40).start - 20) <= 2


@pytest.mark.parametrize("width", [None, 90, 100])
def test_a_scan_that_is_not_wider_is_shown_whole(width: int | None) -> None:
    window = structure_window(NETWORK, scan_with_structure(70, 80), WORDS, num_slices=1, width=width)
    assert window == slice(0, 90)


def test_where_nothing_is_found_the_middle_is_shown() -> None:
    empty = np.zeros((3, 90, 20), dtype=np.float32)
    assert structure_window(NETWORK, empty, WORDS, num_slices=1, width=40) == slice(25, 65)


def test_outside_the_window_all_is_background_and_inside_as_without_one() -> None:
    image = np.random.default_rng(0).random((3, 24, 12)).astype(np.float32)

    def predict(shown: np.ndarray, window: slice) -> np.ndarray:
        slices = predict_slices(NETWORK, shown, WORDS, num_slices=1, window=window)
        return np.concatenate([part.numpy() for _, part in slices])

    inside, whole = predict(image, slice(6, 14)), predict(image, slice(None))
    np.testing.assert_allclose(inside[:, :, 6:14], whole[:, :, 6:14], rtol=1e-5)
    for outside in (inside[:, :, :6], inside[:, :, 14:]):
        assert (outside[:, 0] == 1).all()
        assert (outside[:, 1:] == 0).all()
