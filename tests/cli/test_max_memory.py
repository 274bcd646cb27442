"""A chest of 512 × 512 × 600 voxels and twenty prompts in 4 GB, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from nomina.anatomy.schemes import read_label_map
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume
from nomina.imaging.write import write
from nomina.phantoms.lung_plan import LungConfig
from nomina.phantoms.lung_render import render_lung
from nomina.phantoms.lung_vessels import sample_lung

SHAPE = (512, 512, 600)
SIDED = ("left pulmonary artery", "right pulmonary artery", "left pulmonary vein", "right pulmonary vein")
TWENTY = (
    *SIDED,
    *("pulmonary artery", "pulmonary arteries", "lung arteries", "arteria pulmonalis"),
    *("pulmonary vein", "pulmonary veins", "lung veins", "vena pulmonalis"),
    *("arteries of the left lung", "arteries of the right lung", "veins of the left lung"),
    *(
        "veins of the right lung",
        "left lung arteries",
        "right lung arteries",
        "left lung veins",
        "right lung veins",
    ),
)

SEGMENT = """
import atexit
from nomina.cli.main import main
from nomina.inference.plan import peak_bytes
atexit.register(lambda: print(peak_bytes()))
main()
"""


@pytest.fixture(scope="module")
def large_chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A child's chest that fills a large scan: as many voxels as an adult's, a fifth of the tiles."""
    child = LungConfig(
        scale=(0.6, 0.6), spacing_mm=(1.5, 1.5, 1.5), smallest_diameter_mm=(1.5, 1.6), margin_mm=20.0
    )
    coarse = render_lung(sample_lung(0, child), 0, "arterial")
    zoom = np.divide(SHAPE, coarse.grid.shape)
    voxels = ndimage.zoom(coarse.array, zoom, order=1, mode="nearest", grid_mode=True)
    affine = coarse.grid.affine @ np.diag([*(1 / zoom), 1.0])
    path = tmp_path_factory.mktemp("large") / "chest.nii"
    write(Volume(voxels, Grid(SHAPE, affine), modality="CT"), path)
    return path


def segment(scan: Path, output: Path, *options: str) -> int:
    """The most bytes of memory that `nomina segment` held."""
    words = [argument for prompt in TWENTY for argument in ("-p", prompt)]
    command = [sys.executable, "-c", SEGMENT, "segment", str(scan), *words, "-m", "lung-vessels-ct"]
    command += ["--device", "cpu", "-o", str(output), *options]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(run.stdout.split()[-1])


@pytest.mark.slow
def test_twenty_prompts_on_a_large_ct_take_less_than_4_gb_and_give_the_same_mask(
    large_chest: Path, tmp_path: Path
) -> None:
    assert len(set(TWENTY)) == 20
    most = segment(large_chest, tmp_path / "limited.nii.gz", "--max-memory", "4G")
    segment(large_chest, tmp_path / "free.nii.gz")
    limited, free = (read_label_map(tmp_path / name) for name in ("limited.nii.gz", "free.nii.gz"))
    planned = json.loads((tmp_path / "limited.json").read_text(encoding="utf-8"))["memory"]["peak_bytes"]
    assert most <= planned < 4e9
    assert limited.grid.shape == SHAPE
    assert set(limited.present()) == set(SIDED)
    np.testing.assert_array_equal(limited.array, free.array)
