"""Words without language, as `table:` files: controls that tell a class's meaning from its mere identity.

    source     each class hears, in whatever wording                    a network that hears it
    one-hot    a direction of its own, at right angles to all others    knows which class, and no more
    random     a direction of its own, drawn from the run's seed        the same, with chance likenesses
    constant   one sentence that names no class, the same for all       cannot tell classes by their words

All have the width and mean length of MiniLM's vectors for the same sentences: networks have one size, and no
control starts better or worse for the size of its numbers. What a run reads is a file; no network, recipe or
checkpoint knows that it is a control.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from nomina.errors import EncoderError, NominaError
from nomina.language.bank import PromptBank, Provenance
from nomina.language.encoders import load_encoder
from nomina.language.vessel_prompts import (
    SIDED_VESSELS,
    VESSEL_TEMPLATE_VERSION,
    VESSELS,
    all_vessel_sentences,
)
from nomina.learning.recipe import BlockRecipe, Recipe

WordSource = Literal["one-hot", "random", "constant"]

NAMELESS_SENTENCE = "a computerized tomography of the lungs"
"""What the source `constant` says of every class."""

_NAMES = (*VESSELS, *SIDED_VESSELS)


def word_table_path(folder: Path | str, source: WordSource, seed: int) -> Path:
    """File of a source; random vectors have one for each seed of a run."""
    return Path(folder) / (f"random-seed{seed}.npz" if source == "random" else f"{source}.npz")


def word_table(source: WordSource, seed: int) -> PromptBank:
    """Vectors of every sentence about vessels in every wording.

    Args:
        source: What they are; see the module.
        seed: Seed of the random ones.
    """
    sentences = {name: all_vessel_sentences((name,)) for name in _NAMES}
    encoder = load_encoder("minilm")
    texts = tuple(text for name in _NAMES for text in sentences[name])
    length = float(np.linalg.norm(encoder.encode(texts), axis=1).mean())
    if source == "constant":
        by_class = np.repeat(encoder.encode([NAMELESS_SENTENCE]), len(_NAMES), axis=0)
    else:
        by_class = length * _directions(source, encoder.width, seed)
    counts = [len(sentences[name]) for name in _NAMES]
    provenance = Provenance(
        encoder=f"random, seed {seed}" if source == "random" else source,
        source="nomina.bench.words",
        revision=None,
        pooling="none",
        lower_case=None,
        normalised=False,
        width=encoder.width,
        licence="Apache-2.0",
        template_version=VESSEL_TEMPLATE_VERSION,
    )
    return PromptBank(texts, np.repeat(by_class, counts, axis=0), provenance)


def make_word_table(path: Path, source: WordSource, seed: int) -> None:
    """Write the table of a source where it is not there yet, or holds other sentences than this version's.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        PromptBank.load(path).vectors_for(all_vessel_sentences(_NAMES))
    except NominaError:
        path.parent.mkdir(parents=True, exist_ok=True)
        word_table(source, seed).save(path)


def missing_words(recipe: Recipe | BlockRecipe) -> str | None:
    """Why the table that a recipe names cannot be used here; None where it can, or where it names none."""
    if not recipe.words.encoder.startswith("table:"):
        return None
    path = Path(recipe.words.encoder.removeprefix("table:"))
    if not path.is_file():
        return f"there is no table of vectors at {path}"
    if not isinstance(recipe, BlockRecipe):
        return None
    try:
        load_encoder(recipe.words.encoder).encode(all_vessel_sentences(recipe.structures))
    except EncoderError as error:
        return str(error)
    return None


def _directions(source: WordSource, width: int, seed: int) -> Float[np.ndarray, "n e"]:
    if source == "one-hot":
        return np.eye(len(_NAMES), width)
    drawn = np.random.default_rng(seed).normal(size=(len(_NAMES), width))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
