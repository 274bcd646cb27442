"""LA-CAF learns: two tubes that differ in place and a little in brightness become artery and vein."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nomina.language.encoders import build_bank, load_encoder
from nomina.language.vessel_prompts import VESSELS, class_sentences
from nomina.learning import vessel_losses
from nomina.learning.skeletons import tubed_skeleton
from nomina.learning.vessel_losses import vessel_objective
from nomina.networks.build import build_network, build_words
from nomina.networks.genesis_unet import GenesisUNetConfig
from nomina.networks.la_caf import NOMINA

TINY = replace(
    NOMINA,
    backbone=GenesisUNetConfig(stage_channels=(8, 16, 16), norm="instance"),
    adapter_hidden=16,
    width=32,
    num_heads=4,
    norm_groups=4,
)


def two_tubes() -> tuple[Tensor, Tensor]:
    """A block `1 1 32 32 32` and masks `1 2 32 32 32` of a straight artery and a dimmer vein that winds."""
    i, j, k = np.indices((32, 32, 32))
    artery = (j - 10) ** 2 + (k - 20) ** 2 <= 9
    vein = (j - 22 - 3 * np.sin(i / 5)) ** 2 + (k - 10) ** 2 <= 9
    noise = np.random.default_rng(0).normal(scale=0.1, size=i.shape)
    image = torch.from_numpy(0.3 + 0.5 * artery + 0.4 * vein + noise).float()
    return image[None, None], torch.from_numpy(np.stack([artery, vein]))[None]


@pytest.mark.slow
def test_a_tiny_nomina_preset_overfits_two_tubes_by_their_words() -> None:
    image, reference = two_tubes()
    skeleton = torch.from_numpy(np.stack([tubed_skeleton(mask.numpy()) for mask in reference[0]]))[None]
    encoder = load_encoder("minilm")
    words = build_words(TINY, build_bank(encoder, class_sentences(VESSELS, TINY.wording)), VESSELS)
    torch.manual_seed(0)
    network = build_network(TINY, VESSELS, text_width=encoder.width).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    annotated = torch.ones_like(reference)
    for _ in range(60):
        optimiser.zero_grad()
        parts = vessel_objective(
            network(image, words), reference, annotated, vessel_losses.NOMINA, skeleton=skeleton
        )
        torch.stack(list(parts.values())).sum().backward()
        optimiser.step()
    with torch.no_grad():
        predicted = network.eval()(image, words) > 0
    axes = (0, 2, 3, 4)
    dice = 2 * (predicted & reference).sum(axes) / (predicted.sum(axes) + reference.sum(axes))
    assert dice.min() > 0.95
