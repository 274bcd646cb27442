"""The column: how vertebrae stand on the sacrum. Frames and sizes only, no voxels."""

import math
from dataclasses import dataclass

import numpy as np

from nomina.phantoms.canvas import Frame
from nomina.phantoms.morphometry import Morphometry


@dataclass(frozen=True)
class Dent:
    """A Schmorl node: a pit in an endplate."""

    x_mm: float
    y_mm: float
    radius_mm: float
    depth_mm: float


@dataclass(frozen=True)
class Vertebra:
    """One vertebra with the disc below it, in place."""

    name: str
    """Anatomical name, e.g. "L4 vertebra"."""
    rank: int
    """1 = the lowest mobile vertebra."""
    frame: Frame
    """Origin in the middle of the body."""
    size: Morphometry
    wedge_deg: float
    """Angle between the endplates; positive when the front is taller."""
    waist: float
    """How much narrower the body is at mid-height (share)."""
    upper_concavity_mm: float
    lower_concavity_mm: float
    disc_height_mm: float
    """Middle of the disc below, as it is (after degeneration)."""
    degeneration: int
    """Grade of the disc below, 1 (healthy) to 5 (collapsed), after Pfirrmann."""
    bulge_mm: float
    """How far the disc below stands out over the endplates' rims."""
    has_ribs: bool = False
    fracture: str = "none"
    """"none", or the shape after Genant: "wedge", "biconcave", "crush"."""
    upper_dents: tuple[Dent, ...] = ()
    lower_dents: tuple[Dent, ...] = ()
    lesions: tuple[tuple[float, float, float, float], ...] = ()
    """Marrow lesions: centre x, y, z in the frame and radius, in mm."""

    @property
    def back_mm(self) -> float:
        """Local y of the middle of the posterior wall."""
        return -(self.size.upper_depth_mm + self.size.lower_depth_mm) / 4

    @property
    def endplate_slope(self) -> float:
        """Rise of the upper endplate per mm towards the front; the lower one falls as much."""
        return math.tan(math.radians(self.wedge_deg / 2))

    @property
    def top_mm(self) -> np.ndarray:
        """RAS+ centre of the upper endplate's rim."""
        return self.frame.at(0, 0, self.size.height_mm / 2)

    @property
    def bottom_mm(self) -> np.ndarray:
        """RAS+ centre of the lower endplate's rim."""
        return self.frame.at(0, 0, -self.size.height_mm / 2)


@dataclass(frozen=True)
class SacralSegment:
    """One of S1 to S5: a tapered body, its share of the alae and of the posterior wall."""

    frame: Frame
    height_mm: float
    upper_depth_mm: float
    lower_depth_mm: float
    upper_width_mm: float
    lower_width_mm: float
    rank: int
    """1 for S1."""


def middle_frame(lower: Frame, upper: Frame, lower_point: np.ndarray, upper_point: np.ndarray) -> Frame:
    """The frame of a disc: halfway between two vertebrae in place and orientation."""
    left, _, right = np.linalg.svd(lower.axes + upper.axes)
    return Frame((lower_point + upper_point) / 2, left @ right)
