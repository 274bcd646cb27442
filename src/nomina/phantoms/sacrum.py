"""The sacrum: five fused segments that curve, alae, sacral canal, median crest."""

from collections.abc import Sequence

import numpy as np

from nomina.phantoms.canvas import Canvas, Frame
from nomina.phantoms.column import SacralSegment, Vertebra
from nomina.phantoms.morphometry import (
    SACRAL_DEPTHS_MM,
    SACRAL_HEIGHTS_MM,
    SACRAL_WIDTHS_MM,
    TABLE,
    Morphometry,
)
from nomina.phantoms.shapes import blend_min, ellipse
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
    size = Morphometry(
        *(
            segment.height_mm,
            segment.upper_width_mm,
            segment.lower_width_mm,
            segment.upper_depth_mm,
            segment.lower_depth_mm,
        ),
        *_arch_sizes(segment),
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


def _arch_sizes(segment: SacralSegment) -> tuple[float, ...]:
    """The remaining fields of `Morphometry`, from L5; only the canal's are used."""
    lowest = TABLE["L5"]
    return (
        sacral_canal(segment)[0],
        sacral_canal(segment)[1],
        lowest.pedicle_width_mm,
        lowest.pedicle_height_mm,
        lowest.transverse_span_mm,
        lowest.spinous_length_mm,
        lowest.spinous_height_mm,
        lowest.spinous_drop_mm,
        lowest.spinous_slope_deg,
        REMNANT_MM,
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
    vertebra = as_vertebra(segment)
    width, depth = sacral_canal(segment)
    back = vertebra.back_mm
    x, y, z = box.x, box.y, box.z
    aside = np.abs(x)
    place = z / segment.height_mm
    alae = ellipse(
        aside, y - (back + 1.0), 0.95 * segment.upper_width_mm * (1 + 0.15 * place), 9.5 - 0.8 * segment.rank
    )
    crest_z = np.minimum(np.abs(place), 0.6)
    crest = ellipse(x, y - (back - depth - 2.0), 4.0, (11.0 - 1.6 * segment.rank) * (1.15 - 1.1 * crest_z))
    shell = ellipse(x, y - (back - depth / 2), width / 2 + 4.0, depth / 2 + 4.5)
    arch = blend_min(blend_min(shell, crest, 3.0), alae, 3.0)
    arch = np.maximum(arch, np.abs(z) - (half + 2.0))
    solid = blend_min(body(vertebra, x, y, z), arch, 2.0)
    foramen = np.sqrt((aside - 0.42 * segment.upper_width_mm) ** 2 + (z + half) ** 2) - (
        5.0 - 0.5 * segment.rank
    )
    solid = np.maximum(solid, -foramen)
    solid = (
        np.maximum(solid, z - half + (aside > segment.upper_width_mm / 2) * 2.0)
        if segment.rank == 1
        else solid
    )
    held = [INDEX[name] for name in (*CANAL, "epidural fat")]
    free = ~np.isin(canvas.tissues[box.window], held) | (body(vertebra, x, y, z) < 0)
    canvas.paint(box, (solid < 0) & free, "cortical bone", 0)
    canvas.paint(box, (solid < -CORTEX_MM) & free, "marrow")


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
