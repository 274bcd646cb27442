"""`Segmenter`: words and a scan in, named masks with a verdict per word out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch

from nomina.anatomy.resolve import Target, resolve_targets
from nomina.anatomy.sides import nameable
from nomina.anatomy.structures import structure
from nomina.assessment.level_anchors import Anchor, parse_anchor
from nomina.errors import CheckpointError, ConfigError, PromptError, VolumeError
from nomina.imaging.doctor_intensity import is_hounsfield, sampled
from nomina.imaging.preparation import normalise
from nomina.imaging.preparations import require_suited
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.anchored import AnchoredNaming, facts_under_anchors, with_anchors
from nomina.inference.block_plan import BlockMemoryPlan
from nomina.inference.blocks import segment_blocks
from nomina.inference.checkpoint_plan import block_plan, forward_bytes, slice_plan
from nomina.inference.cleaning import without_islands
from nomina.inference.levels import consistent_levels
from nomina.inference.native_grid import ClassMap, named_label_map
from nomina.inference.parts import needed_structures, only_asked
from nomina.inference.plan import MemoryPlan
from nomina.inference.presence import content_rows, judge
from nomina.inference.provenance import provenance
from nomina.inference.slices import classify_slices, look_for_window, slice_preparation, words_and_facts
from nomina.language.facts import facts_from_label_map
from nomina.language.prompts import all_said, image_statements, require_sayable
from nomina.networks.atm_net import ATMNet
from nomina.networks.checkpoint import Checkpoint, load_checkpoint
from nomina.networks.la_caf import LACAF
from nomina.networks.predict import PredictedFacts
from nomina.networks.shipped import checkpoint_folder, shipped_of

ImageViewMode = Literal["predicted", "constant", "self", "header"]
"""Image view at test time: `predicted` reads facts off the picture (mode B), `constant` says one generic
sentence (mode A), `self` segments so first and then says what it found (mode C), `header` says the MR
weighting of the scan's header alone (mode D). None can see a reference."""

PromptMode = Literal[ImageViewMode, "class prompts", "none"]
"""What a network hears: one of the image views where it has one (ATM-Net), `class prompts` where it hears a
constant sentence per class (LA-CAF), `none` where it hears no words."""

