"""Walls of vertebral bodies: what is seen of them in pictures whose walls are known."""

import numpy as np
import pytest

from nomina.anatomy.schemes import load_scheme
from nomina.inference.segmenter import Segmenter
from nomina.inference.walls import Walls, body_walls, open_bodies
from nomina.phantoms.contrasts import Contrast
from nomina.phantoms.plan import SpineConfig
from nomina.phantoms.render import phantom_case, render
from nomina.phantoms.spine import SpinePhantom, sample_spine

STRUCTURES = ("L5 vertebra", "L4 vertebra", "L3 vertebra", "spinal canal")
SPACING_MM = (3.0, 1.0, 1.0)
SHAPE = (4, 70, 80)
MARROW, FAT, FLUID = 100, 80, 160


def column() -> np.ndarray:
    """Three bodies, 30 deep and 20 high, their arches behind the canal, and the canal."""
    classes = np.zeros(SHAPE, dtype=np.uint8)
    classes[:, 10:20] = 4
    for rank in (1, 2, 3):
        low = 5 + 24 * (rank - 1)
        classes[:, 22:52, low : low + 20] = rank
        classes[:, 2:8, low + 4 : low + 10] = rank
    return classes


def picture(classes: np.ndarray, *, without_front: int = 0, without_back: int = 0) -> np.ndarray:
    """Marrow in fat beside fluid, with walls of two dark voxels but for those of one rank."""
    image = np.full(SHAPE, FAT, dtype=np.int16)
    image[classes == 4] = FLUID
    for rank in (1, 2, 3):
        rows = np.flatnonzero(classes[0, 30] == rank)
        image[:, 22:52, rows] = MARROW
        if rank != without_front:
            image[:, 51:53, rows] = 20
        if rank != without_back:
            image[:, 20:22, rows] = 20
    return image


def test_walls_that_are_there_are_seen_on_every_line() -> None:
    classes = column()
    walls = body_walls(picture(classes), classes, STRUCTURES, SPACING_MM)
    assert walls == {name: Walls(1.0, 1.0) for name in STRUCTURES[:3]}


def test_a_wall_that_is_missing_is_seen_on_no_line_of_its_side() -> None:
    classes = column()
    walls = body_walls(picture(classes, without_front=2), classes, STRUCTURES, SPACING_MM)
    assert walls["L4 vertebra"] == Walls(0.0, 1.0)
    assert walls["L5 vertebra"] == Walls(1.0, 1.0)
    walls = body_walls(picture(classes, without_back=3), classes, STRUCTURES, SPACING_MM)
    assert walls["L3 vertebra"] == Walls(1.0, 0.0)


def test_an_edge_without_a_line_is_no_wall() -> None:
    """As where a mask ends at a dark vessel: the signal falls and does not rise again."""
    classes = column()
    image = picture(classes, without_front=2)
    rows = np.flatnonzero(classes[0, 30] == 2)
    image[:, 52:, rows] = 10
    assert body_walls(image, classes, STRUCTURES, SPACING_MM)["L4 vertebra"].front == 0.0


@pytest.mark.parametrize(("dip", "is_wall"), [(0.35, False), (0.45, True)])
def test_a_wall_is_darker_by_two_fifths_than_the_dimmer_side(dip: float, is_wall: bool) -> None:
    classes = column()
    image = picture(classes)
    rows = np.flatnonzero(classes[0, 30] == 2)
    image[:, 51:53, rows] = round(FAT * (1 - dip))
    assert body_walls(image, classes, STRUCTURES, SPACING_MM)["L4 vertebra"].front == float(is_wall)


def test_walls_do_not_depend_on_the_unit_of_the_signal() -> None:
    classes = column()
    image = picture(classes, without_front=2)
    assert body_walls(image, classes, STRUCTURES, SPACING_MM) == body_walls(
        image.astype(np.float64) * 0.001, classes, STRUCTURES, SPACING_MM
    )


