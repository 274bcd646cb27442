import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure

from nomina.assessment.metrics.label_free import label_free_scores
from nomina.imaging.volume import LabelMap

SpiderMap = Callable[..., LabelMap]


def test_names_cost_nothing(spine: np.ndarray, spider_map: SpiderMap) -> None:
    shuffled = spine.copy()
    for old, new in ((1, 9), (2, 205), (3, 100), (100, 7), (202, 1)):
        shuffled[spine == old] = new
    # Disc 205 and vertebra 2 now share a value, so leave that disc out of the reference.
    reference = np.where(spine == 205, 0, spine)
    shuffled[spine == 205] = 0
    scores = label_free_scores(spider_map(shuffled), spider_map(reference))
    for group, number in (("vertebrae", 6), ("discs", 5), ("canal", 1)):
        assert scores.group(group).dice == 1.0
        assert scores.group(group).asd_mm == 0.0
        assert scores.group(group).num_detected == scores.group(group).num_reference == number


@pytest.mark.parametrize(
    ("num_voxels", "num_detected", "dice"),
    # Of 448 voxels: Dice 0.098 of 23, which is not detected, and 0.102 of 24.
    [(1, 5, 1.0), (23, 5, 1.0), (24, 6, (5 + 48 / 472) / 6)],
)
def test_a_structure_below_dice_one_tenth_leaves_the_means_and_shows_in_the_detection_rate(
    spine: np.ndarray, spider_map: SpiderMap, num_voxels: int, num_detected: int, dice: float
) -> None:
    prediction = np.where(spine == 3, 0, spine)
    prediction[tuple(np.argwhere(spine == 3)[:num_voxels].T)] = 3
    group = label_free_scores(spider_map(prediction), spider_map(spine)).group("vertebrae")
    assert group.dice == pytest.approx(dice)
    assert (group.asd_mm == 0.0) == (num_detected == 5)
    assert (group.num_detected, group.num_reference) == (num_detected, 6)


def test_a_missing_canal_keeps_its_dice_of_zero(spine: np.ndarray, spider_map: SpiderMap) -> None:
    prediction = np.where(spine == 100, 0, spine)
    group = label_free_scores(spider_map(prediction), spider_map(spine)).group("canal")
    assert group.dice == 0.0
    assert math.isnan(group.asd_mm)
    assert (group.num_detected, group.num_reference) == (0, 1)


def test_the_label_that_covers_most_is_paired_and_scored_as_a_whole(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    merged = np.where(spine == 2, 1, spine)  # label 1 now covers two vertebrae
    dice = {s.structure: s.dice for s in label_free_scores(spider_map(merged), spider_map(spine)).structures}
    assert dice["L5 vertebra"] == pytest.approx(2 / 3)
    assert dice["L4 vertebra"] == pytest.approx(2 / 3)


def test_partly_visible_vertebrae_enter_no_group_but_may_be_the_match(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    cut = np.where(spine == 6, 106, spine)
    assert label_free_scores(spider_map(spine), spider_map(cut)).group("vertebrae").num_reference == 5
    assert label_free_scores(spider_map(cut), spider_map(spine)).group("vertebrae").dice == 1.0


def test_distances_follow_the_official_definition_with_each_axis_own_spacing(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    spacing = (4.0, 0.5, 1.5)
    # Slanted, so that 6 and 26 neighbours find different surfaces.
    i, j, k = np.indices(spine.shape)
    spine = np.where((spine == 4) & (i + j + (k % 10) > 20), 0, spine)
    prediction = np.roll(spine, (1, 1, 1), axis=(0, 1, 2))
    scores = label_free_scores(spider_map(prediction, spacing), spider_map(spine, spacing))
    reference_mask, prediction_mask = spine == 4, prediction == 4
    borders = [
        mask ^ binary_erosion(mask, generate_binary_structure(3, 3))
        for mask in (prediction_mask, reference_mask)
    ]
    far = [distance_transform_edt(~border, sampling=spacing) for border in borders]
    expected = np.concatenate([far[1][borders[0]], far[0][borders[1]]]).mean()
    found = next(s for s in scores.structures if s.structure == "L2 vertebra")
    assert found.asd_mm == pytest.approx(expected)
    assert found.dice == pytest.approx(
        2 * (prediction_mask & reference_mask).sum() / (2 * reference_mask.sum())
    )
