"""The memory plan of blocks: arithmetic that can be checked by hand, and refusals that say what fits."""

import json
from dataclasses import replace

import pytest

from nomina.errors import VolumeError
from nomina.inference.block_plan import BlockScan, plan_block_memory

MIB = 2**20
SCAN = BlockScan(
    shape=(512, 512, 256),
    dtype="int16",
    prepared_shape=(256, 256, 128),
    block_size=(64, 64, 64),
    num_classes=2,
    num_prompts=1,
)
TILE_BYTES = 200 * MIB / 1.1


@pytest.fixture(autouse=True)
def a_process_of_500_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomina.inference.block_plan.resident_bytes", lambda: 500 * MIB)
    monkeypatch.setattr("nomina.inference.block_plan.peak_bytes", lambda: 520 * MIB)


def test_stages_are_counted_by_hand() -> None:
    plan = plan_block_memory(SCAN, tile_bytes=TILE_BYTES)
    assert {stage: num_bytes / MIB for stage, num_bytes in plan.stages_bytes.items()} == {
        "lungs": 3 * 64.0,
        "prepare": 64.0 + 32,  # 512 planes of 256 × 128, and 8 Mi voxels, 4 bytes each
        "tiles": 64.0 + 32 + 2 * 2 * 32 + 32 + 200,
        "winner": 64.0 + 32 + 2 * 32 + 3 * 64,
        "specks": 64.0 + 12 * 64,
        "branches": 0.0,
        "paint": 64.0 + 6 * 64,
    }
    assert plan.peak_bytes == (500 + 64 + 12 * 64) * MIB
    assert plan.sentence() == (
        "memory: 512 × 512 × 256 int16 voxels, 1 structure, float32, tiles of 64 × 64 × 64: at most about "
        "1.30 GiB"
    )
    assert json.loads(json.dumps(plan.as_dict()))["peak_bytes"] == plan.peak_bytes


def test_voting_on_branches_counts() -> None:
    plan = plan_block_memory(replace(SCAN, has_whole_branches=True), tile_bytes=TILE_BYTES)
    assert plan.stages_bytes["branches"] == (64 + 12 * 64) * MIB + 400_000_000
    assert plan.peak_bytes == 500 * MIB + plan.stages_bytes["branches"]


def test_what_does_not_fit_is_refused_with_two_things_that_would() -> None:
    with pytest.raises(VolumeError, match=r"allow (\S+) GiB, or crop the scan to (\d+) axial") as refusal:
        plan_block_memory(SCAN, tile_bytes=TILE_BYTES, limit_bytes=1000 * MIB)
    words = str(refusal.value).split()
    allowed, num_slices = float(words[words.index("allow") + 1]), int(words[words.index("axial") - 1])
    assert plan_block_memory(SCAN, tile_bytes=TILE_BYTES, limit_bytes=int(allowed * 2**30))
    # 436 MiB are left for 64 MiB and 12 bytes for each of 512 × 512 voxels a slice.
    assert num_slices == (1000 - 500 - 64) * 4 // 12
    with pytest.raises(VolumeError, match=r"took 520 MiB already, more than the 100 MiB of --max-memory"):
        plan_block_memory(SCAN, tile_bytes=TILE_BYTES, limit_bytes=100 * MIB)
