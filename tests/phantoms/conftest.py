"""Spines and chests small enough for fast tests."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nomina.phantoms.lung_plan import LungConfig
from nomina.phantoms.lung_trees import LungPlan, plan_lung
from nomina.phantoms.lung_vessels import LungPhantom, sample_lung
from nomina.phantoms.plan import SpineConfig
from nomina.phantoms.spine import SpinePhantom, sample_spine

ORDINARY = SpineConfig(
    num_lumbar=((5, 1.0),),
    scale=(1.0, 1.0),
    level_variation=0.0,
    scoliosis_probability=0.0,
    listhesis_probability=0.0,
    fracture_probability=0.0,
    schmorl_probability=0.0,
    sacrum_cut_probability=0.0,
    top_level=(7.5, 7.5),
    below_s1_mm=(70.0, 70.0),
    back_fat_mm=(8.0, 8.0),
    depth_mm=(220.0, 220.0),
    in_plane_mm=(1.25, 1.25),
    thin_slices_probability=0.0,
    num_slices=(9, 9),
    slab_mm=(25.0, 45.0),
    slab_offset_mm=0.0,
    slab_tilt_deg=0.0,
)
"""A mean adult without findings, seen from the sacrum to T11, in thick slices."""


@pytest.fixture(scope="session")
def ordinary() -> SpineConfig:
    return ORDINARY


@pytest.fixture(scope="session")
def make_spine() -> Callable[..., SpinePhantom]:
    """`make_spine(seed, **changes)`: the ordinary spine with some settings changed; each is made once."""
    made: dict[str, SpinePhantom] = {}

    def make(seed: int, **changes: Any) -> SpinePhantom:
        key = f"{seed} {sorted(changes.items())}"
        if key not in made:
            made[key] = sample_spine(seed, replace(ORDINARY, **changes))
        return made[key]

    return make


@pytest.fixture(scope="session")
def spine(make_spine: Callable[..., SpinePhantom]) -> SpinePhantom:
    return make_spine(3)


SMALL_LUNG = LungConfig(smallest_diameter_mm=(2.4, 2.5), spacing_mm=(2.4, 2.4, 2.4), margin_mm=16.0)
"""A chest of few branches and large voxels."""


@pytest.fixture(scope="session")
def small_lung() -> LungConfig:
    return SMALL_LUNG


@pytest.fixture(scope="session")
def make_chest() -> Callable[..., LungPhantom]:
    """`make_chest(seed, **changes)`: the small chest with some settings changed; each is made once."""
    made: dict[str, LungPhantom] = {}

    def make(seed: int, **changes: Any) -> LungPhantom:
        key = f"{seed} {sorted(changes.items())}"
        if key not in made:
            made[key] = sample_lung(seed, replace(SMALL_LUNG, **changes))
        return made[key]

    return make


@pytest.fixture(scope="session")
def chest(make_chest: Callable[..., LungPhantom]) -> LungPhantom:
    return make_chest(5)


@pytest.fixture(scope="session")
def plan(small_lung: LungConfig) -> LungPlan:
    return plan_lung(np.random.default_rng([5, 2]), small_lung)
