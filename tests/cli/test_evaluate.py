import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from nomina.anatomy.schemes import load_scheme
from nomina.cli.evaluate import app
from nomina.errors import CaseError, ConfigError, OutputError, SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write

CASES = ("1_t2", "2_t2", "3_t2")


def spine() -> np.ndarray:
    """Three vertebrae over three discs before a canal; axes R, A, S."""
    array = np.zeros((6, 12, 32), dtype=np.uint8)
    for n in (1, 2, 3):
        array[1:5, 5:11, 10 * n - 9 : 10 * n - 6] = 200 + n
        array[1:5, 5:11, 10 * n - 6 : 10 * n + 1] = n
    array[2:4, 1:4] = 100
    return array


def write_spider(array: np.ndarray, path: Path) -> None:
    scheme = load_scheme("spider")
    grid = Grid(array.shape, np.diag([2.0, 1.0, 1.0, 1.0]))
    write(LabelMap(array, grid, names=scheme.labels, scheme="spider", ignored=scheme.ignored), path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Perfect predictions, except that patient 3's lowest disc is missing."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    predictions.mkdir()
    references.mkdir()
    for case in CASES:
        predicted = np.where(spine() == 201, 0, spine()) if case == "3_t2" else spine()
        write_spider(predicted, predictions / f"{case}.nrrd")
        write_spider(spine(), references / f"{case}.mha")
    return predictions, references


def run(*arguments: object) -> Result:
    return run_as_given(*arguments, "--scheme", "spider")


def run_as_given(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_without_a_scheme_the_json_beside_the_reference_names_its_values(tmp_path: Path) -> None:
    predicted, truth = (tmp_path / folder / "1.nii.gz" for folder in ("predictions", "references"))
    for path, label, name in ((predicted, 141, "pulmonary artery"), (truth, 142, "left pulmonary artery")):
        path.parent.mkdir()
        array = np.zeros((6, 6, 12), dtype=np.uint8)
        array[2:4, 2:4] = label
        write(LabelMap(array, Grid(array.shape, np.eye(4)), names={label: name}, scheme="nomina"), path)
        entries = [{"label": label, "name": name}]
        (path.parent / "1.json").write_text(json.dumps({"scheme": "nomina", "structures": entries}))
    result = run_as_given(predicted, truth)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if line.startswith(" pulmonary artery"))
    assert row.split()[2] == "1.000"
    assert "label-free" not in result.stdout
    assert "all levels right" not in result.stdout


def test_trees_have_intervals_and_say_over_how_many_cases(tmp_path: Path) -> None:
    names = {141: "pulmonary artery"}
    vessel = np.zeros((8, 8, 40), dtype=np.uint8)
    vessel[3:5, 3:5, 2:38] = 141
    for folder, arrays in (("predictions", (vessel, 0 * vessel)), ("references", (vessel, vessel))):
        (tmp_path / folder).mkdir()
        for case, array in zip(("1", "2"), arrays, strict=True):
            grid = Grid(array.shape, np.eye(4))
            write(LabelMap(array, grid, names=names, scheme="nomina"), tmp_path / folder / f"{case}.nii.gz")
    result = run_as_given(tmp_path / "predictions", tmp_path / "references", "--scheme", "nomina")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert rows["cldice"] == ["0.500", "0.000", "to", "1.000"]
    assert rows["centreline_precision"][0] == "1.000"
    assert "artery: means over 2 cases; 1 found nothing of it and have no precision" in result.stdout


def test_values_that_nothing_names_are_refused_with_the_schemes_to_choose_from(
    folders: tuple[Path, Path],
) -> None:
    result = run_as_given(*folders)
    assert isinstance(result.exception, SchemeError)
    assert "name its label scheme" in str(result.exception)


def test_the_table_shows_each_structure_the_means_the_names_and_the_policy(
    folders: tuple[Path, Path],
) -> None:
    result = run(*folders)
    assert result.exit_code == 0, result.output
    lines = result.stdout.split("presence")[0].splitlines()
    rows = {line.split("  ")[0].strip(): line.split() for line in lines if line.strip()}
    assert rows["L5 vertebra"][2:] == ["1.000", "0.000", "0.000", "0.000", "1.000", "1.000", "3"]
    assert rows["L5-S1 disc"][2] == "0.667"
    assert rows["L5-S1 disc"][-2:] == ["3", "1"]
    assert (
        "policy penalise: structures in one map only: 1; left out of means: 0 Dice, 0 distances"
        in result.stdout
    )
    assert "scans with all levels right: 2 of 3" in result.stdout
    assert "17 right, 0 one up, 0 one down, 0 other, 1 missed" in result.stdout
    assert "8 of 9" in result.stdout
    assert "vertebrae identified (centre within 20 mm and nearest): 1.000 (1.000 to 1.000)" in result.stdout


def test_csv_has_one_row_per_case_and_structure_and_the_json_beside_it_has_everything(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    assert run(*folders, "-o", output).exit_code == 0
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    missed = [row for row in rows if row["found_in"] != "both"]
    assert [(row["case"], row["structure"], row["hd95_mm"]) for row in missed] == [
        ("3_t2", "L5-S1 disc", "inf")
    ]
    assert float(rows[0]["volume_ml_reference"]) == pytest.approx(4 * 6 * 7 * 2 / 1000)
    data = json.loads((tmp_path / "scores.json").read_text())
    assert data["policy"] == "penalise"
    assert data["class_wise"]["dice"]["mean"] == pytest.approx((6 + 2 / 3) / 7)
    assert data["cases"][2]["naming"]["all_levels_right"] is False
    assert data["cases"][2]["label_free"]["groups"]["discs"]["num_detected"] == 2
    assert set(data["versions"]) == {"nomina", "numpy", "scipy"}
    assert run(*folders, "-o", output).exit_code == 0  # the same names again


def test_json_is_all_that_stdout_holds(folders: tuple[Path, Path]) -> None:
    result = run(*folders, "--json", "--policy", "skip")
    data = json.loads(result.stdout)
    assert data["class_wise"]["dice"]["mean"] == 1.0
    assert data["class_wise_by_policy"]["penalise"]["dice"] == pytest.approx((6 + 2 / 3) / 7)


def test_excluded_cases_are_printed_apart(folders: tuple[Path, Path]) -> None:
    result = run(*folders, "--exclude", "3")
    assert "excluded: 3_t2, scored alone: dice 0.857" in result.stdout
    assert "scans with all levels right: 2 of 2" in result.stdout


def test_two_files_are_one_case(folders: tuple[Path, Path]) -> None:
    result = run(folders[0] / "1_t2.nrrd", folders[1] / "2_t2.mha")
    assert result.exit_code == 0
    assert "cases: 1, patients: 1" in result.stdout


def test_the_json_beside_a_prediction_names_its_values(folders: tuple[Path, Path]) -> None:
    array = np.zeros(spine().shape, dtype=np.uint8)
    array[spine() == 100] = 7
    path = folders[0] / "1_t2.nrrd"
    grid = Grid(array.shape, np.diag([2.0, 1.0, 1.0, 1.0]))
    write(LabelMap(array, grid, names={7: "spinal canal"}), path)
    path.with_suffix(".json").write_text(json.dumps({"structures": [{"label": 7, "name": "spinal canal"}]}))
    result = run(path, folders[1] / "1_t2.mha", "--json")
    scores = {s["structure"]: s["dice"] for s in json.loads(result.stdout)["cases"][0]["structures"]}
    assert scores["spinal canal"] == 1.0
    assert scores["L4 vertebra"] == 0.0


def asked_for(words: list[str], path: Path, values: dict[int, str]) -> None:
    """Leave of a prediction what some words name, with the JSON file that `nomina segment` writes."""
    array = np.where(np.isin(spine(), list(values)), spine(), 0).astype(np.uint8)
    write(
        LabelMap(array, Grid(array.shape, np.diag([2.0, 1.0, 1.0, 1.0])), names=values, scheme="spider"), path
    )
    entries = [{"label": value, "name": name} for value, name in values.items()]
    prompts = [{"words": phrase} for phrase in words]
    plain = {"scheme": "spider", "structures": entries, "prompts": prompts}
    path.with_suffix(".json").write_text(json.dumps(plain))


def test_a_prediction_is_scored_on_what_it_was_asked_for_alone(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    asked_for(["L4"], folders[0] / "1_t2.nrrd", {2: "L4 vertebra"})
    asked_for([], folders[0] / "2_t2.nrrd", {100: "spinal canal"})
    data = json.loads(run(*folders, "--json", "-o", tmp_path / "scores.csv").stdout)
    assert data["only_asked"] == ["1_t2"]
    assert [case["asked"] for case in data["cases"]] == [["L4 vertebra"], None, None]
    dice = [{score["structure"]: score["dice"] for score in case["structures"]} for case in data["cases"]]
    assert dice[0] == {"L4 vertebra": 1.0}
    # Asked for everything, or by a tool that does not say: what the reference has besides was missed.
    assert (len(dice[1]), dice[1]["spinal canal"], dice[1]["L4 vertebra"]) == (7, 1.0, 0.0)
    assert len(dice[2]) == 7
    with (tmp_path / "scores.csv").open(newline="") as file:
        marks = {(row["case"], row["only_asked"]) for row in csv.DictReader(file)}
    assert marks == {("1_t2", "True"), ("2_t2", "False"), ("3_t2", "False")}
    note = "scored on what was asked alone, the rest of the reference left aside: 1 of 3 cases (L4 vertebra)"
    assert note in run(*folders).stdout
    everything = run(*folders, "--all-structures")
    assert "asked" not in everything.stdout
    assert run(*folders, "--all-structures", "--json").stdout.count('"found_in": "reference"') == 13


def test_the_words_say_what_was_asked_beyond_what_the_model_knows_and_parts_are_not_judged(
    folders: tuple[Path, Path],
) -> None:
    path = folders[0] / "1_t2.nrrd"
    asked_for(["all vertebrae", "canal at L4"], path, {2: "L4 vertebra", 100: "spinal canal"})
    case = json.loads(run(path, folders[1] / "1_t2.mha", "--json").stdout)["cases"][0]
    found = {score["structure"]: score["found_in"] for score in case["structures"]}
    assert found == {"L5 vertebra": "reference", "L4 vertebra": "both", "L3 vertebra": "reference"}
    assert case["not_scored"] == ["spinal canal"]
    asked_for(["canal at L4"], path, {100: "spinal canal"})
    result = run(path, folders[1] / "1_t2.mha")
    assert result.exit_code == 0, result.output
    assert "not scored: spinal canal" in result.stdout
    asked_for(["the thing"], path, {100: "spinal canal"})
    error = run(path, folders[1] / "1_t2.mha").exception
    assert isinstance(error, SchemeError)
    assert "--all-structures" in str(error)


def test_two_predictions_that_were_asked_for_different_things_are_not_compared(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for case in CASES:
        write_spider(spine(), others / f"{case}.nrrd")
    asked_for(["L4"], folders[0] / "1_t2.nrrd", {2: "L4 vertebra"})
    error = run(*folders, "--against", others).exception
    assert isinstance(error, ConfigError)
    assert "1_t2" in str(error)
    assert "--all-structures" in str(error)
    assert run(*folders, "--against", others, "--all-structures").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["-o", "scores.txt"], OutputError, "must end in .csv"),
        (["-o", "nowhere/scores.csv"], OutputError, "folder nowhere does not exist"),
        (["--exclude", "99"], CaseError, "'99'"),
        (["--case", "1", "--exclude", "1"], ConfigError, "exclude fewer"),
    ],
)
def test_wrong_options_are_refused_by_name(
    folders: tuple[Path, Path], arguments: list[str], error: type[Exception], words: str
) -> None:
    result = run(*folders, *arguments)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)


