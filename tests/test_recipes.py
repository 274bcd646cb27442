"""Every recipe loads and builds its network; the control differs from the model in its words alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from nomina.config import load_config
from nomina.errors import ConfigError
from nomina.language.vessel_prompts import SIDED_VESSELS
from nomina.learning import vessel_losses
from nomina.learning.prepared import STRUCTURE_PRESETS
from nomina.learning.recipe import BlockRecipe, Recipe, load_recipe
from nomina.networks import la_caf
from nomina.networks.atm_net import ATMNetConfig
from nomina.networks.build import build_network
from nomina.networks.plain import PlainConfig
from nomina.networks.swin_unetr import SwinUNETRConfig

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
TEXT_WIDTHS = {"minilm": 384, "bio-clinicalbert": 768, "clip-vit-b32": 512}


def test_there_are_recipes() -> None:
    names = {path.stem for path in RECIPES}
    assert {"spine_mr", "atm_net_spider", "plain_spider", "tiny", "la_caf_airrc", "lung_vessels"} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_builds_its_network(path: Path) -> None:
    recipe = load_recipe(path)
    is_blocks = isinstance(recipe, BlockRecipe)
    structures = recipe.structures if is_blocks else STRUCTURE_PRESETS["spider18"]
    size = recipe.sampling.block_size if is_blocks else recipe.sampling.patch_size
    network = build_network(recipe.network, structures, text_width=TEXT_WIDTHS[recipe.words.encoder])
    stride = getattr(recipe.network, "contrast_pool_stride", 1)
    assert all(side % network.divisor == side % stride == 0 for side in size)
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


def test_the_faithful_preset_of_la_caf_is_the_authors() -> None:
    recipe = load_recipe(FOLDER / "la_caf_airrc.yaml")
    assert isinstance(recipe, BlockRecipe)
    assert (recipe.network, recipe.losses) == (la_caf.FAITHFUL, vessel_losses.FAITHFUL)
    assert recipe.structures == SIDED_VESSELS
    assert recipe.sampling.block_size == (96, 96, 96)
    assert (recipe.train.learning_rate, recipe.train.weight_decay) == (8e-4, 1e-5)
    network = build_network(recipe.network, recipe.structures, text_width=512)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 19.68


def test_a_mirror_image_is_refused_for_classes_with_a_side() -> None:
    with pytest.raises(ConfigError, match="mirror exchanges left and right"):
        load_recipe(FOLDER / "la_caf_airrc.yaml", ["augmentation.mirror=0.5"])
