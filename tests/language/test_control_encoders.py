"""The controls tell sentences apart and know nothing else."""

import numpy as np
import pytest

from nomina.errors import EncoderError, PromptError
from nomina.language.encoders import TextEncoder, build_bank, load_encoder
from nomina.language.prompts import all_sentences
from nomina.learning.prepared import STRUCTURE_PRESETS

TEXTS = all_sentences(STRUCTURE_PRESETS["spider18"])


@pytest.mark.parametrize("name", ["random", "one-hot"])
def test_vectors_are_fixed_and_equally_long_and_say_nothing_about_likeness(name: str) -> None:
    encoder = load_encoder(name)
    assert isinstance(encoder, TextEncoder)
    bank = build_bank(encoder, TEXTS)
    assert bank.provenance.encoder == name
    lengths = np.linalg.norm(bank.vectors, axis=1)
    minilm = np.linalg.norm(load_encoder("minilm").encode(TEXTS[:40]), axis=1).mean()
    np.testing.assert_allclose(lengths, minilm, rtol=0.1)
    np.testing.assert_array_equal(load_encoder(name).encode(TEXTS[5:6]), bank.vectors[5:6])
    likeness = np.abs(bank.similarity() - np.eye(len(TEXTS)))
    assert likeness.max() < (0.3 if name == "random" else 1e-6)


def test_the_spines_of_both_data_sets_have_one_hot_vectors_and_nothing_else_has() -> None:
    encoder = load_encoder("one-hot")
    for structures in STRUCTURE_PRESETS.values():
        assert encoder.encode(all_sentences(structures)).shape[1] == encoder.width
    with pytest.raises(EncoderError, match="the sentences about the spine alone, not 'left lung'"):
        encoder.encode(["left lung"])
    with pytest.raises(PromptError, match="at least one word"):
        encoder.encode([" "])
