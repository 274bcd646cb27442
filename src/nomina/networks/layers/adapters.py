r"""Small learned maps between frozen vectors and a segmentation network, after LA-CAF.

text    t_k = A_k(e_k),  A(e) = ReLU(W_2 GELU(W_1 e + b_1) + b_2)               [authors' release]
        t_k = a_k A_k(e_k) + (1 - a_k) P e_k,  a_k learned from 0.2             [choice]
        with (e_k - mean e) / rms in place of e_k                               [choice]
image   g_c = φ(φ(φ(G_c))),  φ(x) = w_2 GELU(W_1 x + b_1) + b_2 on the last axis [authors' release]
        g_c = Σ_v softmax_v(s_h(G)_v) G_cv,  h the head that channel c belongs to [choice]
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from nomina.errors import ConfigError, PromptError

MIN_RMS = 1e-4
"""Differences of prompts below it are rounding and are not blown up [choice]."""


class TextAdapters(nn.Module):
    """One small network per class between its frozen prompt vector and the fusion.

    Args:
        num_classes: Classes n.
        text_width: Width e of a prompt vector (512 for CLIP ViT-B/32, 384 for MiniLM).
        hidden: Hidden width [authors' release: 128].
        width: Output width w [authors' release: 256].
        blend: Start value of a_k; None leaves the residual path out, as in the authors' release.
        is_centred: Take the prompts' mean off and bring what is left to a mean square of 1 [choice]: prompts
            in a template are nearly collinear (cosine 0.88 for artery and vein), and a network that hears
            them as they are takes both for one class for long.
        is_shared: One network for all classes [choice], so that only the words tell classes apart and any
            number of prompts can be given.
    """

    def __init__(
        self,
        num_classes: int,
        text_width: int,
        *,
        hidden: int = 128,
        width: int = 256,
        blend: float | None = None,
        is_centred: bool = False,
        is_shared: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.is_centred, self.is_shared = num_classes, is_centred, is_shared
        count = 1 if is_shared else num_classes
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(text_width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.ReLU())
            for _ in range(count)
        )
        if blend is not None:
            self.blend = nn.Parameter(torch.full((count,), blend))
            self.residual = nn.Linear(text_width, width, bias=False)
            # Orthogonal rows (columns) keep angles between prompts as well as `width` axes can.
            nn.init.orthogonal_(self.residual.weight)
        self.has_residual = blend is not None

    def forward(self, prompts: Float[Tensor, "n e"]) -> Float[Tensor, "n w"]:
        """Adapted vector of each class.

        Raises:
            PromptError: There are more or fewer prompts than classes.
        """
        if not self.is_shared and len(prompts) != self.num_classes:
            raise PromptError(
                f"this network has one text adapter for each of {self.num_classes} classes, got "
                f"{len(prompts)} prompts; give one per class, in the classes' order"
            )
        if self.is_centred:
            prompts = centred(prompts)
        if self.is_shared:
            adapted = self.networks[0](prompts)
        else:
            adapted = torch.stack([net(row) for net, row in zip(self.networks, prompts, strict=True)])
        if not self.has_residual:
            return adapted
        share = self.blend[:, None]
        return share * adapted + (1 - share) * self.residual(prompts)


def centred(prompts: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    """What tells the prompts of a network's classes apart, at a mean square of 1; 0 where nothing does."""
    prompts = prompts - prompts.mean(dim=0, keepdim=True)
    return prompts / prompts.square().mean().sqrt().clamp(min=MIN_RMS)


class AxisMLP(nn.Module):
    """The authors' image adapter: one tiny network folds the last axis to a number, three times over.

    All three axes share the weights, so each must have exactly `side` voxels: a 96³ patch for 12.

    Args:
        side: Voxels of the bottleneck along each axis [authors' release: 12].
        hidden: Hidden width [authors' release: 3].
    """

    def __init__(self, side: int = 12, hidden: int = 3) -> None:
        super().__init__()
        self.side = side
        self.fold = nn.Sequential(nn.Linear(side, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c"]:
        """One number per channel.

        Raises:
            ConfigError: An axis does not have `side` voxels.
        """
        sides = tuple(features.shape[2:])
        if sides != (self.side,) * 3:
            raise ConfigError(
                f"the axis MLP takes a bottleneck of {self.side}×{self.side}×{self.side} voxels (a patch of "
                f"96×96×96 as published), got {sides}; use that patch size, or pooling: attention"
            )
        for _ in sides:
            features = self.fold(features)[..., 0]
        return features


class AttentionPooling(nn.Module):
    """A weighted mean over voxels, with learned weights per head of channels; any patch size [choice].

    The scores start at 0, so training starts from the plain mean, which is what LA-CAF's parent pools with.

    Args:
        num_channels: Channels c; divisible by `num_heads`.
        num_heads: Groups of channels that share their weights.
    """

    def __init__(self, num_channels: int, num_heads: int = 8) -> None:
        super().__init__()
        self.score = nn.Conv3d(num_channels, num_heads, kernel_size=1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]

    def forward(self, features: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c"]:
        """One number per channel."""
        weights = rearrange(self.score(features), "b h i j k -> b h (i j k)").softmax(dim=-1)
        values = rearrange(features, "b (h d) i j k -> b h d (i j k)", h=weights.shape[1])
        return rearrange(torch.einsum("bhv,bhdv->bhd", weights, values), "b h d -> b (h d)")
