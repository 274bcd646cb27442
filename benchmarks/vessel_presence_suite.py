"""Are verdicts on lung vessels right, and what do scores mean: chest phantoms, boxes of them, worse scans.

python benchmarks/vessel_presence_suite.py --phantoms 8 --seed 5000 --without-wholes -o fit.json
python benchmarks/calibrate_verdicts.py fit.json -m CHECKPOINT --write
python benchmarks/vessel_presence_suite.py --phantoms 8 --seed 6000 --empty ABDOMEN.nii.gz -o test.json

Each phantom is judged whole, and in `--boxes` random boxes of 30 to 100 % of each side, so that one lung, or
none, is in view. Wholes and boxes are left as they are, made noisy, blurred, or thick (`WAYS`), so that the
network also errs. A vessel is *there* in a piece that holds `THERE_ML` of it, *missing* where none of it is;
what lies between is left out. A verdict is *right* where most of the voxels of its mask are vessels of its
name and the vessel is there, or where it has no mask and the vessel is missing. Voxels of branches too thin
for the reference's grid are not judged: where a piece, or a mask, holds nothing but such, there is no answer.
A CT given as `--empty` shows no lung: every vessel is missing there.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
from presence_suite import Answer, bins_of, summary
from scipy import ndimage

from nomina.anatomy.schemes import load_scheme
from nomina.anatomy.structures import structure
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_volume
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.segmenter import Segmenter
from nomina.phantoms.lung_labels import THIN
from nomina.phantoms.lung_plan import LungConfig
from nomina.phantoms.lung_render import render_lung
from nomina.phantoms.lung_vessels import sample_lung

THERE_ML = 2.0
PROMPTS = tuple(f"{side}pulmonary {kind}" for kind in ("artery", "vein") for side in ("", "left ", "right "))
WAYS = ("as it is", "noisy", "blurred", "thick")
"""Noise of SD 40 to 150 HU; a Gaussian of 0.8 to 2 voxels; slices of 3 or 5, of phantoms of 1 mm."""


def main() -> None:
    """Measure, print tables, and write every answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default="lung-vessels-ct")
    parser.add_argument("--phantoms", type=int, default=8)
    parser.add_argument("--seed", type=int, default=6000, help="Seed of the first phantom.")
    parser.add_argument("--boxes", type=int, default=4)
    parser.add_argument("--without-wholes", action="store_true", help="Judge the boxes only.")
    parser.add_argument("--empty", type=Path, nargs="*", default=[], help="CTs without lungs.")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of all answers.")
    args = parser.parse_args()
    segmenter = Segmenter.load(args.model)
    answers: list[Answer] = []
    for case, piece, volume, truth in _all_pieces(args):
        answers += judged(segmenter(volume, list(PROMPTS)), case, piece, truth)
        print(f"{case} {piece}: {len(answers)} answers", flush=True)
        if args.output:
            args.output.write_text(json.dumps([asdict(answer) for answer in answers], indent=1))
    print(report(answers))


def _all_pieces(args: argparse.Namespace) -> Iterator[tuple[str, str, Volume, LabelMap]]:
    for path in args.empty:
        volume = read_volume(path).canonical()
        nothing = LabelMap(np.zeros(volume.grid.shape, np.uint8), volume.grid, names={}, scheme="nomina")
        yield path.name.split(".")[0], "whole", volume, nothing
    for seed in range(args.seed, args.seed + args.phantoms):
        chest = sample_lung(seed, LungConfig())
        volume = render_lung(chest, seed, "random")
        found = pieces(volume, chest.vessels, args.boxes, seed)
        for piece, part, truth in islice(found, int(args.without_wholes), None):
            yield f"chest{seed}", piece, part, truth


def pieces(
    volume: Volume, truth: LabelMap, num_boxes: int, seed: int
) -> Iterator[tuple[str, Volume, LabelMap]]:
    """The whole scan and boxes cut from it, each in one of `WAYS`; they follow from the seed."""
    rng = np.random.default_rng((seed, 11))
    for number in range(num_boxes + 1):
        share = np.ones(3) if number == 0 else rng.uniform(0.3, 1.0, 3)
        sides = np.maximum(32, np.round(share * volume.grid.shape)).astype(int)
        start = [
            int(rng.integers(0, size - side + 1)) for size, side in zip(volume.grid.shape, sides, strict=True)
        ]
        box = tuple(slice(a, a + side) for a, side in zip(start, sides, strict=True))
        way = str(rng.choice(WAYS))
        where = " ".join(f"{side.start}-{side.stop}" for side in box)
        yield f"{way}, {where}", *_worse(volume.cropped(box), truth.cropped(box), way, rng)


