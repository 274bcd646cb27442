"""A small checkpoint with random weights: enough to test everything but the anatomy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nomina.imaging.preparation import ImagePreparation
from nomina.language.bank import PromptBank
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.prompts import all_sentences
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.checkpoint import CheckpointConfig, save_checkpoint
from nomina.networks.residual_unet import ResidualUNetConfig

STRUCTURES = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")


@pytest.fixture(scope="session")
def small_bank() -> PromptBank:
    return build_bank(load_encoder("minilm"), all_sentences(STRUCTURES))


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory, small_bank: PromptBank) -> Path:
    network = ATMNetConfig(
        backbone=ResidualUNetConfig(stage_channels=(8, 16, 16), stage_blocks=(1, 1, 1)),
        fusion_width=32,
        contrast_width=16,
    )
    torch.manual_seed(0)
    model = build_network(network, STRUCTURES, text_width=small_bank.vectors.shape[1])
    with torch.no_grad():
        for module in model.fusion:
            torch.nn.init.normal_(module.image_out.weight, std=0.2)
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    save_checkpoint(
        folder,
        weights=model.state_dict(),
        cfg=CheckpointConfig(network=network, preparation=ImagePreparation(in_plane_spacing_mm=1.5)),
        structures=STRUCTURES,
        bank=small_bank,
        run={},
    )
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
