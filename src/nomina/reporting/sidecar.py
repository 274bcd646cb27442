"""A segmentation as it lies on disk: label values of a scheme, and the JSON file that says what they mean."""

import json
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nomina.anatomy.conversion import convert
from nomina.anatomy.resolve import explain
from nomina.anatomy.schemes import LabelScheme, sidecar_path
from nomina.anatomy.structures import structure
from nomina.imaging.files import write_text_atomic
from nomina.imaging.segmentation import Segmentation
from nomina.plain_files import json_object

FORMAT = "nomina-segmentation-1"
"""Name and version of the file's layout."""

SCORE_MEANS = (
    "probability that what is shown is right: where there is a mask, that it lies on the structure of its "
    "name; where there is none, that no half of such a structure is in the scan. Fitted to cases of known "
    "truth where is_calibrated is true; otherwise no more than an order of verdicts."
)
"""The score of every verdict, in words; it stands in the file."""

DISCLAIMER = "Research use only; not a medical device."


def in_scheme(segmentation: Segmentation, scheme: LabelScheme) -> Segmentation:
    """The same segmentation under the label values of a scheme.

    Structures that the border of the scan cuts get the value for partly visible ones where the scheme has one
    (`spider`: 100 + n for vertebrae) and keep their value where it has none; the provenance says which values
    these are. What the scheme cannot express becomes background and is noted, as is a label map that this
    leaves empty. A segmentation that is in the scheme already stays as it is.

    Raises:
        SchemeError: The scheme counts from the bottom and the segmentation has T13 or L6.
    """
    if segmentation.label_map.scheme == scheme.name:
        return segmentation
    conversion = convert(segmentation.label_map, scheme)
    array = conversion.label_map.array  # of its own, so it may be changed
    value_of = {name: value for value, name in scheme.labels.items()}
    partial_value_of = {name: value for value, name in scheme.partial.items()}
    partial: dict[int, str] = {}
    for verdict in segmentation.verdicts:
        name = verdict.structure
        if verdict.is_partial and name in value_of:
            value = partial_value_of.get(name, value_of[name])
            if value != value_of[name]:
                array[array == value_of[name]] = value
            partial[value] = name
    notes = [*segmentation.provenance.get("notes", ()), *conversion.lost, *conversion.notes]
    if conversion.lost and not array.any():
        notes.append(f"The label map is empty: {scheme.name} has no value for what was found.")
    return replace(
        segmentation,
        label_map=replace(conversion.label_map, array=array),
        provenance={**segmentation.provenance, "notes": notes, "partial": partial},
    )


def sidecar(segmentation: Segmentation, *, source: str | None = None) -> dict[str, Any]:
    """Plain data that describes a segmentation; it holds no patient data beyond the name of the file.

    Args:
        segmentation: Label map in the scheme in which it is written.
        source: Name of the scan's file or folder, without its path.

    Returns:
        `structures` names the value of every asked structure that the label map's scheme can express;
        `partial` names the values of structures that the border of the scan cuts, in every scheme.
    """
    asked = [verdict.structure for verdict in segmentation.verdicts]
    label_map, provenance = segmentation.label_map, segmentation.provenance
    values = {name: value for value, name in label_map.names.items()}
    return {
        "format": FORMAT,
        "source": source,
        "scheme": label_map.scheme,
        "structures": [_entry(name, values[name]) for name in asked if name in values],
        "partial": [{"label": value, "name": name} for value, name in _partial(segmentation).items()],
        "prompts": [_prompt(words, asked) for words in segmentation.prompts],
        "anchors": list(provenance.get("anchors", ())),
        "regions": provenance.get("regions"),
        "verdicts": [asdict(verdict) for verdict in segmentation.verdicts],
        "score_means": SCORE_MEANS,
        "scores_fitted_on": provenance.get("scores_fitted_on"),
        "grid": {
            "shape": list(label_map.grid.shape),
            "spacing_mm": [round(spacing, 6) for spacing in label_map.grid.spacing_mm],
            "orientation": label_map.grid.orientation,
        },
        "model": {
            "name": provenance.get("model"),
            "digest": provenance.get("digest"),
            "encoder": provenance.get("encoder"),
            "mode": provenance.get("mode"),
            "levels_as_in": provenance.get("scheme_of_levels"),
        },
        "levels_decided_by": provenance.get("levels_decided_by", ""),
        "memory": provenance.get("memory"),
        "versions": dict(provenance.get("versions", {})),
        "findings": [dict(finding) for finding in provenance.get("findings", ())],
        "notes": list(provenance.get("notes", ())),
        "disclaimer": DISCLAIMER,
    }


def _partial(segmentation: Segmentation) -> dict[int, str]:
    """Values of the structures that the border cuts: those of `in_scheme`, or the structures' own."""
    if "partial" in segmentation.provenance:
        return dict(segmentation.provenance["partial"])
    cut = {verdict.structure for verdict in segmentation.verdicts if verdict.is_partial}
    return {value: name for value, name in segmentation.label_map.names.items() if name in cut}


def write_sidecar(
    segmentation: Segmentation, label_map_path: Path | str, *, source: str | None = None
) -> Path:
    """Write the JSON file beside a label map, whole or not at all.

    Args:
        segmentation: See `sidecar`.
        label_map_path: Where the label map lies; `sidecar_path` gives the name of the JSON file.
        source: See `sidecar`.

    Returns:
        Path of the JSON file.

    Raises:
        OutputError: It cannot be written.
    """
    path = sidecar_path(label_map_path)
    text = json.dumps(sidecar(segmentation, source=source), indent=2, ensure_ascii=False)
    write_text_atomic(path, text + "\n")
    return path


def is_sidecar(path: Path) -> bool:
    """Whether a file is a JSON file that `write_sidecar` wrote, in this or another version of the layout."""
    written_by = json_object(path).get("format")
    return isinstance(written_by, str) and written_by.startswith(FORMAT.rstrip("0123456789"))


def describes_label_map(path: Path) -> bool:
    """Whether a file is a JSON file that says what the labels of a label map mean."""
    entries = json_object(path).get("structures")
    # Scores and measurements of label maps have lists of structures, too, but no values.
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and {"label", "name"} <= set(entry) for entry in entries
    )


def _prompt(words: str, asked: Collection[str]) -> dict[str, Any]:
    """What a phrase was compiled to, and the structures that it names among those that were asked for."""
    found = explain(words)
    return {
        "words": words,
        "expression": found.expression,
        "structures": [item.name for item in found.structures if item.name in asked],
    }


def _entry(name: str, label: int) -> dict[str, Any]:
    known = structure(name)
    return {
        "label": label,
        "name": name,
        "snomed": {"code": known.snomed_code, "meaning": known.snomed_meaning},
        "colour": list(known.colour),
    }
