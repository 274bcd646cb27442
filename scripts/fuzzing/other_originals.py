"""Valid files other than scans: label descriptions, recipes, schemes, prompt banks, checkpoints, datasets."""

import json
import tempfile
from collections.abc import Iterator
from importlib.resources import files as resource_files
from pathlib import Path

import numpy as np

from fuzzing.cases import Original
from fuzzing.originals import grid, labels
from nomina.imaging.write import write

STRUCTURES = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")

_RECIPE = """\
name: fuzz
data:
  - {folder: data/tiny, weight: 2.0}
network:
  kind: atm_net
  backbone: {kind: residual_unet, stage_channels: [16, 32], stage_blocks: [1, 1]}
  num_slices: 1
words: {encoder: minilm}
sampling: {patch_size: [96, 144]}
train: {steps: 400, learning_rate: 2.0e-3, precision: fp32}
"""


def other_originals() -> Iterator[Original]:
    """One per kind of file; contents are filled in by reading them once."""
    scheme = (resource_files("nomina.anatomy") / "scheme_files" / "spider.yaml").read_bytes()
    yield Original("recipe", "recipe", {"recipe.yaml": _RECIPE.encode()}, "recipe.yaml")
    yield Original("label scheme", "scheme", {"scheme.yaml": scheme}, "scheme.yaml")
    yield _label_description()
    with tempfile.TemporaryDirectory() as folder:
        yield from _checkpoint(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield _dataset(Path(folder))


def _label_description() -> Original:
    names = {1: "L5 vertebra", 2: "L4 vertebra", 3: "L3 vertebra", 100: "spinal canal", 201: "L5-S1 disc"}
    names[202] = "L4-L5 disc"
    entries = [{"label": value, "name": name} for value, name in names.items()]
    text = json.dumps(
        {"format": "nomina-segmentation-1", "scheme": "spider", "structures": entries}, indent=1
    )
    with tempfile.TemporaryDirectory() as folder:
        write(labels(), Path(folder, "seg.nii.gz"))
        data = Path(folder, "seg.nii.gz").read_bytes()
    return Original(
        "label description", "sidecar", {"seg.nii.gz": data, "seg.json": text.encode()}, "seg.nii.gz"
    )


def _checkpoint(folder: Path) -> Iterator[Original]:
    import torch

    from nomina.language.bank import PromptBank, Provenance
    from nomina.language.prompts import all_sentences
    from nomina.networks.build import build_network
    from nomina.networks.checkpoint import CheckpointConfig, save_checkpoint
    from nomina.networks.plain import PlainConfig
    from nomina.networks.residual_unet import ResidualUNetConfig

    torch.set_num_threads(1)
    torch.manual_seed(0)
    cfg = PlainConfig(backbone=ResidualUNetConfig(stage_channels=(8, 16), stage_blocks=(1, 1)), num_slices=1)
    texts = all_sentences(STRUCTURES)
    provenance = Provenance(
        encoder="random", source="none", revision=None, pooling="none", lower_case=None, normalised=False,
        width=8,
        licence="CC0-1.0",
    )  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(len(texts), 8)).astype(np.float32)
    bank = PromptBank(texts, vectors, provenance)
    network = build_network(cfg, STRUCTURES, text_width=8)
    weights, out = network.state_dict(), folder / "checkpoint"
    save_checkpoint(
        out, weights=weights, cfg=CheckpointConfig(network=cfg), structures=STRUCTURES, bank=bank, run={}
    )
    content = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    yield Original("checkpoint", "checkpoint", content, ".", checked_from=dict.fromkeys(content, 0))
    bank_file = {"bank.npz": content["bank.npz"]}
    yield Original("prompt bank", "bank", bank_file, "bank.npz", checked_from={"bank.npz": 0})


def _dataset(folder: Path) -> Original:
    from nomina.learning.prepared import (
        PrepareConfig,
        PreparedDataset,
        PreparedEntry,
        write_array,
        write_index,
    )

    rng = np.random.default_rng(1)
    entries = []
    for case_id in ("a", "b"):
        write_array(folder, case_id, "image", rng.normal(size=(4, 8, 8)).astype(np.float16))
        write_array(folder, case_id, "labels", rng.integers(0, 5, (4, 8, 8), dtype=np.uint8))
        affine = tuple(tuple(float(value) for value in row) for row in grid().affine)
        entries.append(
            PreparedEntry(
                folder=folder, id=case_id, patient=case_id, dataset="fuzz", shape=(4, 8, 8), affine=affine,
                spacing_mm=grid().spacing_mm, voxel_counts={}, num_ignored_voxels=0,
            )
        )  # fmt: skip
    write_index(PreparedDataset(folder, PrepareConfig(), tuple(entries), is_complete=True))
    content = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return Original("prepared dataset", "dataset", content, ".")
