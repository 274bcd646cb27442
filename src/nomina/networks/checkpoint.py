"""A checkpoint is a folder; loading one executes no code and refuses anything incomplete or altered.

model.safetensors   weights; their header says what they were trained for (`nomina.networks.contract`)
config.json         network, image preparation, encoder, scheme: `CheckpointConfig`
structures.json     names of the classes, in order, without the background
bank.npz            prompt vectors with their provenance
run.json            how it was trained, and the sha256 of the files above
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nomina.assessment.calibration import VerdictCalibration
from nomina.config import config, parse_config, to_plain
from nomina.errors import CheckpointError, ConfigError, EncoderError, OutputError
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.preparations import Preparation
from nomina.language.bank import PromptBank
from nomina.networks.build import Network, NetworkConfig, build_network, build_words
from nomina.networks.contract import (
    FORMAT,
    HASHED_FILES,
    HEADER,
    check_contract,
    check_format,
    check_names,
    check_templates,
    contract,
    digest_of,
)
from nomina.networks.la_caf import LACAF, LACAFConfig
from nomina.networks.words import ClassPrompts
from nomina.plain_files import read_json

MAX_FILE_BYTES = 8 * 2**30
"""Longest file of a checkpoint that is read [choice: two thousand million numbers]."""


@config
class VesselConfig:
    """How probabilities become arteries and veins; the defaults are the authors' release of LA-CAF."""

    floor: float = 0.5
    """Probability from which a voxel belongs to a vessel, in validation and at inference. A vessel as thin as
    the voxels fills none of them: at 1.5 mm, half-full voxels alone hold two thirds of a tree's length,
    third-full ones nine tenths (docs/experiments.md)."""
    floor_of: Literal["class", "any"] = "class"
    """What must pass the floor: the most probable class (`class`), or that any class is there, 1 − ∏(1 − p)
    (`any`). A twig of which a network only cannot say whose it is passes the second alone; its most probable
    class then names it, and the vote of its branch may name it anew."""
    grown_to: float | None = None
    """Down to which of these chances the named pieces grow, once cleaned and voted on; None: they do not.
    Names are settled where a network is sure, extents where there is vessel at all."""
    has_whole_branches: bool = False
    """Whether every branch gets one class by vote (`nomina.assessment.branch_vote`)."""

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise ConfigError(f"vessels.floor must lie between 0 and 1, got {self.floor}")
        if self.grown_to is not None and not 0 < self.grown_to < self.floor:
            raise ConfigError(
                f"vessels.grown_to must lie between 0 and vessels.floor, {self.floor}, got {self.grown_to}"
            )


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
    vessels: VesselConfig = VesselConfig()
    """What becomes of the probabilities of lung vessels."""
    scheme: str = "spider"
    """Label scheme whose level numbering the training labels follow."""
    modality: str = "MR"
    """DICOM modality the network was trained on."""
    verdicts: VerdictCalibration | None = None
    """What turns the evidence of verdicts into scores; None: scores are not calibrated. Fitted after training
    and tied to the weights by their hash, see `store_calibration`."""


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
        cfg: See `CheckpointConfig`. Its verdict calibration is left out: it belongs to other weights.
        structures: Names of the classes, without the background.
        bank: Every sentence the network needs.
        run: JSON-able record of the training.
        dtype: Storage type of the weights; float16 halves a shipped file.
    """
    with _replaced(folder) as part:
        part.mkdir(parents=True)
        stored = {name: value.detach().cpu().to(dtype).contiguous() for name, value in weights.items()}
        plain = to_plain(replace(cfg, verdicts=None))
        header = {HEADER: json.dumps(contract(plain, structures, bank))}
        save_file(stored, part / "model.safetensors", metadata=header)
        (part / "config.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")
        (part / "structures.json").write_text(json.dumps(structures, indent=1), encoding="utf-8")
        bank.save(part / "bank.npz")
        _write_run(part, run)


def store_calibration(folder: Path, calibration: VerdictCalibration) -> None:
    """Keep a verdict calibration in a checkpoint's config; the folder is replaced as a whole.

    The weights stay as they are, the digest of the checkpoint changes.

    Raises:
        CheckpointError: The checkpoint cannot be loaded, or the calibration was fitted for other weights.
        OutputError: The folder cannot be written.
    """
    checkpoint = load_checkpoint(folder)
    _check_calibration(folder, calibration, checkpoint.config, checkpoint.run["files"])
    with _replaced(folder) as part:
        shutil.copytree(folder, part)
        plain = to_plain(replace(checkpoint.config, verdicts=calibration))
        (part / "config.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")
        _write_run(part, checkpoint.run)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Where a new checkpoint is to be written, which takes the place of `folder` once the block is done.

    Raises:
        OutputError: It cannot be written; an older checkpoint stays.
    """
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    try:
        restore_checkpoint(folder)
        yield part
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OutputError(
            f"checkpoint {folder} cannot be written: {error}; free space or choose another folder"
        ) from error


