"""Prompts as a network takes them: the modes, and the expected embedding."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nomina.errors import EncoderError
from nomina.language.bank import PromptBank
from nomina.language.prompts import GENERIC_SENTENCE, channel_view, image_statements
from nomina.networks.words import EncodedPrompts, encode_prompts

MakeBank = Callable[..., PromptBank]
Structures = tuple[str, ...]


@pytest.fixture
def words(make_words: Callable[..., EncodedPrompts]) -> EncodedPrompts:
    return make_words()


@pytest.fixture
def predictions(words: EncodedPrompts) -> list[Tensor]:
    """A network's logits for a batch of two."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, len(options), generator=generator) for options in words.statements]


def test_vectors_are_those_of_the_bank_in_class_order(make_bank: MakeBank, structures: Structures) -> None:
    bank = make_bank(structures)
    words = encode_prompts(bank, structures, paraphrase=2)
    for row, name in enumerate(("background", *structures)):
        assert words.channel[row].tolist() == bank.vectors_for([channel_view(name, 2)])[0].tolist()
    assert words.generic.tolist() == bank.vectors_for([GENERIC_SENTENCE])[0].tolist()
    for options, statement in zip(words.statements, image_statements(structures), strict=True):
        assert options.tolist() == bank.vectors_for(statement.sentences(2)).tolist()


def test_a_bank_that_lacks_a_sentence_is_refused_by_its_text(
    make_bank: MakeBank, structures: Structures
) -> None:
    with pytest.raises(EncoderError, match="has no embedding of"):
        encode_prompts(make_bank(structures), (*structures, "L3 vertebra"))


def test_mode_a_says_only_the_generic_sentence(words: EncodedPrompts, predictions: list[Tensor]) -> None:
    tokens, mask = words.constant(2).image_tokens(predictions, 2)
    assert mask[:, 0].all()
    assert not mask[:, 1:].any()
    assert torch.equal(tokens[:, 0], words.generic.expand(2, -1))
    other, _ = words.constant(2).image_tokens([-p for p in predictions], 2)
    assert torch.equal(tokens, other)


def test_mode_b_mixes_sentences_by_the_predicted_probabilities(
    words: EncodedPrompts, predictions: list[Tensor]
) -> None:
    tokens, mask = words.image_tokens(predictions, 2)
    assert mask.all()
    for index, (logits, options) in enumerate(zip(predictions, words.statements, strict=True)):
        for image in range(2):
            weights = logits[image].exp() / logits[image].exp().sum()
            expected = sum(w * sentence for w, sentence in zip(weights, options, strict=True))
            torch.testing.assert_close(tokens[image, index + 1], expected)
    stated = words.saying([[0] * len(predictions)] * 2)
    torch.testing.assert_close(stated.predicted().image_tokens(predictions, 2)[0], tokens)


def test_given_probabilities_replace_the_predictions(
    words: EncodedPrompts, predictions: list[Tensor]
) -> None:
    given = words.given([p[:1].softmax(-1) for p in predictions])
    tokens, mask = given.image_tokens([torch.zeros_like(p) for p in predictions], 2)
    assert mask.all()
    expected, _ = words.image_tokens([p[:1].expand(2, -1) for p in predictions], 2)
    torch.testing.assert_close(tokens, expected)


def test_stated_facts_are_single_sentences_and_the_unsaid_is_masked(
    words: EncodedPrompts,
    predictions: list[Tensor],
) -> None:
    choices: list[list[int | None]] = [[None] * len(predictions) for _ in range(2)]
    choices[0][1], choices[1][0] = 1, 3
    tokens, mask = words.saying(choices).image_tokens(predictions, 2)
    assert torch.equal(tokens[0, 2], words.statements[1][1])
    assert torch.equal(tokens[1, 1], words.statements[0][3])
    assert mask.sum() == 4  # two generic sentences, two statements
    assert mask[0, 2]
    assert mask[1, 1]


def test_saying_nothing_reads_like_the_constant_prompt(
    words: EncodedPrompts, predictions: list[Tensor]
) -> None:
    silent = words.saying([[None] * len(predictions)] * 2).image_tokens(predictions, 2)
    constant = words.constant(2).image_tokens(predictions, 2)
    assert torch.equal(silent[1], constant[1])
    assert torch.equal(silent[0][constant[1]], constant[0][constant[1]])


def test_the_modes_leave_the_prompts_themselves_alone(words: EncodedPrompts) -> None:
    words.saying([[0] * len(words.statements)])
    words.constant(1)
    assert words.weights is None
    assert words.stated is None
