"""`nomina segment` with a segmenter that reads label values off the scan's intensities."""

import json
import os
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nomina.anatomy.schemes import read_label_map
from nomina.anatomy.structures import structure
from nomina.cli.segment_jobs import Asked, Job, plan_jobs
from nomina.cli.segment_report import print_table, remark
from nomina.errors import OutputError
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_volume
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write
from nomina.networks.contract import HASHED_FILES, recorded_digest
from nomina.networks.shipped import checkpoint_folder

AFFINE = np.array([[0.0, 0, 3, -10], [-0.5, 0, 0, 20], [0, 0.75, 0, 5], [0, 0, 0, 1]])
SHOWN = ("L5 vertebra", "L4 vertebra", "L4-L5 disc", "spinal canal")
Run = Callable[..., tuple[int, str, str]]
ReadOnly = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def in_empty_folder(fake: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_scan(tmp_path / "scan.nii.gz")


def write_scan(path: Path, extra: int = 0) -> Path:
    array = np.zeros((4, 5, 6), dtype=np.uint8)
    for index, name in enumerate(SHOWN):
        array[index, :, : index + 2] = structure(name).label
    array[0, 0, 5] = extra
    path.parent.mkdir(parents=True, exist_ok=True)
    write(Volume(array, Grid(array.shape, AFFINE)), path)
    return path


@pytest.fixture
def run(run_nomina: Run) -> Run:
    return partial(run_nomina, "segment")


def test_a_scan_and_words_give_a_label_map_in_the_scans_geometry(run: Run, scan: Path) -> None:
    code, out, _ = run(scan, "-p", "L4-5 disk", "-p", "spinal canal", "-o", "out.mha")
    label_map = read_label_map("out.mha")
    volume = read_volume(scan)
    assert code == 0
    assert label_map.grid.matches(volume.grid)
    for name in ("L4-L5 disc", "spinal canal"):
        assert np.array_equal(label_map.mask(name), volume.array == structure(name).label)
    assert set(label_map.names.values()) == {"L4-L5 disc", "spinal canal"}
    assert out.splitlines()[2].split()[:5] == ["L4-L5", "disc", "present", "0.90", "0.0"]


def test_a_line_per_structure_says_verdict_score_volume_and_why(run: Run, scan: Path) -> None:
    _, out, err = run(scan, "--all")
    header, titles, *lines = out.splitlines()
    assert header == "# scan.nii.gz"
    assert titles.split() == ["structure", "verdict", "score", "volume_ml", "remark"]
    assert len(lines) == len(SHOWN) + 1
    assert lines[0].endswith("cut by the border of the scan; score not calibrated")
    assert lines[-1].split("  ")[:2] == ["T12 vertebra", "outside"]
    assert lines[-1].endswith("by its intensity; score not calibrated")
    assert "wrote scan_seg.nii.gz and scan_seg.json" in err
    assert "where the table says 'score not calibrated' (is_calibrated in the JSON file), scores rank" in err


def test_only_scores_without_calibration_are_marked() -> None:
    verdict = Verdict("L4 vertebra", "present", 0.97, "found", 40.0, is_calibrated=True)
    assert remark(verdict) == ""
    assert remark(replace(verdict, is_calibrated=False)) == "score not calibrated"
    assert remark(replace(verdict, presence="uncertain")) == "found"


def test_json_is_what_the_file_beside_the_label_map_says(run: Run, scan: Path) -> None:
    _, out, _ = run(scan, "-p", "L4 vertebra", "--json", "-o", "results")
    assert json.loads(out) == json.loads(Path("results/scan_seg.json").read_text())


def test_without_words_nothing_happens(run: Run, scan: Path, fake: Any) -> None:
    code, out, err = run(scan)
    assert (code, out) == (2, "")
    assert "--all" in err
    assert fake.loaded == []


def test_words_and_all_together_are_wrong_usage(run: Run, scan: Path) -> None:
    assert run(scan, "--all", "-p", "L4")[0] == 2


@pytest.mark.parametrize("words", ["banana", " "])
def test_unknown_words_fail_before_the_model_is_loaded(run: Run, scan: Path, fake: Any, words: str) -> None:
    code, _, err = run(scan, "-p", "L4", "-p", words)
    assert code == 1
    assert "not understood" in err
    assert fake.loaded == []
    assert sorted(os.listdir()) == ["scan.nii.gz"]


def test_words_that_the_model_does_not_know_fail_before_a_scan_is_read(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    code, _, err = run(bad, "-p", "C3 vertebra")
    assert code == 1
    assert "C3 vertebra" in err
    assert "bad.nii.gz" not in err


def test_one_bad_scan_does_not_stop_the_others_and_is_named(run: Run, tmp_path: Path) -> None:
    write_scan(tmp_path / "in/a.nii.gz")
    (tmp_path / "in/b.nii.gz").write_bytes(b"no image")
    write_scan(tmp_path / "in/c.mha")
    code, out, err = run("in", "--all", "-o", "out")
    assert code == 1
    written = ["a_seg.json", "a_seg.nii.gz", "c_seg.json", "c_seg.nii.gz"]
    assert sorted(os.listdir("out")) == written
    assert "2 of 3 scans segmented" in err
    assert [line for line in err.splitlines() if line.startswith("failed:")] == [err.splitlines()[-1]]
    assert "b.nii.gz" in err.splitlines()[-1]
    assert out.count("# ") == 2


def test_a_defect_in_one_scan_does_not_cost_the_others(run: Run, tmp_path: Path) -> None:
    write_scan(tmp_path / "in/a.nii.gz", extra=255)
    write_scan(tmp_path / "in/b.nii.gz")
    code, _, err = run("in", "--all", "-o", "out")
    assert code == 1
    assert sorted(os.listdir("out")) == ["b_seg.json", "b_seg.nii.gz"]
    assert "unforeseen" in err


def test_a_single_bad_scan_is_one_message_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.mha").write_bytes(b"no image")
    code, out, err = run("bad.mha", "--all", "-o", "out")
    assert (code, out) == (1, "")
    assert err.startswith("nomina: bad.mha")
    assert sorted(os.listdir()) == ["bad.mha"]


def test_a_missing_scan_is_reported_before_the_model_is_loaded(run: Run, fake: Any) -> None:
    code, _, err = run("nowhere.nii.gz", "--all")
    assert code == 1
    assert "nowhere.nii.gz" in err
    assert fake.loaded == []


def test_existing_results_are_skipped_on_request(run: Run, tmp_path: Path, fake: Any) -> None:
    write_scan(tmp_path / "in/a.nii.gz")
    run("in", "--all", "-o", "out")
    before = Path("out/a_seg.nii.gz").stat().st_mtime_ns
    write_scan(tmp_path / "in/b.nii.gz")
    _, out, err = run("in", "--all", "-o", "out", "--skip-existing")
    assert "skipped 1 of 2" in err
    assert "# a.nii.gz" not in out
    assert Path("out/a_seg.nii.gz").stat().st_mtime_ns == before
    assert Path("out/b_seg.nii.gz").exists()
    fake.loaded.clear()
    assert run("in", "--all", "-o", "out", "--skip_existing")[0] == 0
    assert fake.loaded == []


def test_each_fault_of_a_scan_is_a_warning_on_stderr(run: Run, scan: Path) -> None:
    _, out, err = run(scan, "--all")
    (line,) = [line for line in err.splitlines() if "[implausible-spacing]" in line]
    assert line.startswith("warning: The scan would measure 2 × 3.75 × 18 mm")
    assert "warning" not in out
    array = np.random.default_rng(2).integers(1, 200, (12, 24, 24)).astype(np.int16)
    write(Volume(array, Grid(array.shape, np.diag([3.0, 2, 2, 1]) + np.eye(4, k=3))), scan)
    _, _, err = run(scan, "--all")
    assert "warning:" not in err


LEVELS = "nothing is known about the sacrum"


def result_with(*verdicts: Verdict) -> Segmentation:
    label_map = LabelMap(np.zeros((2, 2, 2), dtype=np.uint8), Grid((2, 2, 2), np.eye(4)))
    return Segmentation(label_map, verdicts, provenance={"levels_decided_by": LEVELS})


def test_what_decided_the_levels_is_said_once_where_one_is_uncertain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = Job(Path("scan.nii.gz"), Path("out.nii.gz"))
    l4, disc = (Verdict(name, "uncertain", 0.6, "") for name in ("L4 vertebra", "L4-L5 disc"))
    print_table(job, result_with(l4, disc))
    assert capsys.readouterr().err.count(f"note: levels: {LEVELS}") == 1
    canal = Verdict("spinal canal", "uncertain", 0.6, "")
    print_table(job, result_with(replace(l4, presence="present"), canal))
    assert "levels" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("again", "reason"),
    [
        (("-p", "L4 vertebra"), "it was made from other words (--all)"),
        (("--all", "--scheme", "spider"), "it was written in another scheme (nomina)"),
        (("--all", "-m", "other"), "it was made by another model (spine-mr, "),
        (("--all", "--picture"), "it has no picture"),
        (("--all", "--card", "run.json"), "it has no run card"),
    ],
)
def test_a_result_that_answers_another_question_is_made_again(
    run: Run, scan: Path, again: tuple[str, ...], reason: str
) -> None:
    Path("other").mkdir()
    Path("other/run.json").write_text(json.dumps({"files": dict.fromkeys(HASHED_FILES, "0" * 64)}))
    run(scan, "--all")
    code, out, err = run(scan, *again, "--skip-existing")
    assert code == 0
    assert f"scan.nii.gz is segmented again: {reason}" in err
    assert "# scan.nii.gz" in out
    code, out, err = run(scan, *again, "--skip-existing")
    assert (code, out) == (0, "")
    assert "skipped 1 of 1" in err


def test_zips_and_deep_folders_are_scans_and_other_files_are_named(run: Run, tmp_path: Path) -> None:
    write_scan(tmp_path / "in/anna/mr/t2.nii.gz")
    write_scan(tmp_path / "in/bert/mr/t2.nii.gz")
    with zipfile.ZipFile(tmp_path / "in/notes.zip", "w") as archive:
        archive.writestr("notes.txt", "no scan")
    (tmp_path / "in/bert/letter.pdf").write_bytes(b"%PDF")
    code, _, err = run("in", "--all", "-o", "in/out")
    assert code == 1
    assert "passed over 1 file that is no scan: letter.pdf" in err
    assert "failed: in/notes.zip: the zip archive holds no DICOM file" in err
    written = ["anna_mr_t2_seg.nii.gz", "bert_mr_t2_seg.nii.gz"]
    assert sorted(path.name for path in Path("in/out").glob("*.nii.gz")) == written
    _, _, err = run("in", "--all", "-o", "in/out", "--skip-existing", "--picture")
    assert "2 of 3 scans segmented" in err
    assert "passed over 1 file" in run("in", "--all", "-o", "in/out")[2]


def test_absent_structures_fail_on_request_after_everything_is_written(run: Run, scan: Path) -> None:
    code, _, err = run(scan, "--all", "--fail-if-absent")
    assert code == 1
    assert "not clearly present in scan.nii.gz: T12 vertebra (outside)" in err
    assert Path("scan_seg.nii.gz").exists()
    assert run(scan, "--all", "--fail-if-absent", "--skip-existing")[0] == 1
    assert run(scan, "-p", "L4 vertebra", "--fail-if-absent")[0] == 0


def test_the_memory_plan_is_said_before_and_kept_in_the_json(run: Run, scan: Path) -> None:
    _, _, err = run(scan, "-p", "L4 vertebra", "--max-memory", "20G")
    (line,) = [line for line in err.splitlines() if line.startswith("memory:")]
    assert "6 uint8 voxels, 1 structure of 5, float32, 2 slices at a time: about" in line
    assert line.endswith("of 20.00 GiB allowed")
    memory = json.loads(Path("scan_seg.json").read_text())["memory"]
    assert memory["limit_bytes"] == 20 * 2**30
    assert memory["peak_bytes"] >= memory["resident_bytes"] > 0


def test_a_limit_that_cannot_be_kept_is_refused_with_one_that_can(run: Run, scan: Path) -> None:
    code, out, err = run(scan, "--all", "--max-memory", "10M")
    assert (code, out) == (1, "")
    assert "--max-memory; allow" in err
    assert not Path("scan_seg.json").exists()
    assert run(scan, "--all", "--max-memory", "much")[0] == 2


def test_a_result_without_its_json_is_made_again(run: Run, scan: Path) -> None:
    run(scan, "--all")
    Path("scan_seg.json").unlink()
    run(scan, "--all", "--skip-existing")
    assert Path("scan_seg.json").exists()


@pytest.mark.parametrize("changes", [{"prompts": 7}, {"prompts": ["L4"]}, {"model": "x"}, {"anchors": 7}])
def test_a_result_whose_json_is_damaged_is_made_again(run: Run, scan: Path, changes: dict[str, Any]) -> None:
    run(scan, "--all")
    path = Path("scan_seg.json")
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | changes))
    code, _, err = run(scan, "--all", "--skip-existing")
    assert code == 0
    assert "scan.nii.gz is segmented again: its JSON file is damaged" in err
    written = json.loads(path.read_text())
    assert {key: written[key] for key in changes} == {key: whole[key] for key in changes}


