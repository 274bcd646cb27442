"""The frame of the command line: what is imported when, exit codes, and one message per error."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import pytest
import typer

from nomina.cli import main as frame
from nomina.errors import OutputError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `nomina prompt` fail with an error."""

    def install(error: BaseException) -> None:
        def command(words: list[str]) -> None:
            raise error

        monkeypatch.setattr("nomina.cli.prompt.prompt", command)

    return install


def test_help_names_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys; from nomina.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "loaded = {m for m in sys.modules if m.startswith('nomina.')} - {'nomina.cli.main'}\n"
        "print(sorted(loaded), sorted({'torch', 'monai', 'numpy', 'matplotlib', 'yaml'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert all(f" {name} " in done.stdout for name in frame.COMMANDS)
    assert done.stderr.strip() == "['nomina.cli', 'nomina.errors'] []"


@pytest.mark.parametrize("name", list(frame.COMMANDS))
def test_a_summary_says_what_the_command_itself_says(name: str) -> None:
    help_text = frame.load_command(name).help
    assert " ".join(help_text.split("\n\n")[0].split()) == frame.COMMANDS[name]


def test_a_nomina_error_is_one_message_without_a_traceback(
    run_nomina: Run, fail: Callable[[BaseException], None]
) -> None:
    fail(OutputError("out.mha cannot be written: choose another folder"))
    code, out, err = run_nomina("prompt", "L4")
    assert (code, out) == (1, "")
    assert err == "nomina: out.mha cannot be written: choose another folder\n"


@pytest.mark.parametrize("arguments", [("prompt", "--no-such-option", "L4"), ("promt", "L4"), ("prompt",)])
def test_wrong_usage_exits_2_and_writes_to_stderr(run_nomina: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run_nomina(*arguments)
    assert (code, out) == (2, "")
    assert err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "a", "b", "--policy", "foo"), "unknown empty-mask policy 'foo'"),
        (("evaluate", "a", "b", "--scheme", "foo"), "no label scheme is called 'foo'"),
        (("evaluate", "a", "b", "--prediction-scheme", "foo"), "no label scheme is called 'foo'"),
        (("labels", "verify", "a", "--scheme", "foo"), "no label scheme is called 'foo'"),
        (("labels", "convert", "a", "b", "--to", "foo"), "no label scheme is called 'foo'"),
        (("labels", "convert", "a", "b", "--to", "nomina", "--from", "foo"), "is called 'foo'"),
        (("labels", "list", "spider", "foo"), "no label scheme is called 'foo'"),
        (("measure", "a", "--scheme", "foo"), "no label scheme is called 'foo'"),
        (("relevel", "a", "-o", "b", "--anchor", "L4", "--scheme", "foo"), "is called 'foo'"),
        (("vote", "a", "-o", "b", "--scheme", "foo"), "no label scheme is called 'foo'"),
        (("train", "a", "--devices", "many"), "got 'many'"),
    ],
)
def test_a_value_that_no_option_takes_is_wrong_usage(
    run_nomina: Run, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = run_nomina(*arguments)
    assert (code, out) == (2, "")
    assert words in " ".join(err.replace("│", " ").split())


def test_a_misspelled_command_is_answered_with_the_nearest(run_nomina: Run) -> None:
    assert "Did you mean 'prompt'" in run_nomina("promt", "L4")[2]


def test_an_interrupt_exits_130(run_nomina: Run, fail: Callable[[BaseException], None]) -> None:
    fail(KeyboardInterrupt())
    assert run_nomina("prompt", "L4")[0] == 130


def test_a_defect_is_not_disguised_as_a_users_error(
    run_nomina: Run, fail: Callable[[BaseException], None]
) -> None:
    fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run_nomina("prompt", "L4")


def test_underscores_in_long_options_mean_hyphens(run_nomina: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def command(words: list[str], two_words: Annotated[bool, typer.Option("--two-words")] = False) -> None:
        seen.append((words, two_words))

    monkeypatch.setattr("nomina.cli.prompt.prompt", command)
    run_nomina("prompt", "a_b", "--two_words")
    run_nomina("prompt", "a_b", "--two-words")
    assert seen == [(["a_b"], True)] * 2


def test_the_version_is_that_of_the_distribution(run_nomina: Run) -> None:
    assert run_nomina("--version") == (0, f"nomina {version('nomina')}\n", "")


def test_commands_with_commands_of_their_own_are_reached(run_nomina: Run) -> None:
    code, out, _ = run_nomina("labels", "list", "spider")
    assert code == 0
    assert "spider\t1\tL5 vertebra" in out


def rendered_help(run_nomina: Run, *command: str) -> str:
    """What `--help` shows, without the lines of its boxes and its line breaks."""
    return " ".join(run_nomina(*command, "--help")[1].replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "default"),
    [
        (
            "segment",
            "A shipped checkpoint, or a checkpoint folder. [default: (the shipped one that knows the",
        ),
        ("segment", "File (one scan) or folder. [default: (./<scan>_seg.nii.gz)]"),
        ("segment", "Where OUT is no file. [default: (nii.gz)]"),
        ("demo", "Any scan. [default: (a phantom with known truth)]"),
    ],
)
def test_help_says_what_is_taken_where_an_option_is_left_out(
    run_nomina: Run, monkeypatch: pytest.MonkeyPatch, command: str, default: str
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert default in rendered_help(run_nomina, command)
