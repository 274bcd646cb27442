"""Sizes and angles of vertebrae, discs and canal, from a label map of the spine.

Everything but volumes is read in the plane of the file's sagittal slices, in the midline that the canal shows
(the structure's own middle where there is no canal). A lean or turn of a vertebra against that plane is not
corrected: at 15 degrees a depth is 4 % too long. Depth runs from the posterior wall (0) to the front (1).

    volume_ml            voxels times their volume, if no border of the scan touches the structure;
    visible_volume_ml    the same, always
    height_anterior_mm   of a body: distance between its faces at 7/8 of its depth (middle 1/2, posterior
                         1/8). Heights as Genant 1993; the places are a [choice]: rims are rounded
    wedge_deg            angle between the lines on the rims of both faces; positive: front is taller [choice]
    height_mm            of a disc: mean distance between its faces at 1/4, 1/2 and 3/4 of its depth. Masuda
                         2005; the places are a [choice]: a bulge is no height
    height_index         height of a disc over the mean of the three heights of the vertebra above. Masuda
                         takes both neighbours; ours is a [choice]: S1 is rarely labelled
    area_mm2             of the canal, at each body and disc: area across its own course, over 4 mm [choice]
    depth_mm             of the canal: anterior-posterior diameter in the midline, across its course [choice]
    lordosis_l1_s1_deg   upper face of L1 to that of S1, for which the lower face of the lowest disc stands
                         (Vialle 2005)
    lordosis_l1_l5_deg   upper face of L1 to the lower face of L5, or of L6 where it is labelled [choice]
    slip_mm              lower back corner of a vertebra against the upper back corner of the one below, along
                         the upper face of that one; positive forwards (Meyerding's measure, in mm)

Genant et al., J Bone Miner Res 8:1137 (1993). Masuda et al., Spine 30:5 (2005). Vialle et al., J Bone Joint
Surg 87-A:260 (2005). Meyerding, Surg Gynecol Obstet 54:371 (1932). What cannot be measured is `nan` with a
reason. The canal is what the label map calls so: in SPIDER the dural sac, elsewhere the bony canal.
"""

import numpy as np

from nomina.anatomy.levels import ALL_LEVELS_UPWARDS, EXTRA_LEVELS, levels_in
from nomina.assessment.measurements.measurement import PARTIAL, Measurement
from nomina.assessment.measurements.spine_views import CUT, UNLABELLED, SideView, SpineViews
from nomina.imaging.volume import LabelMap

VERTEBRA = ("height_anterior_mm", "height_middle_mm", "height_posterior_mm", "wedge_deg")
"""Quantities of a vertebral body; the shares of depth of the heights are in `SHARES`."""
SHARES = (0.875, 0.5, 0.125)
DISC_SHARES = (0.25, 0.5, 0.75)


def measure_spine(label_map: LabelMap) -> tuple[Measurement, ...]:
    """Measure every vertebra, disc and canal of a label map, in any axis order.

    Structures that the label map marks as only partly visible get a reason instead of values.
    """
    label_map = label_map.canonical()
    spine = SpineViews(label_map)
    results = [m for name in spine.names for m in _volumes(spine, name)]
    for name in spine.vertebrae:
        results += _vertebra(spine.views[name])
    for name in spine.discs:
        results += _disc(spine, name)
    results += _canal(spine)
    results += _lordosis(spine)
    results += _slips(spine)
    return tuple(results)


def _volumes(spine: SpineViews, name: str) -> list[Measurement]:
    if name in spine.partial:
        return [Measurement.missing(name, "volume_ml", PARTIAL)]
    volume_ml = len(spine.voxels(name)) * spine.label_map.grid.voxel_volume_ml
    visible = Measurement(name, "visible_volume_ml", volume_ml)
    shape = spine.label_map.grid.shape
    if any(a.start == 0 or a.stop == size for a, size in zip(spine.box(name), shape, strict=True)):
        return [visible, Measurement.missing(name, "volume_ml", CUT)]
    return [visible, Measurement(name, "volume_ml", volume_ml)]


def _vertebra(view: SideView) -> list[Measurement]:
    plates = view.plates
    if plates is None:
        return [Measurement.missing(view.name, quantity, view.reason) for quantity in VERTEBRA]
    wedge_deg = plates.angle_deg(of_top=True) - plates.angle_deg(of_top=False)
    values = (*(plates.height_mm(share) for share in SHARES), wedge_deg)
    return [Measurement(view.name, q, value) for q, value in zip(VERTEBRA, values, strict=True)]