def test_a_json_that_cannot_be_read_is_no_result(
    scan: Path, run: Run, spoil_json: Callable[[Path], None]
) -> None:
    run(scan, "--all")
    (job,) = plan_jobs([scan], None, ".nii.gz").jobs
    asked = Asked(None, recorded_digest(checkpoint_folder("spine-mr")), "nomina")
    assert job.still_to_do(asked) is None
    spoil_json(job.sidecar)
    assert "its JSON file is damaged" in str(job.still_to_do(asked))


@pytest.mark.parametrize("verdicts", [None, 7, [7], [{"structure": "L4 vertebra"}]])
def test_a_result_that_does_not_say_what_is_present_is_named(run: Run, scan: Path, verdicts: Any) -> None:
    run(scan, "--all")
    path = Path("scan_seg.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdicts": verdicts}))
    code, _, err = run(scan, "--all", "--skip-existing", "--fail-if-absent")
    assert code == 1
    assert "scan_seg.json does not say which structures are present" in err
    assert "remove it to segment the scan again" in err


def test_results_in_the_folder_of_the_scans_are_not_taken_for_scans(run: Run, tmp_path: Path) -> None:
    write_scan(tmp_path / "in/a.nii.gz")
    run("in", "--all", "-o", "in")
    run("in", "--all", "-o", "in")
    assert sorted(os.listdir("in")) == ["a.nii.gz", "a_seg.json", "a_seg.nii.gz"]


