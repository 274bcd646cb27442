"""`SpineConfig` and `plan_spine`: draws every number of a spine phantom before a single voxel is painted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nomina.config import config
from nomina.errors import ConfigError
from nomina.phantoms.canal import CanalShape
from nomina.phantoms.canvas import Frame
from nomina.phantoms.column import Dent, SacralSegment, Vertebra
from nomina.phantoms.morphometry import (
    LUMBAR_BODY_SHARE,
    LUMBAR_DISC_SHARE,
    TABLE,
    THORACIC,
    Morphometry,
    lumbar,
    spread,
)
from nomina.phantoms.sacrum import build_sacrum
from nomina.phantoms.surroundings import BodyShape

Range = tuple[float, float]


@config
class SpineConfig:
    """Ranges that spines are drawn from; a range is (lowest, highest), drawn uniformly unless said otherwise.

    Raises:
        ConfigError: A range is reversed or a probability is outside 0 to 1.
    """

    num_lumbar: tuple[tuple[int, float], ...] = ((4, 0.06), (5, 0.88), (6, 0.06))
    """Number of lumbar vertebrae and its probability [choice: other than five is rare, and wanted here]."""
    scale: Range = (0.90, 1.18)
    """Size against the table [Panjabi 1992: SD 6-10 % of most dimensions; SPIDER is 4 % larger]."""
    level_variation: float = 0.03
    """SD of the sizes of neighbouring vertebrae relative to each other [choice]."""
    sacral_slope_deg: Range = (26.0, 52.0)
    """Tilt of the S1 endplate: standing mean 40, SD 8 [Vialle 2005], a little less lying [choice]."""
    lordosis_minus_slope_deg: Range = (2.0, 20.0)
    """Lumbar lordosis (S1 to L1) minus sacral slope, so that lordosis is mostly 35-65 [Vialle 2005]."""
    kyphosis_per_level_deg: Range = (0.5, 4.5)
    """Thoracic kyphosis per level above T12 [Vialle 2005: T4-T12 41 (SD 10)]."""
    scoliosis_probability: float = 0.2
    """Share of spines with a lateral curve [choice]."""
    scoliosis_deg: Range = (4.0, 16.0)
    """Largest lean of a vertebra to the side in a curved spine; about half the Cobb angle [choice]."""
    degeneration: Range = (0.0, 1.0)
    """How worn a spine is: 0 gives Pfirrmann grades 1-2, 1 gives 3-5 [grades: Pfirrmann 2001; choice]."""
    listhesis_probability: float = 0.12
    """Share of spines with a slipped vertebra [choice]."""
    listhesis_mm: Range = (-4.0, 9.0)
    """Slip; forward is positive [choice: Meyerding grade I]."""
    fracture_probability: float = 0.15
    """Share of spines with one or two collapsed vertebrae [choice: over-represented on purpose]."""
    schmorl_probability: float = 0.06
    """Chance of a Schmorl node at one endplate [choice]."""
    lesion_probability: float = 0.06
    """Chance of a round marrow lesion in one body (haemangioma, metastasis) [choice]."""
    conus_rank: Range = (3.6, 6.4)
    """Where the cord ends in ranks from the bottom: T12 to L2 [Saifuddin 1998: mean lower third of L1]."""
    back_fat_mm: Range = (4.0, 45.0)
    """Subcutaneous fat behind the column [choice: SPIDER]."""
    top_level: Range = (4.6, 9.6)
    """Upper border of the image in ranks from the bottom: 5 is the middle of L1, 9 of T9 [choice: SPIDER]."""
    below_s1_mm: Range = (35.0, 115.0)
    """Distance from the S1 endplate to the lower border of the image [choice: SPIDER 45-80]."""
    sacrum_cut_probability: float = 0.08
    """Chance that the image ends within S1 or L5 instead [choice]."""
    depth_mm: Range = (170.0, 300.0)
    """Size of the image from front to back [choice]."""
    in_plane_mm: Range = (0.4, 1.0)
    """Spacing along both in-plane axes [choice]."""
    max_in_plane: int = 640
    """Most voxels along an in-plane axis; the spacing grows where it is exceeded [choice: time]."""
    thin_slices_probability: float = 0.35
    """Chance of a 3D acquisition (0.8-1.3 mm slices) instead of a 2D one (2.5-5 mm) [choice]."""
    num_slices: tuple[int, int] = (9, 30)
    """Number of sagittal slices [choice: SPIDER]."""
    slab_mm: Range = (16.0, 95.0)
    """Least and greatest thickness of the whole slab; the number of slices gives way [choice]."""
    slab_offset_mm: float = 4.0
    """SD of the distance between the slab's centre and the mean midline [choice]."""
    slab_tilt_deg: float = 3.0
    """SD of each of the slab's three rotations against the body [choice]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name.endswith("probability") and not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {value}")
            if isinstance(value, tuple) and name != "num_lumbar" and value[0] > value[1]:
                raise ConfigError(f"{name} must be (lowest, highest), got {value}")
        if not self.num_lumbar or any(count not in (4, 5, 6) for count, _ in self.num_lumbar):
            raise ConfigError(f"num_lumbar knows 4, 5 and 6 vertebrae, got {self.num_lumbar}")


REVISION = 2
"""Goes up whenever the same seed would give another phantom: prepared ones are then made again."""

DEFAULT_CONFIG = SpineConfig()
"""Adults of all shapes, one in three with something to stumble over."""


@dataclass(frozen=True)
class SpinePlan:
    """A spine in numbers: everything that painting needs."""

    vertebrae: tuple[Vertebra, ...]
    """Mobile vertebrae, lowest first."""
    sacrum: tuple[SacralSegment, ...]
    canal: CanalShape
    body: BodyShape
    parameters: dict[str, Any]
    """The same as plain numbers, for the record."""


def plan_spine(rng: np.random.Generator, config: SpineConfig) -> SpinePlan:
    """Draw a spine; its S1 endplate is at the origin of RAS+ space."""
    counts, weights = zip(*config.num_lumbar, strict=True)
    num_lumbar = int(rng.choice(counts, p=np.array(weights) / sum(weights)))
    scale = rng.uniform(*config.scale)
    slope = rng.uniform(*config.sacral_slope_deg)
    sacrum = build_sacrum(slope, scale, rng.uniform(0.4, 1.4))
    drafts = _draft_vertebrae(rng, config, num_lumbar, scale)
    curves = _draw_curves(rng, config, num_lumbar, slope)
    slips = _slips(rng, config, len(drafts))
    vertebrae = _stack(rng, drafts, curves, slips, config)
    canal = _draw_canal(rng, config, num_lumbar, scale)
    body = _draw_body(rng, config)
    parameters = _record(vertebrae, canal, body) | {
        "num_lumbar": num_lumbar,
        "scale": round(scale, 4),
        "sacral_slope_deg": round(slope, 2),
        "lordosis_deg": round(curves.lordosis_deg, 2),
        "kyphosis_per_level_deg": round(curves.kyphosis_per_level_deg, 2),
        "lateral_curve_deg": round(curves.lateral_deg, 2),
        "slips_mm": [round(float(slip), 2) for slip in slips],
    }
    return SpinePlan(vertebrae, sacrum, canal, body, parameters)


def _draw_canal(rng: np.random.Generator, config: SpineConfig, num_lumbar: int, scale: float) -> CanalShape:
    conus_rank = float(np.clip(rng.normal(5.1, 0.6), *config.conus_rank))
    return CanalShape(
        sac_share=rng.uniform(0.64, 0.87),
        conus_rank=conus_rank + num_lumbar - 5,
        sac_end=rng.uniform(0.9, 2.3),
        cord_radius_mm=scale * rng.uniform(2.9, 3.7),
        num_roots=int(rng.integers(10, 19)),
    )


def _draw_body(rng: np.random.Generator, config: SpineConfig) -> BodyShape:
    return BodyShape(
        back_fat_mm=rng.uniform(*config.back_fat_mm),
        fat_infiltration=rng.beta(1.5, 3.0),
        abdomen_mm=rng.uniform(55.0, 150.0),
        front_fat_mm=rng.uniform(16.0, 45.0),
        muscle_mm=rng.uniform(2.0, 14.0),
    )


@dataclass(frozen=True)
class _Draft:
    """A vertebra before it has a place."""

    name: str
    size: Morphometry
    wedge_deg: float
    fracture: str
    degeneration: int
    disc_height_mm: float
    concavity_mm: tuple[float, float]
    """Depth of the upper and the lower endplate; means 0.7 and 1.5 mm [Wang 2012], widened [choice]."""
    has_ribs: bool


HEIGHT_OF_GRADE = (1.1, 1.0, 0.88, 0.70, 0.45)
"""Disc height by Pfirrmann grade, against the table [choice; grades 4-5 lose height by definition]."""


def _draft_vertebrae(
    rng: np.random.Generator, config: SpineConfig, num_lumbar: int, scale: float
) -> list[_Draft]:
    names = [f"L{number}" for number in range(num_lumbar, 0, -1)] + list(THORACIC)
    wear, disc_stature = rng.uniform(*config.degeneration), rng.normal(1.0, 0.04)
    fractured = _fractures(rng, config)
    drafts = []
    for index, name in enumerate(names):
        mean = lumbar(index, num_lumbar) if index < num_lumbar else TABLE[name]
        size = mean.scaled(scale * rng.normal(1, config.level_variation))
        grade = _grade(rng, wear, index)
        disc_height = size.disc_height_mm * disc_stature * HEIGHT_OF_GRADE[grade - 1] * rng.normal(1, 0.08)
        draft = _Draft(
            name=f"{name} vertebra",
            size=size,
            wedge_deg=0.0,
            fracture=fractured.get(index, "none"),
            degeneration=grade,
            disc_height_mm=max(disc_height, 2.5),
            concavity_mm=(rng.uniform(0.2, 1.8), rng.uniform(0.6, 2.6)),
            has_ribs=index >= num_lumbar,
        )
        drafts.append(_fractured(draft, rng.uniform(0.2, 0.5)))
    return drafts


def _fractures(rng: np.random.Generator, config: SpineConfig) -> dict[int, str]:
    """Which vertebrae (0 = lowest) are fractured, and Genant's shape of each."""
    if rng.random() >= config.fracture_probability:
        return {}
    indices = rng.choice(np.arange(1, 8), size=int(rng.integers(1, 3)), replace=False)
    return {int(index): str(rng.choice(["wedge", "biconcave", "crush"])) for index in indices}


