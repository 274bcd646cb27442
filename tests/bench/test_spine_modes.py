"""Honest modes get no reference; stamped modes really say what they claim, and can do harm."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nomina.bench.modes import ALL_MODES, HONEST_MODES, STAMPS, Mode
from nomina.bench.spine_modes import (
    ReferenceFacts,
    SpineServer,
    other_facts,
    segment_honestly,
    segment_stamped,
    with_shifted_classes,
)
from nomina.errors import ConfigError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume
from nomina.imaging.write import write
from nomina.inference import slices as slices_module
from nomina.inference.segmenter import Segmenter
from nomina.language.facts import Facts
from nomina.language.prompts import channel_view
from nomina.learning.cases import Case

OWN = Facts("T2", ("L5 vertebra", "L4 vertebra"), ("L5-S1 disc", "L4-L5 disc"), canal_visible=True)
OTHER = Facts("T2", ("L4 vertebra", "L3 vertebra"), ("L4-L5 disc",), canal_visible=True)
FACTS = ReferenceFacts(OWN, OTHER)


@pytest.fixture(scope="module")
def scan() -> Volume:
    # Small: on noise a network of random weights finds many discs.
    array = np.random.default_rng(1).normal(size=(1, 12, 16)).astype(np.float32)
    return Volume(array, Grid(array.shape, np.diag([4.0, 4.0, 4.0, 1.0])), modality="MR", sequence="T2")


def told(
    segmenter: Segmenter, scan: Volume, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, str], str]:
    """What is said to the network in a stamped mode, and who says it."""
    heard = []
    real = Segmenter.told

    def listen(self, volume, prompts, said, *, teller):
        heard.append((dict(said), teller))
        return real(self, volume, prompts, said, teller=teller)

    with monkeypatch.context() as patched:
        patched.setattr(Segmenter, "told", listen)
        segment_stamped(segmenter, scan, mode, FACTS)
    (only,) = heard
    return only


def test_every_mode_is_honest_or_stamped() -> None:
    assert set(ALL_MODES) - set(HONEST_MODES) == set(STAMPS)
    assert list(inspect.signature(segment_honestly).parameters) == ["segmenter", "volume", "mode"]


def test_honest_modes_are_served_where_there_is_no_reference_at_all(
    open_segmenter: Segmenter, scan: Volume, tmp_path: Path
) -> None:
    thicker = replace(scan, array=scan.array.repeat(2, axis=0), grid=Grid((2, 12, 16), scan.grid.affine))
    write(thicker, tmp_path / "scan.nii.gz")
    nowhere = tmp_path / "nowhere.nii.gz"
    case = Case("1", "1", tmp_path / "scan.nii.gz", nowhere, scheme="spider", dataset="x", sequence="T2")
    for mode in set(HONEST_MODES) - {"none", "named"}:
        server = SpineServer(open_segmenter, (case,), tmp_path)
        assert server.predict(0, mode).grid.matches(thicker.grid)


def test_stamped_modes_say_what_they_claim(
    open_segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        mode: told(open_segmenter, scan, mode, monkeypatch)
        for mode in ("oracle", "user", "shuffled", "shifted")
    }
    oracle, teller = said["oracle"]
    assert (oracle["lowest_vertebra"], oracle["num_discs"], teller) == ("L5 vertebra", "2", "oracle")
    assert said["user"] == ({"lowest_vertebra": "L5 vertebra"}, "simulated user")
    shuffled, teller = said["shuffled"]
    assert (shuffled["lowest_vertebra"], shuffled["num_discs"], teller) == ("L4 vertebra", "1", "shuffled")
    shifted, teller = said["shifted"]
    assert (shifted["lowest_vertebra"], shifted["highest_vertebra"]) == ("L4 vertebra", "L3 vertebra")
    assert teller == "shifted"


def probabilities(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> torch.Tensor:
    """What the network said in the last pass, before levels are put in order."""
    seen: list[torch.Tensor] = []
    real = slices_module.predict_slices

    def listen(*arguments, **options):
        seen.clear()
        for where, found in real(*arguments, **options):
            seen.append(found)
            yield where, found

    with monkeypatch.context() as patched:
        patched.setattr(slices_module, "predict_slices", listen)
        run()
    return torch.cat(seen)


def test_a_wrong_prompt_reaches_the_network_and_can_do_harm(
    open_segmenter: Segmenter, scan: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stamped(mode: Mode) -> torch.Tensor:
        return probabilities(monkeypatch, lambda: segment_stamped(open_segmenter, scan, mode, FACTS))

    right = stamped("oracle")
    torch.testing.assert_close(stamped("oracle"), right)
    for mode in ("shuffled", "shifted", "user"):
        assert (stamped(mode) - right).abs().max() > 1e-4
    predicted = probabilities(monkeypatch, lambda: segment_honestly(open_segmenter, scan, "predicted"))
    assert (stamped("class_shifted") - predicted).abs().max() > 1e-3


def test_a_mode_is_served_on_its_own_side_alone(open_segmenter: Segmenter, scan: Volume) -> None:
    with pytest.raises(ConfigError, match="'oracle' is served with the facts of a reference alone"):
        segment_honestly(open_segmenter, scan, "oracle")
    with pytest.raises(ConfigError, match="'predicted' is not served with facts of a reference"):
        segment_stamped(open_segmenter, scan, "predicted", FACTS)


def test_shifted_classes_hear_the_sentence_of_the_next_level_and_nothing_else_changes(
    open_segmenter: Segmenter,
) -> None:
    before, after = open_segmenter.checkpoint.bank, with_shifted_classes(open_segmenter).checkpoint.bank

    def vector(bank, name: str, paraphrase: int) -> np.ndarray:
        return bank.vectors_for([channel_view(name, paraphrase)])[0]

    swapped = {
        "L5 vertebra": "L4 vertebra",
        "L4 vertebra": "L3 vertebra",
        "L3 vertebra": "L5 vertebra",
        "L5-S1 disc": "L4-L5 disc",
        "L4-L5 disc": "L5-S1 disc",
        "spinal canal": "spinal canal",
    }
    for paraphrase in range(3):
        for name, heard in swapped.items():
            np.testing.assert_array_equal(vector(after, name, paraphrase), vector(before, heard, paraphrase))
    changed = (before.vectors != after.vectors).any(axis=1)
    assert changed.sum() == 3 * 5


def test_a_shuffled_prompt_comes_from_another_patient_and_is_a_wrong_one_where_there_is_one() -> None:
    structures = ("L5 vertebra", "L4 vertebra", "L3 vertebra", "L5-S1 disc", "L4-L5 disc", "spinal canal")
    facts, patients = [OWN, OTHER, OWN, OWN], ["a", "a", "b", "c"]
    assert other_facts(0, patients, facts, structures) == (OWN, False)
    assert other_facts(2, patients, facts, structures) == (OTHER, True)
    # What the model has no words for is no difference.
    taller = replace(OWN, vertebrae=(*OWN.vertebrae, "T1 vertebra"))
    assert other_facts(0, ["a", "b"], [OWN, taller], structures) == (taller, True)
    assert other_facts(0, ["a", "b"], [OWN, replace(OWN, sacrum_visible=True)], structures)[1] is False
    with pytest.raises(ConfigError, match="needs a second patient"):
        other_facts(0, ["a", "a"], [OWN, OTHER], structures)
