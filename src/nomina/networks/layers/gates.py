r"""How each class's words and the picture become the condition of its output layer, after LA-CAF.

    gate        A = T Tᵗ,  Â = (A - min A) / (max A - min A),  s = Σ_j Â_kj,  condition_k = [s_k v ; t_k]
    attention   m_k = LN(t_k + MHA(t_k, G, G)),                               condition_k = [v ; m_k]

v is the image vector, t_k the adapted prompt of class k, G the normed bottleneck. The authors multiply Â by a
matrix whose rows are all v; that is exactly s_k v, so their "cross-attention" is one number per class which
no voxel has a say in [authors' release; the reduction is arithmetic]. The attention is ours [choice].
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

_TINY = 1e-12
"""Keeps equal prompts (max A = min A) from dividing by zero [choice]; the gate is then 0."""


class MinMaxGate(nn.Module):
    """LA-CAF's fusion: a class's similarity to all classes scales the image vector; no parameters."""

    def forward(
        self, image: Float[Tensor, "b w"], text: Float[Tensor, "n w"], features: Float[Tensor, "b c i j k"]
    ) -> Float[Tensor, "b n 2*w"]:
        """Condition of each class; `features` are not read."""
        gated = torch.einsum("n,bw->bnw", similarity_gate(text), image)
        return torch.cat([gated, text.expand(len(image), -1, -1)], dim=-1)


class PromptAttention(nn.Module):
    """Class prompts read the bottleneck: multi-head cross-attention with a residual and LayerNorm [choice].

    Args:
        num_channels: Channels c of the bottleneck.
        width: Width w of prompts and attention; divisible by `num_heads`.
        num_heads: Attention heads.
    """

    def __init__(self, num_channels: int, *, width: int = 256, num_heads: int = 8) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            width, num_heads, kdim=num_channels, vdim=num_channels, batch_first=True
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, image: Float[Tensor, "b w"], text: Float[Tensor, "n w"], features: Float[Tensor, "b c i j k"]
    ) -> Float[Tensor, "b n 2*w"]:
        """Condition of each class."""
        visual = rearrange(features, "b c i j k -> b (i j k) c")
        queries = text.expand(len(image), -1, -1)
        read = self.norm(queries + self.attention(queries, visual, visual, need_weights=False)[0])
        return torch.cat([image[:, None].expand_as(read), read], dim=-1)


def similarity_gate(text: Float[Tensor, "n w"]) -> Float[Tensor, " n"]:
    """s_k in [0, n]: row sums of the min-max scaled similarity; unscaled for a single class, as published."""
    similarity = text @ text.T
    if len(text) > 1:
        lowest, highest = similarity.min(), similarity.max()
        similarity = (similarity - lowest) / (highest - lowest).clamp(min=_TINY)
    return similarity.sum(dim=1)
