import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.evaluate import evaluate
from nomina.assessment.scores import METRICS, CaseScores, StructureScore
from nomina.errors import ConfigError, GridMismatchError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

SpiderMap = Callable[..., LabelMap]


def score_of(scores: CaseScores, structure: str) -> StructureScore:
    return next(score for score in scores.structures if score.structure == structure)


def names_of(scores: CaseScores) -> set[str]:
    return {score.structure for score in scores.structures}


def test_a_label_map_scored_against_itself_is_perfect(spine: np.ndarray, spider_map: SpiderMap) -> None:
    scores = evaluate(spider_map(spine), spider_map(spine))
    assert len(scores.structures) == 13
    for score in scores.structures:
        assert [getattr(score, metric) for metric in METRICS] == [1, 0, 0, 0, 1, 1]
        assert score.volume_ml_prediction == score.volume_ml_reference
    assert score_of(scores, "L5 vertebra").volume_ml_reference == pytest.approx(8 * 8 * 7 / 1000)
    assert scores.naming.all_levels_right is True
    assert scores.label_free.group("canal").dice == 1.0


def test_a_spine_moved_by_two_voxels_is_two_voxels_away(spine: np.ndarray, spider_map: SpiderMap) -> None:
    spacing = (3.0, 0.5, 0.8)
    moved = np.where(spine == 100, 100, np.roll(np.where(spine == 100, 0, spine), 2, axis=1))
    scores = evaluate(spider_map(moved, spacing), spider_map(spine, spacing))
    vertebra = score_of(scores, "L3 vertebra")
    assert vertebra.hd95_mm == pytest.approx(1.0)
    assert vertebra.hd95_px == pytest.approx(2.0)
    assert vertebra.dice == pytest.approx(6 / 8)
    assert vertebra.nsd_1mm == 1.0
    assert score_of(scores, "spinal canal").dice == 1.0


