"""Paints one vertebra: body, pedicles, laminae, processes, ribs."""

import math

import numpy as np

from nomina.phantoms.canvas import Box, Canvas, Mask
from nomina.phantoms.column import Dent, Vertebra
from nomina.phantoms.shapes import Field, blend_max, blend_min, capsule, ellipse, rounded_rectangle
from nomina.phantoms.tissues import CANAL, INDEX

CORTEX_MM = 0.8
"""Thickness of the dark rim of bone on MR [choice: read off SPIDER T2; anatomical cortex is 0.4 mm and
chemical shift and the ligaments widen it]."""


def footprint(vertebra: Vertebra, x: Field, y: Field, z: Field) -> tuple[Field, Field]:
    """Distance to the side wall of the body, and level (0 axis, 1 wall): waisted, hollow at the back."""
    size = vertebra.size
    place = np.clip(z * (2 / size.height_mm), -1, 1)
    narrowing = (1 - vertebra.waist * (1 - place * place)).astype(np.float32)
    half_width = 0.25 * (
        (size.upper_width_mm + size.lower_width_mm) + place * (size.upper_width_mm - size.lower_width_mm)
    )
    half_depth = 0.25 * (
        (size.upper_depth_mm + size.lower_depth_mm) + place * (size.upper_depth_mm - size.lower_depth_mm)
    )
    hollow = 1.2 * np.exp(-((x / 8.0) ** 2)) * (y < 0)
    return rounded_rectangle(x, y - hollow, half_width * narrowing, half_depth * narrowing)


def upper_endplate(vertebra: Vertebra, x: Field, y: Field, level: Field) -> Field:
    """Local z of the upper endplate: tilted by half the wedge, concave inside its rim."""
    height = vertebra.size.height_mm / 2 + vertebra.endplate_slope * y
    return height - _pit(vertebra.upper_concavity_mm, vertebra.upper_dents, x, y, level)


def lower_endplate(vertebra: Vertebra, x: Field, y: Field, level: Field) -> Field:
    """Local z of the lower endplate."""
    height = -vertebra.size.height_mm / 2 - vertebra.endplate_slope * y
    return height + _pit(vertebra.lower_concavity_mm, vertebra.lower_dents, x, y, level)


def _pit(concavity_mm: float, dents: tuple[Dent, ...], x: Field, y: Field, level: Field) -> Field:
    depth = concavity_mm * np.clip(1.05 - level, 0, 1)
    for dent in dents:
        distance2 = (x - dent.x_mm) ** 2 + (y - dent.y_mm) ** 2
        depth = depth + dent.depth_mm * np.exp(-distance2 / (2 * dent.radius_mm**2))
    return depth


def body(vertebra: Vertebra, x: Field, y: Field, z: Field) -> Field:
    """Distance to the vertebral body."""
    wall, level = footprint(vertebra, x, y, z)
    top = z - upper_endplate(vertebra, x, y, level)
    bottom = lower_endplate(vertebra, x, y, level) - z
    return blend_max(wall, np.maximum(top, bottom), 2.0)


def pedicles(vertebra: Vertebra, aside: Field, y: Field, z: Field) -> Field:
    """Distance to both pedicles; `aside` is |x|."""
    size, back = vertebra.size, vertebra.back_mm
    centre = size.canal_width_mm / 2 + size.pedicle_width_mm / 2 - 0.5
    section = ellipse(
        aside - centre, z - 0.16 * size.height_mm, size.pedicle_width_mm / 2, size.pedicle_height_mm / 2
    )
    return np.maximum(section, np.maximum(y - (back + 5), (back - 0.75 * size.canal_depth_mm) - y))