def test_a_missing_prediction_is_an_error_unless_allowed(folders: tuple[Path, Path]) -> None:
    (folders[0] / "2_t2.nrrd").unlink()
    assert "2_t2" in str(run(*folders).exception)
    result = run(*folders, "--allow-missing")
    assert "without a prediction, in no mean: 2_t2" in result.stdout


def test_predictions_may_be_named_as_segment_names_them(folders: tuple[Path, Path]) -> None:
    expected = run(*folders).stdout
    for case in CASES:
        (folders[0] / f"{case}.nrrd").rename(folders[0] / f"{case}_seg.nrrd")
    assert run(*folders).stdout == expected
    write_spider(spine(), folders[0] / "1_t2.nrrd")
    assert "case 1_t2 has two predictions" in str(run(*folders).exception)


@pytest.mark.parametrize("what", ["mixed", "absent", "empty", "twins", "strangers"])
def test_folders_that_cannot_be_paired_are_refused_with_the_reason(
    folders: tuple[Path, Path], what: str
) -> None:
    predictions, references = folders
    if what == "mixed":
        predictions, words = predictions / "1_t2.nrrd", "two files or two folders"
    elif what == "absent":
        predictions, words = predictions / "nowhere", "does not exist"
    elif what == "empty":
        predictions, words = predictions.parent, "holds no label map"
    elif what == "twins":
        (predictions / "1_t2.mha").write_bytes(b"")
        words = "both 1_t2.mha and 1_t2.nrrd"
    else:
        for case in CASES:
            (predictions / f"{case}.nrrd").rename(predictions / f"mask_{case}.nrrd")
        words = "name each prediction like its reference"
    result = run(predictions, references)
    assert isinstance(result.exception, CaseError)
    assert words in str(result.exception)


