"""From a grid file to runs: what may differ, what must not, and who is tested."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nomina.bench.grid import cases_of, expand, load_grid
from nomina.bench.modes import SPINE_MODES
from nomina.bench.scans import open_scans
from nomina.errors import CaseError, ConfigError
from nomina.learning.recipe import Recipe

GridFile = Callable[..., Path]


def grid_with(grid_file: GridFile, folder: Path, **changes: Any) -> Any:
    return load_grid(grid_file(folder, **changes))


def test_sweeps_give_every_combination_once_under_a_name_that_says_it(
    grid_file: GridFile, tmp_path: Path
) -> None:
    sweeps = [
        {"variants": ["plain", "words"], "seeds": [0, 1]},
        {"variants": ["words"], "seeds": [0], "patients": [1, None], "phantoms": [True, False]},
    ]
    runs = expand(grid_with(grid_file, tmp_path, sweeps=sweeps))
    assert [run.name for run in runs] == [
        "plain-seed0",
        "words-seed0",
        "plain-seed1",
        "words-seed1",
        "words-p1-seed0",
        "words-p1-no-phantoms-seed0",
        "words-no-phantoms-seed0",
    ]
    assert [run.recipe.train.seed for run in runs[:4]] == [0, 0, 1, 1]
    assert [run.recipe.data[0].num_patients for run in runs[3:5]] == [None, 1]
    assert runs[0].modes == ("none", "best_shift")
    assert runs[1].modes == SPINE_MODES
    assert runs[0].recipe.network.kind == "plain"


def test_one_value_of_a_dotted_key_can_be_replaced_from_the_command_line(
    grid_file: GridFile, tmp_path: Path
) -> None:
    path = grid_file(tmp_path, set={"train.steps": 2, "sampling.patch_size": [32, 32]})
    replaced = [
        "set.train.steps=1",
        "set.train.learning_rate=0.5",
        "set.network.num_slices=3",
        "variants.words.set.words.encoder=random",
        "variants.plain.set.network.num_slices=5",
    ]
    plain, words = (run.recipe for run in expand(load_grid(path, replaced)))
    assert isinstance(plain, Recipe)
    assert isinstance(words, Recipe)
    assert (plain.train.steps, plain.train.learning_rate, plain.train.validate_every) == (1, 0.5, 3)
    assert plain.sampling.patch_size == (32, 32)
    assert (plain.network.num_slices, words.network.num_slices) == (5, 3)
    assert words.words.encoder == "random"
    # A value of the file that stands for the whole section is replaced within it.
    nested = grid_file(tmp_path, set={"train": {"steps": 2, "validate_every": 2}})
    assert expand(load_grid(nested, ["set.train.steps=1"]))[0].recipe.train.validate_every == 2


def test_a_value_replaced_in_one_variant_reaches_no_other_that_the_file_wrote_by_an_alias(
    grid_file: GridFile, tmp_path: Path
) -> None:
    backbone = {"kind": "residual_unet", "stage_channels": [8, 16], "stage_blocks": [1, 1]}
    settings = {
        "train.weight_decay": 0.1,
        "network": {"kind": "plain", "backbone": backbone, "num_slices": 1},
    }
    words = {"network": {"kind": "atm_net", "backbone": backbone, "num_slices": 1}}
    variants = {"plain": {"set": settings}, "again": {"set": settings}, "words": {"set": words}}
    sweeps = [{"variants": ["plain", "again", "words"]}]
    path = grid_file(tmp_path, variants=variants, sweeps=sweeps)
    assert {"*id001", "*id002"} <= set(path.read_text().split())
    replaced = [
        "variants.plain.set.network.backbone.stage_channels=[16, 16]",
        "variants.plain.set.train.learning_rate=0.5",
    ]
    plain, again, worded = (run.recipe for run in expand(load_grid(path, replaced)))
    assert plain.network.backbone.stage_channels == (16, 16)
    assert again.network.backbone.stage_channels == (8, 16)
    assert worded.network.backbone.stage_channels == (8, 16)
    assert (plain.train.learning_rate, again.train.learning_rate) == (0.5, worded.train.learning_rate)
    assert plain.train.weight_decay == again.train.weight_decay == 0.1


def test_a_run_is_tested_on_the_patients_it_never_trains_on(grid_file: GridFile, tmp_path: Path) -> None:
    cfg = grid_with(grid_file, tmp_path)
    run = expand(cfg)[0]
    assert run.test_patients == ["p2", "p3"]
    assert [case.id for case in cases_of(run, open_scans(cfg.test))] == ["p2", "p3"]
    with pytest.raises(CaseError, match="to be tested on patient p3, who has no scan"):
        cases_of(run, open_scans(cfg.test)[:3])


def test_sources_without_a_split_are_left_out_where_no_phantoms_are_wanted(
    grid_file: GridFile, tmp_path: Path
) -> None:
    cfg = grid_with(grid_file, tmp_path)
    (source,) = expand(cfg)[0].recipe.data
    data = [{"folder": source.folder, "split": source.split}, {"folder": "phantoms"}]
    sweeps = [{"variants": ["words"], "phantoms": [True, False]}]
    runs = expand(grid_with(grid_file, tmp_path, set={"data": data}, sweeps=sweeps))
    assert [[s.folder for s in run.recipe.data] for run in runs] == [
        [source.folder, "phantoms"],
        [source.folder],
    ]
    with pytest.raises(ConfigError, match="exactly one source of `data` must have a split"):
        expand(grid_with(grid_file, tmp_path, set={"data": [{"folder": "phantoms"}]}))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.steps", 9),
        ("train.batch_size", 2),
        ("sampling.rotation_deg", 1.0),
        ("augmentation.gamma", 0.0),
    ],
)
def test_variants_with_an_unequal_training_are_refused(
    grid_file: GridFile, tmp_path: Path, setting: str, value: float
) -> None:
    variants = {"plain": {}, "words": {"set": {setting: value}}}
    name = setting if setting.startswith("train") else setting.split(".")[0]
    with pytest.raises(ConfigError, match=f"variant words has another {name} than plain"):
        expand(grid_with(grid_file, tmp_path, variants=variants))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control": "nothing"}, "asks for the variant 'nothing'; it describes plain, words"),
        ({"modes": ["none"]}, "'none' is that of networks without words"),
        ({"modes": ["best_shift"]}, "renames what 'predicted' found; ask for both"),
        ({"modes": ["telepathy"]}, r"modes\.0: Input should be 'none', 'constant'"),
        ({"set": {"initial_checkpoint": "spine-mr"}}, "may have seen test patients"),
        ({"set": {"train.stepps": 3}}, r"train\.stepps"),
        ({"variants": {"plain": {}, "words": {"control": "nobody"}}}, "asks for the variant 'nobody'"),
        ({"variants": {"plain": {}, "words": {"set": {"data": []}}}}, "variant words sets `data`"),
        ({"variants": {"plain": {}, "words": {"words": "one-hot"}}}, "`words` is for networks of blocks"),
        ({"variants": {"plain": {}, "words": {"half_labelled": 0.5}}}, "a network of slices has no lungs"),
        ({"modes": ["named"]}, "asks for no mode that words has; it has constant, predicted"),
    ],
)
def test_a_grid_that_cannot_be_honest_or_made_is_refused(
    grid_file: GridFile, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(grid_with(grid_file, tmp_path, **changes))


def test_a_shuffled_prompt_needs_a_second_patient(grid_file: GridFile, tmp_path: Path) -> None:
    cfg = grid_with(grid_file, tmp_path)
    split = tmp_path / "split.json"
    split.write_text('{"train": ["p0", "p1"], "validation": ["p2"]}')
    (source,) = expand(cfg)[0].recipe.data
    data = [{"folder": source.folder, "split": str(split)}]
    cfg = grid_with(grid_file, tmp_path, set={"data": data})
    with pytest.raises(CaseError, match="'shuffled' needs two test patients, got 1"):
        cases_of(expand(cfg)[1], open_scans(cfg.test))


LA_CAF = Path(__file__).parents[2] / "benchmarks" / "la_caf_tiny.yaml"


def test_a_grid_of_blocks_says_words_labels_and_control_of_each_variant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(LA_CAF.parents[1])
    cfg = load_grid(LA_CAF)
    cfg = replace(cfg, sweeps=(replace(cfg.sweeps[0], seeds=(0, 4)),))
    runs = {run.name: run for run in expand(cfg)}
    assert runs["minilm-seed4"].recipe.words.encoder == "minilm"
    assert runs["random-seed4"].recipe.words.encoder == "table:data/words/random-seed4.npz"
    assert runs["one-hot-seed4"].recipe.words.encoder == "table:data/words/one-hot.npz"
    assert runs["minilm-seed0"].modes == ("named", "swapped")
    assert runs["constant-seed0"].modes == ("named",)
    assert runs["half-seed0"].split_source.half_labelled == 0.5
    assert runs["minilm-seed0"].split_source.half_labelled == 0
    assert cfg.controls["shared-minilm"] == "shared-one-hot"
    assert cfg.controls["half-unmasked"] == "half"
    assert cfg.controls["minilm"] == "one-hot"
