"""Checkpoints that come with nomina: found by name, or by what the words ask for."""

import json
from pathlib import Path

import pytest

from nomina.errors import CheckpointError, PromptError
from nomina.networks import shipped
from nomina.networks.shipped import checkpoint_folder, shipped_for, shipped_of

CLASSES = {
    "spine-mr": ("MR", ["L4 vertebra", "L5 vertebra", "L4-L5 disc", "spinal canal"]),
    "vessels": ("CT", ["pulmonary artery", "pulmonary vein"]),
}


@pytest.fixture(autouse=True)
def two_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (modality, structures) in CLASSES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"modality": modality}))
        (tmp_path / name / "structures.json").write_text(json.dumps(structures))
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path)


@pytest.mark.parametrize(
    ("prompts", "name"),
    [
        (None, "spine-mr"),
        (["L4"], "spine-mr"),
        (["canal at the level of L5", "all discs"], "spine-mr"),
        (["pulmonary arteries", "right pulmonary veins"], "vessels"),
    ],
)
def test_the_words_choose_the_checkpoint(prompts: list[str] | None, name: str) -> None:
    assert shipped_for(prompts) == name


def test_words_for_two_checkpoints_are_told_apart() -> None:
    with pytest.raises(PromptError, match="two runs") as refusal:
        shipped_for(["L4 vertebra", "left pulmonary artery"])
    assert "spine-mr knows L4 vertebra; vessels knows left pulmonary artery" in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("T3 vertebra", "no shipped model knows 'T3 vertebra'; nearest known: L4 vertebra, L5 vertebra"),
        ("sacrum", "no shipped model knows 'sacrum'; nearest known: L5 vertebra, L4-L5 disc, L4 vertebra"),
    ],
)
def test_words_for_none_are_refused_with_the_nearest_of_all_shipped_models(words: str, message: str) -> None:
    with pytest.raises(PromptError) as refusal:
        shipped_for([words])
    assert str(refusal.value) == message


def test_checkpoints_are_known_by_modality_and_by_name(tmp_path: Path) -> None:
    assert (shipped_of("CT"), shipped_of("MR"), shipped_of("PT")) == (["vessels"], ["spine-mr"], [])
    assert checkpoint_folder("vessels") == tmp_path / "vessels"
    with pytest.raises(CheckpointError, match="a shipped one: spine-mr, vessels"):
        checkpoint_folder("nothing")
