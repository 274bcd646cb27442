"""Bodies and discs in their mid-sagittal plane: an outline, its two plates and what can be read off them.

Everything happens in the plane of the file's sagittal slices, in mm: y grows to anterior, z to superior. The
outline of a structure is where at least half of the slices within `BAND_MM` of the midline have it. Straight
lines are laid on the rims of its upper and lower face, and the frame is turned until it halves the angle
between them; so heights are measured across the structure, however it is tilted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import label, map_coordinates, median_filter

BAND_MM = 4.0
"""Half width of the band of slices that stands for the midline [choice: 8 mm, free of pedicles]."""

STEP_MM = 0.25
"""Step in which an outline is sampled along its own axes."""

RIM = (0.08, 0.24)
"""Part of the depth, from either end, that the line of a face is fitted to [choice: the corner itself is
round, and further in lies the hollow of the endplate, which is deeper behind and would tilt the line]."""

NUM_TURNS = 4
"""How often the frame is turned to the faces; 15 degrees settle to less than 0.1 in three."""

Point = Float[np.ndarray, "2"]
"""y (anterior) and z (superior) in mm."""


@dataclass(frozen=True, eq=False)
class Plates:
    """A body or disc seen from the side, in its own frame: depth from back to front, and height."""

    centre_mm: Point
    """Origin of the frame."""
    forward: Point
    """Unit vector to the front; halves the angle between the two faces."""
    depths_mm: Float[np.ndarray, " n"]
    """Sampled places along the depth, from back to front."""
    tops_mm: Float[np.ndarray, " n"]
    """Height of the upper face at each."""
    bottoms_mm: Float[np.ndarray, " n"]
    """Height of the lower face at each."""
    slope: float
    """Rise of the upper face's line per mm of depth; the lower one falls as much."""
    level_mm: tuple[float, float]
    """Height of the lines of the lower and the upper face at depth 0."""
    back_mm: tuple[float, float]
    """Depth of the posterior wall near the lower and near the upper face."""

    @property
    def up(self) -> Point:
        """Unit vector upwards."""
        return np.array([-self.forward[1], self.forward[0]])

    def height_mm(self, share: float) -> float:
        """Distance between the faces at a share of the depth: 0 back, 1 front (mean over an eighth of it)."""
        depth = self.depths_mm[-1] - self.depths_mm[0]
        place = self.depths_mm[0] + share * depth
        near = np.abs(self.depths_mm - place) <= depth / 16
        return float((self.tops_mm - self.bottoms_mm)[near].mean())

    def angle_deg(self, *, of_top: bool) -> float:
        """Direction of a face towards the front, against the horizontal; positive when it rises."""
        forward = self._face(of_top)
        return float(np.degrees(np.arctan2(forward[1], forward[0])))

    def back_corner_mm(self, *, of_top: bool) -> Point:
        """Where the posterior wall meets the line of a face."""
        depth = self.back_mm[of_top]
        height = self.level_mm[of_top] + (self.slope if of_top else -self.slope) * depth
        return self.centre_mm + depth * self.forward + height * self.up

    def _face(self, of_top: bool) -> Point:
        direction = self.forward + (self.slope if of_top else -self.slope) * self.up
        return direction / np.linalg.norm(direction)

    def slip_mm(self, below: "Plates") -> float:
        """How far the lower back corner stands in front of the upper back corner of the body below."""
        gap = self.back_corner_mm(of_top=False) - below.back_corner_mm(of_top=True)
        return float(gap @ below._face(of_top=True))


def fit_plates(outline: Bool[np.ndarray, "j k"], spacing_mm: tuple[float, float], up: Point) -> Plates | None:
    """The frame and faces of an outline.

    Args:
        outline: Body or disc; axes point to anterior and to superior.
        spacing_mm: Pixel size along both.
        up: Roughly where its top is.

    Returns:
        None when the outline is too small: less than 3 pixels deep or 2 high in its own frame.
    """
    pixels = np.argwhere(outline)
    if len(pixels) < 6:
        return None
    points = pixels * np.asarray(spacing_mm)
    centre = points.mean(axis=0)
    up = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    forward = np.array([up[1], -up[0]])
    faces = _faces(outline, spacing_mm, centre, forward)
    for _ in range(NUM_TURNS):
        if faces is None:
            return None
        turned = forward + 0.5 * (faces.top[0] + faces.bottom[0]) * np.array([-forward[1], forward[0]])
        forward = turned / np.linalg.norm(turned)
        faces = _faces(outline, spacing_mm, centre, forward)
    if faces is None:
        return None
    return Plates(
        centre_mm=centre,
        forward=forward,
        depths_mm=faces.depths_mm,
        tops_mm=faces.tops_mm,
        bottoms_mm=faces.bottoms_mm,
        slope=0.5 * (faces.top[0] - faces.bottom[0]),
        level_mm=(faces.bottom[1], faces.top[1]),
        back_mm=faces.back_mm,
    )


