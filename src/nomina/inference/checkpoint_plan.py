"""The memory plan of a checkpoint for a scan: the sizes that `plan` and `block_plan` count with."""

from nomina.errors import CheckpointError, ConfigError
from nomina.imaging.ct_preparation import CTPreparation, isotropic_grid
from nomina.imaging.preparation import prepared_grid
from nomina.imaging.volume import Volume
from nomina.inference.block_plan import BlockMemoryPlan, BlockScan, plan_block_memory
from nomina.inference.footprint import pixel_bytes, tile_bytes
from nomina.inference.plan import MemoryPlan, ScanSize, plan_memory
from nomina.inference.slices import slice_network, slice_preparation, slice_words
from nomina.networks.checkpoint import Checkpoint
from nomina.networks.la_caf import LACAF
from nomina.networks.predict import LOOK_STEP


def forward_bytes(checkpoint: Checkpoint) -> float:
    """What a forward pass holds, per pixel or per tile; 0 on a GPU, whose memory is not planned."""
    network, block_size = checkpoint.network, checkpoint.config.block_size
    if next(network.parameters()).device.type != "cpu":
        return 0.0
    if isinstance(network, LACAF):
        return tile_bytes(network, checkpoint.words(), block_size) if block_size else 0.0
    network, num_slices = slice_network(checkpoint)
    return pixel_bytes(network, slice_words(checkpoint).constant(1), num_slices=num_slices)


def checkpoint_plan(
    checkpoint: Checkpoint, volume: Volume, num_prompts: int, held_bytes: float, limit_bytes: int | None
) -> MemoryPlan | BlockMemoryPlan:
    """The plan that the checkpoint's network takes: `block_plan` or `slice_plan`, whose arguments these are.

    Raises:
        VolumeError: The scan cannot be segmented in so little memory.
        ConfigError: There is a limit, and the system does not say what the process holds already.
    """
    make = block_plan if isinstance(checkpoint.network, LACAF) else slice_plan
    return make(checkpoint, volume, num_prompts, held_bytes, limit_bytes)


def require_own_plan(checkpoint: Checkpoint, plan: MemoryPlan | BlockMemoryPlan | None) -> None:
    """Refuse a plan for a network of another kind: its limit would not be kept.

    Raises:
        ConfigError: It is one.
    """
    own = BlockMemoryPlan if isinstance(checkpoint.network, LACAF) else MemoryPlan
    if plan is not None and not isinstance(plan, own):
        raise ConfigError(
            f"the plan is a {type(plan).__name__}, but checkpoint {checkpoint.name} needs a "
            f"{own.__name__}; make it with Segmenter.plan of this checkpoint"
        )


def slice_plan(
    checkpoint: Checkpoint, volume: Volume, num_prompts: int, held_bytes: float, limit_bytes: int | None
) -> MemoryPlan:
    """See `plan_memory`.

    Args:
        checkpoint: Holds a network of slices.
        volume: The scan.
        num_prompts: Structures asked for.
        held_bytes: See `forward_bytes`.
        limit_bytes: The most that the process may hold; None: no bound.

    Raises:
        VolumeError: The scan is not sagittal, or cannot be segmented in so little memory.
        ConfigError: There is a limit, and the system does not say what the process holds already.
    """
    cfg, grid, preparation = checkpoint.config, volume.canonical().grid, slice_preparation(checkpoint)
    prepared = prepared_grid(grid, preparation)
    scan = ScanSize(
        shape=grid.shape,
        dtype=str(volume.array.dtype),
        prepared_shape=prepared.shape,
        window_px=min(cfg.window_px or prepared.shape[1], prepared.shape[1]),
        num_classes=len(checkpoint.structures) + 1,
        num_prompts=num_prompts,
        look_step=LOOK_STEP,
        divisor=slice_network(checkpoint)[0].divisor,
        has_shading=preparation.shading_mm is not None,
    )
    return plan_memory(scan, pixel_bytes=held_bytes, limit_bytes=limit_bytes)


def block_plan(
    checkpoint: Checkpoint, volume: Volume, num_prompts: int, held_bytes: float, limit_bytes: int | None
) -> BlockMemoryPlan:
    """See `plan_block_memory`; arguments as `slice_plan`.

    Raises:
        CheckpointError: The checkpoint holds no network of blocks.
        VolumeError: The scan cannot be segmented in so little memory.
        ConfigError: There is a limit, and the system does not say what the process holds already.
    """
    cfg, grid = checkpoint.config, volume.canonical().grid
    if not isinstance(cfg.preparation, CTPreparation) or cfg.block_size is None:
        raise CheckpointError(f"checkpoint {checkpoint.name} holds no network of blocks for CT")
    scan = BlockScan(
        shape=grid.shape,
        dtype=str(volume.array.dtype),
        prepared_shape=isotropic_grid(grid, cfg.preparation.spacing_mm).shape,
        block_size=cfg.block_size,
        num_classes=len(checkpoint.structures),
        has_whole_branches=cfg.vessels.has_whole_branches,
        num_prompts=num_prompts,
    )
    return plan_block_memory(scan, tile_bytes=held_bytes, limit_bytes=limit_bytes)
