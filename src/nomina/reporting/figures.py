"""Pictures of a scan with its named structures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, Num
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy import ndimage

from nomina.anatomy.structures import structure, vocabulary
from nomina.errors import GridMismatchError
from nomina.imaging.files import atomic_path
from nomina.imaging.volume import LabelMap, Volume
from nomina.reporting.sidecar import DISCLAIMER

HEIGHT_INCH = 7.0
"""Height of the picture's planes [choice] …"""

MAX_WIDTH_INCH = 24.0
"""… which is lower where the picture would be wider than this: scans of few slices are flat [choice]."""

MARGIN_SHARE = 0.13
"""Room for names on either side of the sagittal plane, as a share of the planes' height."""

SURROUNDINGS_MM = {"sagittal": 45.0, "axial": 15.0}
"""What the planes show before and behind the structures [choice]."""

MIN_AXIAL_MM = 12.0
"""A narrower slab of slices shows nothing in an axial plane [choice]."""

WINDOW_PERCENTILES = (1.0, 99.5)
"""Grey values between these percentiles of the sagittal slice's content span black to white [choice]."""

FILL_OPACITY = 0.28

UNNAMED_COLOUR = (150, 150, 150)
"""For values that the label map ignores, e.g. partly visible vertebrae."""


@dataclass(frozen=True)
class _Plane:
    """One slice, its rows from bottom to top and its columns from left to right of the picture."""

    grey: Num[np.ndarray, "rows columns"]
    labels: Integer[np.ndarray, "rows columns"]
    size_mm: tuple[float, float]
    """Height and width."""
    letters: tuple[str, str, str, str]
    """What lies at the left, right, upper and lower border."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return 0.0, self.size_mm[1], 0.0, self.size_mm[0]

    def centres_mm(self) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " rows"]]:
        """Places of pixel centres along x and y."""
        rows, columns = self.grey.shape
        height, width = self.size_mm
        return (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows


def overlay_figure(volume: Volume, label_map: LabelMap, *, title: str = "") -> Figure:
    """A sagittal and an axial slice with the structures outlined, filled and named.

    The sagittal slice is the one with most structures, the axial one that with most labelled voxels. Both
    have the same scale and true proportions, whatever the orientation of the file. Radiological convention:
    anterior is on the left of the sagittal plane, the patient's right on the left of the axial one.

    Args:
        volume: The scan.
        label_map: On the same grid; colours come from the vocabulary.
        title: Above the picture; must hold no patient data.

    Raises:
        GridMismatchError: The label map lies on another grid.
    """
    if not label_map.grid.matches(volume.grid):
        raise GridMismatchError(
            f"the label map's grid {label_map.grid} differs from the scan's {volume.grid}; give the scan "
            f"that was segmented"
        )
    volume, label_map = volume.canonical(), label_map.canonical()
    sagittal, axial = _sagittal(volume, label_map), _axial(volume, label_map)
    height = max(sagittal.size_mm[0], axial.size_mm[0])
    margin = MARGIN_SHARE * height
    widths = [sagittal.size_mm[1] + 2 * margin, max(axial.size_mm[1], MIN_AXIAL_MM)]
    height_inch = min(HEIGHT_INCH, (MAX_WIDTH_INCH - 0.3) * height / sum(widths))
    figure = Figure(figsize=(sum(widths) * height_inch / height + 0.3, height_inch + 0.75), facecolor="black")
    FigureCanvasAgg(figure)
    frame = {"left": 0.01, "right": 0.99, "bottom": 0.055, "top": 0.93, "wspace": 0.02}
    left, right = figure.subplots(1, 2, width_ratios=widths, gridspec_kw=frame)
    window = _window(sagittal.grey)
    _draw(left, sagittal, label_map, window)
    left.set_xlim(-margin, sagittal.size_mm[1] + margin)
    _name_structures(left, sagittal, label_map, margin)
    _scale_bar(left, sagittal)
    right.set_axis_off()
    if axial.size_mm[1] >= MIN_AXIAL_MM:
        _draw(right, axial, label_map, window)
        level = (_axial_index(label_map) + 0.5) * volume.grid.spacing_mm[2]
        _mark_level(left, sagittal, level)
        room_below = min(max(level - axial.size_mm[0] / 2, 0.0), max(height - axial.size_mm[0], 0.0))
        right.set_ylim(-room_below, height - room_below)
    figure.text(0.01, 0.985, title, color="white", va="top", fontsize=10)
    figure.text(0.01, 0.012, DISCLAIMER, color="0.6", fontsize=7.5)
    return figure


def save_overlay(volume: Volume, label_map: LabelMap, path: Path | str, *, title: str = "") -> None:
    """Write `overlay_figure` as a PNG file, whole or not at all.

    Raises:
        GridMismatchError: See `overlay_figure`.
        OutputError: The file cannot be written.
    """
    figure = overlay_figure(volume, label_map, title=title)
    with atomic_path(path) as temporary:
        figure.savefig(
            temporary, format="png", dpi=120, facecolor=figure.get_facecolor(), metadata={"Software": None}
        )


def short_name(name: str) -> str:
    """Name for a crowded picture: "L4" for "L4 vertebra", "L4-L5" for "L4-L5 disc"."""
    return name.removesuffix(" vertebra").removesuffix(" disc")


def _sagittal(volume: Volume, label_map: LabelMap) -> _Plane:
    """Seen from the patient's left."""
    index = _richest_slice(label_map.array)
    _, depth_mm, height_mm = volume.grid.spacing_mm
    shown = _with_surroundings(label_map.array[index], SURROUNDINGS_MM["sagittal"] / depth_mm)
    grey, labels = (array[index, shown][::-1].T for array in (volume.array, label_map.array))
    size_mm = (height_mm * grey.shape[0], depth_mm * grey.shape[1])
    return _Plane(grey, labels, size_mm, ("A", "P", "S", "I"))