Teller = Literal["user", "simulated user", "oracle", "shuffled", "shifted"]
"""Who says the facts: a person (mode E), a reference in a person's place, a reference (upper bound only), or
nobody in earnest: facts that are wrong on purpose."""


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
        folder = checkpoint_folder(model)
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
        return tuple(dict.fromkeys(target.structure.name for target in self._targets(prompts)))

    def _targets(self, prompts: Sequence[str] | None) -> tuple[Target, ...]:
        if prompts is None:
            return tuple(Target(structure(name)) for name in self.checkpoint.structures)
        known = self.checkpoint.structures
        if isinstance(self.checkpoint.network, LACAF):
            known = nameable(known)
        return resolve_targets(prompts, within=known)

    def __call__(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        *,
        mode: PromptMode | None = None,
        progress: Callable[[float], None] | None = None,
        plan: MemoryPlan | BlockMemoryPlan | None = None,
    ) -> Segmentation:
        """Segment what the words name.

        Args:
            volume: The scan, in any orientation.
            prompts: Words, one phrase or several; None for every structure that the model knows.
            mode: What the network hears; see `PromptMode`. None: the only one that it has, or `predicted`.
            progress: Called with the share done, 0 to 1.
            plan: What `plan` gave for this scan; None: as fast as it can be.

        Returns:
            Label map on the scan's own grid in the `nomina` scheme, a verdict per structure, and provenance.

        Raises:
            PromptError: See `resolve`.
            VolumeError: The scan is of another modality than the model's, not sagittal, not in Hounsfield
                units, or without contrast; all but the last are said before the network runs.
            ConfigError: The network has no such mode, or the plan is one for a network of another kind.
        """
        self._require_own_plan(plan)
        return self._segment(volume, prompts, self._known_mode(mode), None, progress, plan)

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
        self._require_own_plan(plan)
        return self._segment(volume, prompts, self._known_mode(mode), None, progress, plan, known)

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
        if isinstance(self.checkpoint.network, LACAF):
            return block_plan(self.checkpoint, volume, num_prompts, held_bytes, max_memory_bytes)
        return slice_plan(self.checkpoint, volume, num_prompts, held_bytes, max_memory_bytes)

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
        if not isinstance(self.checkpoint.network, ATMNet):
            raise CheckpointError(
                f"checkpoint {self.checkpoint.name} hears no words, so nothing can be told to it"
            )
        if teller not in get_args(Teller):
            raise ConfigError(f"teller must be one of {', '.join(get_args(Teller))}, got {teller!r}")
        if teller == "user":
            require_sayable(said, image_statements(self.checkpoint.structures))
        return self._segment(volume, prompts, teller, said, None, None)

    def _known_mode(self, mode: str | None) -> str:
        """The mode, or the usual one; only those that the network can tell apart are known."""
        known: tuple[str, ...] = ("none",)
        if isinstance(self.checkpoint.network, ATMNet):
            known = get_args(ImageViewMode)
        elif isinstance(self.checkpoint.network, LACAF):
            known = ("class prompts",)
        elif mode == "predicted":
            # Run cards of before `none` had a name say so of a network without words; it heard none either.
            return "none"
        if mode is not None and mode not in known:
            raise ConfigError(
                f"mode must be one of {', '.join(known)} for checkpoint {self.checkpoint.name}, got {mode!r}"
            )
        return known[0] if mode is None else mode

    def _require_own_plan(self, plan: MemoryPlan | BlockMemoryPlan | None) -> None:
        """Refuse a plan for a network of another kind: its limit would not be kept."""
        own = BlockMemoryPlan if isinstance(self.checkpoint.network, LACAF) else MemoryPlan
        if plan is not None and not isinstance(plan, own):
            raise ConfigError(
                f"the plan is a {type(plan).__name__}, but checkpoint {self.checkpoint.name} needs a "
                f"{own.__name__}; make it with Segmenter.plan of this checkpoint"
            )

    def _segment(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        mode: str,
        said: Mapping[str, str] | None,
        progress: Callable[[float], None] | None,
        plan: MemoryPlan | BlockMemoryPlan | None,
        anchors: Sequence[Anchor] = (),
    ) -> Segmentation:
        prompts = (prompts,) if isinstance(prompts, str) else prompts
        targets, known = self._targets(prompts), self.checkpoint.structures
        asked = needed_structures(targets, known)
        num_prompts = len({target.structure.name for target in targets})
        self._require_suited(volume)
        if isinstance(self.checkpoint.network, LACAF):
            if not isinstance(plan, BlockMemoryPlan):
                plan = block_plan(self.checkpoint, volume, num_prompts, self._forward_bytes, None)
            return self._segment_blocks(volume, targets, prompts, plan, progress)
        if not isinstance(plan, MemoryPlan):
            plan = slice_plan(self.checkpoint, volume, num_prompts, self._forward_bytes, None)
        canonical = volume.canonical()
        content = content_rows(canonical)
        classes, facts = self._classify(volume, canonical, mode, said, plan, progress)
        named = self._name(classes, content[0], anchors)
        naming, structures = named.naming, named.structures
        if anchors:
            facts = facts_under_anchors(facts, structures)
            asked = (*asked, *(structures[len(known) :] if prompts is None else ()))
        calibration = self.checkpoint.config.verdicts
        verdicts = judge(naming, classes.certainty, classes.grid, structures, facts, content, calibration)
        found = [name for name in asked if verdicts[name].volume_ml > 0]
        label_map = named_label_map(naming.classes, classes.grid, asked, found, structures)
        segmentation = Segmentation(
            label_map=label_map.reoriented_like(volume.grid),
            verdicts=tuple(verdicts[name] for name in asked),
            prompts=tuple(prompts) if prompts is not None else (),
            provenance={
                **provenance(self.checkpoint, mode, canonical),
                "memory": plan.as_dict(),
                "levels_decided_by": naming.reason,
                "anchors": [anchor.text for anchor in anchors],
            },
        )
        return only_asked(segmentation, targets) if any(target.at for target in targets) else segmentation

    def _classify(
        self,
        volume: Volume,
        canonical: Volume,
        mode: str,
        said: Mapping[str, str] | None,
        plan: MemoryPlan,
        progress: Callable[[float], None] | None,
    ) -> tuple[ClassMap, PredictedFacts | None]:
        """The class of each voxel, slice by slice, and the facts that the network read off the picture.

        The prepared scan, the largest array of all, lives in here: it is gone before levels are named.
        """
        report = progress or (lambda share: None)
        image, grid = normalise(canonical, slice_preparation(self.checkpoint))
        window = look_for_window(self.checkpoint, image, plan.look_batch)
        if said is None:
            said = self._own_words(volume, mode, plan)
        words, facts = words_and_facts(self.checkpoint, image, window, mode, said, plan.look_batch)
        report(0.3)
        classes = classify_slices(
            self.checkpoint,
            image,
            window,
            words,
            (grid, canonical.grid),
            plan.slice_batch,
            lambda share: report(0.3 + 0.65 * share),
        )
        return classes, facts

    def _name(self, classes: ClassMap, lowest_row: int, anchors: Sequence[Anchor]) -> AnchoredNaming:
        """One name per level of the whole scan, islands taken off; by the anchors, where there are any."""
        known, spacing_mm = self.checkpoint.structures, classes.grid.spacing_mm
        naming = consistent_levels(classes.array, known, spacing_mm=spacing_mm, lowest_row=lowest_row)
        naming = replace(naming, classes=without_islands(naming.classes, spacing_mm))
        if not anchors:
            return AnchoredNaming(naming, known)
        return with_anchors(naming, classes.grid, known, anchors)

    def _segment_blocks(
        self,
        volume: Volume,
        targets: Sequence[Target],
        prompts: Sequence[str] | None,
        plan: BlockMemoryPlan,
        progress: Callable[[float], None] | None,
    ) -> Segmentation:
        asked = needed_structures(targets, nameable(self.checkpoint.structures))
        found = segment_blocks(
            self.checkpoint, volume, asked, plan=plan, prompts=prompts or (), progress=progress
        )
        return only_asked(found, targets) if any(target.at for target in targets) else found

    def _own_words(self, volume: Volume, mode: str, plan: MemoryPlan) -> Mapping[str, str] | None:
        """What the scan says about itself: its header, or a first pass with the generic sentence."""
        if mode == "self" and isinstance(self.checkpoint.network, ATMNet):
            first = self._segment(volume, None, "constant", None, None, plan)
            return all_said(facts_from_label_map(first.label_map, sequence=volume.sequence))
        if mode == "header":
            return {"sequence": volume.sequence} if volume.sequence else {}
        return None

    def _require_suited(self, volume: Volume) -> None:
        """Refuse a scan that the model cannot read, before the network runs, be it only to plan."""
        self._check_modality(volume)
        require_suited(volume, self.checkpoint.config.preparation)

    def _check_modality(self, volume: Volume) -> None:
        trained, shown = self.checkpoint.config.modality, volume.modality
        said = f"the scan is {shown}"
        if shown is None and trained == "MR" and is_hounsfield(sampled(volume.array)):
            shown, said = "CT", "the grey values of the scan are Hounsfield units of a CT"
        if shown is not None and shown != trained:
            others = " or ".join(shipped_of(shown))
            raise VolumeError(
                f"{said}, but checkpoint {self.checkpoint.name} was trained on "
                f"{trained}; use a {trained} scan or another checkpoint{f' ({others})' if others else ''}"
            )


def _require_known_device(device: str) -> None:
    try:
        known = device == "auto" or torch.device(device).type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
