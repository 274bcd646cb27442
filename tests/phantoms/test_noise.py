"""Smooth random fields."""

import numpy as np

from nomina.phantoms.noise import SmoothField, smooth_noise


def test_noise_has_mean_zero_and_unit_variance() -> None:
    field = smooth_noise((40, 120, 120), (1.0, 1.0, 1.0), 4.0, np.random.default_rng(0))
    assert abs(field.mean()) < 0.06
    assert 0.9 < field.std() < 1.1


def test_features_are_as_large_as_asked_in_mm_along_each_axis() -> None:
    def correlation(field: np.ndarray, axis: int, shift: int) -> float:
        ahead = np.take(field, range(shift, field.shape[axis]), axis)
        behind = np.take(field, range(field.shape[axis] - shift), axis)
        return float(np.corrcoef(ahead.ravel(), behind.ravel())[0, 1])

    field = smooth_noise((60, 120, 120), (2.0, 1.0, 1.0), (8.0, 8.0, 24.0), np.random.default_rng(1))
    # 8 mm are four voxels along i and eight along j; along k features are three times as long.
    assert abs(correlation(field, 0, 4) - correlation(field, 1, 8)) < 0.1
    assert abs(correlation(field, 2, 24) - correlation(field, 1, 8)) < 0.15


def test_a_window_shows_the_same_field_as_the_whole() -> None:
    noise = SmoothField((30, 50, 40), (1.0, 1.0, 1.0), 6.0, np.random.default_rng(2))
    window = (slice(5, 9), slice(17, 44), slice(0, 40))
    whole = noise((slice(None), slice(None), slice(None)))
    np.testing.assert_allclose(noise(window), whole[window], atol=1e-5)
