"""The verdict per structure: present, absent, outside the field of view, or uncertain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Integer, UInt8

from nomina.anatomy.levels import LEVELS_UPWARDS, levels_in
from nomina.assessment.calibration import SURE_SCORE, VerdictCalibration
from nomina.assessment.level_finding import LevelFinding
from nomina.assessment.spine_levels import level_shift, spine_kind, spine_rank
from nomina.errors import VolumeError
from nomina.imaging.grid import Grid
from nomina.imaging.segmentation import Presence, Verdict
from nomina.imaging.volume import Volume
from nomina.inference.levels import LevelNaming
from nomina.inference.walls import Walls, open_bodies
from nomina.networks.predict import PredictedFacts

MIN_VOLUME_ML = 0.15
"""A structure counts as found from this volume on [choice]: a tenth of the smallest disc of a thin slab."""

MIN_SHARE_OF_KIND = 0.1
"""A vertebra or disc counts as found from this share of its kind's median volume on [choice]: specks of a
neighbour's processes are smaller, the most cut-off vertebra of the 20 training patients is twice as large."""

DISC_IN_VIEW = 0.5
"""A disc that the upper border cuts counts as found from this share of the volume of the disc below it on
[choice: the half from which a structure counts as visible in training]."""

BORDER_MM = 2.0
"""A structure is cut by the border when it comes this close to the end of the image content ..."""

CUT_SHARE = 0.5
"""... over at least this share of its columns ..."""

CUT_HEIGHT = 0.85
"""... and is lower than this share of its neighbour's height [all three choice: of the 20 training patients'
reference label maps they tell every partly visible vertebra from every whole one at the upper border. With
L5 cut from below to a third and to a half of its body they call it cut in 25 and 24 of 25 reference label
maps, with it whole in none; the disc L5-S1 in 23, 22 and none]."""

SURE = 0.75
"""A mask of lower mean probability is reported as uncertain where scores are not calibrated [choice]."""

AGREED = 0.6
"""Levels are uncertain when a smaller share of disc voxels bore the name the scan settled on [choice; where
scores are not calibrated]."""

OPEN_SCORE = 0.5
"""The score, at most, of a vertebra without walls [choice: whether one is there is not known; calibrations
are fitted on scans in which none is missing, so they cannot say]."""


@dataclass(frozen=True)
class _Found:
    """One structure's mask in numbers."""

    volume_ml: float
    confidence: float
    """Mean probability of its kind over its voxels."""
    is_partial: bool = False
    agreement: float = 1.0
    """Share of disc voxels that bore the level's settled name from the start; 1 for what has no level."""
    level: LevelFinding | None = None
    """How sure its level is; None for what has no level."""
    has_level: bool = False
    open_walls: tuple[float, float] | None = None
    """How much of its walls shows and how much of the others', where that says that none is there."""

    @property
    def level_confidence(self) -> float:
        """Without a calibration: the smaller of the level's probability and the slices' agreement."""
        return min(self.agreement, self.level.confidence if self.level else 1.0)

    @property
    def level_evidence(self) -> float:
        """Probability of its level's name; 0.5 where nothing decided it, as with fewer than two discs."""
        if self.level is not None:
            return self.level.confidence
        return 0.5 if self.has_level else 1.0

    @property
    def is_level_sure(self) -> bool:
        """Whether its name may be stated without a doubt."""
        return self.agreement >= AGREED and (self.level is None or self.level.is_sure)


@dataclass(frozen=True)
class _Finding:
    """What speaks for one structure, before it is said how sure that is."""

    structure: str
    stated: Presence
    """What the verdict says unless it is uncertain."""
    score: float
    """Without a calibration."""
    reason: str
    doubt: str = ""
    """Why it is uncertain without a calibration; empty where it is not."""
    volume_ml: float = 0.0
    is_partial: bool = False
    evidence: Mapping[str, float] = field(default_factory=dict)
    most: float = 1.0
    """The score is no higher."""

    def verdict(self, calibration: VerdictCalibration | None) -> Verdict:
        """The verdict, uncertain where its score is low; without a calibration where there is a doubt."""
        if calibration is None:
            is_sure, score = not self.doubt, min(self.score, self.most)
        else:
            score = min(calibration.score(self.evidence), self.most)
            is_sure = score >= SURE_SCORE
        doubt = (
            "" if is_sure else self.doubt or f"; findings like this are right with probability {score:.2f}"
        )
        return Verdict(
            self.structure,
            self.stated if is_sure else "uncertain",
            score,
            f"{self.reason}{doubt}",
            self.volume_ml,
            self.is_partial,
            is_calibrated=calibration is not None,
            evidence=self.evidence,
        )


