r"""Holistic anatomy-aware semantic fusion: image tokens and text tokens read each other.

Source: ATM-Net (arXiv:2504.03476) for the purpose; the form is ours [choice]:

    V  = LN(X) W_q + PE          T  = [LN(T_img) W_t + e_img ; LN(T_cls) W_t + e_cls]
    T' = T + MHA(T, V, V)        Z  = V + MHA(V, T', T')        Z ← Z + FFN(LN Z)
    X' = X + Z W_o               with W_o = 0, so that training starts from the image-only network

A scalar gate X + tanh(g) Z W_o with g = 0 starts there too, but never opened: what Z W_o says at random helps
nobody, so g gets no steady pull, and W_o learns nothing while g is 0 (docs/experiments.md).
"""

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class HolisticSemanticFusion(nn.Module):
    """HASF: bidirectional attention between one feature map and the prompts, added to the map.

    Args:
        num_channels: Channels c of the feature map.
        text_width: Width e of a prompt vector (384 MiniLM, 768 Bio-ClinicalBERT, 512 CLIP).
        width: Attention width [choice]; divisible by 4 and by `num_heads`.
        num_heads: Attention heads [choice].
    """

    def __init__(self, num_channels: int, text_width: int, *, width: int = 256, num_heads: int = 8) -> None:
        super().__init__()
        self.image_in = nn.Sequential(nn.LayerNorm(num_channels), nn.Linear(num_channels, width))
        self.text_in = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.view_embedding = nn.Parameter(torch.zeros(2, width))
        self.text_reads_image = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.image_reads_text = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.image_out = nn.Linear(width, num_channels)
        nn.init.zeros_(self.image_out.weight)
        nn.init.zeros_(self.image_out.bias)

    def forward(
        self,
        features: Float[Tensor, "b c i j"],
        image_tokens: Float[Tensor, "b t e"],
        image_mask: Bool[Tensor, "b t"],
        channel_tokens: Float[Tensor, "n e"],
    ) -> Float[Tensor, "b c i j"]:
        """Fuse the prompts into `features`; `image_mask` is True for real tokens."""
        b, _, height, width = features.shape
        visual = self.image_in(rearrange(features, "b c i j -> b (i j) c"))
        visual = visual + position_encoding(height, width, visual.shape[-1], device=features.device)
        image_text = self.text_in(image_tokens) + self.view_embedding[0]
        class_text = (self.text_in(channel_tokens) + self.view_embedding[1]).expand(b, -1, -1)
        text = torch.cat([image_text, class_text], dim=1)
        class_padding = image_mask.new_zeros(b, class_text.shape[1])
        padding = torch.cat([~image_mask, class_padding], dim=1)

        text = text + self.text_reads_image(text, visual, visual, need_weights=False)[0]
        fused = (
            visual
            + self.image_reads_text(visual, text, text, key_padding_mask=padding, need_weights=False)[0]
        )
        fused = fused + self.feed_forward(fused)
        update = rearrange(self.image_out(fused), "b (i j) c -> b c i j", i=height)
        return features + update.to(features.dtype)


def position_encoding(
    height: int, width: int, num_channels: int, *, device: torch.device | None = None
) -> Float[Tensor, "v c"]:
    """Sine and cosine table of a 2D grid, rows first; `num_channels` is divisible by 4.

    Without it words such as "second above the sacrum" have nothing in the image to attach to.
    """
    frequencies = torch.exp(
        torch.arange(num_channels // 4, device=device) * (-math.log(10000.0) / (num_channels // 4))
    )
    rows = torch.arange(height, device=device)[:, None] * frequencies
    columns = torch.arange(width, device=device)[:, None] * frequencies
    rows = torch.cat([rows.sin(), rows.cos()], dim=-1)[:, None].expand(height, width, -1)
    columns = torch.cat([columns.sin(), columns.cos()], dim=-1)[None].expand(height, width, -1)
    return rearrange(torch.cat([rows, columns], dim=-1), "i j c -> (i j) c")
