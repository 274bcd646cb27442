"""`nomina evaluate`: predicted label maps against references."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from nomina.cli.evaluate_report import print_evaluation
from nomina.cli.options import known_policy, known_scheme
from nomina.cli.tables import refuse_output

if TYPE_CHECKING:
    from nomina.assessment.case_files import CaseFiles
    from nomina.assessment.comparison import Comparison
    from nomina.assessment.summary import Evaluation


Predictions = Annotated[Path, typer.Argument(metavar="PRED", help="Label map, or folder of them.")]
References = Annotated[
    Path, typer.Argument(metavar="REF", help="Reference label map, or folder of them, named alike.")
]
SchemeOfReferences = Annotated[
    str | None,
    typer.Option(
        help="Label scheme of the references; without it the JSON beside each.", callback=known_scheme
    ),
]
SchemeOfPredictions = Annotated[
    str | None,
    typer.Option(
        help="Label scheme of the predictions; without it the JSON beside each, else that of REF.",
        callback=known_scheme,
    ),
]
Policy = Annotated[
    str, typer.Option(help="Structures that one map lacks: penalise, finite or skip.", callback=known_policy)
]
MaxLevel = Annotated[int, typer.Option(min=0, help="Highest SPIDER number that is scored; 0: all.")]
Case = Annotated[list[str] | None, typer.Option(help="Only this case or patient; repeatable.")]
Exclude = Annotated[
    list[str] | None, typer.Option(help="Score this case or patient apart, in no mean; repeatable.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on when a reference has no prediction in PRED or PRED2.")
]
AllStructures = Annotated[
    bool,
    typer.Option(
        "--all-structures",
        help="Score all structures of REF, also where the JSON beside PRED says what it was asked for.",
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(metavar="PRED2", help="Other predictions of the same cases: print paired differences."),
]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap over patients.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="CSV file; a JSON file is written beside it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


app = typer.Typer(add_completion=False)


@app.command("evaluate", context_settings={"allow_extra_args": True})
def evaluate(
    context: typer.Context,
    predictions: Predictions,
    references: References,
    scheme: SchemeOfReferences = None,
    prediction_scheme: SchemeOfPredictions = None,
    policy: Policy = "penalise",
    max_level: MaxLevel = 8,
    case: Case = None,
    exclude: Exclude = None,
    allow_missing: AllowMissing = False,
    all_structures: AllStructures = False,
    against: Against = None,
    seed: Seed = 0,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Score predicted label maps against references: overlap, distances, level names, label-free."""
    if context.args:
        raise typer.BadParameter(
            f"got more than PRED and REF: {' '.join(context.args)}; two predictions are compared by "
            f"`nomina evaluate PRED REF --against PRED2`"
        )
    from nomina.assessment.folders import Scoring, compare_folder, evaluate_folders
    from nomina.assessment.metrics.empty_masks import check_policy
    from nomina.assessment.tables import json_text

    scoring = Scoring(
        scheme, prediction_scheme, check_policy(policy), max_level or None, only_asked=not all_structures
    )
    if output is not None:
        refuse_output(output, [".csv"], output.with_suffix(".json"))
    evaluation = evaluate_folders(
        predictions,
        references,
        scoring,
        cases=case or (),
        exclude=exclude or (),
        allow_missing=allow_missing,
        seed=seed,
        watch=_watch,
    )
    comparison = None
    if against is not None:
        comparison, lacking = compare_folder(
            evaluation, against, references, scoring, allow_missing=allow_missing, seed=seed, watch=_watch
        )
        if lacking:
            typer.echo(
                f"{against} has no prediction of {', '.join(lacking)}: "
                f"compared on the other {comparison.num_cases}",
                err=True,
            )
    if output is not None:
        _write(evaluation, comparison, output)
    if as_json:
        typer.echo(json_text(evaluation, comparison), nl=False)
    else:
        print_evaluation(evaluation, comparison)


def _watch(pairs: "Sequence[CaseFiles]") -> "Iterable[CaseFiles]":
    talk = Console(stderr=True)
    return track(pairs, "scoring", console=talk, transient=True, disable=not talk.is_terminal)


def _write(evaluation: "Evaluation", comparison: "Comparison | None", output: Path) -> None:
    from nomina.assessment.tables import csv_text, json_text
    from nomina.imaging.files import write_text_atomic

    write_text_atomic(output, csv_text(evaluation))
    write_text_atomic(output.with_suffix(".json"), json_text(evaluation, comparison))
    typer.echo(f"wrote {output} and {output.with_suffix('.json')}", err=True)