def _axial(volume: Volume, label_map: LabelMap) -> _Plane:
    """Seen from the patient's feet."""
    index = _axial_index(label_map)
    width_mm, depth_mm, _ = volume.grid.spacing_mm
    shown = _with_surroundings(label_map.array[..., index].T, SURROUNDINGS_MM["axial"] / depth_mm)
    grey, labels = (array[::-1, shown, index].T for array in (volume.array, label_map.array))
    size_mm = (depth_mm * grey.shape[0], width_mm * grey.shape[1])
    return _Plane(grey, labels, size_mm, ("R", "L", "A", "P"))


def _axial_index(label_map: LabelMap) -> int:
    counts = np.count_nonzero(label_map.array, axis=(0, 1))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def _with_surroundings(labels: Integer[np.ndarray, "j other"], room: float) -> slice:
    """The part of the first axis that holds the structures and `room` voxels around them."""
    labelled = np.flatnonzero(labels.any(axis=1))
    if not labelled.size:
        return slice(None)
    return slice(max(labelled[0] - round(room), 0), labelled[-1] + round(room) + 1)


def _richest_slice(labels: Integer[np.ndarray, "i j k"]) -> int:
    """The slice along i with most structures, of equals that with most labelled voxels; else the middle."""
    if not labels.any():
        return len(labels) // 2
    counts = [(np.unique(plane).size, np.count_nonzero(plane)) for plane in labels]
    return max(range(len(labels)), key=lambda index: counts[index])


