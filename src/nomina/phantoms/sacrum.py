"""The sacrum: five fused segments that curve, alae, sacral canal, median crest."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nomina.phantoms.canvas import Canvas, Frame
from nomina.phantoms.column import SacralSegment, Vertebra
from nomina.phantoms.morphometry import (
    SACRAL_DEPTHS_MM,
    SACRAL_HEIGHTS_MM,
    SACRAL_WIDTHS_MM,
    TABLE,
)
from nomina.phantoms.shapes import Field, blend_min, ellipse
from nomina.phantoms.tissues import CANAL, INDEX
from nomina.phantoms.vertebra import CORTEX_MM, body

SACRAL_TURNS_DEG = (4.0, 6.0, -8.0, -22.0, -26.0)
"""How much more each segment tilts than the one above (S1: than its own upper endplate) [choice]."""
REMNANT_MM = 2.0
"""Thickness of what is left of the disc between fused segments [choice]."""


def build_sacrum(slope_deg: float, scale: float, curvature: float) -> tuple[SacralSegment, ...]:
    """Five segments below the origin, which is the centre of the upper endplate of S1.

    Args:
        slope_deg: Sacral slope: tilt of the upper endplate against the horizontal.
        scale: Size relative to the mean adult.
        curvature: Factor on the sacral kyphosis; 1 is the mean.
    """
    segments = []
    top, tilt = np.zeros(3), slope_deg
    for rank, (height, turn) in enumerate(zip(SACRAL_HEIGHTS_MM, SACRAL_TURNS_DEG, strict=True), start=1):
        tilt += turn * (curvature if rank > 1 else 0.0)
        frame = Frame.turned(top, tilt)
        frame = Frame(frame.at(0, 0, -height * scale / 2), frame.axes)
        segment = SacralSegment(
            frame=frame,
            height_mm=height * scale,
            upper_depth_mm=SACRAL_DEPTHS_MM[rank - 1] * scale,
            lower_depth_mm=SACRAL_DEPTHS_MM[rank] * scale,
            upper_width_mm=SACRAL_WIDTHS_MM[rank - 1] * scale,
            lower_width_mm=SACRAL_WIDTHS_MM[rank] * scale,
            rank=rank,
        )
        segments.append(segment)
        top = frame.at(0, 0, -height * scale / 2)
    return tuple(segments)


def as_vertebra(segment: SacralSegment) -> Vertebra:
    """The body of a sacral segment in the words of a mobile vertebra, so that body functions serve both."""
    canal_width_mm, canal_depth_mm = sacral_canal(segment)
    # Of the arch's sizes only the canal's mean something here.
    size = replace(
        TABLE["L5"],
        height_mm=segment.height_mm,
        upper_width_mm=segment.upper_width_mm,
        lower_width_mm=segment.lower_width_mm,
        upper_depth_mm=segment.upper_depth_mm,
        lower_depth_mm=segment.lower_depth_mm,
        canal_width_mm=canal_width_mm,
        canal_depth_mm=canal_depth_mm,
    )
    return Vertebra(
        name=f"S{segment.rank} vertebra",
        rank=0,
        frame=segment.frame,
        size=size,
        wedge_deg=0.0,
        waist=0.04,
        upper_concavity_mm=1.0 if segment.rank == 1 else 0.0,
        lower_concavity_mm=0.0,
        disc_height_mm=REMNANT_MM,
        degeneration=5,
        bulge_mm=0.0,
    )


def sacral_canal(segment: SacralSegment) -> tuple[float, float]:
    """Width and depth of the sacral canal in mm; it narrows towards the hiatus [choice]."""
    share = (segment.rank - 1) / 4
    return 27.0 - 14.0 * share, 14.0 - 10.0 * share


def paint_sacrum(canvas: Canvas, segments: Sequence[SacralSegment]) -> None:
    """Paint from S5 up to S1 so that each rim lies over the segment below."""
    for segment in reversed(segments):
        _paint_segment(canvas, segment)
    for segment in segments[:-1]:
        _paint_remnant(canvas, segment)


def _paint_segment(canvas: Canvas, segment: SacralSegment) -> None:
    half = segment.height_mm / 2
    side = 1.05 * segment.upper_width_mm + 4
    box = canvas.box(segment.frame, (-side, -60, -half - 3), (side, 24, half + 2))
    if box is None:
        return
    solid_body = body(as_vertebra(segment), box.x, box.y, box.z)
    solid = blend_min(solid_body, _mass_and_crest(segment, box.x, box.y, box.z), 2.0)
    solid = np.maximum(solid, -_foramina(segment, box.x, box.z))
    held = [INDEX[name] for name in (*CANAL, "epidural fat")]
    free = ~np.isin(canvas.tissues[box.window], held) | (solid_body < 0)
    canvas.paint(box, (solid < 0) & free, "cortical bone", 0)
    canvas.paint(box, (solid < -CORTEX_MM) & free, "marrow")


def _mass_and_crest(segment: SacralSegment, x: Field, y: Field, z: Field) -> Field:
    """Distance to the lateral masses (at S1 the alae), the wall behind the canal and the median crest."""
    width, depth = sacral_canal(segment)
    back, half = as_vertebra(segment).back_mm, segment.height_mm / 2
    place = np.clip(z / segment.height_mm, -0.6, 0.6)
    mass_width = segment.upper_width_mm * (1 + 0.15 * place)
    mass = ellipse(x, y - (back + 3.0), mass_width, 15.5 - 2.2 * segment.rank)
    crest_height = (11.0 - 1.6 * segment.rank) * (1.15 - 1.1 * np.abs(place))
    crest = ellipse(x, y - (back - depth - 2.0), 4.0, crest_height)
    wall = ellipse(x, y - (back - depth / 2), width / 2 + 4.0, depth / 2 + 4.5)
    solid = blend_min(blend_min(wall, crest, 3.0), mass, 3.0)
    # Fused segments overlap; the alae stay below the endplate of S1.
    lid = half - 2.0 if segment.rank == 1 else half + 2.0
    return np.maximum(solid, np.maximum(z - lid, -z - (half + 2.0)))


def _foramina(segment: SacralSegment, x: Field, z: Field) -> Field:
    """Distance to the holes between this segment's lateral mass and the next one's."""
    aside = np.abs(x) - 0.42 * segment.upper_width_mm
    below = z + segment.height_mm / 2
    distance: Field = np.sqrt(aside * aside + below * below) - np.float32(5.0 - 0.5 * segment.rank)
    return distance


def _paint_remnant(canvas: Canvas, segment: SacralSegment) -> None:
    frame = Frame(segment.frame.at(0, 0, -segment.height_mm / 2), segment.frame.axes)
    a, b = 0.48 * segment.lower_width_mm, 0.46 * segment.lower_depth_mm
    box = canvas.box(frame, (-a, -b, -3), (a, b, 3))
    if box is None:
        return
    across = ellipse(box.x, box.y, a, b)
    thickness = REMNANT_MM * (1.2, 0.7, 0.5, 0.4)[segment.rank - 1]
    canvas.paint(box, (across < 0) & (np.abs(box.z) < thickness), "cortical bone")
    canvas.paint(box, (across < -3) & (np.abs(box.z) < thickness - 0.6), "sacral disc")