def _grade(rng: np.random.Generator, wear: float, index: int) -> int:
    """Pfirrmann grade; the two lowest discs wear first."""
    centre = 1.4 + 2.6 * wear + (0.5 * wear if index < 2 else 0.0) - (0.4 if index > 4 else 0.0)
    return int(np.clip(round(rng.normal(centre, 0.7)), 1, 5))


def _fractured(draft: _Draft, loss: float) -> _Draft:
    """Wedge: the front has lost this share of the height; biconcave: the middle; crush: all of it."""
    height = draft.size.height_mm
    match draft.fracture:
        case "wedge":
            angle = np.degrees(np.arctan(loss * height / draft.size.upper_depth_mm))
            size = replace(draft.size, height_mm=height * (1 - loss / 2))
            return replace(draft, size=size, wedge_deg=-angle)
        case "biconcave":
            return replace(draft, concavity_mm=(0.45 * loss * height, 0.35 * loss * height))
        case "crush":
            return replace(draft, size=replace(draft.size, height_mm=height * (1 - loss)))
        case _:
            return draft


def _slips(rng: np.random.Generator, config: SpineConfig, count: int) -> np.ndarray:
    slips = rng.normal(0, 0.4, count)
    if rng.random() < config.listhesis_probability:
        slips[int(rng.integers(0, 3))] = rng.uniform(*config.listhesis_mm)
    return slips


