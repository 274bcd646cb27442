"""Every recipe loads and builds its network; the control differs from the model in its words alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from nomina.config import load_config
from nomina.learning.prepared import STRUCTURE_PRESETS
from nomina.learning.recipe import Recipe
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.plain import PlainConfig
from nomina.networks.swin_unetr import SwinUNETRConfig

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
TEXT_WIDTHS = {"minilm": 384, "bio-clinicalbert": 768}


def test_there_are_recipes() -> None:
    names = {path.stem for path in RECIPES}
    assert {"spine_mr", "atm_net_spider", "plain_spider", "tiny"} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_builds_its_network(path: Path) -> None:
    recipe = load_config(Recipe, path)
    structures = STRUCTURE_PRESETS["spider18"]
    network = build_network(recipe.network, structures, text_width=TEXT_WIDTHS[recipe.words.encoder])
    stride = getattr(recipe.network, "contrast_pool_stride", 1)
    assert all(side % network.divisor == side % stride == 0 for side in recipe.sampling.patch_size)
    assert recipe.name == path.stem.replace("_", "-")


def test_the_control_differs_from_the_model_in_its_words_alone() -> None:
    model, control = (load_config(Recipe, FOLDER / f"{name}.yaml") for name in ("spine_mr", "plain_spider"))
    assert isinstance(model.network, ATMNetConfig)
    assert isinstance(control.network, PlainConfig)
    assert control.network.backbone == model.network.backbone
    assert control.network.num_slices == model.network.num_slices
    assert replace(control, name=model.name, network=model.network) == model


def test_the_faithful_preset_is_the_papers() -> None:
    recipe = load_config(Recipe, FOLDER / "atm_net_spider.yaml")
    assert isinstance(recipe.network, ATMNetConfig)
    assert recipe.network.backbone == SwinUNETRConfig(feature_size=48, drop_path_rate=0.1)
    assert (recipe.network.has_fusion, recipe.network.has_contrast) == (True, True)
    assert (recipe.network.num_slices, recipe.network.contrast_pool_stride) == (1, 1)
    assert recipe.words.encoder == "bio-clinicalbert"
    assert (recipe.losses.dice, recipe.losses.focal, recipe.losses.contrast) == (1, 1, 1)
    assert recipe.sampling.patch_size == (512, 512)
    assert (recipe.train.learning_rate, recipe.train.weight_decay) == (1e-4, 1e-5)
    network = build_network(recipe.network, STRUCTURE_PRESETS["spider18"], text_width=768)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 28.6