def _write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write the record of the training with the hashes of the files beside it."""
    record = {**run, "files": {name: _sha256(folder / name) for name in HASHED_FILES}}
    (folder / "run.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def restore_checkpoint(folder: Path) -> None:
    """Put right what a killed `save_checkpoint` left: the older checkpoint comes back, half ones go."""
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    if old.is_dir() and not folder.exists():
        os.replace(old, folder)
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)


def load_checkpoint(folder: Path | str, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        CheckpointError: A file is missing, altered, of another version, or does not fit the others: the
            message names it, with what the weights were trained for.
    """
    folder = Path(folder)
    run = _read_json(folder, "run.json")
    recorded = _checked_files(folder, run)
    plain = _read_json(folder, "config.json")
    if not isinstance(plain, dict):
        raise CheckpointError(f"checkpoint {folder}: config.json holds no settings; copy the folder again")
    check_format(folder, plain, run)
    try:
        cfg = parse_config(CheckpointConfig, plain, source=f"{folder}/config.json")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    if cfg.verdicts is not None:
        _check_calibration(folder, cfg.verdicts, cfg, recorded)
    structures = _structures(folder)
    bank = PromptBank.load(folder / "bank.npz")
    _check_fit(folder, cfg, structures, bank)
    _check_size(cfg.network, structures, bank, folder / "model.safetensors")
    network = build_network(cfg.network, structures, text_width=bank.vectors.shape[1])
    _load_weights(network, folder / "model.safetensors")
    network.eval().to(device)
    if not isinstance(network, LACAF):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Checkpoint(folder.name, cfg, structures, bank, network, digest_of(recorded), run)


def _checked_files(folder: Path, run: Any) -> Mapping[str, str]:
    """The hashes that run.json records, each compared with its file."""
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
    return recorded


def _check_calibration(
    folder: Path, calibration: VerdictCalibration, cfg: CheckpointConfig, recorded: Mapping[str, str]
) -> None:
    """Refuse a calibration that was fitted on the verdicts of another network, or of another kind."""
    subject = "vessels" if isinstance(cfg.network, LACAFConfig) else "spine"
    if calibration.subject != subject:
        raise CheckpointError(
            f"checkpoint {folder} gives verdicts on {subject}, the calibration is of verdicts on "
            f"{calibration.subject}; fit it on this checkpoint's own with benchmarks/calibrate_verdicts.py"
        )
    if calibration.weights_sha256 != recorded["model.safetensors"]:
        raise CheckpointError(
            f"checkpoint {folder}: the verdict calibration was fitted for weights "
            f"{calibration.weights_sha256[:12]}…, model.safetensors is {recorded['model.safetensors'][:12]}…;"
            f" fit it again with benchmarks/calibrate_verdicts.py"
        )


def _check_fit(folder: Path, cfg: CheckpointConfig, structures: tuple[str, ...], bank: PromptBank) -> None:
    """Refuse parts that were not made for each other, by name."""
    check_names(folder, cfg.scheme, structures)
    check_templates(folder, bank)
    check_contract(folder, _header(folder / "model.safetensors"), contract(to_plain(cfg), structures, bank))
    try:
        build_words(cfg.network, bank, structures)
    except EncoderError as error:
        raise CheckpointError(
            f"checkpoint {folder}: bank.npz does not fit structures.json: {error}"
        ) from error


def _header(path: Path) -> Mapping[str, str] | None:
    try:
        with safe_open(path, framework="pt") as weights:
            return weights.metadata()
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; copy the whole folder again") from error


def _structures(folder: Path) -> tuple[str, ...]:
    names = _read_json(folder, "structures.json")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"checkpoint {folder}: structures.json is no list of names; copy the folder again"
        )
    if len(set(names)) < len(names):
        raise CheckpointError(f"checkpoint {folder}: structures.json repeats a name; copy the folder again")
    return tuple(names)


def _check_size(cfg: NetworkConfig, structures: tuple[str, ...], bank: PromptBank, path: Path) -> None:
    """Refuse a network that is larger than its weights, before memory is taken for it."""
    try:
        with safe_open(path, "pt") as file:
            num_stored = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; copy the folder again") from error
    try:
        with torch.device("meta"):
            empty = build_network(cfg, structures, text_width=bank.vectors.shape[1])
    except RuntimeError:  # MONAI's Swin UNETR reads values while it is built.
        return
    num_needed = sum(value.numel() for value in empty.state_dict().values())
    if num_needed != num_stored:
        raise CheckpointError(
            f"{path} does not fit the network in config.json: it holds {num_stored} numbers, the network "
            f"has {num_needed}"
        )


def _load_weights(network: Network, path: Path) -> None:
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path} does not fit the network in config.json: {error}") from error


def _read_json(folder: Path, name: str) -> Any:
    try:
        return read_json(folder / name)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not a checkpoint folder: it has no {name}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {folder}: {name} cannot be read ({error}); copy the folder again"
        ) from error


def _sha256(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise CheckpointError(f"{path} has more than {MAX_FILE_BYTES} bytes; copy the checkpoint again")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}; copy the whole folder again") from error
