"""A patch is cut where the plan says, image and classes together, and then only its look changes."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nomina.errors import ConfigError
from nomina.learning.augmentation import AugmentationConfig, cut_patch, vary_intensity
from nomina.learning.prepared import PreparedDataset
from nomina.learning.sampling import CaseIndex, PatchPlan, index_case

IGNORED = 255
OFF = AugmentationConfig(**{field.name: 0.0 for field in fields(AugmentationConfig)})
IDENTITY = PatchPlan(
    case=0,
    slice_index=1,
    neighbour_offset=1,
    centre=(15.5, 19.5),
    rotation_deg=0.0,
    scale=1.0,
    elastic_px=0.0,
    seed=0,
)


@pytest.fixture
def arrays(short_spine: Callable[..., tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Three slices of 32 × 40 pixels."""
    return short_spine(size=(3, 32, 40))


@pytest.fixture
def case(
    tmp_path: Path, make_prepared: Callable[..., PreparedDataset], arrays: tuple[np.ndarray, np.ndarray]
) -> CaseIndex:
    (entry,) = make_prepared(tmp_path, {"p1_t2": arrays}).cases
    return index_case(entry, 6)


def test_the_identity_plan_returns_the_slice_and_its_neighbours(
    case: CaseIndex, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    image, labels = arrays
    patch, target = cut_patch(case, IDENTITY, (32, 40), 3)
    np.testing.assert_allclose(patch.numpy(), image.astype(np.float16).astype(np.float32), atol=1e-4)
    np.testing.assert_array_equal(target.numpy(), labels[1])


@pytest.mark.parametrize(
    ("slice_index", "offset", "shown"), [(1, 0, [1, 1, 1]), (0, 1, [0, 0, 1]), (2, 2, [0, 2, 2])]
)
def test_channels_are_the_slices_an_offset_away_within_the_scan(
    case: CaseIndex, arrays: tuple[np.ndarray, np.ndarray], slice_index: int, offset: int, shown: list[int]
) -> None:
    plan = replace(IDENTITY, slice_index=slice_index, neighbour_offset=offset)
    patch, _ = cut_patch(case, plan, (32, 40), 3)
    np.testing.assert_allclose(patch.numpy(), arrays[0][shown], atol=2e-3)


def test_a_shifted_plan_shows_shifted_pixels_and_leaves_the_outside_unknown(
    case: CaseIndex, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    image, labels = arrays
    patch, target = cut_patch(case, replace(IDENTITY, centre=(18.5, 14.5)), (32, 40), 1)
    np.testing.assert_array_equal(target[:29, 5:].numpy(), labels[1, 3:, :35])
    np.testing.assert_allclose(patch[0, :29, 5:].numpy(), image[1, 3:, :35], atol=2e-3)
    assert (target[29:] == IGNORED).all()
    assert (target[:, :5] == IGNORED).all()
    assert (target == IGNORED).sum() == 32 * 40 - 29 * 35
    torch.testing.assert_close(patch[0, 29:], torch.full((3, 40), float(image[1].min())), atol=2e-3, rtol=0)


def test_unknown_classes_stay_unknown(
    tmp_path: Path,
    make_prepared: Callable[..., PreparedDataset],
    arrays: tuple[np.ndarray, np.ndarray],
) -> None:
    image, labels = arrays
    labels[1, 12:20, 8:12] = IGNORED
    (entry,) = make_prepared(tmp_path / "other", {"p1_t2": (image, labels)}).cases
    _, target = cut_patch(index_case(entry, 6), IDENTITY, (32, 40), 1)
    np.testing.assert_array_equal(target.numpy() == IGNORED, labels[1] == IGNORED)


def test_a_quarter_turn_turns_the_slice(
    tmp_path: Path, make_prepared: Callable[..., PreparedDataset]
) -> None:
    labels = np.zeros((1, 33, 33), dtype=np.uint8)
    labels[0, 2:9, 20:24], labels[0, 25:28, 3:9] = 1, 2
    (entry,) = make_prepared(tmp_path / "turn", {"p1_t2": (labels.astype(float), labels)}).cases
    plan = replace(IDENTITY, slice_index=0, centre=(16.0, 16.0), rotation_deg=90.0)
    patch, target = cut_patch(index_case(entry, 6), plan, (33, 33), 1)
    np.testing.assert_array_equal(target.numpy(), np.rot90(labels[0], -1))
    np.testing.assert_allclose(patch[0].numpy(), np.rot90(labels[0], -1), atol=1e-4)


def test_scale_is_pixels_of_the_slice_per_pixel_of_the_patch(
    tmp_path: Path, make_prepared: Callable[..., PreparedDataset]
) -> None:
    labels = np.zeros((1, 65, 65), dtype=np.uint8)
    labels[0, 20:40, 10:50] = 1
    (entry,) = make_prepared(tmp_path / "scale", {"p1_t2": (labels.astype(float), labels)}).cases
    plan = replace(IDENTITY, slice_index=0, centre=(32.0, 32.0), scale=2.0)
    _, target = cut_patch(index_case(entry, 6), plan, (33, 33), 1)
    np.testing.assert_array_equal(target.numpy(), labels[0, ::2, ::2])


@pytest.mark.parametrize("seed", range(6))
def test_image_and_classes_stay_aligned_under_every_warp(
    tmp_path: Path, make_prepared: Callable[..., PreparedDataset], seed: int
) -> None:
    """A mask is given as the image too: half its grey is where the warped classes change."""
    rng = np.random.default_rng(seed)
    j, k = np.mgrid[:64, :80]
    labels = (((j - 30) / 22) ** 2 + ((k - 38) / 15) ** 2 < 1)[None].astype(np.uint8)
    (entry,) = make_prepared(tmp_path, {"p1_t2": (labels.astype(float), labels)}).cases
    plan = PatchPlan(
        case=0,
        slice_index=0,
        neighbour_offset=0,
        centre=(31.5 + rng.uniform(-5, 5), 39.5 + rng.uniform(-5, 5)),
        rotation_deg=float(rng.uniform(-15, 15)),
        scale=float(rng.uniform(0.8, 1.25)),
        elastic_px=3.0,
        seed=seed,
    )
    patch, target = cut_patch(index_case(entry, 6), plan, (48, 64), 1)
    known = target != IGNORED
    assert known.sum() > 2000
    assert ((patch[0] > 0.5) != (target == 1))[known].float().mean() < 0.01
    assert (target == 1).sum() > 200


def test_the_elastic_field_follows_the_seed(case: CaseIndex) -> None:
    plan = replace(IDENTITY, elastic_px=3.0, seed=4)
    first = cut_patch(case, plan, (32, 40), 1)
    again = cut_patch(case, plan, (32, 40), 1)
    other = cut_patch(case, replace(plan, seed=5), (32, 40), 1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@pytest.fixture
def patch(arrays: tuple[np.ndarray, np.ndarray]) -> Tensor:
    return torch.from_numpy(arrays[0])


def test_without_changes_the_look_is_only_standardised(patch: Tensor) -> None:
    same = vary_intensity(patch, OFF, seed=3)
    torch.testing.assert_close(same, (patch - patch.mean()) / patch.std(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("change", [field.name for field in fields(AugmentationConfig)])
def test_each_change_is_seeded_and_does_something(patch: Tensor, change: str) -> None:
    cfg, kinds = replace(OFF, **{change: 1.0}), (patch[0] > patch.mean()).long()
    changed = vary_intensity(patch, cfg, 1, kinds)
    assert torch.equal(changed, vary_intensity(patch, cfg, 1, kinds))
    assert not torch.allclose(changed, vary_intensity(patch, cfg, 2, kinds), atol=1e-3)
    assert not torch.allclose(changed, vary_intensity(patch, OFF, seed=1), atol=1e-3)
    assert changed.isfinite().all()
    assert changed.shape == patch.shape


def test_recolouring_parts_what_is_equally_bright_and_keeps_what_is_inside() -> None:
    """Two structures of one texture: each follows one curve of its grey values, and not the same one."""
    texture = torch.rand(64, generator=torch.Generator().manual_seed(0)).repeat(64, 1)
    kinds = torch.zeros(64, 64, dtype=torch.long)
    kinds[:30], kinds[34:] = 1, 2
    changed = vary_intensity(texture[None], replace(OFF, recolour=1.0), 0, kinds)[0]
    # Away from the edge every row of a structure is the same function of the same row.
    torch.testing.assert_close(changed[2], changed[20], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(changed[40], changed[60], atol=1e-4, rtol=1e-4)
    assert (changed[2] - changed[60]).abs().mean() > 0.2
    same_as_off = vary_intensity(texture[None], OFF, 0, kinds)
    torch.testing.assert_close(same_as_off, vary_intensity(texture[None], OFF, 0))


def test_no_change_moves_anything() -> None:
    """A bright square far larger than the blur: its edge stays where it is, whatever the look."""
    patch = torch.zeros(1, 64, 64)
    patch[:, 20:44, 24:40] = 1.0
    everything = AugmentationConfig(
        **{field.name: 1.0 for field in fields(AugmentationConfig)} | {"remap": 0.0, "bias_field": 0.0}
    )
    for seed in range(10):
        changed = vary_intensity(patch, everything, seed)[0]
        middle = (changed[22:42, 26:38].mean() + changed[:16].mean()) / 2
        bright = changed > middle
        rows, columns = bright[:, 28:36].float().mean(1), bright[24:40].float().mean(0)
        assert abs(rows.sum().item() - 24) < 2
        assert abs(columns.sum().item() - 16) < 2
        assert abs((rows * torch.arange(64)).sum() / rows.sum() - 31.5) < 1
        assert abs((columns * torch.arange(64)).sum() / columns.sum() - 31.5) < 1


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_a_probability_out_of_range_is_refused_by_name(value: float) -> None:
    with pytest.raises(ConfigError, match=f"gamma must lie in 0 to 1, got {value}"):
        AugmentationConfig(gamma=value)


def test_a_patch_of_one_value_stays_finite() -> None:
    everything = AugmentationConfig(**{field.name: 1.0 for field in fields(AugmentationConfig)})
    for seed in range(5):
        assert vary_intensity(torch.full((1, 32, 32), 0.7), everything, seed).isfinite().all()
