"""Swapped words reach the network: they exchange the classes of one that reads them, and of no other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nomina.anatomy.structures import structure
from nomina.assessment.evaluate import evaluate
from nomina.bench.vessel_modes import VesselServer, folded, with_swapped_words
from nomina.bench.words import WordSource, word_table
from nomina.errors import CheckpointError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.segmenter import Segmenter
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.vessel_prompts import (
    SIDED_VESSELS,
    VESSELS,
    all_vessel_sentences,
    class_sentences,
)
from nomina.learning.cases import Case
from nomina.networks.build import build_network
from nomina.networks.checkpoint import Checkpoint, CheckpointConfig
from nomina.networks.genesis_unet import GenesisUNetConfig
from nomina.networks.la_caf import FAITHFUL, LACAF, NOMINA, LACAFConfig
from nomina.networks.words import ClassPrompts

BACKBONE = GenesisUNetConfig(stage_channels=(4, 8), norm="instance")
SMALL = {"backbone": BACKBONE, "width": 8, "adapter_hidden": 8, "num_heads": 2, "norm_groups": 2}
OURS, AUTHORS = replace(NOMINA, **SMALL), replace(FAITHFUL, **SMALL, axis_voxels=4)
BoxChest = Callable[..., tuple[Volume, LabelMap]]


def opened(cfg: LACAFConfig, structures: tuple[str, ...], source: WordSource | None = None) -> Segmenter:
    """Random weights that hear MiniLM or words without language."""
    bank = build_bank(load_encoder("minilm"), all_vessel_sentences(structures))
    if source is not None:
        table = word_table(source, seed=0)
        bank = replace(table, texts=bank.texts, vectors=table.vectors_for(bank.texts))
    torch.manual_seed(0)
    network = build_network(cfg, structures, text_width=384).eval()
    config = CheckpointConfig(
        network=cfg,
        preparation=CTPreparation(spacing_mm=4.0),
        block_size=(8, 8, 8),
        modality="CT",
        scheme="nomina",
    )
    return Segmenter(Checkpoint("open", config, structures, bank, network, "0" * 64, {}))


@torch.no_grad()
def logits(segmenter: Segmenter) -> Tensor:
    patch = torch.rand(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    return segmenter.checkpoint.network(patch, segmenter.checkpoint.words())


@pytest.mark.parametrize("cfg", [OURS, AUTHORS], ids=["nomina", "faithful"])
@pytest.mark.parametrize("structures", [VESSELS, SIDED_VESSELS], ids=["two", "four"])
def test_swapped_words_swap_the_classes_where_words_alone_tell_them_apart(
    cfg: LACAFConfig, structures: tuple[str, ...]
) -> None:
    exchanged = [1, 0] if structures == VESSELS else [1, 0, 3, 2]
    shared = opened(replace(cfg, is_adapter_shared=True), structures)
    right, swapped = logits(shared), logits(with_swapped_words(shared))
    torch.testing.assert_close(swapped, right[:, exchanged])
    assert (right - right[:, exchanged]).abs().max() > 1e-3
    own = opened(cfg, structures)
    assert (logits(with_swapped_words(own)) - logits(own)[:, exchanged]).abs().max() > 1e-3


@pytest.mark.parametrize("cfg", [OURS, AUTHORS], ids=["nomina", "faithful"])
def test_one_sentence_for_all_leaves_the_classes_to_their_adapters(cfg: LACAFConfig) -> None:
    shared = logits(opened(replace(cfg, is_adapter_shared=True), VESSELS, "constant"))
    torch.testing.assert_close(shared[:, 0], shared[:, 1])
    own = logits(opened(cfg, VESSELS, "constant"))
    assert (own[:, 0] - own[:, 1]).abs().max() > 1e-3


def test_every_wording_is_swapped_and_nothing_else() -> None:
    before = opened(OURS, SIDED_VESSELS)
    after = with_swapped_words(before).checkpoint.bank
    counterparts = tuple(SIDED_VESSELS[n] for n in (1, 0, 3, 2))
    for paraphrase in range(3):
        heard = after.vectors_for(class_sentences(SIDED_VESSELS, "nomina", paraphrase))
        meant = before.checkpoint.bank.vectors_for(class_sentences(counterparts, "nomina", paraphrase))
        np.testing.assert_array_equal(heard, meant)
    changed = (before.checkpoint.bank.vectors != after.vectors).any(axis=1)
    assert changed.sum() == 3 * 4
    lonely = replace(before, checkpoint=replace(before.checkpoint, structures=SIDED_VESSELS[:1]))
    with pytest.raises(CheckpointError, match="'left pulmonary artery' has no counterpart"):
        with_swapped_words(lonely)


class Reader(LACAF):
    """Reads its words: what hears the vector of arteries finds 450 HU, all else 250 HU."""

    artery: Tensor

    def forward(self, patch: Tensor, words: ClassPrompts) -> Tensor:
        hu = 1600 * patch[:, 0] - 1000
        bright, dark = (hu - 350) / 10, torch.minimum(hu - 150, 350 - hu) / 10
        is_artery = [torch.equal(vector, self.artery) for vector in words.channel]
        return torch.stack([bright if artery else dark for artery in is_artery], dim=1)


def test_a_network_that_reads_its_words_calls_arteries_veins(box_chest: BoxChest) -> None:
    segmenter = opened(OURS, VESSELS)
    network = Reader(OURS, num_classes=2, text_width=384).eval()
    network.artery = segmenter.checkpoint.words().channel[0]
    segmenter = replace(segmenter, checkpoint=replace(segmenter.checkpoint, network=network))
    volume, truth = box_chest()
    nowhere = Path("nowhere")
    case = Case("a", "a", nowhere, nowhere, "nomina", "boxes", load=lambda case: (volume, truth))
    server = VesselServer(segmenter, (case,))
    found = {
        mode: evaluate(server.comparable(server.predict(0, mode)), folded(truth)).trees
        for mode in ("named", "swapped")
    }
    assert [(tree.tree, tree.dice, tree.swap_rate) for tree in found["named"]] == [
        ("artery", 1, 0),
        ("vein", 1, 0),
    ]
    assert [(tree.dice, tree.swap_rate) for tree in found["swapped"]] == [(0, 1), (0, 1)]


def test_folding_joins_sides_and_trunk_and_drops_what_is_no_vessel() -> None:
    names = {1: "pulmonary trunk", 2: "left pulmonary artery", 3: "right pulmonary vein", 4: "left atrium"}
    array = np.array([[[0, 1, 2, 3, 4, 9]]], dtype=np.uint8)
    grid = Grid(array.shape, np.eye(4))
    found = folded(LabelMap(array, grid, names=names, scheme="prepared", ignored=frozenset({9})))
    artery, vein = (structure(name).label for name in VESSELS)
    assert found.array.ravel().tolist() == [0, artery, artery, vein, 0, 255]
    assert found.names == {artery: "pulmonary artery", vein: "pulmonary vein"}
    assert found.ignored == {255}
