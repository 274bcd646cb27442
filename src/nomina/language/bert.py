"""A BERT encoder in plain torch, and the reader of the int8 weights that nomina ships."""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nomina.errors import EncoderError
from nomina.plain_files import read_json


class Bert(nn.Module):
    """Post-norm transformer encoder with learned positions (Devlin et al., 2019), without the pooler.

    Args:
        settings: `config.json` of the model, in the key names of Hugging Face.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        width, eps = settings["hidden_size"], settings["layer_norm_eps"]
        self.words = nn.Embedding(settings["vocab_size"], width)
        self.positions = nn.Embedding(settings["max_position_embeddings"], width)
        self.segments = nn.Embedding(settings["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.layers = nn.ModuleList(
            BertLayer(width, settings["intermediate_size"], settings["num_attention_heads"], eps)
            for _ in range(settings["num_hidden_layers"])
        )

    def forward(self, ids: Int[Tensor, "b t"], is_token: Bool[Tensor, "b t"]) -> Float[Tensor, "b t e"]:
        """Token features; padding (`is_token` False) is not attended to."""
        hidden = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0])
        for layer in self.layers:
            hidden = layer(hidden, is_token)
        return hidden


class BertLayer(nn.Module):
    """Self-attention and feed-forward, each followed by addition and layer norm."""

    def __init__(self, width: int, inner_width: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.inner = nn.Linear(width, inner_width)
        self.outer = nn.Linear(inner_width, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(
        self, hidden: Float[Tensor, "b t e"], is_token: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t e"]:
        """Features of the next layer."""
        query, key, value = (
            rearrange(project(hidden), "b t (h d) -> b h t d", h=self.num_heads)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~is_token[:, None, None, :], float("-inf"))
        attended = rearrange(scores.softmax(-1) @ value, "b h t d -> b t (h d)")
        hidden = self.attention_norm(hidden + self.out(attended))
        return self.norm(hidden + self.outer(F.gelu(self.inner(hidden))))


_RENAMED = (
    ("embeddings.word_embeddings.", "words."),
    ("embeddings.position_embeddings.", "positions."),
    ("embeddings.token_type_embeddings.", "segments."),
    ("embeddings.LayerNorm.", "norm."),
    ("encoder.layer.", "layers."),
    ("attention.self.", ""),
    ("attention.output.dense.", "out."),
    ("attention.output.LayerNorm.", "attention_norm."),
    ("intermediate.dense.", "inner."),
    ("output.dense.", "outer."),
    ("output.LayerNorm.", "norm."),
)
"""Hugging Face's parameter names → ours, applied in this order."""


def unpack_int8(path: Path) -> dict[str, Tensor]:
    """Float32 weights from a file of int8 rows (`NAME.q`) with one fp16 scale each (`NAME.s`)."""
    raw = load_file(path)
    state = {}
    for name, value in raw.items():
        if name.endswith(".q"):
            scale = raw[f"{name.removesuffix('.q')}.s"].float()
            state[name.removesuffix(".q")] = value.float() * scale[:, None]
        elif not name.endswith(".s"):
            state[name] = value.float()
    return state


def load_int8_bert(folder: Path) -> Bert:
    """The model in a folder with `config.json` and `model_int8.safetensors`, ready for inference.

    Raises:
        EncoderError: A file is missing or does not fit the other.
    """
    try:
        settings = read_json(folder / "config.json")
        if not isinstance(settings, dict):
            raise ValueError(f"config.json holds {settings!r:.40}, expected an object")
        state = unpack_int8(folder / "model_int8.safetensors")
        with torch.device("meta"):
            model = Bert(settings)
        model.load_state_dict({_renamed(name): value for name, value in state.items()}, assign=True)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise EncoderError(
            f"the bundled text encoder in {folder} is incomplete ({error}); install nomina again"
        ) from error
    return model.eval().requires_grad_(False)


def _renamed(name: str) -> str:
    for old, new in _RENAMED:
        name = name.replace(old, new)
    return name
