import hashlib
import importlib.util
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from nomina.errors import EncoderError, PromptError
from nomina.language.bank import PromptBank, Provenance
from nomina.language.bert import Bert, load_int8_bert, unpack_int8
from nomina.language.encoders import MINILM_FOLDER, build_bank, load_encoder, mean_pool
from nomina.language.prompts import BACKGROUND, NUM_PARAPHRASES, TEMPLATE_VERSION, all_sentences, channel_view

TERMS = (
    *("lumbar vertebra", "intervertebral disc", "spinal canal"),
    *("pulmonary artery", "pulmonary vein", "banana"),
)
COSINES = [
    [1.000, 0.545, 0.564, 0.224, 0.114, 0.015],
    [0.545, 1.000, 0.476, 0.139, 0.116, 0.071],
    [0.564, 0.476, 1.000, 0.224, 0.182, 0.138],
    [0.224, 0.139, 0.224, 1.000, 0.756, -0.005],
    [0.114, 0.116, 0.182, 0.756, 1.000, 0.023],
    [0.015, 0.071, 0.138, -0.005, 0.023, 1.000],
]
"""Of the original loader (another code path) on the same int8 weights."""
LEVELS = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9")
SPIDER_STRUCTURES = (
    *(f"{level} vertebra" for level in LEVELS[:8]),
    *("L5-S1 disc", *(f"{upper}-{lower} disc" for lower, upper in pairwise(LEVELS[:8]))),
    "spinal canal",
)


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("model_int8.safetensors", "6868992cab02cadfc05319add902a1314353351e2522f52894b32b34732309a7"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    ],
)
def test_the_shipped_encoder_is_the_published_one(name, sha256):
    assert hashlib.sha256((MINILM_FOLDER / name).read_bytes()).hexdigest() == sha256
    assert sha256 in (MINILM_FOLDER / "NOTICE").read_text(encoding="utf-8")


def test_the_shipped_encoder_carries_its_licence():
    assert "Apache License" in (MINILM_FOLDER / "LICENSE").read_text(encoding="utf-8")


def test_minilm_gives_the_reference_cosines(minilm):
    bank = build_bank(minilm, TERMS)
    np.testing.assert_allclose(bank.similarity(), COSINES, atol=0.01)
    canal, banana = bank.similarity()[1, [2, 5]]
    assert canal > banana + 0.3


def test_minilm_says_where_it_comes_from(minilm):
    assert (minilm.name, minilm.width) == ("minilm", 384)
    assert minilm.provenance.revision.startswith("1110a243")
    assert minilm.provenance.lower_case is True
    assert minilm.provenance.pooling == "mean"
    assert minilm.provenance.licence == "Apache-2.0"


def test_a_text_has_the_same_vector_alone_and_beside_long_ones(minilm):
    long = " ".join(["the fourth lumbar vertebra above the sacrum"] * 12)
    texts = ["disc", long, "spinal canal", "L4 vertebra"]
    together = minilm.encode(texts)
    alone = np.concatenate([minilm.encode([text]) for text in texts])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_more_texts_than_one_batch_keep_their_order(minilm):
    texts = [f"vertebra number {n}" for n in range(70)]
    vectors = minilm.encode(texts)
    np.testing.assert_allclose(vectors[62:68], minilm.encode(texts[62:68]), atol=2e-6)


def test_case_does_not_matter_to_minilm(minilm):
    np.testing.assert_array_equal(minilm.encode(["l4 VERTEBRA"]), minilm.encode(["L4 vertebra"]))


def test_no_texts_give_no_vectors(minilm):
    assert minilm.encode([]).shape == (0, 384)


def test_a_blank_prompt_is_refused(minilm):
    with pytest.raises(PromptError, match="at least one word"):
        minilm.encode(["disc", "  "])


def test_a_prompt_that_is_too_long_is_refused_not_cut(minilm):
    with pytest.raises(PromptError, match=r"256 word pieces, this has 302"):
        minilm.encode(["disc " * 300])
    assert minilm.encode(["disc " * 254]).shape == (1, 384)


def test_the_channel_views_of_a_model_stay_apart(minilm):
    names = (*SPIDER_STRUCTURES, BACKGROUND)
    bank = build_bank(minilm, all_sentences(SPIDER_STRUCTURES))
    for paraphrase in range(NUM_PARAPHRASES):
        cosines = bank.similarity([channel_view(name, paraphrase) for name in names], centred=True)
        off_diagonal = cosines[~np.eye(len(names), dtype=bool)]
        assert off_diagonal.max() < 0.95, f"wording {paraphrase}: {np.round(cosines, 2)}"
        disc, canal = names.index("L4-L5 disc"), names.index("spinal canal")
        assert cosines[disc, names.index("L3-L4 disc")] > cosines[disc, canal]


