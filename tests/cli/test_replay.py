"""`nomina replay`: a run card makes the same label map again, or says what is not the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nomina.anatomy.schemes import read_label_map
from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scan(fake: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_scan("scan.nii.gz")


def write_scan(name: str, place: int = 0) -> Path:
    array = np.zeros((4, 5, 6), dtype=np.uint8)
    array[1, :, :4] = structure("L4 vertebra").label
    array[2, place, 2:] = structure("spinal canal").label
    write(Volume(array, Grid(array.shape, np.diag([3.0, 1.0, 1.0, 1.0]))), Path(name))
    return Path(name)


def card_of(run_nomina: Run, scan: Path, *options: str) -> dict[str, Any]:
    assert run_nomina("segment", scan, *options, "--card", "run.json")[0] == 0
    return json.loads(Path("run.json").read_text())


def change(section: str, **values: object) -> None:
    card = json.loads(Path("run.json").read_text())
    card[section] |= values
    Path("run.json").write_text(json.dumps(card))


@pytest.mark.parametrize("options", [("--all",), ("-p", "canal", "-p", "L4", "--scheme", "spider")])
def test_a_card_gives_the_same_mask_again(run_nomina: Run, scan: Path, options: tuple[str, ...]) -> None:
    card_of(run_nomina, scan, *options)
    code, out, err = run_nomina("replay", "run.json")
    assert (code, err) == (0, "")
    assert out == "scan_seg.nii.gz: the same in all 120 voxels, bit for bit\n"


def test_a_card_says_what_was_asked_and_no_path(run_nomina: Run, scan: Path, tmp_path: Path) -> None:
    card = card_of(run_nomina, scan, "-p", "L4-5 disk", "--scheme", "spider")
    assert card["asked"] == {
        "prompts": ["L4-5 disk"],
        "anchors": [],
        "mode": "predicted",
        "scheme": "spider",
    }
    assert len(card["scan"]["sha256"]) == len(card["output"]["voxels_sha256"]) == 64
    assert {"nomina", "torch", "numpy"} <= set(card["versions"])
    assert str(tmp_path) not in Path("run.json").read_text()
    assert card_of(run_nomina, scan, "--all", "--card-paths")["scan"]["path"] == str(tmp_path / scan)


def test_anchors_are_in_the_card_and_the_json_file_and_are_replayed(run_nomina: Run, scan: Path) -> None:
    without = card_of(run_nomina, scan, "--all")
    card = card_of(run_nomina, scan, "--all", "--anchor", "lowest vertebra is L5")
    assert card["asked"]["anchors"] == ["lowest vertebra is L5"]
    assert json.loads(Path("scan_seg.json").read_text())["anchors"] == ["lowest vertebra is L5"]
    assert card["output"]["voxels_sha256"] != without["output"]["voxels_sha256"]
    assert run_nomina("replay", "run.json")[0] == 0
    change("asked", anchors=[])
    code, _, err = run_nomina("replay", "run.json")
    assert code == 1
    assert "not the same" in err


def test_a_card_of_before_there_were_anchors_is_replayed(run_nomina: Run, scan: Path) -> None:
    card = card_of(run_nomina, scan, "--all")
    del card["asked"]["anchors"]
    Path("run.json").write_text(json.dumps(card))
    assert run_nomina("replay", "run.json")[0] == 0


def test_several_scans_have_a_card_each_beside_their_label_maps(run_nomina: Run, scan: Path) -> None:
    write_scan("other.mha", place=1)
    assert run_nomina("segment", scan, "other.mha", "--all", "-o", "out", "--card", "run.json")[0] == 0
    cards = sorted(path.name for path in Path("out").glob("*.run.json"))
    assert cards == ["other_seg.run.json", "scan_seg.run.json"]
    assert run_nomina("replay", "out/other_seg.run.json")[0] == 0
    assert run_nomina("segment", scan, "other.mha", "--all", "--card", "cards/run.json")[0] == 1


def test_another_scan_is_refused_by_name(run_nomina: Run, scan: Path, fake: Any) -> None:
    card_of(run_nomina, scan, "--all")
    fake.loaded.clear()
    code, _, err = run_nomina("replay", "run.json", "--scan", write_scan("other.nii.gz", place=1))
    assert code == 1
    assert "differs: another scan: sha256 " in err
    assert fake.loaded == []


def test_another_checkpoint_is_refused_by_its_digest(run_nomina: Run, scan: Path) -> None:
    digest = card_of(run_nomina, scan, "--all")["model"]["digest"]
    change("model", digest="f" * 64)
    code, _, err = run_nomina("replay", "run.json")
    assert code == 1
    assert f"differs: another checkpoint: sha256 {digest}, the card says {'f' * 64}" in err


def test_another_version_is_named_even_if_the_mask_is_the_same(run_nomina: Run, scan: Path) -> None:
    card_of(run_nomina, scan, "--all")
    change("versions", torch="1.0")
    code, out, err = run_nomina("replay", "run.json")
    assert code == 1
    assert "the same in all 120 voxels" in out
    assert f"differs: torch is {torch.__version__.split('+')[0]}" in err
    assert "the card says 1.0" in err


def test_another_mask_is_counted_in_voxels(run_nomina: Run, scan: Path) -> None:
    card_of(run_nomina, scan, "--all")
    change("asked", prompts=["spinal canal"])
    code, _, err = run_nomina("replay", "run.json")
    assert code == 1
    assert "differs: the mask in 20 of 120 voxels from scan_seg.nii.gz\n" in err
    label_map = read_label_map("scan_seg.nii.gz")
    altered = label_map.array.copy()
    altered[0, 0, 0] = structure("L4 vertebra").label
    write(LabelMap(altered, label_map.grid, names=label_map.names), "scan_seg.nii.gz")
    assert (
        "the mask in 21 of 120 voxels from scan_seg.nii.gz, which was altered since"
        in (run_nomina("replay", "run.json")[2])
    )


def test_threads_and_batches_are_those_of_the_card(run_nomina: Run, scan: Path, fake: Any) -> None:
    card_of(run_nomina, scan, "--all")
    change("machine", threads=3)
    before = torch.get_num_threads()
    run_nomina("replay", "run.json")
    assert fake.threads[-1] == 3
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "content", ["no json", "[]", '{"format": "nomina-run-9"}', '{"format": "nomina-run-1"}']
)
def test_what_is_no_card_is_refused(run_nomina: Run, scan: Path, content: str) -> None:
    Path("run.json").write_text(content)
    code, _, err = run_nomina("replay", "run.json")
    assert code == 1
    assert "run card" in err


def test_a_file_that_is_no_card_is_never_replaced(run_nomina: Run, scan: Path) -> None:
    Path("run.json").write_text("{}")
    assert run_nomina("segment", scan, "--all", "--card", "run.json")[0] == 1
    assert Path("run.json").read_text() == "{}"


def test_a_scan_that_is_not_found_is_asked_for(run_nomina: Run, scan: Path) -> None:
    card_of(run_nomina, scan, "--all")
    scan.rename("moved.nii.gz")
    assert "--scan" in run_nomina("replay", "run.json")[2]
    assert run_nomina("replay", "run.json", "--scan", "moved.nii.gz")[0] == 0


def test_regions_that_the_card_does_not_know_are_refused(run_nomina: Run, scan: Path) -> None:
    card_of(run_nomina, scan, "--all")
    code, out, err = run_nomina("replay", "run.json", "--regions", str(scan))
    assert (code, out) == (2, "")
    assert "without regions" in err


def test_one_of_several_series_is_replayed_when_it_is_named(
    run_nomina: Run, scan: Path, write_series: Callable[..., None]
) -> None:
    for uid, name in (("1.2.3", "L4 vertebra"), ("1.2.4", "spinal canal")):
        write_series(Path("study"), uid, structure(name).label)
    assert run_nomina("segment", "study", "--all", "--series", "1.2.3", "--card", "run.json")[0] == 0
    code, _, err = run_nomina("replay", "run.json")
    assert code == 1
    assert "2 series are mixed here" in err
    assert run_nomina("replay", "run.json", "--series", "1.2.4")[0] == 1
    assert run_nomina("replay", "run.json", "--series", "1.2.3")[0] == 0


def test_json_nested_without_end_is_no_card(run_nomina: Run, scan: Path) -> None:
    Path("run.json").write_text("[" * 200_000)
    code, _, err = run_nomina("replay", "run.json")
    assert code == 1
    assert "nested too deeply" in err
    assert run_nomina("segment", ".", "--all", "-o", "out")[0] == 0
