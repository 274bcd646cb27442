"""`verify`: does a label map follow the scheme it claims, and which scheme fits if it does not?

A scheme fits when it knows every value, and the structures that the values then mean lie where they lie in a
body. Confidence is `met / (asked + 1)`: the share of the relations that hold, where one more is counted as
not held, so that three relations can say 0.75 at most and thirty 0.97 [choice].
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Integer

from nomina.anatomy.levels import EXTRA_LEVELS
from nomina.anatomy.schemes import LabelScheme, load_scheme, scheme_names
from nomina.assessment.body_check import body_checks
from nomina.assessment.check import Check, faults
from nomina.assessment.level_check import level_checks
from nomina.assessment.places import Place, places
from nomina.assessment.scheme_check import spider_checks, spine_by_names, spine_checks
from nomina.errors import VolumeError
from nomina.imaging.grid import Grid

MIN_ASKED = 3
"""A scheme or a turn is proposed only when this many relations speak for it [choice]."""

ENOUGH = 8
"""With this many relations for it and none against it a claim is believed without further search [choice]."""

STRONG = 2.5
"""A scheme outweighs one that little speaks for when this many times the relations speak for it [choice]."""

EQUAL_NEIGHBOURS = 0.5
"""Label maps have a larger share of equal neighbours, scans a smaller one [choice: real label maps of spines
and lungs have 0.95 and more, MR and CT 0.19 and less]."""

MIN_NEIGHBOURS = 100
"""With fewer pairs of neighbours the share tells nothing [choice]."""

_TURNS = {0: "left to right", 1: "front to back", 2: "upside down"}
_SIGNS: tuple[tuple[int, int, int], ...] = tuple(product((1, -1), repeat=3))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fit:
    """How well one scheme explains a label map."""

    scheme: str
    """Name of the scheme."""
    asked: int
    """Relations between structures that could be looked at."""
    met: int
    """How many of them hold."""
    faults: tuple[str, ...]
    """What speaks against the scheme, one sentence each."""
    doubts: tuple[str, ...] = ()
    """What may be right and is rare, one sentence each."""
    change: str = ""
    """What must be changed first, "turned upside down" or "with 1 taken from every value"; else empty."""

    @property
    def is_fit(self) -> bool:
        """True when nothing speaks against it."""
        return not self.faults

    @property
    def confidence(self) -> float:
        """From 0 (nothing could be looked at, or nothing holds) to nearly 1."""
        return self.met / (self.asked + 1)

    def as_plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"fits": self.is_fit, "confidence": round(self.confidence, 3)}


@dataclass(frozen=True)
class Verification:
    """Whether a label map follows its scheme."""

    claimed: Fit | None
    """How the scheme that the label map claims fits; None where it claims none."""
    proposals: tuple[Fit, ...]
    """Schemes that fit, best first, and changes of the file after which one does; empty where nothing is
    to be said against the claimed one."""

    is_empty: bool = False
    """True where there is no value but background."""

    @property
    def is_fit(self) -> bool:
        """True when the claimed scheme fits, or without a claim when the evidence speaks for some scheme.

        A label map without a label follows nothing.
        """
        if self.is_empty:
            return False
        if self.claimed is not None:
            return self.claimed.is_fit
        return bool(self.proposals) and not self.proposals[0].change and self.proposals[0].asked > 0

    def as_plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        claimed = None if self.claimed is None else self.claimed.as_plain()
        return {
            "fits": self.is_fit,
            "empty": self.is_empty,
            "claimed": claimed,
            "proposals": [proposal.as_plain() for proposal in self.proposals],
            "sentences": sentences(self),
        }


def verify(
    array: Integer[np.ndarray, "i j k"], grid: Grid, claimed: LabelScheme | None = None
) -> Verification:
    """Check label values against a scheme by the order of structures in the body, and look for one that fits.

    Args:
        array: Label values; 0 is background.
        grid: Where they are; order is judged in world coordinates.
        claimed: Scheme that they are said to follow.

    Raises:
        VolumeError: They are the grey values of a scan.
    """
    _require_labels(array)
    where = places(array, grid)
    known = [load_scheme(name) for name in scheme_names()]
    if not where:
        return Verification(_fit(claimed, where) if claimed else None, (), is_empty=True)
    fit = _fit(claimed, where) if claimed else None
    if fit is not None and fit.is_fit and fit.asked >= ENOUGH:
        return Verification(fit, ())
    candidates = [scheme for scheme in known if claimed is None or scheme.name != claimed.name]
    proposals = _ranked(candidates, where, 0 if claimed is None else MIN_ASKED)
    if fit is not None and fit.is_fit:
        return Verification(_outweighed(fit, proposals), tuple(proposals))
    if claimed is not None:
        changed = _after_a_change([claimed], where)
        proposals = sorted([*proposals, *changed], key=lambda fit: (bool(fit.doubts), -fit.asked))
    return Verification(fit, tuple(proposals or _after_a_change(known, where)))


def sentences(found: Verification) -> list[str]:
    """What was found, in words: the verdict, what speaks against the scheme, and what fits instead."""
    said = []
    claimed = found.claimed
    if found.is_empty:
        return ["holds no label, so there is nothing to check"]
    if claimed is not None:
        evidence = f"{claimed.met} of {claimed.asked} relations hold, confidence {claimed.confidence:.2f}"
        if not claimed.asked and claimed.is_fit:
            evidence = "its values do, and there was nothing that could be looked at"
        verb = "follows" if claimed.is_fit else "does not follow"
        said.append(f"{verb} the scheme {claimed.scheme} ({evidence})")
        said += [*claimed.faults, *claimed.doubts]
    elif not found.proposals:
        said.append("follows none of the known schemes; name one to hear what speaks against it")
    elif not found.is_fit:
        said.append("no scheme can be told from the order of structures")
    for index, proposal in enumerate(found.proposals):
        is_equal = index > 0 and proposal.met == found.proposals[0].met
        said.append(_proposal(proposal, is_equal=is_equal))
        said += proposal.doubts
    return said


def _require_labels(array: Integer[np.ndarray, "i j k"]) -> None:
    """Refuse a scan: in a label map most neighbours have the same value.

    Raises:
        VolumeError: It is one.
    """
    num_pairs = num_equal = 0
    for axis in range(3):
        along = np.moveaxis(array, axis, 0)
        one, next_one = along[:-1], along[1:]
        both = (one > 0) & (next_one > 0)
        num_pairs += int(both.sum())
        num_equal += int((both & (one == next_one)).sum())
    if num_pairs >= MIN_NEIGHBOURS and num_equal < EQUAL_NEIGHBOURS * num_pairs:
        raise VolumeError(
            f"only {num_equal / num_pairs:.0%} of neighbouring voxels have the same value, as in a scan, "
            f"where a label map has more than {EQUAL_NEIGHBOURS:.0%}; give the label map",
            code="not-a-label-map",
        )


def _outweighed(fit: Fit, others: Sequence[Fit]) -> Fit:
    """A fit that little speaks for does not stand against one that much speaks for."""
    best = others[0] if others else fit
    if best.met < max(STRONG * fit.met, STRONG * MIN_ASKED) or best.doubts:
        return fit
    fault = f"{fit.met} relations between structures speak for it and {best.met} for {best.scheme}"
    return replace(fit, faults=(fault,))


def _proposal(fit: Fit, *, is_equal: bool) -> str:
    also = "fits equally well" if is_equal else "fits"
    change = (
        f" when {fit.change}" if fit.change.startswith("turned") else f" {fit.change}" if fit.change else ""
    )
    if not fit.asked:
        return f"the values are all in {fit.scheme}{change}; nothing could be looked at"
    return f"{fit.scheme} {also}{change} ({fit.met} relations hold, confidence {fit.confidence:.2f})"


def _ranked(schemes: Sequence[LabelScheme], where: Mapping[int, Place], min_asked: int) -> list[Fit]:
    """The schemes that fit: those with most evidence first, then those with least to spare."""
    fits = [(_fit(scheme, where), len(scheme.names_in([]))) for scheme in schemes]
    good = [(fit, size) for fit, size in fits if fit.is_fit and fit.asked >= min_asked]
    good = [(fit, size) for fit, size in good if fit.asked] or good
    return [fit for fit, _ in sorted(good, key=lambda pair: (len(pair[0].doubts), -pair[0].asked, pair[1]))]


def _after_a_change(schemes: Sequence[LabelScheme], where: Mapping[int, Place]) -> list[Fit]:
    """Fits of a label map that is turned in space, or whose values are all shifted by one; best first."""
    found = []
    for scheme in schemes:
        if set(where) <= _allowed(scheme, where):
            for signs in sorted(_SIGNS, key=sum, reverse=True)[1:]:
                turned = {value: place.turned(signs) for value, place in where.items()}
                axes = " and ".join(_TURNS[axis] for axis, sign in enumerate(signs) if sign < 0)
                found.append(_fit(scheme, turned, f"turned {axes}"))
        for step, words in ((-1, "1 taken from"), (1, "1 added to")):
            shifted = {value + step: place for value, place in where.items()}
            if 0 not in shifted:
                found.append(_fit(scheme, shifted, f"with {words} every value"))
    good = [fit for fit in found if fit.is_fit and fit.asked >= MIN_ASKED]
    most = max((fit.asked for fit in good), default=0)
    return [fit for fit in good if fit.asked == most][:1]


def _allowed(scheme: LabelScheme, where: Mapping[int, Place]) -> set[int]:
    return set(scheme.names_in(where)) | scheme.ignored


def _fit(scheme: LabelScheme, where: Mapping[int, Place], change: str = "") -> Fit:
    names = scheme.names_in(where)
    outside = sorted(set(where) - _allowed(scheme, where))
    checks: list[Check] = []
    if outside:
        shown = ", ".join(map(str, outside[:8])) + (", …" if len(outside) > 8 else "")
        checks.append(Check(len(outside), 0, f"values {shown} have no meaning in {scheme.name}"))
    if scheme.name == "spider":
        checks += spider_checks(where) if not outside else ()
    else:
        checks += spine_checks(spine_by_names(names, where, scheme.partial))
    checks += [*level_checks(names, where), *body_checks(names, where)]
    return Fit(
        scheme=scheme.name,
        asked=sum(check.asked for check in checks),
        met=sum(check.met for check in checks),
        faults=faults(checks),
        doubts=_doubts(names, where),
        change=change,
    )


def _doubts(names: Mapping[int, str], where: Mapping[int, Place]) -> tuple[str, ...]:
    """Nothing at all, or levels that few people have: a numbering that is one off looks like this."""
    rare = [names[value] for value in where if names.get(value, "").removesuffix(" vertebra") in EXTRA_LEVELS]
    if not where:
        return ("the label map is empty",)
    return tuple(
        f"{name} is there, which few people have; if this patient has none, every level is off by one"
        for name in rare
    )
