"""Draw how often verdicts are right against their scores: before and after, real scans and phantoms.

python benchmarks/reliability_curve.py answers.json curve.png --before uncalibrated_answers.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from calibrate_verdicts import read_answers
from matplotlib.axes import Axes
from presence_suite import Answer, bins_of

from nomina.assessment.calibration import calibration_error


def main() -> None:
    """Draw one picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("answers", type=Path, help="What presence_suite.py -o wrote.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--before", type=Path, help="The same without a calibration.")
    args = parser.parse_args()
    runs = {"calibrated": read_answers(args.answers)}
    if args.before:
        runs = {"not calibrated": read_answers(args.before)} | runs
    figure, axes = plt.subplots(1, len(runs), figsize=(3.4 * len(runs), 3.6), squeeze=False)
    for axis, (title, answers) in zip(axes[0], runs.items(), strict=True):
        _draw(axis, title, answers)
    figure.tight_layout()
    figure.savefig(args.picture, dpi=110, metadata={"Software": None})


def _draw(axis: Axes, title: str, answers: Sequence[Answer]) -> None:
    axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, is_phantom, colour in (("real scans", False, "tab:blue"), ("phantoms", True, "tab:orange")):
        chosen = [answer for answer in answers if answer.is_phantom == is_phantom]
        if not chosen:
            continue
        bins = bins_of(chosen)
        label = f"{name}, error {calibration_error(bins):.2f}"
        scores, shares = [item.mean_score for item in bins], [item.share_right for item in bins]
        axis.plot(scores, shares, color=colour, linewidth=1, label=label)
        axis.scatter(scores, shares, [4 + 200 * item.count / len(chosen) for item in bins], color=colour)
    axis.set(title=title, xlabel="score", ylabel="share right", xlim=(0, 1.03), ylim=(0, 1.05))
    axis.set_aspect("equal")
    axis.legend(loc="lower right", fontsize=7, frameon=False)


if __name__ == "__main__":
    main()
