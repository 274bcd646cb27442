"""Small labelled scans as files, in the layouts of the datasets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

WriteImage = Callable[..., None]


@pytest.fixture(scope="session")
def write_image() -> WriteImage:
    """Writes an array with axes R, A, S to any format SimpleITK knows."""

    def write(path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] = (4.0, 0.8, 0.7)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
        image.SetSpacing(spacing_mm)
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS axes in SimpleITK's LPS world
        image.SetOrigin((11.0, -23.0, 5.5))
        SimpleITK.WriteImage(image, str(path))

    return write


@pytest.fixture(scope="session")
def spine() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Scan and SPIDER labels of a stack of boxes: vertebrae 1 to 3, 104, discs 201 to 203 and the canal."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = np.zeros((5, 48, 96), dtype=np.uint16)
        labels[1:4, 8:16, 4:92] = 100
        for n in (1, 2, 3):
            bottom = 6 + (n - 1) * 26
            labels[:, 18:38, bottom : bottom + 6] = 200 + n
            labels[:, 18:38, bottom + 6 : bottom + 26] = n
        labels[:, 18:38, 86:] = 104
        scan = rng.normal(100, 10, labels.shape) + 5 * (labels % 100)
        return scan.clip(0).astype(np.uint16), labels

    return make


@pytest.fixture
def spider_folder(
    tmp_path: Path, write_image: WriteImage, spine: Callable[[int], tuple[np.ndarray, ...]]
) -> Path:
    """Three scans of two patients in SPIDER's layout."""
    root = tmp_path / "spider"
    for seed, stem in enumerate(("1_t1", "1_t2", "2_t2_SPACE")):
        scan, labels = spine(seed)
        write_image(root / "images" / f"{stem}.mha", scan)
        write_image(root / "masks" / f"{stem}.mha", labels)
    return root