def test_scans_of_one_name_take_their_folders_name(run: Run, tmp_path: Path) -> None:
    paths = [write_scan(tmp_path / patient / "t2.nii.gz") for patient in ("anna", "bert")]
    assert run(*paths, "--all", "-o", "out")[0] == 0
    assert sorted(p.name for p in Path("out").glob("*.nii.gz")) == [
        "anna_t2_seg.nii.gz",
        "bert_t2_seg.nii.gz",
    ]


def test_scans_that_would_share_an_output_are_refused(run: Run, tmp_path: Path, fake: Any) -> None:
    write_scan(tmp_path / "in/a.nii.gz")
    write_scan(tmp_path / "in/a.mha")
    code, _, err = run("in", "--all", "-o", "out")
    assert code == 1
    assert "same file" in err
    assert fake.loaded == []
    assert not Path("out").exists()


def test_a_scan_given_twice_is_segmented_once(run: Run, scan: Path) -> None:
    code, out, _ = run(scan, "./scan.nii.gz", "--all")
    assert code == 0
    assert out.count("# scan.nii.gz") == 1


@pytest.mark.parametrize("output", ["scan.nii.gz", "./scan.nii.gz"])
def test_an_input_is_never_overwritten(run: Run, scan: Path, output: str) -> None:
    before = scan.read_bytes()
    code, _, err = run(scan, "--all", "-o", output)
    assert code == 1
    assert "is an input" in err
    assert scan.read_bytes() == before