def test_a_bank_keeps_repeated_texts_once_and_records_the_templates(minilm):
    bank = build_bank(minilm, ["disc", "canal", "disc"])
    assert bank.texts == ("disc", "canal")
    assert bank.provenance.template_version == TEMPLATE_VERSION
    assert bank.provenance.encoder == "minilm"


def test_a_table_answers_like_the_encoder_that_made_it(minilm, tmp_path):
    build_bank(minilm, TERMS).save(tmp_path / "terms.npz")
    table = load_encoder(f"table:{tmp_path / 'terms.npz'}")
    assert (table.name, table.width) == ("minilm", 384)
    np.testing.assert_array_equal(table.encode(TERMS[::-1]), minilm.encode(TERMS)[::-1])
    with pytest.raises(EncoderError, match="apple"):
        table.encode(["apple"])


def test_real_clip_embeddings_go_through_a_table(shared_data, tmp_path):
    folder = shared_data.parent / "weights" / "detic-clip-text-vitb32"
    if not folder.is_dir():
        pytest.skip("the Detic tables of CLIP embeddings are not here: expected weights/ beside the data")
    categories = json.loads((folder / "lvis_v1_train_cat_info.json").read_text())
    names = [category["name"] for category in sorted(categories, key=lambda category: category["id"])]
    vectors = np.load(folder / "lvis_v1_clip_a+cname.npy").astype(np.float32)
    provenance = Provenance(
        encoder="clip-vit-b32",
        source="facebookresearch/Detic, prompt 'a {name}'",
        revision=None,
        pooling="projected end of text",
        lower_case=True,
        normalised=False,
        width=512,
        licence="Apache-2.0",
    )
    PromptBank(tuple(f"a {name}" for name in names), vectors, provenance).save(tmp_path / "lvis.npz")
    table = load_encoder(f"table:{tmp_path / 'lvis.npz'}")
    bank = build_bank(table, ["a dog", "a cat", "a banana", "a apple"])
    assert bank.similarity()[0, 1] == pytest.approx(0.936, abs=0.01)
    assert bank.similarity()[2, 3] == pytest.approx(0.844, abs=0.01)
    np.testing.assert_array_equal(table.encode(["a dog"])[0], vectors[names.index("dog")])


def test_a_missing_table_and_an_unknown_encoder_are_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"none\.npz"):
        load_encoder(f"table:{tmp_path / 'none.npz'}")
    with pytest.raises(EncoderError, match="minilm, bio-clinicalbert"):
        load_encoder("word2vec")
    with pytest.raises(EncoderError, match="takes no source"):
        load_encoder("minilm", source="elsewhere")


def test_a_broken_installation_is_reported(tmp_path):
    (tmp_path / "config.json").write_bytes((MINILM_FOLDER / "config.json").read_bytes())
    with pytest.raises(EncoderError, match="install nomina again"):
        load_int8_bert(tmp_path)
    (tmp_path / "model_int8.safetensors").write_bytes(b"garbage")
    with pytest.raises(EncoderError, match="install nomina again"):
        load_int8_bert(tmp_path)


def test_mean_pooling_leaves_padding_out():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    is_token = torch.tensor([[True, True, False], [True, True, True]])
    assert mean_pool(tokens, is_token).tolist() == [[2.0], [7.0]]


def test_without_transformers_the_hub_encoders_name_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EncoderError, match=r"pip install 'nomina\[text\]', or use 'minilm'.*table:"):
        load_encoder("bio-clinicalbert", offline=True)


def test_torchvision_is_not_installed():
    # Beside CPU torch it does not load, and then every model of transformers fails to import.
    assert importlib.util.find_spec("torchvision") is None


# --- with transformers (extra nomina[text]) ---------------------------------------------------------------

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "l", "##4", "disc", "spinal", "canal", "the", ".")


def write_hub_layout(folder: Path, *, prefix: str = "bert.") -> torch.nn.Module:
    """A tiny random BERT in the file layout of emilyalsentzer/Bio_ClinicalBERT; returns the bare model."""
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    settings = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 40,
    }
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**settings)).eval()
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "bert"}))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    state = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    state["cls.predictions.bias"] = torch.zeros(len(WORDS))
    torch.save(state, folder / "pytorch_model.bin")
    return model