def test_a_spine_named_one_level_too_high_scores_one_without_names_and_nothing_with_them(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    shifted = np.where((spine > 0) & (spine != 100), spine + 1, spine)
    scores = evaluate(spider_map(shifted), spider_map(spine))
    by_name = {score.structure: score.dice for score in scores.structures}
    assert by_name.pop("spinal canal") == 1.0
    assert max(by_name.values()) == 0.0
    assert scores.label_free.group("vertebrae").dice == 1.0
    assert scores.label_free.group("discs").dice == 1.0
    assert scores.naming.count("one up") == 12


def test_structures_are_matched_by_name_across_schemes(spine: np.ndarray, spider_map: SpiderMap) -> None:
    reference = spider_map(spine)
    values = {value: n for n, value in enumerate(sorted(set(np.unique(spine).tolist()) - {0}), start=40)}
    array = np.zeros_like(spine)
    for old, new in values.items():
        array[spine == old] = new
    names = {new: reference.names[old] for old, new in values.items()}
    scores = evaluate(LabelMap(array, reference.grid, names=names, scheme="other"), reference)
    assert {score.dice for score in scores.structures} == {1.0}
    assert scores.naming.all_levels_right is True


def test_axis_order_and_direction_do_not_matter(spine: np.ndarray, spider_map: SpiderMap) -> None:
    reference = spider_map(spine, (0.9, 0.5, 0.5))
    affine = reference.grid.affine.copy()
    affine[:, 3] += affine[:, 2] * (spine.shape[2] - 1)
    affine[:, 2] *= -1
    array = spine[:, :, ::-1].transpose(2, 0, 1)
    prediction = replace(reference, array=array, grid=Grid(array.shape, affine[:, [2, 0, 1, 3]]))
    assert prediction.grid.orientation == "IRA"
    assert {score.dice for score in evaluate(prediction, reference).structures} == {1.0}


def test_maps_of_other_voxels_are_refused_with_the_remedy(spine: np.ndarray, spider_map: SpiderMap) -> None:
    with pytest.raises(GridMismatchError, match=r"case 7: .*resample it onto the reference's grid"):
        evaluate(spider_map(spine, (1.0, 1.0, 1.1)), spider_map(spine), case="7")


def test_a_prediction_inside_a_partly_visible_vertebra_costs_nothing(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    cut = np.where(spine == 6, 106, spine)
    scores = evaluate(spider_map(spine), spider_map(cut))
    assert {score.dice for score in scores.structures} == {1.0}
    assert "T12 vertebra" in scores.not_scored
    assert "T12 vertebra" not in names_of(scores)


def test_the_rim_of_a_prediction_around_a_partly_visible_vertebra_costs_nothing_either(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    cut = np.where(spine == 6, 106, spine)
    swollen = spine.copy()
    swollen[1:11, 6:15, 55:62][swollen[1:11, 6:15, 55:62] == 0] = 6
    scores = evaluate(spider_map(swollen), spider_map(cut))
    assert {score.dice for score in scores.structures} == {1.0}
    assert scores.not_scored == ("T12 vertebra",)


def test_a_structure_that_only_the_prediction_has_elsewhere_costs_its_worst_score(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    scores = evaluate(spider_map(spine), spider_map(np.where(spine == 6, 0, spine)))
    invented = score_of(scores, "T12 vertebra")
    assert (invented.found_in, invented.dice, invented.hd95_mm, invented.nsd_2mm) == (
        "prediction",
        0,
        math.inf,
        0,
    )
    assert scores.settled(invented, "hd95_mm") == pytest.approx(math.dist((0, 0, 0), (11, 15, 65)))
    assert scores.settled(invented, "dice") == 0.0
    assert math.isnan(scores.settled(invented, "hd95_mm", "finite"))
    assert math.isnan(scores.settled(invented, "dice", "skip"))


def test_the_worst_distance_is_the_diagonal_of_the_whole_image_in_each_unit(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    only_canal = np.where(spine == 100, 100, 0)
    scores = evaluate(spider_map(only_canal, (3.0, 1.0, 1.0)), spider_map(spine, (3.0, 1.0, 1.0)))
    missed = score_of(scores, "L5 vertebra")
    assert scores.settled(missed, "asd_mm") == pytest.approx(math.dist((0, 0, 0), (33, 15, 65)))
    assert scores.settled(missed, "hd95_px") == pytest.approx(math.dist((0, 0, 0), (11, 15, 65)))


def test_what_the_prediction_marks_as_partly_visible_counts_as_the_structure(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    """Otherwise the same masks would score worse in the scheme that has values for it."""
    prediction = np.where(spine == 6, 106, spine)
    scores = evaluate(spider_map(prediction), spider_map(spine))
    assert score_of(scores, "T12 vertebra").dice == 1.0
    same = evaluate(spider_map(spine), spider_map(spine))
    assert scores.naming.count("right") == same.naming.count("right") > 0


def test_values_without_a_name_count_as_not_predicted(spine: np.ndarray, spider_map: SpiderMap) -> None:
    array = np.where(spine == 6, 99, spine)
    prediction = replace(spider_map(spine), array=array, ignored=frozenset({99}))
    assert score_of(evaluate(prediction, spider_map(spine)), "T12 vertebra").found_in == "reference"


def test_levels_above_the_cut_off_are_not_scored_in_either_map(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    prediction = spine.copy()
    prediction[prediction == 6] = 5
    prediction[prediction == 206] = 7
    scores = evaluate(spider_map(prediction), spider_map(spine), max_level=5)
    assert {score.dice for score in scores.structures} == {1.0}
    assert len(scores.structures) == 11
    assert not names_of(scores) & {"T12 vertebra", "T12-L1 disc", "T11 vertebra"}
    assert len(scores.naming.structures) == 10
    everything = evaluate(spider_map(prediction), spider_map(spine), max_level=None)
    assert score_of(everything, "T12 vertebra").found_in == "reference"


def test_the_cut_off_belongs_to_spider_alone(spine: np.ndarray, spider_map: SpiderMap) -> None:
    other = replace(spider_map(spine), scheme="other")
    scores = evaluate(other, other, max_level=2)
    assert scores.max_level is None
    assert len(scores.structures) == 13


def test_a_structure_that_the_reference_scheme_cannot_name_is_listed_and_not_scored(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    reference = spider_map(spine)
    array = spine.copy()
    array[2:10, 6:14, 0:2] = 90
    prediction = replace(reference, array=array, names={**reference.names, 90: "sacrum"})
    scores = evaluate(prediction, reference)
    assert scores.not_scored == ("sacrum",)
    assert {score.dice for score in scores.structures} == {1.0}


def vessels(names: dict[int, str], array: np.ndarray) -> LabelMap:
    return LabelMap(array, Grid(array.shape, np.eye(4)), names=names, scheme="nomina")


def sided_arteries() -> np.ndarray:
    """A trunk (147) of 8 voxels, 16 of left (142), 24 of right artery (143), one of left vein (145)."""
    array = np.zeros((12, 8, 8), dtype=np.uint8)
    array[5:7, 2:4, 2:4] = 147
    array[8:12, 2:4, 2:4] = 142
    array[0:4, 2:4, 2:5] = 143
    array[8:12, 6, 6] = 145
    return array


SIDED = {
    142: "left pulmonary artery",
    143: "right pulmonary artery",
    145: "left pulmonary vein",
    147: "pulmonary trunk",
}


def test_a_whole_artery_is_scored_against_the_parts_of_the_reference_together() -> None:
    truth = sided_arteries()
    whole = np.where(truth == 145, 144, np.where(truth > 0, 141, 0)).astype(np.uint8)
    whole[0, 2:4, 2:4] = 0
    scores = evaluate(vessels({141: "pulmonary artery", 144: "pulmonary vein"}, whole), vessels(SIDED, truth))
    assert names_of(scores) == {"pulmonary artery", "pulmonary vein"}
    assert score_of(scores, "pulmonary artery").dice == pytest.approx(2 * 44 / (44 + 48))
    assert score_of(scores, "pulmonary vein").dice == 1.0
    reverse = evaluate(
        vessels(SIDED, truth), vessels({141: "pulmonary artery", 144: "pulmonary vein"}, whole)
    )
    assert score_of(reverse, "pulmonary artery").dice == pytest.approx(2 * 44 / (44 + 48))


def test_sides_are_scored_apart_where_both_maps_have_them() -> None:
    truth = sided_arteries()
    swapped = np.where(truth == 142, 143, np.where(truth == 143, 142, truth)).astype(np.uint8)
    scores = evaluate(vessels(SIDED, swapped), vessels(SIDED, truth))
    assert names_of(scores) == set(SIDED.values())
    assert score_of(scores, "left pulmonary artery").dice == 0.0
    assert score_of(scores, "pulmonary trunk").dice == 1.0


def test_a_cord_is_not_taken_for_the_canal_it_lies_in() -> None:
    array = np.zeros((4, 4, 4), dtype=np.uint8)
    array[1:3] = 1
    scores = evaluate(
        vessels({1: "spinal cord"}, array), vessels({1: "spinal canal", 2: "spinal cord"}, array)
    )
    assert score_of(scores, "spinal canal").dice == 0.0


def test_empty_maps_have_no_scores(spine: np.ndarray, spider_map: SpiderMap) -> None:
    nothing = spider_map(np.zeros_like(spine))
    scores = evaluate(nothing, nothing)
    assert scores.structures == ()
    assert scores.naming.all_levels_right is None


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_policy_is_refused(spine: np.ndarray, spider_map: SpiderMap) -> None:
    with pytest.raises(ConfigError, match="penalise, finite, skip"):
        evaluate(spider_map(spine), spider_map(spine), policy="mean")  # type: ignore[arg-type]


def test_scores_print_as_a_table_with_a_note_where_one_map_lacks_a_structure(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    text = str(evaluate(spider_map(np.where(spine == 1, 0, spine)), spider_map(spine)))
    line = next(line for line in text.splitlines() if line.startswith("L5 vertebra"))
    assert line.endswith("only in the reference")
    assert "hd95_mm" in text
    assert "vertebrae 1.000" in text


def test_a_real_label_map_against_itself_is_perfect(shared_data: Path) -> None:
    path = shared_data / "spider_t2space" / "masks" / "162_t2_SPACE.mha"
    label_map = read_label_map(path, scheme="spider")
    scores = evaluate(label_map, label_map)
    assert len(scores.structures) >= 14
    for score in scores.structures:
        assert [getattr(score, metric) for metric in METRICS] == [1, 0, 0, 0, 1, 1]
    assert scores.naming.all_levels_right is True
    assert {scores.label_free.group(group).dice for group in ("vertebrae", "discs", "canal")} == {1.0}


def test_scoring_needs_no_torch() -> None:
    code = "import sys, nomina.assessment.evaluate, nomina.assessment.tables; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_was_not_asked_for_is_neither_missed_nor_judged(
    spine: np.ndarray, spider_map: SpiderMap
) -> None:
    asked = ("L4 vertebra", "L4-L5 disc")
    predicted = np.where(np.isin(spine, (2, 202)), spine, 0)
    assert len(evaluate(spider_map(predicted), spider_map(spine)).structures) == 13
    scores = evaluate(spider_map(predicted), spider_map(spine), asked=asked)
    assert [(score.structure, score.dice) for score in scores.structures] == [
        ("L4 vertebra", 1.0),
        ("L4-L5 disc", 1.0),
    ]
    assert scores.asked == asked
    assert scores.naming.all_levels_right is True
    assert scores.label_free.group("vertebrae").num_reference == 1
    assert scores.identified == {"L4 vertebra": True}
    # An asked structure that lies on another one is wrong there, and missed where it should be.
    moved = evaluate(spider_map(np.where(spine == 3, 2, 0)), spider_map(spine), asked=asked)
    assert [(score.found_in, score.dice) for score in moved.structures] == [("both", 0.0), ("reference", 0.0)]
    assert moved.naming.count("missed") == 2


@pytest.mark.parametrize(
    ("asked", "judged"),
    [
        (("pulmonary artery",), {"pulmonary artery"}),
        (("left pulmonary artery",), {"left pulmonary artery"}),
        (("left pulmonary artery", "right pulmonary artery"), {"pulmonary artery"}),
    ],
)
def test_a_vessel_is_asked_for_with_its_parts_and_by_both_of_its_sides(
    asked: tuple[str, ...], judged: set[str]
) -> None:
    sides = {1: "left pulmonary artery", 2: "right pulmonary artery"}
    array = np.zeros((6, 6, 12), dtype=np.uint8)
    array[1:3, 2:4], array[4:6, 2:4] = 1, 2
    grid = Grid(array.shape, np.eye(4))
    by_side = LabelMap(array, grid, names=sides)
    whole = LabelMap((array > 0).astype(np.uint8), grid, names={1: "pulmonary artery"})
    if asked == ("pulmonary artery",):
        scores = evaluate(whole, by_side, asked=asked)
    elif len(asked) == 2:
        scores = evaluate(by_side, whole, asked=asked)
    else:
        one_side = replace(by_side, array=np.where(array == 1, array, 0))
        scores = evaluate(one_side, by_side, asked=asked)
        # A whole does not judge one of its sides.
        assert evaluate(one_side, whole, asked=asked).not_scored == asked
    assert names_of(scores) == judged
    assert {score.dice for score in scores.structures} == {1.0}
