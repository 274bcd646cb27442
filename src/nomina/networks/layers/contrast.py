r"""Channel-wise contrastive anatomy-aware enhancement: each class's pixels meet its sentence.

Source: ATM-Net (arXiv:2504.03476) for the purpose; the form is ours [choice]:

    a = Conv1×1(F)      A = softmax(a)      v = pool(A)   the enhancement, in training and at test time
    v* = pool(G)        G the one-hot reference, in the training loss only
    u_k = norm(MLP_t(T_k − mean T) + δ_k)   s = ⟨v*, u⟩ / τ
    L_ftc = symmetric cross-entropy of s over the classes present
    θ_k = MLP_c([v_k ; u_k])                y_k = a_k + θ_k·F   with θ = 0 at the start

The loss pools with the reference mask, never with the network's own assignment: a prediction-pooled loss is
solved by a shortcut in which channel k announces its own index (tests/networks/test_contrast.py keeps the
experiment).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

MIN_MASS = 1e-4
"""Added to the pooled mass so that an absent class gives a finite vector."""
MAX_SCALE = 100.0
"""Cap of the learned 1/τ, as in CLIP."""


class ChannelContrast(nn.Module):
    """CCAE: class-wise image–text contrast and text-conditioned class kernels; it owns the output layer.

    Args:
        num_channels: Channels c of the decoder's last feature map.
        num_classes: Classes n, background included.
        text_width: Width e of a prompt vector.
        width: Width of the shared image–text space [choice].
        temperature: τ at the start; learned [choice, 0.07 as in CLIP].
        pool_stride: Pool class vectors on features averaged over this many pixels per axis [choice]: 1 is
            exact, 4 costs 16 times less and changes a mean over thousands of pixels little.
    """

    def __init__(
        self,
        num_channels: int,
        num_classes: int,
        text_width: int,
        *,
        width: int = 128,
        temperature: float = 0.07,
        pool_stride: int = 1,
    ) -> None:
        super().__init__()
        self.pool_stride = pool_stride
        self.first_logits = nn.Conv2d(num_channels, num_classes, kernel_size=1)
        self.image_projection = _two_layers(num_channels, width, width)
        self.text_projection = _two_layers(text_width, width, width)
        self.class_offset = nn.Parameter(torch.zeros(num_classes, width))
        self.kernel = _two_layers(2 * width, width, num_channels + 1)
        for start in self.kernel[-1].parameters():
            nn.init.zeros_(start)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(
        self, features: Float[Tensor, "b c i j"], channel_tokens: Float[Tensor, "n e"]
    ) -> tuple[Float[Tensor, "b n i j"], Float[Tensor, "b n si sj"]]:
        """Final logits, and the first logits (at the pooled resolution) from which classes were pooled."""
        pooled_features = _average(features, self.pool_stride)
        first = self.first_logits(pooled_features)
        with torch.autocast(features.device.type, enabled=False):
            vectors = self._class_vectors(pooled_features.float(), first.float().softmax(dim=1))
            text = self.class_texts(channel_tokens).expand(len(features), -1, -1)
            kernel = self.kernel(torch.cat([vectors, text], dim=-1))
        weight = self.first_logits.weight[:, :, 0, 0] + kernel[..., :-1]
        bias = self.first_logits.bias + kernel[..., -1]
        logits = torch.einsum("bnc,bcij->bnij", weight, features) + bias[..., None, None]
        return logits, first

    def class_texts(self, channel_tokens: Float[Tensor, "n e"]) -> Float[Tensor, "n w"]:
        """Unit text vector of each class, less the mean sentence: near-equal sentences are collinear."""
        centred = channel_tokens - channel_tokens.mean(dim=0, keepdim=True)
        return F.normalize(self.text_projection(centred) + self.class_offset, dim=-1)

    def loss(
        self,
        features: Float[Tensor, "b c i j"],
        channel_tokens: Float[Tensor, "n e"],
        reference: Integer[Tensor, "b i j"],
    ) -> Float[Tensor, ""]:
        """L_ftc: image–text contrast of the classes present in each reference; labels ≥ n are ignored.

        At the start about ln n; 0 where no pixel is known. Training only: it reads the reference.
        """
        with torch.autocast(features.device.type, enabled=False):
            num_classes = len(channel_tokens)
            known = reference < num_classes
            one_hot = (
                F.one_hot(torch.where(known, reference, 0).long(), num_classes).float() * known[..., None]
            )
            masks = _average(one_hot.permute(0, 3, 1, 2), self.pool_stride)
            present = masks.sum(dim=(2, 3)) > 0
            vectors = self._class_vectors(_average(features.float(), self.pool_stride), masks)
            scale = self.log_scale.exp().clamp(max=MAX_SCALE)
            similarity = scale * vectors @ self.class_texts(channel_tokens).T
            return _symmetric_cross_entropy(similarity, present)

    def _class_vectors(
        self, features: Float[Tensor, "b c i j"], masks: Float[Tensor, "b n i j"]
    ) -> Float[Tensor, "b n w"]:
        sums = torch.einsum("bnij,bcij->bnc", masks, features)
        means = sums / (masks.sum(dim=(2, 3))[..., None] + MIN_MASS)
        return F.normalize(self.image_projection(means), dim=-1)


def _symmetric_cross_entropy(similarity: Float[Tensor, "b n m"], present: Tensor) -> Float[Tensor, ""]:
    """Mean of image→text and text→image cross-entropy over the classes present in each image."""
    if not present.any():
        return similarity.sum() * 0
    targets = torch.arange(similarity.shape[-1], device=similarity.device).expand(len(similarity), -1)
    # Text → image: only classes present in the image can be the answer.
    per_text = similarity.transpose(1, 2).masked_fill(~present[:, None, :], -1e4)
    return 0.5 * (
        F.cross_entropy(similarity[present], targets[present])
        + F.cross_entropy(per_text[present], targets[present])
    )


def _average(maps: Float[Tensor, "b c i j"], stride: int) -> Float[Tensor, "b c si sj"]:
    return maps if stride == 1 else F.avg_pool2d(maps, stride)


def _two_layers(width_in: int, width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width), nn.GELU(), nn.Linear(width, width_out))
