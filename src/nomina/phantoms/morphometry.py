"""Sizes of adult vertebrae and discs, level by level, with their sources.

Basis of each number:
    [Panjabi 1992]  lumbar vertebrae: Panjabi et al., Spine 17(3):299-306
    [Panjabi 1991]  thoracic vertebrae: Panjabi et al., Spine 16(8):888-901
    [Zhou 2000]     lumbar bodies and discs on CT: Zhou et al., Eur Spine J 9(3):242-248
    [Berry 1987]    posterior elements: Berry et al., Spine 12(4):362-367
    [choice]        read off SPIDER T2 scans so that the phantom's masks fit real ones

The numbers are rounded to 0.5 mm and evened out between levels: parameters of a model, not quotations.
"""

from dataclasses import dataclass, fields, replace

from nomina.anatomy.levels import levels_between, levels_of

LUMBAR = levels_of("L")[::-1]
THORACIC = levels_between("T12", "T6")


@dataclass(frozen=True)
class Morphometry:
    """Mean sizes of one vertebra and of the disc below it, in mm (angles in degrees)."""

    height_mm: float
    """Body, between the endplates' rims."""
    upper_width_mm: float
    lower_width_mm: float
    upper_depth_mm: float
    lower_depth_mm: float
    canal_width_mm: float
    canal_depth_mm: float
    pedicle_width_mm: float
    pedicle_height_mm: float
    transverse_span_mm: float
    """Tip to tip of the transverse processes."""
    spinous_length_mm: float
    """From the back of the canal to the tip of the spinous process."""
    spinous_height_mm: float
    spinous_drop_mm: float
    """From mid-height of the body down to the middle of the root of the spinous process."""
    spinous_slope_deg: float
    """How steeply the spinous process falls behind the canal."""
    disc_height_mm: float
    """Middle of the healthy disc below."""

    def scaled(self, factor: float) -> "Morphometry":
        """All lengths times a factor; angles stay."""
        lengths = {f.name: getattr(self, f.name) * factor for f in fields(self) if f.name.endswith("_mm")}
        return replace(self, **lengths)

    def mixed_with(self, other: "Morphometry", share: float) -> "Morphometry":
        """This vertebra moved towards another one by a share of 0 to 1."""
        return Morphometry(
            *((1 - share) * getattr(self, f.name) + share * getattr(other, f.name) for f in fields(self))
        )


# Bodies, canal, pedicles, span: [Panjabi 1992, 1991], heights raised by 2 mm to the mean of SPIDER masks.
# Spinous processes: lengths after [Berry 1987]; height, drop and slope read off SPIDER masks [choice].
# Discs: lumbar [Zhou 2000], thoracic read off SPIDER masks [choice].
TABLE = {
    "L5": Morphometry(
        25.5, 47.5, 49.5, 34.5, 33.5, 27.0, 16.5, 17.0, 18.0, 92.0, 19.0, 15.0, 12.0, 8.0, 10.0
    ),
    "L4": Morphometry(
        26.0, 46.5, 49.5, 35.5, 34.0, 25.5, 17.0, 14.0, 15.5, 80.0, 25.0, 19.0, 12.5, 8.0, 11.0
    ),
    "L3": Morphometry(
        26.5, 44.0, 48.0, 35.0, 35.0, 24.5, 16.5, 10.5, 14.5, 86.0, 28.0, 20.0, 12.5, 8.0, 10.5
    ),
    "L2": Morphometry(26.5, 42.5, 45.5, 34.5, 35.0, 24.0, 17.0, 8.5, 15.0, 76.0, 28.0, 19.0, 10.5, 10.0, 9.5),
    "L1": Morphometry(26.0, 41.0, 43.5, 34.0, 35.5, 23.5, 17.5, 8.5, 16.0, 71.0, 27.0, 18.0, 7.5, 14.0, 8.5),
    "T12": Morphometry(24.5, 39.0, 42.0, 33.0, 33.5, 22.0, 17.0, 8.5, 16.5, 47.0, 25.0, 15.5, 7.0, 18.0, 7.0),
    "T11": Morphometry(23.0, 35.0, 39.0, 32.0, 32.0, 19.5, 16.0, 9.0, 17.0, 52.0, 25.0, 14.0, 5.5, 26.0, 6.0),
    "T10": Morphometry(22.0, 32.0, 35.5, 30.5, 31.5, 18.0, 15.5, 6.5, 15.0, 58.0, 27.0, 13.0, 5.0, 36.0, 5.5),
    "T9": Morphometry(21.0, 30.5, 33.0, 29.5, 31.0, 18.0, 15.5, 6.5, 14.0, 60.0, 29.0, 12.5, 5.0, 44.0, 5.0),
    "T8": Morphometry(20.0, 29.5, 31.5, 28.0, 29.5, 17.5, 15.5, 6.0, 12.5, 60.0, 31.0, 12.0, 5.0, 50.0, 4.5),
    "T7": Morphometry(19.5, 28.5, 30.0, 27.0, 28.5, 17.5, 15.5, 6.0, 12.0, 60.0, 31.0, 12.0, 5.0, 54.0, 4.5),
    "T6": Morphometry(19.0, 28.0, 29.0, 26.0, 27.5, 17.5, 15.5, 6.0, 11.5, 61.0, 30.0, 12.0, 5.0, 54.0, 4.5),
}

LUMBAR_DISC_SHARE = (0.25, 0.20, 0.15, 0.11, 0.07)
"""Share of the lumbar lordosis (S1 to L1) in the wedge of each disc, lowest first [choice]."""
LUMBAR_BODY_SHARE = (0.14, 0.05, 0.02, 0.01, 0.0)
"""Share of the lumbar lordosis in the wedge of each body, lowest first [choice]."""

SACRAL_HEIGHTS_MM = (30.0, 25.0, 21.0, 18.0, 16.0)
"""S1 to S5 [choice]: 110 mm along the front in the mean."""
SACRAL_DEPTHS_MM = (32.0, 22.0, 15.0, 11.0, 9.0, 6.0)
"""Depth of the sacral bodies at the top of S1 … S5 and at the apex [choice]."""
SACRAL_WIDTHS_MM = (50.0, 36.0, 30.0, 26.0, 22.0, 15.0)
"""Width of the sacral bodies (without the alae) at the same places [choice]."""


def lumbar(rank: int, count: int) -> Morphometry:
    """Sizes of a lumbar vertebra (0 = lowest) of `count`: the five of the table, spread evenly."""
    place = rank * (len(LUMBAR) - 1) / (count - 1)
    below = min(int(place), len(LUMBAR) - 2)
    return TABLE[LUMBAR[below]].mixed_with(TABLE[LUMBAR[below + 1]], place - below)


def spread(shares: tuple[float, ...], rank: int, count: int) -> float:
    """A per-level share for `count` instead of five levels; the sum stays that of the five."""
    place = rank * (len(shares) - 1) / (count - 1)
    below = min(int(place), len(shares) - 2)
    value = shares[below] + (shares[below + 1] - shares[below]) * (place - below)
    return value * len(shares) / count