def _disc(spine: SpineViews, name: str) -> list[Measurement]:
    view = spine.views[name]
    if view.plates is None:
        return [Measurement.missing(name, q, view.reason) for q in ("height_mm", "height_index")]
    height_mm = float(np.mean([view.plates.height_mm(share) for share in DISC_SHARES]))
    height = Measurement(name, "height_mm", height_mm)
    above = spine.views.get(f"{levels_in(name)[0]} vertebra")
    if above is None or above.plates is None:
        why = "the vertebra above is not in the label map" if above is None else above.obstacle
        return [height, Measurement.missing(name, "height_index", why)]
    body_mm = float(np.mean([above.plates.height_mm(share) for share in SHARES]))
    return [height, Measurement(name, "height_index", height_mm / body_mm)]


def _canal(spine: SpineViews) -> list[Measurement]:
    if spine.canal is None and "spinal canal" not in spine.partial:
        return []
    results = []
    for name in [*spine.vertebrae, *spine.discs]:
        plates = spine.views[name].plates
        if plates is None or spine.canal is None:
            reason = PARTIAL if spine.canal is None else spine.views[name].reason
            pairs = [("area_mm2", float("nan"), reason), ("depth_mm", float("nan"), reason)]
        else:
            section = spine.canal.section(plates.centre_mm, plates.up)
            pairs = [
                ("area_mm2", section.area_mm2, section.area_reason),
                ("depth_mm", section.depth_mm, section.depth_reason),
            ]
        results += [Measurement("spinal canal", q, value, name, reason) for q, value, reason in pairs]
    return results


def _lordosis(spine: SpineViews) -> list[Measurement]:
    top = _level(spine, "L1")
    # Never L4: an angle that ends a vertebra higher is another quantity.
    lowest = _level(spine, "L6" if "L6 vertebra" in spine.views else "L5")
    disc = next((spine.views[n] for n in spine.discs if n.endswith("-S1 disc")), None)
    s1 = spine.views["S1 vertebra"]
    bottom = disc if disc is not None and disc.plates is not None else s1
    return [
        _angle("lordosis_l1_s1_deg", top, bottom, of_top=bottom is s1),
        _angle("lordosis_l1_l5_deg", top, lowest, of_top=False),
    ]


def _level(spine: SpineViews, level: str) -> SideView:
    """A vertebra from the side; without plates where it is not labelled."""
    name = f"{level} vertebra"
    return spine.views.get(name, SideView(name, None, UNLABELLED))


def _angle(quantity: str, top: SideView, bottom: SideView, *, of_top: bool) -> Measurement:
    """From the upper face of `top` to the upper or lower face of `bottom`."""
    if top.plates is None or bottom.plates is None:
        blocked = top if top.plates is None else bottom
        return Measurement.missing("spine", quantity, blocked.obstacle)
    angle_deg = top.plates.angle_deg(of_top=True) - bottom.plates.angle_deg(of_top=of_top)
    return Measurement("spine", quantity, angle_deg)


def _slips(spine: SpineViews) -> list[Measurement]:
    """Each mobile vertebra over the next below."""
    mobile = [name for name in spine.vertebrae if not name.startswith("S")]
    pairs = [(upper, _below(spine, upper)) for upper in mobile]
    return [_slip(spine.views[upper], spine.views.get(lower), lower) for upper, lower in pairs]


def _below(spine: SpineViews, vertebra: str) -> str:
    """The next vertebra below; L6 and T13 are passed over where the spine has none."""
    rank = ALL_LEVELS_UPWARDS.index(vertebra.removesuffix(" vertebra")) - 1
    name = f"{ALL_LEVELS_UPWARDS[rank]} vertebra"
    is_extra = ALL_LEVELS_UPWARDS[rank] in EXTRA_LEVELS
    return f"{ALL_LEVELS_UPWARDS[rank - 1]} vertebra" if is_extra and name not in spine.views else name


def _slip(upper: SideView, lower: SideView | None, lower_name: str) -> Measurement:
    place = f"over {lower_name}"
    if lower is None:
        return Measurement.missing(upper.name, "slip_mm", f"{lower_name} is not in the label map", place)
    if upper.plates is None or lower.plates is None:
        blocked = upper if upper.plates is None else lower
        return Measurement.missing(upper.name, "slip_mm", blocked.obstacle, place)
    return Measurement(upper.name, "slip_mm", upper.plates.slip_mm(lower.plates), place)
