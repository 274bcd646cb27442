"""`nomina phantom`: spines with known truth, written to files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from nomina.imaging.volume import LabelMap

FORMATS = (".nii.gz", ".nii", ".mha", ".nrrd")
"""Suffixes that the volume's file may have."""


def phantom(
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="File (.nii.gz, .nii, .mha, .nrrd) for one phantom, or a folder for any number.",
            show_default=False,
        ),
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of phantoms.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first phantom; the next has seed + 1.")] = 0,
    contrast: Annotated[
        Literal["t1", "t2", "stir", "pd", "random"], typer.Option(help="MR contrast.")
    ] = "random",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Write spine phantoms with known truth.

    Beside each volume lie its label map (_reference, SPIDER scheme) and a JSON file with the meaning of the
    labels, the true levels and every parameter.
    """
    from nomina.errors import OutputError
    from nomina.phantoms.render import render
    from nomina.phantoms.spine import sample_spine

    suffix = _suffix(output)
    if suffix and count > 1:
        raise OutputError(f"{output} is one file but {count} phantoms were asked for; give a folder instead")
    if not suffix:
        _make_folder(output)
    records = []
    for number in range(seed, seed + count):
        spine = sample_spine(number)
        volume = render(spine, number, contrast)
        path = output if suffix else output / f"phantom_{number:05d}.nii.gz"
        parameters = {**spine.parameters, "sequence": volume.sequence, "contrast": contrast}
        records.append(_write_case(path, (volume, spine.label_map), parameters))
        if not as_json:
            record = records[-1]
            typer.echo(
                f"{record['volume']}\t{volume.sequence or '-'}\t{spine.levels[0]} to {spine.levels[-1]}"
            )
    if as_json:
        typer.echo(json.dumps(records, indent=2))


def _suffix(path: Path) -> str:
    """The known suffix that a path ends in, or nothing for a folder."""
    return next((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), "")


def _make_folder(folder: Path) -> None:
    from nomina.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made: {error.strerror}; name another folder, or a file that ends in "
            f"{', '.join(FORMATS)}"
        ) from error


def _write_case(path: Path, case: "tuple[Any, LabelMap]", parameters: dict[str, Any]) -> dict[str, Any]:
    """Write volume, reference and record; returns where they are, with the parameters."""
    from nomina.imaging.files import write_text_atomic
    from nomina.imaging.write import write

    volume, label_map = case
    suffix = path.name[-len(_suffix(path)) :]
    stem = path.name.removesuffix(suffix)
    reference = path.with_name(f"{stem}_reference{suffix}")
    sidecar = path.with_name(f"{stem}_reference.json")
    record = {
        "scheme": label_map.scheme,
        "structures": [{"label": label, "name": name} for label, name in label_map.names.items()],
        "phantom": parameters,
    }
    write(volume, path)
    write(label_map, reference)
    write_text_atomic(sidecar, json.dumps(record, indent=2) + "\n")
    return {"volume": str(path), "reference": str(reference), "record": str(sidecar), **parameters}
