"""Mean signal of each tissue per MR contrast, relative to the brightest (1.0).

The order of tissues is the textbook's (fat brightest on T1, fluid brightest on T2 and STIR, fat suppressed on
STIR, marrow darkened by its trabeculae on gradient echoes, cortical bone and ligaments dark on all); the
numbers are our choice, adjusted by eye to T2-SPACE scans of SPIDER.
"""

from typing import Literal

import numpy as np

from nomina.phantoms.tissues import INDEX, TISSUES

Contrast = Literal["t1", "t2", "stir", "pd", "gre", "random"]

MEANS: dict[str, dict[str, float]] = {
    "t1": {
        "skin": 0.35, "subcutaneous fat": 1.0, "visceral fat": 0.92, "muscle": 0.32, "fatty muscle": 0.58,
        "ligament": 0.10, "bowel": 0.32, "bowel fluid": 0.18, "organ": 0.42, "vessel": 0.10,
        "cortical bone": 0.09, "marrow": 0.58, "marrow lesion": 0.35, "basivertebral vein": 0.40,
        "annulus": 0.24, "nucleus": 0.30, "dehydrated nucleus": 0.28, "degenerated nucleus": 0.25,
        "sacral disc": 0.35, "epidural fat": 0.98, "csf": 0.14, "cord": 0.36, "cauda equina": 0.27,
        "nerve root": 0.32,
    },
    "t2": {
        "skin": 0.25, "subcutaneous fat": 0.72, "visceral fat": 0.62, "muscle": 0.15, "fatty muscle": 0.36,
        "ligament": 0.06, "bowel": 0.26, "bowel fluid": 0.75, "organ": 0.22, "vessel": 0.07,
        "cortical bone": 0.06, "marrow": 0.38, "marrow lesion": 0.60, "basivertebral vein": 0.55,
        "annulus": 0.13, "nucleus": 0.66, "dehydrated nucleus": 0.32, "degenerated nucleus": 0.15,
        "sacral disc": 0.34, "epidural fat": 0.70, "csf": 1.0, "cord": 0.40, "cauda equina": 0.42,
        "nerve root": 0.26,
    },
    "stir": {
        "skin": 0.30, "subcutaneous fat": 0.07, "visceral fat": 0.06, "muscle": 0.26, "fatty muscle": 0.16,
        "ligament": 0.05, "bowel": 0.40, "bowel fluid": 0.85, "organ": 0.38, "vessel": 0.20,
        "cortical bone": 0.04, "marrow": 0.15, "marrow lesion": 0.55, "basivertebral vein": 0.55,
        "annulus": 0.11, "nucleus": 0.60, "dehydrated nucleus": 0.30, "degenerated nucleus": 0.13,
        "sacral disc": 0.25, "epidural fat": 0.07, "csf": 1.0, "cord": 0.42, "cauda equina": 0.45,
        "nerve root": 0.38,
    },
    "pd": {
        "skin": 0.40, "subcutaneous fat": 0.95, "visceral fat": 0.85, "muscle": 0.42, "fatty muscle": 0.62,
        "ligament": 0.10, "bowel": 0.50, "bowel fluid": 0.72, "organ": 0.50, "vessel": 0.15,
        "cortical bone": 0.08, "marrow": 0.52, "marrow lesion": 0.60, "basivertebral vein": 0.55,
        "annulus": 0.28, "nucleus": 0.68, "dehydrated nucleus": 0.50, "degenerated nucleus": 0.34,
        "sacral disc": 0.42, "epidural fat": 0.92, "csf": 0.70, "cord": 0.62, "cauda equina": 0.60,
        "nerve root": 0.50,
    },
    # T2*-weighted.
    "gre": {
        "skin": 0.30, "subcutaneous fat": 0.45, "visceral fat": 0.40, "muscle": 0.35, "fatty muscle": 0.40,
        "ligament": 0.06, "bowel": 0.30, "bowel fluid": 0.75, "organ": 0.35, "vessel": 0.80,
        "cortical bone": 0.03, "marrow": 0.16, "marrow lesion": 0.40, "basivertebral vein": 0.45,
        "annulus": 0.30, "nucleus": 0.80, "dehydrated nucleus": 0.60, "degenerated nucleus": 0.40,
        "sacral disc": 0.50, "epidural fat": 0.45, "csf": 0.90, "cord": 0.50, "cauda equina": 0.50,
        "nerve root": 0.45,
    },
}  # fmt: skip

RANDOM_SHARES = {"t1": 0.20, "t2": 0.34, "stir": 0.12, "pd": 0.09}
"""How often `random` takes a known contrast; the rest (0.25) is arbitrary [choice]. Gradient echoes came
later and are asked for by name: phantoms of before stay what they are."""

JITTER = 0.12
"""SD of the logarithm of a tissue's mean between scanners and protocols [choice]."""

TEXTURE = {
    "subcutaneous fat": 0.08, "visceral fat": 0.15, "muscle": 0.18, "fatty muscle": 0.25, "ligament": 0.25,
    "bowel": 0.40, "bowel fluid": 0.25, "organ": 0.10, "vessel": 0.30, "marrow": 0.13, "marrow lesion": 0.15,
    "annulus": 0.20, "nucleus": 0.12, "dehydrated nucleus": 0.18, "degenerated nucleus": 0.22,
    "sacral disc": 0.15, "csf": 0.06, "cord": 0.05, "cauda equina": 0.10, "nerve root": 0.10,
    "epidural fat": 0.10, "skin": 0.20,
}  # fmt: skip
"""SD of the signal within a tissue, as a share of its mean [choice]."""


def tissue_means(contrast: str, rng: np.random.Generator) -> np.ndarray:
    """Mean signal by tissue index for a known contrast, varied as between scanners; air is 0."""
    table = MEANS[contrast]
    means = np.array([table.get(name, 0.0) for name in TISSUES], dtype=np.float32)
    return means * np.exp(rng.normal(0, JITTER, len(means))).astype(np.float32)


def arbitrary_means(rng: np.random.Generator) -> np.ndarray:
    """Mean signal by tissue index for a contrast that no scanner may have: a known one drowned in chance."""
    known = tissue_means(str(rng.choice(list(RANDOM_SHARES))), rng)
    chance = rng.uniform(0.03, 1.0, len(known)).astype(np.float32)
    share = rng.uniform(0.0, 0.7)
    means = share * known + (1 - share) * chance
    if rng.random() < 0.7:
        means[INDEX["cortical bone"]] = rng.uniform(0.02, 0.15)
    means[INDEX["air"]] = 0.0
    return means.astype(np.float32)


def texture_amplitudes() -> np.ndarray:
    """SD of the texture by tissue index."""
    return np.array([TEXTURE.get(name, 0.0) for name in TISSUES], dtype=np.float32)