def _window(grey: Num[np.ndarray, "rows columns"]) -> tuple[float, float]:
    content = grey[grey > grey.min()] if grey.max() > grey.min() else grey
    low, high = np.percentile(content, WINDOW_PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def _draw(axes: Any, plane: _Plane, label_map: LabelMap, window: tuple[float, float]) -> None:
    axes.set_axis_off()
    axes.imshow(
        plane.grey,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        extent=plane.extent,
        origin="lower",
        interpolation="bilinear",
    )
    fill = np.zeros((*plane.labels.shape, 4))
    x, y = plane.centres_mm()
    for value in _values(plane.labels):
        colour = _colour(label_map, value)
        mask = plane.labels == value
        fill[mask] = (*colour, FILL_OPACITY)
        if min(mask.shape) > 1:
            axes.contour(x, y, mask, levels=[0.5], colors=[colour], linewidths=0.9)
    axes.imshow(fill, extent=plane.extent, origin="lower", interpolation="nearest")
    _letter_borders(axes, plane)


def _letter_borders(axes: Any, plane: _Plane) -> None:
    height, width = plane.size_mm
    places = [
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.985, "center", "top"),
        (0.5, 0.015, "center", "bottom"),
    ]
    for letter, (x, y, horizontal, vertical) in zip(plane.letters, places, strict=True):
        axes.text(
            x * width,
            y * height,
            letter,
            color="white",
            fontsize=10,
            fontweight="bold",
            ha=horizontal,
            va=vertical,
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _name_structures(axes: Any, plane: _Plane, label_map: LabelMap, margin: float) -> None:
    """Names in the margins, each joined to its structure: those of the column in front, others behind."""
    height, width = plane.size_mm
    marks = [_mark(plane, value, label_map) for value in _values(plane.labels) if value in label_map.names]
    for is_front, x, align in ((True, -0.1 * margin, "right"), (False, width + 0.1 * margin, "left")):
        side = sorted((mark for mark in marks if mark.is_front == is_front), key=lambda mark: mark.y)
        places = _spread([mark.y for mark in side], height / 42, height)
        for mark, y in zip(side, places, strict=True):
            axes.plot([mark.x, x], [mark.y, y], color=mark.colour, linewidth=0.6, alpha=0.8)
            light = tuple(0.35 + 0.65 * part for part in mark.colour)
            axes.text(x, y, short_name(mark.name), color=light, fontsize=9, ha=align, va="center")


@dataclass(frozen=True)
class _Mark:
    """Where the name of a structure points to, in mm of the plane."""

    name: str
    colour: tuple[float, float, float]
    is_front: bool
    x: float
    y: float


def _mark(plane: _Plane, value: int, label_map: LabelMap) -> _Mark:
    name = label_map.names[value]
    is_front = name in vocabulary() and structure(name).kind in ("vertebra", "disc", "sacrum", "coccyx")
    rows, columns = np.nonzero(_largest_part(plane.labels == value))
    middle = rows[np.abs(rows - rows.mean()).argmin()]
    edge = columns[rows == middle].min() if is_front else columns[rows == middle].max()
    x, y = plane.centres_mm()
    return _Mark(name, _colour(label_map, value), is_front, float(x[edge]), float(y[middle]))


def _largest_part(mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """The largest connected part: of a vertebra its body, not its spinous process."""
    parts, _ = ndimage.label(mask)
    return parts == np.bincount(parts[mask]).argmax()


def _spread(places: list[float], step: float, height: float) -> list[float]:
    """The ascending places moved apart to at least `step`, as near to where they were as one pass finds."""
    spread = list(places)
    for index in range(1, len(spread)):
        spread[index] = max(spread[index], spread[index - 1] + step)
    spread[-1:] = [min(spread[-1], height - step / 2)] if spread else []
    for index in range(len(spread) - 2, -1, -1):
        spread[index] = min(spread[index], spread[index + 1] - step)
    return spread


def _mark_level(axes: Any, plane: _Plane, level: float) -> None:
    """Ticks at both borders of the sagittal plane where the axial one lies."""
    width = plane.size_mm[1]
    for start, end in ((0.0, 0.03 * width), (0.97 * width, width)):
        axes.plot([start, end], [level, level], color="white", linewidth=1.2)


def _scale_bar(axes: Any, plane: _Plane) -> None:
    height, width = plane.size_mm
    length = next((size for size in (50, 20, 10, 5) if size < 0.4 * width), 2)
    start, level = 0.04 * width, 0.03 * height
    axes.plot([start, start + length], [level, level], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(start, level + 0.012 * height, f"{length} mm", color="white", fontsize=8)


def _values(labels: Integer[np.ndarray, "rows columns"]) -> list[int]:
    return [int(value) for value in np.unique(labels) if value != 0]


def _colour(label_map: LabelMap, value: int) -> tuple[float, float, float]:
    """Red, green, blue from 0 to 1."""
    name = label_map.names.get(value, "")
    red, green, blue = vocabulary()[name].colour if name in vocabulary() else UNNAMED_COLOUR
    return red / 255, green / 255, blue / 255
