"""Probabilities return to the scan's grid; the winner is a kind first, then a level."""

import numpy as np
import torch

from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation, prepared_grid
from nomina.inference.native_grid import linear_weights, winning_classes


def grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    return Grid(shape, np.diag([*spacing_mm, 1.0]))


def test_linear_weights_reproduce_a_ramp_in_world_coordinates() -> None:
    native = grid((3, 41, 64), (4.0, 0.5, 0.47))
    prepared = prepared_grid(native, ImagePreparation(in_plane_spacing_mm=0.8))
    for axis in (1, 2):
        centres = np.zeros((prepared.shape[axis], 3))
        centres[:, axis] = np.arange(prepared.shape[axis])
        ramp = torch.from_numpy(prepared.to_world(centres)[:, axis]).float()
        wanted = np.zeros((native.shape[axis], 3))
        wanted[:, axis] = np.arange(native.shape[axis])
        expected = native.to_world(wanted)[:, axis].clip(float(ramp.min()), float(ramp.max()))
        np.testing.assert_allclose(
            (linear_weights(prepared, native, axis) @ ramp).numpy(), expected, atol=1e-4
        )


def test_weights_of_each_voxel_sum_to_one() -> None:
    weights = linear_weights(grid((1, 7, 9), (1, 1.3, 0.9)), grid((1, 20, 9), (1, 0.4, 0.9)), 1)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(20))


def test_doubt_between_levels_of_one_kind_does_not_lose_to_background() -> None:
    one = grid((1, 2, 2), (1, 1, 1))
    probabilities = torch.tensor([0.4, 0.35, 0.25])[None, :, None, None].expand(1, 3, 2, 2)
    kinds = ("background", "vertebra", "vertebra")
    classes = winning_classes([(slice(0, 1), probabilities)], one, one, kinds)
    assert (classes.array == 1).all()
    np.testing.assert_allclose(classes.certainty / 255, 0.6, atol=0.002)


def test_streaming_in_parts_equals_one_pass() -> None:
    native = grid((5, 12, 14), (3, 0.5, 0.5))
    prepared = prepared_grid(native, ImagePreparation(in_plane_spacing_mm=0.8))
    torch.manual_seed(0)
    probabilities = torch.randn(5, 4, *prepared.shape[1:]).softmax(dim=1)
    kinds = ("background", "vertebra", "vertebra", "disc")
    whole = winning_classes([(slice(0, 5), probabilities)], prepared, native, kinds)
    parts = [(slice(n, n + 1), probabilities[n : n + 1]) for n in range(5)]
    streamed = winning_classes(parts, prepared, native, kinds)
    np.testing.assert_array_equal(whole.array, streamed.array)
    np.testing.assert_array_equal(whole.certainty, streamed.certainty)
