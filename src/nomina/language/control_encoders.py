"""Encoders without language: controls that tell whether the meaning of words matters, or only their identity.

    random    a fixed random vector per sentence: sentences can be told apart, and nothing else
    one-hot   a unit vector per sentence: the same, without a chance likeness between any two

A network that does as well with these as with a language model has learnt its classes by number.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from nomina.anatomy.structures import vocabulary
from nomina.errors import EncoderError, PromptError
from nomina.language.bank import Provenance
from nomina.language.prompts import all_sentences

RANDOM_WIDTH = 384
"""Width of random vectors: that of MiniLM, so that networks have the same size."""

LENGTH = 5.17
"""Length of every vector: the mean length of MiniLM's for these sentences, so that no control starts better
or worse for its size."""

_SPINE_KINDS = ("vertebra", "disc")
_SPINE_NAMES = ("spinal canal", "sacrum")


@dataclass(frozen=True, eq=False)
class ControlEncoder:
    """Sentences to vectors that know nothing of their meaning."""

    provenance: Provenance
    """Name and width; there are no weights."""
    vector: Callable[[str], Float[np.ndarray, " e"]]
    """Vector of one sentence."""

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self.provenance.encoder

    @property
    def width(self) -> int:
        """Length e of a vector."""
        return self.provenance.width

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """One float32 vector per text.

        Raises:
            PromptError: A text is blank.
            EncoderError: The encoder is one-hot and the text is no sentence about the spine.
        """
        if blank := [text for text in texts if not text.strip()]:
            raise PromptError(f"a prompt needs at least one word, got {blank[0]!r}")
        rows = [self.vector(text) for text in texts]
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, self.width), dtype=np.float32)


def random_encoder() -> ControlEncoder:
    """A vector in a random direction per sentence, the same on every computer."""
    return ControlEncoder(_provenance("random", RANDOM_WIDTH), _random_vector)


def one_hot_encoder() -> ControlEncoder:
    """One entry that is not 0 per sentence about the spine; width: the number of these sentences."""
    return ControlEncoder(_provenance("one-hot", len(_spine_sentences())), _one_hot_vector)


def _random_vector(text: str) -> Float[np.ndarray, " e"]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    direction = np.random.default_rng(seed).normal(size=RANDOM_WIDTH)
    return LENGTH * direction / np.linalg.norm(direction)


def _one_hot_vector(text: str) -> Float[np.ndarray, " e"]:
    places = _spine_sentences()
    if text not in places:
        raise EncoderError(f"the encoder 'one-hot' knows the sentences about the spine alone, not {text!r}")
    vector = np.zeros(len(places))
    vector[places[text]] = LENGTH
    return vector


@cache
def _spine_sentences() -> dict[str, int]:
    """Place of every sentence about the whole spine."""
    names = [s.name for s in vocabulary().values() if s.kind in _SPINE_KINDS and s.region != "sacral spine"]
    return {text: place for place, text in enumerate(all_sentences([*names, *_SPINE_NAMES]))}


def _provenance(name: str, width: int) -> Provenance:
    return Provenance(
        encoder=name,
        source="none",
        revision=None,
        pooling="none",
        lower_case=False,
        normalised=False,
        width=width,
        licence="Apache-2.0",
    )
