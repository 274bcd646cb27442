"""What the weights of a checkpoint were trained for, and whether the files beside them still say so.

The weights file carries the contract in its own header. A folder put together from parts of several
checkpoints is refused by the name of the part that does not fit, even where every hash was written anew.
Needs no torch.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nomina.anatomy.schemes import load_scheme, scheme_names
from nomina.anatomy.structures import vocabulary
from nomina.assessment.spine_levels import spine_kind
from nomina.errors import CheckpointError
from nomina.language.bank import PromptBank
from nomina.language.prompts import TEMPLATE_VERSION
from nomina.language.vessel_prompts import VESSEL_TEMPLATE_VERSION
from nomina.plain_files import parse_json, read_json

FORMAT = 1
"""Version of the folder's layout."""

HASHED_FILES = ("model.safetensors", "config.json", "structures.json", "bank.npz")

HEADER = "nomina"
"""Key of the contract in the header of the weights file."""

_FILE_OF = {"config": "config.json", "structures": "structures.json", "bank": "bank.npz"}


def contract(plain_config: Mapping[str, Any], structures: Sequence[str], bank: PromptBank) -> dict[str, Any]:
    """Everything that must stay as it was in training, as JSON-able data.

    Args:
        plain_config: The checkpoint's config as plain data: network, spacing, window, scheme, modality.
        structures: Names of the classes, without the background.
        bank: The sentences' vectors.
    """
    made_by = bank.provenance
    return {
        "written_by": f"nomina {version('nomina')}",
        # A verdict calibration is fitted after training, and tied to the weights by a hash of its own.
        "config": {key: value for key, value in plain_config.items() if key != "verdicts"},
        "structures": list(structures),
        "scheme_version": load_scheme(plain_config["scheme"]).version,
        "bank": {
            "encoder": made_by.encoder,
            "source": made_by.source,
            "revision": made_by.revision,
            "pooling": made_by.pooling,
            "template_version": made_by.template_version,
            "sha256": bank.digest,
        },
    }


def check_contract(folder: Path, header: Mapping[str, str] | None, actual: Mapping[str, Any]) -> None:
    """Refuse files that differ from what the weights were trained with.

    Args:
        folder: The checkpoint, for the message.
        header: Header of its weights file; weights written before contracts were have none, and pass.
        actual: `contract` of the files beside the weights.

    Raises:
        CheckpointError: Names the first part that differs, with both values.
    """
    if not header or HEADER not in header:
        return
    try:
        data = parse_json(header[HEADER])
        if not isinstance(data, dict):
            raise ValueError(f"it holds {data!r:.40}, expected an object")
        promised = _flat(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"checkpoint {folder}: the header of model.safetensors cannot be read ({error}); copy the whole "
            f"folder again"
        ) from error
    ours = _flat(actual)
    for key, value in promised.items():
        # A setting that an older version did not know, or this one no longer has, is the config's affair.
        if key in ours and key != "written_by" and ours[key] != value:
            raise CheckpointError(_mismatch(folder, key, value, ours[key]))


def check_names(folder: Path, scheme: str, structures: Sequence[str]) -> None:
    """Refuse structures that nomina does not know, and a label scheme that cannot number their levels.

    Raises:
        CheckpointError: Names the scheme or the structure.
    """
    unknown = [name for name in structures if name not in vocabulary()]
    if unknown:
        raise CheckpointError(
            f"checkpoint {folder}: structures.json names {unknown[0]!r}, which this version of nomina does "
            f"not know; use the version that wrote the checkpoint"
        )
    if scheme not in scheme_names():
        raise CheckpointError(
            f"checkpoint {folder}: config.json names label scheme {scheme!r}, known are "
            f"{', '.join(scheme_names())}; use the version of nomina that wrote the checkpoint"
        )
    labels = set(load_scheme(scheme).labels.values())
    without = [name for name in structures if spine_kind(name) is not None and name not in labels]
    if without:
        raise CheckpointError(
            f"checkpoint {folder}: label scheme {scheme!r} of config.json has no value for {without[0]!r} of "
            f"structures.json; copy the whole folder again"
        )


def check_templates(folder: Path, bank: PromptBank) -> None:
    """Refuse sentences of other templates than this version speaks.

    Raises:
        CheckpointError: Names both versions.
    """
    known, said = {TEMPLATE_VERSION, VESSEL_TEMPLATE_VERSION}, bank.provenance.template_version
    if said is not None and said not in known:
        raise CheckpointError(
            f"checkpoint {folder}: the sentences of bank.npz follow templates of version {said}, this "
            f"nomina speaks {', '.join(sorted(known))}; use the version that wrote the checkpoint"
        )


def check_format(folder: Path, plain_config: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Refuse another layout of the folder.

    Raises:
        CheckpointError: Names the formats and the version that wrote the folder.
    """
    found = plain_config.get("format")
    if found != FORMAT:
        versions = run.get("versions")
        writer = versions.get("nomina") if isinstance(versions, dict) else None
        raise CheckpointError(
            f"checkpoint {folder} has format {found}, this version of nomina reads {FORMAT}: it was written "
            f"by nomina {writer or 'of an unknown version'}, this is {version('nomina')}; use that version"
        )


def digest_of(recorded: Mapping[str, str]) -> str:
    """sha256 over the files' recorded hashes: names these exact weights and words."""
    return hashlib.sha256("".join(recorded[name] for name in HASHED_FILES).encode()).hexdigest()


def recorded_digest(folder: Path) -> str | None:
    """The digest that a checkpoint folder's run.json claims, unchecked; None where it claims none."""
    try:
        return digest_of(read_json(folder / "run.json")["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mismatch(folder: Path, key: str, promised: Any, found: Any) -> str:
    part, _, setting = key.partition(".")
    if part == "scheme_version":
        return (
            f"checkpoint {folder}: its weights were trained on version {promised} of its label scheme, this "
            f"version of nomina has version {found}; use the version that wrote the checkpoint"
        )
    what = {"structures": "structures", "bank": f"the text bank's {setting}"}.get(part, setting)
    return (
        f"checkpoint {folder}: its weights were trained with {what} {promised!r}, but {_FILE_OF[part]} says "
        f"{found!r}; copy the whole folder again"
    )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
