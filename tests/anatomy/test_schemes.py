"""Label schemes: their tables against independent statements, conversion value by value."""

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nomina.anatomy.conversion import convert
from nomina.anatomy.schemes import (
    LabelScheme,
    load_scheme,
    partly_visible,
    read_label_map,
    scheme_names,
    sidecar_path,
)
from nomina.anatomy.structures import vocabulary
from nomina.errors import SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap


def one_voxel_each(values: list[int], scheme: str) -> LabelMap:
    """A label map with one voxel per value, in order, and one of background."""
    array = np.array([0, *values], dtype=np.uint16).reshape((len(values) + 1, 1, 1))
    known = load_scheme(scheme)
    return LabelMap(
        array, Grid(array.shape, np.eye(4)), names=known.labels, scheme=scheme, ignored=known.ignored
    )


def write_nifti(path: Path, values: list[int]) -> Path:
    array = np.array(values, dtype=np.int16).reshape(2, 2, 2)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def test_the_shipped_schemes_are_found() -> None:
    assert scheme_names() == (
        *("airrc", "cip", "hipas_artery", "hipas_vein", "la_caf", "la_caf_folded", "mrspineseg", "nomina"),
        *("parse2022", "spider", "spineps_instance", "spineps_semantic", "totalsegmentator"),
        *("totalsegmentator_mr", "totalsegmentator_v1", "totalsegmentator_vertebrae_mr", "totalspineseg"),
        "verse",
    )
    assert all(load_scheme(name).name == name for name in scheme_names())


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *(
            (1, "L5 vertebra"),
            (5, "L1 vertebra"),
            (6, "T12 vertebra"),
            (17, "T1 vertebra"),
            (18, "C7 vertebra"),
        ),
        *((24, "C1 vertebra"), (100, "spinal canal"), (201, "L5-S1 disc"), (202, "L4-L5 disc")),
        *((206, "T12-L1 disc"), (218, "C7-T1 disc"), (223, "C2-C3 disc")),
    ],
)
def test_spider_values_mean_what_the_data_set_says(value: int, name: str) -> None:
    assert load_scheme("spider").labels[value] == name


def test_partly_visible_is_what_the_scheme_or_a_name_among_the_ignored_says() -> None:
    given = one_voxel_each([1, 102, 125, 201, 202], "spider")
    assert partly_visible(given) == {102: "L4 vertebra"}
    marked = dataclasses.replace(given, ignored=given.ignored | {1, 202, 203})
    assert partly_visible(marked) == {1: "L5 vertebra", 102: "L4 vertebra", 202: "L4-L5 disc"}
    assert partly_visible(dataclasses.replace(marked, scheme=None)) == {1: "L5 vertebra", 202: "L4-L5 disc"}


def test_each_spider_disc_lies_below_the_vertebra_of_its_rank() -> None:
    labels = load_scheme("spider").labels
    for value, name in labels.items():
        if value > 200:
            assert name.split("-")[0] == labels[value - 200].split()[0]


def test_spider_marks_partly_visible_vertebrae_and_allows_a_25th() -> None:
    spider = load_scheme("spider")
    assert spider.counts_from_bottom
    assert spider.partial == {100 + n: spider.labels[n] for n in range(1, 25)}
    assert spider.ignored == frozenset(range(101, 126)) | {25, 224, 225}
    assert set(spider.labels) | spider.ignored == {*range(1, 26), *range(100, 126), *range(201, 226)}


def test_mrspineseg_values_mean_what_the_challenge_says() -> None:
    sequence = (
        "sacrum L5 L4 L3 L2 L1 T12 T11 T10 T9 L5/S1 L4/L5 L3/L4 L2/L3 L1/L2 T12/L1 T11/T12 T10/T11 T9/T10"
    )
    said = [item.replace("/", "-") for item in sequence.split()]
    names = load_scheme("mrspineseg").labels
    assert [names[n].removesuffix(" vertebra").removesuffix(" disc") for n in range(1, 20)] == said
    assert len(names) == 19
    assert not load_scheme("mrspineseg").counts_from_bottom


