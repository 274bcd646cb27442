"""Arteries and veins as trees: what is missed, what is swapped, and that names of sides play no part."""

import json

import numpy as np
import pytest

from nomina.assessment.evaluate import evaluate
from nomina.assessment.metrics.empty_masks import Average
from nomina.assessment.summary import summarise
from nomina.assessment.tables import json_text
from nomina.assessment.tree_scores import tree_scores
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap

SHAPE = (13, 13, 44)


def tubes(artery: slice, vein: slice, names: dict[int, str] | None = None) -> LabelMap:
    """An artery and a vein of 3 × 3 voxels along S over the given lengths."""
    array = np.zeros(SHAPE, dtype=np.uint8)
    array[2:5, 2:5, artery] = 1
    array[8:11, 8:11, vein] = 2
    return LabelMap(
        array, Grid(SHAPE, np.eye(4)), names=names or {1: "pulmonary artery", 2: "pulmonary vein"}
    )


def test_a_tree_against_itself_is_whole_and_half_of_it_is_half() -> None:
    whole = tubes(slice(2, 42), slice(2, 42))
    for score in tree_scores(whole, whole):
        assert (score.cldice, score.length_detected, score.branches_detected) == (1, 1, 1)
        assert (score.swap_rate, score.num_islands) == (0, 0)
    artery, vein = tree_scores(tubes(slice(2, 22), slice(2, 42)), whole)
    assert artery.centreline_recall == pytest.approx(0.5, abs=0.05)
    assert artery.centreline_precision == 1
    assert artery.branches_detected == 0
    assert artery.dice == pytest.approx(2 * 20 / (20 + 40))
    assert vein.cldice == 1


def test_a_piece_in_the_other_class_is_a_swap_and_not_a_miss() -> None:
    whole = tubes(slice(2, 42), slice(2, 42))
    array = whole.array.copy()
    array[2:5, 2:5, 32:42] = 2
    swapped = LabelMap(array, whole.grid, names=whole.names)
    artery, vein = tree_scores(swapped, whole)
    assert artery.swap_rate == pytest.approx(0.25, abs=0.04)
    assert (vein.swap_rate, vein.num_islands) == (0, 1)


def test_what_is_drawn_around_a_branch_that_nobody_judges_costs_nothing() -> None:
    """A reference whose artery has a twig of one voxel's width, too thin for its grid and ignored."""
    truth = tubes(slice(2, 42), slice(2, 42))
    array = truth.array.copy()
    array[3, 5:8, 20], array[2:12, 6, 20] = 242, 242
    array[truth.array == 2] = 2
    with_twig = LabelMap(array, truth.grid, names=truth.names, ignored=frozenset({242}))
    drawn = truth.array.copy()
    drawn[2:5, 4:8, 19:22], drawn[2:12, 5:8, 19:22] = 1, 1
    drawn[truth.array == 2] = 2
    prediction = LabelMap(drawn, truth.grid, names=truth.names)
    artery = evaluate(prediction, with_twig).trees[0]
    assert (artery.dice, artery.cldice, artery.num_islands) == (1, 1, 0)
    drawn[6:9, 6:9, 19:22] = 0  # the twig in two pieces, of which nobody judges the second
    apart = evaluate(LabelMap(drawn, truth.grid, names=truth.names), with_twig).trees[0]
    assert (apart.dice, apart.num_islands) == (1, 0)
    drawn[2:12, 6:10, 2:8] = 1  # nowhere near the twig
    wrong = evaluate(LabelMap(drawn, truth.grid, names=truth.names), with_twig).trees[0]
    assert wrong.dice < 0.8
    assert wrong.centreline_precision < 0.95


def test_sides_in_one_map_do_not_matter_and_no_vessels_give_no_scores() -> None:
    sided = tubes(slice(2, 42), slice(2, 42), {1: "left pulmonary artery", 2: "right pulmonary vein"})
    plain = tubes(slice(2, 42), slice(2, 42))
    assert [(score.dice, score.cldice) for score in tree_scores(sided, plain)] == [(1, 1), (1, 1)]
    spine = tubes(slice(2, 42), slice(2, 42), {1: "L4 vertebra", 2: "L5 vertebra"})
    assert tree_scores(plain, spine) == ()
    missing = tree_scores(spine, plain)
    assert [score.cldice for score in missing] == [0, 0]


def test_a_summary_says_over_how_many_cases_each_mean_was_taken() -> None:
    whole = tubes(slice(2, 42), slice(2, 42))
    nothing = LabelMap(np.zeros(SHAPE, dtype=np.uint8), whole.grid, names=whole.names)
    cases = [evaluate(found, whole, case=name) for name, found in (("a", whole), ("b", nothing))]
    averages = summarise(cases).tree_averages["artery"]
    # What is not predicted has no precision; everything else is 0.
    assert averages["centreline_precision"] == Average(1.0, num_averaged=1, num_one_empty=1, num_left_out=1)
    assert averages["cldice"] == Average(0.5, num_averaged=2, num_one_empty=1, num_left_out=0)
    found = json.loads(json_text(summarise(cases)))["tree_averages"]["artery"]["centreline_precision"]
    assert found == {"mean": 1.0, "num_averaged": 1, "num_one_empty": 1, "num_left_out": 1}


def test_each_tree_is_averaged_apart_and_one_that_no_reference_has_is_left_out() -> None:
    whole = tubes(slice(2, 42), slice(2, 42))
    only_vein = tubes(slice(0, 0), slice(2, 42))
    halved = summarise([evaluate(only_vein, whole, case="a"), evaluate(whole, whole, case="b")])
    for values in (halved.trees, halved.tree_averages):
        assert {tree: metrics["cldice"].mean for tree, metrics in values.items()} == {
            "artery": 0.5,
            "vein": 1.0,
        }
    alone = summarise([evaluate(whole, only_vein, case="a"), evaluate(whole, only_vein, case="b")])
    assert set(alone.tree_averages) == set(alone.trees) == {"vein"}
