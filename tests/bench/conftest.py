"""Four coarse phantoms as a folder of scans and as a prepared dataset, and a grid of two networks on them.

Four chests of boxes, prepared, with a split.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write
from nomina.inference.segmenter import Segmenter
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.prompts import all_sentences
from nomina.learning.datasets.folder import folder_cases
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepared import PrepareConfig, chest_config
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.checkpoint import Checkpoint, CheckpointConfig
from nomina.networks.residual_unet import ResidualUNetConfig
from nomina.phantoms.plan import SpineConfig
from nomina.phantoms.render import phantom_case

PHANTOM = SpineConfig(
    in_plane_mm=(3.0, 3.0),
    num_slices=(4, 4),
    thin_slices_probability=0.0,
    num_lumbar=((5, 1.0),),
    sacrum_cut_probability=0.0,
)
STRUCTURES = ("L5 vertebra", "L4 vertebra", "L3 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors: one thread is faster, and sums are taken in one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`scans/` in the layout of a folder dataset, `prepared/`, and `split.json` with two test patients."""
    root = tmp_path_factory.mktemp("bench")
    for part in ("images", "labels"):
        (root / "scans" / part).mkdir(parents=True)
    for patient in range(4):
        volume, truth = phantom_case(patient + 1, "t2", PHANTOM)
        write(volume, root / "scans" / "images" / f"p{patient}.nii.gz")
        write(truth, root / "scans" / "labels" / f"p{patient}.nii.gz")
    (root / "scans" / "dataset.json").write_text(json.dumps({"scheme": "spider", "sequence": "T2"}))
    config = PrepareConfig(structures=STRUCTURES, image=ImagePreparation(in_plane_spacing_mm=4.0))
    prepare_cases(folder_cases(root / "scans"), root / "prepared", config)
    (root / "split.json").write_text(json.dumps({"train": ["p0", "p1"], "validation": ["p2", "p3"]}))
    return root


def base_recipe(root: Path) -> dict[str, Any]:
    return {
        "name": "base",
        "data": [{"folder": str(root / "prepared"), "split": str(root / "split.json")}],
        "scheme": "spider",
        "network": {
            "kind": "atm_net",
            "backbone": {"kind": "residual_unet", "stage_channels": [8, 16], "stage_blocks": [1, 1]},
            "num_slices": 1,
            "fusion_width": 16,
            "contrast_width": 8,
        },
        "sampling": {"patch_size": [32, 48]},
        "train": {
            "steps": 3,
            "batch_size": 1,
            "precision": "fp32",
            "validate_every": 3,
            "log_every": 1,
            "save_minutes": 0.0,
        },
    }


def base_grid(root: Path) -> dict[str, Any]:
    plain = {"kind": "plain", "backbone": base_recipe(root)["network"]["backbone"], "num_slices": 1}
    return {
        "name": "tiny",
        "test": {"dataset": "folder", "folder": str(root / "scans")},
        "variants": {"plain": {"set": {"network": plain}}, "words": {"note": "as in the paper"}},
        "control": "plain",
        "sweeps": [{"variants": ["plain", "words"]}],
    }


@pytest.fixture(scope="session")
def grid_file(phantom_data: Path) -> Callable[..., Path]:
    """Writes the grid of two runs, with sections replaced, and its recipe; returns its path."""

    def make(folder: Path, **changes: Any) -> Path:
        grid = base_grid(phantom_data) | {"recipe": str(folder / "recipe.yaml")} | changes
        (folder / "recipe.yaml").write_text(yaml.safe_dump(base_recipe(phantom_data)))
        (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
        return folder / "grid.yaml"

    return make


@pytest.fixture(scope="session")
def open_segmenter() -> Segmenter:
    """Random weights: every word reaches the masks."""
    bank = build_bank(load_encoder("minilm"), all_sentences(STRUCTURES))
    backbone = ResidualUNetConfig(stage_channels=(8, 16, 16), stage_blocks=(1, 1, 1))
    network = ATMNetConfig(backbone=backbone, fusion_width=32, contrast_width=16, num_slices=1)
    torch.manual_seed(0)
    model = build_network(network, STRUCTURES, text_width=bank.vectors.shape[1]).eval()
    with torch.no_grad():
        for module in model.fusion:
            torch.nn.init.normal_(module.image_out.weight, std=1.0)
        torch.nn.init.normal_(model.head.kernel[-1].weight, std=0.5)
    cfg = CheckpointConfig(network=network, preparation=ImagePreparation(in_plane_spacing_mm=4.0))
    return Segmenter(Checkpoint("open", cfg, STRUCTURES, bank, model, "0" * 64, {}))


@pytest.fixture(scope="session")
def chest_data(
    tmp_path_factory: pytest.TempPathFactory, box_chest: Callable[..., tuple[Volume, LabelMap]]
) -> Path:
    """`scans/` in the layout of a folder dataset, `prepared/`, and `split.json` with two test patients."""
    root = tmp_path_factory.mktemp("chests")
    for part in ("images", "labels"):
        (root / "scans" / part).mkdir(parents=True)
    for patient in range(4):
        volume, truth = box_chest(patient)
        write(volume, root / "scans" / "images" / f"chest{patient}.nii.gz")
        write(truth, root / "scans" / "labels" / f"chest{patient}.nii.gz")
    (root / "scans" / "dataset.json").write_text('{"scheme": "nomina"}')
    config = chest_config(CTPreparation(spacing_mm=4.0))
    prepare_cases(folder_cases(root / "scans"), root / "prepared", config)
    (root / "split.json").write_text(
        json.dumps({"train": ["chest0", "chest1"], "validation": ["chest2", "chest3"]})
    )
    return root
