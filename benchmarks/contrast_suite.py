"""What another contrast costs: scans remapped to T1, TIRM, gradient echo and a negative; phantoms of each.

python benchmarks/contrast_suite.py -m spine-mr --images images/ --references masks/ --phantoms 5

No scan of another contrast is made here: T2 scans are remapped. `intensity` remaps look up each voxel's grey
value in a curve through the tissues of `POINTS` and so cannot part tissues that are equally bright on T2:
fat and disc nuclei, cortical bone and disc annuli. `reference` remaps have a curve for each labelled
structure; the labels carry part of the answer into the picture, so their scores are marked. Exit code 1
where a remap without labels costs more than the target, the upper limit of the interval counting.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scans import middle_slices, phantoms, real_scans, segmented
from scipy import ndimage

from nomina.anatomy.schemes import load_scheme
from nomina.assessment.evaluate import evaluate
from nomina.assessment.metrics.label_free import GROUPS
from nomina.assessment.scores import CaseScores
from nomina.assessment.statistics import bootstrap_interval, patient_of
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.segmenter import Segmenter
from nomina.phantoms.contrasts import MEANS
from nomina.reporting.sidecar import in_scheme

BAR = 0.04
"""Dice that another contrast may cost."""

TARGETS: Mapping[str, Mapping[str, float]] = {
    "t1": MEANS["t1"],
    "tirm": MEANS["stir"],
    "gradient echo": MEANS["gre"],
}
POINTS = ("cortical bone", "muscle", "marrow", "subcutaneous fat", "csf")
"""Tissues that a curve over all voxels runs through, darkest on T2 first."""

POINTS_OF = {
    "vertebrae": ("cortical bone", "marrow", "basivertebral vein"),
    "discs": ("annulus", "nucleus"),
    "canal": ("cauda equina", "csf"),
    "elsewhere": ("cortical bone", "muscle", "fatty muscle", "subcutaneous fat"),
}
"""Tissues that the curve of each structure runs through, in `reference` remaps."""

SHADING_MM = 30.0
"""Deviation of the kernel that takes the coil's shading out before the curve, and puts it back after."""

PEAK = 4000.0
"""Grey value of the brightest voxel that is written."""


@dataclass(frozen=True)
class Score:
    """One scan in one look."""

    case: str
    look: str
    """ "unchanged", a remap, or the contrast of a phantom."""
    class_wise: float
    """Mean Dice over structures by name."""
    label_free: float
    """Mean of vertebrae, discs and canal, whatever their names."""
    groups: Mapping[str, float]


def main() -> None:
    """Segment, print a table, write every score."""
    args = _arguments()
    segmenter = Segmenter.load(args.model)
    scores: list[Score] = []
    for case, whole, labels in real_scans(args.images, args.references, args.patients):
        volume, reference = middle_slices(whole, labels, args.slices)
        for look, scan in looks(volume, reference, args.looks).items():
            scores.append(_scored(segmenter, scan, reference, case, look, args.keep))
            print(scores[-1], flush=True)
    for contrast in MEANS if args.phantoms else ():
        for case, volume, reference in phantoms(args.seed, args.phantoms, contrast):
            volume, reference = middle_slices(volume, reference, args.slices)
            scores.append(_scored(segmenter, volume, reference, case, f"phantom {contrast}", args.keep))
            print(scores[-1], flush=True)
    if args.output:
        args.output.write_text(json.dumps([asdict(score) for score in scores], indent=1))
    print(table(scores, args.doubtful))
    sys.exit(1 if too_dear(scores, args.doubtful) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default="spine-mr")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--references", type=Path, help="Label maps of the same names, SPIDER scheme.")
    parser.add_argument("--patients", nargs="*", default=(), help="Which patients; left out: all.")
    parser.add_argument("--doubtful", nargs="*", default=(), help="Patients whose level names may be wrong.")
    parser.add_argument("--looks", nargs="*", default=LOOKS, choices=LOOKS)
    parser.add_argument("--slices", type=int, help="Only so many middle slices of each scan, to save time.")
    parser.add_argument("--phantoms", type=int, default=0, help="So many of each contrast.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first phantom.")
    parser.add_argument("--keep", type=Path, help="Folder in which segmentations are kept.")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of all scores.")
    return parser.parse_args()


def looks(volume: Volume, reference: LabelMap, wanted: Sequence[str]) -> dict[str, Volume]:
    """The scan unchanged, and in each look that is wanted."""
    found = {"unchanged": volume}
    for look in wanted:
        kind, _, target = look.partition(": ")
        if look == "negative":
            array = volume.array.max() - volume.array
        elif kind == "intensity":
            array = _grey(remapped(volume, TARGETS[target]))
        else:
            array = _grey(remapped_by_label(volume, reference, TARGETS[target]))
        # The header's weighting would be wrong, and must not speak for the picture.
        found[look] = replace(volume, array=array, sequence=None)
    return found


LOOKS = (
    "negative",
    *(f"intensity: {target}" for target in TARGETS),
    *(f"reference: {target}" for target in TARGETS),
)


def remapped(volume: Volume, target: Mapping[str, float]) -> Float[np.ndarray, "i j k"]:
    """Every voxel by one curve from its T2 signal to that of the target."""
    even, shading = _without_shading(volume)
    return _curve(even, POINTS, target) * shading


