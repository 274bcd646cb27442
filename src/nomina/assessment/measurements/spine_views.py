"""Every vertebra and disc of a label map seen from the side, in the midline."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer

from nomina.anatomy.levels import ALL_LEVELS_UPWARDS, levels_in
from nomina.anatomy.schemes import partly_visible
from nomina.assessment.measurements.canal import Canal
from nomina.assessment.measurements.measurement import PARTIAL
from nomina.assessment.measurements.sagittal import (
    BAND_MM,
    Plates,
    Point,
    fit_plates,
    in_front_of,
    largest_piece,
)
from nomina.assessment.metrics.surface import Box, label_boxes
from nomina.assessment.spine_levels import spine_kind
from nomina.imaging.volume import LabelMap

SACRUM_TOP_MM = 20.0
"""How much of an undivided sacrum below the lowest disc counts as S1 [choice: less than the height of S1]."""

CUT = "cut by the border of the scan"
"""Reason why there is no value."""
UNLABELLED = "not labelled"
"""Reason why there is nothing to measure against."""


@dataclass(frozen=True, eq=False)
class SideView:
    """One structure from the side."""

    name: str
    plates: Plates | None
    reason: str = ""
    """Why there are no plates."""

    @property
    def obstacle(self) -> str:
        """Why there are no plates, for what is measured against this structure."""
        known = {PARTIAL: "only partly visible", UNLABELLED: UNLABELLED}
        if self.reason in known:
            return f"{self.name.removesuffix(' vertebra')} is {known[self.reason]}"
        return f"{self.name}: {self.reason}"


class SpineViews:
    """The structures of a label map, seen from the side, lowest first.

    Those that are marked as only partly visible are listed like the others, and have a view without plates.

    Args:
        label_map: Canonical: axes point nearest to right, anterior, superior.
    """

    def __init__(self, label_map: LabelMap) -> None:
        self.label_map = label_map
        self.spacing_mm = label_map.grid.spacing_mm
        boxes = label_boxes(label_map.array)
        known = {n: v for v, n in label_map.names.items() if v in boxes and v not in label_map.ignored}
        # Half a vertebra is no vertebra. Of a vessel the scheme marks thin branches so: the rest is whole.
        marked = partly_visible(label_map).values()
        self.partial = tuple(n for n in dict.fromkeys(marked) if spine_kind(n) or n not in known)
        known = {n: v for n, v in known.items() if n not in self.partial}
        listed = [*known, *self.partial]
        order = {f"{level} vertebra": rank for rank, level in enumerate(ALL_LEVELS_UPWARDS)}
        self.vertebrae = sorted((n for n in listed if n in order), key=lambda n: order[n])
        discs = [n for n in listed if spine_kind(n) == "disc"]
        self.discs = sorted(discs, key=lambda n: order.get(f"{levels_in(n)[0]} vertebra", -1))
        others = [n for n in listed if n not in self.vertebrae and n not in self.discs]
        self.names = [*self.vertebrae, *self.discs, *others]
        self._values, self._boxes = known, boxes
        canal = self.voxels("spinal canal") if "spinal canal" in known else None
        self.canal = None if canal is None else Canal(canal, label_map.grid.shape, self.spacing_mm)
        column = [*self.vertebrae, *self.discs]
        self._outlines = {n: self._outline(n) for n in column if n not in self.partial}
        self.views = {n: self._view(n) for n in column}
        self.views["S1 vertebra"] = self._first_sacral()

    def voxels(self, name: str) -> Integer[np.ndarray, "n 3"]:
        """Indices of a structure's voxels."""
        box = self._boxes[self._values[name]]
        inside = np.argwhere(self.label_map.array[box] == self._values[name])
        return inside + [axis.start for axis in box]

    def box(self, name: str) -> Box:
        """Smallest box around a structure."""
        return self._boxes[self._values[name]]

    def has(self, name: str) -> bool:
        """Whether the structure is there and may be measured."""
        return name in self._values

    def disc_below(self, vertebra: str) -> str | None:
        """The disc whose name starts with the vertebra's level."""
        return next((name for name in self.discs if levels_in(name)[0] == levels_in(vertebra)[0]), None)

    def _outline(self, name: str) -> Bool[np.ndarray, "j k"] | str:
        """The structure in its midline, or why there is none."""
        box = self.box(name)
        low_mm, high_mm = box[2].start * self.spacing_mm[2], box[2].stop * self.spacing_mm[2]
        if self.canal is not None and self.canal.hides_midline(low_mm, high_mm):
            return "the slab shows less than half of the canal, so the midline is not known"
        shown_mm = self.canal.right_mm(low_mm, high_mm) if self.canal is not None else None
        middle_mm = 0.5 * (box[0].start + box[0].stop - 1) * self.spacing_mm[0]
        right_mm = middle_mm if shown_mm is None else shown_mm
        spacing_mm, num_slices = self.spacing_mm[0], self.label_map.grid.shape[0]
        nearest = int(np.clip(round(right_mm / spacing_mm), 0, num_slices - 1))
        if num_slices > 2 and nearest in (0, num_slices - 1):
            return "the slab does not show the midline"
        offsets = np.abs(np.arange(num_slices) * spacing_mm - right_mm)
        band = np.flatnonzero((offsets <= BAND_MM) | (np.arange(num_slices) == nearest))
        slices = self.label_map.array[band]
        outline = (slices == self._values[name]).mean(axis=0) >= 0.5
        if self.canal is not None and spine_kind(name) == "vertebra":
            outline = in_front_of(outline, (slices == self._values["spinal canal"]).any(axis=0))
        outline = largest_piece(outline)
        if not outline.any():
            return "not in the midline"
        return outline

    def _view(self, name: str) -> SideView:
        if name in self.partial:
            return SideView(name, None, PARTIAL)
        outline = self._outlines[name]
        if isinstance(outline, str):
            return SideView(name, None, outline)
        if outline[[0, -1]].any() or outline[:, [0, -1]].any():
            return SideView(name, None, CUT)
        plates = fit_plates(outline, self.spacing_mm[1:], self._up(name))
        return SideView(name, plates, "" if plates is not None else "too small in the midline")

    def _centre_mm(self, name: str) -> Point | None:
        outline = self._outlines.get(name)
        if outline is None or isinstance(outline, str):
            return None
        centre: Point = np.argwhere(outline).mean(axis=0) * self.spacing_mm[1:]
        return centre

    def _up(self, name: str) -> Point:
        """From the next structure below to the next above, as far as they are there."""
        places = {n: c for n in self._along_the_spine() if (c := self._centre_mm(n)) is not None}
        index, centres = list(places).index(name), list(places.values())
        below, above = centres[max(index - 1, 0)], centres[min(index + 1, len(centres) - 1)]
        up = above - below
        # Names may be wrong; the head is never below the feet.
        return up if up[1] > abs(up[0]) * 0.5 else np.array([0.0, 1.0])

    def _along_the_spine(self) -> list[str]:
        names = []
        for vertebra in self.vertebrae or [""]:
            disc = self.disc_below(vertebra)
            names += [disc, vertebra] if disc else [vertebra]
        return [*names, *(disc for disc in self.discs if disc not in names)]

    def _first_sacral(self) -> SideView:
        """S1: labelled on its own, or the top of an undivided sacrum."""
        if "S1 vertebra" in self.views:
            return self.views["S1 vertebra"]
        if "sacrum" in self.partial:
            return SideView("S1 vertebra", None, PARTIAL)
        lowest = next((self.views[n] for n in self.discs if n.endswith("-S1 disc")), None)
        if not self.has("sacrum") or lowest is None or lowest.plates is None:
            return SideView(
                "S1 vertebra", None, "S1 is not labelled, or the disc above it cannot be measured"
            )
        outline = self._outline("sacrum")
        if isinstance(outline, str):
            return SideView("S1 vertebra", None, outline)
        disc = lowest.plates
        pixels = np.argwhere(outline)
        heights = (pixels * self.spacing_mm[1:] - disc.centre_mm) @ disc.up - disc.level_mm[0]
        top = np.zeros_like(outline)
        top[tuple(pixels[heights >= -SACRUM_TOP_MM].T)] = True
        plates = fit_plates(largest_piece(top), self.spacing_mm[1:], disc.up)
        return SideView("S1 vertebra", plates, "" if plates is not None else "too small in the midline")
