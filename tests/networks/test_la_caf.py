"""LA-CAF as a whole: its size, what its words and its windows do, and that every part learns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nomina.errors import ConfigError, PromptError
from nomina.language.bank import PromptBank, Provenance
from nomina.language.encoders import build_bank, load_encoder
from nomina.language.vessel_prompts import SIDED_VESSELS, VESSELS, all_vessel_sentences
from nomina.networks.build import build_network, build_words
from nomina.networks.genesis_unet import GenesisUNetConfig
from nomina.networks.la_caf import FAITHFUL, LACAF, NOMINA, LACAFConfig
from nomina.networks.layers.adapters import AttentionPooling, AxisMLP
from nomina.networks.layers.gates import MinMaxGate, PromptAttention
from nomina.networks.words import ClassPrompts

SMALL = {"adapter_hidden": 8, "width": 16, "num_heads": 4, "norm_groups": 4}
TINY_FAITHFUL = replace(FAITHFUL, backbone=GenesisUNetConfig(stage_channels=(8, 16)), axis_voxels=4, **SMALL)
TINY_NOMINA = replace(
    NOMINA, backbone=GenesisUNetConfig(stage_channels=(8, 16, 24, 32), norm="instance"), **SMALL
)
PRESETS = pytest.mark.parametrize(
    ("cfg", "structures", "side"),
    [(TINY_FAITHFUL, SIDED_VESSELS, 8), (TINY_NOMINA, VESSELS, 16)],
    ids=["faithful", "nomina"],
)
Structures = tuple[str, ...]


def build(cfg: LACAFConfig, structures: Structures, seed: int = 0) -> LACAF:
    torch.manual_seed(seed)
    return build_network(cfg, structures, text_width=12).eval()


def words_for(structures: Structures, seed: int = 0) -> ClassPrompts:
    vectors = torch.randn(len(structures), 12, generator=torch.Generator().manual_seed(seed))
    return ClassPrompts(vectors)


def blocks(side: int, num_blocks: int = 2) -> Tensor:
    return torch.randn(num_blocks, 1, side, side, side, generator=torch.Generator().manual_seed(1))


def num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_faithful_preset_has_the_published_size_part_by_part() -> None:
    with torch.device("meta"):
        network = build_network(FAITHFUL, SIDED_VESSELS, text_width=512)
    assert num_parameters(network.backbone) == 19_073_600
    assert num_parameters(network.text_adapters) == 394_752
    assert num_parameters(network.pooling) == 43
    assert num_parameters(network.bottleneck_norm) == 1_024
    assert num_parameters(network.projection) == 131_328
    assert num_parameters(network.fusion) == 0
    assert num_parameters(network.head.controller) == 78_489
    assert num_parameters(network.head.reduce) == 648
    assert num_parameters(network) == 19_679_884
    assert all(p.requires_grad for p in network.parameters())


def test_the_presets_are_the_parts_that_the_table_in_the_module_names() -> None:
    with torch.device("meta"):
        faithful = build_network(FAITHFUL, SIDED_VESSELS, text_width=512)
        ours = build_network(NOMINA, VESSELS, text_width=384)
    assert (type(faithful.pooling), type(faithful.fusion)) == (AxisMLP, MinMaxGate)
    assert (type(ours.pooling), type(ours.fusion)) == (AttentionPooling, PromptAttention)
    assert (faithful.text_adapters.has_residual, ours.text_adapters.has_residual) == (False, True)
    norms = {type(m) for m in faithful.backbone.modules() if "Norm" in type(m).__name__}
    assert norms == {nn.BatchNorm3d}
    assert {type(m) for m in ours.backbone.modules() if "Norm" in type(m).__name__} == {nn.InstanceNorm3d}
    assert isinstance(ours.fusion, PromptAttention)
    assert (ours.fusion.attention.num_heads, ours.fusion.attention.embed_dim) == (8, 256)


def test_the_faithful_preset_takes_a_96_cube_and_nothing_else() -> None:
    network = build(replace(FAITHFUL, backbone=GenesisUNetConfig(stage_channels=(16, 16, 16, 16))), VESSELS)
    with pytest.raises(ConfigError, match=r"patch of\s+96×96×96 as published\), got \(8, 8, 8\)"):
        network(torch.zeros(1, 1, 64, 64, 64), words_for(VESSELS))
    with torch.device("meta"):
        network = build_network(FAITHFUL, SIDED_VESSELS, text_width=512)
        logits = network(torch.empty(2, 1, 96, 96, 96), ClassPrompts(torch.empty(4, 512)))
    assert logits.shape == (2, 4, 96, 96, 96)


@pytest.mark.parametrize("sides", [(16, 16, 16), (24, 16, 8), (8, 40, 16)])
def test_the_nomina_preset_takes_any_multiple_of_8(sides: tuple[int, int, int]) -> None:
    network, patch = build(TINY_NOMINA, VESSELS), torch.randn(1, 1, *sides)
    assert network.divisor == 8
    with torch.no_grad():
        assert network(patch, words_for(VESSELS)).shape == (1, 2, *sides)
        with pytest.raises(ConfigError, match="multiples of 8"):
            network(torch.zeros(1, 1, sides[0], sides[1], 12), words_for(VESSELS))


def test_the_logits_are_the_parts_in_their_published_order() -> None:
    """The data flow of the faithful preset, written out once more around the tested parts."""
    network, words, patch = build(TINY_FAITHFUL, SIDED_VESSELS), words_for(SIDED_VESSELS), blocks(8)
    with torch.no_grad():
        features, bottleneck = network.backbone(patch)
        g = network.pooling(torch.relu(network.bottleneck_norm(bottleneck)))
        v = torch.relu(g) @ network.projection.weight.T + network.projection.bias
        t = network.text_adapters(words.channel)
        similarity = t @ t.T
        scaled = (similarity - similarity.min()) / (similarity.max() - similarity.min())
        gated = torch.stack([scaled @ row.expand(4, -1) for row in v])
        condition = torch.cat([gated, t.expand(2, -1, -1)], dim=-1)
        torch.testing.assert_close(
            network(patch, words), network.head(features, condition), atol=1e-5, rtol=1e-4
        )


@PRESETS
def test_permuting_the_classes_permutes_the_maps(cfg: LACAFConfig, structures: Structures, side: int) -> None:
    """Prompts and their adapters travel together: no class has a place of its own anywhere else."""
    network, words, patch = build(cfg, structures), words_for(structures), blocks(side)
    order = torch.arange(len(structures)).roll(1)
    adapters = network.text_adapters
    with torch.no_grad():
        if adapters.has_residual:
            adapters.blend.copy_(torch.linspace(0.1, 0.9, len(structures)))
        logits = network(patch, words)
        adapters.networks = nn.ModuleList(adapters.networks[int(k)] for k in order)
        if adapters.has_residual:
            adapters.blend.copy_(adapters.blend[order].clone())
        permuted = network(patch, ClassPrompts(words.channel[order]))
    torch.testing.assert_close(permuted, logits[:, order], atol=1e-5, rtol=1e-4)
    assert (logits[:, 0] - logits[:, 1]).abs().max() > 1e-3


@PRESETS
def test_with_one_adapter_for_all_the_words_alone_tell_classes_apart(
    cfg: LACAFConfig, structures: Structures, side: int
) -> None:
    network = build(replace(cfg, is_adapter_shared=True), structures)
    words, patch = words_for(structures), blocks(side)
    order = torch.arange(len(structures)).roll(1)
    with torch.no_grad():
        logits = network(patch, words)
        permuted = network(patch, ClassPrompts(words.channel[order]))
        torch.testing.assert_close(permuted, logits[:, order], atol=1e-5, rtol=1e-4)
        same = network(patch, ClassPrompts(words.channel[:1].expand(len(structures), -1)))
        torch.testing.assert_close(same[:, 0], same[:, 1])


@PRESETS
def test_another_text_gives_another_result(cfg: LACAFConfig, structures: Structures, side: int) -> None:
    network, patch = build(cfg, structures), blocks(side)
    with torch.no_grad():
        one, other = (network(patch, words_for(structures, seed)) for seed in (0, 9))
    assert (one - other).abs().max() > 1e-3


def test_windows_of_a_batch_are_apart_in_the_nomina_preset_and_not_in_the_faithful_one() -> None:
    ours, patch = build(TINY_NOMINA, VESSELS), blocks(16)
    with torch.no_grad():
        together, alone = ours(patch, words_for(VESSELS)), ours(patch[:1], words_for(VESSELS))
        torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
        faithful, patch = build(TINY_FAITHFUL, SIDED_VESSELS), blocks(8)
        words = words_for(SIDED_VESSELS)
        assert (faithful(patch, words)[:1] - faithful(patch[:1], words)).abs().max() > 1e-3
        assert torch.equal(faithful.train()(patch, words), faithful.eval()(patch, words))


@PRESETS
def test_every_parameter_learns_from_one_step(cfg: LACAFConfig, structures: Structures, side: int) -> None:
    network = build(cfg, structures).train()
    if isinstance(network.pooling, AttentionPooling):
        nn.init.normal_(network.pooling.score.weight)
    for adapter in network.text_adapters.networks:
        assert isinstance(adapter, nn.Sequential)
        nn.init.constant_(adapter[2].bias, 0.5)  # type: ignore[arg-type]  # no class's ReLU may be all dead
    network(blocks(side), words_for(structures)).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert idle == []


def test_there_is_one_prompt_per_class() -> None:
    network = build(TINY_NOMINA, VESSELS)
    with pytest.raises(PromptError, match="each of 2 classes, got 4 prompts"):
        network(blocks(16), words_for(SIDED_VESSELS))


def test_the_words_are_those_of_the_presets_wording() -> None:
    encoder = load_encoder("minilm")
    bank = build_bank(encoder, all_vessel_sentences((*SIDED_VESSELS, *VESSELS)))
    faithful = build_words(FAITHFUL, bank, SIDED_VESSELS)
    expected = encoder.encode([f"A computerized tomography of a {side} {vessel}" for side in ("left", "right")
                               for vessel in ("artery", "vein")])  # fmt: skip
    np.testing.assert_allclose(faithful.channel.numpy(), expected, atol=1e-5)
    ours = build_words(NOMINA, bank, VESSELS, paraphrase=2)
    np.testing.assert_allclose(
        ours.channel.numpy(),
        encoder.encode([f"{name} in a computed tomography of the lungs" for name in VESSELS]),
        atol=1e-5,
    )
    torch.manual_seed(0)
    network = build_network(replace(TINY_NOMINA, wording="nomina"), VESSELS, text_width=encoder.width)
    with torch.no_grad():
        logits = network(blocks(16), ours.to("cpu"))
    assert logits.isfinite().all()


@pytest.fixture
def clip_table(shared_data: Path, tmp_path: Path) -> Path:
    """Real CLIP ViT-B/32 text vectors of "a {name}", as a table."""
    folder = shared_data.parent / "weights" / "detic-clip-text-vitb32"
    if not folder.is_dir():
        pytest.skip("CLIP's text embeddings are not here: expected a folder detic-clip-text-vitb32")
    entries = json.loads((folder / "lvis_v1_train_cat_info.json").read_text(encoding="utf-8"))
    names = [entry["name"] for entry in sorted(entries, key=lambda entry: entry["id"])]
    vectors = np.load(folder / "lvis_v1_clip_a+cname.npy").astype(np.float32)
    provenance = Provenance(
        encoder="clip-vit-b32",
        source="Detic lvis_v1_clip_a+cname",
        revision=None,
        pooling="projected end of text",
        lower_case=True,
        normalised=False,
        width=512,
        licence="Apache-2.0",
    )
    PromptBank(tuple(f"a {name}" for name in names), vectors, provenance).save(tmp_path / "clip.npz")
    return tmp_path / "clip.npz"


def test_real_clip_vectors_keep_their_geometry_on_the_residual_path(clip_table: Path) -> None:
    """Of CLIP's 512 axes 256 are kept; which of two pairs is closer survives that and the adapter."""
    texts = ["a dog", "a cat", "a banana", "a apple", "a car_(automobile)", "a knife"]
    bank = build_bank(load_encoder(f"table:{clip_table}"), texts)
    vectors = torch.from_numpy(bank.vectors.copy())
    torch.manual_seed(0)
    ours = build_network(NOMINA, VESSELS, text_width=512).text_adapters
    ours.networks = nn.ModuleList([ours.networks[0]] * 6)
    ours.num_classes, ours.blend = 6, nn.Parameter(torch.full((6,), 0.2))
    with torch.no_grad():
        text = ours(vectors).numpy()
    cosines = bank.similarity(texts, centred=True)
    lengths = np.linalg.norm(text, axis=1)
    pairs = np.triu_indices(6, 1)
    kept = (text @ text.T / np.outer(lengths, lengths))[pairs]
    assert np.corrcoef(cosines[pairs], kept)[0, 1] > 0.9
    assert kept.argmax() == cosines[pairs].argmax() == 0  # dog and cat