def articular_processes(vertebra: Vertebra, aside: Field, y: Field, z: Field) -> Field:
    """Distance to the superior and inferior articular processes and the pars between them."""
    size, back = vertebra.size, vertebra.back_mm
    half, outside = size.canal_width_mm / 2, size.canal_width_mm / 2 + 0.45 * size.pedicle_width_mm
    reach = size.height_mm / 2 + vertebra.disc_height_mm
    depth = size.canal_depth_mm
    junction = (outside, back - 0.65 * depth, 0.12 * size.height_mm)
    superior = capsule(aside, y, z, junction, (outside + 2.5, back - 0.85 * depth, reach - 3), 5.6)
    waist = (half + 2.0, back - 1.0 * depth, -0.25 * size.height_mm)
    pars = capsule(aside, y, z, junction, waist, 4.8)
    inferior = capsule(aside, y, z, waist, (half + 0.5, back - 1.2 * depth, -reach - 3), 5.2)
    return blend_min(blend_min(superior, pars, 2.0), inferior, 2.0)


def laminae(vertebra: Vertebra, aside: Field, y: Field, z: Field) -> Field:
    """Distance to both laminae: plates that fall from the pars to the root of the spinous process."""
    size, back = vertebra.size, vertebra.back_mm
    lateral, front = size.canal_width_mm / 2 + 2.0, back - 0.75 * size.canal_depth_mm
    root = back - size.canal_depth_mm - 2.4
    share = np.clip((lateral - aside) / lateral, 0, 1)
    plate = np.abs(y - (front + share * (root - front))) * np.float32(0.8) - 2.8
    high = -0.12 * size.height_mm
    middle = high - 0.85 * (high + size.spinous_drop_mm) * share
    edge = np.abs(z - middle) - 0.35 * size.height_mm
    return blend_max(blend_max(plate, edge, 2.0), aside - lateral, 1.0)


def spinous_process(vertebra: Vertebra, x: Field, y: Field, z: Field) -> Field:
    """Distance to the spinous process: a blade, thicker at its tip, that falls by the level's slope."""
    size = vertebra.size
    root = vertebra.back_mm - size.canal_depth_mm - 0.5
    behind = root - y
    share = np.clip(behind / size.spinous_length_mm, 0, 1)
    middle = -size.spinous_drop_mm - behind * math.tan(math.radians(size.spinous_slope_deg))
    blade = np.abs(x) - (2.6 + 2.2 * share * share)
    edge = np.abs(z - middle) - size.spinous_height_mm * (0.40 + 0.12 * share)
    ends = np.abs(behind - size.spinous_length_mm / 2) - size.spinous_length_mm / 2
    return blend_max(blend_max(edge, ends, 9.0), blade, 2.0)


def transverse_processes(vertebra: Vertebra, aside: Field, y: Field, z: Field) -> Field:
    """Distance to both transverse processes."""
    size, back = vertebra.size, vertebra.back_mm
    root = (
        size.canal_width_mm / 2 + size.pedicle_width_mm * 0.6,
        back - 0.65 * size.canal_depth_mm,
        0.1 * size.height_mm,
    )
    tip = (size.transverse_span_mm / 2 - 4, back - 1.0 * size.canal_depth_mm, 0.14 * size.height_mm)
    return capsule(aside, y, z, root, tip, 4.0)


def ribs(vertebra: Vertebra, aside: Field, y: Field, z: Field) -> Field:
    """Distance to the heads and necks of the ribs at the upper half of a thoracic body."""
    size = vertebra.size
    head = (size.upper_width_mm / 2 + 3.5, vertebra.back_mm + 4, 0.35 * size.height_mm)
    angle = (size.transverse_span_mm / 2 + 22, vertebra.back_mm - 26, -0.5 * size.height_mm)
    return capsule(aside, y, z, head, angle, 4.2)


def paint_vertebra(canvas: Canvas, vertebra: Vertebra) -> None:
    """Paint a vertebra over what is there; only the body may cover the contents of the canal."""
    _paint_arch(canvas, vertebra)
    _paint_body(canvas, vertebra)


