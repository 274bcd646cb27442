import dataclasses

import numpy as np
import pytest

from nomina.errors import CheckpointError, EncoderError, OutputError
from nomina.language.bank import PromptBank, Provenance

PROVENANCE = Provenance(
    encoder="test",
    source="nowhere",
    revision=None,
    pooling="mean",
    lower_case=True,
    normalised=False,
    width=3,
    licence="CC0-1.0",
    template_version="1",
)
TEXTS = ("the canal", "a disc – L4/L5", "sacrum ")
VECTORS = np.array([[1, 0, 0], [3, 4, 0], [0, 0, 2]], dtype=np.float32)


@pytest.fixture
def bank() -> PromptBank:
    return PromptBank(TEXTS, VECTORS, PROVENANCE)


def test_a_saved_bank_comes_back_the_same(bank, tmp_path):
    bank.save(tmp_path / "bank.npz")
    loaded = PromptBank.load(tmp_path / "bank.npz")
    assert loaded.texts == TEXTS
    assert loaded.provenance == PROVENANCE
    assert loaded.digest == bank.digest
    np.testing.assert_array_equal(loaded.vectors, VECTORS)
    assert [file.name for file in tmp_path.iterdir()] == ["bank.npz"]


def test_vectors_come_in_the_order_asked(bank):
    np.testing.assert_array_equal(bank.vectors_for([TEXTS[2], TEXTS[0], TEXTS[2]]), VECTORS[[2, 0, 2]])
    assert bank.vectors_for([]).shape == (0, 3)


def test_a_missing_sentence_is_named_with_the_remedy(bank):
    with pytest.raises(EncoderError, match=r"'banana' and 1 more.*build_bank"):
        bank.vectors_for(["the canal", "banana", "apple"])


def test_exchanged_sentences_have_each_others_vectors_and_the_rest_keep_theirs(bank):
    exchanged = bank.exchanged({TEXTS[0]: TEXTS[1], TEXTS[1]: TEXTS[0]})
    np.testing.assert_array_equal(exchanged.vectors_for(TEXTS), VECTORS[[1, 0, 2]])
    assert (exchanged.texts, exchanged.provenance) == (TEXTS, PROVENANCE)
    np.testing.assert_array_equal(bank.vectors, VECTORS)
    with pytest.raises(EncoderError, match="'banana'"):
        bank.exchanged({"banana": TEXTS[0]})


def test_similarity_is_the_cosine(bank):
    expected = [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(bank.similarity(), expected, atol=1e-6)
    np.testing.assert_allclose(bank.similarity(TEXTS[:2]), [[1, 0.6], [0.6, 1]], atol=1e-6)


def test_centred_similarity_subtracts_the_mean_of_the_asked_sentences(bank):
    np.testing.assert_allclose(bank.similarity(TEXTS[:2], centred=True), [[1, -1], [-1, 1]], atol=1e-6)


def test_a_zero_vector_has_similarity_zero():
    bank = PromptBank(TEXTS[:2], np.array([[0.0, 0, 0], [1, 0, 0]]), PROVENANCE)
    np.testing.assert_allclose(bank.similarity(), [[0, 0], [0, 1]])


def test_the_digest_covers_texts_vectors_and_provenance(bank):
    nudged = VECTORS.copy()
    nudged[0, 0] = np.nextafter(nudged[0, 0], 2)
    others = [
        PromptBank(("The canal", *TEXTS[1:]), VECTORS, PROVENANCE),
        PromptBank(TEXTS, nudged, PROVENANCE),
        *(
            PromptBank(TEXTS, VECTORS, dataclasses.replace(PROVENANCE, **change))
            for change in ({"revision": "abc"}, {"lower_case": None}, {"template_version": "2"})
        ),
    ]
    assert len({bank.digest, *(other.digest for other in others)}) == 6
    assert PromptBank(TEXTS, VECTORS, PROVENANCE).digest == bank.digest


def test_vectors_cannot_be_written_to(bank):
    with pytest.raises(ValueError, match="read-only"):
        bank.vectors[0, 0] = 5
    source = VECTORS.copy()
    made = PromptBank(TEXTS, source, PROVENANCE)
    source[:] = 0
    np.testing.assert_array_equal(made.vectors, VECTORS)


@pytest.mark.parametrize(
    ("texts", "vectors", "message"),
    [
        (TEXTS[:2], VECTORS, r"\(2, 3\)"),
        (TEXTS, VECTORS[:, :2], r"\(3, 3\)"),
        (("x", "y", "x"), VECTORS, "'x' is repeated"),
        (TEXTS, VECTORS * [[1], [np.nan], [1]], "L4/L5.* not finite"),
    ],
)
def test_parts_that_do_not_fit_are_refused(texts, vectors, message):
    with pytest.raises(EncoderError, match=message):
        PromptBank(texts, vectors, PROVENANCE)


def test_an_altered_vector_or_sentence_is_noticed(bank, tmp_path):
    path = tmp_path / "bank.npz"
    bank.save(path)
    with np.load(path) as file:
        header, vectors = file["header"], file["vectors"]
    altered = vectors.copy()
    altered[0, 0] += 1e-6
    np.savez(path, header=header, vectors=altered)
    with pytest.raises(CheckpointError, match="was altered"):
        PromptBank.load(path)
    other = np.frombuffer(header.tobytes().replace(b"the canal", b"the cabal"), dtype=np.uint8)
    np.savez(path, header=other, vectors=vectors)
    with pytest.raises(CheckpointError, match="was altered"):
        PromptBank.load(path)


def test_an_incomplete_or_foreign_file_is_refused(bank, tmp_path):
    path = tmp_path / "bank.npz"
    with pytest.raises(CheckpointError, match="no prompt bank at"):
        PromptBank.load(path)
    bank.save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a whole prompt bank"):
            PromptBank.load(path)
    np.savez(path, vectors=VECTORS)
    with pytest.raises(CheckpointError, match="header"):
        PromptBank.load(path)
    np.save(tmp_path / "array.npy", VECTORS)
    with pytest.raises(CheckpointError, match="not a whole prompt bank"):
        PromptBank.load(tmp_path / "array.npy")
    np.savez(path, header=np.array([{"format": 1}], dtype=object), vectors=VECTORS)
    with pytest.raises(CheckpointError, match="not a whole prompt bank"):
        PromptBank.load(path)


def test_an_unwritable_folder_is_reported_and_leaves_nothing(bank, tmp_path):
    with pytest.raises(OutputError, match=r"bank\.npz"):
        bank.save(tmp_path / "missing" / "bank.npz")
    (tmp_path / "bank.npz").mkdir()
    with pytest.raises(OutputError, match=r"bank\.npz"):
        bank.save(tmp_path / "bank.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["bank.npz"]