def test_other_predictions_are_compared_case_by_case(folders: tuple[Path, Path], tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for case in CASES:
        write_spider(spine(), others / f"{case}.nrrd")
    result = run(*folders, "--against", others, "--json")
    comparison = json.loads(result.stdout)["comparison"]
    # Patient 3's lowest disc is missing in the first: a third of one structure of seven.
    assert comparison["class_wise"]["dice"]["mean"] == pytest.approx(-1 / 3 / 7)
    assert comparison["class_wise"]["dice"]["interval"]["high"] <= 0.0
    assert (comparison["num_cases"], comparison["num_patients"]) == (3, 3)
    assert "PRED − PRED2, 3 cases" in run(*folders, "--against", others).stdout
    (others / "2_t2.nrrd").unlink()
    assert "2_t2" in str(run(*folders, "--against", others).exception)


def test_only_the_cases_of_the_first_are_compared_where_their_name_is_also_a_patients(tmp_path: Path) -> None:
    for folder, names in (("first", ["152"]), ("second", ["152"]), ("references", ["152", "152_t2"])):
        (tmp_path / folder).mkdir()
        for name in names:
            write_spider(spine(), tmp_path / folder / f"{name}.nrrd")
    folders = (tmp_path / "first", tmp_path / "references")
    found = run(*folders, "--against", tmp_path / "second", "--allow-missing", "--json")
    assert json.loads(found.stdout)["comparison"]["num_cases"] == 1
    assert json.loads(found.stdout)["missing"] == ["152_t2"]


def test_a_folder_that_lacks_predictions_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for name in ("1_t2", "2", "3_t2"):
        write_spider(spine(), others / f"{name}.nrrd")
    error = run(*folders, "--against", others).exception
    assert isinstance(error, CaseError)
    assert str(error).startswith(f"{others}: 1 of 3 references have no prediction: 2_t2")


@pytest.mark.parametrize("which", ["PRED", "PRED2"])
def test_what_either_prediction_lacks_may_be_left_out_of_the_comparison(
    folders: tuple[Path, Path], tmp_path: Path, which: str
) -> None:
    predictions, references = folders
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for name in ("1_t2", "3_t2"):
        write_spider(spine(), fewer / f"{name}.nrrd")
    first, second = (fewer, predictions) if which == "PRED" else (predictions, fewer)
    result = run(first, references, "--against", second, "--allow-missing", "--json")
    found = json.loads(result.stdout)
    assert found["comparison"]["num_cases"] == 2
    assert found["missing"] == (["2_t2"] if which == "PRED" else [])
    assert (f"{fewer} has no prediction of 2_t2: compared on the other 2" in result.stderr) == (
        which == "PRED2"
    )


def test_predictions_without_a_case_in_common_are_not_compared(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    (folders[0] / "2_t2.nrrd").rename(others / "2_t2.nrrd")
    error = run(*folders, "--against", others, "--allow-missing").exception
    assert isinstance(error, CaseError)
    assert str(error).startswith(f"{others} has a prediction of none of the cases 1_t2, 3_t2")


def test_a_third_folder_is_answered_with_the_option_that_takes_it(folders: tuple[Path, Path]) -> None:
    result = run(folders[0], folders[0], folders[1])
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "two predictions are compared by" in said
    assert "--against" in said


def test_folders_without_a_name_in_common_are_told_which_names_would_do(folders: tuple[Path, Path]) -> None:
    for case in CASES:
        (folders[0] / f"{case}.nrrd").rename(folders[0] / f"{case}_mask.nrrd")
    error = str(run(*folders).exception)
    assert "1_t2_mask.nrrd" in error
    assert "1_t2.mha" in error
    assert "for 1_t2.mha that is 1_t2 or 1_t2_seg" in error


def test_presence_and_wrong_names_are_printed(folders: tuple[Path, Path]) -> None:
    shifted = np.where((spine() > 0) & (spine() < 3), spine() + 1, spine())
    write_spider(np.where(spine() == 3, 0, shifted), folders[0] / "2_t2.nrrd")
    result = run(*folders)
    rows = {
        line.split("  ")[0].strip(): line.split() for line in result.stdout.split("presence")[1].splitlines()
    }
    assert rows["L5-S1 disc"][2:] == ["2", "1", "0.667", "–"]
    assert (
        "named otherwise (times): L5 vertebra as L4 vertebra (1), L4 vertebra as L3 vertebra (1)"
        in result.stdout
    )


def test_phantoms_are_patients_of_their_own(tmp_path: Path) -> None:
    for folder in ("predictions", "references"):
        (tmp_path / folder).mkdir()
        for n in (0, 3):
            write_spider(spine(), tmp_path / folder / f"phantom_{n:05d}.nii.gz")
    result = run(tmp_path / "predictions", tmp_path / "references")
    assert "cases: 2, patients: 2" in result.stdout


def test_the_description_of_a_label_map_is_never_replaced_by_scores(folders: tuple[Path, Path]) -> None:
    sidecar = folders[0] / "1_t2.json"
    sidecar.write_text('{"structures": []}')
    result = run(*folders, "-o", str(folders[0] / "1_t2.csv"))
    assert isinstance(result.exception, OutputError)
    assert "describes a label map" in str(result.exception)
    assert sidecar.read_text() == '{"structures": []}'


def test_the_references_of_phantoms_are_found_by_their_ending(tmp_path: Path) -> None:
    """Scans lie beside their references, as `nomina phantom` writes them; the predictions end in _seg."""
    for name in ("phantom_00000.nii.gz", "phantom_00000_reference.nii.gz"):
        (tmp_path / "phantoms").mkdir(exist_ok=True)
        write_spider(spine() if "reference" in name else spine() * 0 + 3, tmp_path / "phantoms" / name)
    (tmp_path / "out").mkdir()
    write_spider(spine(), tmp_path / "out" / "phantom_00000_seg.nii.gz")
    result = run(tmp_path / "out", tmp_path / "phantoms", "--json")
    assert json.loads(result.stdout)["class_wise"]["dice"]["mean"] == 1.0
