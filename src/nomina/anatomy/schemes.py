"""Label schemes: which number means which structure in the label maps of each data set."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from nomina.anatomy.structures import nearest, vocabulary
from nomina.config import config, load_config
from nomina.errors import ConfigError, SchemeError
from nomina.imaging.grid import Grid
from nomina.imaging.read import read_label_array
from nomina.imaging.volume import LabelMap
from nomina.plain_files import json_object, read_json

MAX_LABEL = 65535
"""Largest label value: label maps are stored in at most 16 bits."""

_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".zip")


@config
class LabelScheme:
    """What the numbers of a label map mean.

    Raises:
        SchemeError: A value is not in 1 … 65535 or has two meanings, a name is given to two values or is not
            in the vocabulary.
    """

    name: str
    """Name by which it is asked for, e.g. "spider"."""
    version: str
    """Version of this table; it changes when a value does."""
    source: str
    """Where the meanings are documented."""
    labels: Mapping[int, str]
    """Structure name of each value."""
    others: Mapping[int, str] = field(default_factory=dict)
    """The source's own name of each value that shows something the vocabulary has no name for ("liver")."""
    partial: Mapping[int, str] = field(default_factory=dict)
    """Structure name of each value that marks a structure as only partly visible; ignored in scores."""
    unnamed: frozenset[int] = frozenset()
    """Values that are allowed and have no name in a standard body; ignored in scores."""
    types: Mapping[int, str] = field(default_factory=dict)
    """What 256 · type adds to a value: 521 is type 2, "Airway", in region 9, "LeftUpperThird"."""
    transitional: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By vertebra: the values that mean another disc where the file holds that vertebra (L6, T13)."""
    part_of: Mapping[str, str] = field(default_factory=dict)
    """For a name here: the name of the structure whose voxels include it; adds to the vocabulary's."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """For a name in `others` that is one value for many: the kind of structure it holds ("vertebra")."""
    counts_from_bottom: bool = False
    """True where values are ranks from the lowest vertebra, so that "L5" means the lowest lumbar one."""
    notes: tuple[str, ...] = ()
    """What a user must know, one sentence each."""

    def __post_init__(self) -> None:
        values = [*self.labels, *self.others, *self.partial, *self.unnamed]
        wrong = sorted(value for value in values if not 1 <= value <= MAX_LABEL)
        if wrong:
            raise SchemeError(f"scheme {self.name!r}: values must lie in 1 … {MAX_LABEL}, got {wrong}")
        _refuse_twice(values, f"scheme {self.name!r}: two meanings for value")
        transitional = [name for names in self.transitional.values() for name in names.values()]
        for names in ([*self.labels.values(), *self.others.values(), *transitional], self.partial.values()):
            _refuse_twice(list(names), f"scheme {self.name!r}: two values for")
        for name in (*self.labels.values(), *self.partial.values(), *self.transitional, *transitional):
            if name not in vocabulary():
                near = ", ".join(map(repr, nearest(name, vocabulary())))
                raise SchemeError(f"scheme {self.name!r} names {name!r}; nearest structures: {near}")
        named = sorted(set(self.others.values()) & set(vocabulary()))
        if named:
            raise SchemeError(f"scheme {self.name!r}: {named} are in the vocabulary; move them to 'labels'")

    @property
    def ignored(self) -> frozenset[int]:
        """Values that are neither background nor a structure to be scored."""
        return frozenset(self.partial) | self.unnamed

    def names_in(self, values: Iterable[int]) -> dict[int, str]:
        """Name of every value of the scheme, as they are meant in a file that holds these values."""
        values = set(values)
        names = {**self.labels, **self.others}
        for vertebra, changed in self.transitional.items():
            if any(self.labels.get(value) == vertebra for value in values):
                names |= changed
        for value in sorted(values - set(names)):
            kind, region = divmod(value, 256)
            if kind in self.types and (region == 0 or region in names):
                names[value] = f"{self.types[kind]}, {names[region]}" if region else self.types[kind]
        return names

    def whole_of(self, name: str) -> tuple[str, ...]:
        """Names of what a structure is a part of, the smallest first."""
        found: list[str] = []
        while name := self._whole(name):
            found.append(name)
        return tuple(found)

    def _whole(self, name: str) -> str:
        if name in self.part_of:
            return self.part_of[name]
        if name in vocabulary():
            known = vocabulary()[name]
            group = next((group for group, kind in self.groups.items() if kind == known.kind), "")
            return known.part_of or group
        kind, comma, region = name.partition(", ")  # as `names_in` writes them
        return self.part_of.get(kind) or region if comma else ""


def scheme_names() -> tuple[str, ...]:
    """Names of the schemes that come with nomina, sorted."""
    return tuple(
        sorted(item.name.removesuffix(".yaml") for item in _folder().iterdir() if item.name.endswith(".yaml"))
    )


def load_scheme(name_or_path: str | Path) -> LabelScheme:
    """A scheme by its name, or from a YAML file of the same form as those in `scheme_files/`.

    Raises:
        SchemeError: There is no such scheme, or the file does not describe one.
    """
    require_scheme(name_or_path)
    if name_or_path in scheme_names():
        return _shipped_scheme(str(name_or_path))
    return _read_scheme(name_or_path)


def require_scheme(name_or_path: str | Path) -> None:
    """Refuse what is neither the name of a scheme nor that of a YAML file.

    Raises:
        SchemeError: It is neither.
    """
    if name_or_path not in scheme_names() and Path(name_or_path).suffix.lower() not in (".yaml", ".yml"):
        raise SchemeError(
            f"no label scheme is called {str(name_or_path)!r}; known: {', '.join(scheme_names())}, "
            f"or give a .yaml file that describes one"
        )