def judge(
    naming: LevelNaming,
    certainty: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    structures: Sequence[str],
    facts: PredictedFacts | None,
    content: tuple[int, int],
    calibration: VerdictCalibration | None = None,
    walls: Mapping[str, Walls] | None = None,
) -> dict[str, Verdict]:
    """A verdict for every structure that the model knows.

    Args:
        naming: Class of each voxel on the canonical (RAS) grid, cleaned, and how far slices agreed on levels.
        certainty: Probability of each voxel's kind in steps of 1/255.
        grid: That grid.
        structures: Names of classes 1…n−1.
        facts: What the network read off the picture; None for a network without facts.
        content: First and last index along S that hold image content (not padding).
        calibration: What turns evidence into a score; None: scores are not calibrated, and thresholds of our
            choice say what is uncertain.
        walls: What `body_walls` saw of the scan; None: nobody looked.
    """
    found = _found(naming, certainty, grid, structures, content)
    found |= _open(found, walls or {})
    findings = [
        _present(name, found) if name in found else _missing(name, index, found, facts)
        for index, name in enumerate(structures)
    ]
    return {finding.structure: finding.verdict(calibration) for finding in findings}


def _found(
    naming: LevelNaming,
    certainty: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    structures: Sequence[str],
    content: tuple[int, int],
) -> dict[str, _Found]:
    """The structures that count as found, in the order of classes."""
    classes = naming.classes
    counts, sums = _totals(classes, certainty, len(structures) + 1)
    found: dict[str, _Found] = {}
    for index, name in enumerate(structures, start=1):
        volume_ml = float(counts[index]) * grid.voxel_volume_ml
        if volume_ml >= MIN_VOLUME_ML:
            item = _Found(volume_ml, float(sums[index] / counts[index]) / 255)
            found[name] = _with_level(name, item, naming)
    for name in _specks(found):
        del found[name]
    for name in _cut_by_border(classes, grid, structures, found, content):
        if spine_kind(name) == "disc" and found[name].volume_ml < DISC_IN_VIEW * _disc_below(name, found):
            del found[name]
        else:
            found[name] = replace(found[name], is_partial=True)
    return found


def _open(found: Mapping[str, _Found], walls: Mapping[str, Walls]) -> dict[str, _Found]:
    """Vertebrae without walls, marked so.

    What the border cuts is not asked, nor is the highest vertebra: at the end of the coil walls fade, and no
    other lies above it that says where a body would be.
    """
    column = sorted(
        (name for name in found if spine_kind(name) == "vertebra"), key=lambda name: _place(name) or 0
    )
    asked = [name for name in column[:-1] if name in walls and not found[name].is_partial]
    shares = open_bodies({name: walls[name] for name in asked})
    return {name: replace(found[name], open_walls=share) for name, share in shares.items()}


def _specks(found: dict[str, _Found]) -> list[str]:
    """Vertebrae and discs that are far too small for their kind."""
    specks: list[str] = []
    for kind in ("vertebra", "disc"):
        volumes = {name: item.volume_ml for name, item in found.items() if spine_kind(name) == kind}
        if volumes:
            least = MIN_SHARE_OF_KIND * float(np.median(list(volumes.values())))
            specks += [name for name, volume_ml in volumes.items() if volume_ml < least]
    return specks


def _disc_below(name: str, found: dict[str, _Found]) -> float:
    """Volume in ml of the next lower disc that was found; 0 where there is none."""
    lower = [n for n in found if spine_kind(n) == "disc" and (_place(n) or 0) < (_place(name) or 0)]
    return found[max(lower, key=lambda n: _place(n) or 0)].volume_ml if lower else 0.0


