"""How often the verdicts are right, and what their scores mean: whole scans, and scans cut at random heights.

python benchmarks/presence_suite.py -m spine-mr --images images/ --references masks/ --phantoms 20 --crops 3

Each scan is judged whole and in `--crops` random pieces (40 to 90 % of its height). The references follow
the SPIDER scheme. A structure is *there* in a piece that holds at least half of it, *missing* where none of
it is; pieces that hold less of it, and what the reference calls partly visible, are left out. Levels keep
the names of the whole scan, so a piece without the sacrum asks for more than can be known: the verdict
"uncertain" is counted apart.
"""

import argparse
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nomina.anatomy.schemes import load_scheme, read_label_map
from nomina.imaging.grid import Grid
from nomina.imaging.read import find_volumes, read_volume
from nomina.imaging.segmentation import Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.segmenter import Segmenter
from nomina.phantoms.render import phantom_case

PARTIAL = 100
"""SPIDER adds this to the label of a partly visible vertebra."""
LEAST_SHARE = 0.5
"""Share of a structure from which it counts as there."""
NUM_BINS = 10


@dataclass(frozen=True)
class Answer:
    """One verdict beside the truth."""

    case: str
    piece: str
    structure: str
    is_there: bool
    verdict: str
    probability: float
    """That the structure is there, as the verdict and its score state it."""
    has_lowest: bool
    """Whether the piece holds the lowest disc, from which levels are counted."""


def main() -> None:
    """Measure, print a table, and write every answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default="spine-mr")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--references", type=Path, help="Label maps of the same names, SPIDER scheme.")
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first phantom, and of the pieces.")
    parser.add_argument("--crops", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, help="JSON file of all answers.")
    args = parser.parse_args()
    segmenter = Segmenter.load(args.model)
    answers: list[Answer] = []
    for case, volume, reference in scans(args):
        for piece, part, truth in pieces(case, volume, reference, args.crops, args.seed):
            answers += judged(segmenter, case, piece, part, truth, reference)
            print(f"{case} {piece}: {len(answers)} answers", flush=True)
    for title, chosen in (
        ("all", answers),
        ("lowest disc in view", [a for a in answers if a.has_lowest]),
        ("lowest disc cut off", [a for a in answers if not a.has_lowest]),
        ("real scans", [a for a in answers if not a.case.startswith("phantom")]),
        ("phantoms", [a for a in answers if a.case.startswith("phantom")]),
    ):
        print(summary(title, chosen))
    if args.output:
        args.output.write_text(json.dumps([asdict(answer) for answer in answers], indent=1))


def scans(args: argparse.Namespace) -> Iterator[tuple[str, Volume, LabelMap]]:
    """Name, scan and reference of each case, on canonical axes."""
    for path in find_volumes([args.images]).paths if args.images else ():
        reference = read_label_map(args.references / path.name, scheme="spider")
        yield path.name.split(".")[0], read_volume(path).canonical(), reference.canonical()
    for seed in range(args.seed, args.seed + args.phantoms):
        volume, reference = phantom_case(seed)
        yield f"phantom_{seed:05d}", volume.canonical(), reference.canonical()


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
        rows = slice(first, first + size)
        affine = volume.grid.affine.copy()
        affine[:3, 3] += first * affine[:3, 2]
        part = np.ascontiguousarray(volume.array[:, :, rows])
        grid = Grid(part.shape, affine)
        truth = LabelMap(
            np.ascontiguousarray(reference.array[:, :, rows]),
            grid,
            names=reference.names,
            scheme=reference.scheme,
            ignored=reference.ignored,
        )
        name = f"{first}-{first + size} of {height}"
        yield name, Volume(part, grid, modality=volume.modality, sequence=volume.sequence), truth


def judged(
    segmenter: Segmenter, case: str, piece: str, volume: Volume, truth: LabelMap, whole: LabelMap
) -> Iterator[Answer]:
    """The verdict of each structure that can be told there or missing."""
    discs = [
        value
        for value, name in whole.names.items()
        if name.endswith(" disc") and (whole.array == value).any()
    ]
    has_lowest = bool(discs) and _share(truth, whole, min(discs)) >= LEAST_SHARE
    # The scheme's own, since a reference need not name a vertebra of which it holds a part alone.
    values = {name: value for value, name in load_scheme("spider").labels.items()}
    for verdict in segmenter(volume, None).verdicts:
        value = values.get(verdict.structure)
        share = 0.0 if value is None else _share(truth, whole, value)
        if share == 0 or share >= LEAST_SHARE:
            there = share >= LEAST_SHARE
            name, presence = verdict.structure, verdict.presence
            yield Answer(case, piece, name, there, presence, _probability(verdict), has_lowest)


def _share(truth: LabelMap, whole: LabelMap, value: int) -> float:
    """Share of a structure's voxels in a piece; a trace where only a partly visible vertebra is there."""
    total = int((whole.array == value).sum())
    if total:
        return float((truth.array == value).sum()) / total
    return 1e-6 if (truth.array == value + PARTIAL).any() else 0.0


def _probability(verdict: Verdict) -> float:
    is_found = verdict.presence == "present" or (verdict.presence == "uncertain" and verdict.volume_ml > 0)
    return verdict.score if is_found else 1 - verdict.score


def summary(title: str, answers: list[Answer]) -> str:
    """Accuracy over decided and over all answers, share of uncertain ones, calibration error."""
    if not answers:
        return f"{title}: none"
    decided = [a for a in answers if a.verdict != "uncertain"]
    right = sum((a.verdict == "present") == a.is_there for a in decided)
    text = (
        f"{title}: {len(answers)} answers, "
        f"right {right / max(1, len(decided)):.3f} of {len(decided)} decided, "
        f"{right / len(answers):.3f} of all; uncertain {1 - len(decided) / len(answers):.3f}; "
        f"calibration error {calibration_error(answers):.3f}"
    )
    wrong = [a for a in decided if (a.verdict == "present") != a.is_there]
    false = sum(not a.is_there for a in wrong)
    return f"{text}; present but not there {false}, missed {len(wrong) - false}"


def calibration_error(answers: list[Answer]) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015)."""
    probability = np.array([a.probability for a in answers])
    there = np.array([a.is_there for a in answers], dtype=float)
    bins = np.minimum((probability * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = [
        abs(probability[bins == b].mean() - there[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


if __name__ == "__main__":
    main()