def _paint_body(canvas: Canvas, vertebra: Vertebra) -> None:
    size = vertebra.size
    width = max(size.upper_width_mm, size.lower_width_mm) / 2 + 2
    depth = max(size.upper_depth_mm, size.lower_depth_mm) / 2 + 2
    tall = size.height_mm / 2 + depth * abs(vertebra.endplate_slope) + 2
    box = canvas.box(vertebra.frame, (-width, -depth, -tall), (width, depth, tall))
    if box is None:
        return
    distance = body(vertebra, box.x, box.y, box.z)
    pedicle_marrow = (canvas.tissues[box.window] == INDEX["marrow"]) & (
        canvas.labels[box.window] == vertebra.rank
    )
    canvas.paint(box, (distance < 0) & ~pedicle_marrow, "cortical bone", vertebra.rank)
    marrow = distance < -CORTEX_MM
    canvas.paint(box, marrow, "marrow")
    for x, y, z, radius in vertebra.lesions:
        near = (box.x - x) ** 2 + (box.y - y) ** 2 + (box.z - z) ** 2 < radius**2
        canvas.paint(box, marrow & near, "marrow lesion")
    canvas.paint(box, _basivertebral_vein(vertebra, box) & (distance < 0), "basivertebral vein")


def _basivertebral_vein(vertebra: Vertebra, box: Box) -> Mask:
    """A flat wedge that enters the middle of the posterior wall and ends halfway to the centre."""
    inward = box.y - vertebra.back_mm * (1 - vertebra.waist)
    opening = np.clip(1 - inward / 11.0, 0, 1)
    return (np.abs(box.z) < 1.8 * opening) & (np.abs(box.x) < 1.5 + 3.5 * opening) & (inward > -3)


def _paint_arch(canvas: Canvas, vertebra: Vertebra) -> None:
    size, back = vertebra.size, vertebra.back_mm
    side = max(size.transverse_span_mm / 2, size.canal_width_mm / 2 + size.pedicle_width_mm) + 3
    behind = back - size.canal_depth_mm - size.spinous_length_mm - 4
    drop = size.spinous_drop_mm + size.spinous_length_mm * math.tan(math.radians(size.spinous_slope_deg))
    drop += size.spinous_height_mm / 2
    reach = size.height_mm / 2 + vertebra.disc_height_mm + 9
    box = canvas.box(vertebra.frame, (-side, behind, -max(reach, drop + 4)), (side, back + 6, reach))
    if box is None:
        return
    aside = np.abs(box.x)
    arch = blend_min(
        pedicles(vertebra, aside, box.y, box.z), articular_processes(vertebra, aside, box.y, box.z), 3.0
    )
    arch = blend_min(arch, laminae(vertebra, aside, box.y, box.z), 2.0)
    arch = blend_min(arch, spinous_process(vertebra, box.x, box.y, box.z), 3.0)
    arch = blend_min(arch, transverse_processes(vertebra, aside, box.y, box.z), 2.0)
    free = ~np.isin(canvas.tissues[box.window], [INDEX[name] for name in (*CANAL, "epidural fat")])
    free &= canvas.labels[box.window] == 0
    canvas.paint(box, (arch < 0) & free, "cortical bone", vertebra.rank)
    canvas.paint(box, (arch < -CORTEX_MM) & free, "marrow")
    if vertebra.has_ribs:
        _paint_ribs(canvas, vertebra)


def _paint_ribs(canvas: Canvas, vertebra: Vertebra) -> None:
    side = vertebra.size.transverse_span_mm / 2 + 30
    box = canvas.box(vertebra.frame, (-side, vertebra.back_mm - 34, -20), (side, vertebra.back_mm + 10, 18))
    if box is None:
        return
    rib = ribs(vertebra, np.abs(box.x), box.y, box.z)
    free = canvas.labels[box.window] == 0
    canvas.paint(box, (rib < 0) & free, "cortical bone")
    canvas.paint(box, (rib < -CORTEX_MM) & free, "marrow")
