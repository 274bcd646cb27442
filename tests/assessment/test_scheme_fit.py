"""Label maps of a known spine under each scheme: as they should be, turned, shifted, shuffled, misnamed."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.conversion import convert
from nomina.anatomy.schemes import load_scheme
from nomina.assessment.scheme_fit import Verification, sentences, verify
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_label_array
from nomina.imaging.volume import LabelMap
from nomina.phantoms.plan import SpineConfig
from nomina.phantoms.spine import sample_spine

SpiderMap = Callable[..., LabelMap]
WITH_CANAL = ("spider", "nomina", "totalspineseg")
WITH_DISCS = (*WITH_CANAL, "spineps_instance", "mrspineseg")
VERTEBRAE_ONLY = ("verse", "totalsegmentator", "totalsegmentator_v1", "totalsegmentator_vertebrae_mr")
SCHEMES = (*WITH_DISCS, *VERTEBRAE_ONLY)
SAME_NUMBERS = (
    ("verse", "spineps_instance"),
    ("verse", "nomina"),
    ("spineps_instance", "nomina"),
    ("totalsegmentator_vertebrae_mr", "mrspineseg"),
)
"""Label maps of the first follow the second too: it has the same numbers and more."""
UPSIDE_DOWN, BACK_TO_FRONT = np.diag([1.0, 1, -1, 1]), np.diag([1.0, -1, 1, 1])


def turned(label_map: LabelMap, flip: np.ndarray) -> LabelMap:
    return replace(label_map, grid=Grid(label_map.grid.shape, flip @ label_map.grid.affine))


def check(label_map: LabelMap, scheme: str | None = None) -> Verification:
    return verify(label_map.array, label_map.grid, load_scheme(scheme) if scheme else None)


def in_scheme(spider: LabelMap, name: str) -> LabelMap:
    return convert(spider, load_scheme(name)).label_map


def with_values(label_map: LabelMap, new_value: dict[int, int]) -> LabelMap:
    array = np.zeros(label_map.array.shape, dtype=np.uint16)
    for old, new in new_value.items():
        array[label_map.array == old] = new
    return LabelMap(array, label_map.grid, names={int(v): str(v) for v in np.unique(array) if v})


def present(label_map: LabelMap) -> list[int]:
    return [int(value) for value in np.unique(label_map.array) if value]


@pytest.fixture
def boxes(spine: np.ndarray, spider_map: SpiderMap) -> LabelMap:
    """Six vertebrae from L5 to T12 with discs and canal, away from the border; SPIDER numbers."""
    return spider_map(np.pad(spine, 2), (2.0, 3.0, 3.6))


@pytest.fixture(scope="module")
def phantom() -> LabelMap:
    """A lumbar spine with posterior elements, in thick slices; SPIDER numbers."""
    config = SpineConfig(in_plane_mm=(1.4, 1.5), num_slices=(9, 9), thin_slices_probability=0.0)
    return sample_spine(5, config).label_map


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_label_map_follows_its_own_scheme_and_it_is_proposed(boxes: LabelMap, scheme: str) -> None:
    label_map = in_scheme(boxes, scheme)
    claimed = check(label_map, scheme)
    assert claimed.is_fit, sentences(claimed)
    assert claimed.claimed is not None
    assert claimed.claimed.met == claimed.claimed.asked > 8
    assert 0.85 < claimed.claimed.confidence < 1
    unclaimed = check(label_map)
    assert unclaimed.is_fit
    best = {fit.scheme for fit in unclaimed.proposals if fit.met == unclaimed.proposals[0].met}
    assert scheme in best


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_phantom_follows_each_scheme_and_a_turned_one_is_told(phantom: LabelMap, scheme: str) -> None:
    label_map = in_scheme(phantom, scheme)
    assert check(label_map, scheme).is_fit
    found = check(turned(label_map, UPSIDE_DOWN), scheme)
    assert not found.is_fit
    assert "upside down" in " ".join(sentences(found))
    assert any(fit.scheme == scheme and fit.change == "turned upside down" for fit in found.proposals)


@pytest.mark.parametrize("scheme", WITH_CANAL)
def test_a_header_that_turns_the_patient_round_is_told_where_there_is_a_canal(
    phantom: LabelMap, scheme: str
) -> None:
    found = check(turned(in_scheme(phantom, scheme), BACK_TO_FRONT), scheme)
    assert not found.is_fit
    assert (found.proposals[0].scheme, found.proposals[0].change) == (scheme, "turned front to back")


@pytest.mark.parametrize(("actual", "claimed"), list(itertools.permutations(SCHEMES, 2)))
def test_a_label_map_under_the_wrong_name_is_told_and_the_right_one_proposed(
    boxes: LabelMap, actual: str, claimed: str
) -> None:
    found = check(in_scheme(boxes, actual), claimed)
    if (actual, claimed) in SAME_NUMBERS:
        assert found.is_fit
        return
    assert not found.is_fit, sentences(found)
    assert found.claimed is not None
    assert found.claimed.faults
    best = {fit.scheme for fit in found.proposals if fit.met == found.proposals[0].met and not fit.change}
    assert actual in best


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", range(3))
def test_shuffled_numbers_are_told(boxes: LabelMap, scheme: str, seed: int) -> None:
    label_map = in_scheme(boxes, scheme)
    values = present(label_map)
    mixed = np.random.default_rng(seed).permutation(values).tolist()
    assert mixed != values
    found = check(with_values(label_map, dict(zip(values, mixed, strict=True))), scheme)
    assert not found.is_fit


@pytest.mark.parametrize(
    ("scheme", "step"), [("spider", 1), ("nomina", 1), ("totalspineseg", 1), ("totalspineseg", -1)]
)
def test_numbers_that_are_all_one_off_are_told_and_put_right(boxes: LabelMap, scheme: str, step: int) -> None:
    label_map = in_scheme(boxes, scheme)
    found = check(with_values(label_map, {value: value + step for value in present(label_map)}), scheme)
    assert not found.is_fit
    words = "1 taken from" if step == 1 else "1 added to"
    assert (found.proposals[0].scheme, found.proposals[0].change) == (scheme, f"with {words} every value")


@pytest.mark.parametrize("scheme", ["verse", "spineps_instance"])
def test_numbers_one_too_high_leave_a_doubt_where_nothing_else_can_show_it(
    boxes: LabelMap, scheme: str
) -> None:
    label_map = in_scheme(boxes, scheme)
    found = check(with_values(label_map, {value: value + 1 for value in present(label_map)}), scheme)
    assert found.claimed is not None
    assert found.is_fit
    assert "L6 vertebra is there, which few people have" in found.claimed.doubts[0]


@pytest.mark.parametrize("scheme", WITH_DISCS)
def test_discs_one_too_high_are_told(boxes: LabelMap, scheme: str) -> None:
    known, label_map = load_scheme(scheme), in_scheme(boxes, scheme)
    discs = [value for value in present(label_map) if known.labels[value].endswith(" disc")]
    up = -1 if scheme == "mrspineseg" and 11 not in discs else 1
    moved = {value: value + (up if value in discs else 0) for value in present(label_map)}
    found = check(with_values(label_map, moved), scheme)
    assert not found.is_fit


def test_a_binary_mask_gives_no_evidence_and_says_so(boxes: LabelMap) -> None:
    mask = with_values(boxes, {1: 1})
    found = check(mask, "parse2022")
    assert found.is_fit
    assert found.claimed is not None
    assert found.claimed.confidence == 0
    assert "nothing that could be looked at" in sentences(found)[0]
    unclaimed = check(mask)
    assert not unclaimed.is_fit
    assert "no scheme can be told" in sentences(unclaimed)[0]


def test_a_scheme_that_little_speaks_for_is_kept_until_much_speaks_for_another(boxes: LabelMap) -> None:
    label_map = in_scheme(boxes, "mrspineseg")
    few = with_values(label_map, {value: value for value in (4, 5, 6, 7)})
    found = check(few, "totalsegmentator")
    assert found.is_fit
    assert found.claimed is not None
    assert found.claimed.asked < 3
    assert {"mrspineseg", "totalsegmentator_vertebrae_mr"} <= {fit.scheme for fit in found.proposals}
    many = with_values(label_map, {value: value for value in range(2, 8)})
    outweighed = check(many, "totalsegmentator")
    assert not outweighed.is_fit
    assert "0 relations between structures speak for it and 10 for mrspineseg" in " ".join(
        sentences(outweighed)
    )


def test_an_empty_label_map_is_no_fault_of_the_scheme(boxes: LabelMap) -> None:
    found = check(with_values(boxes, {}), "spider")
    assert not found.is_fit
    assert sentences(found) == ["holds no label, so there is nothing to check"]
    assert found.claimed is not None
    assert found.claimed.is_fit
    assert found.claimed.confidence == 0


def test_a_partly_visible_vertebra_counts_in_the_order(boxes: LabelMap) -> None:
    nomina = in_scheme(boxes, "nomina")
    cut = with_values(nomina, {value: value if value != 19 else 219 for value in present(nomina)})
    assert check(cut, "nomina").is_fit
    swapped = with_values(nomina, {value: {24: 219, 19: 24}.get(value, value) for value in present(nomina)})
    assert not check(swapped, "nomina").is_fit


def test_the_verdict_is_plain_data(boxes: LabelMap) -> None:
    plain = check(in_scheme(boxes, "mrspineseg"), "verse").as_plain()
    assert plain["fits"] is False
    assert plain["claimed"]["scheme"] == "verse"
    assert plain["proposals"][0]["scheme"] == "mrspineseg"
    assert plain["proposals"][0]["confidence"] > 0.8
    assert plain["sentences"][0].startswith("does not follow the scheme verse")


@pytest.mark.slow
def test_every_real_spider_mask_follows_spider_and_nothing_else(shared_data: Path) -> None:
    paths = sorted((shared_data / "spider_t2space" / "masks").glob("*.mha"))
    assert len(paths) == 25
    for path in paths:
        array, grid = read_label_array(path)
        assert verify(array, grid, load_scheme("spider")).is_fit, path.name
        assert [fit.scheme for fit in verify(array, grid).proposals] == ["spider"], path.name


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("spine_other/totalseg_spine_ct/example_ct_sm_seg_auto.nii.gz", "totalsegmentator"),
        ("spine_other/totalseg_spine_ct/vertebrae_levels_auto.nii.gz", "totalsegmentator"),
        ("spine_other/totalseg_spine_ct/example_mr_sm_seg_auto.nii.gz", "totalsegmentator_mr"),
        ("spine_other/tptbox_samples/sample_ct/sub-ct_seg-subreg_label-22_msk.nii.gz", "spineps_semantic"),
        ("spine_other/tptbox_samples/sample_ct/sub-ct_seg-vert_label-22_msk.nii.gz", "verse"),
        ("spine_other/tptbox_samples/sample_mri/sub-mri_seg-subreg_label-6_msk.nii.gz", "spineps_semantic"),
        ("chest/cip_ct64/lm-64.nrrd", "cip"),
        ("spider_t2space/masks/127_t2_SPACE.mha", "spider"),
    ],
)
def test_real_label_maps_follow_their_scheme_and_it_is_proposed(
    shared_data: Path, path: str, scheme: str
) -> None:
    array, grid = read_label_array(shared_data / path)
    found = verify(array, grid, load_scheme(scheme))
    assert found.is_fit, sentences(found)
    assert verify(array, grid).proposals[0].scheme == scheme


def test_a_real_label_map_that_numbers_lumbar_vertebrae_as_cervical_ones_is_told(shared_data: Path) -> None:
    name = "spine_other/tptbox_samples/sample_mri/sub-mri_seg-vert_label-6_msk.nii.gz"
    array, grid = read_label_array(shared_data / name)
    found = verify(array, grid, load_scheme("spineps_instance"))
    assert not found.is_fit
    assert "cervical vertebrae are 31 mm apart" in " ".join(sentences(found))


@pytest.mark.parametrize(
    ("path", "scheme", "axis", "words"),
    [
        (
            "spine_other/totalseg_spine_ct/example_mr_sm_seg_auto.nii.gz",
            "totalsegmentator_mr",
            0,
            "left to right",
        ),
        (
            "spine_other/totalseg_spine_ct/example_ct_sm_seg_auto.nii.gz",
            "totalsegmentator",
            1,
            "front to back",
        ),
        ("chest/cip_ct64/lm-64.nrrd", "cip", 0, "left to right"),
        ("chest/cip_ct64/lm-64.nrrd", "cip", 2, "upside down"),
    ],
)
def test_a_real_label_map_with_a_mirrored_header_is_told(
    shared_data: Path, path: str, scheme: str, axis: int, words: str
) -> None:
    array, grid = read_label_array(shared_data / path)
    flip = np.eye(4)
    flip[axis, axis] = -1
    found = verify(array, Grid(grid.shape, flip @ grid.affine), load_scheme(scheme))
    assert not found.is_fit
    assert (found.proposals[0].scheme, found.proposals[0].change) == (scheme, f"turned {words}")


def test_exchanged_lobes_of_a_real_label_map_are_told(shared_data: Path) -> None:
    array, grid = read_label_array(shared_data / "chest/cip_ct64/crop_ct_interactiveLobeSegmentation.nrrd")
    array, grid = (
        array[::4, ::4, ::4],
        Grid(
            tuple(-(-size // 4) for size in grid.shape),  # type: ignore[arg-type]
            grid.affine @ np.diag([4.0, 4, 4, 1]),
        ),
    )
    assert verify(array, grid, load_scheme("cip")).is_fit
    swapped = np.where(array == 4, 7, np.where(array == 7, 4, array))
    found = verify(swapped, grid, load_scheme("cip"))
    assert "on the right of its counterpart: left upper lobe" in " ".join(sentences(found))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s0011", "sXXXX"])
def test_a_whole_body_follows_totalsegmentator_and_its_first_version_does_not_fit(
    shared_data: Path, name: str
) -> None:
    folder = shared_data / "priors" / "totalseg_dataset_masks"
    array, grid = read_label_array(folder / f"{name}_117labels.nii.gz")
    array, grid = (
        array[::3, ::3, ::3],
        Grid(
            tuple(-(-size // 3) for size in grid.shape),  # type: ignore[arg-type]
            grid.affine @ np.diag([3.0, 3, 3, 1]),
        ),
    )
    total = load_scheme("totalsegmentator")
    own = {"spinal_cord": "spinal cord", "pulmonary_vein": "pulmonary vein"}
    value_of = {found: value for value, found in total.names_in([]).items()}
    look_up = np.zeros(118, dtype=np.uint8)
    for line in (folder / "labels.txt").read_text().splitlines():
        listed, label = int(line.split()[0]), line.split()[1]
        if label.startswith("vertebrae_"):
            label = f"{label.removeprefix('vertebrae_')} vertebra"
        elif label.startswith("lung_"):
            _, lobe, _, side = label.split("_")
            label = f"{side} {lobe} lobe"
        look_up[listed] = value_of[own.get(label, label)]
    found = verify(look_up[array], grid, total)
    assert found.is_fit, sentences(found)
    assert found.claimed is not None
    assert found.claimed.asked > 50
    wrong = verify(array, grid, total)  # the alphabetical numbers of the file as it lies there
    assert not wrong.is_fit
