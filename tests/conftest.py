"""Fixtures shared by all tests."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.plain_files import MAX_JSON_BYTES

CHEST_SHAPE = (44, 28, 28)
CHEST_MM = 4.0
LUNGS_ALONG_R = {"left": slice(4, 18), "right": slice(26, 40)}
VESSELS = (("artery", 3, 450), ("vein", 8, 250))
"""Kind, place across the lung, HU."""

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}

KilledAt = Callable[[Callable[[], object], Path, int], bool]
ReadOnly = Callable[[Path], AbstractContextManager[None]]

_CAPABILITIES_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
"""Numbers of linux/capability.h: the right to write where the mode of a folder says no."""

_DAMAGED_JSON = {
    "cut off": b'{"a": ',
    "nested without end": b"[" * 100_000,
    "not UTF-8": b'{"a": "\xff"}',
    "a list": b"[1, 2]",
    "a number": b"7",
}


@pytest.fixture(params=[*_DAMAGED_JSON, "too long", "a pipe"])
def spoil_json(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Puts something in a JSON file's place that is not the object that its reader expects."""

    def spoil(path: Path) -> None:
        path.unlink(missing_ok=True)
        if request.param == "a pipe":
            os.mkfifo(path)
        elif request.param == "too long":
            with path.open("wb") as file:
                file.truncate(MAX_JSON_BYTES + 1)
        else:
            path.write_bytes(_DAMAGED_JSON[request.param])

    return spoil


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations are not checked: what is of the wrong type reaches the code, which must refuse it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def least_seconds() -> Callable[..., float]:
    """`least_seconds(code, *arguments, limit=s)`: processor time of a fresh Python, the best of up to ten.

    Processor time, because other tests run at the same time; the best, because caches are cold at first and
    neighbours on the same processor slow it down. It stops at the first that keeps to the limit.
    """

    def measure(code: str, *arguments: str, limit: float) -> float:
        least = float("inf")
        for _ in range(10):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            least = min(least, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
            if least <= limit:
                break
        return least

    return measure


@pytest.fixture
def killed_at() -> KilledAt:
    """`killed_at(work, folder, n)` runs work in a process that is killed right before its n-th change there.

    A change is a file opened for writing, renamed or deleted, or a folder made or deleted. Returns False when
    the work ended, without an error, before it made n changes. The kill is SIGKILL: nothing can catch it.
    """

    def run(work: Callable[[], object], folder: Path, n: int) -> bool:
        child = os.fork()
        if child == 0:
            _die_at_change(folder, n)
            try:
                work()
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0, "the work failed before it could be killed"
        return False

    return run


def _die_at_change(folder: Path, n: int) -> None:
    num_changes = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal num_changes
        is_write = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (is_write or event in _CHANGES) and str(arguments[0]).startswith(str(folder)):
            num_changes += 1
            if num_changes == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@pytest.fixture(scope="session")
def read_only() -> ReadOnly:
    """`with read_only(folder):` nothing can be written into an own folder, not even by root."""

    @contextmanager
    def hold(folder: Path) -> Iterator[None]:
        mode = folder.stat().st_mode
        folder.chmod(0o500)
        try:
            with _bound_by_modes(folder):
                yield
        finally:
            folder.chmod(mode)

    return hold


@contextmanager
def _bound_by_modes(folder: Path) -> Iterator[None]:
    """Root lays down, in this thread and for a while, its right to write where modes forbid it."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root may write anywhere, and only Linux lets it lay that right down for a while")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    rights = (ctypes.c_uint32 * 6)()  # twice (effective, permitted, inheritable), low words first
    libc.capget(header, rights)
    fewer = type(rights)(*rights)
    fewer[0] &= ~(1 << _CAP_DAC_OVERRIDE)
    libc.capset(header, fewer)
    try:
        if os.access(folder, os.W_OK, effective_ids=True):
            pytest.skip(f"root can write into {folder} whatever its mode is, and cannot lay that right down")
        yield
    finally:
        libc.capset(header, rights)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real scans, kept beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real scans are not here: expected a folder shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def box_chest() -> Callable[..., tuple[Volume, LabelMap]]:
    """Two box lungs of 300 ml, an artery and a darker vein along S in each; axes R, A, S at 4 mm."""

    def make(seed: int = 0) -> tuple[Volume, LabelMap]:
        hu, labels = np.full(CHEST_SHAPE, 40.0), np.zeros(CHEST_SHAPE, dtype=np.uint8)
        names = {}
        for side, along_r in LUNGS_ALONG_R.items():
            hu[along_r, 4:24, 3:25] = -850
            # The right lung's vessels lie further back, so that a mirror image is another picture.
            back = 8 if side == "left" else 15
            for kind, across, value in VESSELS:
                first = along_r.start + across
                where = (slice(first, first + 3), slice(back, back + 3), slice(5, 23))
                hu[where] = value
                found = structure(f"{side} pulmonary {kind}")
                labels[where] = found.label
                names[found.label] = found.name
        hu += np.random.default_rng(seed).normal(0, 10, CHEST_SHAPE)
        affine = np.diag([CHEST_MM, CHEST_MM, CHEST_MM, 1.0])
        affine[:3, 3] = (-90, -40, 100)
        grid = Grid(CHEST_SHAPE, affine)
        volume = Volume(np.rint(hu).astype(np.int16), grid, modality="CT")
        return volume, LabelMap(labels, grid, names=names, scheme="nomina")

    return make


@pytest.fixture(scope="session")
def reader_of_hu() -> Callable[..., Any]:
    """Makes a segmenter whose network is sure of an artery at 450 HU and of a vein at 250 HU."""
    import torch

    from nomina.imaging.ct_preparation import CTPreparation
    from nomina.inference.segmenter import Segmenter
    from nomina.language.encoders import build_bank, load_encoder
    from nomina.language.vessel_prompts import VESSELS as STRUCTURES
    from nomina.language.vessel_prompts import all_vessel_sentences
    from nomina.networks.checkpoint import Checkpoint, CheckpointConfig
    from nomina.networks.genesis_unet import GenesisUNetConfig
    from nomina.networks.la_caf import LACAF, NOMINA
    from nomina.networks.words import ClassPrompts

    class ByIntensity(LACAF):
        """Reads a window of -1000 to 600 HU."""

        def forward(self, patch: torch.Tensor, words: ClassPrompts) -> torch.Tensor:
            hu = 1600 * patch - 1000
            return torch.cat([(hu - 350) / 10, torch.minimum(hu - 150, 350 - hu) / 10], dim=1)

    def make(block: int, name: str = "known", digest: str = "0" * 64) -> Segmenter:
        network = replace(
            NOMINA,
            backbone=GenesisUNetConfig(stage_channels=(4, 8), norm="instance"),
            **{"width": 8, "num_heads": 2, "norm_groups": 2},
        )
        config = CheckpointConfig(
            network=network,
            preparation=CTPreparation(spacing_mm=CHEST_MM),
            block_size=(block, block, block),
            modality="CT",
            scheme="nomina",
        )
        bank = build_bank(load_encoder("minilm"), all_vessel_sentences(STRUCTURES))
        reader = ByIntensity(network, num_classes=2, text_width=384).eval()
        return Segmenter(Checkpoint(name, config, STRUCTURES, bank, reader, digest, {}))

    return make


@pytest.fixture(scope="session")
def stored_as() -> Callable[[Volume, tuple[int, int, int], tuple[bool, bool, bool]], Volume]:
    """The same scan stored with other axes."""

    def store(volume: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
        array = volume.array.transpose(order)
        affine = volume.grid.affine[:, [*order, 3]].copy()
        for axis, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
                affine[:3, axis] *= -1
                array = np.flip(array, axis)
        return replace(volume, array=np.ascontiguousarray(array), grid=Grid(array.shape, affine))

    return store
