"""Chest CTs → prepared datasets: labels by name, halves, and what was annotated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.errors import CaseError, ConfigError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write
from nomina.learning import prepare_chests
from nomina.learning.cases import Case
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepare_chests import (
    ChestPhantoms,
    annotated_in,
    prepare_lung_phantoms,
    with_only,
    with_thin,
)
from nomina.learning.prepared import CHEST_STRUCTURES, chest_config
from nomina.phantoms.lung_plan import LungConfig

CUBES = CTPreparation(spacing_mm=4.0)
BoxChest = Callable[..., tuple[Volume, LabelMap]]


@pytest.fixture
def case(tmp_path: Path, box_chest: BoxChest) -> Case:
    """A scan and its label map as files, without sides in the label map."""
    volume, truth = box_chest()
    values = np.zeros(256, dtype=np.uint8)
    for value, name in truth.names.items():
        values[value] = 1 if "artery" in name else 2
    names = {1: "pulmonary artery", 2: "pulmonary vein"}
    folded = LabelMap(values[truth.array], truth.grid, names=names, scheme="airrc")
    write(volume, tmp_path / "scan.nii.gz")
    write(folded, tmp_path / "labels.nii.gz")
    paths = (tmp_path / "scan.nii.gz", tmp_path / "labels.nii.gz")
    return Case("box", "box", *paths, scheme="la_caf_folded", dataset="boxes")


def test_labels_halves_and_what_was_annotated_are_kept(
    case: Case, tmp_path: Path, box_chest: BoxChest
) -> None:
    (entry,) = prepare_cases([case], tmp_path / "out", chest_config(CUBES)).cases
    _, truth = box_chest()
    assert entry.annotated == ("pulmonary artery", "pulmonary vein")
    artery = CHEST_STRUCTURES.index("pulmonary artery") + 1
    left, right = (truth.mask(f"{side} pulmonary artery") for side in ("left", "right"))
    np.testing.assert_array_equal(entry.labels() == artery, left | right)
    assert (entry.halves()[left] == 1).all()
    assert (entry.halves()[right] == 2).all()
    assert 0 <= entry.image().min() <= entry.image().max() <= 1


def test_a_half_labelled_case_says_so_or_is_refused(case: Case, tmp_path: Path, box_chest: BoxChest) -> None:
    _, truth = box_chest()
    half = np.where(truth.mask("left pulmonary artery"), 1, 0) + np.where(
        truth.mask("left pulmonary vein"), 2, 0
    )
    names = {1: "pulmonary artery", 2: "pulmonary vein"}
    write(LabelMap(half.astype(np.uint8), truth.grid, names=names), case.label_map_path)
    with pytest.raises(CaseError, match="looks labelled in part"):
        prepare_cases([case], tmp_path / "out", chest_config(CUBES))
    stated = replace(case, annotated=("left pulmonary artery", "left pulmonary vein"))
    (entry,) = prepare_cases([stated], tmp_path / "out", chest_config(CUBES)).cases
    assert entry.annotated == ("left pulmonary artery", "left pulmonary vein")


def test_a_case_without_vessels_or_airways_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="labels none of pulmonary artery"):
        prepare_cases([replace(case, scheme="spider")], tmp_path / "out", chest_config(CUBES))
    assert not (tmp_path / "out").exists()


def test_parts_of_a_phantom_keep_what_has_no_side() -> None:
    assert annotated_in("left") == (
        *("pulmonary trunk", "left pulmonary artery", "left pulmonary vein", "left atrium"),
    )
    assert annotated_in("arteries") == ("pulmonary trunk", "left pulmonary artery", "right pulmonary artery")
    assert len(annotated_in("all")) == 6


def test_what_is_hidden_leaves_no_trace_not_even_thin_branches(box_chest: BoxChest) -> None:
    _, truth = box_chest()
    array = truth.array.copy()
    array[0, 0, 0], array[0, 0, 1] = 242, 243  # thin left and right artery
    whole = replace(truth, array=array, ignored=frozenset({242, 243}))
    left = with_only(whole, annotated_in("left"))
    assert set(left.present()) == {"left pulmonary artery", "left pulmonary vein"}
    assert left.array[0, 0].tolist()[:2] == [242, 0]
    np.testing.assert_array_equal(left.mask("left pulmonary vein"), truth.mask("left pulmonary vein"))


def test_thin_branches_become_vessels_of_their_own_name(box_chest: BoxChest) -> None:
    _, truth = box_chest()
    array = truth.array.copy()
    array[0, 0, 0], array[0, 0, 1] = 242, 245  # thin left artery and vein
    vessels = with_thin(replace(truth, array=array, ignored=frozenset({242, 245})))
    assert not vessels.ignored
    assert vessels.mask("left pulmonary artery").sum() == truth.mask("left pulmonary artery").sum() + 1
    assert vessels.mask("left pulmonary artery")[0, 0, 0]
    assert vessels.mask("left pulmonary vein")[0, 0, 1]
    np.testing.assert_array_equal(vessels.array[1:], truth.array[1:])


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="annotated must be one of all, left"):
        prepare_lung_phantoms(tmp_path, ChestPhantoms(1, annotated="half"), CUBES)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
def test_a_phantom_with_thin_branches_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        prepare_chests, "run_jobs", lambda jobs, *args, **options: sources.append(jobs[0].source)
    )
    for has_thin in (False, True):
        prepare_lung_phantoms(tmp_path, ChestPhantoms(1, has_thin=has_thin), CUBES)
    assert sources[0] == tuple(text for text in sources[1] if text != "thin branches")
    assert sources[0] != sources[1]


@pytest.mark.usefixtures("unchecked")
def test_a_phantom_of_another_anatomy_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        prepare_chests, "run_jobs", lambda jobs, *args, **options: sources.append(jobs[0].source)
    )
    for anatomy in (LungConfig(), LungConfig(), LungConfig(scale=(0.5, 0.6)), LungConfig(scale=(0.7, 0.8))):
        prepare_lung_phantoms(tmp_path, ChestPhantoms(1, anatomy=anatomy), CUBES)
    assert sources[0] == sources[1]
    assert len(set(sources)) == 3


@pytest.mark.slow
def test_a_phantom_labelled_on_the_left_is_a_case(tmp_path: Path) -> None:
    coarse = LungConfig(smallest_diameter_mm=(3.0, 3.0), spacing_mm=(3.0, 3.0, 3.0), margin_mm=8.0)
    phantoms = ChestPhantoms(1, seed=3, annotated="left", anatomy=coarse)
    (entry,) = prepare_lung_phantoms(tmp_path, phantoms, CTPreparation(spacing_mm=3.0)).cases
    assert entry.annotated == annotated_in("left")
    assert entry.voxel_counts["left pulmonary artery"] > 0
    assert entry.voxel_counts["right pulmonary artery"] == 0
    left = CHEST_STRUCTURES.index("left pulmonary artery") + 1
    halves = np.asarray(entry.halves())[np.asarray(entry.labels()) == left]
    assert (halves != 2).mean() > 0.98