def _totals(
    classes: UInt8[np.ndarray, "i j k"], certainty: UInt8[np.ndarray, "i j k"], num_classes: int
) -> tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Voxels of each class and the sum of their certainties, by slices: `bincount` needs 16 bytes a voxel."""
    counts, sums = np.zeros(num_classes, dtype=np.int64), np.zeros(num_classes)
    for plane, sure in zip(classes, certainty, strict=True):
        counts += np.bincount(plane.ravel(), minlength=num_classes)
        sums += np.bincount(plane.ravel(), weights=sure.ravel(), minlength=num_classes)
    return counts, sums


def _present(name: str, found: Mapping[str, _Found]) -> _Finding:
    item = found[name]
    cut = "; it is cut by the border of the scan" if item.is_partial else ""
    doubts = list(_doubts(name, item))
    if item.confidence < SURE:
        doubts.insert(0, "its mask is faint")
    evidence = {"probability": round(item.confidence, 4), "level": round(item.level_evidence, 4)}
    return _Finding(
        name,
        "present",
        round(item.confidence * item.level_confidence, 3),
        f"{item.volume_ml:.1f} ml with a mean probability of {item.confidence:.2f}{cut}",
        "".join(f"; {words}" for words in doubts),
        round(item.volume_ml, 3),
        item.is_partial,
        evidence,
        1.0 if item.open_walls is None else OPEN_SCORE,
    )


def _with_level(name: str, item: _Found, naming: LevelNaming) -> _Found:
    """The same with how sure its level is: that of its disc, or of the nearest one for a vertebra without."""
    rank = spine_rank(name)
    if rank is None:
        return item
    levels = {spine_rank(disc): level for disc, level in naming.levels.items()}
    ranks = [other for other in levels if other is not None]
    nearest = levels[min(ranks, key=lambda other: abs(other - rank))] if ranks else None
    return replace(item, agreement=naming.agreement, level=nearest, has_level=True)


def _doubts(name: str, found: _Found) -> Iterator[str]:
    """Why a structure or its level is uncertain; nothing where it is not."""
    if found.open_walls is not None:
        own, usual = found.open_walls
        yield (
            f"its body ends in no dark wall (seen on {own:.0%} of the lines across it, on {usual:.0%} with "
            f"the other vertebrae), so there may be no vertebra"
        )
    if found.agreement < AGREED:
        yield "slices disagree on its level"
    if found.level is not None and not found.level.is_sure:
        other = _other_name(name, found.level)
        may_be = f", it may be the {other}" if other else ""
        yield f"its level is uncertain ({found.level.confidence:.2f}){may_be}"


def _other_name(name: str, disc: LevelFinding) -> str | None:
    """The name that a vertebra or disc would have if the disc nearest to it had its next likely name.

    A vertebra below that disc takes the lower half of its name, one above it the upper half.

    Returns:
        None where it would keep its name, or where the ladder of levels ends before.
    """
    kind = spine_kind(name)
    here, there = (levels_in(text) for text in (disc.name, disc.other))
    moved = dict(zip(here, there, strict=True))
    shift = level_shift(disc.name, disc.other)  # None where an extra vertebra is in doubt
    levels = []
    for level in levels_in(name):
        place = LEVELS_UPWARDS.index(level) + (shift or 0)
        if level not in moved and (shift is None or not 0 <= place < len(LEVELS_UPWARDS)):
            return None
        levels.append(moved[level] if level in moved else LEVELS_UPWARDS[place])
    other = f"{'-'.join(levels)} {kind}"
    return None if other == name else other


def _missing(name: str, index: int, found: Mapping[str, _Found], facts: PredictedFacts | None) -> _Finding:
    """Why nothing was found: beyond the levels in view, or in view and not there."""
    seen = float(facts.presence[index]) if facts is not None else 0.0
    place = _place(name)
    places = [other for found_name in found if (other := _place(found_name)) is not None]
    doubt = f"; the whole picture suggests it ({seen:.2f})" if seen > 0.5 else ""
    stated: Presence = "absent"
    end, distance = None, 0
    if not places:
        reason = "no vertebra or disc was found at all"
    elif place is None:
        reason, doubt = "not found although the spine is in view", ""
    elif min(places) <= place <= max(places):
        reason = "its neighbours were found on both sides, but not the structure itself"
        end = _level_names(found)[0]
    else:
        is_above = place > max(places)
        end = _level_names(found)[1 if is_above else 0]
        distance = abs((spine_rank(end) or 0) - (spine_rank(name) or 0))
        stated = "outside"
        reason = f"{'above the highest' if is_above else 'below the lowest'} level found ({end})"
        doubt = (
            "; the level of that end is uncertain" if distance <= 1 and not found[end].is_level_sure else ""
        )
    level = found[end].level_evidence if end else 1.0
    evidence = {"unseen": round(1 - seen, 4), "level": round(level, 4), "distance": float(distance)}
    score = min(1 - seen, found[end].level_confidence) if end and distance and doubt else 1 - seen
    return _Finding(name, stated, round(score, 3), reason, doubt, evidence=evidence)


def _place(name: str) -> int | None:
    """Place in the column of discs and vertebrae, upwards: vertebra n lies on disc n."""
    rank = spine_rank(name)
    return None if rank is None else 2 * rank + (spine_kind(name) == "vertebra")


def _level_names(found: Mapping[str, _Found]) -> tuple[str, str]:
    """Lowest and highest vertebra found; discs where no vertebra was."""
    ordered = sorted((name for name in found if _place(name) is not None), key=lambda n: _place(n) or 0)
    vertebrae = [name for name in ordered if spine_kind(name) == "vertebra"] or ordered
    return vertebrae[0], vertebrae[-1]


def _cut_by_border(
    classes: UInt8[np.ndarray, "i j k"],
    grid: Grid,
    structures: Sequence[str],
    found: dict[str, _Found],
    content: tuple[int, int],
) -> list[str]:
    """The outermost vertebrae and discs, where the upper or the lower border of the scan cuts them."""
    reach = BORDER_MM / grid.spacing_mm[2]
    upside_down, from_below = classes[:, :, ::-1], classes.shape[2] - 1 - content[0]
    cut = []
    for kind in ("vertebra", "disc"):
        column = sorted(
            (name for name in found if spine_kind(name) == kind and _place(name) is not None),
            key=lambda name: _place(name) or 0,
        )
        if len(column) < 2:
            continue
        upper, lower = (column[-1], column[-2]), (column[0], column[1])
        for (outermost, next_one), upright, border in (
            (upper, classes, content[1]),
            (lower, upside_down, from_below),
        ):
            heights, ends = _columns(upright == structures.index(outermost) + 1)
            other_heights, _ = _columns(upright == structures.index(next_one) + 1)
            height = np.percentile(heights, 75) / np.percentile(other_heights, 75)
            if (ends >= border - reach).mean() >= CUT_SHARE and height < CUT_HEIGHT:
                cut.append(outermost)
    return cut


def _columns(mask: np.ndarray) -> tuple[Integer[np.ndarray, " c"], Integer[np.ndarray, " c"]]:
    """For each (i, j) column of a structure's front half (a body): number of voxels, and the highest one."""
    places = np.flatnonzero(mask.any(axis=(0, 2)))
    front = mask[:, (places[0] + places[-1]) // 2 : places[-1] + 1]
    occupied = front.any(axis=2)
    heights = front.sum(axis=2)[occupied]
    ends = front.shape[2] - 1 - np.argmax(front[:, :, ::-1], axis=2)[occupied]
    return heights, ends


def content_rows(canonical: Volume) -> tuple[int, int]:
    """First and last index along S with image content: rows of one value at the ends are padding.

    Raises:
        VolumeError: Every row is padding.
    """
    # Not by np.ptp, which overflows in narrow integer types.
    rows = canonical.array.max(axis=(0, 1)) > canonical.array.min(axis=(0, 1))
    places = np.flatnonzero(rows)
    if not len(places):
        raise VolumeError(
            "the scan has no contrast: every axial row holds one value; check that the file holds an image"
        )
    return int(places[0]), int(places[-1])
