import numpy as np
import pytest

from nomina.imaging.rescale import rescaled


def test_slope_one_and_intercept_zero_return_the_same_array() -> None:
    stored = np.array([1, 2], dtype=np.uint16)
    assert rescaled(stored, slope=1.0, intercept=0.0) is stored


def test_a_whole_intercept_keeps_integers() -> None:
    result = rescaled(np.array([0, 4095], dtype=np.uint16), slope=1.0, intercept=-1024.0)
    assert result.dtype == np.int16
    assert result.tolist() == [-1024, 3071]


def test_integers_widen_rather_than_wrap_around() -> None:
    result = rescaled(np.array([0, 65535], dtype=np.uint16), slope=1.0, intercept=-1.0)
    assert result.dtype == np.int32
    assert result.tolist() == [-1, 65534]


@pytest.mark.parametrize(
    ("stored", "result"), [(np.int16, np.float32), (np.int32, np.float64), (np.float32, np.float64)]
)
def test_other_scalings_give_floats_that_hold_the_values(stored: type, result: type) -> None:
    values = rescaled(np.array([-3, 7], dtype=stored), slope=0.5, intercept=0.25)
    assert values.dtype == result
    assert values.tolist() == [-1.25, 3.75]
