"""The tables of other tools and data sets, against independent statements of what their numbers mean."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.schemes import LabelScheme, load_scheme, read_label_map, scheme_names
from nomina.errors import SchemeError
from nomina.imaging.read import read_label_array

VERTEBRAE = (
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
)
DISCS = [f"{upper}-{lower}" for upper, lower in zip(VERTEBRAE[1:], (*VERTEBRAE[2:], "S1"), strict=True)]


def values_of(scheme: str, kind: str, levels: list[str] | tuple[str, ...]) -> list[int | None]:
    labels = load_scheme(scheme).labels
    value_of = {name: value for value, name in labels.items()}
    return [value_of.get(f"{level} {kind}") for level in levels]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("totalspineseg", [*range(11, 18), *range(21, 33), *range(41, 46)]),
        ("verse", [*range(1, 25)]),
        ("spineps_instance", [*range(1, 25)]),
        ("totalsegmentator", [*range(50, 26, -1)]),
        ("totalsegmentator_v1", [*range(41, 17, -1)]),
        ("totalsegmentator_vertebrae_mr", [*range(25, 1, -1)]),
        ("spider", [*range(24, 0, -1)]),
    ],
)
def test_vertebrae_have_the_numbers_of_the_published_table(scheme: str, expected: list[int]) -> None:
    assert values_of(scheme, "vertebra", VERTEBRAE) == expected


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("totalspineseg", [*range(63, 68), *range(71, 83), *range(91, 96), 100]),
        ("spineps_instance", [*range(102, 125)]),
        ("spider", [*range(223, 200, -1)]),
    ],
)
def test_discs_have_the_numbers_of_the_published_table(scheme: str, expected: list[int]) -> None:
    assert values_of(scheme, "disc", DISCS) == expected


@pytest.mark.parametrize(
    ("scheme", "value", "name"),
    [
        ("totalspineseg", 1, "spinal cord"),
        ("totalspineseg", 2, "spinal canal"),
        ("totalspineseg", 46, "L6 vertebra"),
        ("totalspineseg", 50, "sacrum"),
        ("verse", 25, "L6 vertebra"),
        ("verse", 28, "T13 vertebra"),
        ("spineps_instance", 26, "sacrum"),
        ("spineps_instance", 205, "C5_endplate"),
        ("spineps_semantic", 60, "spinal cord"),
        ("spineps_semantic", 100, "Vertebra_Disc"),
        ("totalsegmentator", 5, "liver"),
        ("totalsegmentator", 13, "right middle lobe"),
        ("totalsegmentator", 25, "sacrum"),
        ("totalsegmentator", 26, "S1 vertebra"),
        ("totalsegmentator", 53, "pulmonary vein"),
        ("totalsegmentator", 79, "spinal cord"),
        ("totalsegmentator", 92, "rib_left_1"),
        ("totalsegmentator", 115, "rib_right_12"),
        ("totalsegmentator_mr", 19, "vertebrae"),
        ("totalsegmentator_mr", 10, "left lung"),
        ("totalsegmentator_v1", 49, "pulmonary artery"),
        ("totalsegmentator_vertebrae_mr", 1, "sacrum"),
        ("airrc", 4, "airway wall"),
        ("la_caf", 3, "right pulmonary artery"),
        ("la_caf_folded", 2, "pulmonary vein"),
        ("hipas_vein", 1, "pulmonary vein"),
        ("parse2022", 1, "pulmonary artery"),
        ("cip", 18, "pulmonary artery"),
        ("cip", 19, "pulmonary vein"),
        ("cip", 512, "airway"),
    ],
)
def test_values_mean_what_the_source_says(scheme: str, value: int, name: str) -> None:
    assert load_scheme(scheme).names_in([value])[value] == name


def test_no_value_of_a_published_table_is_left_out() -> None:
    def values(scheme: str) -> set[int]:
        return set(load_scheme(scheme).names_in([]))

    assert values("totalsegmentator") == {*range(1, 118)}
    assert values("totalsegmentator_v1") == {*range(1, 105)}
    assert values("totalsegmentator_mr") == {*range(1, 51)}
    assert values("cip") - {512} == {*range(1, 69)}
    assert set(load_scheme("cip").types) == {*range(1, 92)}


def test_a_value_of_cip_is_a_region_and_a_type() -> None:
    names = load_scheme("cip").names_in([9, 3, 521, 768, 777, 3 * 256 + 3, 68 + 256 * 91, 200, 92 * 256])
    assert names[521] == "Airway, LeftUpperThird"
    assert names[768] == "Vessel"
    assert names[3 * 256 + 3] == "Vessel, left lung"
    assert names[68 + 256 * 91] == "Mesothelioma, spinal cord"
    assert 200 not in names
    assert 92 * 256 not in names


def test_the_disc_below_l5_is_another_where_there_is_a_sixth_lumbar_vertebra() -> None:
    spineps = load_scheme("spineps_instance")
    assert spineps.names_in([24, 124])[124] == "L5-S1 disc"
    with_l6 = spineps.names_in([24, 25, 124, 125])
    assert (with_l6[124], with_l6[125]) == ("L5-L6 disc", "L6-S1 disc")
    assert spineps.names_in([19, 28, 119])[119] == "T12-T13 disc"


@pytest.mark.parametrize("name", scheme_names())
def test_every_scheme_names_its_source_and_speaks_in_sentences(name: str) -> None:
    scheme = load_scheme(name)
    assert scheme.name == name
    assert scheme.version
    assert any(
        mark in scheme.source for mark in ("github.com/", "doi.org/", "arXiv", "zenodo", ".com", "vocabulary")
    )
    assert all(note.endswith(".") for note in scheme.notes)
    assert set(scheme.groups) <= set(scheme.others.values())


def write_scheme(folder: Path, lines: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"name: mine\nversion: '1'\nsource: test\n{lines}\n")
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("labels: {}\nothers: {1: L5 vertebra}", "in the vocabulary; move them to 'labels'"),
        ("labels: {1: L5 vertebra}\nothers: {1: liver}", "two meanings for value 1"),
        ("labels: {}\nothers: {1: liver, 2: liver}", "two values for liver"),
        ("labels: {1: L5 vertebra}\ntransitional: {L6 vertebra: {1: L4-L5 disk}}", "nearest structures"),
    ],
)
def test_a_faulty_table_is_refused_in_words(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(SchemeError, match=message):
        load_scheme(write_scheme(tmp_path, lines))


REAL_FILES = [
    ("spine_other/totalseg_spine_ct/example_ct_sm_seg_auto.nii.gz", "totalsegmentator", "L1 vertebra"),
    ("spine_other/totalseg_spine_ct/example_mr_sm_seg_auto.nii.gz", "totalsegmentator_mr", "vertebrae"),
    ("spine_other/totalseg_spine_ct/vertebrae_levels_auto.nii.gz", "totalsegmentator", "S1 vertebra"),
    (
        "spine_other/tptbox_samples/sample_mri/sub-mri_seg-vert_label-6_msk.nii.gz",
        "spineps_instance",
        "C6-C7 disc",
    ),
    (
        "spine_other/tptbox_samples/sample_mri/sub-mri_seg-subreg_label-6_msk.nii.gz",
        "spineps_semantic",
        "spinal canal",
    ),
    (
        "spine_other/tptbox_samples/sample_ct/sub-ct_seg-subreg_label-22_msk.nii.gz",
        "spineps_semantic",
        "Vertebra_Corpus",
    ),
    ("spine_other/tptbox_samples/sample_ct/sub-ct_seg-vert_label-22_msk.nii.gz", "verse", "L3 vertebra"),
    ("chest/cip_ct64/lm-64.nrrd", "cip", "Vessel, LeftUpperThird"),
    ("chest/cip_ct64/crop_ct_interactiveLobeSegmentation.nrrd", "cip", "right upper lobe"),
]


@pytest.mark.parametrize(("path", "scheme", "name"), REAL_FILES)
def test_real_files_have_only_values_of_their_scheme(
    shared_data: Path, path: str, scheme: str, name: str
) -> None:
    label_map = read_label_map(shared_data / path, scheme=scheme)
    assert name in label_map.present()


def test_the_lists_of_a_real_data_set_name_the_same_classes(
    shared_data: Path, own_name: Callable[[LabelScheme, int], str]
) -> None:
    folder = shared_data / "priors" / "totalseg_dataset_masks"
    lines = (folder / "labels.txt").read_text().splitlines()
    listed = {line.split()[1] for line in lines}
    total = load_scheme("totalsegmentator")
    assert {own_name(total, value) for value in range(1, 118)} == listed
    array, _ = read_label_array(folder / "sXXXX_117labels.nii.gz")
    assert set(np.unique(array)) <= {0, *range(1, 118)}


@pytest.fixture
def own_name() -> Callable[[LabelScheme, int], str]:
    """TotalSegmentator's own name of a value, made back from nomina's."""

    def name(scheme: LabelScheme, value: int) -> str:
        found = scheme.names_in([])[value]
        level, _, kind = found.partition(" ")
        if kind == "vertebra":
            return f"vertebrae_{level}"
        if kind.endswith("lobe"):
            return f"lung_{kind.removesuffix(' lobe')}_lobe_{level}"
        return found.replace(" ", "_")

    return name
