"""Test scans: a prepared chest comes back in Hounsfield units with its labels, and must be labelled whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.bench.scans import ScoredScans, has_whole_vessels, open_scans, read_reference, read_scan
from nomina.errors import CaseError
from nomina.imaging.read import read_volume


def test_a_prepared_chest_is_the_scan_and_its_labels(chest_data: Path) -> None:
    cases = open_scans(ScoredScans(dataset="prepared", folder=str(chest_data / "prepared")))
    assert [case.id for case in cases] == ["chest0", "chest1", "chest2", "chest3"]
    original = read_volume(chest_data / "scans" / "images" / "chest2.nii.gz")
    scan, reference = read_scan(cases[2]), read_reference(cases[2])
    assert scan.grid.matches(original.grid)
    # float16 of 0 to 1 over 1600 HU: steps of at most 0.8 HU.
    np.testing.assert_allclose(scan.array, original.canonical().array, atol=0.8)
    folder = open_scans(ScoredScans(dataset="folder", folder=str(chest_data / "scans")))
    truth = read_reference(folder[2]).canonical()
    for name in ("left pulmonary artery", "right pulmonary vein"):
        np.testing.assert_array_equal(reference.mask(name), truth.mask(name))
    assert all(case.volume_path.is_file() and case.label_map_path.is_file() for case in cases)


def test_slices_cannot_be_brought_back(phantom_data: Path) -> None:
    with pytest.raises(CaseError, match="holds slices of MR, which lost their scale"):
        open_scans(ScoredScans(dataset="prepared", folder=str(phantom_data / "prepared")))


@pytest.mark.parametrize(
    ("annotated", "is_whole"),
    [
        (None, True),
        (("pulmonary artery", "pulmonary vein"), True),
        (("left pulmonary artery", "right pulmonary artery", "pulmonary vein"), True),
        (("pulmonary artery",), False),
        (("left pulmonary artery", "left pulmonary vein"), False),
    ],
)
def test_only_whole_cases_can_be_tested(
    chest_data: Path, annotated: tuple[str, ...] | None, is_whole: bool
) -> None:
    case = open_scans(ScoredScans(dataset="prepared", folder=str(chest_data / "prepared")))[0]
    assert has_whole_vessels(replace(case, annotated=annotated)) == is_whole
