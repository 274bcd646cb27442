"""`Segmentation`: what inference returns, what is written to disk and what reporting shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nomina.imaging.volume import LabelMap

Presence = Literal["present", "absent", "outside", "uncertain"]
"""`outside`: the structure lies beyond the field of view; `absent`: it would be in view and is not there."""


@dataclass(frozen=True)
class Verdict:
    """What was found for one asked structure."""

    structure: str
    """Name in the vocabulary, e.g. "L4 vertebra"."""
    presence: Presence
    score: float
    """Probability that what is shown is right, 0 to 1, whatever the verdict: where there is a mask, that it
    lies on the structure of this name; where there is none, that no half of such a structure is in the scan.
    No more than an order of verdicts unless `is_calibrated`."""
    reason: str
    """One sentence that says what decided it."""
    volume_ml: float = 0.0
    """Volume of the mask; 0 when the mask is empty."""
    is_partial: bool = False
    """True when the structure is cut by the border of the scan."""
    is_calibrated: bool = False
    """Whether the score was fitted to cases of known truth (`nomina.assessment.calibration`); without that it
    orders verdicts, but 0.8 does not mean right in eight of ten cases."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """What a calibrated score is computed from; see `nomina.assessment.calibration.FEATURES`."""


@dataclass(frozen=True)
class Segmentation:
    """Named masks in the scan's own geometry, a verdict per asked structure, and where they came from."""

    label_map: LabelMap
    verdicts: tuple[Verdict, ...]
    """One per asked structure, in the order asked."""
    prompts: tuple[str, ...] = ()
    """The words as they were given."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Checkpoint name and hash, encoder, prompt mode, versions, notes on the input. No patient data."""
