"""Fit the scores of verdicts on answers of known truth, and keep the fit in a checkpoint.

python benchmarks/presence_suite.py ... --part train --seed 7000 --crops 2 --without-wholes -o real.json
python benchmarks/presence_suite.py ... --phantoms 16 --first-phantom 4000 -o phantoms.json
python benchmarks/calibrate_verdicts.py real.json phantoms.json -m CHECKPOINT --write

and for lung vessels

python benchmarks/vessel_presence_suite.py --phantoms 8 --seed 5000 --without-wholes -o vessels.json
python benchmarks/calibrate_verdicts.py vessels.json -m CHECKPOINT --write

Prints what a fit on some scans gives on others: five folds of scans; real scans judged by phantoms and the
other way about. With `--write` the fit on all of them goes into the checkpoint. Answers of the patients and
phantoms that measure the result have no place here.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from presence_suite import Answer, summary

from nomina.assessment.calibration import (
    SURE_SCORE,
    Example,
    VerdictCalibration,
    fit_calibration,
    kind_of,
)
from nomina.config import to_plain
from nomina.networks.checkpoint import load_checkpoint, store_calibration
from nomina.networks.shipped import checkpoint_folder

NUM_FOLDS = 5


def main() -> None:
    """Fit, print, and with `--write` store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "answers", type=Path, nargs="+", help="What presence_suite.py or vessel_presence_suite.py wrote."
    )
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--write", action="store_true", help="Store the fit in the checkpoint.")
    args = parser.parse_args()
    folder = checkpoint_folder(args.model)
    checkpoint = load_checkpoint(folder)
    answers = [answer for path in args.answers for answer in read_answers(path)]
    weights_sha256 = checkpoint.run["files"]["model.safetensors"]
    _refuse_validation(answers, checkpoint.run.get("validation_patients", ()))
    real = [answer for answer in answers if not answer.is_phantom]
    phantoms = [answer for answer in answers if answer.is_phantom]
    print(summary("as answered", answers))
    print(summary("five folds of scans", in_folds(answers)))
    if real and phantoms:
        print(summary("real scans, fitted on phantoms", scored(real, fit(phantoms))))
        print(summary("phantoms, fitted on real scans", scored(phantoms, fit(real))))
    fitted = fit(answers, weights_sha256)
    for title, chosen in (("all", answers), ("real scans", real), ("phantoms", phantoms)):
        print(summary(f"{title}, fitted on all", scored(chosen, fitted)))
    print(json.dumps(to_plain(fitted), indent=1))
    if args.write:
        store_calibration(folder, fitted)


def read_answers(path: Path) -> list[Answer]:
    """The answers of one run of the suite."""
    return [Answer(**item) for item in json.loads(path.read_text())]


def fit(answers: Sequence[Answer], weights_sha256: str = "") -> VerdictCalibration:
    """The calibration under which these answers are most likely."""
    examples = [Example(answer.evidence, answer.is_right) for answer in answers]
    return fit_calibration(examples, weights_sha256=weights_sha256, fitted_on=_in_words(answers))


def scored(answers: Sequence[Answer], calibration: VerdictCalibration) -> list[Answer]:
    """The same answers as verdicts with this calibration would give them."""
    return [_scored(answer, calibration) for answer in answers]


def _scored(answer: Answer, calibration: VerdictCalibration) -> Answer:
    score = calibration.score(answer.evidence)
    stated = "present" if kind_of(answer.evidence)[1] == "found" else "missing"
    verdict = stated if score >= SURE_SCORE else "uncertain"
    return replace(answer, score=score, verdict=verdict, is_calibrated=True)


def in_folds(answers: Sequence[Answer]) -> list[Answer]:
    """Each answer scored by a fit on the scans of the other folds."""
    cases = sorted({answer.case for answer in answers})
    result = []
    for fold in range(NUM_FOLDS):
        left_out = set(cases[fold::NUM_FOLDS])
        rest = fit([answer for answer in answers if answer.case not in left_out])
        result += scored([answer for answer in answers if answer.case in left_out], rest)
    return result


def _refuse_validation(answers: Sequence[Answer], patients: Sequence[str]) -> None:
    for answer in answers:
        if answer.case.split("_")[0] in patients:
            raise SystemExit(f"{answer.case} is a validation patient of this checkpoint; leave it out")


def _in_words(answers: Sequence[Answer]) -> str:
    parts = []
    for title, is_phantom in (("real scans", False), ("phantoms", True)):
        chosen = [answer for answer in answers if answer.is_phantom == is_phantom]
        cases = sorted({answer.case for answer in chosen})
        if cases:
            pieces = len({(answer.case, answer.piece) for answer in chosen})
            parts.append(f"{len(chosen)} verdicts on {len(cases)} {title} ({pieces} wholes and pieces)")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
