"""The central anatomy: bronchi, pulmonary arteries and veins up to the lobes, heart and great vessels.

Points are RAS+ mm of the standard thorax (see `lung_thorax`), placed as textbooks describe: the right artery
crosses in front of the right main bronchus and then lies beside it, the left one arches over the left main
bronchus, upper veins lie in front, lower veins enter the atrium below and behind. Coordinates are choices.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nomina.phantoms.lung_growth import Skeleton, smoothed
from nomina.phantoms.lung_plan import ThoraxShape
from nomina.phantoms.lung_solids import Ellipsoid, Solid, Tube, axis_turn

Points = tuple[tuple[float, float, float], ...]

CARINA: Points = ((0, -4, -7),)
LEFT_ATRIUM = (-4.0, 0.0, -58.0)
"""Centre of the left atrium, the root of the veins."""
LEFT_ATRIUM_AXES = (28.0, 16.0, 16.0)


@dataclass(frozen=True)
class Stem:
    """One central branch, from the stem that it leaves to its own end."""

    name: str
    parent: str
    points: Points
    side: int
    """-1 left, 1 right, 0 both."""


AIRWAY_STEMS = (
    Stem("trachea", "", ((3, 11, 104), (3, 7, 70), (2, 2, 40), (1, -2, 15), *CARINA), 0),
    Stem("right main", "trachea", ((9, -6, -13), (18, -8, -19)), 1),
    Stem("right upper lobe", "right main", ((27, -9, -17), (35, -9, -14)), 1),
    Stem("intermediate", "right main", ((23, -10, -32), (27, -12, -44)), 1),
    Stem("right middle lobe", "intermediate", ((29, -2, -52), (38, 8, -61)), 1),
    Stem("right lower lobe", "intermediate", ((30, -18, -55), (34, -23, -64)), 1),
    Stem("left main", "trachea", ((-12, -6, -14), (-28, -8, -23), (-42, -9, -31)), -1),
    Stem("left upper lobe", "left main", ((-50, -5, -29), (-58, -2, -26)), -1),
    Stem("left lower lobe", "left main", ((-45, -17, -43), (-46, -24, -54)), -1),
)
"""Trachea to lobar bronchi."""

ARTERY_STEMS = (
    Stem("trunk", "", ((-16, 52, -52), (-20, 45, -40), (-22, 36, -28), (-20, 26, -20)), 0),
    Stem("right artery", "trunk", ((-8, 16, -26), (6, 11, -30), (20, 9, -31), (31, 8, -31)), 1),
    Stem("right upper lobe", "right artery", ((36, 7, -21), (40, 4, -13)), 1),
    Stem("right interlobar", "right artery", ((39, 3, -40), (41, -4, -50)), 1),
    Stem("right middle lobe", "right interlobar", ((45, 2, -55), (49, 8, -59)), 1),
    Stem("right lower lobe", "right interlobar", ((43, -12, -58), (47, -17, -66)), 1),
    Stem("left artery", "trunk", ((-30, 14, -11), (-42, 2, -7), (-51, -9, -11)), -1),
    Stem("left upper lobe", "left artery", ((-58, -4, -10), (-64, 0, -13)), -1),
    Stem("left lower lobe", "left artery", ((-57, -18, -24), (-59, -22, -40), (-60, -24, -52)), -1),
)
"""Pulmonary trunk to lobar arteries."""

VEIN_STEMS = (
    Stem("atrium", "", (LEFT_ATRIUM,), 0),
    Stem("right superior vein", "atrium", ((14, 8, -53), (28, 17, -47), (40, 20, -40)), 1),
    Stem("right upper lobe", "right superior vein", ((48, 19, -30), (53, 16, -22)), 1),
    Stem("right middle lobe", "right superior vein", ((47, 20, -50), (56, 20, -58)), 1),
    Stem("right lower lobe", "atrium", ((15, -5, -64), (27, -16, -74), (37, -29, -83)), 1),
    Stem("left upper lobe", "atrium", ((-24, 9, -51), (-38, 16, -41), (-50, 16, -31), (-56, 14, -24)), -1),
    Stem("left lower lobe", "atrium", ((-24, -5, -62), (-38, -17, -69), (-48, -28, -75)), -1),
)
"""Left atrium to lobar veins; the two veins of each side are its four ostia."""


@dataclass(frozen=True, eq=False)
class Stems:
    """Central branches of one tree in the drawn body, with short edges."""

    skeleton: Skeleton
    sides: np.ndarray
    hubs: dict[str, int]
    """Node at the end of each stem."""


def place_stems(
    stems: tuple[Stem, ...], shape: ThoraxShape, rng: np.random.Generator, jitter_mm: float = 1.2
) -> Stems:
    """The stems in the drawn body; every corner is moved a little and rounded, edges are short."""
    points: list[np.ndarray] = []
    parents: list[int] = []
    sides: list[int] = []
    hubs: dict[str, int] = {}
    for stem in stems:
        last = hubs.get(stem.parent, -1)
        corners = shape.to_body(np.array(stem.points, dtype=float))
        corners += rng.normal(0, jitter_mm, corners.shape) * (0.0 if stem.name == "atrium" else 1.0)
        for corner in corners:
            start = points[last] if last >= 0 else corner
            count = max(int(np.ceil(np.linalg.norm(corner - start) / 3.0)), 1)
            for share in np.arange(1, count + 1) / count:
                points.append(start + share * (corner - start))
                parents.append(last)
                sides.append(stem.side)
                last = len(points) - 1
        hubs[stem.name] = last
    links = np.array(parents)
    rounded = smoothed(np.array(points), links, np.zeros(len(links), dtype=bool))
    return Stems(Skeleton(rounded, links), np.array(sides), hubs)


@dataclass(frozen=True, eq=False)
class Heart:
    """Heart and great vessels in the drawn body."""

    pericardium: tuple[Solid, ...]
    muscle: tuple[Solid, ...]
    chambers: dict[str, tuple[Solid, ...]]
    """Blood of each chamber and great vessel: "left ventricle", "aorta", …, painted in this order."""
    left_atrium: Ellipsoid
    oesophagus: Tube


def build_heart(shape: ThoraxShape, rng: np.random.Generator) -> Heart:
    """Heart, aorta, caval veins and oesophagus."""
    size = rng.uniform(0.92, 1.06)
    turn = axis_turn(np.array([-0.72, 0.50, -0.42]) + rng.normal(0, 0.05, 3))
    factors = np.array(shape.factors)

    def ball(centre: tuple[float, ...], axes: tuple[float, float, float], turned: bool = True) -> Ellipsoid:
        scaled = tuple(float(a * size * factors.mean()) for a in axes)
        return Ellipsoid(
            shape.to_body(np.array(centre)),
            (scaled[0], scaled[1], scaled[2]),
            turn if turned else np.eye(3),
        )

    def tube(points: Points, radius_mm: float) -> Tube:
        moved = shape.to_body(np.array(points, dtype=float)) + rng.normal(0, 0.8, (len(points), 3))
        return Tube(moved, float(radius_mm * factors.mean()))

    atrium = replace(ball(LEFT_ATRIUM, LEFT_ATRIUM_AXES, turned=False), half_axes_mm=LEFT_ATRIUM_AXES)
    aorta = _aorta(tube, rng.uniform(0.88, 1.08))
    cava = {
        "superior vena cava": (
            tube(((25, 29, -46), (25, 29, -14), (22, 27, 12), (17, 25, 40)), 8.5),
            tube(((17, 25, 40), (24, 22, 62), (30, 18, 84)), 6.5),
            tube(((17, 25, 40), (-4, 35, 44), (-28, 26, 62), (-34, 18, 84)), 6.0),
        ),
        "inferior vena cava": (tube(((27, 14, -92), (27, 8, -124), (24, 2, -236)), 11.0),),
    }
    return Heart(
        pericardium=(
            ball((-14, 38, -78), (58, 44, 42)),
            ball((16, 30, -66), (30, 28, 38), turned=False),
            ball((-8, 14, -62), (34, 26, 26), turned=False),
            tube(((-16, 52, -52), (-20, 40, -34)), 17.0),
        ),
        muscle=(
            ball((-30, 36, -82), (47, 31, 30)),
            ball((-4, 56, -76), (42, 22, 30)),
            ball((24, 30, -66), (21, 24, 31), turned=False),
        ),
        chambers={
            "right atrium": (
                ball((26, 30, -66), (17, 20, 27), turned=False),
                tube(((25, 29, -46), (26, 28, -60)), 9.0),
                tube(((27, 14, -92), (27, 24, -78)), 10.5),
            ),
            "right ventricle": (
                ball((-6, 59, -77), (37, 15, 24)),
                tube(((-8, 58, -66), (-16, 52, -52)), 12.0),
            ),
            "left ventricle": (ball((-32, 36, -83), (36, 19, 18)),),
            "left atrium": (atrium,),
            "aorta": aorta,
            **cava,
        },
        left_atrium=atrium,
        oesophagus=tube(((-6, -8, 96), (-5, -16, 30), (-6, -20, -10), (-6, -22, -70), (-10, -14, -125)), 6.0),
    )


def _aorta(make: Callable[[Points, float], Tube], wide: float) -> tuple[Solid, ...]:
    """Root and ascending part, arch, descending part and the three arteries that leave the arch."""
    return (
        make(((-10, 36, -62), (4, 40, -44), (11, 40, -22), (9, 34, -2), (3, 26, 12)), 15.0 * wide),
        make(((3, 26, 12), (-8, 12, 19), (-17, -2, 16), (-20, -14, 6)), 13.0 * wide),
        make(
            ((-20, -14, 6), (-17, -21, -20), (-14, -21, -70), (-9, -17, -130), (-7, -11, -236)), 11.5 * wide
        ),
        make(((2, 24, 18), (6, 22, 42), (14, 18, 62), (22, 14, 84)), 6.0),
        make(((-7, 14, 24), (-10, 14, 50), (-14, 12, 84)), 4.0),
        make(((-15, 2, 22), (-20, 4, 50), (-28, 6, 84)), 4.8),
    )
