"""Label maps in other axis orders."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap


@pytest.fixture(scope="session")
def reoriented() -> Callable[..., LabelMap]:
    """`reoriented(label_map, order, signs)`: the same voxels at the same places in another axis order."""

    def turn(given: LabelMap, order: tuple[int, ...], signs: tuple[int, ...]) -> LabelMap:
        array = given.array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
        affine = given.grid.affine.copy()
        for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
            affine[:3, axis] = sign * given.grid.affine[:3, source]
            if sign < 0:
                affine[:3, 3] += given.grid.affine[:3, source] * (given.grid.shape[source] - 1)
        return replace(given, array=np.ascontiguousarray(array), grid=Grid(array.shape, affine))

    return turn
