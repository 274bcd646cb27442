"""What ATM-Net is told at test time: honest modes, wrong prompts on purpose, and upper bounds.

    mode           letter  who speaks
    none                   nobody: the network hears no words
    constant       A       one generic sentence
    predicted      B       facts that the network reads off the picture
    self           C       facts of its own first segmentation
    header         D       the MR weighting alone
    user           E       the lowest vertebra, declared by a *simulated* user: taken from the reference
    oracle         X       all facts of the reference: an upper bound, never a result
    shuffled               the facts of another patient: wrong on purpose
    shifted                the facts of the reference, each one level too high: wrong on purpose
    class_shifted          predicted facts, but each class is described as the next level: wrong on purpose
    best_shift             the usual mode's masks, all names moved by the shift that fits the reference best

Modes none to D never see a reference; the functions that serve them cannot be given one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from nomina.anatomy.schemes import read_label_map
from nomina.assessment.best_shift import best_shift
from nomina.assessment.spine_levels import spine_kind, spine_rank
from nomina.bench.measure import prediction_path
from nomina.bench.modes import HONEST_MODES, Mode
from nomina.bench.scans import read_reference, read_scan
from nomina.errors import ConfigError
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.segmenter import Segmenter
from nomina.language.facts import Facts, facts_from_label_map, shifted_facts
from nomina.language.prompts import NUM_PARAPHRASES, all_said, channel_view, image_statements, said_choices
from nomina.learning.cases import Case


@dataclass(frozen=True)
class ReferenceFacts:
    """What stamped modes take from references; honest modes never see it."""

    own: Facts
    """Facts of this scan."""
    other: Facts
    """Facts of a scan of another patient."""


@dataclass(frozen=True)
class SpineServer:
    """A network of slices on the test scans of its run; see `nomina.bench.measure.Server`."""

    segmenter: Segmenter
    cases: tuple[Case, ...]
    folder: Path
    """Folder `modes` of the run: "best_shift" renames what lies there."""

    def predict(self, index: int, mode: Mode) -> LabelMap:
        """The label map of one scan in one mode."""
        case = self.cases[index]
        if mode == "best_shift":
            return self._shifted(case)
        volume = read_scan(case)
        # An honest mode is not handed a reference at all.
        if mode in HONEST_MODES:
            return segment_honestly(self.segmenter, volume, mode)
        return segment_stamped(self.segmenter, volume, mode, self._facts[index][0])

    def is_wrong(self, index: int, mode: Mode) -> bool:
        """For the shuffled prompt whether the network could tell it from the right one; else True."""
        return self._facts[index][1] if mode == "shuffled" else True

    def comparable(self, label_map: LabelMap) -> LabelMap:
        """The label map as it is: structures are compared by their names."""
        return label_map

    @cached_property
    def _facts(self) -> list[tuple[ReferenceFacts, bool]]:
        """Facts of each reference and of another patient's, and whether the two can be told apart."""
        own = [facts_from_label_map(read_reference(case), sequence=case.sequence) for case in self.cases]
        patients = [case.patient for case in self.cases]
        if len(set(patients)) < 2:
            return [(ReferenceFacts(facts, facts), False) for facts in own]
        known = self.segmenter.checkpoint.structures
        others = [other_facts(index, patients, own, known) for index in range(len(own))]
        return [
            (ReferenceFacts(mine, other), wrong) for mine, (other, wrong) in zip(own, others, strict=True)
        ]

    def _shifted(self, case: Case) -> LabelMap:
        """The masks of the usual mode under the names that fit the reference best."""
        paths = [prediction_path(self.folder / mode, case) for mode in ("none", "predicted")]
        found = read_label_map(next(path for path in paths if path.is_file()), scheme="nomina")
        reference = read_reference(case).canonical()
        shifted, _ = best_shift(found.canonical(), reference, self.segmenter.checkpoint.structures)
        return shifted.reoriented_like(found.grid)


def segment_honestly(segmenter: Segmenter, volume: Volume, mode: Mode) -> LabelMap:
    """Segment without anything from a reference.

    Raises:
        ConfigError: The mode needs a reference.
    """
    match mode:
        case "none":
            return segmenter(volume, None).label_map
        case "constant" | "predicted" | "self" | "header":
            return segmenter(volume, None, mode=mode).label_map
        case _:
            raise ConfigError(f"the mode {mode!r} is served with the facts of a reference alone")


def segment_stamped(segmenter: Segmenter, volume: Volume, mode: Mode, facts: ReferenceFacts) -> LabelMap:
    """Segment in a mode that a reference reaches; its scores carry `STAMPS[mode]`.

    Raises:
        ConfigError: The mode hears no facts.
    """
    match mode:
        case "oracle":
            return segmenter.told(volume, None, all_said(facts.own), teller="oracle").label_map
        case "user":
            lowest = facts.own.lowest_vertebra
            said = {} if lowest is None else {"lowest_vertebra": lowest}
            return segmenter.told(volume, None, said, teller="simulated user").label_map
        case "shuffled":
            return segmenter.told(volume, None, all_said(facts.other), teller="shuffled").label_map
        case "shifted":
            wrong = shifted_facts(facts.own, 1)
            return segmenter.told(volume, None, all_said(wrong), teller="shifted").label_map
        case "class_shifted":
            return segment_honestly(with_shifted_classes(segmenter), volume, "predicted")
        case _:
            raise ConfigError(f"the mode {mode!r} is not served with facts of a reference")


def with_shifted_classes(segmenter: Segmenter) -> Segmenter:
    """The same network hearing, for each vertebra and disc, the sentence about the next level of its kind.

    The highest hears that about the lowest.
    """
    checkpoint = segmenter.checkpoint
    heard = {
        channel_view(name, paraphrase): channel_view(other, paraphrase)
        for name, other in _next_levels(checkpoint.structures).items()
        for paraphrase in range(NUM_PARAPHRASES)
    }
    return replace(segmenter, checkpoint=replace(checkpoint, bank=checkpoint.bank.exchanged(heard)))


def other_facts(
    index: int, patients: Sequence[str], facts: Sequence[Facts], structures: Sequence[str]
) -> tuple[Facts, bool]:
    """A prompt that belongs to another patient, and whether it says anything else than the right one.

    Args:
        index: The scan that is to be told wrong facts.
        patients: Patient of each scan.
        facts: Facts of each scan.
        structures: What the model knows: two facts that it cannot tell apart are the same.

    Returns:
        Facts of the next scan of another patient whose prompt differs; where none differs, of the next one.

    Raises:
        ConfigError: There is no other patient.
    """
    statements = image_statements(structures)
    order = [(index + step) % len(facts) for step in range(1, len(facts))]
    others = [facts[place] for place in order if patients[place] != patients[index]]
    if not others:
        raise ConfigError("a shuffled prompt needs a second patient")
    own = said_choices(all_said(facts[index]), statements)
    for candidate in others:
        if said_choices(all_said(candidate), statements) != own:
            return candidate, True
    return others[0], False


def _next_levels(structures: Sequence[str]) -> dict[str, str]:
    """For each vertebra and disc the next level above it among the structures, for the highest the lowest."""
    result: dict[str, str] = {}
    for kind in ("vertebra", "disc"):
        members = [name for name in structures if spine_kind(name) == kind and spine_rank(name) is not None]
        members.sort(key=lambda name: spine_rank(name) or 0)
        result |= dict(zip(members, members[1:] + members[:1], strict=True))
    return result