@pytest.mark.parametrize("output", ["out/seg.nii.gz", "out/deep/seg.nii.gz"])
def test_a_read_only_folder_is_named_before_the_scan_is_read(
    run: Run, tmp_path: Path, read_only: ReadOnly, output: str
) -> None:
    (tmp_path / "damaged.nii.gz").write_bytes(b"no scan")
    (tmp_path / "out").mkdir()
    with read_only(tmp_path / "out"):
        code, out, err = run(tmp_path / "damaged.nii.gz", "-p", "L4 vertebra", "-o", output)
    assert (code, out) == (1, "")
    assert f"{Path(output).parent} cannot be written to: Permission denied; choose another folder" in err
    assert list((tmp_path / "out").iterdir()) == []


def test_an_input_among_several_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    other = write_scan(tmp_path / "a_seg.nii.gz")
    before = other.read_bytes()
    assert run("a.nii.gz", "a_seg.nii.gz", "--all")[0] == 1
    assert other.read_bytes() == before


def test_a_json_file_of_another_program_is_never_replaced(run: Run, scan: Path) -> None:
    Path("result.json").write_text('{"EchoTime": 0.1}')
    code, _, err = run(scan, "--all", "-o", "result.nii.gz")
    assert code == 1
    assert "not written by nomina" in err
    assert Path("result.json").read_text() == '{"EchoTime": 0.1}'
    assert not Path("result.nii.gz").exists()