def test_real_clip_vectors_run_through_the_faithful_text_branch(clip_table: Path) -> None:
    """Prompts as close as CLIP's: the gate still spans its range, and its maximum is a class with itself."""
    texts = ["a dog", "a cat", "a banana", "a apple"]
    vectors = torch.from_numpy(load_encoder(f"table:{clip_table}").encode(texts).copy())
    torch.manual_seed(0)
    adapters = build_network(
        replace(TINY_FAITHFUL, adapter_hidden=128, width=256), SIDED_VESSELS, text_width=512
    ).text_adapters
    with torch.no_grad():
        text = adapters(vectors)
        condition = MinMaxGate()(torch.ones(1, 256), text, torch.zeros(1, 1, 1, 1, 1))[0]
    norms = np.linalg.norm(vectors.numpy(), axis=1)
    assert 8 < norms.min() < norms.max() < 12  # not normalised, as in the release
    similarity = (text @ text.T).double().numpy()
    scaled = (similarity - similarity.min()) / np.ptp(similarity)
    np.testing.assert_allclose(condition[:, 0], scaled.sum(1), rtol=1e-3)
    assert similarity.max() == similarity.diagonal().max()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"norm_groups": 48}, r"norm_groups must divide.*got 48 for \(64, 512\)"),
        ({"fusion": "attention", "width": 12}, r"num_heads must divide.*got 8 for \(512, 12\)"),
        ({"pooling": "attention", "num_heads": 7}, "num_heads must divide"),
    ],
)
def test_settings_that_make_no_network_are_refused(fault: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LACAFConfig(**fault)  # type: ignore[arg-type]
