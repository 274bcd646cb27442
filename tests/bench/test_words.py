"""Words without language: what their vectors are, and that a table is written once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.bench.words import make_word_table, missing_words, word_table, word_table_path
from nomina.language.bank import PromptBank
from nomina.language.encoders import load_encoder
from nomina.language.vessel_prompts import SIDED_VESSELS, VESSELS, all_vessel_sentences, class_sentences
from nomina.learning.recipe import BlockRecipe, BlockWordsConfig, DataSource
from nomina.networks.la_caf import NOMINA

NAMES = (*VESSELS, *SIDED_VESSELS)


def vectors(source: str, seed: int = 0, wording: str = "la_caf") -> np.ndarray:
    return word_table(source, seed).vectors_for(class_sentences(NAMES, wording))


def test_one_hot_vectors_are_at_right_angles_and_as_long_as_language() -> None:
    found = vectors("one-hot")
    language = load_encoder("minilm").encode(all_vessel_sentences(NAMES))
    length = np.linalg.norm(language, axis=1).mean()
    np.testing.assert_allclose(found @ found.T, length**2 * np.eye(6), rtol=1e-5, atol=1e-4)
    assert found.shape == (6, language.shape[1])


def test_random_vectors_follow_from_the_seed_and_have_the_same_length() -> None:
    first, same, other = vectors("random", 1), vectors("random", 1), vectors("random", 2)
    np.testing.assert_array_equal(first, same)
    lengths = np.linalg.norm(np.concatenate([first, other, vectors("one-hot")]), axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
    cosines = first @ np.concatenate([first, other]).T / lengths[0] ** 2
    assert np.abs(cosines[~np.eye(6, 12, dtype=bool)]).max() < 0.3


def test_a_class_hears_one_vector_in_every_wording_and_the_constant_says_nothing() -> None:
    for source in ("one-hot", "random"):
        np.testing.assert_array_equal(vectors(source), vectors(source, wording="nomina"))
    constant = word_table("constant", 0)
    assert set(constant.texts) == set(all_vessel_sentences(NAMES))
    assert (constant.vectors == constant.vectors[0]).all()
    assert np.linalg.norm(constant.vectors[0]) > 1


def test_a_table_is_written_once_and_again_where_it_lacks_sentences(tmp_path: Path) -> None:
    path = word_table_path(tmp_path / "words", "random", 3)
    assert path == tmp_path / "words" / "random-seed3.npz"
    assert word_table_path("w", "one-hot", 3) == Path("w/one-hot.npz")
    make_word_table(path, "random", 3)
    other = word_table("random", 4)
    other.save(path)
    make_word_table(path, "random", 3)
    assert PromptBank.load(path).digest == other.digest
    short = replace(other, texts=other.texts[:2], vectors=other.vectors[:2])
    short.save(path)
    make_word_table(path, "random", 3)
    assert PromptBank.load(path).digest == word_table("random", 3).digest


def test_a_recipe_whose_table_is_not_there_or_lacks_sentences_says_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"

    def reason(encoder: str) -> str | None:
        recipe = BlockRecipe(
            name="r",
            data=(DataSource(folder="x"),),
            structures=VESSELS,
            network=NOMINA,
            words=BlockWordsConfig(encoder=encoder),
        )
        return missing_words(recipe)

    assert reason("minilm") is None
    assert reason(f"table:{path}") == f"there is no table of vectors at {path}"
    table = word_table("one-hot", 0)
    table.save(path)
    assert reason(f"table:{path}") is None
    replace(table, texts=table.texts[:2], vectors=table.vectors[:2]).save(path)
    assert "has no embedding of" in str(reason(f"table:{path}"))
    path.write_bytes(b"no table")
    assert "is not a whole prompt bank" in str(reason(f"table:{path}"))


@pytest.mark.parametrize("source", ["one-hot", "constant"])
def test_sources_without_chance_have_one_table_for_all_seeds(source: str) -> None:
    assert word_table(source, 0).digest == word_table(source, 5).digest