@dataclass(frozen=True)
class _Curves:
    """How the column bends, from the sacrum up."""

    num_lumbar: int
    sacral_slope_deg: float
    lordosis_deg: float
    kyphosis_per_level_deg: float
    lateral_deg: float
    """Largest lean to the right; negative to the left."""
    lateral_apex: float
    """Rank that does not lean: the apex of the lateral curve."""
    lateral_length: float
    """Ranks of one full wave."""

    def angles_deg(self, index: int, rng: np.random.Generator) -> tuple[float, float]:
        """Wedge of the disc below a vertebra and of its body."""
        if index < self.num_lumbar:
            disc = self.lordosis_deg * spread(LUMBAR_DISC_SHARE, index, self.num_lumbar)
            return disc, self.lordosis_deg * spread(LUMBAR_BODY_SHARE, index, self.num_lumbar)
        return rng.normal(0.0, 0.6), -self.kyphosis_per_level_deg

    def lean_and_turn_deg(self, index: int) -> tuple[float, float]:
        """Lean to the side and axial rotation; a scoliotic vertebra turns most at the apex."""
        phase = 2 * np.pi * (index + 1 - self.lateral_apex) / self.lateral_length
        free = min((index + 1) / 2, 1.0)
        return self.lateral_deg * free * np.sin(phase), 0.9 * self.lateral_deg * free * np.cos(phase)


def _draw_curves(rng: np.random.Generator, config: SpineConfig, num_lumbar: int, slope: float) -> _Curves:
    is_scoliotic = rng.random() < config.scoliosis_probability
    lateral = rng.uniform(*config.scoliosis_deg) if is_scoliotic else rng.uniform(0, 2.5)
    return _Curves(
        num_lumbar=num_lumbar,
        sacral_slope_deg=slope,
        lordosis_deg=slope + rng.uniform(*config.lordosis_minus_slope_deg),
        kyphosis_per_level_deg=rng.uniform(*config.kyphosis_per_level_deg),
        lateral_deg=lateral * float(rng.choice([-1, 1])),
        lateral_apex=rng.uniform(2.0, 5.0),
        lateral_length=rng.uniform(5.0, 9.0),
    )


