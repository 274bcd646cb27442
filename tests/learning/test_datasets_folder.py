"""A plain folder of scans and label maps."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.errors import CaseError, ConfigError
from nomina.learning.datasets.folder import folder_cases
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepared import PrepareConfig


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def describe(root: Path, **content: object) -> None:
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def test_label_maps_are_found_by_name_whatever_their_format(tmp_path: Path) -> None:
    touch(
        tmp_path, "images/b.nii.gz", "labels/b.nrrd", "images/a.v2.mha", "labels/a.v2.nii", "images/notes.txt"
    )
    cases = folder_cases(tmp_path)
    assert [(case.id, case.volume_path.name, case.label_map_path.name) for case in cases] == [
        ("a.v2", "a.v2.mha", "a.v2.nii"),
        ("b", "b.nii.gz", "b.nrrd"),
    ]
    assert {case.scheme for case in cases} == {"nomina"}


def test_the_description_gives_scheme_sequence_and_patients(tmp_path: Path) -> None:
    touch(tmp_path, "images/a1.mha", "images/a2.mha", "images/b.mha")
    describe(tmp_path, name="ours", scheme="spider", sequence="T1", patients={"a1": "anna", "a2": "anna"})
    cases = folder_cases(tmp_path)
    assert [case.patient for case in cases] == ["anna", "anna", "b"]
    assert {(case.dataset, case.scheme, case.sequence) for case in cases} == {("ours", "spider", "T1")}


def test_labels_of_ones_own_are_prepared_by_name(
    tmp_path: Path, write_image: Callable[..., None], spine: Callable[[int], tuple[np.ndarray, np.ndarray]]
) -> None:
    scan, labels = spine(0)
    own = np.select([labels == 1, labels == 201, labels == 2], [7, 3, 9], 0).astype(np.float32)
    write_image(tmp_path / "images" / "a.nrrd", scan, (4.0, 0.6, 0.6))
    write_image(tmp_path / "labels" / "a.nii.gz", own, (4.0, 0.6, 0.6))
    describe(tmp_path, labels={"L5 vertebra": 7, "L5-S1 disc": 3, "L4 vertebra": 9})
    config = PrepareConfig(structures=("L5-S1 disc", "L5 vertebra"))
    (case,) = prepare_cases(folder_cases(tmp_path), tmp_path / "out", config).cases
    np.testing.assert_array_equal(case.labels(), np.select([own == 3, own == 7, own == 9], [1, 2, 255], 0))


def test_descriptions_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.mha")
    describe(tmp_path, schema="spider")
    with pytest.raises(ConfigError, match="schema"):
        folder_cases(tmp_path)
    describe(tmp_path, scheme="spider", labels={"L5 vertebra": 1})
    with pytest.raises(CaseError, match="both 'scheme' and 'labels'"):
        folder_cases(tmp_path)


def test_each_scan_says_what_was_annotated_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.mha", "images/b.mha")
    describe(tmp_path, scheme="la_caf", annotated={"a": ["left pulmonary artery", "left pulmonary vein"]})
    a, b = folder_cases(tmp_path)
    assert a.annotated == ("left pulmonary artery", "left pulmonary vein")
    assert b.annotated is None
    describe(tmp_path, labels={"pulmonary artery": 3}, annotated={"b": ["right pulmonary artery"]})
    assert folder_cases(tmp_path)[1].annotated == ("right pulmonary artery",)


@pytest.mark.parametrize(
    ("annotated", "message"),
    [
        ({"a.mha": ["pulmonary artery"]}, "names a.mha, which is no scan here"),
        ({"a": ["pulmonary vein"]}, "a: 'annotated' names 'pulmonary vein', for which there is no label"),
        ({"a": ["pulmonary arter"]}, "nearest structures"),
    ],
)
def test_annotated_that_means_nothing_is_refused(
    tmp_path: Path, annotated: dict[str, list[str]], message: str
) -> None:
    touch(tmp_path, "images/a.mha")
    describe(tmp_path, scheme="parse2022", annotated=annotated)
    with pytest.raises(CaseError, match=message):
        folder_cases(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.mha", "images/a.nii.gz")
    with pytest.raises(CaseError, match="keep one"):
        folder_cases(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="holds no images"):
        folder_cases(tmp_path)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz")
    for content, reason in ((b"{", "Expecting"), (b"\xff", "utf-8"), (b"[" * 100_000, "nested too deeply")):
        (tmp_path / "dataset.json").write_bytes(content)
        with pytest.raises(CaseError, match=rf"dataset\.json cannot be read as JSON: .*{reason}"):
            folder_cases(tmp_path)
