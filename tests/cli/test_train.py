"""`nomina train`: the recipe and its overrides reach the loop."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nomina.cli.train import train
from nomina.errors import ConfigError
from nomina.language.encoders import load_encoder
from nomina.learning import fit as fit_module

runner = CliRunner()
app = typer.Typer()
app.command()(train)

RECIPE = "name: mine\ndata: [{folder: data/x}]\ntrain: {steps: 5}\n"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `fit` was called with."""
    made: list[dict[str, Any]] = []

    def fit(recipe: Any, out: Path, **options: Any) -> Path:
        made.append({"recipe": recipe, "out": out, **options})
        return out / "best"

    monkeypatch.setattr(fit_module, "fit", fit)
    return made


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return str(path)


def test_a_recipe_is_trained_into_its_own_folder(recipe: str, calls: list[dict[str, Any]]) -> None:
    result = runner.invoke(app, [recipe])
    assert result.exit_code == 0, result.exception
    assert result.stdout == "runs/mine/best\n"
    assert calls[0]["out"] == Path("runs/mine")
    assert (calls[0]["accelerator"], calls[0]["devices"]) == ("auto", "auto")


@pytest.mark.usefixtures("unchecked")
def test_offline_keeps_encoders_from_the_network(
    recipe: str, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert runner.invoke(app, [recipe, "--offline"]).exit_code == 0
    monkeypatch.setattr("nomina.language.encoders._from_hub", lambda *a, local_only: local_only)
    assert load_encoder("bio-clinicalbert") is True


@pytest.mark.parametrize("option", ["-o", "--output", "--out"])
def test_the_folder_of_the_run_is_given_as_in_every_command(
    recipe: str, calls: list[dict[str, Any]], option: str
) -> None:
    assert runner.invoke(app, [recipe, option, "elsewhere"]).exit_code == 0
    assert calls[0]["out"] == Path("elsewhere")


def test_values_of_the_recipe_can_be_replaced(recipe: str, calls: list[dict[str, Any]]) -> None:
    arguments = [recipe, "-o", "elsewhere", "--set", "train.steps=7", "--set", "words.constant_share=0.1"]
    result = runner.invoke(app, [*arguments, "--accelerator", "cpu", "--devices", "2"])
    assert result.exit_code == 0, result.exception
    assert calls[0]["recipe"].train.steps == 7
    assert calls[0]["recipe"].words.constant_share == 0.1
    assert calls[0]["out"] == Path("elsewhere")
    assert (calls[0]["accelerator"], calls[0]["devices"]) == ("cpu", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train.stepps=7"], "stepps"),
        (["--set", "train.steps=0"], "steps must be at least 1"),
        (["--set", "train.steps=[1"], "its value is not YAML"),
        (["--set", "train.steps"], r"section\.key=value"),
    ],
)
def test_faults_are_named_before_anything_starts(
    recipe: str, calls: list[dict[str, Any]], arguments: list[str], message: str
) -> None:
    result = runner.invoke(app, [recipe, *arguments])
    assert isinstance(result.exception, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise result.exception
    assert calls == []


def test_a_missing_recipe_is_named(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    result = runner.invoke(app, [str(tmp_path / "none.yaml")])
    assert isinstance(result.exception, ConfigError)
    assert "none.yaml cannot be read" in str(result.exception)