@pytest.mark.parametrize("output", ["taken/out.nii.gz", "taken/deep/folder", "out.dcm"])
def test_an_output_that_cannot_be_is_refused_before_the_model_is_loaded(
    run: Run, scan: Path, fake: Any, output: str
) -> None:
    Path("taken").write_text("a file, not a folder")
    code, out, err = run(scan, "--all", "-o", output)
    assert (code, out) == (1, "")
    assert err.startswith("nomina: ")
    assert fake.loaded == []


def test_several_scans_do_not_fit_one_file(run: Run, tmp_path: Path) -> None:
    for name in "ab":
        write_scan(tmp_path / f"{name}.nii.gz")
    code, _, err = run("a.nii.gz", "b.nii.gz", "--all", "-o", "out.nii.gz")
    assert code == 1
    assert "give a folder" in err


def test_the_format_is_that_of_the_file_or_the_option(run: Run, scan: Path) -> None:
    assert run(scan, "--all", "--format", "nrrd")[0] == 0
    assert read_label_map("scan_seg.nrrd").present() == ("L4 vertebra", "L5 vertebra", *SHOWN[3:1:-1])
    assert run(scan, "--all", "--format", "nrrd", "-o", "x.mha")[0] == 2


def test_spider_numbers_say_which_vertebra_is_cut(run: Run, scan: Path) -> None:
    code, _, _ = run(scan, "--all", "--scheme", "spider")
    label_map = read_label_map("scan_seg.nii.gz")
    volume = read_volume(scan)
    assert code == 0
    assert label_map.scheme == "spider"
    expected = {"L5 vertebra": 101, "L4 vertebra": 2, "L4-L5 disc": 202, "spinal canal": 100}
    for name, value in expected.items():
        assert np.array_equal(label_map.array == value, volume.array == structure(name).label), name
    assert json.loads(Path("scan_seg.json").read_text())["partial"] == [{"label": 101, "name": "L5 vertebra"}]


def test_what_a_scheme_cannot_say_is_said(run: Run, scan: Path) -> None:
    _, _, err = run(scan, "--all", "--scheme", "mrspineseg")
    assert "note: spinal canal" in err
    notes = json.loads(Path("scan_seg.json").read_text())["notes"]
    assert any("spinal canal" in note for note in notes)


def test_a_scheme_without_any_asked_structure_is_refused_before_the_scan_is_looked_at(
    run: Run, scan: Path
) -> None:
    code, out, err = run(scan, "-p", "spinal canal", "--scheme", "mrspineseg")
    assert (code, out) == (1, "")
    assert "mrspineseg has a value for nothing that was asked (spinal canal)" in err
    assert "memory" not in err
    assert not Path("scan_seg.json").exists()


def test_a_label_map_that_a_scheme_leaves_empty_is_said_to_be(run: Run, scan: Path) -> None:
    code, _, err = run(scan, "-p", "spinal canal", "-p", "T12 vertebra", "--scheme", "mrspineseg")
    assert code == 0
    said = "The label map is empty: mrspineseg has no value for what was found"
    assert said in err
    assert said in str(json.loads(Path("scan_seg.json").read_text())["notes"])


