"""Overlay pictures: the right slice, the right way round, in true proportions, with readable names."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nomina.anatomy.structures import structure, vocabulary
from nomina.errors import GridMismatchError, OutputError
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.reporting.figures import overlay_figure, save_overlay, short_name

SPACING_MM = (4.0, 1.0, 2.0)


def make_scan(shape: tuple[int, int, int] = (6, 50, 40)) -> tuple[Volume, LabelMap]:
    """Bright to the right, in front and above; L4 everywhere, the disc below it in slice 4 only."""
    grid = Grid(shape, np.diag([*SPACING_MM, 1.0]))
    i, j, k = np.indices(shape)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[1:5, 20:30, 20:30] = 1
    labels[4, 20:30, 15:19] = 2
    names = {1: "L4 vertebra", 2: "L4-L5 disc", 3: "spinal canal"}
    volume = Volume((100 * i + 10 * j + k).astype(np.float32), grid)
    return volume, LabelMap(labels, grid, names=names)


def pictures(figure: Figure) -> tuple[list[Any], list[Any]]:
    """Grey images and label fills of the planes."""
    return [axes.images[0] for axes in figure.axes], [axes.images[1] for axes in figure.axes]


def pixels(figure: Figure) -> np.ndarray:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_the_sagittal_slice_shows_most_structures() -> None:
    volume, label_map = make_scan()
    (sagittal, _), _ = pictures(overlay_figure(volume, label_map))
    assert sagittal.get_array()[0, -1] == 400


def test_without_labels_the_middle_slice_is_shown() -> None:
    volume, label_map = make_scan()
    empty = LabelMap(np.zeros_like(label_map.array), label_map.grid)
    (sagittal, _), _ = pictures(overlay_figure(volume, empty))
    assert sagittal.get_array()[0, -1] == 300


def test_anterior_is_left_superior_is_up_and_the_patients_right_is_left() -> None:
    volume, label_map = make_scan()
    (sagittal, axial), _ = pictures(overlay_figure(volume, label_map))
    assert sagittal.origin == axial.origin == "lower"
    side_view, from_below = sagittal.get_array(), axial.get_array()
    assert (np.diff(side_view, axis=1) == -10).all(), "front (bright) on the left"
    assert (np.diff(side_view, axis=0) == 1).all(), "top (bright) up"
    assert (np.diff(from_below, axis=1) == -100).all(), "the patient's right (bright) on the left"
    assert (np.diff(from_below, axis=0) == 10).all(), "front (bright) up"


def test_letters_stand_where_they_belong() -> None:
    left, right = overlay_figure(*make_scan()).axes
    for axes, letters in ((left, "APSI"), (right, "RLAP")):
        place = {text.get_text(): text.get_position() for text in axes.texts if len(text.get_text()) == 1}
        assert place[letters[0]][0] < place[letters[1]][0]
        assert place[letters[2]][1] > place[letters[3]][1]


def test_the_picture_does_not_depend_on_the_files_orientation() -> None:
    volume, label_map = make_scan()
    expected = pixels(overlay_figure(volume, label_map))
    affine = np.array([[0, 0, -4.0, 20], [1.0, 0, 0, 0], [0, -2.0, 0, 78], [0, 0, 0, 1]])
    grid = Grid((50, 40, 6), affine)
    turned = overlay_figure(volume.reoriented_like(grid), label_map.reoriented_like(grid))
    assert np.array_equal(pixels(turned), expected)


def test_both_planes_have_one_scale_along_both_axes() -> None:
    figure = overlay_figure(*make_scan())
    pixels(figure)
    scales = []
    for axes in figure.axes:
        box, (x0, x1), (y0, y1) = axes.get_window_extent(), axes.get_xlim(), axes.get_ylim()
        scales += [box.width / (x1 - x0), box.height / (y1 - y0)]
    assert np.allclose(scales, scales[0], rtol=0.03)
    (sagittal, axial), _ = pictures(figure)
    assert sagittal.get_extent() == [0, 50, 0, 80]
    assert axial.get_extent() == [0, 24, 0, 40]


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_scan_of_few_slices_gives_a_picture_of_bounded_width(is_empty: bool) -> None:
    grid = Grid((512, 512, 4), np.diag([0.7, 0.7, 5.0, 1.0]))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[250:260, 250:260] = 0 if is_empty else 1
    volume = Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)
    figure = overlay_figure(volume, LabelMap(labels, grid, names={1: "L4 vertebra"}))
    width, height = figure.get_size_inches()
    assert width <= 24.0
    assert height > 2.0
    axial = figure.axes[1]
    shown_mm, drawn_mm = axial.get_ylim(), axial.images[0].get_extent()[2:]
    assert shown_mm[0] <= drawn_mm[0], "the whole axial plane is in the picture"
    assert shown_mm[1] >= drawn_mm[1] - 1e-6
    pixels(figure)
    scales = [axes.get_window_extent().width / np.ptp(axes.get_xlim()) for axes in figure.axes]
    assert np.allclose(scales, scales[0], rtol=0.05)


def test_structures_are_filled_in_the_vocabularys_colours() -> None:
    _, (fill, _) = pictures(overlay_figure(*make_scan()))
    shown = {tuple(np.rint(colour * 255).astype(int)) for colour in fill.get_array()[..., :3].reshape(-1, 3)}
    assert shown == {(0, 0, 0), structure("L4 vertebra").colour, structure("L4-L5 disc").colour}


def test_every_shown_structure_is_named_once() -> None:
    figure = overlay_figure(*make_scan())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("L4") == texts.count("L4-L5") == 1
    assert "spinal canal" not in texts


def test_names_of_thirty_crowded_structures_do_not_overlap() -> None:
    names = {s.label: s.name for s in vocabulary().values() if s.kind in ("vertebra", "disc")}
    names = dict(itertools.islice(names.items(), 30))
    shape = (3, 30, 128)
    labels = np.zeros(shape, dtype=np.uint8)
    for index, value in enumerate(names):
        labels[1, 10:20, 90 + index] = value
    grid = Grid(shape, np.eye(4))
    figure = overlay_figure(Volume(labels, grid), LabelMap(labels, grid, names=names))
    pixels(figure)
    shown = [t for t in figure.axes[0].texts if t.get_text() in {short_name(name) for name in names.values()}]
    boxes = sorted((text.get_window_extent() for text in shown), key=lambda box: box.y0)
    assert len(boxes) == 30
    for lower, upper in itertools.pairwise(boxes):
        assert upper.y0 >= lower.y0 + 0.7 * lower.height, "ascenders may touch, letters do not"
    frame = figure.axes[0].get_window_extent()
    assert frame.y0 - 5 <= boxes[0].y0
    assert boxes[-1].y1 <= frame.y1 + 5
    assert all(box.x0 >= 0 for box in boxes)


def test_a_few_bright_voxels_do_not_darken_the_picture() -> None:
    volume, label_map = make_scan()
    array = volume.array.copy()
    array[4, 25, 25] = 1e6
    (sagittal, _), _ = pictures(overlay_figure(Volume(array, volume.grid), label_map))
    assert sagittal.norm.vmax < 1000


@pytest.mark.parametrize("fill", [0, 7])
def test_a_scan_without_contrast_is_still_drawn(fill: int) -> None:
    volume, label_map = make_scan()
    figure = overlay_figure(Volume(np.full_like(volume.array, fill), volume.grid), label_map)
    assert pixels(figure).any()


def test_values_without_a_name_are_drawn_grey_and_unnamed() -> None:
    volume, label_map = make_scan()
    array = label_map.array.copy()
    array[4, 20:30, 32:38] = 103
    partial = LabelMap(array, label_map.grid, names=label_map.names, ignored=frozenset({103}))
    figure = overlay_figure(volume, partial)
    _, (fill, _) = pictures(figure)
    assert (np.rint(fill.get_array()[..., :3] * 255) == 150).all(axis=-1).any()
    assert len([text for text in figure.axes[0].texts if text.get_text().startswith("L4")]) == 2


def test_a_label_map_of_another_scan_is_refused() -> None:
    volume, label_map = make_scan()
    shifted = np.array(label_map.grid.affine)
    shifted[0, 3] += 5
    moved = LabelMap(label_map.array, Grid(label_map.grid.shape, shifted), names=label_map.names)
    with pytest.raises(GridMismatchError):
        overlay_figure(volume, moved)


def test_the_same_scan_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_overlay(*make_scan(), tmp_path / name, title="scan · model")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


def test_a_picture_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        save_overlay(*make_scan(), tmp_path / "missing" / "a.png")


def test_text_has_the_structures_hue_but_is_lighter() -> None:
    text = next(t for t in overlay_figure(*make_scan()).axes[0].texts if t.get_text() == "L4")
    colour = np.array(structure("L4 vertebra").colour) / 255
    assert (np.array(to_rgb(text.get_color())) > colour).all()


def test_drawing_leaves_pyplot_alone() -> None:
    code = "import sys, nomina.reporting.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
