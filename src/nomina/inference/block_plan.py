"""How much memory a segmentation by blocks takes at most, before it starts. Needs no torch.

Its stages hold little beyond the scan: tiles go through the network one by one, and the winner is taken plane
by plane. So there is nothing to choose: a scan fits, or it is refused with what would.
"""

from dataclasses import dataclass, replace
from math import prod

from nomina.errors import VolumeError
from nomina.inference.plan import (
    FLOAT,
    NETWORK_SLACK,
    WARM_UP_BYTES,
    ExpectedMemory,
    peak_bytes,
    resident_bytes,
    size,
    structures,
    times,
)

LUNG_BYTES = 3
"""Per voxel of the scan while lungs are looked for on voxels of about 3 mm [choice: an upper bound]."""

MAPS_PER_CLASS = 2
"""Maps on the prepared grid per class while tiles are blended: probabilities, and their copy when divided."""

PIECE_BYTES = 12
"""Per voxel while specks are taken off: classes, certainty, fringe, result, two masks and numbered pieces."""

BRANCH_BYTES = 12
"""Per voxel while branches are voted on: classes, certainty, fringe, both trees before and after, their
union, what changed and the mask that is thinned, with marks."""

SLAB_BYTES = 400_000_000
"""Distances to the wall, sought slab by slab (`nomina.assessment.thinning`)."""

PAINT_BYTES = 6
"""Per voxel at the end: classes, certainty, halves, a mask and the label map, twice while it is turned."""


@dataclass(frozen=True)
class BlockScan:
    """What the plan must know of a scan and of the network that is to see it."""

    shape: tuple[int, int, int]
    """Voxels along R, A, S."""
    dtype: str
    """Type of the voxels as they were read, e.g. "int16"."""
    prepared_shape: tuple[int, int, int]
    """The whole scan on the grid of the network; of it only the lungs and what lies between are looked at."""
    block_size: tuple[int, int, int]
    """Voxels of a tile."""
    num_classes: int
    """Classes of the network."""
    num_prompts: int
    """Structures asked for."""
    has_whole_branches: bool = False
    """Whether branches are voted on."""


@dataclass(frozen=True, kw_only=True)
class BlockMemoryPlan(ExpectedMemory):
    """The memory that segmenting a scan by blocks is expected to take at most."""

    scan: BlockScan

    def sentence(self) -> str:
        """One line for people."""
        scan = self.scan
        return (
            f"memory: {times(scan.shape)} {scan.dtype} voxels, {structures(scan.num_prompts)}, "
            f"{self.network_dtype}, tiles of {times(scan.block_size)}: at most {self.about()}"
        )


def plan_block_memory(
    scan: BlockScan, *, tile_bytes: float, limit_bytes: int | None = None
) -> BlockMemoryPlan:
    """Predict the memory, and refuse a scan that does not fit.

    Args:
        scan: Sizes.
        tile_bytes: What the network's forward pass holds at most for one tile; 0 where it works in another
            memory (a GPU's).
        limit_bytes: The most that the process may hold in memory; None: no bound.

    Raises:
        VolumeError: The scan does not fit; the message says what would.
        ConfigError: There is a limit, and the system does not say what the process holds already.
    """
    plan = BlockMemoryPlan(
        scan=scan,
        network_dtype="float32",
        stages_bytes=_stages(scan, tile_bytes),
        resident_bytes=resident_bytes(),
        earlier_peak_bytes=peak_bytes(),
        limit_bytes=limit_bytes,
    )
    if plan.fits:
        return plan
    plan.require_room()
    raise VolumeError(_what_would_fit(plan, tile_bytes), code="too-large")


def _stages(scan: BlockScan, tile_bytes: float) -> dict[str, int]:
    num_voxels, prepared = prod(scan.shape), FLOAT * prod(scan.prepared_shape)
    # Resampled along two axes, the scan has its own planes of the network's size.
    planes = FLOAT * scan.shape[0] * scan.prepared_shape[1] * scan.prepared_shape[2]
    tile = int(NETWORK_SLACK * tile_bytes)
    maps = scan.num_classes * prepared
    branches = WARM_UP_BYTES + BRANCH_BYTES * num_voxels + SLAB_BYTES if scan.has_whole_branches else 0
    return {
        "lungs": LUNG_BYTES * num_voxels,
        "prepare": planes + prepared,
        "tiles": WARM_UP_BYTES + prepared + MAPS_PER_CLASS * maps + prepared + tile,
        "winner": WARM_UP_BYTES + prepared + maps + 3 * num_voxels,
        "specks": WARM_UP_BYTES + PIECE_BYTES * num_voxels,
        "branches": branches,
        "paint": WARM_UP_BYTES + PAINT_BYTES * num_voxels,
    }


def _what_would_fit(plan: BlockMemoryPlan, tile_bytes: float) -> str:
    limit, scan = plan.limit_bytes or 0, plan.scan
    num_slices = scan.shape[2]
    while num_slices and _peak_of(plan, num_slices, tile_bytes) > limit:
        num_slices -= 1
    crop = f", or crop the scan to {num_slices} axial slices" if num_slices > 1 else ""
    return (
        f"the scan of {times(scan.shape)} voxels needs up to {size(plan.peak_bytes)}, more than the "
        f"{size(limit)} of --max-memory; allow {size(1.02 * plan.peak_bytes)}{crop}"
    )


def _peak_of(plan: BlockMemoryPlan, num_slices: int, tile_bytes: float) -> int:
    """Peak of the same scan with fewer axial slices."""
    scan = plan.scan
    prepared = round(scan.prepared_shape[2] * num_slices / scan.shape[2])
    fewer = replace(
        scan,
        shape=(*scan.shape[:2], num_slices),
        prepared_shape=(*scan.prepared_shape[:2], prepared),
    )
    return replace(plan, scan=fewer, stages_bytes=_stages(fewer, tile_bytes)).peak_bytes
