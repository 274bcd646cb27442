"""The scores of one case: per structure, by name, and without names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nomina.assessment.metrics.empty_masks import EmptyPolicy, FoundIn, settle
from nomina.assessment.metrics.label_free import GROUPS, LabelFreeScores
from nomina.assessment.metrics.naming import NamingScores
from nomina.assessment.tree_scores import TreeScore

METRICS = ("dice", "hd95_mm", "hd95_px", "asd_mm", "nsd_1mm", "nsd_2mm")
"""Scores of one structure, in the order of every table."""


@dataclass(frozen=True)
class StructureScore:
    """Scores of one structure in one case, before any policy."""

    structure: str
    """Name in the vocabulary."""
    found_in: FoundIn
    """Which of the two label maps has it."""
    dice: float
    """0 to 1; 0 when only one map has it."""
    hd95_mm: float
    """Larger of the two directed 95th percentiles of surface distance; `inf` when only one map has it."""
    hd95_px: float
    """The same in voxels, every axis counting 1."""
    asd_mm: float
    """Average symmetric surface distance; `inf` when only one map has it."""
    nsd_1mm: float
    """Normalised surface Dice at 1 mm; 0 when only one map has it."""
    nsd_2mm: float
    """Normalised surface Dice at 2 mm; 0 when only one map has it."""
    volume_ml_prediction: float
    """Volume in the prediction, excluded voxels left out."""
    volume_ml_reference: float
    """Volume in the reference."""


@dataclass(frozen=True)
class CaseScores:
    """All scores of one case."""

    structures: tuple[StructureScore, ...]
    """Structures that at least one map has, in the order of the reference's label values."""
    naming: NamingScores
    label_free: LabelFreeScores
    image_diagonal_mm: float
    """Distance between the centres of two opposite corner voxels: the worst distance."""
    image_diagonal_px: float
    """The same in voxels."""
    policy: EmptyPolicy
    """How structures that one map lacks enter averages."""
    max_level: int | None
    """Highest SPIDER number that was scored; None: no cut-off, or not a SPIDER reference."""
    not_scored: tuple[str, ...] = ()
    """Predicted structures that the reference cannot judge: unknown, above the cut-off, in ignored voxels."""
    case: str = ""
    """Name of the case."""
    identified: Mapping[str, bool] = field(default_factory=dict)
    """For each reference vertebra whether the predicted one of its name lies in its place."""
    asked: tuple[str, ...] | None = None
    """Names of what the prediction was made for, where it is scored on that alone; None: scored on all of the
    reference's structures."""
    trees: tuple[TreeScore, ...] = ()
    """Arteries and veins of the lung as trees, where the reference has any."""

    def settled(self, score: StructureScore, metric: str, policy: EmptyPolicy | None = None) -> float:
        """The value with which a score enters an average; `nan` where the policy leaves it out."""
        worst = {
            "hd95_px": self.image_diagonal_px,
            "hd95_mm": self.image_diagonal_mm,
            "asd_mm": self.image_diagonal_mm,
        }
        return settle(
            getattr(score, metric), score.found_in, worst=worst.get(metric, 0.0), policy=policy or self.policy
        )

    def __str__(self) -> str:
        """A table of the structures, then naming and label-free scores."""
        lines = [f"{'structure':<18}" + "".join(f"{metric:>10}" for metric in METRICS)]
        for score in self.structures:
            values = "".join(f"{getattr(score, metric):>10.3f}" for metric in METRICS)
            note = "" if score.found_in == "both" else f"  only in the {score.found_in}"
            lines.append(f"{score.structure:<18}{values}{note}")
        num_right, num_levels = self.naming.count("right"), len(self.naming.structures)
        lines.append(f"vertebrae and discs under their own name: {num_right} of {num_levels}")
        groups = [(group, self.label_free.group(group)) for group in GROUPS]
        lines.append("label-free Dice: " + ", ".join(f"{group} {score.dice:.3f}" for group, score in groups))
        return "\n".join(lines)
