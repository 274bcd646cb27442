"""What a network holds in memory, counted tensor by tensor on a small input."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nomina.networks.build import SliceNetwork
from nomina.networks.la_caf import LACAF
from nomina.networks.words import ClassPrompts, EncodedPrompts

PROBE_PX = 96
"""Side of the picture that is tried, at least [choice: large enough that the weights' share is small]."""


@torch.inference_mode()
def pixel_bytes(network: SliceNetwork, words: EncodedPrompts, *, num_slices: int) -> float:
    """Most bytes of tensors alive at once in a forward pass and its softmax, per pixel of the input.

    Weights do not count; nor does what a library keeps for itself during one operation.
    """
    side = -(-PROBE_PX // network.divisor) * network.divisor
    parameter = next(network.parameters())
    patch = torch.zeros(1, num_slices, side, side, device=parameter.device)
    patch = patch.to(memory_format=torch.channels_last)
    kept = [*network.parameters(), *network.buffers(), words.channel, words.generic, *words.statements]
    with _LiveBytes(kept) as live:
        network(patch, words).float().softmax(dim=1)
    return (live.peak + patch.nbytes) / side**2


@torch.inference_mode()
def tile_bytes(network: LACAF, words: ClassPrompts, block_size: tuple[int, int, int]) -> float:
    """Most bytes of tensors alive at once while one tile goes through, its voxels and sigmoid included.

    Counted on a tile of full size, as some networks take no other.
    """
    tile = torch.zeros(1, 1, *block_size, device=next(network.parameters()).device)
    with _LiveBytes([*network.parameters(), *network.buffers(), words.channel]) as live:
        network(tile, words).float().sigmoid()
    return float(live.peak + tile.nbytes)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make, until they are let go."""

    def __init__(self, kept: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        # A view of a weight is no memory of its own.
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in kept}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        self.peak = max(self.peak, self.now)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, num_bytes = storage.data_ptr(), storage.nbytes()
        if num_bytes and place not in self._seen:
            self._seen.add(place)
            self.now += num_bytes
            weakref.finalize(storage, self._remove, place, num_bytes)

    def _remove(self, place: int, num_bytes: int) -> None:
        self._seen.discard(place)
        self.now -= num_bytes
