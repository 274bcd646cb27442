"""Blocks of prepared chests: where they lie, what is known in them, and that a seed gives them again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nomina.errors import CaseError, ConfigError
from nomina.language.vessel_prompts import SIDED_VESSELS, VESSELS
from nomina.learning.batches import draw_order, open_training_data
from nomina.learning.block_augmentation import BlockAugmentationConfig, Turn, turned, vary_window
from nomina.learning.block_batches import (
    ChestData,
    cut_block,
    hidden_sides,
    make_block_batch,
    open_chest_data,
)
from nomina.learning.block_sampling import BlockPlan, BlockSamplingConfig, draw_block
from nomina.learning.prepared import PreparedDataset, write_array
from nomina.learning.recipe import DataSource, Recipe
from nomina.learning.validity import Answer, answers

PLAIN = BlockAugmentationConfig(quarter_turns=0.0, shift=0.0)
Chests = Callable[..., PreparedDataset]


@pytest.fixture
def data(tmp_path: Path, make_chests: Chests) -> ChestData:
    make_chests(tmp_path / "whole", count=2)
    return open_chest_data([DataSource(folder=str(tmp_path / "whole"))], VESSELS)


def batch_of(data: ChestData, seed: tuple[int, ...] = (0, 0), **changes: object):  # type: ignore[no-untyped-def]
    options = {"batch_size": 3, "has_skeleton": True} | changes
    return make_block_batch(data, BlockSamplingConfig(block_size=(16, 16, 16)), PLAIN, seed=seed, **options)


def test_a_seed_gives_the_same_batch_and_another_one_another(data: ChestData) -> None:
    one, same, other = batch_of(data), batch_of(data), batch_of(data, (0, 1))
    for name in ("image", "reference", "annotated", "skeleton"):
        assert torch.equal(getattr(one, name), getattr(same, name))
    assert not torch.equal(one.image, other.image)


def test_image_and_classes_are_those_of_the_chest(data: ChestData) -> None:
    index = data.cases[0]
    image, answer = cut_block(index, BlockPlan(0, (4, 5, 6), 0), (16, 12, 8))
    where = (slice(4, 20), slice(5, 17), slice(6, 14))
    np.testing.assert_array_equal(image, index.entry.image()[where].astype(np.float32))
    names = data.prepare.structures
    sides = [names.index(f"{side} pulmonary artery") + 1 for side in ("left", "right")]
    labels = index.entry.labels()[where]
    np.testing.assert_array_equal(answer[0] == Answer.there, np.isin(labels, sides))
    assert (answer != Answer.unknown).all()


def test_beyond_the_scan_is_air_of_which_nothing_is_known(data: ChestData) -> None:
    image, answer = cut_block(data.cases[0], BlockPlan(0, (-4, 0, 0), 0), (16, 16, 16))
    assert not image[:4].any()
    assert (answer[:, :4] == Answer.unknown).all()
    assert (answer[:, 4:] != Answer.unknown).all()


def test_blocks_are_centred_on_vessels_as_often_as_asked(data: ChestData) -> None:
    shares = {}
    for share in (0.0, 1.0):
        cfg = BlockSamplingConfig(block_size=(8, 8, 8), vessel_share=share)
        rng = np.random.default_rng(0)
        plans = [draw_block(data.cases, data.case_weights, cfg, rng) for _ in range(60)]
        found = []
        for plan in plans:
            size = data.cases[plan.case].entry.shape
            assert all(0 <= start <= side - 8 for start, side in zip(plan.start, size, strict=True))
            found.append(cut_block(data.cases[plan.case], plan, (8, 8, 8))[1].max() == Answer.there)
        shares[share] = np.mean(found)
    assert shares[1.0] == 1.0
    assert shares[0.0] < 0.8


@pytest.mark.parametrize("vessel_share", [0.0, 1.0])
def test_the_middle_of_a_block_is_no_air_and_of_the_vessel_asked_for_where_the_scan_has_room(
    data: ChestData, vessel_share: float
) -> None:
    cfg = BlockSamplingConfig(block_size=(8, 8, 8), vessel_share=vessel_share)
    rng = np.random.default_rng(1)
    num_free = 0
    for plan in (draw_block(data.cases, data.case_weights, cfg, rng) for _ in range(60)):
        index = data.cases[plan.case]
        if all(0 < start < side - 8 for start, side in zip(plan.start, index.entry.shape, strict=True)):
            image, answer = cut_block(index, plan, (8, 8, 8))
            assert image[4, 4, 4] > 0
            assert vessel_share == 0 or answer[:, 4, 4, 4].max() == Answer.there
            num_free += 1
    assert num_free > 20


def test_distal_blocks_are_centred_on_vessels_that_fill_little_of_what_is_about_them(
    tmp_path: Path, make_chests: Chests
) -> None:
    dataset = make_chests(tmp_path / "whole", count=1)
    (entry,) = dataset.cases
    labels = np.zeros(entry.shape, dtype=np.uint8)
    labels[10:20, 10:20, 5:20] = labels[30, 14, 5:20] = (
        dataset.config.structures.index("pulmonary artery") + 1
    )
    write_array(entry.folder, entry.id, "labels", labels)
    chest = open_chest_data([DataSource(folder=str(entry.folder))], ("pulmonary artery",))
    centres = {}
    for share in (0.0, 1.0):
        cfg = BlockSamplingConfig(block_size=(8, 8, 8), vessel_share=1.0, distal_share=share)
        rng = np.random.default_rng(0)
        plans = [draw_block(chest.cases, chest.case_weights, cfg, rng) for _ in range(60)]
        centres[share] = np.array([plan.start for plan in plans]) + 4
    filled = {
        share: [(labels[tuple(slice(n - 2, n + 3) for n in centre)] > 0).mean() for centre in found]
        for share, found in centres.items()
    }
    assert max(filled[1.0]) < 0.3
    assert np.mean(filled[0.0]) > 0.6
    # One voxel in a hundred is of the twig.
    assert (centres[0.0][:, 0] == 30).sum() < 6 < (centres[1.0][:, 0] == 30).sum()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"block_size": (16, 7, 16)}, r"at least 8 along every axis, got \(16, 7, 16\)"),
        ({"vessel_share": 1.1}, "must lie in 0 to 1, got 1.1 and 0.0"),
        ({"distal_share": -0.1}, "must lie in 0 to 1, got .* and -0.1"),
        ({"tile_overlap": 1.0}, "less than 1, got 1.0"),
    ],
)
def test_impossible_blocks_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BlockSamplingConfig(**wrong)


def test_half_labelled_chests_know_one_half(tmp_path: Path, make_chests: Chests) -> None:
    make_chests(tmp_path / "half", count=1, annotated=("left pulmonary artery", "left pulmonary vein"))
    (index,) = open_chest_data([DataSource(folder=str(tmp_path / "half"))], VESSELS).cases
    _, answer = cut_block(index, BlockPlan(0, (0, 0, 0), 0), index.entry.shape)
    known = (answer != Answer.unknown).all(axis=(0, 2, 3))
    assert known[:20].all()
    assert not (answer[:, 24:] != Answer.unknown).any()
    assert (answer == Answer.there).sum() == 2 * 9 * 18


def test_sides_are_taught_from_labels_without_sides(tmp_path: Path, make_chests: Chests) -> None:
    make_chests(tmp_path / "whole", count=1, has_sides=False)
    (index,) = open_chest_data([DataSource(folder=str(tmp_path / "whole"))], SIDED_VESSELS).cases
    _, answer = cut_block(index, BlockPlan(0, (0, 0, 0), 0), index.entry.shape)
    for number, name in enumerate(SIDED_VESSELS):
        along_r = np.flatnonzero((answer[number] == Answer.there).any(axis=(1, 2)))
        assert (along_r.max() < 18) if "left" in name else (along_r.min() >= 26)


def test_what_no_case_shows_or_is_no_ct_is_refused(
    tmp_path: Path,
    make_chests: Chests,
    make_prepared: Callable[..., PreparedDataset],
    short_spine: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    make_chests(tmp_path / "arteries", count=1, annotated=("pulmonary artery",), has_sides=False)
    source = DataSource(folder=str(tmp_path / "arteries"))
    with pytest.raises(CaseError, match="no training case shows pulmonary vein"):
        open_chest_data([source], VESSELS)
    with pytest.raises(CaseError, match="none trains"):
        open_chest_data([replace(source, is_validation=True)], VESSELS)
    with pytest.raises(ConfigError, match="holds CT"):
        open_training_data([source])
    make_prepared(tmp_path / "spine", {"p1": short_spine(0)})
    with pytest.raises(ConfigError, match="holds slices of MR"):
        open_chest_data([DataSource(folder=str(tmp_path / "spine"))], VESSELS)


def test_turns_are_exact_and_keep_blocks_that_are_not_square() -> None:
    block = np.arange(2 * 3 * 3 * 2).reshape(2, 3, 3, 2)
    back = turned(turned(block, Turn(False, 1)), Turn(False, 3))
    np.testing.assert_array_equal(back, block)
    np.testing.assert_array_equal(turned(block, Turn(True, 0)), block[:, ::-1])
    assert turned(block[:, :2], Turn(False, 1)).shape == (2, 2, 3, 2)


def test_the_look_varies_within_its_range(rng: np.random.Generator) -> None:
    image = np.full((8, 8, 8), 0.5, dtype=np.float32)
    np.testing.assert_array_equal(vary_window(image, PLAIN, rng), image)
    shifted = vary_window(image, BlockAugmentationConfig(shift=1.0, shift_by=0.1), rng)
    assert np.ptp(shifted) == 0
    assert 0 < abs(shifted[0, 0, 0] - 0.5) <= 0.1
    assert vary_window(image, BlockAugmentationConfig(shift=0.0, noise=1.0), rng).std() <= 0.05


def test_half_labelled_chests_are_those_that_were_prepared_with_one_lung_labelled(
    tmp_path: Path, make_chests: Chests
) -> None:
    make_chests(tmp_path / "whole", count=3)
    for side in ("left", "right"):
        kept = (f"{side} pulmonary artery", f"{side} pulmonary vein")
        make_chests(tmp_path / f"{side} alone", count=3, annotated=kept)
    source = DataSource(folder=str(tmp_path / "whole"), half_labelled=2 / 3)
    data = open_chest_data([source], VESSELS)
    first, second, third = draw_order(f"box{seed}" for seed in range(3))
    expected = {first: "whole", second: "right alone", third: "left alone"}
    everywhere = (slice(None),) * 3
    for index in data.cases:
        other = open_chest_data([DataSource(folder=str(tmp_path / expected[index.entry.id]))], VESSELS)
        twin = next(case for case in other.cases if case.entry.id == index.entry.id)
        seen, wanted = (
            answers(case.table, case.entry.labels()[everywhere], case.entry.halves()[everywhere])
            for case in (index, twin)
        )
        np.testing.assert_array_equal(seen, wanted)
        for mine, theirs in zip(index.points, twin.points, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert hidden_sides([source], [case.entry for case in data.cases]) == {
        (tmp_path / "whole", second): "left",
        (tmp_path / "whole", third): "right",
    }


def test_validation_stays_whole_and_slices_have_no_halves(tmp_path: Path, make_chests: Chests) -> None:
    make_chests(tmp_path / "whole", count=2)
    split = tmp_path / "split.json"
    split.write_text('{"train": ["box0"], "validation": ["box1"]}')
    source = DataSource(folder=str(tmp_path / "whole"), split=str(split), half_labelled=1.0)
    data = open_chest_data([source], VESSELS)
    background = data.table(data.validation[0])[0]
    assert (background == Answer.absent).all()
    assert (data.cases[0].table[0] == Answer.unknown).any()
    with pytest.raises(ConfigError, match="a network of slices has no lungs"):
        Recipe(name="spine", data=(source,))
    with pytest.raises(ConfigError, match="half_labelled of x must lie in 0 to 1, got 2"):
        DataSource(folder="x", half_labelled=2)
