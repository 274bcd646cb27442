"""Tissues of the chest phantom and their attenuation on CT."""

from typing import Literal, get_args

import numpy as np

from nomina.errors import ConfigError

ChestContrast = Literal["plain", "arterial", "mixed", "venous", "random"]
"""Plain: no contrast medium. Arterial: CT pulmonary angiogram, arteries brighter than veins. Mixed: both
bright. Venous: a routine chest CT, everything a little bright."""

CHEST_TISSUES = (
    *("air", "lung", "fissure", "airway wall", "airway lumen", "artery", "vein"),
    *(
        "skin",
        "subcutaneous fat",
        "muscle",
        "mediastinal fat",
        "cortical bone",
        "trabecular bone",
        "cartilage",
    ),
    *("spinal canal", "oesophagus", "heart muscle", "right heart", "left heart", "aorta"),
    *("superior vena cava", "inferior vena cava", "liver", "spleen", "stomach"),
)
"""Names; the position is the value in `LungPhantom.tissues`."""

CHEST_INDEX = {name: index for index, name in enumerate(CHEST_TISSUES)}
"""Value of each tissue name."""

_BASE: dict[str, tuple[float, float]] = {
    "air": (-1000, -1000),
    "lung": (-885, -820),
    "fissure": (-640, -540),
    "airway wall": (-20, 40),
    "airway lumen": (-1000, -985),
    "skin": (10, 50),
    "subcutaneous fat": (-115, -98),
    "muscle": (45, 62),
    "mediastinal fat": (-110, -92),
    "cortical bone": (520, 760),
    "trabecular bone": (120, 240),
    "cartilage": (85, 130),
    "spinal canal": (15, 35),
    "oesophagus": (30, 50),
    "stomach": (10, 40),
}
"""Lowest and highest mean in HU whatever the contrast [choice: textbook values]."""

_BLOOD: dict[str, dict[str, tuple[float, float]]] = {
    "plain": {
        **dict.fromkeys(("artery", "vein", "right heart", "left heart", "aorta"), (34.0, 50.0)),
        **dict.fromkeys(("superior vena cava", "inferior vena cava", "heart muscle"), (34.0, 50.0)),
        "liver": (48, 66),
        "spleen": (42, 54),
    },
    "arterial": {
        "artery": (300, 480),
        "right heart": (280, 450),
        "superior vena cava": (420, 750),
        "vein": (110, 220),
        "left heart": (110, 220),
        "aorta": (90, 200),
        "inferior vena cava": (45, 90),
        "heart muscle": (55, 85),
        "liver": (52, 70),
        "spleen": (48, 70),
    },
    "mixed": {
        "artery": (230, 380),
        "right heart": (220, 360),
        "superior vena cava": (260, 480),
        "vein": (240, 390),
        "left heart": (240, 390),
        "aorta": (230, 380),
        "inferior vena cava": (70, 120),
        "heart muscle": (85, 120),
        "liver": (62, 85),
        "spleen": (90, 130),
    },
    "venous": {
        **dict.fromkeys(("artery", "vein", "right heart", "left heart", "aorta"), (120.0, 180.0)),
        **dict.fromkeys(("superior vena cava", "inferior vena cava"), (120.0, 180.0)),
        "heart muscle": (90, 120),
        "liver": (90, 120),
        "spleen": (100, 130),
    },
}
"""Lowest and highest mean in HU of blood and of what blood feeds [choice: textbook values]."""

TEXTURE_HU = {
    "lung": 26.0,
    "subcutaneous fat": 7.0,
    "mediastinal fat": 9.0,
    "muscle": 9.0,
    "trabecular bone": 55.0,
    "cortical bone": 60.0,
    "liver": 6.0,
    "right heart": 8.0,
    "superior vena cava": 30.0,
    "stomach": 14.0,
}
"""SD of the texture within a tissue in HU [choice]."""


def known_contrasts() -> tuple[str, ...]:
    """Contrasts that can be asked for, without "random"."""
    return tuple(_BLOOD)


def hu_ranges(contrast: str) -> dict[str, tuple[float, float]]:
    """Lowest and highest mean attenuation of each tissue.

    Raises:
        ConfigError: The contrast is not known.
    """
    if contrast not in _BLOOD:
        raise ConfigError(f"contrast must be one of {', '.join(get_args(ChestContrast))}, got {contrast!r}")
    return _BASE | _BLOOD[contrast]


def draw_hu(contrast: str, rng: np.random.Generator) -> np.ndarray:
    """Mean attenuation of each tissue in HU, in the order of `CHEST_TISSUES`; blood varies together."""
    ranges = hu_ranges(contrast)
    share = {name: rng.random() for name in CHEST_TISSUES}
    for name, other in (("right heart", "artery"), ("left heart", "vein"), ("aorta", "vein")):
        share[name] = 0.85 * share[other] + 0.15 * share[name]
    if contrast in ("plain", "venous"):
        for name in ("vein", "right heart", "left heart", "aorta"):
            share[name] = 0.8 * share["artery"] + 0.2 * share[name]
    return np.array([r[0] + share[n] * (r[1] - r[0]) for n, r in ((n, ranges[n]) for n in CHEST_TISSUES)])