def _stack(
    rng: np.random.Generator,
    drafts: Sequence[_Draft],
    curves: _Curves,
    slips: np.ndarray,
    config: SpineConfig,
) -> tuple[Vertebra, ...]:
    """Put each vertebra on the one below, disc between, following the curves."""
    tilt, top = curves.sacral_slope_deg, np.zeros(3)
    frame = Frame.turned(top, tilt)
    vertebrae: list[Vertebra] = []
    for index, draft in enumerate(drafts):
        disc_angle, wedge = curves.angles_deg(index, rng)
        wedge += draft.wedge_deg
        # A disc that has lost height has lost part of its wedge too.
        disc_angle *= 0.75 + 0.25 * min(draft.disc_height_mm / draft.size.disc_height_mm, 1.2)
        tilt -= disc_angle + wedge / 2
        axes = Frame.turned(top, tilt, *curves.lean_and_turn_deg(index)).axes
        across = frame.axes[:, 2] + axes[:, 2]
        bottom = (
            top + across / np.linalg.norm(across) * draft.disc_height_mm + frame.axes[:, 1] * slips[index]
        )
        frame = Frame(bottom + axes[:, 2] * draft.size.height_mm / 2, axes)
        top = frame.at(0, 0, draft.size.height_mm / 2)
        tilt -= wedge / 2
        vertebrae.append(_placed(rng, draft, frame, wedge, index + 1, config))
    return tuple(vertebrae)


def _placed(
    rng: np.random.Generator, draft: _Draft, frame: Frame, wedge_deg: float, rank: int, config: SpineConfig
) -> Vertebra:
    size = draft.size

    def dents() -> tuple[Dent, ...]:
        if rng.random() >= config.schmorl_probability:
            return ()
        place = rng.uniform(-0.2, 0.2, 2) * (size.upper_width_mm, size.upper_depth_mm)
        return (Dent(float(place[0]), float(place[1]), rng.uniform(2.5, 5.0), rng.uniform(2.0, 6.0)),)

    lesions: tuple[tuple[float, float, float, float], ...] = ()
    if rng.random() < config.lesion_probability:
        centre = rng.uniform(-0.3, 0.3, 3) * (size.upper_width_mm, size.upper_depth_mm, size.height_mm)
        lesions = ((float(centre[0]), float(centre[1]), float(centre[2]), rng.uniform(3.0, 9.0)),)
    return Vertebra(
        name=draft.name,
        rank=rank,
        frame=frame,
        size=size,
        wedge_deg=wedge_deg,
        waist=rng.uniform(0.05, 0.12),
        upper_concavity_mm=draft.concavity_mm[0],
        lower_concavity_mm=draft.concavity_mm[1],
        disc_height_mm=draft.disc_height_mm,
        degeneration=draft.degeneration,
        bulge_mm=rng.uniform(0.0, 0.8) + max(draft.degeneration - 2, 0) * rng.uniform(0.2, 1.3),
        has_ribs=draft.has_ribs,
        fracture=draft.fracture,
        upper_dents=dents(),
        lower_dents=dents(),
        lesions=lesions,
    )


def _record(vertebrae: Sequence[Vertebra], canal: CanalShape, body: BodyShape) -> dict[str, Any]:
    return {
        "vertebrae": [
            {
                "name": v.name,
                "label": v.rank,
                "centre_mm": [round(float(c), 2) for c in v.frame.origin_mm],
                "height_mm": round(float(v.size.height_mm), 2),
                "depth_mm": round(float(v.size.upper_depth_mm + v.size.lower_depth_mm) / 2, 2),
                "width_mm": round(float(v.size.upper_width_mm + v.size.lower_width_mm) / 2, 2),
                "wedge_deg": round(float(v.wedge_deg), 2),
                "disc_below_height_mm": round(float(v.disc_height_mm), 2),
                "disc_below_grade": v.degeneration,
                "disc_below_bulge_mm": round(float(v.bulge_mm), 2),
                "fracture": v.fracture,
                "num_schmorl_nodes": len(v.upper_dents) + len(v.lower_dents),
                "num_lesions": len(v.lesions),
            }
            for v in vertebrae
        ],
        "canal": {name: round(float(value), 3) for name, value in vars(canal).items()},
        "body": {name: round(float(value), 3) for name, value in vars(body).items()},
    }
