"""Chest CTs through a network of blocks: sides, geometry, verdicts and provenance, for a known network.

The network reads classes off the intensity, so that every mask is known beforehand.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nomina.anatomy.sides import nameable
from nomina.anatomy.structures import structure
from nomina.assessment.lung_halves import around_lungs, find_lungs, near_lungs
from nomina.cli.run_card import read_card, run_card
from nomina.errors import ConfigError, PromptError, VolumeError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.blocks import winning_vessels, without_strays
from nomina.inference.plan import MemoryPlan
from nomina.inference.segmenter import Segmenter
from nomina.language.vessel_prompts import SIDED_VESSELS, VESSELS
from nomina.networks.checkpoint import VesselConfig

BoxChest = Callable[..., tuple[Volume, LabelMap]]


@pytest.fixture(scope="module")
def segmenter(reader_of_hu: Callable[..., Segmenter]) -> Segmenter:
    return reader_of_hu(block=16)


def test_vessels_have_their_side_in_all_axis_orders(
    segmenter: Segmenter, box_chest: BoxChest, stored_as: Callable[..., Volume]
) -> None:
    volume, truth = box_chest()
    prompts = ["left pulmonary arteries", "right pulmonary veins"]
    orders = itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))
    for order, flips in list(orders)[::7]:
        stored = stored_as(volume, order, flips)
        result = segmenter(stored, prompts)
        assert result.label_map.grid.matches(stored.grid)
        found = result.label_map.canonical()
        for name in ("left pulmonary artery", "right pulmonary vein"):
            np.testing.assert_array_equal(found.mask(name), truth.mask(name))
        assert [verdict.presence for verdict in result.verdicts] == ["present", "present"]


def test_a_whole_tree_has_one_label_and_a_side_that_is_asked_too_its_own(
    segmenter: Segmenter, box_chest: BoxChest
) -> None:
    volume, truth = box_chest()
    left, right = (truth.mask(f"{side} pulmonary artery") for side in ("left", "right"))
    both = segmenter(volume, ["pulmonary arteries"])
    np.testing.assert_array_equal(both.label_map.mask("pulmonary artery"), left | right)
    result = segmenter(volume, ["right pulmonary artery", "pulmonary artery"])
    np.testing.assert_array_equal(result.label_map.mask("right pulmonary artery"), right)
    np.testing.assert_array_equal(result.label_map.mask("pulmonary artery"), left)
    of_right, of_all = result.verdicts
    assert of_right.volume_ml == pytest.approx(right.sum() * 0.064)
    assert of_all.volume_ml == pytest.approx((left | right).sum() * 0.064)
    assert segmenter.resolve(None) == VESSELS


def test_a_piece_of_vein_in_an_artery_is_an_artery_where_whole_branches_are_wanted(
    segmenter: Segmenter, box_chest: BoxChest
) -> None:
    volume, truth = box_chest()
    artery = truth.mask("left pulmonary artery")
    piece = artery & (np.arange(artery.shape[2]) >= 12) & (np.arange(artery.shape[2]) < 17)
    stained = replace(volume, array=np.where(piece, 250, volume.array).astype(np.int16))
    checkpoint = segmenter.checkpoint
    config = replace(checkpoint.config, vessels=VesselConfig(has_whole_branches=True))
    whole = Segmenter(replace(checkpoint, config=config))
    raw, voted = segmenter(stained, None), whole(stained, None)
    np.testing.assert_array_equal(raw.label_map.mask("pulmonary vein") & artery, piece)
    assert not (voted.label_map.mask("pulmonary vein") & artery).any()
    np.testing.assert_array_equal(voted.label_map.array > 0, raw.label_map.array > 0)
    assert f"{piece.sum()} voxels went from artery to vein or back" in str(voted.provenance["notes"])
    one_tree = replace(volume, array=np.where(abs(volume.array - 250) < 80, -850, volume.array))
    assert "Only one tree was found" in str(whole(one_tree, None).provenance["notes"])


def test_what_is_no_ct_is_refused_before_the_network_runs(
    segmenter: Segmenter, box_chest: BoxChest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("segmenter.forward_bytes", "blocks.find_lungs"):
        monkeypatch.setattr(f"nomina.inference.{place}", lambda *given: pytest.fail("it ran"))
    fresh, (volume, _) = Segmenter(segmenter.checkpoint), box_chest()
    grey = np.random.default_rng(0).integers(0, 255, volume.array.shape).astype(np.uint8)
    for work in (fresh, fresh.plan):
        with pytest.raises(VolumeError, match="not Hounsfield units"):
            work(replace(volume, array=grey, modality=None), None)
        with pytest.raises(VolumeError, match=r"the scan is MR, but .*another checkpoint \(spine-mr\)"):
            work(replace(volume, modality="MR"), None)


def test_a_scan_much_coarser_than_the_networks_voxels_is_noted(
    segmenter: Segmenter, box_chest: BoxChest
) -> None:
    volume, _ = box_chest()
    checkpoint = segmenter.checkpoint
    assert "Coarse" not in str(segmenter(volume, None).provenance["notes"])
    coarse = replace(checkpoint.config, preparation=CTPreparation(spacing_mm=1.9))
    prepared_finely = Segmenter(replace(checkpoint, config=coarse))
    assert "Coarse scan: its voxels measure 4 × 4 × 4 mm" in str(
        prepared_finely(volume, None).provenance["notes"]
    )


def test_what_is_missing_or_out_of_view_is_said(segmenter: Segmenter, box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    without_veins = replace(volume, array=np.where(abs(volume.array - 250) < 80, -850, volume.array))
    artery, vein = segmenter(without_veins, None).verdicts
    assert (artery.presence, vein.presence, vein.volume_ml) == ("present", "absent", 0.0)
    abdomen = replace(volume, array=np.where(volume.array < -500, 40, volume.array))
    abdomen.array[:, 26:] = -1000
    result = segmenter(abdomen, None)
    assert [verdict.presence for verdict in result.verdicts] == ["outside", "outside"]
    assert not result.label_map.array.any()
    assert "No lung was found" in " ".join(result.provenance["notes"])
    one_lung = volume.array.copy()
    one_lung[26:40] = 40
    result = segmenter(replace(volume, array=one_lung), None)
    assert [verdict.presence for verdict in result.verdicts] == ["uncertain", "uncertain"]
    assert "No two lungs were found" in " ".join(result.provenance["notes"])
    (left,) = segmenter(replace(volume, array=one_lung), ["left pulmonary arteries"]).verdicts
    assert (left.presence, left.volume_ml) == ("uncertain", 0.0)
    assert left.evidence["no_vessels"] == 0.5
    assert "side" in left.reason
    empty = np.where(one_lung > 80, 40, one_lung)
    (left,) = segmenter(replace(volume, array=empty), ["left pulmonary arteries"]).verdicts
    assert (left.presence, left.evidence["no_vessels"]) == ("outside", 1.0)
    cut = replace(volume, array=np.ascontiguousarray(volume.array))
    cut.array[4:18, 4:24, 25:] = -850
    assert all(verdict.is_partial for verdict in segmenter(cut, None).verdicts)


def test_what_is_no_ct_and_what_the_model_does_not_know_is_refused(
    segmenter: Segmenter, box_chest: BoxChest
) -> None:
    volume, _ = box_chest()
    with pytest.raises(VolumeError, match="was trained on CT"):
        segmenter(replace(volume, modality="MR"), None)
    with pytest.raises(VolumeError, match="are not Hounsfield units"):
        segmenter(replace(volume, array=(volume.array / 500).astype(np.float32), modality=None), None)
    with pytest.raises(PromptError):
        segmenter(volume, ["L4 vertebra"])


def test_a_network_that_never_saw_a_patient_says_so(segmenter: Segmenter, box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    for run, is_noted in (
        ({"training_patients": []}, True),
        ({"training_patients": ["anna"]}, False),
        ({"training_patients": [], "earlier_patients": ["anna"]}, False),
        ({}, False),
    ):
        known = Segmenter(replace(segmenter.checkpoint, run={**segmenter.checkpoint.run, **run}))
        notes = " ".join(known(volume, None).provenance["notes"])
        assert ("on phantoms alone" in notes) == is_noted


def test_provenance_names_model_words_and_versions(segmenter: Segmenter, box_chest: BoxChest) -> None:
    result = segmenter(box_chest()[0], ["pulmonary veins"])
    assert result.provenance["mode"] == "class prompts"
    assert result.provenance["encoder"]["encoder"] == "minilm"
    assert result.prompts == ("pulmonary veins",)
    assert result.provenance["memory"]["scan"]["shape"] == box_chest()[0].canonical().grid.shape
    assert result.label_map.names == {structure("pulmonary vein").label: "pulmonary vein"}
    assert result.provenance["machine"]["device"] == "cpu"


def test_a_network_of_blocks_has_one_mode_and_plans_of_its_own(
    segmenter: Segmenter, box_chest: BoxChest
) -> None:
    volume, _ = box_chest()
    assert segmenter(volume, None, mode="class prompts").provenance["mode"] == "class prompts"
    for mode in ("self", "predicted"):
        with pytest.raises(ConfigError, match=f"mode must be one of class prompts .*'{mode}'"):
            segmenter(volume, None, mode=mode)
    with pytest.raises(ConfigError, match=r" MemoryPlan.*Segmenter\.plan"):
        segmenter(volume, None, plan=MemoryPlan.__new__(MemoryPlan))


def test_a_run_card_can_be_made(segmenter: Segmenter, box_chest: BoxChest, tmp_path: Path) -> None:
    scan = tmp_path / "chest.nii.gz"
    scan.write_bytes(b"any")
    result = segmenter(box_chest()[0], ["pulmonary artery"])
    card = run_card(result, scan=scan, output=tmp_path / "seg.nii.gz", model_path=None)
    (tmp_path / "run.json").write_text(json.dumps(card))
    read = read_card(tmp_path / "run.json")
    assert read == json.loads(json.dumps(card))
    assert (read["asked"]["mode"], read["memory"]["scan"]["num_classes"]) == ("class prompts", 2)


def test_a_network_with_sides_knows_the_whole_and_one_without_its_sides() -> None:
    assert set(nameable(SIDED_VESSELS)) == {*SIDED_VESSELS, *VESSELS}
    assert set(nameable(VESSELS)) == {*SIDED_VESSELS, *VESSELS}


def test_the_floor_decides_from_which_probability_a_voxel_is_a_vessel() -> None:
    probabilities = torch.tensor([[0.30, 0.40, 0.60, 0.45], [0.10, 0.45, 0.55, 0.20]])[:, :, None, None]
    grid = Grid((4, 1, 1), np.eye(4))
    strict, generous, any_class = (
        winning_vessels(probabilities, grid, grid, VesselConfig(floor=floor, floor_of=floor_of))
        for floor, floor_of in ((0.5, "class"), (0.35, "class"), (0.5, "any"))
    )
    # That any class is there: 1 - 0.7 * 0.9 = 0.37, 1 - 0.6 * 0.55 = 0.67, 0.82, 1 - 0.55 * 0.8 = 0.56.
    assert any_class.classes.ravel().tolist() == [0, 2, 1, 1]
    assert strict.classes.ravel().tolist() == [0, 0, 1, 0]
    assert generous.classes.ravel().tolist() == [0, 2, 1, 1]
    assert (strict.num_overlaps, generous.num_overlaps) == (1, 2)


def test_the_fringe_is_where_the_chance_of_vessel_passes_its_own_floor() -> None:
    probabilities = torch.tensor([[0.30, 0.60, 0.20, 0.10], [0.10, 0.10, 0.15, 0.10]])[:, :, None, None]
    grid = Grid((4, 1, 1), np.eye(4))
    found = winning_vessels(probabilities, grid, grid, VesselConfig(floor=0.5, floor_of="any", grown_to=0.25))
    assert found.classes.ravel().tolist() == [0, 1, 0, 0]
    assert found.fringe is not None
    # 0.37, 0.64, 0.32, 0.19
    assert found.fringe.ravel().tolist() == [True, True, True, False]


def test_a_floor_to_grow_to_lies_below_the_floor() -> None:
    with pytest.raises(ConfigError, match=r"grown_to must lie between 0 and vessels\.floor, 0\.5, got 0\.6"):
        VesselConfig(grown_to=0.6)


def test_masks_grow_into_what_the_network_doubts(segmenter: Segmenter, box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    canonical = volume.canonical()
    array = canonical.array.copy()
    array[6:12, 20, 10] = 450  # an artery within a lung
    array[12:14, 20, 10] = 342  # artery 0.31, vein 0.69, any of them 0.79
    doubtful = replace(canonical, array=array)
    cfg = segmenter.checkpoint.config
    vessels = VesselConfig(floor=0.9, floor_of="any", grown_to=0.5)
    growing = Segmenter(replace(segmenter.checkpoint, config=replace(cfg, vessels=vessels)))
    strict = Segmenter(
        replace(segmenter.checkpoint, config=replace(cfg, vessels=replace(vessels, grown_to=None)))
    )
    plain, wide = (
        each(doubtful, ["pulmonary arteries"]).label_map.canonical().array for each in (strict, growing)
    )
    assert (plain[6:12, 20, 10] != 0).any()
    assert not plain[12:14, 20, 10].any()
    assert (wide[12:14, 20, 10] != 0).any()
    assert (wide[plain != 0] == plain[plain != 0]).all()


def test_specks_go_and_thin_branches_stay() -> None:
    classes = np.zeros((12, 12, 12), dtype=np.uint8)
    classes[2, 2, :] = 1
    classes[8, 8, 8:10] = 1
    classes[8, 8, 4:6] = 2
    cleaned = without_strays(classes, 3, None)
    assert cleaned.sum() == 12
    assert (cleaned[2, 2] == 1).all()


def test_a_piece_holds_whatever_classes_touch() -> None:
    classes = np.zeros((12, 12, 12), dtype=np.uint8)
    classes[2, 2, :10], classes[2, 2, 10:] = 1, 2
    classes[8, 8, 4:6], classes[8, 8, 6] = 1, 2
    cleaned = without_strays(classes, 4, None)
    np.testing.assert_array_equal(cleaned[2], classes[2])
    assert cleaned[8].max() == 0


def test_pieces_that_reach_no_lung_go_whole_and_those_that_do_stay_whole() -> None:
    classes, near = np.zeros((12, 12, 12), dtype=np.uint8), np.zeros((12, 12, 12), dtype=bool)
    classes[2, 2, :] = 1
    classes[8, 8, :] = 1
    classes[2, 8, :] = 2
    near[2, 2, 11] = near[2, 8, 0] = True
    cleaned = without_strays(classes, 3, near)
    assert (cleaned[2, 2] == 1).all()
    assert (cleaned[2, 8] == 2).all()
    assert cleaned[8, 8].max() == 0


def test_what_lies_apart_from_the_lungs_is_no_pulmonary_vessel(
    segmenter: Segmenter, box_chest: BoxChest
) -> None:
    volume, truth = box_chest()
    array = volume.canonical().array.copy()
    lungs = find_lungs(volume)
    assert lungs is not None
    far = ~near_lungs(lungs, volume.canonical().grid, 12.0)
    places = np.argwhere(far)
    inner = places[np.abs(places - np.array(array.shape) / 2).max(axis=1).argmin()]
    array[tuple(slice(at - 1, at + 1) for at in inner)] = 450
    found = segmenter(replace(volume.canonical(), array=array), ["pulmonary arteries"]).label_map
    np.testing.assert_array_equal(
        found.canonical().mask("pulmonary artery"),
        truth.mask("left pulmonary artery") | truth.mask("right pulmonary artery"),
    )


def test_a_vessel_does_not_go_on_into_the_chest_wall(segmenter: Segmenter, box_chest: BoxChest) -> None:
    volume, _ = box_chest()
    canonical = volume.canonical()
    array = canonical.array.copy()
    array[8:14, 9, 10] = 450  # within a lung, towards the wall; axis 0 runs to the right
    array[0:4, 9, 10] = 450  # in the wall on that side, and beyond 6 mm
    array[4:8, 9, 10] = 450
    found = segmenter(replace(canonical, array=array), ["pulmonary arteries"]).label_map.canonical()
    lungs = find_lungs(volume)
    assert lungs is not None
    around = around_lungs(lungs, canonical.grid, 6.0)
    assert (found.array[8:14, 9, 10] != 0).any()
    assert found.array[~around].max() == 0
