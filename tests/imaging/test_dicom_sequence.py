from typing import Any

import pydicom
import pytest

from nomina.imaging.dicom_sequence import mr_sequence


def header(**tags: Any) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("description", "sequence"),
    [
        ("t2_tse_sag_384", "T2"),
        ("SAG T2W FS", "T2"),
        ("Sag T1", "T1"),
        ("T1W_TSE", "T1"),
        ("t2_tirm_sag_fs", "STIR"),
        ("STIR sagittal", "STIR"),
        ("pd_tse_fs_cor", "PD"),
        ("Proton density", "PD"),
        ("T2 FLAIR", None),
        ("t2* medic", None),
        ("t2star_map", None),
        ("T2 MAP", None),
        ("T1 and T2 fused", None),
        ("level T12-L1 disc", None),
        ("T1 IR sagittal", None),
        ("ir_tse_sag", None),
        ("lumbar sagittal", None),
    ],
)
def test_the_series_description_decides_where_it_is_clear(description: str, sequence: str | None) -> None:
    assert mr_sequence(header(SeriesDescription=description)) == sequence


@pytest.mark.parametrize(
    ("echo_ms", "repetition_ms", "inversion_ms", "sequence"),
    [
        (12, 550, None, "T1"),
        (100, 3500, None, "T2"),
        (15, 2500, None, "PD"),
        (60, 4000, 150, "STIR"),
        (100, 9000, 2500, None),
        (55, 2500, None, None),
        (50, 700, None, None),
    ],
)
def test_spin_echo_times_decide_where_words_are_missing(
    echo_ms: float, repetition_ms: float, inversion_ms: float | None, sequence: str | None
) -> None:
    tags = {"EchoTime": echo_ms, "RepetitionTime": repetition_ms, "ScanningSequence": "SE"}
    if inversion_ms is not None:
        tags["InversionTime"] = inversion_ms
    assert mr_sequence(header(**tags)) == sequence


def test_an_inversion_recovery_is_told_by_its_inversion_time_alone() -> None:
    tags = {"SeriesDescription": "IR sag", "ScanningSequence": ["SE", "IR"], "EchoTime": 30}
    assert mr_sequence(header(**tags, RepetitionTime=4000, InversionTime=150)) == "STIR"
    assert mr_sequence(header(**tags, RepetitionTime=4000, InversionTime=800)) is None
    assert mr_sequence(header(**tags, RepetitionTime=4000)) is None
    assert mr_sequence(header(**tags, RepetitionTime=600)) is None


def test_times_of_gradient_echoes_decide_nothing() -> None:
    assert mr_sequence(header(EchoTime=5, RepetitionTime=20, ScanningSequence="GR")) is None
    assert mr_sequence(header(EchoTime=5, RepetitionTime=500, ScanningSequence=["SE", "GR"])) is None


def test_the_contrast_of_enhanced_files_comes_first() -> None:
    assert mr_sequence(header(AcquisitionContrast="PROTON_DENSITY", SeriesDescription="t2")) == "PD"


def test_an_empty_header_gives_nothing() -> None:
    assert mr_sequence(header()) is None
    assert mr_sequence(header(EchoTime=None, RepetitionTime=None, ScanningSequence="SE")) is None