@dataclass(frozen=True, eq=False)
class _Faces:
    depths_mm: Float[np.ndarray, " n"]
    tops_mm: Float[np.ndarray, " n"]
    bottoms_mm: Float[np.ndarray, " n"]
    top: tuple[float, float]
    """Slope and height at depth 0 of the line of the upper face."""
    bottom: tuple[float, float]
    back_mm: tuple[float, float]


def _faces(
    outline: Bool[np.ndarray, "j k"], spacing_mm: tuple[float, float], centre: Point, forward: Point
) -> _Faces | None:
    """Upper and lower face of an outline along a direction."""
    up = np.array([-forward[1], forward[0]])
    local = (np.argwhere(outline) * np.asarray(spacing_mm) - centre) @ np.stack([forward, up], axis=1)
    low, high = local.min(axis=0) - max(spacing_mm), local.max(axis=0) + max(spacing_mm)
    depths, heights = (np.arange(a, b, STEP_MM) for a, b in zip(low, high, strict=True))
    at = centre + depths[:, None, None] * forward + heights[None, :, None] * up
    # Halfway between a pixel inside and one outside the interpolated value is one half: the border.
    inside = map_coordinates(outline.astype(np.float32), (at / spacing_mm).transpose(2, 0, 1), order=1) >= 0.5
    tall = inside.sum(axis=1)
    columns = np.flatnonzero(tall >= 0.5 * np.median(tall[tall > 0])) if tall.any() else np.zeros(0, int)
    if len(columns) * STEP_MM < 3 * min(spacing_mm) or tall.max() * STEP_MM < 2 * min(spacing_mm):
        return None
    bottoms = heights[inside[columns].argmax(axis=1)] - STEP_MM / 2
    tops = heights[inside.shape[1] - 1 - inside[columns, ::-1].argmax(axis=1)] + STEP_MM / 2
    place = depths[columns]
    from_end = np.minimum(place - place[0], place[-1] - place) / (place[-1] - place[0])
    rims = (from_end >= RIM[0]) & (from_end <= RIM[1])
    top, bottom = (np.polyfit(place[rims], face[rims], 1) for face in (tops, bottoms))
    return _Faces(
        depths_mm=place,
        tops_mm=tops,
        bottoms_mm=bottoms,
        top=(float(top[0]), float(top[1])),
        bottom=(float(bottom[0]), float(bottom[1])),
        back_mm=_back_walls(inside, depths, heights, float(np.median(bottoms)), float(np.median(tops))),
    )


def _back_walls(
    inside: Bool[np.ndarray, "a u"],
    depths: Float[np.ndarray, " a"],
    heights: Float[np.ndarray, " u"],
    bottom: float,
    top: float,
) -> tuple[float, float]:
    """Mean depth of the posterior wall a tenth to a third of the height from the lower and the upper face."""
    walls = []
    share = (heights - bottom) / (top - bottom)
    for from_face in (share, 1 - share):
        rows = np.flatnonzero((from_face >= 0.1) & (from_face <= 0.34) & inside.any(axis=0))
        first = inside[:, rows].argmax(axis=0) if len(rows) else np.zeros(1, dtype=int)
        walls.append(float(depths[first].mean()) - STEP_MM / 2)
    return walls[0], walls[1]


def largest_piece(outline: Bool[np.ndarray, "j k"]) -> Bool[np.ndarray, "j k"]:
    """The largest piece of an outline; pixels touch across edges."""
    pieces: tuple[Any, int] = label(outline)
    if pieces[1] < 2:
        return outline
    return pieces[0] == 1 + np.bincount(pieces[0].ravel())[1:].argmax()


def in_front_of(outline: Bool[np.ndarray, "j k"], canal: Bool[np.ndarray, "j k"]) -> Bool[np.ndarray, "j k"]:
    """The part of an outline in front of the canal's; the canal's front is continued straight up and down."""
    canal = largest_piece(canal)
    rows = np.flatnonzero(canal.any(axis=0))
    if not len(rows):
        return outline
    # A stray pixel of canal would cut a body in two along its row.
    front = median_filter(canal.shape[0] - 1 - canal[::-1, rows].argmax(axis=0), size=15, mode="nearest")
    limit = np.interp(np.arange(canal.shape[1]), rows, front)
    return outline & (np.arange(canal.shape[0])[:, None] > limit[None, :])
