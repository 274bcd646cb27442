"""A checkpoint is a folder; loading one executes no code and refuses anything incomplete or altered.

model.safetensors   weights
config.json         network, image preparation, encoder, scheme: `CheckpointConfig`
structures.json     names of the classes, in order, without the background
bank.npz            prompt vectors with their provenance
run.json            how it was trained, and the sha256 of the files above
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nomina.config import config, parse_config, to_plain
from nomina.errors import CheckpointError, ConfigError, OutputError
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.preparations import Preparation
from nomina.language.bank import PromptBank
from nomina.networks.build import Network, NetworkConfig, build_network, build_words
from nomina.networks.la_caf import LACAF
from nomina.networks.words import ClassPrompts

FORMAT = 1
"""Version of the folder's layout."""

HASHED_FILES = ("model.safetensors", "config.json", "structures.json", "bank.npz")


@config
class CheckpointConfig:
    """What inference must know about a network."""

    format: int = FORMAT
    network: NetworkConfig
    preparation: Preparation = ImagePreparation()
    """How a scan is brought to the network; the same as in training. Without a `kind` it is that of MR."""
    window_px: int | None = None
    """Width along A of the training patches, in pixels of the prepared grid: wider scans are shown in a
    window of this width (`nomina.networks.predict.structure_window`). None: as wide as they are."""
    block_size: tuple[int, int, int] | None = None
    """Voxels of the training blocks along R, A, S: a scan is covered with tiles of this size. None for a
    network that sees slices."""
    tile_overlap: float = 0.25
    """Share of a tile's side that the next one repeats."""
    scheme: str = "spider"
    """Label scheme whose level numbering the training labels follow."""
    modality: str = "MR"
    """DICOM modality the network was trained on."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with all that is needed to use it."""

    name: str
    config: CheckpointConfig
    structures: tuple[str, ...]
    """Names of the classes, without the background."""
    bank: PromptBank
    network: Network
    """In eval mode."""
    digest: str
    """sha256 over the files' hashes: names these exact weights and words."""
    run: Mapping[str, Any]
    """Versions, commit, seed, split and metrics of the training."""

    def words(self, paraphrase: int = 0) -> ClassPrompts:
        """The prompts of every class, from the bank; `EncodedPrompts` for a network that sees slices."""
        return build_words(self.config.network, self.bank, self.structures, paraphrase=paraphrase)


def save_checkpoint(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    cfg: CheckpointConfig,
    structures: tuple[str, ...],
    bank: PromptBank,
    run: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a checkpoint folder; an older one of the same name is replaced as a whole.

    Args:
        folder: Where; its parent is made.
        weights: State of the network.
        cfg: See `CheckpointConfig`.
        structures: Names of the classes, without the background.
        bank: Every sentence the network needs.
        run: JSON-able record of the training.
        dtype: Storage type of the weights; float16 halves a shipped file.
    """
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    try:
        for leftover in (part, old):
            shutil.rmtree(leftover, ignore_errors=True)
        part.mkdir(parents=True)
        stored = {name: value.detach().cpu().to(dtype).contiguous() for name, value in weights.items()}
        save_file(stored, part / "model.safetensors")
        (part / "config.json").write_text(json.dumps(to_plain(cfg), indent=1), encoding="utf-8")
        (part / "structures.json").write_text(json.dumps(structures, indent=1), encoding="utf-8")
        bank.save(part / "bank.npz")
        record = {**run, "files": {name: _sha256(part / name) for name in HASHED_FILES}}
        (part / "run.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OutputError(
            f"checkpoint {folder} cannot be written: {error}; free space or choose another folder"
        ) from error


def load_checkpoint(folder: Path | str, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        CheckpointError: A file is missing, altered, of another version, or does not fit the others.
    """
    folder = Path(folder)
    run = _read_json(folder, "run.json")
    recorded = run.get("files") if isinstance(run, dict) else None
    if not isinstance(recorded, dict):
        raise CheckpointError(f"checkpoint {folder}: run.json records no files; copy the whole folder again")
    for name in HASHED_FILES:
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"checkpoint {folder} has no {name}; copy the whole folder again")
        if _sha256(path) != recorded.get(name):
            raise CheckpointError(
                f"checkpoint {folder}: {name} is not the file that run.json records; it was altered or "
                f"copied badly, copy the whole folder again"
            )
    plain = _read_json(folder, "config.json")
    if plain.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {folder} has format {plain.get('format')}, this version of nomina reads {FORMAT}"
        )
    try:
        cfg = parse_config(CheckpointConfig, plain, source=f"{folder}/config.json")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    structures = tuple(str(name) for name in _read_json(folder, "structures.json"))
    bank = PromptBank.load(folder / "bank.npz")
    network = build_network(cfg.network, structures, text_width=bank.vectors.shape[1])
    _load_weights(network, folder / "model.safetensors")
    network.eval().to(device)
    if not isinstance(network, LACAF):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    digest = hashlib.sha256("".join(recorded[name] for name in HASHED_FILES).encode()).hexdigest()
    return Checkpoint(folder.name, cfg, structures, bank, network, digest, run)


def _load_weights(network: Network, path: Path) -> None:
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path} does not fit the network in config.json: {error}") from error


def _read_json(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not a checkpoint folder: it has no {name}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {folder}: {name} cannot be read ({error}); copy the folder again"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