def test_a_picture_is_drawn_on_request(run: Run, scan: Path) -> None:
    run(scan, "--all", "--picture")
    assert Path("scan_seg.png").read_bytes().startswith(b"\x89PNG")


def test_no_path_of_the_machine_enters_the_results(run: Run, scan: Path) -> None:
    run(scan, "--all")
    text = Path("scan_seg.json").read_text()
    assert json.loads(text)["source"] == "scan.nii.gz"
    assert str(scan.parent) not in text


def test_the_truth_of_a_phantom_is_no_scan(run: Run, scan: Path) -> None:
    (scan.parent / "scan_reference.nii.gz").write_bytes(scan.read_bytes())
    truth = {"scheme": "spider", "structures": [{"label": 1, "name": "L5 vertebra"}]}
    (scan.parent / "scan_reference.json").write_text(json.dumps(truth))
    run(scan.parent, "--all", "-o", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["scan_seg.json", "scan_seg.nii.gz"]


def test_a_failing_rewrite_leaves_the_earlier_result(
    run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scan, "--all")
    before = {path.name: path.read_bytes() for path in Path().glob("scan_seg*")}
    assert len(before) == 2

    def fail(*arguments: object, **options: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("nomina.cli.segment_jobs.write_sidecar", fail)
    run(scan, "-p", "L5 vertebra")
    assert {path.name: path.read_bytes() for path in Path().glob("*scan_seg*")} == before
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_one_of_several_series_is_chosen_by_its_uid(
    run: Run, tmp_path: Path, write_series: Callable[..., None]
) -> None:
    for uid, name in (("1.2.3", "L4 vertebra"), ("1.2.4", "L5 vertebra")):
        write_series(tmp_path / "study", uid, structure(name).label)
    code, _, err = run("study", "-p", "L4 vertebra")
    assert code == 1
    assert "--series UID" in err
    assert "1.2.3 (number" in err
    code, out, _ = run("study", "-p", "L4 vertebra", "--series", "1.2.3", "-o", "out.nii.gz")
    assert code == 0
    assert "present" in out
    assert read_label_map("out.nii.gz").present() == ("L4 vertebra",)


def test_a_result_of_another_series_is_never_left_as_it_is(
    run: Run, tmp_path: Path, write_series: Callable[..., None]
) -> None:
    for uid, name in (("1.2.3", "L4 vertebra"), ("1.2.4", "spinal canal")):
        write_series(tmp_path / "study", uid, structure(name).label)
    assert run("study", "--all", "--series", "1.2.3")[0] == 0
    code, _, err = run("study", "--all", "--series", "1.2.4", "--skip-existing")
    assert code == 2
    assert "does not say which series" in err.replace("\n", " ").replace("│ ", "")


def test_a_series_of_several_scans_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    write_scan(tmp_path / "b.nii.gz")
    assert run("a.nii.gz", "b.nii.gz", "--all", "--series", "1.2.3")[0] == 2
    code, _, err = run("a.nii.gz", "--all", "--series", "1.2.3")
    assert code == 1
    assert "only DICOM has series" in err


def test_a_result_of_other_anchors_is_made_again(run: Run, scan: Path) -> None:
    anchored = (scan, "--all", "--anchor", "lowest vertebra is L5")
    run(scan, "--all")
    _, _, err = run(*anchored, "--skip-existing")
    assert "made with other anchors (none)" in err
    assert "skipped 1 of 1" in run(*anchored, "--skip-existing")[2]
    _, _, err = run(scan, "--all", "--skip-existing")
    assert "made with other anchors (lowest vertebra is L5)" in err


def test_anchors_are_understood_before_anything_is_loaded(run: Run, scan: Path, fake: Any) -> None:
    code, _, err = run(scan, "--all", "--anchor", "L4 is somewhere")
    assert code == 1
    assert "not understood" in err
    write_scan(Path("other.nii.gz"))
    code, _, err = run(scan, "other.nii.gz", "--all", "--anchor", "L4 is here: 1,2,3")
    assert code == 2
    assert "a place in one scan" in err
    assert fake.loaded == []
