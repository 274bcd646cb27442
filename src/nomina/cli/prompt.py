"""`nomina prompt`: what a phrase names."""

import dataclasses
import json
from typing import Annotated

import typer

from nomina.anatomy.resolve import Explanation, Target, explain
from nomina.cli.options import AsJson
from nomina.errors import CheckpointError


def prompt(
    words: Annotated[list[str], typer.Argument(help='Phrases, e.g. "L4-5 disk" or "the disc below L4".')],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Only what this checkpoint knows: a name or a folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a phrase names: its expression, structures with SNOMED CT codes, and label values.

    Spelling that was corrected, and choices that the words leave open, are told on stderr.
    """
    within = None if model is None else _structures_of(model)
    explanations = [explain(phrase, within=within) for phrase in words]
    for explanation in explanations:
        for remark in (*explanation.corrections, *explanation.warnings):
            typer.echo(f"{explanation.text}: {remark}", err=True)
    if as_json:
        typer.echo(json.dumps([_as_dict(explanation) for explanation in explanations], indent=2))
        return
    for explanation in explanations:
        typer.echo(f"# {explanation.text} = {explanation.expression}")
        for target in explanation.targets:
            typer.echo(_line(target))


def _structures_of(model: str) -> tuple[str, ...]:
    """What can be asked of a shipped checkpoint or a checkpoint folder, without loading its network."""
    from nomina.anatomy.sides import nameable
    from nomina.networks.shipped import checkpoint_folder
    from nomina.plain_files import read_json

    path = checkpoint_folder(model) / "structures.json"
    try:
        names = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; give the folder of a checkpoint") from error
    if not isinstance(names, list):
        raise CheckpointError(f"{path} must hold a list of structures; copy the checkpoint again")
    return nameable([str(name) for name in names])


def _line(target: Target) -> str:
    structure = target.structure
    code = f"SCT {structure.snomed_code} {structure.snomed_meaning}"
    line = f"{structure.name:<14}  {code:<40}  label {structure.label}"
    return f"{line}  at {' to '.join(target.at)}" if target.at else line


def _as_dict(explanation: Explanation) -> dict[str, object]:
    return {
        "prompt": explanation.text,
        "expression": explanation.expression,
        "corrections": explanation.corrections,
        "warnings": explanation.warnings,
        "structures": [dataclasses.asdict(structure) for structure in explanation.structures],
        "targets": [{"structure": t.structure.name, "at": t.at} for t in explanation.targets],
    }
