"""Conversion between any two schemes: nothing is lost in silence, nothing is guessed."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nomina.anatomy.conversion import Conversion, convert, expressible
from nomina.anatomy.schemes import LabelScheme, load_scheme, scheme_names
from nomina.errors import SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

PAIRS = list(itertools.permutations(scheme_names(), 2))
OBLIQUE = np.array([[0.4, -0.3, 0.0, 7.25], [0.3, 0.4, 0.0, -3.125], [0.0, 0.0, -1.7, 11.0], [0, 0, 0, 1]])


def label_map(values: list[int], scheme: str, seed: int = 0) -> LabelMap:
    """Each value at least once, in random places of an oblique grid."""
    known = load_scheme(scheme)
    rng = np.random.default_rng(seed)
    array = np.zeros(4 * 5 * (len(values) // 10 + 2), dtype=np.int32)
    array[: 2 * len(values)] = values * 2
    array = rng.permutation(array).reshape(4, 5, -1)
    grid = Grid(array.shape, OBLIQUE)
    return LabelMap(array, grid, names=known.names_in(values), scheme=scheme, ignored=known.ignored)


def convertible(source: LabelScheme, target: LabelScheme) -> list[int]:
    """Values of the source whose structure has a value of its own in the target."""
    # With a sixth lumbar vertebra there is no disc L5-S1; those discs have a test of their own.
    extra = ("T13", "L6") if target.counts_from_bottom or target.transitional or source.transitional else ()
    names = set(target.names_in([]).values())
    return [
        value
        for value, name in source.names_in([]).items()
        if name in names and not any(level in name for level in extra)
    ]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_what_both_schemes_know_survives_there_and_back(first: str, second: str) -> None:
    source, target = load_scheme(first), load_scheme(second)
    values = convertible(source, target)
    before = label_map(values, first)
    there = convert(before, target)
    back = convert(there.label_map, source)
    assert there.lost == back.lost == ()
    np.testing.assert_array_equal(back.label_map.array, before.array)
    assert there.label_map.grid is before.grid
    np.testing.assert_array_equal(there.label_map.grid.affine, OBLIQUE)
    assert set(there.label_map.present()) == set(before.present())


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PAIRS), st.data())
def test_every_voxel_is_kept_joined_or_named_as_lost(pair: tuple[str, str], data: st.DataObject) -> None:
    source, target = load_scheme(pair[0]), load_scheme(pair[1])
    all_values = sorted([*source.names_in([]), *source.partial])
    values = data.draw(st.lists(st.sampled_from(all_values), min_size=1, max_size=8, unique=True))
    before = label_map(values, pair[0], seed=data.draw(st.integers(0, 9)))
    with contextlib.suppress(SchemeError):
        check_each_value(values, before, convert(before, target))


def check_each_value(values: list[int], before: LabelMap, done: Conversion) -> None:
    after = done.label_map.array
    for value in values:
        (new,) = np.unique(after[before.array == value]).tolist()
        is_said_to_be_lost = any(f"label {value})" in sentence for sentence in done.lost)
        assert (new == 0) == is_said_to_be_lost
        if new and value in before.names and done.label_map.names.get(new) != before.names[value]:
            assert any(f"{before.names[value]} (label {value})" in note for note in done.notes)
    assert not after[before.array == 0].any()


def values_after(values: list[int], source: str, target: str) -> list[int]:
    known = load_scheme(source)
    array = np.array(values, dtype=np.uint16).reshape(-1, 1, 1)
    names = known.names_in(values)
    before = LabelMap(array, Grid(array.shape, np.eye(4)), names=names, scheme=source, ignored=known.ignored)
    return convert(before, load_scheme(target)).label_map.array.ravel().tolist()


@pytest.mark.parametrize(
    ("source", "target", "values", "expected"),
    [
        ("totalspineseg", "spider", [1, 2, 45, 100], [100, 100, 1, 201]),
        ("totalsegmentator", "mrspineseg", [25, 26, 27], [1, 1, 2]),
        ("totalsegmentator", "totalsegmentator_mr", [10, 11, 12, 27, 32, 5], [10, 10, 11, 19, 19, 5]),
        ("la_caf", "la_caf_folded", [1, 2, 3, 4], [1, 2, 1, 2]),
        ("la_caf", "parse2022", [1, 3], [1, 1]),
        ("totalsegmentator", "airrc", [16, 53], [3, 2]),
        ("spineps_instance", "spineps_semantic", [26, 123], [26, 100]),
        ("cip", "nomina", [9, 12, 521, 777, 18], [160, 161, 150, 160, 141]),
        ("cip", "cip", [9, 521, 512, 18], [9, 521, 512, 18]),
        ("verse", "spineps_instance", [24, 28, 26], [24, 28, 26]),
    ],
)
def test_parts_are_joined_to_their_whole(
    source: str, target: str, values: list[int], expected: list[int]
) -> None:
    assert values_after(values, source, target) == expected


def test_joined_structures_are_named_once_for_each_whole() -> None:
    done = convert(label_map([1, 2, 45], "totalspineseg"), load_scheme("spider"))
    assert "spinal cord (label 1) is written as spinal canal (label 100), of which it is a part" in done.notes
    done = convert(label_map([27, 28], "totalsegmentator"), load_scheme("totalsegmentator_mr"))
    assert done.notes == (
        "L5 vertebra (label 27), L4 vertebra (label 28) are written as vertebrae (label 19), of which they "
        "are parts",
    )


def test_a_whole_whose_part_the_target_labels_apart_is_said() -> None:
    done = convert(label_map([100, 1], "spider"), load_scheme("totalspineseg"))
    assert "the spinal canal of spider includes spinal cord, which totalspineseg labels apart" in done.notes
    assert convert(label_map([2, 1], "totalspineseg"), load_scheme("spineps_semantic")).notes == ()


@pytest.mark.parametrize(
    ("source", "target", "value", "name"),
    [
        ("parse2022", "la_caf", 1, "pulmonary artery"),
        ("totalsegmentator_mr", "spider", 19, "vertebrae"),
        ("totalsegmentator_mr", "totalsegmentator", 10, "left lung"),
        ("cip", "nomina", 1, "WholeLung"),
        ("spineps_semantic", "spineps_instance", 100, "Vertebra_Disc"),
    ],
)
def test_a_whole_is_not_divided_into_parts_by_guessing(
    source: str, target: str, value: int, name: str
) -> None:
    before = label_map([value], source)
    with pytest.raises(SchemeError, match=f"{name} cannot be written as {target}, which has only its parts"):
        convert(before, load_scheme(target))
    done = convert(before, load_scheme(target), leave_out=[name])
    assert not done.label_map.array.any()
    assert done.lost == ()


def test_leaving_out_what_is_not_there_is_refused() -> None:
    with pytest.raises(SchemeError, match=r"cannot leave out \['liver'\]: the label map holds L5 vertebra"):
        convert(label_map([1], "spider"), load_scheme("verse"), leave_out=["liver"])


def test_discs_around_a_sixth_lumbar_vertebra_keep_their_names() -> None:
    there = convert(label_map([24, 25, 124, 125], "spineps_instance"), load_scheme("nomina"))
    assert {"L5-L6 disc", "L6-S1 disc"} <= set(there.label_map.present())
    back = convert(there.label_map, load_scheme("spineps_instance"))
    assert set(np.unique(back.label_map.array)) == {0, 24, 25, 124, 125}
    assert back.lost == ()
    without_l6 = convert(label_map([24, 126], "nomina"), load_scheme("spineps_instance"))
    assert without_l6.lost == (
        "L5-L6 disc (label 126) has no value in spineps_instance; it becomes background",
    )


def test_own_names_pass_between_schemes_that_share_them() -> None:
    total = load_scheme("totalsegmentator")
    organs = {value: name for value, name in total.others.items() if not name.startswith("rib")}
    shared = [
        value for value, name in organs.items() if name in load_scheme("totalsegmentator_mr").others.values()
    ]
    assert len(shared) == 46 - 2
    there = convert(label_map(shared, "totalsegmentator"), load_scheme("totalsegmentator_mr"))
    assert there.lost == there.notes == ()
    assert (
        "liver (label 5) has no value in spider"
        in convert(label_map([5], "totalsegmentator"), load_scheme("spider")).lost[0]
    )


def test_what_the_border_cuts_stays_cut_where_the_target_has_no_value_for_it() -> None:
    array = np.array([0, 24, 23, 24], dtype=np.uint8).reshape(2, 2, 1)
    names = {24: "L5 vertebra", 23: "L4 vertebra"}
    cut = LabelMap(array, Grid(array.shape, np.eye(4)), names=names, scheme="nomina", ignored=frozenset({24}))
    verse = convert(cut, load_scheme("verse"))
    assert verse.label_map.array.ravel().tolist() == [0, 24, 23, 24]
    assert verse.partial == {24: "L5 vertebra"}
    assert 24 in verse.label_map.ignored
    assert 23 not in verse.label_map.ignored
    spider = convert(cut, load_scheme("spider"))
    assert (spider.label_map.array.ravel().tolist(), spider.partial) == (
        [0, 101, 2, 101],
        {101: "L5 vertebra"},
    )


def test_what_a_scheme_can_say_is_known_without_a_label_map() -> None:
    nomina = load_scheme("nomina")
    asked = ("L4 vertebra", "spinal canal")
    assert expressible(asked, nomina, load_scheme("spider")) == asked
    assert expressible(asked, nomina, load_scheme("mrspineseg")) == ("L4 vertebra",)
    # A side is joined to the whole; a whole of which the scheme has the parts alone cannot be written.
    sided = ("left pulmonary artery", "pulmonary artery")
    assert expressible(sided, nomina, load_scheme("hipas_artery")) == sided
    assert expressible(sided, nomina, load_scheme("la_caf")) == sided[:1]
