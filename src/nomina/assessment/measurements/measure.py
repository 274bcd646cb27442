"""`measure`: everything that can be measured in a label map."""

from nomina.anatomy.schemes import partly_visible
from nomina.assessment.measurements.lung_vessels import measure_lung_vessels
from nomina.assessment.measurements.measurement import Measurement
from nomina.assessment.measurements.spine import measure_spine
from nomina.assessment.spine_levels import spine_kind
from nomina.assessment.tree_mask import tree_of
from nomina.errors import CaseError
from nomina.imaging.volume import LabelMap


def measure(label_map: LabelMap, lungs: LabelMap | None = None) -> tuple[Measurement, ...]:
    """Measure vertebrae, discs and canal, or pulmonary vessels, whichever the label map holds.

    Args:
        label_map: Named structures, in any axis order.
        lungs: Lungs or lobes on the same grid, for vessels per lung.

    Raises:
        CaseError: The label map holds neither, or lungs were given and there are no vessels.
        GridMismatchError: The lungs lie on another grid.
    """
    present = label_map.present()
    names = {*present, *partly_visible(label_map).values()}
    has_vessels = any(tree_of(name) for name in names)
    has_spine = any(spine_kind(name) or name in ("spinal canal", "sacrum") for name in names)
    if not has_spine and not has_vessels:
        raise CaseError(
            f"nothing to measure: the label map holds {', '.join(present) or 'no named voxel'}; expected "
            f"vertebrae, discs, the spinal canal, pulmonary arteries or pulmonary veins"
        )
    if lungs is not None and not has_vessels:
        raise CaseError("a lung mask was given, but the label map holds no pulmonary vessel; leave it out")
    spine = measure_spine(label_map) if has_spine else ()
    return (*spine, *measure_lung_vessels(label_map, lungs)) if has_vessels else spine
