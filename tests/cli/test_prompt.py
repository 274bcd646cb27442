"""`nomina prompt` in-process, and its time in a fresh one."""

import json
import subprocess
import sys
from collections.abc import Callable

import typer
from typer.testing import CliRunner

from nomina.cli.prompt import prompt
from nomina.errors import CheckpointError, PromptError

app = typer.Typer()
app.command("prompt")(prompt)
runner = CliRunner()


def test_a_phrase_is_shown_with_its_code_and_label() -> None:
    result = runner.invoke(app, ["L4-5 disk"])
    assert result.exit_code == 0
    header, line = result.stdout.splitlines()
    assert header == "# L4-5 disk = L4-L5 disc"
    assert line.split() == ["L4-L5", "disc", "SCT", "84020006", "L4/L5", "disc", "label", "123"]
    assert result.stderr == ""


def test_corrections_are_talk_and_structures_are_data() -> None:
    result = runner.invoke(app, ["vertabra L4"])
    assert "'vertabra' read as 'vertebra'" in result.stderr
    assert "read as" not in result.stdout


def test_several_phrases_are_told_apart() -> None:
    result = runner.invoke(app, ["vertebrae L1 to L2", "cord"])
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "# vertebrae L1 to L2 = L1 vertebra to L2 vertebra",
        "L1 vertebra",
        "L2 vertebra",
        "# cord = spinal cord",
        "spinal cord",
    ]


def test_json_holds_the_whole_structure() -> None:
    result = runner.invoke(app, ["--json", "L4", "all lumbar discs"])
    first, second = json.loads(result.stdout)
    assert first["prompt"] == "L4"
    assert first["structures"][0]["snomed_code"] == "11994002"
    assert first["structures"][0]["below"] == "L5 vertebra"
    assert len(second["structures"]) == 7


def test_choices_are_talk_and_the_expression_is_data() -> None:
    result = runner.invoke(app, ["L4-5"])
    assert "for both vertebrae say 'L4 to L5'" in result.stderr
    assert "say" not in result.stdout
    (found,) = json.loads(runner.invoke(app, ["--json", "L4-5"]).stdout)
    assert found["warnings"] == ["'L4-L5' is read as the disc; for both vertebrae say 'L4 to L5'"]
    assert found["expression"] == "L4-L5 disc"


def test_a_part_is_shown_with_what_cuts_it() -> None:
    result = runner.invoke(app, ["canal at the level of L3"])
    header, line = result.stdout.splitlines()
    assert header == "# canal at the level of L3 = spinal canal at L3 vertebra"
    assert line.endswith("label 61  at L3 vertebra")
    (found,) = json.loads(runner.invoke(app, ["--json", "canal from L3 to L5"]).stdout)
    assert found["targets"] == [
        {"structure": "spinal canal", "at": ["L3 vertebra", "L5 vertebra"], "inside": None}
    ]


def test_a_model_limits_what_a_phrase_names() -> None:
    result = runner.invoke(app, ["-m", "spine-mr", "all lumbar vertebrae"])
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["L1", "L2", "L3", "L4", "L5"]
    refused = runner.invoke(app, ["-m", "spine-mr", "T5"])
    assert "nearest known: T10 vertebra" in str(refused.exception)
    assert isinstance(runner.invoke(app, ["-m", "nowhere", "L4"]).exception, CheckpointError)


def test_a_model_of_vessels_knows_their_sides() -> None:
    result = runner.invoke(app, ["-m", "lung-vessels-ct", "left pulmonary artery", "right pulmonary veins"])
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == [
        "# left pulmonary artery = left pulmonary artery",
        "left pulmonary artery",
        "# right pulmonary veins = right pulmonary vein",
        "right pulmonary vein",
    ]


def test_one_unknown_phrase_shows_nothing_but_the_error() -> None:
    result = runner.invoke(app, ["L4", "banana"])
    assert isinstance(result.exception, PromptError)
    assert result.stdout == ""


def test_every_bad_phrase_is_named_at_once() -> None:
    error = str(runner.invoke(app, ["liver", "L4", "spleen", "LV4"]).exception)
    assert [line.split(" ")[0] for line in error.splitlines()] == ["'liver'", "'spleen'", "'LV4'"]
    error = str(runner.invoke(app, ["L4", "T5", "C3", "liver", "-m", "spine-mr"]).exception)
    assert [line.split(";")[0] for line in error.splitlines()[:2]] == [
        "this model does not know 'T5 vertebra'",
        "this model does not know 'C3 vertebra'",
    ]
    assert error.splitlines()[2].startswith("'liver' is not understood")


def test_a_prompt_is_answered_at_once_without_arrays(least_seconds: Callable[..., float]) -> None:
    answer = "import sys, typer; from nomina.cli.prompt import prompt\n"
    code = (
        f"{answer}try: typer.run(prompt)\n"
        "finally: print({'numpy', 'torch', 'SimpleITK'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "L4-5 disk"], capture_output=True, text=True, check=True
    )
    assert "84020006" in done.stdout
    assert done.stderr.strip() == "set()"
    assert least_seconds(f"{answer}typer.run(prompt)", "L4-5 disk", limit=0.6) <= 0.6


def test_what_must_be_given_for_a_lobe_is_talk_and_its_place_is_data() -> None:
    result = runner.invoke(app, ["right lower lobe arteries", "-m", "lung-vessels-ct"])
    assert result.exit_code == 0
    header, line = result.stdout.splitlines()
    assert header == "# right lower lobe arteries = pulmonary artery within right lower lobe"
    assert line.endswith("label 141  within right lower lobe")
    assert "needs a label map on the scan's own grid with right lower lobe" in result.stderr
    assert "--regions" in result.stderr
    (found,) = json.loads(runner.invoke(app, ["--json", "RLL arteries"]).stdout)
    assert found["targets"] == [{"structure": "pulmonary artery", "at": [], "inside": "right lower lobe"}]
