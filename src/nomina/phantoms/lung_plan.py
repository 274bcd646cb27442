"""What varies from one chest to the next: `LungConfig` (ranges, basis), `ThoraxShape` (one draw).

Publications that a default rests on; everything else is a choice made by looking at chest CT:
    [Murray 1926]    Murray, Proc Natl Acad Sci USA 12:207: least work gives the exponent 3
    [Nakamura 2014]  Nakamura & Awa, Physiol Rep 2:e00236: 2.33 in elastic arteries, pulmonary ones too
    [Truong 2012]    Truong et al., Circ Cardiovasc Imaging 5:147: pulmonary trunk 25.1 (SD 2.8) mm
    [Weibel 1963]    Weibel, Morphometry of the Human Lung: trachea 18 mm, then 12.2, 8.3, 5.6, 4.5 mm
"""

from dataclasses import dataclass

import numpy as np

from nomina.errors import ConfigError
from nomina.imaging.grid import Grid
from nomina.phantoms.shapes import Field

Range = tuple[float, float]

REVISION = 1
"""Goes up whenever the same seed gives another chest."""


@dataclass(frozen=True)
class LungConfig:
    """Ranges that a chest is drawn from, uniformly where nothing else is said."""

    scale: Range = (0.93, 1.05)
    """Overall size; 1 is the adult whose profile `lung_thorax` holds [choice]."""
    proportion: Range = (0.95, 1.05)
    """Further factor of width, depth and height, one draw each [choice]."""
    dome_mm: Range = (-112.0, -98.0)
    """Height of the right dome of the diaphragm [choice: full inspiration]."""
    dome_difference_mm: Range = (6.0, 20.0)
    """How much lower the left dome stands [choice]."""
    oblique_deg: Range = (44.0, 58.0)
    """Slope of the oblique fissures from the axial plane [choice]."""
    oblique_mm: Range = (20.0, 36.0)
    """Height of the oblique fissures 60 mm behind the carina: about T5 [choice]."""
    horizontal_mm: Range = (-44.0, -30.0)
    """Height of the horizontal fissure [choice]."""
    trunk_diameter_mm: Range = (22.5, 28.5)
    """Pulmonary trunk [Truong 2012]."""
    trachea_diameter_mm: Range = (15.5, 19.5)
    """Trachea [Weibel 1963: 18 mm, widened]."""
    artery_exponent: float = 2.33
    """Exponent of Murray's law in arteries and veins [Nakamura 2014; 2 keeps the area, Murray has 3]."""
    airway_exponent: float = 2.7
    """The same in airways [choice: gives Weibel's main and lobar bronchi from his trachea]."""
    smallest_diameter_mm: Range = (1.0, 1.15)
    """Diameter of the ends of the arteries and veins [choice: what a 1 mm CT just shows]."""
    smallest_airway_mm: float = 1.8
    """Airways of smaller lumen are left out [choice: what a 1 mm CT shows]."""
    tortuosity: Range = (0.08, 0.16)
    """SD of the random part of a growing branch's direction [choice]."""
    muscle_mm: Range = (10.0, 22.0)
    """Depth of the muscles outside the ribs [choice]."""
    fat_mm: Range = (6.0, 26.0)
    """Subcutaneous fat [choice]."""
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Voxel size along R, A, S."""
    margin_mm: float = 42.0
    """Room around the lungs: about 42 shows the whole chest wall, 8 is a crop around the lungs [choice]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and name != "spacing_mm" and value[0] > value[1]:
                raise ConfigError(f"{name} must be (lowest, highest), got {value}")
        if min(self.spacing_mm) < 0.3 or max(self.spacing_mm) > 5.0:
            raise ConfigError(f"spacing_mm must lie between 0.3 and 5 mm, got {self.spacing_mm}")
        for name in ("artery_exponent", "airway_exponent"):
            if not 1.5 <= getattr(self, name) <= 4.0:
                raise ConfigError(f"{name} must lie between 1.5 and 4, got {getattr(self, name)}")
        if self.smallest_diameter_mm[0] < 0.7:
            raise ConfigError(
                f"smallest_diameter_mm must be at least 0.7 mm (a tree of finer ends takes hours), "
                f"got {self.smallest_diameter_mm[0]}"
            )


DEFAULT_LUNG = LungConfig()
"""Adults in full inspiration."""


@dataclass(frozen=True)
class ThoraxShape:
    """Sizes and angles of one thorax."""

    factors: tuple[float, float, float]
    """Size along R, A, S relative to the standard thorax."""
    right_dome_mm: float
    left_dome_mm: float
    oblique_deg: tuple[float, float]
    """Right, left."""
    oblique_mm: tuple[float, float]
    horizontal_mm: float
    muscle_mm: float
    fat_mm: float

    def standard(self, x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Coordinates of the drawn body in the standard thorax."""
        a, b, c = (np.float32(f) for f in self.factors)
        return x / a, y / b, z / c

    def to_body(self, points_mm: np.ndarray) -> np.ndarray:
        """Points of the standard thorax in the drawn body."""
        return np.asarray(points_mm, dtype=float) * np.array(self.factors)

    def box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of a box that holds the body from the neck to the upper abdomen."""
        low, high = np.array([-205.0, -150.0, -236.0]), np.array([205.0, 150.0, 132.0])
        return self.to_body(low), self.to_body(high)


def draw_shape(rng: np.random.Generator, config: LungConfig) -> ThoraxShape:
    """Draw a thorax."""
    scale = rng.uniform(*config.scale)
    factors = scale * rng.uniform(*config.proportion, 3)
    dome = rng.uniform(*config.dome_mm)
    return ThoraxShape(
        factors=(float(factors[0]), float(factors[1]), float(factors[2])),
        right_dome_mm=dome,
        left_dome_mm=dome - rng.uniform(*config.dome_difference_mm),
        oblique_deg=(rng.uniform(*config.oblique_deg), rng.uniform(*config.oblique_deg)),
        oblique_mm=(rng.uniform(*config.oblique_mm), rng.uniform(*config.oblique_mm)),
        horizontal_mm=rng.uniform(*config.horizontal_mm),
        muscle_mm=rng.uniform(*config.muscle_mm),
        fat_mm=rng.uniform(*config.fat_mm),
    )


def lung_grid(low_mm: np.ndarray, high_mm: np.ndarray, config: LungConfig) -> Grid:
    """A grid around the lungs' bounding box; along S the margin is at most 12 mm."""
    margin = np.array([config.margin_mm, config.margin_mm, min(config.margin_mm, 12.0)])
    spacing = np.array(config.spacing_mm)
    start, stop = low_mm - margin, high_mm + margin
    shape = np.ceil((stop - start) / spacing).astype(int)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.round(start, 3)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
