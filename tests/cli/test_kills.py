"""kill -9 while `nomina segment` writes: label map and description are old or new, never half."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.resolve import resolve
from nomina.anatomy.schemes import read_label_map
from nomina.cli.segment_jobs import plan_jobs
from nomina.errors import SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write

KilledAt = Callable[[Callable[[], object], Path, int], bool]
Run = Callable[..., tuple[int, str, str]]


def segmentation(name: str) -> Segmentation:
    (found,) = resolve(name)
    array = np.zeros((6, 6, 6), dtype=np.uint8)
    array[2:4, 2:4, 2:4] = found.label
    label_map = LabelMap(
        array, Grid((6, 6, 6), np.eye(4) * (4, 4, 4, 1)), {found.label: found.name}, "nomina"
    )
    verdict = Verdict(found.name, "present", 0.9, "", 0.5, is_partial=False)
    return Segmentation(label_map, (verdict,), (name,), {"model": "fake"})


def test_a_result_is_the_old_or_the_new_one_wherever_the_kill_falls(
    tmp_path: Path, killed_at: KilledAt
) -> None:
    scan = tmp_path / "scan.nii.gz"
    old, new = segmentation("L4 vertebra"), segmentation("L5 vertebra")
    write(Volume(np.ones((6, 6, 6), dtype=np.int16), old.label_map.grid), scan)
    for n in itertools.count(1):
        out = tmp_path / f"out{n}"
        out.mkdir()
        (job,) = plan_jobs([scan], out / "seg.nii.gz", ".nii.gz").jobs
        job.write(old)
        is_killed = killed_at(lambda job=job: job.write(new), out, n)  # type: ignore[misc]
        try:
            names = set(read_label_map(job.label_map).names.values())
            assert names in ({"L4 vertebra"}, {"L5 vertebra"})
        except SchemeError as error:
            assert "does not say what its values mean" in str(error)  # noqa: PT017
        left = {path.name for path in out.iterdir()} - {"seg.nii.gz", "seg.json"}
        assert all(name.startswith(".") for name in left)
        job.write(new)
        assert set(read_label_map(job.label_map).names.values()) == {"L5 vertebra"}
        assert json.loads(job.sidecar.read_text())["structures"][0]["name"] == "L5 vertebra"
        if not is_killed:
            break
    assert n > 4


def test_the_command_killed_at_any_change_leaves_the_old_or_the_new_and_can_be_run_again(
    tmp_path: Path, killed_at: KilledAt, run_nomina: Run, fake: object
) -> None:
    (l4,) = resolve("L4 vertebra")
    scan = tmp_path / "scan.nii.gz"
    array = np.full((6, 6, 6), l4.label, dtype=np.int16)
    array[0] = 0
    write(Volume(array, Grid((6, 6, 6), np.eye(4) * (4, 4, 4, 1))), scan)
    for n in itertools.count(1):
        out = tmp_path / f"out{n}"
        out.mkdir()
        job = ("segment", scan, "-p", "L4 vertebra", "-o", out / "seg.nii.gz", "--card", out / "run.json")
        is_killed = killed_at(lambda job=job: run_nomina(*job), out, n)  # type: ignore[misc]
        left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
        assert left <= {"seg.nii.gz", "seg.json", "run.json"}
        if "seg.json" in left:
            assert read_label_map(out / "seg.nii.gz").present() == ("L4 vertebra",)
        assert run_nomina(*job, "--skip-existing")[0] == 0
        assert (read_label_map(out / "seg.nii.gz").array > 0).sum() == 5 * 6 * 6
        assert json.loads((out / "run.json").read_text())["asked"]
        if not is_killed:
            break
    assert n > 4


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 30_000, (16, 16, 16), dtype=np.int16)
    grid = Grid((16, 16, 16), np.eye(4))
    write(Volume(noise[::-1].copy(), grid), tmp_path / f"a{suffix}")
    before = (tmp_path / f"a{suffix}").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot be written"):
            write(Volume(noise, grid), tmp_path / f"a{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / f"a{suffix}").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]