def test_the_nomina_scheme_is_the_vocabulary() -> None:
    scheme = load_scheme("nomina")
    assert scheme.labels == {found.label: name for name, found in vocabulary().items()}
    offsets = {"vertebra": 200, "artery": 100, "vein": 100, "airway": 100}
    partial = [found for found in vocabulary().values() if found.kind in offsets]
    assert scheme.partial == {offsets[found.kind] + found.label: found.name for found in partial}
    assert max([*scheme.labels, *scheme.partial]) <= 255


def test_spider_converts_to_mrspineseg_value_by_value() -> None:
    conversion = convert(one_voxel_each([1, 5, 9, 201, 206, 209], "spider"), load_scheme("mrspineseg"))
    assert conversion.label_map.array.ravel().tolist() == [0, 2, 6, 10, 11, 16, 19]
    assert conversion.label_map.scheme == "mrspineseg"
    assert conversion.label_map.array.dtype == np.uint8
    assert conversion.lost == ()


def test_what_a_scheme_cannot_say_is_named_and_becomes_background() -> None:
    conversion = convert(one_voxel_each([1, 100, 10, 105, 25, 210], "spider"), load_scheme("mrspineseg"))
    assert conversion.label_map.array.ravel().tolist() == [0, 2, 0, 0, 0, 0, 0]
    said = "\n".join(conversion.lost)
    for piece in (
        "spinal canal (label 100)",
        "T8 vertebra (label 10)",
        "only partly visible, label 105",
        "label 25",
    ):
        assert piece in said
    assert len(conversion.lost) == 5


def test_spider_survives_the_way_through_nomina_and_back() -> None:
    spider = load_scheme("spider")
    values = sorted([*spider.labels, *spider.partial])
    label_map = one_voxel_each(values, "spider")
    there = convert(label_map, load_scheme("nomina"))
    back = convert(there.label_map, spider)
    assert there.lost == back.lost == ()
    np.testing.assert_array_equal(back.label_map.array, label_map.array)
    assert there.label_map.names[int(there.label_map.array[1, 0, 0])] == "L5 vertebra"


def test_leaving_a_count_from_the_bottom_is_said() -> None:
    label_map = one_voxel_each([1], "spider")
    assert "lowest lumbar vertebra" in convert(label_map, load_scheme("nomina")).notes[0]
    assert convert(label_map, load_scheme("spider")).notes == ()


@pytest.mark.parametrize("extra", ["L6 vertebra", "T13 vertebra", "L5-L6 disc"])
def test_extra_levels_are_not_squeezed_into_a_count_from_the_bottom(extra: str) -> None:
    label_map = one_voxel_each([vocabulary()[extra].label, 24], "nomina")
    with pytest.raises(SchemeError, match=f"{extra} cannot be written as spider"):
        convert(label_map, load_scheme("spider"))


def test_conversion_keeps_the_grid_and_the_input() -> None:
    label_map = one_voxel_each([1, 100], "spider")
    before = label_map.array.copy()
    converted = convert(label_map, load_scheme("mrspineseg")).label_map
    assert converted.grid is label_map.grid
    np.testing.assert_array_equal(label_map.array, before)


def test_a_label_map_without_a_known_scheme_is_converted_by_names() -> None:
    array = np.array([0, 7, 8], dtype=np.int32).reshape(3, 1, 1)
    label_map = LabelMap(
        array, Grid(array.shape, np.eye(4)), names={7: "L4-L5 disc", 8: "liver"}, scheme=None
    )
    conversion = convert(label_map, load_scheme("nomina"))
    assert conversion.label_map.array.ravel().tolist() == [0, 123, 0]
    assert conversion.lost == ("liver (label 8) has no value in nomina; it becomes background",)


