"""Labelled scans → prepared dataset: values, faults, restarts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import SimpleITK

from nomina.anatomy.schemes import read_label_map
from nomina.errors import CaseError, ConfigError
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning import prepare_run
from nomina.learning.cases import select_patients
from nomina.learning.datasets.spider import spider_cases
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepare_case import prepare_case
from nomina.learning.prepared import STRUCTURE_PRESETS, PrepareConfig, open_prepared

CONFIG = PrepareConfig(structures=("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc"))

SPIDER_18 = {value: value for value in range(1, 9)} | {100: 9} | {201 + n: 10 + n for n in range(8)}
"""Class index of each SPIDER label value; all others are ignored."""


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


def test_spider18_lists_vertebrae_canal_and_discs_from_the_bottom() -> None:
    assert STRUCTURE_PRESETS["spider18"] == (
        *("L5 vertebra", "L4 vertebra", "L3 vertebra", "L2 vertebra", "L1 vertebra"),
        *("T12 vertebra", "T11 vertebra", "T10 vertebra", "spinal canal"),
        *("L5-S1 disc", "L4-L5 disc", "L3-L4 disc", "L2-L3 disc", "L1-L2 disc"),
        *("T12-L1 disc", "T11-T12 disc", "T10-T11 disc"),
    )


def test_every_spider_value_becomes_its_class_or_is_ignored(
    tmp_path: Path, write_image: Callable[..., None]
) -> None:
    values = [0, *range(1, 25), 100, *range(101, 126), *range(201, 225)]
    array = np.zeros((2, 8 * len(values), 12), dtype=np.uint16)
    for position, value in enumerate(values):
        array[:, 8 * position : 8 * position + 8] = value
    write_image(tmp_path / "labels.mha", array, (4.0, 0.6, 0.6))
    label_map = read_label_map(tmp_path / "labels.mha", scheme="spider")
    scan = np.random.default_rng(0).integers(0, 255, array.shape).astype(np.uint8)
    labels = prepare_case(Volume(scan, label_map.grid), label_map, PrepareConfig()).labels
    for position, value in enumerate(values):
        expected = SPIDER_18.get(value, 255) if value else 0
        assert set(np.unique(labels[:, 8 * position : 8 * position + 8])) == {expected}, value


def test_a_prepared_case_is_what_its_files_hold(spider_folder: Path, tmp_path: Path) -> None:
    dataset = prepare_cases(spider_cases(spider_folder), tmp_path / "out", CONFIG)
    assert [case.id for case in dataset.cases] == ["1_t1", "1_t2", "2_t2_SPACE"]
    assert [case.patient for case in dataset.cases] == ["1", "1", "2"]
    assert dataset.is_complete
    assert dataset.config == CONFIG
    case = dataset.cases[0]
    image, labels = case.image(), case.labels()
    assert image.dtype == np.float16
    assert labels.dtype == np.uint8
    assert isinstance(image, np.memmap)
    assert image.shape == labels.shape == case.shape == (5, 64, 112)
    assert case.spacing_mm == pytest.approx((4.0, 0.6, 0.6))
    assert float(image.astype(np.float64).mean()) == pytest.approx(0, abs=1e-3)
    assert float(image.astype(np.float64).std()) == pytest.approx(1, abs=1e-3)
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 255}
    counts = {name: int((labels == index).sum()) for index, name in enumerate(CONFIG.structures, start=1)}
    assert case.voxel_counts == counts
    assert case.num_ignored_voxels == int((labels == 255).sum()) > 0


def test_structures_lie_where_the_files_say(spider_folder: Path, tmp_path: Path) -> None:
    dataset = prepare_cases(spider_cases(spider_folder), tmp_path / "out", CONFIG)
    reference = read_label_map(spider_folder / "masks" / "1_t1.mha", scheme="spider")
    case = dataset.cases[0]
    for index, name in enumerate(CONFIG.structures, start=1):
        expected_mm = reference.grid.to_world(np.argwhere(reference.mask(name))).mean(axis=0)
        found_mm = case.grid.to_world(np.argwhere(case.labels() == index)).mean(axis=0)
        assert np.abs(found_mm - expected_mm).max() < 0.3, name


def test_a_turned_copy_of_the_files_gives_identical_arrays(spider_folder: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    for path in spider_folder.glob("*/*.mha"):
        image = SimpleITK.DICOMOrient(
            SimpleITK.ReadImage(str(path)), "ASR" if path.parent.name == "masks" else "SPL"
        )
        (turned / path.parent.name).mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(turned / path.parent.name / path.name))
    upright = prepare_cases(spider_cases(spider_folder), tmp_path / "a", CONFIG)
    other = prepare_cases(spider_cases(turned), tmp_path / "b", CONFIG)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert all(a.grid.matches(b.grid) for a, b in zip(upright.cases, other.cases, strict=True))


def test_two_processes_write_the_same_bytes_as_one(spider_folder: Path, tmp_path: Path) -> None:
    cases = spider_cases(spider_folder)
    seen: list[str] = []
    one = prepare_cases(cases, tmp_path / "one", CONFIG, on_case=seen.append)
    two = prepare_cases(cases, tmp_path / "two", CONFIG, workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert [case.id for case in one.cases] == [case.id for case in two.cases] == seen


def test_a_second_run_makes_nothing_again_but_what_changed(spider_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_cases(spider_cases(spider_folder), out, CONFIG)
    before = times(out)
    prepare_cases(spider_cases(spider_folder), out, CONFIG)
    assert times(out) == before
    os.utime(spider_folder / "masks" / "1_t2.mha", ns=(1, 1))
    prepare_cases(spider_cases(spider_folder), out, CONFIG)
    changed = {name for name, time in times(out).items() if time != before[name]}
    assert changed == {"1_t2.image.npy", "1_t2.labels.npy"}


def test_a_later_run_adds_patients(spider_folder: Path, tmp_path: Path) -> None:
    cases = spider_cases(spider_folder)
    prepare_cases(select_patients(cases, ["2"]), tmp_path / "out", CONFIG)
    before = times(tmp_path / "out")
    dataset = prepare_cases(select_patients(cases, ["1"]), tmp_path / "out", CONFIG)
    assert [case.id for case in dataset.cases] == ["1_t1", "1_t2", "2_t2_SPACE"]
    assert times(tmp_path / "out").items() >= before.items()


@pytest.mark.parametrize("fatal_write", range(1, 7))
def test_a_kill_at_any_write_leaves_no_broken_case(
    spider_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal_write: int
) -> None:
    cases = spider_cases(spider_folder)
    prepare_cases(cases, tmp_path / "whole", CONFIG)
    out, writes = tmp_path / "out", 0

    def save(file: IO[bytes], array: np.ndarray) -> None:
        nonlocal writes
        writes += 1
        if writes == fatal_write:
            file.write(b"\x93NUMPY half")
            raise KeyboardInterrupt
        np.lib.format.write_array(file, array)

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", save)
        with pytest.raises(KeyboardInterrupt):
            prepare_cases(cases, out, CONFIG)
    with pytest.raises(CaseError, match="not finished"):
        open_prepared(out)
    finished = json.loads((out / "dataset.json").read_text())["cases"]
    assert len(finished) == (fatal_write - 1) // 2
    before = times(out)
    dataset = prepare_cases(cases, out, CONFIG)
    assert content(out) == content(tmp_path / "whole")
    assert len(dataset.cases) == 3
    for case in finished:
        assert times(out)[f"{case['id']}.labels.npy"] == before[f"{case['id']}.labels.npy"]


def test_a_kill_while_a_case_is_made_again_does_not_mix_old_and_new(
    spider_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases, out = spider_cases(spider_folder), tmp_path / "out"
    prepare_cases(cases, out, CONFIG)
    os.utime(cases[0].volume_path, ns=(1, 1))

    def write_array(folder: Path, case_id: str, kind: str, array: np.ndarray) -> None:
        if kind == "labels":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare_run, "write_array", write_array)
        with pytest.raises(KeyboardInterrupt):
            prepare_cases(cases, out, CONFIG)
    left = {case["id"] for case in json.loads((out / "dataset.json").read_text())["cases"]}
    assert left == {"1_t2", "2_t2_SPACE"}


def test_another_config_is_refused_in_words_and_force_starts_anew(
    spider_folder: Path, tmp_path: Path
) -> None:
    cases, out = spider_cases(spider_folder), tmp_path / "out"
    prepare_cases(cases, out, CONFIG)
    before = content(out)
    coarse = PrepareConfig(structures=CONFIG.structures, image=ImagePreparation(in_plane_spacing_mm=0.8))
    with pytest.raises(CaseError, match=r"0\.6.*there.*0\.8.*now.*--force"):
        prepare_cases(cases, out, coarse)
    with pytest.raises(CaseError, match=r"structures L5 vertebra, L4 vertebra.* there, L4 vertebra now"):
        prepare_cases(cases, out, PrepareConfig(structures=("L4 vertebra",)))
    assert content(out) == before
    dataset = prepare_cases(cases[:1], out, coarse, force=True)
    assert [case.shape for case in dataset.cases] == [(5, 48, 84)]
    assert content(out).keys() == {"1_t1.image.npy", "1_t1.labels.npy"}


def test_all_faulty_cases_are_named_with_their_fault_and_the_good_ones_are_kept(
    spider_folder: Path,
    tmp_path: Path,
    write_image: Callable[..., None],
    spine: Callable[[int], tuple[np.ndarray, np.ndarray]],
) -> None:
    scan, labels = spine(0)
    write_image(spider_folder / "images" / "3_t1.mha", scan)
    write_image(spider_folder / "masks" / "3_t1.mha", labels, (4.0, 0.8, 0.8))
    write_image(spider_folder / "images" / "3_t2.mha", scan)
    write_image(spider_folder / "images" / "4_t2.mha", scan)
    top_down = np.where((labels >= 1) & (labels <= 3), 4 - labels, labels).astype(np.uint16)
    write_image(spider_folder / "masks" / "4_t2.mha", top_down)
    write_image(spider_folder / "images" / "5_t2.mha", scan)
    write_image(spider_folder / "masks" / "5_t2.mha", np.where(labels == 1, 77, labels).astype(np.uint16))
    cases, out = spider_cases(spider_folder), tmp_path / "out"
    with pytest.raises(CaseError) as fault:
        prepare_cases(cases, out, CONFIG)
    lines = {line.split(":")[0].strip(): line for line in str(fault.value).splitlines()[1:-1]}
    assert lines.keys() == {"3_t1", "3_t2", "4_t2", "5_t2"}
    assert "off the scan" in lines["3_t1"]
    assert "label map is missing" in lines["3_t2"]
    assert "77" in lines["5_t2"]
    with pytest.raises(CaseError, match="not finished"):
        open_prepared(out)
    before = times(out)
    dataset = prepare_cases(cases, out, CONFIG, skip_bad=True)
    assert [case.id for case in dataset.cases] == ["1_t1", "1_t2", "2_t2_SPACE"]
    assert dataset.left_out.keys() == lines.keys()
    assert open_prepared(out).left_out == dataset.left_out
    assert {name: times(out)[name] for name in before} == before


def test_arrays_that_do_not_fit_their_record_are_refused(spider_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    case = prepare_cases(spider_cases(spider_folder), out, CONFIG).cases[0]
    np.save(out / "1_t1.labels.npy", np.zeros((2, 2, 2), dtype=np.uint8))
    with pytest.raises(CaseError, match=r"1_t1.*holds \(2, 2, 2\)"):
        case.labels()
    (out / "1_t1.image.npy").write_bytes(b"")
    with pytest.raises(CaseError, match="cannot be read"):
        case.image()


def test_folders_that_hold_no_prepared_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"no dataset\.json"):
        open_prepared(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": 1, "cases": [{}]}')
    with pytest.raises(CaseError, match="not the index"):
        open_prepared(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": 99, "cases": []}')
    with pytest.raises(CaseError, match="format 99"):
        open_prepared(tmp_path)


def test_structures_that_stand_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="different names"):
        PrepareConfig(structures=("L5 vertebra", "L5 vertebra"))


def test_a_label_map_a_hair_off_the_scan_is_taken_and_half_a_voxel_off_is_not() -> None:
    scan = np.random.default_rng(0).random((3, 20, 20))
    for shift_mm, is_taken in ((0.02, True), (0.4, False)):
        affine = np.diag([4.0, 0.8, 0.8, 1.0])
        grid = Grid(scan.shape, affine)
        affine[1, 3] = shift_mm
        label_map = LabelMap(
            np.ones(scan.shape, dtype=np.uint8), Grid(scan.shape, affine), {1: "L5 vertebra"}
        )
        config = PrepareConfig(structures=("L5 vertebra",))
        if is_taken:
            assert (prepare_case(Volume(scan, grid), label_map, config).labels == 1).all()
        else:
            with pytest.raises(CaseError, match=r"0\.40 mm off"):
                prepare_case(Volume(scan, grid), label_map, config)


def test_real_cases_keep_the_place_of_every_structure(shared_data: Path, tmp_path: Path) -> None:
    cases = select_patients(spider_cases(shared_data / "spider_t2space"), ["22", "152"])
    dataset = prepare_cases(cases, tmp_path, PrepareConfig())
    for case, source in zip(dataset.cases, cases, strict=True):
        reference = read_label_map(source.label_map_path, scheme="spider")
        labels = case.labels()
        for index, name in enumerate(dataset.config.structures, start=1):
            mask = reference.mask(name)
            if not mask.any():
                assert case.voxel_counts[name] == 0
                continue
            expected_mm = reference.grid.to_world(np.argwhere(mask)).mean(axis=0)
            found_mm = case.grid.to_world(np.argwhere(labels == index)).mean(axis=0)
            assert np.abs(found_mm - expected_mm).max() < 0.3, (case.id, name)
            volume_ml = case.voxel_counts[name] * case.grid.voxel_volume_ml
            assert volume_ml == pytest.approx(mask.sum() * reference.grid.voxel_volume_ml, rel=0.05)
    assert dataset.cases[1].doubtful


def test_label_values_may_be_negative_or_leave_out_the_background() -> None:
    names = {-3: "L5 vertebra", 40000: "L4 vertebra", 5: "L3 vertebra"}
    array = np.array([-3, 40000, 5], dtype=np.int32)[:, None, None] + np.zeros((3, 16, 16), dtype=np.int32)
    label_map = LabelMap(array, Grid(array.shape, np.diag([4.0, 0.6, 0.6, 1.0])), names=names)
    scan = np.random.default_rng(0).random(array.shape)
    config = PrepareConfig(structures=("L4 vertebra", "L5 vertebra"))
    labels = prepare_case(Volume(scan, label_map.grid), label_map, config).labels
    assert [int(value) for value in labels[:, 8, 8]] == [2, 1, 255]
