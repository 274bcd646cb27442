"""A label map made from another one, the JSON file beside it that says what changed, and their options."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nomina.cli.options import known_scheme

if TYPE_CHECKING:
    from nomina.imaging.volume import LabelMap

Seg = Annotated[Path, typer.Argument(metavar="SEG", help="Label map to read.")]
NewLabelMap = Annotated[Path, typer.Option("-o", "--output", help="Label map to write; not the same file.")]
SegScheme = Annotated[
    str | None,
    typer.Option(
        help="Label scheme of SEG; left out, the JSON file beside it says it.", callback=known_scheme
    ),
]


def refuse_overwriting(source: Path, output: Path, written_as: str) -> None:
    """Refuse an output that would replace the input, or a JSON file of another origin.

    Args:
        source: Label map that is read.
        output: Label map that is to be written.
        written_as: `format` of the JSON files that the command writes and may replace.

    Raises:
        OutputError: The output is the input, or the file beside it describes something else.
    """
    from nomina.anatomy.schemes import sidecar_path
    from nomina.errors import OutputError

    if output.exists() and source.exists() and output.samefile(source):
        raise OutputError(f"{output} is the input itself; give another name for the output")
    sidecar = sidecar_path(output)
    if sidecar == sidecar_path(source):
        raise OutputError(
            f"{sidecar.name} describes {source.name} and cannot describe {output.name} too; "
            f"give the output another name"
        )
    if sidecar.exists() and written_as not in sidecar.read_text(encoding="utf-8", errors="replace"):
        raise OutputError(f"{sidecar} was not written by this command; give another name for the output")


def write_with_record(label_map: "LabelMap", output: Path, record: dict[str, Any]) -> None:
    """Write a label map and the JSON file beside it, the latter last."""
    from nomina.anatomy.schemes import sidecar_path
    from nomina.imaging.files import atomic_path, write_text_atomic
    from nomina.imaging.write import write

    with atomic_path(output) as new_map:
        write(label_map, new_map)
        # An older JSON file must never name the values of a newer label map.
        sidecar_path(output).unlink(missing_ok=True)
    write_text_atomic(sidecar_path(output), json.dumps(record, indent=2, ensure_ascii=False) + "\n")