def remapped_by_label(
    volume: Volume, reference: LabelMap, target: Mapping[str, float]
) -> Float[np.ndarray, "i j k"]:
    """Every structure by a curve of its own, blended over a voxel so that no edge is drawn at its border."""
    even, shading = _without_shading(volume)
    kinds = {
        "vertebrae": (reference.array > 0) & (reference.array < 200) & (reference.array != 100),
        "discs": reference.array > 200,
        "canal": reference.array == 100,
    }
    result = np.zeros_like(even)
    rest = np.ones_like(even)
    for kind, mask in kinds.items():
        weight = ndimage.gaussian_filter(mask.astype(np.float32), (0, 1, 1))
        result += weight * _curve(even, POINTS_OF[kind], target)
        rest -= weight
    return (result + rest * _curve(even, POINTS_OF["elsewhere"], target)) * shading


def _curve(
    signal: Float[np.ndarray, "i j k"], points: Sequence[str], target: Mapping[str, float]
) -> Float[np.ndarray, "i j k"]:
    """Piecewise linear from air through the points; constant beyond the brightest."""
    known = [0.0, *(MEANS["t2"][tissue] for tissue in points)]
    wanted = [0.0, *(target[tissue] for tissue in points)]
    return np.interp(signal, known, wanted).astype(np.float32)


def _without_shading(volume: Volume) -> tuple[Float[np.ndarray, "i j k"], Float[np.ndarray, "i j k"]]:
    """A scan in which its 99th percentile is 1 and its shading is taken out, and that shading."""
    grey = volume.array.astype(np.float32)
    shading = grey
    for _ in range(3):
        sizes = [max(1, round(2 * SHADING_MM / mm)) for mm in volume.grid.spacing_mm]
        shading = ndimage.uniform_filter(shading, sizes, mode="nearest")
    # A share of the mean is added so that noise in air is not raised to the level of tissue.
    shading = shading + np.float32(0.15 * grey.mean())
    even = grey / shading
    return even / np.float32(np.percentile(even, 99)), shading


def _grey(signal: Float[np.ndarray, "i j k"]) -> np.ndarray:
    return np.rint(signal / signal.max() * PEAK).astype(np.uint16)


def _scored(
    segmenter: Segmenter, volume: Volume, reference: LabelMap, case: str, look: str, keep: Path | None
) -> Score:
    name = f"{case}-{volume.grid.shape[0]}-{look}".replace(": ", "-").replace(" ", "-")
    found = segmented(segmenter, volume, name, keep)
    scores = evaluate(in_scheme(found, load_scheme("spider")).label_map, reference, case=case)
    groups = {group: scores.label_free.group(group).dice for group in GROUPS}
    # A group of which nothing was detected has no mean; here it counts as missed.
    groups = {group: 0.0 if np.isnan(dice) else dice for group, dice in groups.items()}
    return Score(case, look, class_wise(scores), float(np.mean(list(groups.values()))), groups)


def class_wise(scores: CaseScores) -> float:
    """Mean Dice over the structures that either map has, by name."""
    return float(np.nanmean([scores.settled(score, "dice") for score in scores.structures]))


def table(scores: Sequence[Score], doubtful: Sequence[str]) -> str:
    """A line per look: means, and what it costs against the unchanged scan with intervals over patients."""
    lines = [
        "| look | scans | class-wise | label-free | vertebrae / discs / canal | cost by name | label-free |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for look in dict.fromkeys(score.look for score in scores):
        chosen = [score for score in scores if score.look == look]
        named = [score for score in chosen if patient_of(score.case) not in doubtful]
        groups = " / ".join(f"{np.mean([s.groups[group] for s in chosen]):.3f}" for group in GROUPS)
        means = f"{_mean(named, 'class_wise')} | {_mean(chosen, 'label_free')} | {groups}"
        lines.append(
            f"| {look} | {len(chosen)} | {means} | {_cost(scores, named, 'class_wise')} | "
            f"{_cost(scores, chosen, 'label_free')} |"
        )
    return "\n".join(lines)


def too_dear(scores: Sequence[Score], doubtful: Sequence[str]) -> list[str]:
    """Remaps without labels that may cost more than `BAR`."""
    dear = []
    for look in dict.fromkeys(s.look for s in scores if s.look == "negative" or "intensity" in s.look):
        for metric in ("class_wise", "label_free"):
            chosen = [s for s in scores if s.look == look]
            if metric == "class_wise":
                chosen = [s for s in chosen if patient_of(s.case) not in doubtful]
            costs = costs_of(scores, chosen, metric)
            worst = float(np.mean(costs)) if len(costs) < 2 else interval(costs, chosen)[1]
            if worst > BAR:
                dear.append(f"{look} ({metric})")
    return dear


def costs_of(scores: Sequence[Score], chosen: Sequence[Score], metric: str) -> np.ndarray:
    """What each scan loses against itself unchanged."""
    before = {s.case: getattr(s, metric) for s in scores if s.look == "unchanged"}
    return np.array([before[s.case] - getattr(s, metric) for s in chosen if s.case in before])


def interval(costs: np.ndarray, chosen: Sequence[Score]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean cost, patients drawn."""
    found = bootstrap_interval(
        lambda weights: weights @ costs / weights.sum(axis=1), [patient_of(s.case) for s in chosen], seed=0
    )
    return found.low, found.high


def _cost(scores: Sequence[Score], chosen: Sequence[Score], metric: str) -> str:
    costs = costs_of(scores, chosen, metric)
    if not len(costs) or chosen[0].look == "unchanged":
        return ""
    low, high = interval(costs, chosen)
    return f"{costs.mean():.3f} ({low:.3f} to {high:.3f})"


def _mean(chosen: Sequence[Score], metric: str) -> str:
    return f"{np.mean([getattr(score, metric) for score in chosen]):.3f}" if chosen else ""


if __name__ == "__main__":
    main()
