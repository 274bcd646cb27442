"""Tables on whole scans: NumPy's own result, without its wide indices."""

import tracemalloc

import numpy as np
import pytest

from nomina.imaging.lookup import looked_up


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64])
def test_it_is_numpys_indexing(dtype: type) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 50, (4, 5, 6)).astype(dtype).transpose(2, 0, 1)
    for table in (rng.integers(0, 99, 50), rng.random(50) > 0.5, rng.random(50, dtype=np.float32)):
        result = looked_up(table, indices)
        assert result.dtype == table.dtype
        np.testing.assert_array_equal(result, table[indices])


def test_it_holds_little_more_than_its_result() -> None:
    indices = np.zeros((64, 100, 100), dtype=np.uint8)
    tracemalloc.start()
    looked_up(np.zeros(1, dtype=np.uint8), indices)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * indices.size
