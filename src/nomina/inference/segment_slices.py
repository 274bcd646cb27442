"""Words and a scan → named structures, through a network of slices.

scan prepared → window found → facts read or told → slices classified, on the scan's own grid → levels named →
islands off → verdicts
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nomina.assessment.level_anchors import Anchor
from nomina.imaging.preparation import normalise
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import Volume
from nomina.inference.anchored import AnchoredNaming, facts_under_anchors, with_anchors
from nomina.inference.cleaning import without_islands
from nomina.inference.levels import consistent_levels
from nomina.inference.native_grid import ClassMap, named_label_map
from nomina.inference.plan import MemoryPlan
from nomina.inference.presence import content_rows, judge
from nomina.inference.provenance import provenance
from nomina.inference.slices import classify_slices, look_for_window, slice_preparation, words_and_facts
from nomina.inference.walls import body_walls
from nomina.language.facts import facts_from_label_map
from nomina.language.prompts import all_said
from nomina.networks.atm_net import ATMNet
from nomina.networks.checkpoint import Checkpoint
from nomina.networks.predict import PredictedFacts


def segment_slices(
    checkpoint: Checkpoint,
    volume: Volume,
    asked: Sequence[str] | None,
    *,
    plan: MemoryPlan,
    mode: str,
    said: Mapping[str, str] | None = None,
    anchors: Sequence[Anchor] = (),
    progress: Callable[[float], None] | None = None,
) -> Segmentation:
    """Segment what is asked for in a sagittal scan.

    Args:
        checkpoint: Holds a network of slices.
        volume: The scan, in any orientation.
        asked: Names of structures; None for all that the model knows, and levels that the anchors bring in.
        plan: How many slices go at once; provenance keeps it.
        mode: What the network hears, or who says it; provenance keeps it. See `nomina.inference.modes`.
        said: Value of each statement that is made; None: what the mode says.
        anchors: What is known of the levels.
        progress: Called with the share done, 0 to 1.

    Returns:
        Label map on the scan's own grid in the `nomina` scheme, a verdict per structure, and provenance.

    Raises:
        VolumeError: The scan has no contrast.
        PromptError: An anchor hits no vertebra or disc, or contradicts another.
        CheckpointError: The checkpoint holds a network of blocks.
    """
    canonical = volume.canonical()
    content = content_rows(canonical)
    classes, facts = _classify(checkpoint, canonical, mode, said, plan, progress)
    named = _named(checkpoint.structures, classes, content[0], anchors)
    naming, structures = named.naming, named.structures
    if anchors:
        facts = facts_under_anchors(facts, structures)
    asked = structures if asked is None else asked
    calibration = checkpoint.config.verdicts
    walls = body_walls(canonical.array, naming.classes, structures, classes.grid.spacing_mm)
    verdicts = judge(naming, classes.certainty, classes.grid, structures, facts, content, calibration, walls)
    found = [name for name in asked if verdicts[name].volume_ml > 0]
    label_map = named_label_map(naming.classes, classes.grid, asked, found, structures)
    return Segmentation(
        label_map=label_map.reoriented_like(volume.grid),
        verdicts=tuple(verdicts[name] for name in asked),
        provenance={
            **provenance(checkpoint, mode, canonical),
            "memory": plan.as_dict(),
            "levels_decided_by": naming.reason,
            "anchors": [anchor.text for anchor in anchors],
        },
    )


def _classify(
    checkpoint: Checkpoint,
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
    image, grid = normalise(canonical, slice_preparation(checkpoint))
    window = look_for_window(checkpoint, image, plan.look_batch)
    if said is None:
        said = _own_words(checkpoint, canonical, mode, plan)
    words, facts = words_and_facts(checkpoint, image, window, mode, said, plan.look_batch)
    report(0.3)
    classes = classify_slices(
        checkpoint,
        image,
        window,
        words,
        (grid, canonical.grid),
        plan.slice_batch,
        lambda share: report(0.3 + 0.65 * share),
    )
    return classes, facts


def _own_words(
    checkpoint: Checkpoint, canonical: Volume, mode: str, plan: MemoryPlan
) -> Mapping[str, str] | None:
    """What the scan says about itself: its header, or a first pass with the generic sentence."""
    if mode == "self" and isinstance(checkpoint.network, ATMNet):
        first = segment_slices(checkpoint, canonical, None, plan=plan, mode="constant")
        return all_said(facts_from_label_map(first.label_map, sequence=canonical.sequence))
    if mode == "header":
        return {"sequence": canonical.sequence} if canonical.sequence else {}
    return None


def _named(
    structures: tuple[str, ...], classes: ClassMap, lowest_row: int, anchors: Sequence[Anchor]
) -> AnchoredNaming:
    """One name per level of the whole scan, islands taken off; by the anchors, where there are any."""
    spacing_mm = classes.grid.spacing_mm
    naming = consistent_levels(classes.array, structures, spacing_mm=spacing_mm, lowest_row=lowest_row)
    naming = replace(naming, classes=without_islands(naming.classes, spacing_mm))
    if not anchors:
        return AnchoredNaming(naming, structures)
    return with_anchors(naming, classes.grid, structures, anchors)
