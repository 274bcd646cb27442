"""`nomina prompt` in-process, and its time in a fresh one."""

import json
import resource
import subprocess
import sys

import typer
from typer.testing import CliRunner

from nomina.cli.prompt import prompt
from nomina.errors import PromptError

app = typer.Typer()
app.command("prompt")(prompt)
runner = CliRunner()


def test_a_phrase_is_shown_with_its_code_and_label() -> None:
    result = runner.invoke(app, ["L4-5 disk"])
    assert result.exit_code == 0
    assert result.stdout.split() == ["L4-L5", "disc", "SCT", "84020006", "L4/L5", "disc", "label", "123"]
    assert result.stderr == ""


def test_corrections_are_talk_and_structures_are_data() -> None:
    result = runner.invoke(app, ["vertabra L4"])
    assert "'vertabra' read as 'vertebra'" in result.stderr
    assert "read as" not in result.stdout


def test_several_phrases_are_told_apart() -> None:
    result = runner.invoke(app, ["L1 to L2", "cord"])
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "# L1 to L2",
        "L1 vertebra",
        "L2 vertebra",
        "# cord",
        "spinal cord",
    ]


def test_json_holds_the_whole_structure() -> None:
    result = runner.invoke(app, ["--json", "L4", "all lumbar discs"])
    first, second = json.loads(result.stdout)
    assert first["prompt"] == "L4"
    assert first["structures"][0]["snomed_code"] == "11994002"
    assert first["structures"][0]["below"] == "L5 vertebra"
    assert len(second["structures"]) == 7


def test_one_unknown_phrase_shows_nothing_but_the_error() -> None:
    result = runner.invoke(app, ["L4", "banana"])
    assert isinstance(result.exception, PromptError)
    assert result.stdout == ""


def test_a_prompt_is_answered_within_a_second_without_arrays() -> None:
    code = (
        "import sys, typer; from nomina.cli.prompt import prompt\n"
        "try: typer.run(prompt)\n"
        "finally: print({'numpy', 'torch', 'SimpleITK'} & set(sys.modules), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, "L4-5 disk"], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "84020006" in done.stdout
    assert done.stderr.strip() == "set()"
    # Processor time: the clock on the wall also measures what else the machine does.
    assert after.ru_utime - before.ru_utime < 1
