"""Small prompts for the network tests: random vectors stand in for a text encoder's."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from nomina.language.bank import PromptBank, Provenance
from nomina.language.prompts import all_sentences
from nomina.networks.words import EncodedPrompts, encode_prompts

MakeBank = Callable[..., PromptBank]
MakeWords = Callable[..., EncodedPrompts]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors: one thread is faster, and sums are taken in one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def structures() -> tuple[str, ...]:
    """A short spine; with the background six classes."""
    return ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")


@pytest.fixture(scope="session")
def make_bank() -> MakeBank:
    """A bank of every sentence for some structures, with seeded random vectors."""

    def make(structures: Sequence[str], width: int = 16, seed: int = 0) -> PromptBank:
        texts = all_sentences(structures)
        vectors = np.random.default_rng(seed).normal(size=(len(texts), width)).astype(np.float32)
        provenance = Provenance(
            encoder="random",
            source="none",
            revision=None,
            pooling="none",
            lower_case=None,
            normalised=False,
            width=width,
            licence="CC0-1.0",
        )
        return PromptBank(texts, vectors, provenance)

    return make


@pytest.fixture(scope="session")
def make_words(make_bank: MakeBank, structures: tuple[str, ...]) -> MakeWords:
    """Prompts with random vectors; another seed is another text."""

    def make(width: int = 16, seed: int = 0) -> EncodedPrompts:
        return encode_prompts(make_bank(structures, width, seed), structures)

    return make
