"""SPIDER's folder layout."""

from pathlib import Path

import pytest

from nomina.errors import CaseError
from nomina.learning.datasets.spider import spider_cases

OFFICIAL_OVERVIEW = """new_file_name,subset,num_vertebrae,num_discs,sex,birth_date
1_t1,training,7,7,F,1975
1_t2,training,7,7,F,1975
2_t2_SPACE,validation,7,7,M,1980
"""


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_names_give_patient_sequence_and_the_mask_of_the_same_name(tmp_path: Path) -> None:
    for stem in ("10_t2_SPACE", "2_t2", "2_t1"):
        touch(tmp_path, f"images/{stem}.mha", f"masks/{stem}.mha")
    cases = spider_cases(tmp_path)
    assert [(case.id, case.patient, case.sequence) for case in cases] == [
        ("2_t1", "2", "T1"),
        ("2_t2", "2", "T2"),
        ("10_t2_SPACE", "10", "T2"),
    ]
    assert cases[1].volume_path == tmp_path / "images" / "2_t2.mha"
    assert cases[1].label_map_path == tmp_path / "masks" / "2_t2.mha"
    assert all((case.scheme, case.dataset, case.doubtful) == ("spider", "spider", None) for case in cases)


def test_the_official_overview_gives_the_subset(tmp_path: Path) -> None:
    for stem in ("1_t1", "1_t2", "2_t2_SPACE"):
        touch(tmp_path, f"images/{stem}.mha", f"masks/{stem}.mha")
    (tmp_path / "overview.csv").write_text(OFFICIAL_OVERVIEW, encoding="utf-8-sig")
    assert [case.subset for case in spider_cases(tmp_path)] == ["training", "training", "validation"]


def test_scans_without_mask_and_masks_without_scan_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "images/1_t1.mha", "masks/1_t1.mha", "images/1_t2.mha", "masks/2_t2.mha")
    assert [case.id for case in spider_cases(tmp_path)] == ["1_t1", "1_t2", "2_t2"]


def test_traces_of_a_file_manager_are_no_cases(tmp_path: Path) -> None:
    touch(tmp_path, "images/1_t1.mha", "masks/1_t1.mha", "images/._1_t1.mha")
    assert [case.id for case in spider_cases(tmp_path)] == ["1_t1"]


def test_other_folders_and_foreign_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="holds no images"):
        spider_cases(tmp_path)
    touch(tmp_path, "images/1_t1.mha", "images/patient_one.mha")
    with pytest.raises(CaseError, match="patient_one"):
        spider_cases(tmp_path)


def test_doubtful_cases_of_the_real_data_carry_their_reason(shared_data: Path) -> None:
    cases = spider_cases(shared_data / "spider_t2space")
    assert len(cases) == len({case.patient for case in cases}) == 25
    doubtful = {case.id: case.doubtful for case in cases if case.doubtful}
    assert doubtful.keys() == {"152_t2_SPACE"}
    assert "transitional" in str(doubtful["152_t2_SPACE"])
    assert all(case.volume_path.is_file() and case.label_map_path.is_file() for case in cases)