def read_label_map(path: Path | str, *, scheme: str | LabelScheme | None = None) -> LabelMap:
    """Read a label map and name its values.

    Args:
        path: NIfTI, MetaImage or NRRD file.
        scheme: What the values mean: a scheme, its name or its YAML file. None reads the JSON file that
            nomina writes beside its label maps (see `sidecar_path`).

    Returns:
        Values as unsigned integers of 8 or 16 bits, in the file's own axis order.

    Raises:
        VolumeError: The file cannot be read or holds fractions.
        SchemeError: The scheme is not known, or the file holds a value that it does not have.
    """
    array, grid = read_label_array(path)
    if scheme is None:
        name, names, ignored = _read_sidecar(Path(path))
    else:
        scheme = scheme if isinstance(scheme, LabelScheme) else load_scheme(scheme)
        name, names, ignored = scheme.name, scheme.names_in(present_values(array)), scheme.ignored
    try:
        return _label_map(array, grid, names, name, ignored)
    except SchemeError as error:
        raise SchemeError(f"{path}: {error}") from error


def claimed_scheme(path: Path | str) -> str | None:
    """Name of the scheme that the JSON file beside a label map gives; None where it gives none we know."""
    name = json_object(sidecar_path(path)).get("scheme")
    return name if name in scheme_names() else None


def present_values(array: Integer[np.ndarray, "..."]) -> tuple[int, ...]:
    """The values of a label map other than background, ascending."""
    return tuple(int(value) for value in np.unique(array) if value)


def partly_visible(label_map: LabelMap) -> dict[int, str]:
    """Structure of each value of a label map that marks it as only partly visible, by value.

    Such a value is ignored, and either its scheme keeps it for that, or it is named, as where a scheme has no
    values for that (see `read_label_map`).
    """
    kept = load_scheme(label_map.scheme).partial if label_map.scheme in scheme_names() else {}
    names = {**kept, **label_map.names}
    present = present_values(label_map.array)
    return {value: names[value] for value in present if value in label_map.ignored and value in names}


def meaning_of_values(label_map: LabelMap, partial: Mapping[int, str] | None = None) -> dict[str, Any]:
    """What the values of a label map mean, as the JSON file beside it says and `read_label_map` reads it.

    Args:
        label_map: The label map as it is written.
        partial: Structure of each value that shows it only in part; None: those of `partly_visible`.
    """
    names, present = label_map.names, present_values(label_map.array)
    cut = partly_visible(label_map) if partial is None else partial
    return {
        "scheme": label_map.scheme,
        "structures": [{"label": value, "name": names[value]} for value in present if value in names],
        "partial": [{"label": value, "name": name} for value, name in sorted(cut.items())],
    }


def sidecar_path(path: Path | str) -> Path:
    """The JSON file that describes a label map: beside it, of the same name but for the suffix."""
    path = Path(path)
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
    return path.with_name(path.name[: len(path.name) - len(suffix)] + ".json")


def _label_map(
    array: Integer[np.ndarray, "i j k"],
    grid: Grid,
    names: Mapping[int, str],
    scheme: str | None,
    ignored: frozenset[int],
) -> LabelMap:
    if array.min() >= 0 and array.max() <= MAX_LABEL:
        array = array.astype(smallest_dtype(int(array.max())), copy=False)
    return LabelMap(array, grid, names=names, scheme=scheme, ignored=ignored)


def smallest_dtype(value: int) -> type[np.unsignedinteger[Any]]:
    """The smallest unsigned integer type of 8 or 16 bits that holds a label value."""
    return np.uint8 if value <= np.iinfo(np.uint8).max else np.uint16


def _folder() -> Any:
    return files("nomina.anatomy") / "scheme_files"


@cache
def _shipped_scheme(name: str) -> LabelScheme:
    return _read_scheme(_folder() / f"{name}.yaml")


def _read_scheme(path: Path | str) -> LabelScheme:
    try:
        return load_config(LabelScheme, path)
    except ConfigError as error:
        raise SchemeError(str(error)) from error


def _read_sidecar(path: Path) -> tuple[str | None, Mapping[int, str], frozenset[int]]:
    """Scheme name, names by value and ignored values, as the JSON file beside a label map gives them."""
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        raise SchemeError(
            f"{path} does not say what its values mean and there is no {sidecar.name} beside it; "
            f"name its label scheme: {', '.join(scheme_names())}"
        )
    try:
        data = read_json(sidecar)
        entries = [(entry["label"], entry["name"]) for entry in data["structures"]]
        partial = {entry["label"] for entry in data.get("partial", ())}
        scheme = data.get("scheme")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SchemeError(
            f"{sidecar} does not describe a label map: expected a list 'structures' of entries with 'label' "
            f"and 'name'; name the label scheme of {path.name}: {', '.join(scheme_names())}"
        ) from error
    for value, name in entries:
        if type(value) is not int or not 1 <= value <= MAX_LABEL or not isinstance(name, str):
            raise SchemeError(
                f"{sidecar}: {value!r} → {name!r} is not a label in 1 … {MAX_LABEL} with a name"
            )
    _refuse_twice([value for value, _ in entries], f"{sidecar}: two meanings for value")
    _refuse_twice([name for _, name in entries], f"{sidecar}: two values for")
    ignored = load_scheme(scheme).ignored if scheme in scheme_names() else frozenset()
    # A partly visible structure is named and ignored: it is there, but no measurement of it holds.
    return scheme, dict(entries), (ignored - {value for value, _ in entries}) | partial


def _refuse_twice(items: list[Any], what: str) -> None:
    twice = sorted(item for item, count in Counter(items).items() if count > 1)
    if twice:
        raise SchemeError(f"{what} {', '.join(map(str, twice))}")
