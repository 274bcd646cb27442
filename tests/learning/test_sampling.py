"""Which patch comes next: drawn from a seed alone, and what is inside it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.errors import ConfigError
from nomina.learning.augmentation import cut_patch
from nomina.learning.prepared import PreparedDataset
from nomina.learning.sampling import CaseIndex, PatchPlan, SamplingConfig, draw_plan, index_case

MakePrepared = Callable[..., PreparedDataset]
Arrays = tuple[np.ndarray, np.ndarray]
Spine = Callable[..., Arrays]
WEIGHT = np.ones(1)


@pytest.fixture
def make_case(tmp_path: Path, make_prepared: MakePrepared) -> Callable[..., CaseIndex]:
    def make(arrays: Arrays, spacing_mm: float = 1.0) -> CaseIndex:
        (entry,) = make_prepared(tmp_path, {"p1_t2": arrays}, spacing_mm).cases
        return index_case(entry, 6)

    return make


def plans(case: CaseIndex, cfg: SamplingConfig, number: int, seed: int = 0) -> list[PatchPlan]:
    rng = np.random.default_rng(seed)
    return [draw_plan([case], WEIGHT, cfg, rng) for _ in range(number)]


def test_plans_follow_from_the_seed_alone(make_case: Callable[..., CaseIndex], short_spine: Spine) -> None:
    case, cfg = make_case(short_spine()), SamplingConfig(patch_size=(32, 32))
    assert plans(case, cfg, 5, seed=3) == plans(case, cfg, 5, seed=3)
    assert plans(case, cfg, 5, seed=3) != plans(case, cfg, 5, seed=4)


def test_an_index_counts_pixels_per_slice_and_keeps_points_of_each_class(
    make_case: Callable[..., CaseIndex], short_spine: Spine
) -> None:
    image, labels = short_spine()
    labels[1] = 0
    labels[2, 0, 0] = 255
    case = make_case((image, labels))
    for n in range(6):
        assert case.counts[:, n].tolist() == (labels == n).sum(axis=(1, 2)).tolist()
    for n, points in enumerate(case.points, start=1):
        assert 0 < len(points) <= 128
        assert (labels[0, points[:, 0].astype(int), points[:, 1].astype(int)] == n).all()
    np.testing.assert_array_equal(case.lowest, case.points[3])  # L5-S1 disc, class 4


def test_draws_stay_in_their_ranges_and_fill_them(
    make_case: Callable[..., CaseIndex], short_spine: Spine
) -> None:
    cfg = SamplingConfig(patch_size=(64, 96), rotation_deg=10, scale=(0.5, 2.0), loose_share=0)
    drawn = plans(make_case(short_spine(), 2.0), cfg, 600)
    turns = np.array([p.rotation_deg for p in drawn])
    scales = np.array([p.scale for p in drawn])
    assert -10 <= turns.min() < -9.5
    assert 9.5 < turns.max() <= 10
    assert 0.5 <= scales.min() < 0.52
    assert 1.9 < scales.max() <= 2.0
    assert abs(np.log(scales).mean()) < 0.1  # log-uniform: as often smaller as larger
    case = make_case(short_spine(), 2.0)
    away = np.array([p.centre for p in drawn]) - case.middle
    reach_px = np.array([20.0, 25.0]) / 2.0  # mm to pixels of 2 mm
    assert (np.abs(away).max(axis=0) <= reach_px).all()
    assert (np.abs(away).max(axis=0) > 0.95 * reach_px).all()


def test_visible_structures_are_those_half_inside(
    make_case: Callable[..., CaseIndex], short_spine: Spine
) -> None:
    """Against brute force: each labelled voxel is carried into the patch and counted."""
    image, labels = short_spine()
    case, cfg = make_case((image, labels)), SamplingConfig(patch_size=(32, 34), elastic_mm=0)
    seen_any = np.zeros(5, dtype=int)
    for plan in plans(case, cfg, 60):
        shares = _shares_inside(labels, plan, (32, 34))
        visible = case.visible(plan, (32, 34))
        clear = np.abs(shares - 0.5) > 0.1  # 128 sampled points stand for all voxels
        assert (visible == (shares >= 0.5))[clear].all()
        seen_any += visible
    assert ((seen_any > 0) & (seen_any < 60)).any()


def test_visible_structures_are_in_the_patch_that_is_cut(
    make_case: Callable[..., CaseIndex], short_spine: Spine
) -> None:
    """`visible` and `cut_patch` agree on where a patch lies."""
    image, labels = short_spine()
    case, cfg = make_case((image, labels)), SamplingConfig(patch_size=(32, 40), elastic_mm=0, scale=(1, 1))
    for plan in plans(case, cfg, 40, seed=1):
        _, target = cut_patch(case, plan, (32, 40), 1)
        expected = np.bincount(labels[0].ravel(), minlength=6)[1:6]
        shares = np.bincount(target.numpy().ravel(), minlength=6)[1:6] / expected
        clear = np.abs(shares - 0.5) > 0.15
        assert (case.visible(plan, (32, 40)) == (shares >= 0.5))[clear].all()


def _shares_inside(labels: np.ndarray, plan: PatchPlan, patch_size: tuple[int, int]) -> np.ndarray:
    """Share of each class's voxels inside the patch: a turn by hand, voxel by voxel."""
    angle = np.deg2rad(plan.rotation_deg)
    shares = []
    for n in range(1, 6):
        inside = []
        for _, j, k in np.argwhere(labels == n):
            dj, dk = j - plan.centre[0], k - plan.centre[1]
            along_j = (np.cos(angle) * dj + np.sin(angle) * dk) / plan.scale
            along_k = (-np.sin(angle) * dj + np.cos(angle) * dk) / plan.scale
            inside.append(abs(along_j) <= patch_size[0] / 2 and abs(along_k) <= patch_size[1] / 2)
        shares.append(np.mean(inside))
    return np.array(shares)


