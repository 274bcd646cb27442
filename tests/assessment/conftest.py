"""A spine of boxes with SPIDER's numbers, for tests of scores and checks."""

from collections.abc import Callable

import numpy as np
import pytest

from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

VERTEBRAE = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8")
SPIDER_NAMES = (
    {n: f"{level} vertebra" for n, level in enumerate(VERTEBRAE, start=1)}
    | {100: "spinal canal"}
    | {
        200 + n: f"{upper}-{lower} disc"
        for n, (upper, lower) in enumerate(zip(VERTEBRAE, ("S1", *VERTEBRAE), strict=False), start=1)
    }
)

SpiderMap = Callable[..., LabelMap]
Tubes = Callable[..., np.ndarray]


@pytest.fixture
def spider_map() -> SpiderMap:
    """Turns an array into a SPIDER label map; spacing in mm along R, A, S."""

    def build(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> LabelMap:
        grid = Grid(array.shape, np.diag([*spacing, 1.0]))
        return LabelMap(
            array.astype(np.int16),
            grid,
            names=SPIDER_NAMES,
            scheme="spider",
            ignored=frozenset(range(101, 126)),
        )

    return build


@pytest.fixture
def spine() -> np.ndarray:
    """Six vertebrae (7 voxels high) over discs (3 voxels high) before a canal; axes R, A, S.

    Disc 201 is at heights 2 to 4, vertebra 1 at 5 to 11, disc 202 at 12 to 14 and so on; the canal has
    A = 2 to 4, discs and vertebrae A = 6 to 13.
    """
    array = np.zeros((12, 16, 66), dtype=np.int16)
    for n in range(1, 7):
        bottom = 2 + 10 * (n - 1)
        array[2:10, 6:14, bottom : bottom + 3] = 200 + n
        array[2:10, 6:14, bottom + 3 : bottom + 10] = n
    array[4:8, 2:5, :] = 100
    return array


@pytest.fixture(scope="session")
def tubes() -> Tubes:
    """`tubes(size_mm, spacing_mm, *(start, end, radius))`: a cube with round-ended tubes in it, all in mm."""

    def draw(size_mm: float, spacing_mm: tuple[float, float, float], *parts: tuple) -> np.ndarray:
        axes = [np.arange(0, size_mm, step) for step in spacing_mm]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        mask = np.zeros(points.shape[:3], dtype=bool)
        for start, end, radius in parts:
            start, axis = np.asarray(start, float), np.asarray(end, float) - start
            share = np.clip(((points - start) @ axis) / max(axis @ axis, 1e-9), 0, 1)
            mask |= np.linalg.norm(points - start - share[..., None] * axis, axis=-1) <= radius
        return mask

    return draw