def test_values_above_255_make_16_bit_label_maps(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text("name: wide\nversion: '1'\nsource: test\nlabels: {300: spinal canal}\n")
    converted = convert(one_voxel_each([100], "spider"), load_scheme(path)).label_map
    assert converted.array.dtype == np.uint16
    assert converted.array.ravel().tolist() == [0, 300]


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SchemeError, match=r"'spidr'; known: airrc, .*, spider"):
        load_scheme("spidr")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("labels: {0: L5 vertebra}", "must lie in 1"),
        ("labels: {1: L5 vertebra, 2: L5 vertebra}", "two values for L5 vertebra"),
        ("labels: {1: L5 vertebra}\npartial: {1: L4 vertebra}", "two meanings for value 1"),
        ("labels: {1: L5 vertebre}", "nearest structures: 'L5 vertebra'"),
        ("labels: {one: L5 vertebra}", "valid integer"),
        ("lables: {1: L5 vertebra}", "lables"),
        ("[", "cannot be read as YAML"),
    ],
)
def test_a_faulty_scheme_file_is_refused_in_words(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nversion: '1'\nsource: test\n{lines}\n")
    with pytest.raises(SchemeError, match=message):
        load_scheme(path)


def test_a_label_map_is_read_by_the_scheme_named(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "case.nii.gz", [0, 1, 2, 100, 101, 201, 0, 25])
    label_map = read_label_map(path, scheme="spider")
    assert label_map.present() == ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc")
    assert label_map.scheme == "spider"
    assert {25, 101} <= label_map.ignored
    assert label_map.array.dtype == np.uint8
    assert label_map.array.ravel().tolist() == [0, 1, 2, 100, 101, 201, 0, 25]


def test_a_value_that_the_scheme_does_not_have_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "case.nii", [0, 1, 20, 100, -3, 300, 0, 0])
    with pytest.raises(SchemeError, match=r"case\.nii: label values \[-3, 20, 100, 300\] have no name"):
        read_label_map(path, scheme="mrspineseg")


def test_a_label_map_without_scheme_or_sidecar_is_refused_with_the_known_schemes(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "case.nii.gz", [0] * 8)
    with pytest.raises(
        SchemeError, match=r"no case\.json beside it; .*mrspineseg, nomina, parse2022, spider"
    ):
        read_label_map(path)


def test_a_sidecar_names_the_values(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "case.nii.gz", [0, 3, 3, 4, 0, 0, 0, 101])
    entries = [{"label": 3, "name": "L4 vertebra", "score": 0.9}, {"label": 4, "name": "spinal canal"}]
    (tmp_path / "case.json").write_text(json.dumps({"structures": entries, "scheme": "spider"}))
    label_map = read_label_map(path)
    assert dict(label_map.names) == {3: "L4 vertebra", 4: "spinal canal"}
    assert label_map.scheme == "spider"
    assert 101 in label_map.ignored
    assert read_label_map(path, scheme="spider").names[3] == "L3 vertebra"


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"structures": 3}', '{"structures": [{"label": 1}]}'),
        *(
            '{"structures": [{"label": "1", "name": "L4 vertebra"}]}',
            '{"structures": [{"label": 0, "name": "L4 vertebra"}]}',
        ),
        '{"structures": [{"label": 1, "name": "L4 vertebra"}, {"label": 1, "name": "L5 vertebra"}]}',
        '{"structures": [{"label": 1, "name": "L4 vertebra"}, {"label": 2, "name": "L4 vertebra"}]}',
    ],
)
def test_a_damaged_sidecar_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = write_nifti(tmp_path / "case.nii.gz", [0] * 8)
    (tmp_path / "case.json").write_text(text)
    with pytest.raises(SchemeError, match=r"case\.json"):
        read_label_map(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a.json"),
        ("a.b.NII.GZ", "a.b.json"),
        ("a.mha", "a.json"),
        ("a.b.nrrd", "a.b.json"),
        ("a", "a.json"),
    ],
)
def test_the_sidecar_has_the_name_of_the_file(name: str, expected: str) -> None:
    assert sidecar_path(Path("folder") / name) == Path("folder") / expected


def test_a_real_spider_mask_is_read_and_converted(shared_data: Path) -> None:
    masks = sorted((shared_data / "spider_t2space" / "masks").glob("*.mha"))
    if not masks:
        pytest.skip("no SPIDER masks here")
    label_map = read_label_map(masks[0], scheme="spider")
    assert {"L5 vertebra", "L4-L5 disc", "spinal canal"} <= set(label_map.present())
    converted = convert(label_map, load_scheme("nomina")).label_map
    assert (converted.mask("L4-L5 disc") == (label_map.array == 202)).all()
    assert set(converted.present()) == set(label_map.present())


def test_schemes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_scheme("spider").name = "other"  # type: ignore[misc]
    assert isinstance(load_scheme("spider"), LabelScheme)
