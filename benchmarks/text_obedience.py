"""Whether the mask follows the words: swaps, paraphrases, negations, and what is not there.

python benchmarks/text_obedience.py --images images/ --references masks/ --phantoms 5 --pieces 2 --keep kept/

Real and phantom references (SPIDER scheme) decide, not names: a prompt is obeyed only if the voxels it gives
are those of the structure that it names. Kinds:

    swap            one of two neighbours, and both in either order: each mask is its own structure's
    paraphrase      every phrasing gives the mask of the plain name, and that is the structure's
    negation        refused, or less than a tenth of the structure in the mask
    absent          known to the model, not in the scan: an empty mask
    not of the …, nonsense, contradictory, empty, injected, very long: refused in words

A mask of everything is made once. What a phrase gives alone is cut from it by name, since the network hears
the same sentences whatever is asked; `--prove` asks so many scans phrase by phrase and compares voxels.
Exit code 1 where swaps, paraphrases or absent structures are obeyed less often than the target, or where more
prompts than allowed give a mask of something else.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from obedience_phrases import REFUSED_KINDS, negations, phrasings
from presence_suite import LEAST_SHARE, PARTIAL, pieces
from scans import middle_slices, phantoms, real_scans, segmented

from nomina.anatomy.resolve import resolve_targets
from nomina.anatomy.schemes import load_scheme
from nomina.assessment.metrics.overlap import Overlaps, count_overlaps
from nomina.assessment.statistics import bootstrap_interval, patient_of
from nomina.errors import PromptError
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.parts import only_asked
from nomina.inference.segmenter import Segmenter

BAR = 0.98
"""Share of swaps, paraphrases and absent structures that must be obeyed."""
GATED = ("swap", "paraphrase", "absent", "not of the model")
MOST_FALSE = 0.02
"""Share of all prompts that may give a mask of something else than they name."""
IS_ITS_OWN = 0.5
"""Dice with the reference from which a mask is the structure's [choice: a neighbour's mask has none]."""
LEAK = 0.1
"""Share of a structure that may be in a mask from which it is left out [choice: rims that the network gives
to its neighbours]."""
PROOFS = ("L4 vertebra", "the disc below L3", "everything but the canal", "canal at the level of L3")


@dataclass(frozen=True)
class Answer:
    """One prompt beside the truth."""

    kind: str
    case: str
    piece: str
    prompt: str
    structure: str
    is_obeyed: bool
    is_false_mask: bool
    """Voxels were given, and they are not what the prompt names."""
    is_same: bool = True
    """For a paraphrase: whether it gives the mask of the plain name, right or wrong."""
    verdict: str = ""
    """What the verdict said of the structure."""


@cache
def _asked(prompts: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...] | None:
    """See `Seen.asked`; the same for every scan."""
    try:
        targets = resolve_targets(prompts, within=known)
    except PromptError:
        return None
    if any(target.at for target in targets):
        raise ValueError(f"{prompts} names a part, which this suite cannot judge")
    return tuple(dict.fromkeys(target.structure.name for target in targets))


@dataclass(frozen=True)
class Seen:
    """One scan or piece: what was found in it, and what is there."""

    case: str
    piece: str
    found: Segmentation
    known: tuple[str, ...]
    """What the model can be asked for."""
    overlaps: Overlaps
    reference: LabelMap
    judged: frozenset[str]
    """Structures of which at least half is there."""
    absent: frozenset[str]
    """Structures that the model knows and of which nothing is there."""

    def asked(self, prompts: Sequence[str]) -> tuple[str, ...] | None:
        """Names of the structures that prompts give; None where they are refused."""
        return _asked(tuple(prompts), self.known)

    def num_voxels(self, name: str) -> int:
        """Voxels of the mask of one structure."""
        return self.overlaps.num_prediction(self.found.label_map.value_of(name))

    def is_own(self, name: str) -> bool:
        """Whether a structure's mask is that structure's and no other's."""
        mine = self.found.label_map.value_of(name)
        dice = {
            other: self.overlaps.dice(value, mine)
            for value, other in self.reference.names.items()
            if self.overlaps.num_reference(value)
        }
        return dice.get(name, 0.0) >= IS_ITS_OWN and dice[name] == max(dice.values())

    def verdict(self, name: str) -> str:
        """What the verdict says of a structure."""
        return next((v.presence for v in self.found.verdicts if v.structure == name), "")