def test_bio_clinicalbert_loads_from_the_hub_layout(tmp_path):
    model = write_hub_layout(tmp_path)
    encoder = load_encoder("bio-clinicalbert", source=tmp_path, revision="d5892b39")
    assert (encoder.name, encoder.width) == ("bio-clinicalbert", 24)
    assert encoder.provenance.revision == "d5892b39"
    assert encoder.provenance.source == tmp_path.name
    assert encoder.provenance.lower_case is True  # the hub has no tokenizer_config, so it lower-cases
    ids = torch.tensor([[2, 8, 9, 3]])
    hidden = model(input_ids=ids).last_hidden_state.detach()
    np.testing.assert_allclose(encoder.encode(["Spinal canal"]), hidden.mean(dim=1), atol=1e-6)
    together = encoder.encode(["the spinal canal . disc", "Spinal canal"])
    np.testing.assert_allclose(together[1:], hidden.mean(dim=1), atol=1e-6)


def test_the_limit_of_a_hub_encoder_is_its_own(tmp_path):
    write_hub_layout(tmp_path)
    with pytest.raises(PromptError, match="40 word pieces"):
        load_encoder("bio-clinicalbert", source=tmp_path).encode(["disc " * 50])


def test_weights_under_other_names_are_refused_not_filled_with_noise(tmp_path):
    write_hub_layout(tmp_path, prefix="other.")
    with pytest.raises(EncoderError, match=r"lack .* tensors"):
        load_encoder("bio-clinicalbert", source=tmp_path)


def test_missing_weights_name_the_alternatives(tmp_path):
    pytest.importorskip("transformers", exc_type=ImportError)
    with pytest.raises(EncoderError, match=r"source=FOLDER.*'minilm'.*table:"):
        load_encoder("bio-clinicalbert", source=tmp_path)


def test_offline_nothing_is_downloaded(tmp_path, monkeypatch):
    pytest.importorskip("transformers", exc_type=ImportError)
    with pytest.raises(EncoderError, match="only looked for on this computer"):
        load_encoder("clip-vit-b32", source="nobody/nothing", offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderError, match="only looked for on this computer"):
        load_encoder("bio-clinicalbert", source="nobody/nothing")


def test_clip_loads_from_a_folder_and_pools_at_the_end_of_text(shared_data, tmp_path):
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    tokenizer_folder = shared_data.parent / "weights" / "clip-tokenizer" / "hf"
    if not tokenizer_folder.is_dir():
        pytest.skip("the CLIP tokenizer is not here: expected weights/clip-tokenizer/hf beside the data")
    torch.manual_seed(0)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=text | {"projection_dim": 16, "eos_token_id": 49407, "bos_token_id": 49406},
        vision_config=text | {"image_size": 32, "patch_size": 16, "projection_dim": 16},
        projection_dim=16,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    for file in tokenizer_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    encoder = load_encoder("clip-vit-b32", source=tmp_path)
    assert (encoder.name, encoder.width) == ("clip-vit-b32", 16)
    assert encoder.provenance.pooling == "projected end of text"
    texts = ["hello world", "the fourth lumbar vertebra above the sacrum"]
    together, alone = encoder.encode(texts), np.concatenate([encoder.encode([t]) for t in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    ids = torch.tensor([[49406, 3306, 1002, 49407]])  # of OpenAI's tokenizer
    tower = transformers.CLIPTextModelWithProjection.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = tower(input_ids=ids)
    np.testing.assert_allclose(together[:1], expected.text_embeds, atol=1e-5)
    with pytest.raises(PromptError, match="77 word pieces"):
        encoder.encode(["disc " * 90])


def test_our_bert_equals_the_one_of_transformers():
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    settings = json.loads((MINILM_FOLDER / "config.json").read_text())
    theirs = transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False).eval()
    theirs.load_state_dict(unpack_int8(MINILM_FOLDER / "model_int8.safetensors"), strict=False)
    ours = load_int8_bert(MINILM_FOLDER)
    assert isinstance(ours, Bert)
    ids = torch.tensor([[101, 1048, 2549, 102, 0, 0], [101, 5860, 2090, 1048, 2549, 102]])
    is_token = ids != 0
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=is_token.long()).last_hidden_state
        found = ours(ids, is_token)
    torch.testing.assert_close(found[is_token], expected[is_token], atol=2e-5, rtol=0)


def test_a_bundled_encoder_of_damaged_settings_is_to_be_installed_again(tmp_path, spoil_json):
    (tmp_path / "model_int8.safetensors").symlink_to(MINILM_FOLDER / "model_int8.safetensors")
    spoil_json(tmp_path / "config.json")
    with pytest.raises(EncoderError, match=r"is incomplete .*; install nomina again"):
        load_int8_bert(tmp_path)
