"""`nomina labels`: label schemes, conversion between them, and whether a label map follows one."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nomina.cli.options import AsJson, known_scheme

app = typer.Typer(
    no_args_is_help=True,
    help="Label schemes: show them, convert label maps, check that a label map follows one.",
    add_completion=False,
)


@app.command("list")
def list_schemes(
    names: Annotated[
        list[str] | None, typer.Argument(help="Schemes to show in full; none: all.", callback=known_scheme)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the label schemes and what their values mean."""
    from nomina.anatomy.schemes import load_scheme, scheme_names
    from nomina.config import to_plain

    schemes = [load_scheme(name) for name in names or scheme_names()]
    if as_json:
        typer.echo(json.dumps([to_plain(scheme) for scheme in schemes], indent=2, ensure_ascii=False))
        return
    for scheme in schemes:
        typer.echo(f"# {scheme.name} (version {scheme.version}): {scheme.source}")
        for note in scheme.notes:
            typer.echo(f"# {note}")
        meanings = {**scheme.labels, **scheme.others}
        meanings |= {value: f"{name}, partly visible" for value, name in scheme.partial.items()}
        meanings |= dict.fromkeys(scheme.unnamed, "(no name in a standard spine)")
        for value in sorted(meanings):
            typer.echo(f"{scheme.name}\t{value}\t{meanings[value]}")
        for kind, meaning in sorted(scheme.types.items()):
            typer.echo(f"{scheme.name}\t+{256 * kind}\t{meaning}, added to a region")


@app.command("convert")
def convert_file(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Label map to read.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Label map to write; not the same file.")],
    to: Annotated[
        str, typer.Option("--to", help="Scheme to write: a name or a .yaml file.", callback=known_scheme)
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="Scheme of IN; left out, the JSON file beside IN says it.", callback=known_scheme
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option("--leave-out", help="Structure that becomes background; can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a label map under the numbers of another scheme, and say what that scheme cannot express.

    A JSON file beside it says what its values mean and what was lost.
    """
    from nomina.anatomy.conversion import FORMAT, convert
    from nomina.anatomy.schemes import claimed_scheme, load_scheme, read_label_map
    from nomina.cli.new_label_map import refuse_overwriting, write_with_record
    from nomina.errors import SchemeError

    target = load_scheme(to)
    refuse_overwriting(source, output, FORMAT)
    claimed = claimed_scheme(source)
    if from_ and claimed and load_scheme(from_).name != claimed:
        raise SchemeError(
            f"{source}: --from says {from_}, and the JSON file beside it says {claimed}; leave --from out, "
            f"or put the JSON file aside if it is wrong"
        )
    conversion = convert(read_label_map(source, scheme=from_), target, leave_out=leave_out or ())
    if conversion.lost and not conversion.label_map.array.any():
        raise SchemeError(
            f"{source}: none of its structures has a value in scheme {target.name}: "
            f"{'; '.join(conversion.lost)}; `nomina labels list` shows what each scheme can say"
        )
    write_with_record(conversion.label_map, output, {"source": source.name} | conversion.as_plain())
    for sentence in (*conversion.lost, *conversion.notes):
        typer.echo(sentence, err=True)
    present = conversion.label_map.present()
    summary: dict[str, Any] = {
        "output": str(output),
        "scheme": target.name,
        "structures": {conversion.label_map.value_of(name): name for name in present},
        "lost": conversion.lost,
        "notes": conversion.notes,
    }
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        plural = "s" * (len(present) != 1)
        typer.echo(f"{output}: {len(present)} structure{plural} in scheme {target.name}")


@app.command("verify")
def verify_file(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Label map to check.")],
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            help="Scheme that it should follow; left out, the JSON file beside it says it.",
            callback=known_scheme,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check by the order of structures in the body whether a label map follows its scheme; exits 1 if not."""
    from nomina.anatomy.schemes import claimed_scheme, load_scheme
    from nomina.assessment.scheme_fit import sentences, verify
    from nomina.errors import VolumeError
    from nomina.imaging.read import read_label_array

    array, grid = read_label_array(source)
    name = scheme or claimed_scheme(source)
    try:
        found = verify(array, grid, load_scheme(name) if name else None)
    except VolumeError as error:
        raise VolumeError(f"{source} is no label map: {error}", code=error.code) from error
    if as_json:
        typer.echo(json.dumps({"file": str(source)} | found.as_plain(), indent=2, ensure_ascii=False))
    else:
        first, *rest = sentences(found)
        typer.echo(f"{source}: {first}")
        for sentence in rest:
            typer.echo(f"  {sentence}")
    if not found.is_fit:
        raise typer.Exit(1)
