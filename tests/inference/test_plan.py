"""The memory plan: arithmetic that can be checked by hand, and a prediction that is measured."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nomina.errors import ConfigError, VolumeError
from nomina.inference.plan import ScanSize, parse_size, peak_bytes, plan_memory, resident_bytes, size

MIB = 2**20
PIXEL_BYTES = 140 * 8 / 1.1
"""A slice of 128 Ki pixels takes 140 MiB."""
SCAN = ScanSize(
    shape=(32, 512, 512),
    dtype="int16",
    prepared_shape=(32, 256, 512),
    window_px=128,
    num_classes=20,
    num_prompts=3,
)


@pytest.fixture(autouse=True)
def a_process_of_500_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomina.inference.plan.resident_bytes", lambda: 500 * MIB)
    monkeypatch.setattr("nomina.inference.plan.peak_bytes", lambda: 520 * MIB)


def test_stages_are_counted_by_hand() -> None:
    plan = plan_memory(SCAN, pixel_bytes=PIXEL_BYTES)
    assert {stage: num_bytes / MIB for stage, num_bytes in plan.stages_bytes.items()} == {
        "prepare": 32.0,  # 8 Mi voxels × 4
        "look": 64 + 16 + 4 * 140,  # 4 Mi prepared voxels × 4, and 4 slices
        "segment": 64 + 16 + 16 + 2 * 70,
        "name": 64 + 80.0,
    }
    assert plan.peak_bytes == (500 + 640) * MIB
    assert (plan.look_batch, plan.slice_batch) == (4, 2)


def test_a_scan_much_larger_than_its_slices_peaks_where_levels_are_named() -> None:
    plan = plan_memory(
        replace(SCAN, shape=(640, 512, 512), prepared_shape=(640, 256, 512)), pixel_bytes=PIXEL_BYTES
    )
    assert plan.peak_bytes == (500 + 64 + 10 * 160) * MIB


def test_slices_are_counted_as_the_network_pads_them() -> None:
    odd = replace(SCAN, prepared_shape=(32, 250, 500), window_px=123, divisor=32)
    padded = plan_memory(odd, pixel_bytes=PIXEL_BYTES).stages_bytes["segment"]
    exact = plan_memory(SCAN, pixel_bytes=PIXEL_BYTES).stages_bytes["segment"]
    assert exact - padded == 4 * 32 * (256 * 512 - 250 * 500)


def test_a_few_slices_are_not_counted_as_a_batch() -> None:
    few = replace(SCAN, shape=(5, 512, 512), prepared_shape=(5, 256, 512), look_step=4)
    stages = plan_memory(few, pixel_bytes=PIXEL_BYTES).stages_bytes
    # Two whole slices are looked at, then four windows, half as wide each: the same.
    assert stages["look"] / MIB == 64 + 2.5 + 2 * 140
    assert (
        stages["look"] == plan_memory(replace(few, look_step=5), pixel_bytes=PIXEL_BYTES).stages_bytes["look"]
    )


def test_what_was_needed_before_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomina.inference.plan.peak_bytes", lambda: 900 * MIB)
    small = replace(SCAN, shape=(2, 8, 8), prepared_shape=(2, 8, 8), window_px=8)
    assert plan_memory(small, pixel_bytes=0).peak_bytes == 900 * MIB


@pytest.mark.parametrize(
    ("limit_mib", "batches"), [(1140, (4, 2)), (1139, (2, 2)), (860, (2, 2)), (859, (1, 1)), (736, (1, 1))]
)
def test_slices_at_once_are_as_many_as_fit(limit_mib: int, batches: tuple[int, int]) -> None:
    plan = plan_memory(SCAN, pixel_bytes=PIXEL_BYTES, limit_bytes=limit_mib * MIB)
    assert (plan.look_batch, plan.slice_batch) == batches
    assert plan.peak_bytes <= limit_mib * MIB


def test_what_does_not_fit_is_refused_with_two_things_that_would() -> None:
    with pytest.raises(VolumeError, match=r"allow (\d+) MiB, or crop the scan to (\d+) sagittal") as refusal:
        plan_memory(SCAN, pixel_bytes=PIXEL_BYTES, limit_bytes=710 * MIB)
    words = str(refusal.value).split()
    allowed, num_slices = int(words[words.index("allow") + 1]), int(words[words.index("to") + 1])
    assert plan_memory(SCAN, pixel_bytes=PIXEL_BYTES, limit_bytes=allowed * MIB)
    cropped = replace(
        SCAN, shape=(num_slices, *SCAN.shape[1:]), prepared_shape=(num_slices, *SCAN.prepared_shape[1:])
    )
    assert plan_memory(cropped, pixel_bytes=PIXEL_BYTES, limit_bytes=710 * MIB)


def test_a_limit_below_the_program_itself_is_said() -> None:
    with pytest.raises(
        VolumeError, match=r"took 520 MiB already, more than the 100 MiB of --max-memory; allow"
    ):
        plan_memory(SCAN, pixel_bytes=PIXEL_BYTES, limit_bytes=100 * MIB)


def test_the_plan_says_itself_in_one_line_and_as_data() -> None:
    plan = plan_memory(SCAN, pixel_bytes=PIXEL_BYTES, limit_bytes=2**30)
    assert plan.sentence() == (
        "memory: 32 × 512 × 512 int16 voxels, 3 structures of 19, float32, 2 slices at a time: "
        "about 860 MiB of 1.00 GiB allowed"
    )
    data = json.loads(json.dumps(plan.as_dict()))
    assert data["peak_bytes"] == 860 * MIB
    assert data["scan"]["shape"] == [32, 512, 512]


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("2G", 2**31), ("1.5 GiB", 3 * 2**29), ("800mb", 800 * MIB), ("512K", 2**19), ("1048576", MIB)],
)
def test_sizes_are_read(text: str, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize("text", ["", "G", "much", "-2G", "0", "2X", "nan", "inf", "1e99G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"800M, 2G or 1\.5GiB"):
        parse_size(text)


def test_sizes_are_said_in_powers_of_1024() -> None:
    assert (size(3 * 2**29), size(800 * MIB)) == ("1.50 GiB", "800 MiB")


def test_the_plan_needs_no_torch() -> None:
    script = "import sys, nomina.inference.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_memory_of_the_process_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 10 * MIB < resident_bytes() <= 1.01 * peak_bytes()


PEAK = "from nomina.inference.plan import peak_bytes; print(peak_bytes())"


def test_what_a_larger_program_held_that_started_this_one_does_not_count() -> None:
    script = f"""
