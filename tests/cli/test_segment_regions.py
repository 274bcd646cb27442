"""`nomina segment --regions`, from the words to the replayed card, on a chest whose lobes are known.

The network reads arteries and veins off the intensity, so that the masks are known beforehand.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.conversion import convert
from nomina.anatomy.schemes import load_scheme, read_label_map
from nomina.anatomy.structures import structure
from nomina.errors import GridMismatchError, PromptError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write
from nomina.inference.segmenter import Segmenter
from nomina.networks.contract import recorded_digest
from nomina.networks.shipped import checkpoint_folder
from nomina.phantoms.lung_plan import LungConfig
from nomina.phantoms.lung_thorax import LOBES
from nomina.phantoms.lung_vessels import sample_lung

Run = Callable[..., tuple[int, str, str]]
MODEL = "lung-vessels-ct"


@pytest.fixture(scope="module")
def segmenter(reader_of_hu: Callable[..., Segmenter]) -> Segmenter:
    return reader_of_hu(block=32, name=MODEL, digest=str(recorded_digest(checkpoint_folder(MODEL))))


BOXES = {
    "right upper lobe": (slice(26, 40), slice(17, 25)),
    "right middle lobe": (slice(26, 40), slice(12, 17)),
    "right lower lobe": (slice(26, 40), slice(3, 12)),
    "left upper lobe": (slice(4, 18), slice(13, 25)),
    "left lower lobe": (slice(4, 18), slice(3, 13)),
}
"""Each lobe's place along R and along S in `box_chest`, whose vessels run through all of one side."""


@pytest.fixture(scope="module")
def chest(box_chest: Callable[..., tuple[Volume, LabelMap]]) -> tuple[Volume, LabelMap]:
    volume, _ = box_chest()
    array = np.zeros(volume.grid.shape, dtype=np.uint8)
    for name, (along_r, along_s) in BOXES.items():
        array[along_r, 4:24, along_s] = structure(name).label
    names = {structure(name).label: name for name in BOXES}
    return volume, LabelMap(array, volume.grid, names=names, scheme="nomina")


