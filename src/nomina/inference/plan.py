"""How much memory a segmentation will take, before it starts, and how to make it fit. Needs no torch.

A segmentation goes through four stages, each of which lets go of what the next does not need. What a stage
holds is counted in bytes per voxel of the scan, per voxel of the prepared scan and per pixel in the network;
`docs/reference/memory.md` says how the counts were made and how far they lie from what was measured.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from nomina.errors import ConfigError, VolumeError

LOOK_BATCH = 4
"""Slices at once where the network only looks: for the window, and for facts [choice]."""

SLICE_BATCH = 2
"""Slices at once where it segments [choice]."""

BATCHES = ((LOOK_BATCH, SLICE_BATCH), (SLICE_BATCH, SLICE_BATCH), (SLICE_BATCH, 1), (1, 1))
"""What is tried in turn, until it fits."""

FLOAT = 4
"""Bytes of a float32."""

LEVEL_BYTES = 10
"""Per voxel while levels are named: classes, certainty, discs, their pieces (4), bodies, mask and result."""

WINNER_BYTES = 2
"""Per voxel while slices are segmented: class and certainty."""

SHADING_COPIES = 4
"""Copies of the prepared scan while shading is taken out."""

WARM_UP_BYTES = 64 * 2**20
"""What the libraries keep for themselves from the first slice on [measured: 50 to 70 MiB]."""

NETWORK_SLACK = 1.1
"""What the network takes of the system's memory for a byte of tensors [measured: 0.9 to 1.12]."""

PLANE_COPIES = 2.5
"""Copies of one slice's probabilities on the scan's grid while the winner is taken."""

PROC = Path("/proc/self")
"""Where Linux says what a process holds; other systems have no such folder."""

_LACKS_MEMORY = ("allocate memory", "out of memory")
"""What PyTorch says of the CPU's memory and of a GPU's."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class ScanSize:
    """What the plan must know of a scan and of the network that is to see it."""

    shape: tuple[int, int, int]
    """Voxels along R, A, S."""
    dtype: str
    """Type of the voxels as they were read, e.g. "int16"."""
    prepared_shape: tuple[int, int, int]
    """The same after preparation: the grid of the network."""
    window_px: int
    """Pixels along A that the network sees at once when it segments; at most `prepared_shape[1]`."""
    num_classes: int
    """Classes of the network, background included; all are computed, however many are asked for."""
    num_prompts: int
    """Structures asked for."""
    look_step: int = 1
    """One slice of so many is looked at to place the window."""
    divisor: int = 1
    """The network sees slices whose sides are padded to multiples of this."""
    has_shading: bool = False
    """Whether preparation takes the shading out."""


@dataclass(frozen=True, kw_only=True)
class ExpectedMemory:
    """What a segmentation is expected to take, whatever its network sees."""

    network_dtype: str
    stages_bytes: Mapping[str, int]
    """What each stage adds to what was resident before."""
    resident_bytes: int
    """Memory of the process when the plan was made: program, weights, scan."""
    earlier_peak_bytes: int
    """The most that the process had needed until then, for example to read the scan; 0: it is not known."""
    limit_bytes: int | None = None
    """What it may take; None: no limit was set."""

    def __post_init__(self) -> None:
        if self.limit_bytes is not None and not self.earlier_peak_bytes:
            raise ConfigError(
                "this system does not say how much memory the program holds, so --max-memory cannot be kept "
                "on this system; leave it out"
            )

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process is expected to have held at its end."""
        return max(self.earlier_peak_bytes, self.resident_bytes + max(self.stages_bytes.values()))

    @property
    def fits(self) -> bool:
        """Whether it stays within its limit."""
        return self.limit_bytes is None or self.peak_bytes <= self.limit_bytes

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "peak_bytes": self.peak_bytes}

    def about(self) -> str:
        """The peak, and what is allowed of it, for people."""
        if not self.earlier_peak_bytes:
            return (
                f"about {size(self.peak_bytes)} more than the program, the model and the scan, whose memory "
                f"cannot be read on this system"
            )
        allowed = "" if self.limit_bytes is None else f" of {size(self.limit_bytes)} allowed"
        return f"about {size(self.peak_bytes)}{allowed}"

    def require_room(self) -> None:
        """Refuse a limit that was passed before anything is segmented.

        Raises:
            VolumeError: The program, the model and reading the scan took more.
        """
        if self.limit_bytes is not None and self.earlier_peak_bytes > self.limit_bytes:
            raise VolumeError(
                f"the program, the model and reading the scan took {size(self.earlier_peak_bytes)} already, "
                f"more than the {size(self.limit_bytes)} of --max-memory; allow {size(self.peak_bytes)}",
                code="too-large",
            )


