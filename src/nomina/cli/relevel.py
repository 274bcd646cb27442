"""`nomina relevel`: other level names for a label map, from what the user knows, without a network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nomina.cli.new_label_map import NewLabelMap, Seg, SegScheme, refuse_overwriting, write_with_record
from nomina.cli.options import AsJson
from nomina.cli.tables import print_lines

if TYPE_CHECKING:
    from nomina.assessment.relevel import Relevelled


def relevel(
    source: Seg,
    output: NewLabelMap,
    anchor: Annotated[
        list[str],
        typer.Option(
            "--anchor",
            metavar="WORDS",
            help='What is known: "lowest disc is L5/S1", "label 3 is L3" or "L4 is here: x,y,z" (world mm, '
            "RAS: to the patient's right, forwards, to the head); repeatable.",
        ),
    ],
    scheme: SegScheme = None,
    as_json: AsJson = False,
) -> None:
    """Renumber the vertebrae and discs of a label map by what is known of one or more; masks stay."""
    from nomina.anatomy.schemes import read_label_map
    from nomina.assessment.level_anchors import parse_anchor
    from nomina.assessment.relevel import FORMAT
    from nomina.assessment.relevel import relevel as relevel_map

    anchors = [parse_anchor(words) for words in anchor]
    refuse_overwriting(source, output, FORMAT)
    result = relevel_map(read_label_map(source, scheme=scheme), anchors)
    plain = {"source": source.name, "anchors": list(anchor)} | result.as_plain()
    write_with_record(result.label_map, output, plain)
    if as_json:
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        _print(result, output)


def _print(result: "Relevelled", output: Path) -> None:
    rows = [("label", "was", "new_label", "is", "confidence")]
    for level in result.levels:
        sure = f"{level.confidence:.2f}"
        rows.append((str(level.label), level.name, str(level.new_label), level.new_name, sure))
    print_lines(rows, right_aligned=(0, 2, 4))
    for sentence in (*result.decided_by, *result.notes):
        typer.echo(sentence, err=True)
    changed = sum(level.is_changed for level in result.levels)
    typer.echo(f"wrote {output}: {changed} of {len(result.levels)} names changed", err=True)
