"""Cases and splits."""

import json
from pathlib import Path

import pytest

from nomina.errors import CaseError
from nomina.learning.cases import Case, natural_order, read_split, select_patients

SPLIT = {
    "train": [5, 11, 22],
    "validation": [78],
    "folds": [{"train": [5], "validation": [11]}, {"train": ["11"], "validation": ["5"]}],
}


def write_split(folder: Path, content: object) -> Path:
    path = folder / "splits.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def case(case_id: str, patient: str) -> Case:
    return Case(case_id, patient, Path("v"), Path("l"), scheme="spider", dataset="spider")


def test_a_split_gives_patient_ids_as_text_by_part_and_fold(tmp_path: Path) -> None:
    path = write_split(tmp_path, SPLIT)
    assert read_split(path, "train") == ["5", "11", "22"]
    assert read_split(path, "validation") == ["78"]
    assert read_split(path, "validation", fold=0) == ["11"]
    assert read_split(path, "train", fold=1) == ["11"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"train": [5, 11], "validation": ["11"]}, "patient 11 stands in train and in validation"),
        ({"train": [5, 5], "validation": [6]}, "twice in 'train'"),
        ({"validation": [6]}, "no part 'train'"),
        ([1, 2], "must hold a JSON object"),
        ({"train": "12", "validation": [6]}, "'train' must be a list of patients"),
        ({"train": 5, "validation": [6]}, "'train' must be a list of patients"),
        ({"train": [[5]], "validation": [6]}, "'train' must be a list of patients"),
    ],
)
def test_a_split_that_would_leak_or_is_incomplete_is_refused(
    tmp_path: Path, content: object, words: str
) -> None:
    with pytest.raises(CaseError, match=words):
        read_split(write_split(tmp_path, content), "train")


def test_a_patient_on_both_sides_is_refused_in_a_fold_too(tmp_path: Path) -> None:
    path = write_split(tmp_path, SPLIT | {"folds": [{"train": [5, 7], "validation": [7]}]})
    assert read_split(path, "train") == ["5", "11", "22"]
    with pytest.raises(CaseError, match="patient 7"):
        read_split(path, "train", fold=0)


def test_unknown_folds_and_parts_and_files_are_named(tmp_path: Path) -> None:
    path = write_split(tmp_path, SPLIT)
    with pytest.raises(CaseError, match=r"2 folds.*got fold 2"):
        read_split(path, "train", fold=2)
    with pytest.raises(CaseError, match="no part 'test'"):
        read_split(path, "test")
    with pytest.raises(CaseError, match=r"nowhere\.json"):
        read_split(tmp_path / "nowhere.json", "train")


def test_a_damaged_split_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    for content, reason in ((b"{", "Expecting"), (b"\xff", "utf-8"), (b"[" * 100_000, "nested too deeply")):
        path.write_bytes(content)
        with pytest.raises(CaseError, match=rf"splits\.json cannot be read as a JSON split file: .*{reason}"):
            read_split(path, "train")


def test_patients_bring_all_their_cases_and_missing_ones_are_named() -> None:
    cases = [case("1_t1", "1"), case("1_t2", "1"), case("2_t2", "2")]
    assert [chosen.id for chosen in select_patients(cases, ["1"])] == ["1_t1", "1_t2"]
    with pytest.raises(CaseError, match="no case of patient 3"):
        select_patients(cases, ["1", "3"])


def test_names_are_ordered_by_their_numbers() -> None:
    assert sorted(["Case10", "Case2", "Case1"], key=natural_order) == ["Case1", "Case2", "Case10"]
    assert sorted(["11_t2", "5_t2", "b", "5_t1"], key=natural_order) == ["5_t1", "5_t2", "11_t2", "b"]


def test_the_split_of_the_real_data_is_by_patient(shared_data: Path) -> None:
    path = shared_data / "spider_t2space" / "splits.json"
    train, validation = read_split(path, "train"), read_split(path, "validation")
    assert (len(train), len(validation)) == (20, 5)
    folds = [set(read_split(path, "validation", fold=fold)) for fold in range(5)]
    assert set.union(*folds) == {*train, *validation}
    assert sum(map(len, folds)) == 25
