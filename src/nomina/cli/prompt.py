"""`nomina prompt`: what a phrase names."""

import dataclasses
import json
from typing import Annotated

import typer

from nomina.anatomy.resolve import Explanation, Target, explain_all, regions_needed
from nomina.cli.options import AsJson
from nomina.networks.shipped import nameable_of


def prompt(
    words: Annotated[list[str], typer.Argument(help='Phrases, e.g. "L4-5 disk" or "the disc below L4".')],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Only what this checkpoint knows: a name or a folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a phrase names: its expression, structures with SNOMED CT codes, and label values.

    Spelling that was corrected, choices that the words leave open, and what must be given besides the scan
    are told on stderr.
    """
    explanations = explain_all(words, within=None if model is None else nameable_of(model))
    for explanation in explanations:
        needed = regions_needed(explanation.targets)
        for remark in filter(None, (*explanation.corrections, *explanation.warnings, needed)):
            typer.echo(f"{explanation.text}: {remark}", err=True)
    if as_json:
        typer.echo(
            json.dumps([_as_dict(explanation) for explanation in explanations], indent=2, ensure_ascii=False)
        )
        return
    for explanation in explanations:
        typer.echo(f"# {explanation.text} = {explanation.expression}")
        for target in explanation.targets:
            typer.echo(_line(target))


def _line(target: Target) -> str:
    structure = target.structure
    code = f"SCT {structure.snomed_code} {structure.snomed_meaning}"
    line = f"{structure.name:<14}  {code:<40}  label {structure.label}"
    return f"{line}  {target.place}" if target.is_part else line


def _as_dict(explanation: Explanation) -> dict[str, object]:
    return {
        "prompt": explanation.text,
        "expression": explanation.expression,
        "corrections": explanation.corrections,
        "warnings": explanation.warnings,
        "structures": [dataclasses.asdict(structure) for structure in explanation.structures],
        "targets": [
            {"structure": t.structure.name, "at": t.at, "inside": t.inside or None}
            for t in explanation.targets
        ],
    }
