"""What the picture itself says: the facts of the image view, predicted from the bottleneck (mode B)."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from nomina.networks.layers.fusion import position_encoding


class FactPredictor(nn.Module):
    """Predicts one distribution per statement, and the presence of each structure [choice, after TGANet].

    One learned query per statement (and one for presence) reads the bottleneck with its positions.

    Args:
        num_channels: Channels of the bottleneck.
        num_options: Number of sentences of each statement.
        num_structures: Structures n − 1, background left out.
        width: Attention width.
    """

    def __init__(
        self, num_channels: int, num_options: Sequence[int], num_structures: int, *, width: int = 128
    ) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.LayerNorm(num_channels), nn.Linear(num_channels, width))
        self.queries = nn.Parameter(torch.randn(len(num_options) + 1, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, num_heads=4, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.statement_heads = nn.ModuleList(nn.Linear(width, options) for options in num_options)
        self.presence_head = nn.Linear(width, num_structures)

    def forward(
        self, bottleneck: Float[Tensor, "b c i j"]
    ) -> tuple[tuple[Tensor, ...], Float[Tensor, "b structures"]]:
        """Logits `b o` of each statement, and presence logits of each structure."""
        height, width = bottleneck.shape[2:]
        visual = self.visual(rearrange(bottleneck, "b c i j -> b (i j) c"))
        visual = visual + position_encoding(height, width, visual.shape[-1], device=bottleneck.device)
        queries = self.queries.expand(len(bottleneck), -1, -1)
        read = self.norm(queries + self.attention(queries, visual, visual, need_weights=False)[0])
        statements = tuple(head(read[:, index]) for index, head in enumerate(self.statement_heads))
        return statements, self.presence_head(read[:, -1])
