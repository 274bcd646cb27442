"""`Segmenter`: words and a scan in, named masks with a verdict per word out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nomina.anatomy.resolve import Target, resolve_targets
from nomina.anatomy.sides import nameable
from nomina.anatomy.structures import structure
from nomina.assessment.level_anchors import Anchor, parse_anchor
from nomina.errors import ConfigError, PromptError
from nomina.imaging.doctor_finding import Finding
from nomina.imaging.doctor_volume import faults
from nomina.imaging.preparations import require_suited
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.block_plan import BlockMemoryPlan
from nomina.inference.blocks import segment_blocks
from nomina.inference.checkpoint_plan import checkpoint_plan, forward_bytes, require_own_plan
from nomina.inference.modality import require_modality
from nomina.inference.modes import PromptMode, Teller, known_mode, require_tellable
from nomina.inference.parts import needed_structures, only_asked
from nomina.inference.plan import MemoryPlan, lack_of_memory_said
from nomina.inference.regions import on_grid, require_named, require_sides, values_used
from nomina.inference.segment_slices import segment_slices
from nomina.language.facts import facts_from_label_map
from nomina.language.prompts import all_said
from nomina.networks.checkpoint import Checkpoint, load_checkpoint
from nomina.networks.la_caf import LACAF
from nomina.networks.shipped import checkpoint_folder


@dataclass(frozen=True)
class _Known:
    """What a user knows of a scan besides its voxels."""

    said: Mapping[str, str] | None = None
    anchors: Sequence[Anchor] = ()
    regions: LabelMap | None = None


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
        return cls(load_checkpoint(checkpoint_folder(model), device=_chosen_device(device)))

    def resolve(self, prompts: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the structures that the words mean, in order; None means all that the model knows.

        Raises:
            PromptError: Words that name nothing, or something that the model was not trained on.
        """
        return tuple(dict.fromkeys(target.structure.name for target in self._targets(prompts)))

    def _targets(self, prompts: Sequence[str] | None) -> tuple[Target, ...]:
        if prompts is None:
            return tuple(Target(structure(name)) for name in self.checkpoint.structures)
        return resolve_targets(prompts, within=self._nameable)

    @property
    def _nameable(self) -> tuple[str, ...]:
        """What words may ask for: sides of vessels too, which the lungs tell, not the network."""
        known = self.checkpoint.structures
        return nameable(known) if isinstance(self.checkpoint.network, LACAF) else known

    def __call__(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        *,
        mode: PromptMode | None = None,
        progress: Callable[[float], None] | None = None,
        plan: MemoryPlan | BlockMemoryPlan | None = None,
        regions: LabelMap | None = None,
    ) -> Segmentation:
        """Segment what the words name.

        Args:
            volume: The scan, in any orientation.
            prompts: Words, one phrase or several; None for every structure that the model knows.
            mode: What the network hears; see `PromptMode`. None: the only one that it has, or `predicted`.
            progress: Called with the share done, 0 to 1.
            plan: What `plan` gave for this scan; None: as fast as it can be.
            regions: Label map on the scan's own grid that names what parts lie inside of: the lobes of "right
                lower lobe arteries".

        Returns:
            Label map on the scan's own grid in the `nomina` scheme, a verdict per structure, and provenance,
            whose `findings` say what `nomina doctor` warns of in the scan.

        Raises:
            PromptError: See `resolve`; or regions are needed and not given, or the reverse.
            SchemeError: The regions do not name what is asked for, or name it on the other side.
            GridMismatchError: The regions do not lie on the scan.
            VolumeError: The scan is of another modality than the model's, not sagittal, not in Hounsfield
                units, or without contrast; all but the last are said before the network runs. Or memory ran
                out.
            ConfigError: The network has no such mode, or the plan is one for a network of another kind.
        """
        require_own_plan(self.checkpoint, plan)
        heard = known_mode(self.checkpoint, mode)
        known = _Known(regions=regions)
        return self._segment(volume, prompts, heard, known, progress=progress, plan=plan)

    def anchored(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        anchors: Sequence[str],
        *,
        mode: PromptMode | None = None,
        progress: Callable[[float], None] | None = None,
        plan: MemoryPlan | BlockMemoryPlan | None = None,
    ) -> Segmentation:
        """Segment what the words name, with levels named by what a user knows of one or more.

        The masks are those of a call without anchors; which level each is can be another.

        Args:
            volume: See `__call__`.
            prompts: Words; None for every structure that the model knows, and for levels that the anchors
                bring in besides, such as L6.
            anchors: What is known, at least one: "lowest disc is L5/S1", "L4 is here: x,y,z" (mm, RAS).
            mode: See `__call__`.
            progress: See `__call__`.
            plan: See `__call__`.

        Raises:
            PromptError: An anchor is not understood, hits no vertebra or disc, or contradicts another; the
                checkpoint names no levels; or see `resolve`.
            VolumeError: See `__call__`.
            ConfigError: See `__call__`.
        """
        if isinstance(self.checkpoint.network, LACAF):
            raise PromptError(
                f"checkpoint {self.checkpoint.name} names no levels, so an anchor says nothing to it; leave "
                f"the anchors out"
            )
        known = [parse_anchor(words) for words in anchors]
        if not known:
            raise PromptError("no anchor was given; say what is known, for example 'lowest disc is L5/S1'")
        require_own_plan(self.checkpoint, plan)
        heard = known_mode(self.checkpoint, mode)
        return self._segment(volume, prompts, heard, _Known(anchors=known), progress=progress, plan=plan)

    def plan(
        self, volume: Volume, prompts: Sequence[str] | None, *, max_memory_bytes: int | None = None
    ) -> MemoryPlan | BlockMemoryPlan:
        """The memory that segmenting a scan will take, and how it is kept within bounds.

        Args:
            volume: The scan, read already.
            prompts: Words; None for every structure that the model knows.
            max_memory_bytes: The most that the process may hold; None: no bound.

        Raises:
            PromptError: See `resolve`.
            VolumeError: The model cannot read the scan, see `__call__`, or not in so little memory.
            ConfigError: There is a limit, and the system does not say what the process holds already.
        """
        self._require_suited(volume)
        num_prompts, held_bytes = len(self.resolve(prompts)), self._forward_bytes
        return checkpoint_plan(self.checkpoint, volume, num_prompts, held_bytes, max_memory_bytes)

    @cached_property
    def _forward_bytes(self) -> float:
        return forward_bytes(self.checkpoint)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.checkpoint.network.parameters()).device

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
        facts = facts_from_label_map(reference, sequence=volume.sequence)
        return self.told(volume, prompts, all_said(facts), teller="oracle")

    def told(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        said: Mapping[str, str],
        *,
        teller: Teller = "user",
    ) -> Segmentation:
        """Segment with facts that somebody declares, such as a radiologist who knows the levels (mode E).

        Args:
            volume: The scan.
            prompts: Words; None for every structure that the model knows.
            said: Value of each statement that is made, e.g. `{"lowest_vertebra": "L5 vertebra"}`; see
                `nomina.language.prompts.image_statements`.
            teller: Who says it; provenance keeps it as the mode. What the model cannot say is passed over
                where it comes from a reference; a user is told.

        Raises:
            CheckpointError: The checkpoint's network hears no words.
            PromptError: There is no such statement; or a user says nothing, or what the model cannot say.
            ConfigError: There is no such teller.
        """
        require_tellable(self.checkpoint, said, teller)
        return self._segment(volume, prompts, teller, _Known(said=said))

    def _segment(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        mode: str,
        known: _Known,
        *,
        progress: Callable[[float], None] | None = None,
        plan: MemoryPlan | BlockMemoryPlan | None = None,
    ) -> Segmentation:
        prompts = (prompts,) if isinstance(prompts, str) else prompts
        targets = self._targets(prompts)
        regions = known.regions
        require_named(targets, None if regions is None else regions.names.values())
        asked = None if prompts is None else needed_structures(targets, self._nameable)
        self._require_suited(volume)
        if regions is not None:
            regions = on_grid(regions, volume.grid)
            require_sides(regions, targets, volume)
        doubts = faults(volume)  # before the network runs, while nothing else is in memory
        if plan is None:
            num_prompts = len({target.structure.name for target in targets})
            plan = checkpoint_plan(self.checkpoint, volume, num_prompts, self._forward_bytes, None)
        with lack_of_memory_said(plan):
            if isinstance(plan, BlockMemoryPlan):
                found = segment_blocks(self.checkpoint, volume, asked, plan=plan, progress=progress)
            else:
                found = segment_slices(
                    self.checkpoint,
                    volume,
                    asked,
                    plan=plan,
                    mode=mode,
                    said=known.said,
                    anchors=known.anchors,
                    progress=progress,
                )
            details = _with_findings(found.provenance, doubts)
            if regions is not None:
                details["regions"] = values_used(regions, targets)
            found = replace(found, prompts=tuple(prompts or ()), provenance=details)
            if any(target.is_part for target in targets):
                return only_asked(found, targets, regions)
            return found

    def _require_suited(self, volume: Volume) -> None:
        """Refuse a scan that the model cannot read, before the network runs, be it only to plan."""
        require_modality(self.checkpoint, volume)
        require_suited(volume, self.checkpoint.config.preparation)


def _with_findings(provenance: Mapping[str, Any], findings: Sequence[Finding]) -> dict[str, Any]:
    """Provenance with the faults of the scan; what is one of them is no note any more."""
    said = {finding.sentence for finding in findings}
    notes = [note for note in provenance["notes"] if note not in said]
    return {**provenance, "findings": [asdict(finding) for finding in findings], "notes": notes}


def _chosen_device(device: str) -> str:
    has_gpu = torch.cuda.is_available()
    try:
        is_known = device == "auto" or torch.device(device).type in ("cpu", "cuda")
    except RuntimeError:
        is_known = False
    if not is_known:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device.startswith("cuda") and not has_gpu:
        raise ConfigError(f"device {device!r} was asked for, but torch finds no GPU here; use device cpu")
    return device
