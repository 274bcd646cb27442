"""`Segmenter`: words and a scan in, named masks with a verdict per word out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from nomina.anatomy.resolve import resolve_all
from nomina.anatomy.structures import structure
from nomina.errors import CheckpointError, ConfigError, VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.preparations import prepare_image
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.blocks import nameable, segment_blocks
from nomina.inference.cleaning import without_islands
from nomina.inference.levels import consistent_levels
from nomina.inference.native_grid import ClassMap, winning_classes
from nomina.inference.presence import judge
from nomina.language.facts import Facts, facts_from_label_map
from nomina.language.prompts import image_statements, statement_choices
from nomina.networks.atm_net import ATMNet
from nomina.networks.build import SliceNetwork
from nomina.networks.checkpoint import Checkpoint, load_checkpoint
from nomina.networks.la_caf import LACAF, LACAFConfig
from nomina.networks.predict import PredictedFacts, predict_facts, predict_slices, structure_window
from nomina.networks.words import EncodedPrompts, encode_prompts

PromptMode = Literal["predicted", "constant"]
"""Image view at test time: `predicted` reads facts off the picture (mode B), `constant` says one generic
sentence (mode A). Neither can see a reference."""

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints"
"""Folder of the checkpoints that come with nomina."""


@dataclass(frozen=True)
class Segmenter:
    """A loaded checkpoint, ready to segment scans from words.

    Example:
        segmenter = Segmenter.load("spine-mr")
        result = segmenter(volume, ["L4 vertebra", "disc between L4 and L5", "spinal canal"])
    """

    checkpoint: Checkpoint

    @classmethod
    def load(cls, model: str | Path = "spine-mr", *, device: str = "auto") -> "Segmenter":
        """Load a shipped checkpoint by name, or a checkpoint folder.

        Args:
            model: Name of a shipped checkpoint, or a folder.
            device: "cpu", "cuda", "cuda:1" …; "auto" takes a GPU where there is one.

        Raises:
            CheckpointError: There is no such checkpoint, or its folder is incomplete or altered.
            ConfigError: A GPU is asked for where there is none.
        """
        folder = SHIPPED / str(model)
        if not folder.is_dir():
            folder = Path(model)
        if not folder.is_dir():
            shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob("*/config.json")))
            raise CheckpointError(f"no checkpoint {str(model)!r}: give a folder, or a shipped one: {shipped}")
        has_gpu = torch.cuda.is_available()
        _require_known_device(device)
        if device == "auto":
            device = "cuda" if has_gpu else "cpu"
        if device.startswith("cuda") and not has_gpu:
            raise ConfigError(f"device {device!r} was asked for, but torch finds no GPU here; use device cpu")
        return cls(load_checkpoint(folder, device=device))

    def resolve(self, prompts: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the structures that the words mean, in order; None means all that the model knows.

        Raises:
            PromptError: Words that name nothing, or something that the model was not trained on.
        """
        if prompts is None:
            return self.checkpoint.structures
        known = self.checkpoint.structures
        if isinstance(self.checkpoint.network, LACAF):
            known = nameable(known)
        return tuple(found.name for found in resolve_all(prompts, within=known))

    def __call__(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        *,
        mode: PromptMode = "predicted",
        progress: Callable[[float], None] | None = None,
    ) -> Segmentation:
        """Segment what the words name.

        Args:
            volume: The scan, in any orientation.
            prompts: Words, one phrase or several; None for every structure that the model knows.
            mode: What the image view says; see `PromptMode`.
            progress: Called with the share done, 0 to 1.

        Returns:
            Label map on the scan's own grid in the `nomina` scheme, a verdict per structure, and provenance.

        Raises:
            PromptError: See `resolve`.
            VolumeError: The scan is of another modality than the model's, or not sagittal.
        """
        prompts = (prompts,) if isinstance(prompts, str) else prompts
        return self._segment(volume, prompts, mode, None, progress)

    def oracle(self, volume: Volume, prompts: Sequence[str] | None, reference: LabelMap) -> Segmentation:
        """Upper bound: segment with the facts of a *reference* label map as image view.

        Never a result: the words carry part of the answer. Provenance says `"mode": "oracle"`.

        Args:
            volume: The scan.
            prompts: Words; None for every structure that the model knows.
            reference: The scan's reference label map.

        Raises:
            CheckpointError: The checkpoint's network hears no words.
        """
        if not isinstance(self.checkpoint.network, ATMNet):
            raise CheckpointError(f"checkpoint {self.checkpoint.name} hears no facts, so it has no oracle")
        facts = facts_from_label_map(reference, sequence=volume.sequence)
        return self._segment(volume, prompts, "oracle", facts, None)

    def _segment(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        mode: str,
        stated: Facts | None,
        progress: Callable[[float], None] | None,
    ) -> Segmentation:
        asked, known = self.resolve(prompts), self.checkpoint.structures
        self._check_modality(volume)
        if isinstance(self.checkpoint.network, LACAF):
            return segment_blocks(self.checkpoint, volume, asked, prompts=prompts or (), progress=progress)
        canonical = volume.canonical()
        image, grid = prepare_image(canonical, self.checkpoint.config.preparation)
        window = self._window(image)
        words, facts = self._words(image, window, mode, stated)
        if progress:
            progress(0.3)
        classes = self._classify(image, window, grid, canonical.grid, words, progress)
        naming = consistent_levels(classes.array, known)
        naming = replace(naming, classes=without_islands(naming.classes, canonical.grid.spacing_mm))
        verdicts = judge(naming, classes.certainty, classes.grid, known, facts, _content(canonical))
        found = [name for name in asked if verdicts[name].volume_ml > 0]
        label_map = _label_map(naming.classes, classes.grid, asked, found, known)
        return Segmentation(
            label_map=label_map.reoriented_like(volume.grid),
            verdicts=tuple(verdicts[name] for name in asked),
            prompts=tuple(prompts) if prompts is not None else (),
            provenance=self._provenance(mode, volume),
        )

    def _check_modality(self, volume: Volume) -> None:
        trained = self.checkpoint.config.modality
        if volume.modality is not None and volume.modality != trained:
            raise VolumeError(
                f"the scan is {volume.modality}, but checkpoint {self.checkpoint.name} was trained on "
                f"{trained}; use a {trained} scan or another checkpoint"
            )

    def _window(self, image: np.ndarray) -> slice:
        network, num_slices = self._slice_network()
        return structure_window(
            network,
            image,
            self._all_words(network),
            num_slices=num_slices,
            width=self.checkpoint.config.window_px,
        )

    def _all_words(self, network: SliceNetwork) -> EncodedPrompts:
        words = encode_prompts(self.checkpoint.bank, self.checkpoint.structures)
        return words.to(next(network.parameters()).device)

    def _words(
        self, image: np.ndarray, window: slice, mode: str, stated: Facts | None
    ) -> tuple[EncodedPrompts, PredictedFacts | None]:
        network, num_slices = self._slice_network()
        words = self._all_words(network)
        if not isinstance(network, ATMNet):
            return words, None
        facts = predict_facts(network, image, num_slices=num_slices, window=window)
        if mode == "constant":
            return words.constant(1), facts
        if stated is not None:
            statements = image_statements(self.checkpoint.structures)
            return words.saying([statement_choices(stated, statements)]), facts
        return words.given(facts.statements), facts

    def _slice_network(self) -> tuple[SliceNetwork, int]:
        """The network and how many slices it sees at once."""
        network, cfg = self.checkpoint.network, self.checkpoint.config.network
        if isinstance(network, LACAF) or isinstance(cfg, LACAFConfig):
            raise CheckpointError(
                f"checkpoint {self.checkpoint.name} holds a la_caf network, which sees blocks of voxels, not "
                f"slices"
            )
        return network, cfg.num_slices

    def _classify(
        self,
        image: np.ndarray,
        window: slice,
        prepared: Grid,
        native: Grid,
        words: EncodedPrompts,
        progress: Callable[[float], None] | None,
    ) -> ClassMap:
        network, num_slices = self._slice_network()
        slices = predict_slices(network, image, words, num_slices=num_slices, batch_size=2, window=window)

        def report(done: int) -> None:
            if progress:
                progress(0.3 + 0.65 * done / len(image))

        kinds = ("background", *(structure(name).kind for name in self.checkpoint.structures))
        return winning_classes(slices, prepared, native, kinds, report)

    def _provenance(self, mode: str, volume: Volume) -> dict[str, object]:
        return {
            "model": self.checkpoint.name,
            "digest": self.checkpoint.digest,
            "encoder": asdict(self.checkpoint.bank.provenance),
            "mode": mode,
            "scheme_of_levels": self.checkpoint.config.scheme,
            "versions": {name: version(name) for name in ("nomina", "torch")},
            "notes": list(volume.notes),
        }


def _label_map(
    classes: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    asked: Sequence[str],
    found: Sequence[str],
    known: Sequence[str],
) -> LabelMap:
    """The found structures under the `nomina` scheme's values; every asked one has a name."""
    values = np.zeros(len(known) + 1, dtype=np.uint8)
    for name in found:
        values[known.index(name) + 1] = structure(name).label
    return LabelMap(values[classes], grid, names={structure(n).label: n for n in asked}, scheme="nomina")


def _require_known_device(device: str) -> None:
    try:
        known = device == "auto" or torch.device(device).type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")


def _content(canonical: Volume) -> tuple[int, int]:
    """First and last index along S with image content: rows of one value at the ends are padding."""
    # Not by np.ptp, which overflows in narrow integer types.
    rows = canonical.array.max(axis=(0, 1)) > canonical.array.min(axis=(0, 1))
    places = np.flatnonzero(rows)
    return int(places[0]), int(places[-1])
