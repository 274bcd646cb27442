"""`nomina vote`: one class for every branch of arteries and veins, without a network."""

import json

import typer

from nomina.cli.new_label_map import NewLabelMap, Seg, SegScheme, refuse_overwriting, write_with_record
from nomina.cli.options import AsJson


def vote(
    source: Seg,
    output: NewLabelMap,
    scheme: SegScheme = None,
    as_json: AsJson = False,
) -> None:
    """Give every branch of lung arteries and veins one class, by vote; say what changed."""
    from nomina.anatomy.schemes import read_label_map
    from nomina.assessment.branch_vote import FORMAT, vote_on_branches

    refuse_overwriting(source, output, FORMAT)
    result = vote_on_branches(read_label_map(source, scheme=scheme))
    plain = {"source": source.name} | result.as_plain()
    write_with_record(result.label_map, output, plain)
    if as_json:
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    for name, volume_ml in result.changed_ml.items():
        typer.echo(f"{name}: {volume_ml:.1f} ml went to the other tree")
    typer.echo(
        f"wrote {output}: changed branches: {result.num_changed_branches}, centreline: "
        f"{result.changed_length_mm:.0f} mm, voxels: {result.num_changed_voxels}",
        err=True,
    )
