"""From a recipe's data to one training batch, and the words that go with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nomina.errors import CaseError, ConfigError
from nomina.language.facts import Facts
from nomina.language.prompts import image_statements, statement_choices
from nomina.learning.augmentation import AugmentationConfig
from nomina.learning.batches import Batch, TrainingData, hear, make_batch, open_training_data, true_choices
from nomina.learning.prepared import PreparedDataset
from nomina.learning.recipe import DataSource, WordsConfig
from nomina.learning.sampling import SamplingConfig
from nomina.networks.words import EncodedPrompts

MakePrepared = Callable[..., PreparedDataset]
Spine = Callable[..., tuple[np.ndarray, np.ndarray]]
STRUCTURES = ("L5 vertebra", "L4 vertebra", "spinal canal", "L5-S1 disc", "L4-L5 disc")
STATEMENTS = image_statements(STRUCTURES)
L5_AND_L4 = Facts(
    sequence="T2",
    vertebrae=("L5 vertebra", "L4 vertebra"),
    discs=("L5-S1 disc", "L4-L5 disc"),
    canal_visible=True,
)


@pytest.fixture
def source(tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine) -> str:
    """Three cases of two patients."""
    folder = tmp_path / "boxes"
    make_prepared(folder, {"p1_t1": short_spine(0), "p1_t2": short_spine(1), "p2_t2": short_spine(2)})
    return str(folder)


@pytest.fixture
def split(tmp_path: Path) -> str:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["p1"], "validation": ["p2"]}))
    return str(path)


@pytest.fixture
def data(source: str) -> TrainingData:
    return open_training_data([DataSource(folder=source)])


def batch_of(data: TrainingData, seed: tuple[int, ...] = (0, 1), size: int = 4, slices: int = 3) -> Batch:
    sampling = SamplingConfig(patch_size=(32, 48))
    return make_batch(data, sampling, AugmentationConfig(), batch_size=size, num_slices=slices, seed=seed)


def test_few_patients_are_a_nested_draw_that_the_order_of_the_split_does_not_change(
    tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine
) -> None:
    names = [f"p{n}" for n in range(1, 9)]
    make_prepared(tmp_path / "many", {name: short_spine(0) for name in names})
    drawn = {}
    for order in (names[:7], names[6::-1]):
        path = tmp_path / "few.json"
        path.write_text(json.dumps({"train": order, "validation": ["p8"]}))
        for count in (2, 5):
            source = DataSource(folder=str(tmp_path / "many"), split=str(path), num_patients=count)
            data = open_training_data([source])
            patients = {case.entry.patient for case in data.cases}
            assert len(patients) == count
            assert drawn.setdefault(count, patients) == patients
            assert [entry.patient for entry in data.validation] == ["p8"]
    assert drawn[2] < drawn[5]
    with pytest.raises(ConfigError, match="has 7 training patients, num_patients asks for 8"):
        open_training_data([replace(source, num_patients=8)])
    with pytest.raises(ConfigError, match="needs a split, got 2"):
        DataSource(folder="boxes", num_patients=2)


def test_a_split_divides_by_patient(source: str, split: str) -> None:
    data = open_training_data([DataSource(folder=source, split=split)])
    assert [case.entry.id for case in data.cases] == ["p1_t1", "p1_t2"]
    assert [entry.id for entry in data.validation] == ["p2_t2"]
    assert data.structures == STRUCTURES


def test_sources_mix_by_weight_whatever_their_size(
    source: str, tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine
) -> None:
    make_prepared(tmp_path / "more", {"q1_t2": short_spine()}, dataset="phantom")
    data = open_training_data(
        [DataSource(folder=source, weight=3.0), DataSource(folder=str(tmp_path / "more"), weight=1.0)]
    )
    np.testing.assert_allclose(data.case_weights, [0.25, 0.25, 0.25, 0.25])
    data = open_training_data(
        [DataSource(folder=source, weight=1.0), DataSource(folder=str(tmp_path / "more"), weight=1.0)]
    )
    np.testing.assert_allclose(data.case_weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_sources_prepared_differently_are_refused(
    source: str, tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine
) -> None:
    make_prepared(tmp_path / "coarse", {"q1_t2": short_spine()}, spacing_mm=2.0)
    with pytest.raises(ConfigError, match="coarse was prepared differently"):
        open_training_data([DataSource(folder=source), DataSource(folder=str(tmp_path / "coarse"))])


def test_a_recipe_without_data_or_cases_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one entry in `data`"):
        open_training_data([])
    (tmp_path / "other.json").write_text('{"train": ["p9"], "validation": []}')
    with pytest.raises(CaseError, match="gives no case to train on"):
        open_training_data([DataSource(folder=source, split=str(tmp_path / "other.json"))])


def test_a_patient_who_validates_in_one_source_and_trains_in_another_is_refused(
    source: str, split: str, tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine
) -> None:
    """The same scans prepared twice, the split given for one folder alone."""
    make_prepared(tmp_path / "again", {"p2_t2": short_spine(2), "p3_t2": short_spine(3)})
    again = DataSource(folder=str(tmp_path / "again"))
    for sources in ([DataSource(folder=source, split=split), again], [DataSource(folder=source), again]):
        sources[1] = replace(again, is_validation=sources[0].split is None)
        with pytest.raises(CaseError, match="patient p2 of boxes trains and validates"):
            open_training_data(sources)
    # Another dataset may have a patient of the same name.
    make_prepared(tmp_path / "other", {"p2_t2": short_spine(2)}, dataset="crates")
    open_training_data([DataSource(folder=source, split=split), DataSource(folder=str(tmp_path / "other"))])


def test_patients_of_a_split_who_are_not_there_are_named(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "larger.json"
    path.write_text(json.dumps({"train": ["p1", "p7", "p10"], "validation": ["p2", "p9"]}))
    open_training_data([DataSource(folder=source, split=str(path))])
    assert "has no case of patient p7, p10 (train) and p9 (validation)" in caplog.text


def test_validation_scans_must_show_a_structure(
    tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine, split: str
) -> None:
    image, labels = short_spine()
    cases = {"p1_t2": (image, labels), "p2_t2": (image, np.zeros_like(labels))}
    make_prepared(tmp_path / "empty", cases)
    with pytest.raises(CaseError, match="no validation case shows any"):
        open_training_data([DataSource(folder=str(tmp_path / "empty"), split=split)])


def test_a_batch_follows_from_its_seed(data: TrainingData) -> None:
    first, again, other = batch_of(data), batch_of(data), batch_of(data, (0, 2))
    assert torch.equal(first.patch, again.patch)
    assert torch.equal(first.target, again.target)
    assert first.facts == again.facts
    assert not torch.equal(first.patch, other.patch)


def test_the_kinds_of_classes_follow_their_structures(data: TrainingData) -> None:
    """Background, two vertebrae, the canal, two discs."""
    assert data.kinds.tolist() == [0, 1, 1, 2, 3, 3]


def test_a_batch_has_the_shapes_and_values_it_promises(data: TrainingData) -> None:
    batch = batch_of(data)
    assert batch.patch.shape == (4, 3, 32, 48)
    assert batch.target.shape == (4, 32, 48)
    assert batch.patch.dtype == torch.float32
    assert batch.patch.isfinite().all()
    assert set(batch.target.flatten().tolist()) <= {0, 1, 2, 3, 4, 5, 255}
    assert batch.visible.shape == (4, 5)


def test_the_facts_of_a_patch_are_the_structures_visible_in_it(data: TrainingData) -> None:
    partly = 0
    for step in range(8):
        batch = batch_of(data, (0, step))
        for visible, facts in zip(batch.visible, batch.facts, strict=True):
            names = {name for name, seen in zip(STRUCTURES, visible, strict=True) if seen}
            assert {*facts.vertebrae, *facts.discs} == names - {"spinal canal"}
            assert facts.canal_visible == ("spinal canal" in names)
            assert facts.sequence == "T2"
            partly += 0 < len(names) < 5
    assert partly > 0


def test_a_case_labelled_in_part_says_what_it_knows_and_no_more(
    tmp_path: Path, make_prepared: MakePrepared, short_spine: Spine
) -> None:
    """L4 has a label and does not count; the other discs and the canal were not looked for."""
    known = ("L5 vertebra", "L5-S1 disc")
    make_prepared(tmp_path / "some", {"p1_t2": short_spine()}, annotated={"p1_t2": known})
    batch = batch_of(open_training_data([DataSource(folder=str(tmp_path / "some"))]))
    assert batch.annotated.tolist() == [[True, True, False, False, True, False]] * 4
    values = set(batch.target.flatten().tolist())
    assert values <= {0, 1, 4, 255}
    assert {1, 4} <= values
    for choices, facts in zip(true_choices(batch.facts, STRUCTURES).tolist(), batch.facts, strict=True):
        assert choices == [1, -1, -1, -1, -1, -1], "T2 is known, no level and no number is"
        assert set(facts.vertebrae) <= {"L5 vertebra"}


def test_true_choices_are_the_options_that_the_facts_choose() -> None:
    empty = Facts(canal_visible=False)
    choices = true_choices([L5_AND_L4, empty], STRUCTURES).tolist()
    said = [statement.options[choice] for statement, choice in zip(STATEMENTS, choices[0], strict=True)]
    assert said == ["T2", "L5 vertebra", "L4 vertebra", "2", "2", "visible"]
    assert choices[1][:3] == [-1, -1, -1]  # nothing to say about sequence and levels
    assert [s.options[c] for s, c in zip(STATEMENTS[3:], choices[1][3:], strict=True)] == [
        "0",
        "0",
        "not visible",
    ]


@pytest.fixture
def words() -> EncodedPrompts:
    generator = torch.Generator().manual_seed(0)
    return EncodedPrompts(
        channel=torch.randn(6, 4, generator=generator),
        generic=torch.randn(4, generator=generator),
        statements=tuple(torch.randn(len(s.options), 4, generator=generator) for s in STATEMENTS),
    )


def test_modes_are_heard_in_their_shares(words: EncodedPrompts) -> None:
    rng = np.random.default_rng(0)
    cfg = WordsConfig(predicted_share=0.6, constant_share=0.3)
    kinds = {"predicted": 0, "constant": 0, "stated": 0}
    for _ in range(500):
        heard = hear(words, [L5_AND_L4], STATEMENTS, cfg, rng)
        if heard.weights is None:
            kinds["predicted"] += 1
        elif heard.stated is not None and not heard.stated.any():
            kinds["constant"] += 1
        else:
            kinds["stated"] += 1
    assert kinds["predicted"] / 500 == pytest.approx(0.6, abs=0.07)
    assert kinds["constant"] / 500 == pytest.approx(0.3, abs=0.07)


def test_stated_facts_are_true_or_perturbed_as_configured(words: EncodedPrompts) -> None:
    truth = statement_choices(L5_AND_L4, STATEMENTS)

    def shares_of_truth(perturbed_share: float) -> float:
        rng = np.random.default_rng(1)
        cfg = WordsConfig(predicted_share=0, constant_share=0, perturbed_share=perturbed_share)
        right = []
        for _ in range(200):
            heard = hear(words, [L5_AND_L4], STATEMENTS, cfg, rng)
            assert heard.weights is not None
            right.append(tuple(int(w.argmax()) for w in heard.weights) == truth)
        return float(np.mean(right))

    assert shares_of_truth(0.0) == 1.0
    # Shift 0.4, drop 0.3, add 0.3, drawn apart: at least one strikes in 1 − 0.6·0.7·0.7.
    assert shares_of_truth(1.0) == pytest.approx(0.6 * 0.7 * 0.7, abs=0.12)


@pytest.mark.parametrize("shares", [(0.8, 0.4), (-0.1, 0.5)])
def test_shares_of_more_than_everything_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="sum to at most 1"):
        WordsConfig(predicted_share=shares[0], constant_share=shares[1])
    with pytest.raises(ConfigError, match=r"perturbed_share must lie in 0 to 1, got 1\.5"):
        WordsConfig(perturbed_share=1.5)


def test_a_source_that_weighs_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weight of data/x must be more than 0, got 0\.0"):
        DataSource(folder="data/x", weight=0.0)
