"""Stored numbers to real ones: the slope and intercept of NIfTI and DICOM."""

import numpy as np
from jaxtyping import Num


def rescaled(array: Num[np.ndarray, "..."], *, slope: float, intercept: float) -> Num[np.ndarray, "..."]:
    """`array * slope + intercept`, integers kept where slope is 1 and the intercept is whole.

    Args:
        array: Numbers as stored in the file.
        slope: Factor; not 0.
        intercept: Added after the factor.

    Returns:
        `array` itself when nothing changes; the smallest signed integer type from int16 up that holds the
        result when slope is 1 and the intercept is whole; otherwise float32, or float64 for stored types of
        4 bytes and more, whose values float32 would round.
    """
    if slope == 1 and intercept == 0:
        return array
    if slope == 1 and float(intercept).is_integer() and array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()) + int(intercept), int(array.max()) + int(intercept)
        for dtype in (np.int16, np.int32, np.int64):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return (array.astype(np.int64) + int(intercept)).astype(dtype)
    result = array.astype(np.float64) * slope + intercept
    return result if array.dtype.itemsize >= 4 else result.astype(np.float32)
