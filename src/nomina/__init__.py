"""Name the anatomy, get the mask: 3D medical image segmentation from words.

Public names are imported when they are first used, so that `import nomina` takes no time and needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nomina.anatomy.conversion import convert
    from nomina.anatomy.resolve import resolve
    from nomina.anatomy.schemes import LabelScheme, load_scheme, read_label_map
    from nomina.anatomy.structures import Structure, structure, vocabulary
    from nomina.assessment.evaluate import evaluate
    from nomina.errors import NominaError
    from nomina.imaging.grid import Grid
    from nomina.imaging.read import read_volume
    from nomina.imaging.segmentation import Segmentation, Verdict
    from nomina.imaging.volume import LabelMap, Volume
    from nomina.imaging.write import write
    from nomina.inference.segmenter import Segmenter
    from nomina.phantoms.render import phantom_case
    from nomina.reporting.figures import overlay_figure, save_overlay
    from nomina.reporting.sidecar import write_sidecar

_HOMES = {
    "Grid": "nomina.imaging.grid",
    "LabelMap": "nomina.imaging.volume",
    "LabelScheme": "nomina.anatomy.schemes",
    "NominaError": "nomina.errors",
    "Segmentation": "nomina.imaging.segmentation",
    "Segmenter": "nomina.inference.segmenter",
    "Structure": "nomina.anatomy.structures",
    "Verdict": "nomina.imaging.segmentation",
    "Volume": "nomina.imaging.volume",
    "convert": "nomina.anatomy.conversion",
    "evaluate": "nomina.assessment.evaluate",
    "load_scheme": "nomina.anatomy.schemes",
    "overlay_figure": "nomina.reporting.figures",
    "phantom_case": "nomina.phantoms.render",
    "read_label_map": "nomina.anatomy.schemes",
    "read_volume": "nomina.imaging.read",
    "resolve": "nomina.anatomy.resolve",
    "save_overlay": "nomina.reporting.figures",
    "structure": "nomina.anatomy.structures",
    "vocabulary": "nomina.anatomy.structures",
    "write": "nomina.imaging.write",
    "write_sidecar": "nomina.reporting.sidecar",
}
"""Module that each public name is imported from."""

__all__ = [
    "Grid",
    "LabelMap",
    "LabelScheme",
    "NominaError",
    "Segmentation",
    "Segmenter",
    "Structure",
    "Verdict",
    "Volume",
    "convert",
    "evaluate",
    "load_scheme",
    "overlay_figure",
    "phantom_case",
    "read_label_map",
    "read_volume",
    "resolve",
    "save_overlay",
    "structure",
    "vocabulary",
    "write",
    "write_sidecar",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nomina")
    if name not in _HOMES:
        raise AttributeError(f"module 'nomina' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