def test_without_a_canal_and_of_a_sliver_nothing_is_said() -> None:
    classes = column()
    image = picture(classes)
    without_canal = np.where(classes == 4, 0, classes).astype(np.uint8)
    assert body_walls(image, without_canal, STRUCTURES, SPACING_MM) == {}
    assert body_walls(image, classes, STRUCTURES[:3], SPACING_MM) == {}
    classes[1:][classes[1:] == 2] = 0
    rows = np.flatnonzero(classes[0, 30] == 2)
    classes[:, :, rows[6:]] = np.where(classes[:, :, rows[6:]] == 2, 0, classes[:, :, rows[6:]])
    assert set(body_walls(image, classes, STRUCTURES, SPACING_MM)) == {"L5 vertebra", "L3 vertebra"}


def test_open_is_what_shows_less_than_half_of_what_the_others_show() -> None:
    shown = {"L5": Walls(0.9, 0.7), "L4": Walls(0.5, 0.27), "L3": Walls(0.8, 0.8), "L2": Walls(0.9, 0.9)}
    own, usual = open_bodies(shown)["L4"]
    assert set(open_bodies(shown)) == {"L4"}
    assert (own, usual) == (pytest.approx(0.385), pytest.approx(0.8))
    assert open_bodies(shown | {"L4": Walls(0.5, 0.31)}) == {}


def test_nothing_is_open_beside_one_other_or_where_no_walls_show() -> None:
    assert open_bodies({"L5": Walls(0.9, 0.9), "L4": Walls(0.0, 0.0)}) == {}
    dim = {"L5": Walls(0.2, 0.2), "L4": Walls(0.0, 0.0), "L3": Walls(0.2, 0.2)}
    assert open_bodies(dim) == {}
    assert set(open_bodies({name: Walls(1.3 * w.front, 1.3 * w.back) for name, w in dim.items()})) == {"L4"}


ORDINARY = SpineConfig(
    num_lumbar=((5, 1.0),),
    fracture_probability=0.0,
    sacrum_cut_probability=0.0,
    in_plane_mm=(0.8, 0.8),
    depth_mm=(200.0, 200.0),
    thin_slices_probability=0.0,
    num_slices=(9, 9),
    slab_mm=(25.0, 45.0),
)


@pytest.fixture(scope="module")
def spines() -> tuple[SpinePhantom, SpinePhantom]:
    """One spine whole, and without the vertebra of rank 3."""
    return sample_spine(4000, ORDINARY), sample_spine(4000, ORDINARY, missing=frozenset({3}))


@pytest.mark.parametrize("contrast", ["t1", "t2", "stir", "gre"])
def test_in_a_phantom_the_vertebra_that_is_left_out_is_open_and_no_other(
    spines: tuple[SpinePhantom, SpinePhantom], contrast: Contrast
) -> None:
    whole, without = spines
    assert not (without.label_map.array == 3).any()
    names = tuple(load_scheme("spider").labels.values())
    class_of = np.zeros(256, dtype=np.uint8)
    for value, name in load_scheme("spider").labels.items():
        class_of[value] = names.index(name) + 1
    # A mask where the vertebra was, as a network draws it.
    classes = class_of[whole.label_map.array]
    for phantom, expected in ((whole, set()), (without, {"L3 vertebra"})):
        image = render(phantom, 4000, contrast).array
        walls = body_walls(image, classes, names, phantom.grid.spacing_mm)
        seen = {name: own for name, own in walls.items() if name in whole.label_map.names.values()}
        seen.pop(max(seen, key=names.index))
        assert set(seen) >= {f"L{number} vertebra" for number in range(1, 6)}
        assert set(open_bodies(seen)) == expected


@pytest.mark.slow
def test_what_the_shipped_model_draws_where_a_vertebra_is_missing_is_uncertain() -> None:
    segmenter = Segmenter.load("spine-mr", device="cpu")
    volume, _ = phantom_case(4000, "t2", ORDINARY, missing={3})
    verdicts = {verdict.structure: verdict for verdict in segmenter(volume, None).verdicts}
    drawn = verdicts["L3 vertebra"]
    assert drawn.volume_ml > 0
    assert (drawn.presence, drawn.score) == ("uncertain", 0.5)
    assert "ends in no dark wall" in drawn.reason
    assert {verdicts[f"{level} vertebra"].presence for level in ("L5", "L4", "L2")} == {"present"}
