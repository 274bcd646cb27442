"""How often the verdicts are right, and what their scores mean: whole scans, and scans cut at random heights.

python benchmarks/presence_suite.py --images images/ --references masks/ --split splits.json --phantoms 12

Each scan is judged whole and in `--crops` random pieces (40 to 90 % of its height). The references follow
the SPIDER scheme. A structure is *there* in a piece that holds at least half of it, *missing* where none of
it is; pieces that hold less of it, and what the reference calls partly visible, are left out. Levels keep
the names of the whole scan, so a piece without the sacrum asks for more than can be known: the verdict
"uncertain" is counted apart. With `--left-out` each phantom is judged once more without one vertebra, whose
discs stay.

A verdict is *right* where its mask lies on the structure of its name (most of the mask's voxels that the
reference labels bear that name, and the structure is there), or where it has no mask and the structure is
missing. *Presence right* asks less: whether the verdict "present" was given for what is there, wherever its
mask lies.
"""

import argparse
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nomina.anatomy.schemes import load_scheme, read_label_map
from nomina.assessment.calibration import ReliabilityBin, calibration_error, reliability
from nomina.imaging.read import find_volumes, read_volume
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.segmenter import Segmenter
from nomina.phantoms.render import phantom_case

PARTIAL = 100
"""SPIDER adds this to the label of a partly visible vertebra."""
PHANTOM = "phantom_"
"""How the names of phantoms begin."""
LEFT_OUT = "without "
"""How the names of scans begin that a vertebra was left out of."""
LEAST_SHARE = 0.5
"""Share of a structure from which it counts as there."""


@dataclass(frozen=True)
class Answer:
    """One verdict beside the truth."""

    case: str
    piece: str
    structure: str
    is_there: bool
    is_right: bool
    """Whether what is shown is right: the mask lies on a structure of its name, or neither is there."""
    verdict: str
    score: float
    is_calibrated: bool
    evidence: Mapping[str, float]
    has_lowest: bool = True
    """Whether the piece holds the lowest disc, from which levels are counted; True for what has no level."""

    @property
    def is_phantom(self) -> bool:
        """Whether the scan is a phantom's."""
        return self.case.startswith(("phantom", "chest"))

    @property
    def is_left_out(self) -> bool:
        """Whether it is on the vertebra that was left out of the scan."""
        return self.piece == f"{LEFT_OUT}{self.structure}"


def main() -> None:
    """Measure, print a table, and write every answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default="spine-mr")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--references", type=Path, help="Label maps of the same names, SPIDER scheme.")
    parser.add_argument("--split", type=Path, help="JSON file with a list of patients for each part.")
    parser.add_argument("--part", default="validation", help="Which patients of the split.")
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument(
        "--seed", type=int, default=0, help="Seed of the pieces, and of the first phantom ..."
    )
    parser.add_argument("--first-phantom", type=int, help="... unless this is another.")
    parser.add_argument("--crops", type=int, default=3)
    parser.add_argument("--without-wholes", action="store_true", help="Judge the pieces only.")
    parser.add_argument(
        "--left-out", action="store_true", help="Judge each phantom without one vertebra as well."
    )
    parser.add_argument("-o", "--output", type=Path, help="JSON file of all answers.")
    args = parser.parse_args()
    segmenter = Segmenter.load(args.model)
    answers: list[Answer] = []
    for case, volume, reference in scans(args):
        found = [(*piece, reference) for piece in pieces(case, volume, reference, args.crops, args.seed)]
        if args.left_out and case.startswith(PHANTOM):
            found += without_one(case, reference, args.seed)
        for piece, part, truth, whole in found:
            if args.without_wholes and piece == "whole":
                continue
            answers += judged(segmenter(part, None), case, piece, truth, whole)
            print(f"{case} {piece}: {len(answers)} answers", flush=True)
            if args.output:
                args.output.write_text(json.dumps([asdict(answer) for answer in answers], indent=1))
    print(report(answers))


def scans(args: argparse.Namespace) -> Iterator[tuple[str, Volume, LabelMap]]:
    """Name, scan and reference of each case, on canonical axes."""
    chosen = (
        {str(patient) for patient in json.loads(args.split.read_text())[args.part]} if args.split else None
    )
    for path in find_volumes([args.images]).paths if args.images else ():
        if chosen is None or path.name.split("_")[0] in chosen:
            reference = read_label_map(args.references / path.name, scheme="spider")
            yield path.name.split(".")[0], read_volume(path).canonical(), reference.canonical()
    first = args.seed if args.first_phantom is None else args.first_phantom
    for seed in range(first, first + args.phantoms):
        volume, reference = phantom_case(seed)
        yield f"{PHANTOM}{seed:05d}", volume.canonical(), reference.canonical()


def without_one(
    case: str, reference: LabelMap, seed: int
) -> Iterator[tuple[str, Volume, LabelMap, LabelMap]]:
    """The same phantom less one vertebra between two whole others, which follows from its name and the seed.

    Args:
        case: Name of the phantom.
        reference: Its reference, with every vertebra.
        seed: Of the choice.
    """
    ranks = sorted(value for value, name in reference.names.items() if name.endswith(" vertebra"))
    if len(ranks) < 3:
        return
    rank = int(np.random.default_rng((seed, zlib.crc32(case.encode()), 1)).choice(ranks[1:-1]))
    volume, truth = phantom_case(int(case.removeprefix(PHANTOM)), missing={rank})
    canonical = truth.canonical()
    yield f"{LEFT_OUT}{reference.names[rank]}", volume.canonical(), canonical, canonical


def pieces(
    case: str, volume: Volume, reference: LabelMap, count: int, seed: int
) -> Iterator[tuple[str, Volume, LabelMap]]:
    """The whole scan, and parts of its height; they follow from the case's name and the seed."""
    yield "whole", volume, reference
    rng = np.random.default_rng((seed, zlib.crc32(case.encode())))
    height = volume.grid.shape[2]
    for _ in range(count):
        size = round(height * rng.uniform(0.4, 0.9))
        first = int(rng.integers(0, height - size + 1))
        box = slice(None), slice(None), slice(first, first + size)
        yield f"{first}-{first + size} of {height}", volume.cropped(box), reference.cropped(box)