@pytest.fixture
def run(
    run_nomina: Run,
    segmenter: Segmenter,
    chest: tuple[Volume, LabelMap],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """`nomina` in a folder with chest.nii.gz and its lobes as TotalSegmentator numbers them."""
    monkeypatch.setattr(Segmenter, "load", classmethod(lambda cls, model, *, device: segmenter))
    monkeypatch.chdir(tmp_path)
    volume, lobes = chest
    write(volume, Path("chest.nii.gz"))
    write(convert(lobes, load_scheme("totalsegmentator")).label_map, Path("lobes.nii.gz"))
    return run_nomina


ASKED = ("segment", "chest.nii.gz", "-p", "right lower lobe arteries")
REGIONS = ("--regions", "lobes.nii.gz", "--regions-scheme", "totalsegmentator")


def test_lobes_share_the_arteries_of_the_lungs_among_them(
    segmenter: Segmenter, chest: tuple[Volume, LabelMap]
) -> None:
    volume, lobes = chest
    whole = segmenter(volume, ["pulmonary artery"]).label_map.mask("pulmonary artery")
    union = np.zeros_like(whole)
    for lobe in LOBES:
        result = segmenter(volume, [f"{lobe} arteries"], regions=lobes)
        mask = result.label_map.mask("pulmonary artery")
        np.testing.assert_array_equal(mask, whole & lobes.mask(lobe))
        assert mask.sum() >= 3 * 3 * 5
        assert not (mask & union).any()
        assert result.verdicts[0].presence == "present"
        assert result.verdicts[0].volume_ml == pytest.approx(mask.sum() * 0.064)
        union |= mask
    np.testing.assert_array_equal(union, whole)


@pytest.mark.slow
def test_the_true_lobes_of_a_phantom_share_its_arteries_except_between_the_lungs(
    segmenter: Segmenter,
) -> None:
    cfg = LungConfig(smallest_diameter_mm=(3.4, 3.5), spacing_mm=(4.0, 4.0, 4.0), margin_mm=16.0)
    phantom = sample_lung(5, cfg)
    hu = np.where(phantom.lobes.array > 0, -850, 40)
    for label, name in phantom.vessels.names.items():
        if name.endswith(("artery", "vein")):
            hu[phantom.vessels.array == label] = 450 if name.endswith("artery") else 250
    noise = np.random.default_rng(0).normal(0, 10, hu.shape)
    volume = Volume(np.rint(hu + noise).astype(np.int16), phantom.grid, modality="CT")
    whole = segmenter(volume, ["pulmonary artery"]).label_map.mask("pulmonary artery")
    found = {
        lobe: segmenter(volume, [f"{lobe} arteries"], regions=phantom.lobes).label_map.array > 0
        for lobe in LOBES
    }
    for lobe, mask in found.items():
        np.testing.assert_array_equal(mask, whole & phantom.lobes.mask(lobe))
        # Voxels of 4 mm show no artery of the middle lobe.
        assert mask.sum() >= 40 or lobe == "right middle lobe"
    together = np.sum(list(found.values()), axis=0)
    np.testing.assert_array_equal(together, whole & (phantom.lobes.array > 0))
    assert together.sum() < whole.sum()


def test_regions_follow_a_scan_that_is_stored_otherwise(
    segmenter: Segmenter, chest: tuple[Volume, LabelMap], stored_as: Callable[..., Volume]
) -> None:
    volume, lobes = chest
    expected = segmenter(volume, ["veins in the LUL"], regions=lobes).label_map
    turned = stored_as(volume, (2, 0, 1), (True, False, True))
    result = segmenter(turned, ["veins in the LUL"], regions=lobes).label_map
    assert result.grid.matches(turned.grid)
    np.testing.assert_array_equal(result.canonical().array, expected.canonical().array)


def test_regions_are_required_fitting_and_wanted_before_the_network_runs(
    segmenter: Segmenter, chest: tuple[Volume, LabelMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, lobes = chest
    monkeypatch.setattr("nomina.inference.segmenter.segment_blocks", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(PromptError, match="regions="):
        segmenter(volume, ["right lower lobe arteries"])
    with pytest.raises(PromptError, match="leave the regions out"):
        segmenter(volume, None, regions=lobes)
    moved = lobes.grid.affine.copy()
    moved[2, 3] += 4
    with pytest.raises(GridMismatchError, match="do not lie on the scan"):
        segmenter(volume, ["RLL arteries"], regions=replace(lobes, grid=Grid(lobes.grid.shape, moved)))


def test_the_mask_is_the_artery_in_the_lobe_and_the_json_says_whose_lobe(
    run: Run, segmenter: Segmenter, chest: tuple[Volume, LabelMap]
) -> None:
    code, out, err = run(*ASKED, *REGIONS, "-o", "seg.nii.gz")
    assert code == 0, err
    assert "pulmonary artery  present" in out
    assert "note: pulmonary artery is given in part: within right lower lobe" in err
    volume, lobes = chest
    whole = segmenter(volume, ["pulmonary artery"]).label_map.mask("pulmonary artery")
    written = read_label_map("seg.nii.gz")
    np.testing.assert_array_equal(written.mask("pulmonary artery"), whole & lobes.mask("right lower lobe"))
    said = json.loads(Path("seg.json").read_text())
    assert said["prompts"][0]["expression"] == "pulmonary artery within right lower lobe"
    assert said["regions"].pop("sha256")
    assert said["regions"] == {
        "name": "lobes.nii.gz",
        "scheme": "totalsegmentator",
        "values": {"right lower lobe": 14},
    }


def test_without_regions_nothing_is_begun(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Segmenter, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    code, _, err = run(*ASKED)
    assert code == 1
    assert "'pulmonary artery within right lower lobe' needs a label map" in err
    assert "--regions FILE --regions-scheme totalsegmentator" in err
    code, _, err = run(*ASKED, "--regions", "lobes.nii.gz")
    assert (code, "name its label scheme" in err, "--regions-scheme" in err) == (1, True, True)
    code, _, err = run(*ASKED, "--regions", "lobes.nii.gz", "--regions-scheme", "spider")
    assert code == 1
    code, _, err = run(*ASKED, "--regions", "gone.nii.gz", "--regions-scheme", "totalsegmentator")
    assert (code, "gone.nii.gz" in err) == (1, True)
    code, _, err = run("segment", "chest.nii.gz", "-p", "pulmonary artery", *REGIONS)
    assert (code, "leave the regions out" in err) == (1, True)
    assert run(*ASKED, "--regions-scheme", "totalsegmentator")[0] == 2
    write(Volume(np.zeros((4, 4, 4), np.int16), Grid((4, 4, 4), np.eye(4))), tmp_path / "other.nii.gz")
    assert run(*ASKED, "other.nii.gz", *REGIONS)[0] == 2


def test_a_card_holds_the_regions_and_another_file_is_refused(run: Run) -> None:
    assert run(*ASKED, *REGIONS, "-o", "seg.nii.gz", "--card", "run.json")[0] == 0
    card = json.loads(Path("run.json").read_text())
    assert card["regions"]["name"] == "lobes.nii.gz"
    assert len(card["regions"]["sha256"]) == 64
    code, out, err = run("replay", "run.json")
    assert (code, "bit for bit" in out) == (0, True), err
    Path("lobes.nii.gz").rename("moved.nii.gz")
    code, _, err = run("replay", "run.json")
    assert (code, "--regions" in err) == (1, True)
    assert run("replay", "run.json", "--regions", "moved.nii.gz")[0] == 0
    lobes = read_label_map("moved.nii.gz", scheme="totalsegmentator")
    write(replace(lobes, array=lobes.array[::-1].copy()), Path("lobes.nii.gz"))
    code, _, err = run("replay", "run.json")
    assert (code, "another file of regions: sha256" in err) == (1, True)


def test_a_result_of_other_regions_is_made_again(run: Run) -> None:
    assert run(*ASKED, *REGIONS, "-o", "seg.nii.gz", "--card-paths", "--card", "run.json")[0] == 0
    assert json.loads(Path("run.json").read_text())["regions"]["path"] == str(Path("lobes.nii.gz").resolve())
    again = (*ASKED, *REGIONS, "-o", "seg.nii.gz", "--skip-existing")
    assert "skipped 1 of 1" in run(*again)[2]
    lobes = read_label_map("lobes.nii.gz", scheme="totalsegmentator")
    write(replace(lobes, array=np.where(lobes.array == 13, 14, lobes.array)), Path("lobes.nii.gz"))
    assert "it was made with other regions (lobes.nii.gz)" in run(*again)[2]


def test_a_lobe_that_the_regions_lack_is_uncertain_and_empty(run: Run) -> None:
    lobes = read_label_map("lobes.nii.gz", scheme="totalsegmentator")
    write(replace(lobes, array=np.where(lobes.array == 14, 0, lobes.array)), Path("lobes.nii.gz"))
    code, out, _ = run(*ASKED, *REGIONS, "-o", "seg.nii.gz", "--fail-if-absent")
    assert code == 1
    assert "uncertain" in out
    assert "the regions hold no right lower lobe" in out
    assert not read_label_map("seg.nii.gz").array.any()
