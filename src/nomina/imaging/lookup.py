"""Tables applied to whole scans without a copy of the scan as wide indices."""

from typing import Any

import numpy as np
from jaxtyping import Integer


def looked_up(table: np.ndarray, indices: Integer[np.ndarray, "i j k"]) -> np.ndarray:
    """`table[indices]`, slice by slice: NumPy turns the indices it is given into 8 bytes each.

    Args:
        table: One row or number per index.
        indices: Non-negative whole numbers below the table's length.
    """
    result: np.ndarray[Any, Any] = np.empty(indices.shape, dtype=table.dtype)
    for plane, places in zip(result, indices, strict=True):
        plane[...] = table[places]
    return result
