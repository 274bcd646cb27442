"""What `nomina evaluate` prints: tables, and the sentences below them that say what the numbers are over."""

import math
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nomina.cli.tables import table_console

if TYPE_CHECKING:
    from nomina.assessment.comparison import Comparison
    from nomina.assessment.summary import Estimate, Evaluation


def print_evaluation(evaluation: "Evaluation", comparison: "Comparison | None") -> None:
    """Everything on stdout, with the differences to other predictions where there are any."""
    console = table_console()
    tables = [
        _structure_table(evaluation),
        _mean_table(evaluation),
        _presence_table(evaluation),
    ]
    is_spine = any(scores.num_reference for scores in evaluation.label_free.values())
    if is_spine:
        tables.insert(2, _label_free_table(evaluation))
    if evaluation.trees:
        tables.append(_tree_table(evaluation))
    if comparison is not None:
        tables.append(_comparison_table(comparison))
    for table in tables:
        console.print(table)
        console.print()
    naming = _naming_lines(evaluation) if is_spine else []
    trees = _tree_lines(evaluation)
    for line in (*_policy_lines(evaluation), *trees, *naming, *_apart_lines(evaluation)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _structure_table(evaluation: "Evaluation") -> Table:
    from nomina.assessment.scores import METRICS

    table = _table("structure", *METRICS, "n", "one only")
    for structure in evaluation.structures:
        averages = structure.averages
        table.add_row(
            structure.structure,
            *(_number(averages[metric].mean) for metric in METRICS),
            str(averages["dice"].num_averaged),
            str(averages["dice"].num_one_empty or ""),
        )
    return table


def _tree_table(evaluation: "Evaluation") -> Table:
    from nomina.assessment.tree_scores import TREE_METRICS

    trees = evaluation.trees
    table = _table("lung vessels", *(header for tree in trees for header in (tree, "95 % interval")))
    for metric in TREE_METRICS:
        estimates = [of_tree[metric] for of_tree in trees.values()]
        cells = [cell for found in estimates for cell in (_number(found.mean), _interval(found))]
        table.add_row(metric, *cells)
    return table


def _tree_lines(evaluation: "Evaluation") -> list[str]:
    """How many cases entered the means of each tree."""
    lines = []
    for tree, averages in evaluation.tree_averages.items():
        left_out = averages["centreline_precision"].num_left_out
        without = f"; {left_out} found nothing of it and have no precision" if left_out else ""
        lines.append(f"{tree}: means over {averages['dice'].num_averaged} cases{without}")
    return lines


def _mean_table(evaluation: "Evaluation") -> Table:
    table = _table("mean", "over structures", "95 % interval", "over cases", "95 % interval")
    for metric, class_wise in evaluation.class_wise.items():
        case_wise = evaluation.case_wise[metric]
        table.add_row(
            metric,
            _number(class_wise.mean),
            _interval(class_wise),
            _number(case_wise.mean),
            _interval(case_wise),
        )
    return table


def _label_free_table(evaluation: "Evaluation") -> Table:
    table = _table("label-free", "dice", "95 % interval", "asd_mm", "95 % interval", "detected")
    for group, scores in evaluation.label_free.items():
        table.add_row(
            group,
            _number(scores.dice.mean),
            _interval(scores.dice),
            _number(scores.asd_mm.mean),
            _interval(scores.asd_mm),
            f"{scores.num_detected} of {scores.num_reference}",
        )
    return table


def _presence_table(evaluation: "Evaluation") -> Table:
    table = _table(
        "presence (cases)", "both", "predicted only", "missed", "neither", "sensitivity", "specificity"
    )
    for counts in evaluation.presence:
        table.add_row(
            counts.structure,
            str(counts.num_both),
            str(counts.num_prediction_only or ""),
            str(counts.num_reference_only or ""),
            str(counts.num_neither or ""),
            _number(counts.sensitivity),
            _number(counts.specificity),
        )
    return table


def _comparison_table(comparison: "Comparison") -> Table:
    """Differences PRED minus PRED2."""
    header = f"PRED − PRED2, {comparison.num_cases} cases"
    table = _table(header, "over structures", "95 % interval", "over cases", "95 % interval")
    for metric, class_wise in comparison.class_wise.items():
        case_wise = comparison.case_wise[metric]
        table.add_row(
            metric,
            f"{class_wise.mean:+.3f}",
            _interval(class_wise),
            f"{case_wise.mean:+.3f}",
            _interval(case_wise),
        )
    return table


def _policy_lines(evaluation: "Evaluation") -> list[str]:
    dice = [structure.averages["dice"] for structure in evaluation.structures]
    hd95 = [structure.averages["hd95_mm"] for structure in evaluation.structures]
    lines = [
        f"cases: {len(evaluation.cases)}, patients: {evaluation.num_patients}; intervals: bootstrap over "
        f"patients, {evaluation.num_resamples} resamples, seed {evaluation.seed}",
        f"policy {evaluation.policy}: structures in one map only: {sum(a.num_one_empty for a in dice)}; "
        f"left out of means: {sum(a.num_left_out for a in dice)} Dice, "
        f"{sum(a.num_left_out for a in hd95)} distances",
    ]
    for policy, means in evaluation.class_wise_by_policy.items():
        if policy != evaluation.policy:
            lines.append(
                f"under {policy} the means over structures are dice {_number(means['dice'])}, hd95_mm "
                f"{_number(means['hd95_mm'])}, hd95_px {_number(means['hd95_px'])}"
            )
    if evaluation.max_level is not None:
        lines.append(f"SPIDER numbers (from the bottom) above {evaluation.max_level} are not scored")
    only_asked = [case for case in (*evaluation.cases, *evaluation.excluded) if case.asked is not None]
    if only_asked:
        names = list(dict.fromkeys(name for case in only_asked for name in case.asked or ()))
        listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        num_cases = len(evaluation.cases) + len(evaluation.excluded)
        lines.append(
            f"scored on what was asked alone, the rest of the reference left aside: {len(only_asked)} of "
            f"{num_cases} case{'s' * (num_cases > 1)} ({listed or 'parts of structures'}); --all-structures "
            f"scores everything"
        )
    not_scored = sorted({name for case in evaluation.cases for name in case.not_scored})
    if not_scored:
        lines.append(f"predicted where the reference cannot judge, not scored: {', '.join(not_scored)}")
    return lines


def _naming_lines(evaluation: "Evaluation") -> list[str]:
    from nomina.assessment.presence import MISSED

    naming = evaluation.naming
    counts = ", ".join(f"{count} {outcome}" for outcome, count in naming.counts.items())
    wrong = [
        f"{name} as {named} ({count})"
        for name, names in evaluation.named_as.items()
        for named, count in names.items()
        if named not in (name, MISSED)
    ]
    return [
        f"names of vertebrae and discs: {counts}; right {_number(naming.right.mean)} "
        f"({_interval(naming.right) or 'no interval'})",
        f"vertebrae identified (centre within 20 mm and nearest): {_number(naming.identified.mean)} "
        f"({_interval(naming.identified) or 'no interval'})",
        f"scans with all levels right: {naming.num_all_levels_right} of {naming.num_cases}; "
        f"with no level wrong (some may be missed): {naming.num_no_level_wrong} of {naming.num_cases}",
        *([f"named otherwise (times): {', '.join(wrong)}"] if wrong else []),
    ]


def _apart_lines(evaluation: "Evaluation") -> list[str]:
    from nomina.assessment.summary import summarise

    lines = []
    for case in evaluation.excluded:
        alone = summarise([case])
        dice, hd95 = alone.class_wise["dice"].mean, alone.class_wise["hd95_mm"].mean
        label_free = ", ".join(f"{group} {_number(s.dice.mean)}" for group, s in alone.label_free.items())
        right = f"{case.naming.count('right')} of {len(case.naming.structures)}"
        lines.append(
            f"excluded: {case.case}, scored alone: dice {_number(dice)}, hd95_mm {_number(hd95)}, "
            f"names right {right}, label-free dice {label_free}"
        )
    if evaluation.missing:
        lines.append(f"without a prediction, in no mean: {', '.join(evaluation.missing)}")
    return lines


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _number(value: float) -> str:
    """At most three decimals, four digits."""
    return "–" if math.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _interval(estimate: "Estimate") -> str:
    interval = estimate.interval
    return "" if math.isnan(interval.low) else f"{_number(interval.low)} to {_number(interval.high)}"