def main() -> None:
    """Ask, print a table, write every answer."""
    args = _arguments()
    segmenter = Segmenter.load(args.model)
    answers = list(refusals(segmenter.checkpoint.structures))
    num_proven = 0
    for case, volume, reference in _scans(args):
        for piece, part, truth in pieces(case, volume, reference, args.pieces, args.seed):
            seen = look(segmenter, (case, piece), (part, truth, reference), args.keep)
            answers += judged(seen)
            print(f"{case} {piece}: {len(answers)} answers", flush=True)
        if num_proven < args.prove:
            prove(segmenter, *middle_slices(volume, reference, args.proof_slices))
            num_proven += 1
    if args.output:
        args.output.write_text(json.dumps([asdict(answer) for answer in answers], indent=1))
    trusted = [a for a in answers if patient_of(a.case) not in args.doubtful]
    print(table(answers, args.doubtful))
    faults = below_the_bar(trusted)
    print("\n".join(faults) or "the target is reached")
    sys.exit(1 if faults else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default="spine-mr")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--references", type=Path, help="Label maps of the same names, SPIDER scheme.")
    parser.add_argument("--patients", nargs="*", default=(), help="Which patients; left out: all.")
    parser.add_argument(
        "--doubtful",
        nargs="*",
        default=(),
        help="Patients whose reference levels may be wrong: a line apart.",
    )
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument("--first-phantom", type=int, default=0, help="Seed of the first phantom.")
    parser.add_argument("--pieces", type=int, default=0, help="Random pieces of each scan's height.")
    parser.add_argument("--seed", type=int, default=200, help="Seed of the pieces, as in presence_suite.py.")
    parser.add_argument("--prove", type=int, default=0, help="Scans that are asked phrase by phrase too.")
    parser.add_argument("--proof-slices", type=int, help="Only so many middle slices of these.")
    parser.add_argument("--keep", type=Path, help="Folder in which segmentations are kept.")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of all answers.")
    return parser.parse_args()


def _scans(args: argparse.Namespace) -> Iterator[tuple[str, Volume, LabelMap]]:
    yield from real_scans(args.images, args.references, args.patients)
    yield from phantoms(args.first_phantom, args.phantoms)


def refusals(known: Sequence[str]) -> Iterator[Answer]:
    """Phrases that must be refused: no scan can change that, so each counts once."""
    for kind, phrases in REFUSED_KINDS.items():
        for phrase in phrases:
            try:
                resolve_targets([phrase], within=known)
                is_refused = False
            except PromptError:
                is_refused = True
            yield Answer(kind, "", "", phrase[:80], "", is_refused, not is_refused)


def look(
    segmenter: Segmenter,
    name: tuple[str, str],
    scan: tuple[Volume, LabelMap, LabelMap],
    keep: Path | None,
) -> Seen:
    """Segment everything in one scan or piece.

    Args:
        segmenter: The model.
        name: Case and piece.
        scan: What is segmented, its reference, and the reference of the whole scan.
        keep: Where segmentations are kept.
    """
    volume, truth, whole = scan
    found = segmented(segmenter, volume, "-".join(name).replace(" ", "-"), keep)
    known = segmenter.checkpoint.structures
    shares = _shares(truth, whole, known)
    return Seen(
        *name,
        found,
        known,
        count_overlaps(found.label_map.array, truth.array),
        truth,
        frozenset(structure for structure, there in shares.items() if there >= LEAST_SHARE),
        frozenset(structure for structure, there in shares.items() if there == 0),
    )


def _shares(truth: LabelMap, whole: LabelMap, known: Sequence[str]) -> dict[str, float]:
    """Share of each structure that a piece holds; a trace where only a partly visible vertebra is there."""
    value_of = {name: value for value, name in load_scheme("spider").labels.items()}
    here, all_there = (np.bincount(array.ravel(), minlength=256) for array in (truth.array, whole.array))
    shares = {}
    for name in known:
        value = value_of[name]
        shares[name] = float(here[value] / all_there[value]) if all_there[value] else 0.0
        if shares[name] == 0 and name.endswith(" vertebra") and here[value + PARTIAL]:
            shares[name] = 1e-6
    return shares


def judged(seen: Seen) -> Iterator[Answer]:
    """Every prompt that one scan or piece can judge."""
    yield from _swaps(seen)
    for name in sorted(seen.judged):
        yield from _paraphrases(seen, name)
        for phrase in negations(name):
            yield _negation(seen, name, phrase)
    for name in sorted(seen.absent):
        for phrase in phrasings(name)[:3]:
            given = seen.asked([phrase])
            is_empty = given is None or not any(seen.num_voxels(other) for other in given)
            verdict = seen.verdict(name)
            yield Answer(
                "absent", seen.case, seen.piece, phrase, name, is_empty, not is_empty, verdict=verdict
            )


def _swaps(seen: Seen) -> Iterator[Answer]:
    for kind in ("vertebra", "disc"):
        row = [name for name in seen.known if name.endswith(kind) and name in seen.judged]
        for first, second in pairwise(row):
            for prompts in ((first,), (second,), (first, second), (second, first)):
                is_obeyed = seen.asked(prompts) == prompts and all(map(seen.is_own, prompts))
                text, names = "; ".join(prompts), " and ".join(prompts)
                is_false = any(seen.num_voxels(name) and not seen.is_own(name) for name in prompts)
                verdict = "/".join(dict.fromkeys(map(seen.verdict, prompts)))
                yield Answer("swap", seen.case, seen.piece, text, names, is_obeyed, is_false, verdict=verdict)


