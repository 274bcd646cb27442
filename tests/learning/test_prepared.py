"""Files of a prepared dataset: whole, or not there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.errors import OutputError
from nomina.learning.prepared import write_array


def test_an_array_that_cannot_be_written_leaves_the_earlier_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = np.arange(8, dtype=np.float16).reshape(2, 2, 2)
    write_array(tmp_path, "a", "image", old)

    def half(file: Any, array: np.ndarray) -> None:
        (Path(file) if isinstance(file, (str, Path)) else Path(file.name)).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(OutputError, match=r"a\.image\.npy cannot be written: .*No space left"):
        write_array(tmp_path, "a", "image", old + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.image.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "a.image.npy"), old)