import subprocess, sys
held = bytearray(b"x" * (400 * 2**20))
subprocess.run([sys.executable, "-c", {PEAK!r}], check=True)
"""
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(found.stdout) < 200 * MIB


def test_windows_which_has_no_resource_module_gets_a_plan_that_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("nomina.inference.plan.PROC", Path("/nowhere"))
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes() == resident_bytes() == 0
    plan = plan_memory(SCAN, pixel_bytes=PIXEL_BYTES)
    assert plan.sentence().endswith(
        "about 640 MiB more than the program, the model and the scan, whose memory cannot be read on this "
        "system"
    )
    with pytest.raises(ConfigError, match="--max-memory cannot be kept on this system; leave it out"):
        plan_memory(SCAN, pixel_bytes=PIXEL_BYTES, limit_bytes=2**30)


def test_a_system_without_proc_says_the_peak_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("nomina.inference.plan.PROC", Path("/nowhere"))
    assert resident_bytes() == peak_bytes() > 10 * MIB


def test_the_plan_is_imported_without_the_resource_module() -> None:
    script = "import sys; sys.modules['resource'] = None; import nomina.inference.plan"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


MEASURE = """
import json, sys
import numpy as np
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume
from nomina.inference.plan import peak_bytes
from nomina.inference.segmenter import Segmenter
shape, limit = tuple(json.loads(sys.argv[1])), json.loads(sys.argv[2])
rng = np.random.default_rng(0)
array = np.stack([rng.integers(0, 255, shape[1:]).astype(np.int16) for _ in range(shape[0])])
volume = Volume(array, Grid(shape, np.diag([2.0, 0.75, 0.75, 1.0])), modality="MR")
segmenter = Segmenter.load("spine-mr", device="cpu")
plan = segmenter.plan(volume, None, max_memory_bytes=limit)
result = segmenter(volume, None, plan=plan)
print(json.dumps([plan.as_dict(), peak_bytes(), int(result.label_map.array.astype(np.int64).sum())]))
"""


def measured(shape: tuple[int, int, int], limit_bytes: int | None) -> tuple[dict[str, int], int]:
    command = [sys.executable, "-c", MEASURE, json.dumps(shape), json.dumps(limit_bytes)]
    plan, most, _ = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return plan, most


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6, 256, 256), (12, 512, 512), (6, 768, 768)])
def test_the_prediction_is_what_the_process_takes(shape: tuple[int, int, int]) -> None:
    plan, most = measured(shape, None)
    assert 0.85 <= most / plan["peak_bytes"] <= 1.1


@pytest.mark.slow
def test_a_limit_is_kept() -> None:
    shape = (8, 512, 512)
    free, _ = measured(shape, None)
    limit = int(free["peak_bytes"] - 0.3 * max(free["stages_bytes"].values()))
    plan, most = measured(shape, limit)
    assert (plan["look_batch"], plan["slice_batch"]) != (free["look_batch"], free["slice_batch"])
    assert most <= 1.1 * limit


UNDER_A_LIMIT = """
import hashlib, json, resource, sys
import numpy as np
from nomina.errors import VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume
from nomina.inference.plan import PROC
from nomina.inference.segmenter import Segmenter
model, room = sys.argv[1], json.loads(sys.argv[2])
shape = (6, 256, 256)
array = np.random.default_rng(0).integers(0, 255, shape).astype(np.int16)
volume = Volume(array, Grid(shape, np.diag([2.0, 0.75, 0.75, 1.0])), modality="MR")
segmenter = Segmenter.load(model, device="cpu")
plan = segmenter.plan(volume, None)
if room is not None:
    pages = int((PROC / "statm").read_text().split()[0])
    expected = max(plan.stages_bytes.values()) if room == "planned" else 0
    limit = pages * resource.getpagesize() + int(1.1 * expected) + 16 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    result = segmenter(volume, None, plan=plan)
except VolumeError as error:
    print(json.dumps(error.code))
else:
    print(json.dumps(hashlib.sha256(result.label_map.array.tobytes()).hexdigest()))
"""


def under_a_limit(model: str, room: str | None) -> str:
    """Fingerprint of the label map, or code of the error, where the kernel gives no more address space."""
    command = [sys.executable, "-c", UNDER_A_LIMIT, model, json.dumps(room)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return str(json.loads(run.stdout))


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit of address space")


@linux
def test_where_the_kernel_gives_no_memory_the_scan_is_refused_in_words(small_checkpoint: Path) -> None:
    assert under_a_limit(str(small_checkpoint), "none") == "no-memory"


@linux
@pytest.mark.slow
def test_what_is_planned_is_enough_address_space_for_the_same_mask() -> None:
    free = under_a_limit("spine-mr", None)
    assert len(free) == 64
    assert under_a_limit("spine-mr", "planned") == free
