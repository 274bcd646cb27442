"""Distances of the simple solids."""

import numpy as np
import pytest

from nomina.phantoms.shapes import blend_max, blend_min, capsule, ellipse, rounded_rectangle


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_capsule_distance_is_exact() -> None:
    x, y, z = f32(0, 0, 3), f32(0, 5, 0), f32(-4, 0, 5)
    distance = capsule(x, y, z, (0, 0, 0), (0, 0, 10), 2.0)
    np.testing.assert_allclose(distance, [2.0, 3.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("solid", [ellipse, lambda *a: rounded_rectangle(*a)[0]], ids=["ellipse", "rounded"])
def test_distance_is_zero_on_the_border_and_first_order_beside_it(solid: object) -> None:
    u, v = f32(10, 10.5, 9.5, 0), f32(0, 0, 0, 6.5)
    distance = solid(u, v, 10.0, 6.0)  # type: ignore[operator]
    np.testing.assert_allclose(distance, [0, 0.5, -0.5, 0.5], atol=0.06)


def test_blends_keep_the_plain_union_and_intersection_away_from_edges() -> None:
    a, b = f32(-5, 3, 0), f32(4, -6, 0)
    np.testing.assert_allclose(blend_max(a, b, 2.0)[:2], [4, 3])
    np.testing.assert_allclose(blend_min(a, b, 2.0)[:2], [-5, -6])
    # On a common edge the corner is cut by a quarter of the radius, the notch filled by as much.
    assert blend_max(a, b, 2.0)[2] == pytest.approx(0.5)
    assert blend_min(a, b, 2.0)[2] == pytest.approx(-0.5)