def _paraphrases(seen: Seen, name: str) -> Iterator[Answer]:
    for phrase in phrasings(name):
        given = seen.asked([phrase])
        is_same, is_own = given == (name,), seen.is_own(name)
        is_false = given is not None and not (is_same and is_own) and any(map(seen.num_voxels, given))
        yield Answer(
            "paraphrase",
            seen.case,
            seen.piece,
            phrase,
            name,
            is_same and is_own,
            is_false,
            is_same,
            seen.verdict(name),
        )


def _negation(seen: Seen, name: str, phrase: str) -> Answer:
    given = seen.asked([phrase]) or ()
    value = next(value for value, other in seen.reference.names.items() if other == name)
    inside = sum(seen.overlaps.shared(value, seen.found.label_map.value_of(other)) for other in given)
    is_obeyed = name not in given and inside < LEAK * seen.overlaps.num_reference(value)
    verdict = seen.verdict(name)
    return Answer("negation", seen.case, seen.piece, phrase, name, is_obeyed, not is_obeyed, verdict=verdict)


def prove(segmenter: Segmenter, volume: Volume, reference: LabelMap) -> None:
    """Ask phrase by phrase, and compare with what is cut from the mask of everything.

    Raises:
        AssertionError: A voxel or a verdict differs.
    """
    everything = segmenter(volume, None)
    for phrase in PROOFS:
        alone = segmenter(volume, [phrase])
        cut = only_asked(everything, resolve_targets([phrase], within=segmenter.checkpoint.structures))
        if not np.array_equal(alone.label_map.array, cut.label_map.array) or alone.verdicts != cut.verdicts:
            raise AssertionError(
                f"{phrase!r} alone gives another answer than cut from the mask of everything"
            )
        print(f"{phrase!r} alone: the same in all {alone.label_map.array.size} voxels", flush=True)


def table(answers: Sequence[Answer], doubtful: Sequence[str]) -> str:
    """A line per kind and sort of scan."""
    lines = ["| kind | scans | prompts | obeyed (95 % interval) | same as the plain name | false masks |"]
    lines.append("|---|---|---|---|---|---|")
    for kind in dict.fromkeys(answer.kind for answer in answers):
        groups: dict[str, list[Answer]] = {}
        for answer in answers:
            if answer.kind == kind:
                groups.setdefault(_sort(answer, doubtful), []).append(answer)
        lines += [f"| {kind} | {sort} | {_cells(chosen, kind)} |" for sort, chosen in sorted(groups.items())]
    return "\n".join(lines)


def _sort(answer: Answer, doubtful: Sequence[str]) -> str:
    """What sort of scan a prompt was put to."""
    if not answer.case:
        return "any"
    sort = "phantoms" if answer.case.startswith("phantom") else "real"
    sort += ", doubtful levels" if patient_of(answer.case) in doubtful else ""
    return f"{sort}, {'whole' if answer.piece == 'whole' else 'pieces'}"


def _cells(chosen: Sequence[Answer], kind: str) -> str:
    low, high = interval(chosen)
    same = f"{np.mean([a.is_same for a in chosen]):.3f}" if kind == "paraphrase" else ""
    false = [a for a in chosen if a.is_false_mask]
    sure = sum("uncertain" not in a.verdict for a in false)
    said = f"{len(false)} ({sure} not called uncertain)" if false else "0"
    return f"{len(chosen)} | {obeyed(chosen):.3f} ({low:.3f} to {high:.3f}) | {same} | {said}"


def obeyed(answers: Sequence[Answer]) -> float:
    """Share of prompts that are obeyed."""
    return float(np.mean([answer.is_obeyed for answer in answers]))


def interval(answers: Sequence[Answer]) -> tuple[float, float]:
    """95 % interval of `obeyed`: the wider of Wilson's over prompts and the bootstrap over patients."""
    share, number, z = obeyed(answers), len(answers), 1.96
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    values = np.array([answer.is_obeyed for answer in answers], dtype=float)
    drawn = bootstrap_interval(
        lambda weights: weights @ values / weights.sum(axis=1),
        [patient_of(answer.case) for answer in answers],
        seed=0,
    )
    return (low, high) if math.isnan(drawn.low) else (min(low, drawn.low), max(high, drawn.high))


def below_the_bar(answers: Sequence[Answer]) -> list[str]:
    """What keeps a checkpoint from being released, one sentence each."""
    faults = []
    for kind in GATED:
        chosen = [answer for answer in answers if answer.kind == kind]
        if chosen and obeyed(chosen) < BAR:
            faults.append(f"{kind}: {obeyed(chosen):.3f} obeyed, target {BAR}")
    false = float(np.mean([answer.is_false_mask for answer in answers]))
    if false > MOST_FALSE:
        faults.append(f"false masks: {false:.3f} of all prompts, at most {MOST_FALSE}")
    return faults


if __name__ == "__main__":
    main()
