"""`nomina prompt`: what a phrase names."""

import dataclasses
import json
from typing import Annotated

import typer

from nomina.anatomy.resolve import Explanation, explain
from nomina.anatomy.structures import Structure


def prompt(
    words: Annotated[list[str], typer.Argument(help='Phrases, e.g. "L4-5 disk" or "all lumbar discs".')],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show which structures a phrase names, with their SNOMED CT codes and nomina label values."""
    explanations = [explain(phrase) for phrase in words]
    for explanation in explanations:
        for correction in explanation.corrections:
            typer.echo(f"{explanation.text}: {correction}", err=True)
    if as_json:
        typer.echo(json.dumps([_as_dict(explanation) for explanation in explanations], indent=2))
        return
    for explanation in explanations:
        if len(explanations) > 1:
            typer.echo(f"# {explanation.text}")
        for structure in explanation.structures:
            typer.echo(_line(structure))


def _line(structure: Structure) -> str:
    code = f"SCT {structure.snomed_code} {structure.snomed_meaning}"
    return f"{structure.name:<14}  {code:<40}  label {structure.label}"


def _as_dict(explanation: Explanation) -> dict[str, object]:
    return {
        "prompt": explanation.text,
        "corrections": explanation.corrections,
        "structures": [dataclasses.asdict(structure) for structure in explanation.structures],
    }