@pytest.mark.parametrize("height", [220, 700])
def test_only_loose_patches_lose_the_sacral_end(
    make_case: Callable[..., CaseIndex], short_spine: Spine, height: int
) -> None:
    """Also in a scan several times as tall as a patch, whose middle is far from the sacrum."""
    case = make_case(short_spine(size=(1, 32, height), shift=20))
    cfg = SamplingConfig(patch_size=(192, 192))

    def keeping(share: float) -> float:
        drawn = plans(case, replace(cfg, loose_share=share), 200)
        return float(np.mean([case.visible(plan, cfg.patch_size)[3] for plan in drawn]))

    assert keeping(0.0) == 1.0
    assert keeping(1.0) < 0.9


def test_a_rare_class_is_drawn_more_often_than_it_occurs(make_case: Callable[..., CaseIndex]) -> None:
    """One slice of twenty has the rare class; by chance it would come up in 5 % of the draws."""
    labels = np.zeros((20, 32, 32), dtype=np.uint8)
    labels[:, 4:12, 4:12] = 1
    labels[:, 14:22, 4:12] = 4
    labels[7, 20:28, 20:28] = 2
    labels[9, 20:25, 20:25] = 5  # 25 pixels: too few to count
    case = make_case((np.zeros(labels.shape), labels))

    def share_of_slice(index: int, shares: tuple[float, float, float]) -> float:
        cfg = SamplingConfig(patch_size=(32, 32), slice_shares=shares)
        return float(np.mean([p.slice_index == index for p in plans(case, cfg, 400)]))

    # Weights 1/20, 1/20 and 1/1: the rare class is wanted in 10 of 11 draws.
    assert share_of_slice(7, (1, 0, 0)) == pytest.approx(10 / 11 + 1 / 11 / 20, abs=0.05)
    assert share_of_slice(9, (1, 0, 0)) < 0.05
    assert share_of_slice(7, (0, 0, 1)) == pytest.approx(1 / 20, abs=0.04)


def test_mid_sagittal_draws_show_all_but_one_of_the_most_classes(
    make_case: Callable[..., CaseIndex], short_spine: Spine
) -> None:
    image, labels = short_spine(size=(6, 32, 40))
    labels[[0, 5]] = 0
    labels[1][labels[1] == 3] = 0  # four of five classes
    labels[4][(labels[4] == 3) | (labels[4] == 5)] = 0  # three
    case = make_case((image, labels))
    cfg = SamplingConfig(patch_size=(32, 32), slice_shares=(0, 1, 0))
    assert {p.slice_index for p in plans(case, cfg, 100)} == {1, 2, 3}


def test_a_scan_without_structures_still_gives_plans(make_case: Callable[..., CaseIndex]) -> None:
    case = make_case((np.zeros((4, 40, 60)), np.zeros((4, 40, 60), dtype=np.uint8)))
    assert case.middle == (19.5, 29.5)
    drawn = plans(case, SamplingConfig(patch_size=(32, 32)), 60)
    assert {p.slice_index for p in drawn} == {0, 1, 2, 3}


def test_neighbours_and_elasticity_are_drawn_as_configured(
    make_case: Callable[..., CaseIndex], short_spine: Spine
) -> None:
    cfg = SamplingConfig(patch_size=(32, 32), neighbour_offsets=(0, 3, 1), elastic_mm=4)
    drawn = plans(make_case(short_spine(), 2.0), cfg, 400)
    offsets = np.bincount([p.neighbour_offset for p in drawn], minlength=3) / 400
    np.testing.assert_allclose(offsets, [0, 0.75, 0.25], atol=0.07)
    strengths = [p.elastic_px for p in drawn]
    assert 0 <= min(strengths) < 0.1
    assert 1.9 < max(strengths) <= 2.0


def test_cases_are_drawn_by_weight(tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine) -> None:
    dataset = make_prepared(tmp_path, {"p1_t2": short_spine(), "p2_t2": short_spine(1)})
    cases = [index_case(entry, 6) for entry in dataset.cases]
    rng = np.random.default_rng(0)
    cfg = SamplingConfig(patch_size=(32, 32))
    drawn = [draw_plan(cases, np.array([0.2, 0.8]), cfg, rng).case for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"patch_size": (16, 64)}, "at least 32"),
        ({"scale": (1.2, 0.8)}, "rising pair"),
        ({"slice_shares": (0.0, 0.0, 0.0)}, "slice_shares"),
        ({"neighbour_offsets": (0.5, -0.5)}, "neighbour_offsets"),
        ({"loose_share": 1.5}, "loose_share"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(fault: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SamplingConfig(**fault)  # type: ignore[arg-type]
