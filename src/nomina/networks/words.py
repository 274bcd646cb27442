"""Prompts as the networks take them, made from a `PromptBank`.

ClassPrompts      one vector per class: all that LA-CAF hears
EncodedPrompts    and an image view, for ATM-Net
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nomina.language.bank import PromptBank
from nomina.language.prompts import BACKGROUND, GENERIC_SENTENCE, channel_view, image_statements


@dataclass(frozen=True)
class ClassPrompts:
    """One sentence per class, as vectors of width e."""

    channel: Float[Tensor, "n e"]
    """Channel view: one sentence per class, in the network's order; background first where it has one."""

    def to(self, device: torch.device | str) -> "ClassPrompts":
        """The same prompts on another device."""
        return replace(self, channel=self.channel.to(device))


@dataclass(frozen=True)
class EncodedPrompts(ClassPrompts):
    """Text of one batch: the channel view and the image view.

    The image view is a list of statements; each holds a few possible sentences ("the highest visible vertebra
    is T12", "… is T11", …) and a weight for each. One-hot weights say one sentence; soft weights mix the
    sentences by their probabilities (an expected embedding), which keeps predicted facts differentiable.
    """

    generic: Float[Tensor, " e"]
    """The sentence that is true of every image (mode A)."""
    statements: tuple[Tensor, ...]
    """For each statement the vectors of its possible sentences, each `o e`."""
    weights: tuple[Tensor, ...] | None = None
    """For each statement the weights `b o`; None: the network's own predictions from the image (mode B)."""
    stated: Bool[Tensor, "b s"] | None = None
    """Which statements are made at all; None: all. All False is the constant prompt (mode A)."""

    def to(self, device: torch.device | str) -> "EncodedPrompts":
        """The same prompts on another device."""
        return replace(
            self,
            channel=self.channel.to(device),
            generic=self.generic.to(device),
            statements=tuple(options.to(device) for options in self.statements),
            weights=None if self.weights is None else tuple(weight.to(device) for weight in self.weights),
            stated=None if self.stated is None else self.stated.to(device),
        )

    def constant(self, num_images: int) -> "EncodedPrompts":
        """Mode A: only the generic sentence, for every image of the batch."""
        nothing = torch.zeros(num_images, len(self.statements), dtype=torch.bool, device=self.channel.device)
        return replace(self, weights=self._uniform(num_images), stated=nothing)

    def predicted(self) -> "EncodedPrompts":
        """Mode B: every statement, with the network's own predictions as weights."""
        return replace(self, weights=None, stated=None)

    def given(self, probabilities: Sequence[Tensor]) -> "EncodedPrompts":
        """Every statement, mixed by given probabilities `1 o` or `b o` (mode B over a whole scan)."""
        return replace(self, weights=tuple(p.to(self.channel.device) for p in probabilities), stated=None)

    def saying(self, choices: Sequence[Sequence[int | None]]) -> "EncodedPrompts":
        """State facts: for each image the chosen sentence of each statement, None where nothing is said.

        The caller knows where the facts come from: a user (mode E), a header (mode D), a first pass (mode C),
        or, in training and in flagged upper bounds only, a reference label map (oracle).
        """
        weights = self._uniform(len(choices))
        stated = torch.zeros(len(choices), len(self.statements), dtype=torch.bool)
        for image, per_statement in enumerate(choices):
            for index, choice in enumerate(per_statement):
                if choice is not None:
                    weights[index][image] = 0.0
                    weights[index][image, choice] = 1.0
                    stated[image, index] = True
        return replace(self, weights=weights, stated=stated.to(self.channel.device))

    def image_tokens(
        self, predictions: Sequence[Tensor], num_images: int
    ) -> tuple[Float[Tensor, "b t e"], Bool[Tensor, "b t"]]:
        """Image-view tokens and their mask (True: a token to read).

        Args:
            predictions: The network's logits `b o` per statement, used where `weights` is None.
            num_images: Size b of the batch.
        """
        weights = self.weights or tuple(logits.float().softmax(-1) for logits in predictions)
        tokens = [self.generic.expand(num_images, -1)]
        tokens += [
            (weight @ options).expand(num_images, -1)
            for weight, options in zip(weights, self.statements, strict=True)
        ]
        always = torch.ones(num_images, 1, dtype=torch.bool, device=self.channel.device)
        stated = always.expand(-1, len(self.statements)) if self.stated is None else self.stated
        return torch.stack(tokens, dim=1), torch.cat([always, stated.expand(num_images, -1)], dim=1)

    def _uniform(self, num_images: int) -> tuple[Tensor, ...]:
        return tuple(
            torch.full((num_images, len(options)), 1 / len(options), device=self.channel.device)
            for options in self.statements
        )


def encode_prompts(bank: PromptBank, structures: Sequence[str], *, paraphrase: int = 0) -> EncodedPrompts:
    """Look the sentences for `structures` up in a bank; no text encoder is needed.

    Args:
        bank: Holds every sentence of `nomina.language.prompts.all_sentences(structures)`.
        structures: Names of classes 1…n−1, in the order of the network's channels.
        paraphrase: Which wording of each sentence, 0 to 2.
    """
    statements = image_statements(structures)

    def vectors(texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(bank.vectors_for(texts)).float()

    return EncodedPrompts(
        channel=vectors([channel_view(name, paraphrase) for name in (BACKGROUND, *structures)]),
        generic=vectors([GENERIC_SENTENCE])[0],
        statements=tuple(vectors(statement.sentences(paraphrase)) for statement in statements),
    )


def encode_class_prompts(bank: PromptBank, sentences: Sequence[str]) -> ClassPrompts:
    """Look one sentence per class up in a bank; no text encoder is needed."""
    return ClassPrompts(torch.from_numpy(bank.vectors_for(sentences)).float())