def _worse(volume: Volume, truth: LabelMap, way: str, rng: np.random.Generator) -> tuple[Volume, LabelMap]:
    """The same scan with more noise, blur or thickness of slices."""
    array, labels, affine = volume.array.astype(np.float32), truth.array, volume.grid.affine.copy()
    if way == "noisy":
        array = array + rng.normal(0, rng.uniform(40, 150), array.shape)
    elif way == "blurred":
        array = ndimage.gaussian_filter(array, rng.uniform(0.8, 2.0))
    elif way == "thick":
        step = int(rng.choice((3, 5)))  # odd: the middle slice of each is where its labels are
        num = array.shape[2] // step
        array = array[:, :, : num * step].reshape(*array.shape[:2], num, step).mean(axis=3)
        labels = labels[:, :, step // 2 : num * step : step]
        affine[:3, 3] += affine[:3, 2] * (step // 2)
        affine[:3, 2] *= step
    grid = Grid(array.shape, affine)
    scan = replace(volume, array=np.rint(array).astype(np.int16), grid=grid)
    return scan, replace(truth, array=np.ascontiguousarray(labels), grid=grid)


def judged(result: Segmentation, case: str, piece: str, truth: LabelMap) -> Iterator[Answer]:
    """The verdict on each vessel that is there or missing.

    Args:
        result: Of the piece, on canonical axes.
        case: Name of the scan.
        piece: Name of the piece.
        truth: Its reference in the `nomina` scheme; branches too thin for its grid are ignored.
    """
    is_judged = ~np.isin(truth.array, list(truth.ignored))
    thin_names = {value: load_scheme("nomina").labels[value - THIN] for value in truth.ignored}
    for verdict in result.verdicts:
        mask = _mask(truth.array, truth.names, verdict.structure)
        thin = _mask(truth.array, thin_names, verdict.structure)
        found = _mask(result.label_map.array, result.label_map.names, verdict.structure)
        volume_ml = int(mask.sum()) * truth.grid.voxel_volume_ml
        is_missing = not mask.any() and not thin.any()
        if not is_missing and (volume_ml < THERE_ML or (found.any() and not found[is_judged].any())):
            continue
        yield Answer(
            case=case,
            piece=piece,
            structure=verdict.structure,
            is_there=bool(mask.any()),
            is_right=_is_right(verdict, found & is_judged, mask),
            verdict=verdict.presence,
            score=verdict.score,
            is_calibrated=verdict.is_calibrated,
            evidence=verdict.evidence,
        )


def _mask(array: np.ndarray, names: Mapping[int, str], name: str) -> np.ndarray:
    """Voxels of a structure or of its parts: where a side was asked for too, voxels bear the side's label."""
    values = [value for value, known in names.items() if name in (known, structure(known).part_of)]
    return np.isin(array, values)


def _is_right(verdict: Verdict, mask: np.ndarray, truth: np.ndarray) -> bool:
    if verdict.volume_ml == 0 or not truth.any():
        return verdict.volume_ml == 0 and not truth.any()
    return float(truth[mask].mean()) > 0.5 if mask.any() else False


def report(answers: list[Answer]) -> str:
    """Tables over all answers and over parts of them, and the reliability of the scores."""
    parts = {"all": answers, "phantoms": [a for a in answers if a.is_phantom]}
    parts |= {way: [a for a in answers if a.piece.startswith(way)] for way in WAYS}
    parts |= {"missing": [a for a in answers if not a.is_there], "there": [a for a in answers if a.is_there]}
    lines = [summary(title, chosen) for title, chosen in parts.items() if chosen]
    lines += [
        f"  {b.low:.1f}-{b.high:.1f} {b.count:5d} {b.mean_score:.2f} {b.share_right:.2f}"
        for b in bins_of(answers)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