@contextmanager
def lack_of_memory_said(plan: ExpectedMemory) -> Iterator[None]:
    """Memory that runs out within is an error in words.

    Raises:
        VolumeError: It ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch has no type of its own for what the CPU lacks.
        words = str(error)
        if not isinstance(error, MemoryError) and not any(part in words for part in _LACKS_MEMORY):
            raise
        raise VolumeError(
            f"memory ran out while the scan was segmented ({plan.about()} was expected); free memory, crop "
            f"the scan, or give --max-memory what is free, to be told beforehand what would fit",
            code="no-memory",
        ) from error


@dataclass(frozen=True, kw_only=True)
class MemoryPlan(ExpectedMemory):
    """How a scan will be segmented slice by slice, and the memory that this is expected to take."""

    scan: ScanSize
    look_batch: int
    slice_batch: int

    def sentence(self) -> str:
        """One line for people."""
        scan = self.scan
        return (
            f"memory: {times(scan.shape)} {scan.dtype} voxels, {structures(scan.num_prompts)} of "
            f"{scan.num_classes - 1}, {self.network_dtype}, {self.slice_batch} "
            f"slice{'s' * (self.slice_batch > 1)} at a time: {self.about()}"
        )


def plan_memory(scan: ScanSize, *, pixel_bytes: float, limit_bytes: int | None = None) -> MemoryPlan:
    """Choose how many slices the network sees at once.

    Args:
        scan: Sizes.
        pixel_bytes: What the network's forward pass holds at most, per pixel of its input; 0 where it
            works in another memory (a GPU's).
        limit_bytes: The most that the process may hold in memory; None: as fast as it can be.

    Raises:
        VolumeError: No plan fits; the message says what would.
        ConfigError: There is a limit, and the system does not say what the process holds already.
    """
    resident, earlier = resident_bytes(), peak_bytes()
    for look, slices in BATCHES:
        stages = _stages(scan, pixel_bytes, look, slices)
        plan = MemoryPlan(
            scan=scan,
            network_dtype="float32",
            look_batch=look,
            slice_batch=slices,
            stages_bytes=stages,
            resident_bytes=resident,
            earlier_peak_bytes=earlier,
            limit_bytes=limit_bytes,
        )
        if plan.fits:
            return plan
    plan.require_room()
    raise VolumeError(_what_would_fit(plan, pixel_bytes), code="too-large")


def parse_size(text: str) -> int:
    """Bytes of "2G", "1.5 GiB", "800M"; K, M, G and T are powers of 1024.

    Raises:
        ConfigError: It is no such size, or not above 0.
    """
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in ("K", "M", "G", "T") else ""
    try:
        value = float(number.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        value = 0.0
    if not 1 <= value < 2**60:
        raise ConfigError(f"a size of memory reads 800M, 2G or 1.5GiB, got {text!r}")
    return int(value)


def size(num_bytes: float) -> str:
    """A size for people, in powers of 1024."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def times(shape: tuple[int, int, int]) -> str:
    """A shape for people: "32 × 512 × 512"."""
    return " × ".join(map(str, shape))


def structures(count: int) -> str:
    """A count for people: "3 structures"."""
    return f"{count} structure" + "s" * (count != 1)


def resident_bytes() -> int:
    """Memory that this process holds now; where the system does not say, the most that it ever held."""
    try:
        return int((PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has held; 0 where the system does not say."""
    try:
        # Linux's ru_maxrss starts at what the program held that started this one.
        return int((PROC / "status").read_text(errors="replace").partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows has no such module.
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def _stages(scan: ScanSize, pixel_bytes: float, look: int, slices: int) -> dict[str, int]:
    num_voxels = prod(scan.shape)
    prepared = FLOAT * prod(scan.prepared_shape)
    height = _padded(scan.prepared_shape[2], scan.divisor)
    per_column = NETWORK_SLACK * pixel_bytes * height
    whole, window = (_padded(px, scan.divisor) for px in (scan.prepared_shape[1], scan.window_px))
    num_looked_at = -(-scan.shape[0] // scan.look_step) if window < whole else 0
    looking = max(min(look, num_looked_at) * whole, min(look, scan.shape[0]) * window) * per_column
    segmenting = min(slices, scan.shape[0]) * window * per_column
    plane = PLANE_COPIES * FLOAT * scan.num_classes * scan.shape[1] * scan.shape[2]
    return {
        "prepare": max(FLOAT * num_voxels, prepared * (SHADING_COPIES if scan.has_shading else 1)),
        "look": WARM_UP_BYTES + prepared + int(looking),
        "segment": WARM_UP_BYTES + prepared + WINNER_BYTES * num_voxels + int(max(segmenting, plane)),
        "name": WARM_UP_BYTES + LEVEL_BYTES * num_voxels,
    }


def _what_would_fit(plan: MemoryPlan, pixel_bytes: float) -> str:
    """Why even the leanest plan does not fit, and what would."""
    limit = plan.limit_bytes or 0
    num_slices = plan.scan.shape[0]
    while num_slices and _peak_of(plan, num_slices, pixel_bytes) > limit:
        num_slices -= 1
    crop = f", or crop the scan to {num_slices} sagittal slices" if num_slices > 1 else ""
    return (
        f"the scan of {times(plan.scan.shape)} voxels needs about {size(plan.peak_bytes)} even "
        f"with one slice at a time, more than the {size(limit)} of --max-memory; "
        f"allow {size(1.02 * plan.peak_bytes)}{crop}"
    )


def _peak_of(plan: MemoryPlan, num_slices: int, pixel_bytes: float) -> int:
    """Peak of the leanest plan for the same scan with fewer sagittal slices."""
    scan = plan.scan
    fewer = replace(
        scan,
        shape=(num_slices, *scan.shape[1:]),
        prepared_shape=(num_slices, *scan.prepared_shape[1:]),
    )
    return replace(plan, scan=fewer, stages_bytes=_stages(fewer, pixel_bytes, 1, 1)).peak_bytes


def _padded(size_px: int, divisor: int) -> int:
    return -(-size_px // divisor) * divisor
