from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.assessment.comparison import compare
from nomina.assessment.folders import Scoring, evaluate_folders
from nomina.errors import CaseError, ConfigError
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write

SpiderMap = Callable[..., LabelMap]

SPIDER = Scoring("spider")


@pytest.fixture
def folders(tmp_path: Path, spine: np.ndarray, spider_map: SpiderMap) -> tuple[Path, Path]:
    """Three patients, one of them with two scans; patient 3 is named one level too high."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    predictions.mkdir()
    references.mkdir()
    for case in ("1_t1", "1_t2", "2_t2", "3_t2"):
        predicted = np.where((spine > 0) & (spine != 100), spine + 1, spine) if case == "3_t2" else spine
        write(spider_map(predicted), predictions / f"{case}.nii.gz")
        write(spider_map(spine), references / f"{case}.mha")
    return predictions, references


def test_folders_are_paired_by_name_whatever_the_suffix_and_averaged_both_ways(
    folders: tuple[Path, Path],
) -> None:
    result = evaluate_folders(*folders, SPIDER)
    assert [case.case for case in result.cases] == ["1_t1", "1_t2", "2_t2", "3_t2"]
    assert result.num_patients == 3
    l5 = next(s for s in result.structures if s.structure == "L5 vertebra").averages["dice"]
    assert (l5.mean, l5.num_averaged, l5.num_one_empty) == (0.75, 4, 1)
    # Vertebrae 2 to 6 and their discs are in all four maps: 3/4. T11 (named once, wrongly) has 0 of 1 case.
    assert result.class_wise["dice"].mean == pytest.approx((12 * 0.75 + 2 * 0.0 + 1.0) / 15)
    assert result.case_wise["dice"].mean == pytest.approx((3 * 1.0 + 1 / 15) / 4)
    assert result.label_free["vertebrae"].dice.mean == 1.0
    assert (result.naming.num_all_levels_right, result.naming.num_cases) == (3, 4)
    assert result.naming.counts["one up"] == 12
    assert result.naming.right.mean == 0.75


def test_excluded_cases_are_scored_apart(folders: tuple[Path, Path]) -> None:
    result = evaluate_folders(*folders, SPIDER, exclude=["3"])
    assert result.class_wise["dice"].mean == 1.0
    assert [case.case for case in result.excluded] == ["3_t2"]
    assert result.naming.num_all_levels_right == result.naming.num_cases == 3


def test_a_missing_prediction_is_named_unless_its_case_is_not_asked_for(folders: tuple[Path, Path]) -> None:
    (folders[0] / "2_t2.nii.gz").unlink()
    with pytest.raises(CaseError, match=r"1 of 4 references have no prediction: 2_t2;.*--allow-missing"):
        evaluate_folders(*folders, SPIDER)
    assert len(evaluate_folders(*folders, SPIDER, cases=["1", "3_t2"]).cases) == 3


def test_a_missing_prediction_can_be_allowed_and_is_then_listed(folders: tuple[Path, Path]) -> None:
    (folders[0] / "2_t2.nii.gz").unlink()
    result = evaluate_folders(*folders, SPIDER, allow_missing=True)
    assert result.missing == ("2_t2",)
    assert len(result.cases) == 3


@pytest.mark.usefixtures("unchecked")
def test_scoring_follows_its_options(folders: tuple[Path, Path]) -> None:
    seen: list[str] = []

    def watch(pairs):
        for pair in pairs:
            seen.append(pair.case)
            yield pair

    low = evaluate_folders(*folders, Scoring("spider", policy="skip", max_level=2), seed=5, watch=watch)
    assert (low.policy, low.max_level, low.seed) == ("skip", 2, 5)
    assert len(low.structures) == 5
    assert seen == ["1_t1", "1_t2", "2_t2", "3_t2"]
    with pytest.raises(ConfigError, match="penalise, finite, skip"):
        Scoring(policy="mean")  # type: ignore[arg-type]


def test_two_folders_are_compared_on_the_cases_of_the_first(folders: tuple[Path, Path]) -> None:
    first = evaluate_folders(*folders, SPIDER, exclude=["3"])
    second = evaluate_folders(folders[1], folders[1], SPIDER, cases=[case.case for case in first.cases])
    difference = compare(first.cases, second.cases)
    assert (difference.num_cases, difference.class_wise["dice"].mean) == (3, 0.0)
