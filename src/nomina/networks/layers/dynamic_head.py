"""An output layer whose weights are made anew for each image and class, after DoDNet and LA-CAF."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class DynamicHead(nn.Module):
    """A shared 1×1×1 layer, then three per class with generated weights; one logit map per class.

    With 8 channels a class takes 153 numbers: weights 8×8, 8×8 and 8×1, then biases 8, 8 and 1
    [authors' release]; their order within a vector is ours and changes nothing.

    Args:
        num_features: Channels f of the decoder's output; divisible by `num_groups`.
        num_condition: Width of a class's condition.
        num_channels: Channels d of the generated layers.
        num_groups: Groups of the norm before the shared layer [authors' release: 16].
    """

    def __init__(
        self, num_features: int, num_condition: int, *, num_channels: int = 8, num_groups: int = 16
    ) -> None:
        super().__init__()
        d = num_channels
        self.sizes = (d * d, d * d, d, d, d, 1)
        self.controller = nn.Linear(num_condition, sum(self.sizes))
        self.reduce = nn.Sequential(
            nn.GroupNorm(num_groups, num_features), nn.ReLU(), nn.Conv3d(num_features, d, kernel_size=1)
        )

    def forward(
        self, features: Float[Tensor, "b f i j k"], condition: Float[Tensor, "b n e"]
    ) -> Float[Tensor, "b n i j k"]:
        """Logits of each class."""
        voxels = rearrange(self.reduce(features), "b d i j k -> b d (i j k)")
        logits = generated_layers(voxels, self.controller(condition).split(self.sizes, dim=-1))
        return logits.view(*logits.shape[:2], *features.shape[2:])


def generated_layers(
    voxels: Float[Tensor, "b d v"], parameters: tuple[Tensor, ...]
) -> Float[Tensor, "b n v"]:
    """Layers d → d → d → 1 with the weights and biases of each image and class, ReLU between.

    Args:
        voxels: Features that all classes share.
        parameters: Weights `b n d·d` (outputs first), `b n d·d`, `b n d`; biases `b n d`, `b n d`, `b n 1`.
    """
    first, second = (rearrange(w, "b n (o d) -> b n o d", d=voxels.shape[1]) for w in parameters[:2])
    last, *biases = parameters[2:]
    current = F.relu(torch.einsum("bnod,bdv->bnov", first, voxels) + biases[0][..., None])
    current = F.relu(second @ current + biases[1][..., None])
    return torch.einsum("bnd,bndv->bnv", last, current) + biases[2]
