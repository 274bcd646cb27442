"""The JSON file beside a label map: read back, it says what was written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.conversion import convert
from nomina.anatomy.schemes import load_scheme, read_label_map
from nomina.assessment.evaluate import evaluate
from nomina.assessment.measurements.measure import measure
from nomina.errors import SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write
from nomina.reporting.sidecar import DISCLAIMER, in_scheme, is_sidecar, sidecar, write_sidecar


@pytest.fixture
def segmentation() -> Segmentation:
    array = np.array([[[23, 24, 123], [0, 0, 0]], [[24, 24, 123], [61, 0, 0]]], dtype=np.uint8)
    affine = np.diag([-0.5, 2.0, 0.7, 1.0])
    names = {23: "L4 vertebra", 24: "L5 vertebra", 123: "L4-L5 disc", 61: "spinal canal", 19: "T12 vertebra"}
    verdicts = (
        Verdict("L4-L5 disc", "present", 0.97, "clear", 1.4),
        Verdict("L4 vertebra", "present", 0.9, "cut", 0.7, is_partial=True),
        Verdict("L5 vertebra", "uncertain", 0.6, "blurred", 2.1),
        Verdict("T12 vertebra", "outside", 0.8, "above the scan"),
        Verdict("spinal canal", "present", 1.0, "clear", 0.7),
    )
    prompts = ("L4-5 disk", "L4 to L5", "twelfth thoracic vertebra", "canal")
    encoder = {"encoder": "minilm", "width": 384}
    provenance = {"model": "spine-mr", "digest": "ab" * 32, "encoder": encoder, "mode": "predicted"}
    provenance |= {"versions": {"nomina": "0.1.0"}, "notes": ["The header has no qform."]}
    provenance["findings"] = [{"code": "no-origin", "severity": "warning", "sentence": "S.", "remedy": "R."}]
    grid = Grid(array.shape, affine)
    return Segmentation(LabelMap(array, grid, names=names, scheme="nomina"), verdicts, prompts, provenance)


def test_a_label_map_is_read_back_by_its_json_alone(segmentation: Segmentation, tmp_path: Path) -> None:
    path = tmp_path / "case_seg.nii.gz"
    write(segmentation.label_map, path)
    assert write_sidecar(segmentation, path) == tmp_path / "case_seg.json"
    label_map = read_label_map(path)
    assert label_map.names == segmentation.label_map.names
    assert label_map.scheme == "nomina"
    assert np.array_equal(label_map.array, segmentation.label_map.array)


def test_verdicts_are_read_back_unchanged(segmentation: Segmentation, tmp_path: Path) -> None:
    data = json.loads(write_sidecar(segmentation, tmp_path / "x.mha").read_text(encoding="utf-8"))
    assert tuple(Verdict(**entry) for entry in data["verdicts"]) == segmentation.verdicts


def test_the_file_says_what_a_score_means_and_whether_it_is_calibrated(segmentation: Segmentation) -> None:
    evidence = {"probability": 0.9, "level": 0.98}
    first, *rest = segmentation.verdicts
    calibrated = replace(first, is_calibrated=True, evidence=evidence)
    told = {**segmentation.provenance, "scores_fitted_on": "12 verdicts on 3 phantoms"}
    data = sidecar(replace(segmentation, verdicts=(calibrated, *rest), provenance=told))
    assert data["scores_fitted_on"] == "12 verdicts on 3 phantoms"
    assert data["score_means"].startswith("probability that what is shown is right")
    assert [entry["is_calibrated"] for entry in data["verdicts"]] == [True] + [False] * len(rest)
    assert data["verdicts"][0]["evidence"] == evidence


def test_every_prompt_points_to_its_structures(segmentation: Segmentation) -> None:
    assert sidecar(segmentation)["prompts"] == [
        {"words": "L4-5 disk", "expression": "L4-L5 disc", "structures": ["L4-L5 disc"]},
        {
            "words": "L4 to L5",
            "expression": "L4 vertebra to L5 vertebra",
            "structures": ["L4 vertebra", "L5 vertebra"],
        },
        {
            "words": "twelfth thoracic vertebra",
            "expression": "T12 vertebra",
            "structures": ["T12 vertebra"],
        },
        {"words": "canal", "expression": "spinal canal", "structures": ["spinal canal"]},
    ]


def test_a_part_and_a_group_point_to_what_was_asked(segmentation: Segmentation) -> None:
    said = replace(segmentation, prompts=("canal at L4", "all discs except L5-S1"))
    part, group = sidecar(said)["prompts"]
    assert part["expression"] == "spinal canal at L4 vertebra"
    assert part["structures"] == ["spinal canal"]
    assert group["structures"] == ["L4-L5 disc"]


def test_structures_carry_value_code_and_colour(segmentation: Segmentation) -> None:
    disc = sidecar(segmentation)["structures"][0]
    assert disc["label"] == 123
    assert disc["snomed"] == {"code": "84020006", "meaning": "L4/L5 disc"}
    assert len(disc["colour"]) == 3


def test_grid_model_and_notes_are_recorded(segmentation: Segmentation) -> None:
    data = sidecar(segmentation, source="lumbar.mha")
    assert data["source"] == "lumbar.mha"
    assert data["grid"] == {"shape": [2, 2, 3], "spacing_mm": [0.5, 2.0, 0.7], "orientation": "LAS"}
    assert data["model"]["digest"] == "ab" * 32
    assert data["model"]["mode"] == "predicted"
    assert data["versions"] == {"nomina": "0.1.0"}
    assert data["notes"] == ["The header has no qform."]
    assert [finding["code"] for finding in data["findings"]] == ["no-origin"]
    assert data["disclaimer"] == DISCLAIMER


def test_spider_numbers_mark_cut_vertebrae(segmentation: Segmentation) -> None:
    converted = in_scheme(segmentation, load_scheme("spider"))
    assert converted.label_map.array.tolist() == [[[102, 1, 202], [0, 0, 0]], [[1, 1, 202], [100, 0, 0]]]
    data = sidecar(converted)
    assert data["partial"] == [{"label": 102, "name": "L4 vertebra"}]
    assert {entry["label"]: entry["name"] for entry in data["structures"]} == {
        202: "L4-L5 disc",
        2: "L4 vertebra",
        1: "L5 vertebra",
        6: "T12 vertebra",
        100: "spinal canal",
    }


def test_a_cut_disc_keeps_its_spider_number(segmentation: Segmentation) -> None:
    """SPIDER has no value for a partly visible disc: its readers gave it the number of a whole one."""
    cut = replace(segmentation.verdicts[0], is_partial=True)
    converted = in_scheme(
        replace(segmentation, verdicts=(cut, *segmentation.verdicts[1:])), load_scheme("spider")
    )
    assert (converted.label_map.array == 202).sum() == 2
    partial = [{"label": 202, "name": "L4-L5 disc"}, {"label": 102, "name": "L4 vertebra"}]
    assert sidecar(converted)["partial"] == partial


@pytest.mark.parametrize("scheme", ["nomina", "spider", "mrspineseg"])
def test_a_cut_vertebra_is_named_scored_and_not_measured_in_every_scheme(
    segmentation: Segmentation, tmp_path: Path, scheme: str
) -> None:
    array = np.where(segmentation.label_map.array == 61, 0, segmentation.label_map.array)
    label_map = replace(segmentation.label_map, array=array)  # mrspineseg has no canal
    verdicts = segmentation.verdicts[:-1]
    without_canal = replace(segmentation, label_map=label_map, verdicts=verdicts, prompts=())
    written = in_scheme(without_canal, load_scheme(scheme))
    write(written.label_map, tmp_path / "x.nrrd")
    partial = json.loads(write_sidecar(written, tmp_path / "x.nrrd").read_text())["partial"]
    label_map = read_label_map(tmp_path / "x.nrrd")
    assert [entry["name"] for entry in partial] == ["L4 vertebra"]
    assert label_map.ignored >= {partial[0]["label"]}
    assert (label_map.array == partial[0]["label"]).sum() == 1
    reference = replace(segmentation.label_map, scheme="spider", ignored=frozenset())
    assert {s.structure: s.dice for s in evaluate(label_map, reference).structures}["L4 vertebra"] == 1.0
    reasons = {m.quantity: m.reason for m in measure(label_map) if m.structure == "L4 vertebra"}
    assert reasons.pop("slip_mm") == "L4 is only partly visible"
    assert {"volume_ml", "height_middle_mm"} <= set(reasons)
    assert set(reasons.values()) == {"marked as only partly visible"}
    spider = convert(label_map, load_scheme("spider")).label_map.array
    assert (spider == 102).sum() == 1


def test_spider_numbers_are_read_back(segmentation: Segmentation, tmp_path: Path) -> None:
    converted = in_scheme(segmentation, load_scheme("spider"))
    write(converted.label_map, tmp_path / "x.nrrd")
    write_sidecar(converted, tmp_path / "x.nrrd")
    label_map = read_label_map(tmp_path / "x.nrrd")
    assert label_map.present() == ("L5 vertebra", "spinal canal", "L4-L5 disc")
    assert 102 in label_map.ignored


def test_what_a_scheme_lacks_is_left_out_and_noted(segmentation: Segmentation) -> None:
    converted = in_scheme(segmentation, load_scheme("mrspineseg"))
    assert not (converted.label_map.array[segmentation.label_map.array == 61]).any()
    data = sidecar(converted)
    assert "spinal canal" not in {entry["name"] for entry in data["structures"]}
    assert data["notes"][0] == "The header has no qform."
    assert any("spinal canal" in note for note in data["notes"][1:])


def test_a_scheme_that_would_misnumber_is_refused(segmentation: Segmentation) -> None:
    array = np.full((1, 1, 2), 25, dtype=np.uint8)
    label_map = LabelMap(array, Grid(array.shape, np.eye(4)), names={25: "L6 vertebra"}, scheme="nomina")
    with pytest.raises(SchemeError, match="L6"):
        in_scheme(replace(segmentation, label_map=label_map), load_scheme("spider"))


@pytest.mark.parametrize("text", ['{"EchoTime": 0.1}', "[]", "not json", '{"format": 3}'])
def test_other_json_files_are_told_apart(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    assert not is_sidecar(tmp_path / "x.json")
    assert not is_sidecar(tmp_path / "missing.json")


def test_its_own_files_are_recognised(segmentation: Segmentation, tmp_path: Path) -> None:
    assert is_sidecar(write_sidecar(segmentation, tmp_path / "x.mha"))