def judged(result: Segmentation, case: str, piece: str, truth: LabelMap, whole: LabelMap) -> Iterator[Answer]:
    """The verdict of each structure that can be told there or missing.

    Args:
        result: Of the piece, on canonical axes.
        case: Name of the scan.
        piece: Name of the piece.
        truth: Reference of the piece.
        whole: Reference of the scan.
    """
    discs = [
        value
        for value, name in whole.names.items()
        if name.endswith(" disc") and (whole.array == value).any()
    ]
    has_lowest = bool(discs) and _share(truth, whole, min(discs)) >= LEAST_SHARE
    # The scheme's own, since a reference need not name a vertebra of which it holds a part alone.
    values = {name: value for value, name in load_scheme("spider").labels.items()}
    for verdict in result.verdicts:
        value = values.get(verdict.structure)
        share = 0.0 if value is None else _share(truth, whole, value)
        if 0 < share < LEAST_SHARE:
            continue
        is_there = share > 0
        yield Answer(
            case=case,
            piece=piece,
            structure=verdict.structure,
            is_there=is_there,
            is_right=_is_right(verdict, result.label_map, truth, value if is_there else None),
            verdict=verdict.presence,
            score=verdict.score,
            is_calibrated=verdict.is_calibrated,
            has_lowest=has_lowest,
            evidence=verdict.evidence,
        )


def _share(truth: LabelMap, whole: LabelMap, value: int) -> float:
    """Share of a structure's voxels in a piece; a trace where only a partly visible vertebra is there."""
    total = int((whole.array == value).sum())
    if total:
        return float((truth.array == value).sum()) / total
    return 1e-6 if (truth.array == value + PARTIAL).any() else 0.0


def _is_right(verdict: Verdict, label_map: LabelMap, truth: LabelMap, value: int | None) -> bool:
    """Whether mask and reference show the same; `value` is the structure's, None where it is missing."""
    if verdict.volume_ml == 0 or value is None:
        return verdict.volume_ml == 0 and value is None
    under = truth.array[label_map.mask(verdict.structure)]
    labelled = under[under != 0]
    return bool(len(labelled)) and float((labelled == value).mean()) > 0.5


def report(answers: Sequence[Answer]) -> str:
    """Tables over all answers and over parts of them, and the reliability of the scores."""
    parts = {
        "all": list(answers),
        "lowest disc in view": [a for a in answers if a.has_lowest],
        "lowest disc cut off": [a for a in answers if not a.has_lowest],
        "real scans": [a for a in answers if not a.is_phantom],
        "phantoms": [a for a in answers if a.is_phantom],
        "a vertebra left out": [a for a in answers if a.piece.startswith(LEFT_OUT)],
        "the vertebrae left out": [a for a in answers if a.is_left_out],
    }
    lines = [summary(title, chosen) for title, chosen in parts.items()]
    for title in ("all", "real scans", "phantoms"):
        if parts[title]:
            lines += ["", f"{title}: score, answers, mean score, share right", *_table(bins_of(parts[title]))]
    return "\n".join(lines)


def _table(bins: Sequence[ReliabilityBin]) -> Iterator[str]:
    for item in bins:
        bar = "#" * round(40 * item.share_right)
        yield (
            f"  {item.low:.1f}-{item.high:.1f} {item.count:5d}  {item.mean_score:.2f}  "
            f"{item.share_right:.2f} {bar}"
        )


def bins_of(answers: Sequence[Answer]) -> tuple[ReliabilityBin, ...]:
    """How often answers are right, by their score, in ten ranges."""
    return reliability(np.array([a.score for a in answers]), np.array([a.is_right for a in answers]))


def summary(title: str, answers: Sequence[Answer]) -> str:
    """Accuracy over decided answers, share of uncertain ones, calibration error."""
    if not answers:
        return f"{title}: none"
    decided = [a for a in answers if a.verdict != "uncertain"]
    right = sum(a.is_right for a in decided)
    presence = sum((a.verdict == "present") == a.is_there for a in decided)
    false = sum(a.verdict == "present" and not a.is_there for a in decided)
    missed = sum(a.verdict != "present" and a.is_there for a in decided)
    num = max(1, len(decided))
    return (
        f"{title}: {len(answers)} answers of {len({a.case for a in answers})} scans; "
        f"decided {len(decided)}, right {right} ({right / num:.3f}), presence right {presence} "
        f"({presence / num:.3f}), present but not there {false}, missed {missed}; "
        f"uncertain {1 - len(decided) / len(answers):.3f}; "
        f"calibration error {calibration_error(bins_of(answers)):.3f}"
    )


if __name__ == "__main__":
    main()
