"""Paints one disc between two endplates, and the ligaments around the column."""

import numpy as np

from nomina.phantoms.canvas import Canvas, Frame
from nomina.phantoms.column import Vertebra, middle_frame
from nomina.phantoms.shapes import rounded_rectangle
from nomina.phantoms.vertebra import footprint, lower_endplate, upper_endplate

NUCLEUS_OF_GRADE = {
    1: "nucleus",
    2: "nucleus",
    3: "dehydrated nucleus",
    4: "degenerated nucleus",
    5: "degenerated nucleus",
}
"""Signal of the nucleus falls with the Pfirrmann grade (Pfirrmann et al., Spine 26(17):1873-1878, 2001)."""
LIGAMENT_MM = 1.2
"""Annulus fibres and longitudinal ligaments around a disc, dark on every contrast [choice]."""


def paint_disc(canvas: Canvas, upper: Vertebra, lower: Vertebra) -> None:
    """Paint the disc between two vertebrae (`lower` may be S1): all the room between the endplates."""
    frame = disc_frame(upper, lower)
    half_width = 0.25 * (upper.size.lower_width_mm + lower.size.upper_width_mm)
    half_depth = 0.25 * (upper.size.lower_depth_mm + lower.size.upper_depth_mm)
    reach = upper.disc_height_mm / 2 + 12
    box = canvas.box(
        frame, (-half_width - 6, -half_depth - 6, -reach), (half_width + 6, half_depth + 6, reach)
    )
    if box is None:
        return
    upper_x, upper_y, upper_z = canvas.coordinates(upper.frame, box.window)
    lower_x, lower_y, lower_z = canvas.coordinates(lower.frame, box.window)
    _, upper_level = footprint(upper, upper_x, upper_y, upper_z)
    _, lower_level = footprint(lower, lower_x, lower_y, lower_z)
    below = lower_endplate(upper, upper_x, upper_y, upper_level) - upper_z
    above = lower_z - upper_endplate(lower, lower_x, lower_y, lower_level)
    room = np.minimum(below, above)
    # A bulging disc is fullest at mid-height, as its fibres arch outwards.
    bulge = upper.bulge_mm * np.clip(room * (4 / upper.disc_height_mm), 0.3, 1)
    bulge = np.where(box.y < 0, bulge, 0.5 * bulge)
    hollow = 1.0 * np.exp(-((box.x / 8.0) ** 2)) * (box.y < 0) * (upper.bulge_mm < 2)
    wall, _ = rounded_rectangle(box.x, box.y - hollow, half_width, half_depth)
    between = room > 0
    canvas.paint(box, between & (wall < bulge + LIGAMENT_MM), "ligament", 0)
    canvas.paint(box, between & (wall < bulge), "annulus", 200 + upper.rank)
    # The nucleus lies a little behind the middle and thins out towards its rim.
    _, core = rounded_rectangle(box.x, box.y + 0.1 * half_depth, 0.68 * half_width, 0.62 * half_depth)
    nucleus = (core < 1) & (room > upper.disc_height_mm * (0.10 + 0.25 * core))
    canvas.paint(box, nucleus, NUCLEUS_OF_GRADE[upper.degeneration])
    if upper.degeneration == 2:
        cleft = nucleus & (np.abs(below - above) < 1.2) & (core < 0.8)
        canvas.paint(box, cleft, "dehydrated nucleus")


def disc_frame(upper: Vertebra, lower: Vertebra) -> Frame:
    """Halfway between the endplates that face each other."""
    return middle_frame(lower.frame, upper.frame, lower.top_mm, upper.bottom_mm)


def paint_body_ligaments(canvas: Canvas, vertebra: Vertebra) -> None:
    """A thin dark layer around a body: longitudinal ligaments, periosteum."""
    size = vertebra.size
    width = max(size.upper_width_mm, size.lower_width_mm) / 2 + 4
    depth = max(size.upper_depth_mm, size.lower_depth_mm) / 2 + 4
    half = size.height_mm / 2
    box = canvas.box(vertebra.frame, (-width, -depth, -half), (width, depth, half))
    if box is not None:
        wall, _ = footprint(vertebra, box.x, box.y, box.z)
        canvas.paint(box, (wall < 0.8) & (np.abs(box.z) < half), "ligament", 0)
