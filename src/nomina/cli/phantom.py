"""`nomina phantom`: spines and chests with known truth, written to files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from nomina.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    kind: Annotated[Literal["spine", "lung"], typer.Option(help="What to make.")] = "spine",
    contrast: Annotated[
        str,
        typer.Option(
            help="Spine: t1, t2, stir, pd, gre or random. Lung: plain, arterial, mixed, venous or random."
        ),
    ] = "random",
    as_json: AsJson = False,
) -> None:
    """Write spine or chest phantoms with known truth.

    Beside each volume lie its label map (_reference) and a JSON file with the meaning of the labels and every
    parameter. Spines follow the SPIDER scheme. Chests have arteries and veins in _reference, lobes in _lobes,
    airways in _airways and the exact centrelines in _trees.json.
    """
    from nomina.errors import OutputError

    suffix = _suffix(output)
    if suffix and count > 1:
        raise OutputError(f"{output} is one file but {count} phantoms were asked for; give a folder instead")
    _check_contrast(kind, contrast)
    if not suffix:
        _make_folder(output)
    records = []
    paths = {n: output if suffix else output / f"phantom_{n:05d}.nii.gz" for n in range(seed, seed + count)}
    _refuse_strangers(paths.values())
    for number, path in paths.items():
        record, summary = (_write_spine if kind == "spine" else _write_lung)(path, number, contrast)
        records.append(record)
        if not as_json:
            typer.echo(f"{record['volume']}\t{summary}")
    if as_json:
        typer.echo(json.dumps(records, indent=2))


def _refuse_strangers(paths: "Iterable[Path]") -> None:
    """Only an earlier phantom may be replaced: a scan of that name would be lost."""
    from nomina.errors import OutputError

    for path in paths:
        if path.exists() and not path.with_name(f"{_stem(path)}_reference.json").exists():
            raise OutputError(f"{path} exists and is no phantom; move it away, or name another file")


def _check_contrast(kind: str, contrast: str) -> None:
    from nomina.errors import ConfigError
    from nomina.phantoms.contrasts import Contrast
    from nomina.phantoms.lung_tissues import ChestContrast

    known = get_args(Contrast if kind == "spine" else ChestContrast)
    if contrast not in known:
        raise ConfigError(f"--contrast of a {kind} must be one of {', '.join(known)}, got {contrast!r}")


def _write_spine(path: Path, seed: int, contrast: Any) -> tuple[dict[str, Any], str]:
    from nomina.phantoms.render import render
    from nomina.phantoms.spine import sample_spine

    spine = sample_spine(seed)
    volume = render(spine, seed, contrast)
    parameters = {**spine.parameters, "sequence": volume.sequence, "contrast": contrast}
    record = _write_case(path, (volume, spine.label_map), parameters)
    return record, f"{volume.sequence or '-'}\t{spine.levels[0]} to {spine.levels[-1]}"


def _write_lung(path: Path, seed: int, contrast: Any) -> tuple[dict[str, Any], str]:
    from nomina.imaging.files import write_text_atomic
    from nomina.phantoms.lung_render import render_lung
    from nomina.phantoms.lung_vessels import sample_lung

    chest = sample_lung(seed)
    volume = render_lung(chest, seed, contrast)
    trees = path.with_name(f"{_stem(path)}_trees.json")
    parameters = {**chest.parameters, "contrast": contrast, "rendering": list(volume.notes)}
    graphs = parameters.pop("trees")
    record = _write_case(path, (volume, chest.vessels), parameters)
    for name, label_map in (("lobes", chest.lobes), ("airways", chest.airways)):
        record[name] = _write_labels(path, name, label_map, {"phantom": {"seed": seed}})
    write_text_atomic(trees, json.dumps(graphs) + "\n")
    ends = f"{parameters['num_artery_ends']} arteries, {parameters['num_vein_ends']} veins"
    return record | {"trees": str(trees)}, f"{volume.notes[0].split(': ')[-1]}\t{ends}"


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


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(_suffix(path))]


def _write_case(path: Path, case: "tuple[Any, LabelMap]", parameters: dict[str, Any]) -> dict[str, Any]:
    """Write volume, reference and record; returns where they are, with the parameters."""
    from nomina.imaging.write import write

    volume, label_map = case
    write(volume, path)
    reference = _write_labels(path, "reference", label_map, {"phantom": parameters})
    sidecar = path.with_name(f"{_stem(path)}_reference.json")
    return {"volume": str(path), "reference": reference, "record": str(sidecar), **parameters}


def _write_labels(path: Path, name: str, label_map: "LabelMap", more: dict[str, Any]) -> str:
    """Write a label map beside the volume, and beside it the JSON file that says what its values mean."""
    from nomina.imaging.files import write_text_atomic
    from nomina.imaging.write import write

    target = path.with_name(f"{_stem(path)}_{name}{path.name[-len(_suffix(path)) :]}")
    meaning = [{"label": label, "name": structure} for label, structure in label_map.names.items()]
    record = {"scheme": label_map.scheme, "structures": meaning} | more
    write(label_map, target)
    write_text_atomic(target.with_name(f"{_stem(path)}_{name}.json"), json.dumps(record, indent=2) + "\n")
    return str(target)
