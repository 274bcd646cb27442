"""Order of structures in the body: left of right, above, in front; and what is too large for its name.

Every relation holds in an upright body of ordinary anatomy, whatever part of it the scan shows. Names are
nomina's, and those of TotalSegmentator and the Chest Imaging Platform for what nomina has no name for.
"""

from collections.abc import Mapping
from itertools import pairwise

from nomina.anatomy.structures import vocabulary
from nomina.assessment.check import Check
from nomina.assessment.places import Place

MIN_VOLUME_ML = 0.1
"""Smaller pieces are cut by the border or specks, and their place says nothing [choice]."""

MIN_APART_MM = 2.0
"""Centres nearer than this along an axis are beside each other [choice: a voxel of coarse label maps]."""

RIGHT_OF = (
    ("liver", "spleen"),
    ("liver", "stomach"),
    ("gallbladder", "spleen"),
    ("inferior_vena_cava", "aorta"),
    ("superior_vena_cava", "aorta"),
    ("Liver", "Spleen"),
)
"""Midline-crossing organs, right one first; they tell a mirrored header from exchanged labels."""

NEXT_ABOVE = (
    ("left upper lobe", "left lower lobe"),
    ("right upper lobe", "right lower lobe"),
    ("right upper lobe", "right middle lobe"),
    ("LeftUpperThird", "LeftMiddleThird"),
    ("LeftMiddleThird", "LeftLowerThird"),
    ("RightUpperThird", "RightMiddleThird"),
    ("RightMiddleThird", "RightLowerThird"),
)
"""Neighbours, higher one first. Where the scan cuts one of them, what is left of it may lie at any height."""

ABOVE = (
    ("brain", "heart"),
    ("trachea", "liver"),
    ("heart", "urinary_bladder"),
    ("heart", "kidney_left"),
    ("heart", "kidney_right"),
    ("liver", "urinary_bladder"),
    ("spleen", "urinary_bladder"),
    ("duodenum", "urinary_bladder"),
    ("pancreas", "urinary_bladder"),
    ("colon", "prostate"),
    ("urinary_bladder", "prostate"),
    ("kidney_left", "urinary_bladder"),
    ("kidney_right", "urinary_bladder"),
    ("scapula_left", "hip_left"),
    ("scapula_right", "hip_right"),
    ("hip_left", "femur_left"),
    ("hip_right", "femur_right"),
)
"""Distant structures, higher one first."""

IN_FRONT_OF = (
    ("left upper lobe", "left lower lobe"),
    ("right middle lobe", "right lower lobe"),
    ("sternum", "spinal cord"),
    ("heart", "spinal cord"),
    ("trachea", "spinal cord"),
    ("aorta", "spinal cord"),
    ("liver", "spinal cord"),
    ("stomach", "spinal cord"),
    ("urinary_bladder", "sacrum"),
    ("pancreas", "autochthon_left"),
    ("liver", "autochthon_right"),
    ("iliopsoas_left", "autochthon_left"),
    ("iliopsoas_right", "autochthon_right"),
)
"""Front one first."""

LARGEST_ML = {
    "vertebra": 200.0,
    "disc": 40.0,
    "canal": 300.0,
    "cord": 150.0,
    "sacrum": 500.0,
    "artery": 800.0,
    "vein": 800.0,
    "trachea": 150.0,
    "airway": 500.0,
    "lobe": 3000.0,
    "lung": 5000.0,
}
"""Volume that no structure of a kind exceeds [choice: about three times the largest in real label maps]."""

TALLEST_MM = {"vertebra": 90.0, "disc": 50.0}
"""Height that no structure of a kind exceeds [choice: 68 and 33 mm are the largest in SPIDER]."""


def body_checks(names: Mapping[int, str], where: Mapping[int, Place]) -> tuple[Check, ...]:
    """Sides, order from head to feet and from front to back, and sizes.

    Args:
        names: Structure of each label value.
        where: Place of each label value that is there.
    """
    known = {names[value]: place for value, place in where.items() if value in names}
    large = {name: place for name, place in known.items() if place.volume_ml >= MIN_VOLUME_ML}
    whole = {name: place for name, place in large.items() if not place.is_cut}
    ribs = [pair for side in ("left", "right") for pair in pairwise(f"rib_{side}_{k}" for k in range(1, 13))]
    return (
        _sides(large),
        _relation(large, RIGHT_OF, 0, "right of", "left of it; a mirrored header, or situs inversus"),
        _relation(whole, (*NEXT_ABOVE, *ribs), 2, "above", "below it"),
        _relation(large, ABOVE, 2, "above", "below it"),
        _relation(large, IN_FRONT_OF, 1, "in front of", "behind it; does the header turn the patient?"),
        _cord(large),
        *_sizes(known),
    )


def other_side(name: str) -> str | None:
    """The same structure of the other side; None for what has no side."""
    for word, other in (("left", "right"), ("Left", "Right"), ("right", "left"), ("Right", "Left")):
        if word in name:
            return name.replace(word, other)
    return None


def _sides(known: Mapping[str, Place]) -> Check:
    """Left structures lie left of their right counterparts."""
    pairs = [(name, other_side(name) or "") for name in known if "left" in name.casefold()]
    apart_mm = {
        (left, right): known[right].centre_mm[0] - known[left].centre_mm[0]
        for left, right in pairs
        if right in known
    }
    both = [pair for pair, distance in apart_mm.items() if abs(distance) >= MIN_APART_MM]
    swapped = [pair for pair in both if apart_mm[pair] < 0]
    if not swapped:
        return Check(len(both), len(both))
    shown = ", ".join(left for left, _ in swapped[:3]) + (", …" if len(swapped) > 3 else "")
    if len(swapped) == len(both):
        cause = (
            "left and right are exchanged: either the labels are swapped or the header mirrors the patient"
        )
    else:
        cause = f"{len(swapped)} of {len(both)} pairs are exchanged"
    return Check(len(both), len(both) - len(swapped), f"on the right of its counterpart: {shown}; {cause}")


def _relation(
    known: Mapping[str, Place], pairs: tuple[tuple[str, str], ...], axis: int, should: str, instead: str
) -> Check:
    apart_mm = {
        (a, b): known[a].centre_mm[axis] - known[b].centre_mm[axis]
        for a, b in pairs
        if a in known and b in known
    }
    there = [pair for pair, distance in apart_mm.items() if abs(distance) >= MIN_APART_MM]
    wrong = [pair for pair in there if apart_mm[pair] < 0]
    shown = ", ".join(f"{a} / {b}" for a, b in wrong[:3]) + (", …" if len(wrong) > 3 else "")
    fault = f"should lie {should} the other and lies {instead}: {shown}" if wrong else None
    return Check(len(there), len(there) - len(wrong), fault)


def _cord(known: Mapping[str, Place]) -> Check:
    """Vertebrae, whose bodies outweigh their arches, lie in front of the cord."""
    if "spinal cord" not in known:
        return Check(0, 0)
    cord = known["spinal cord"].points_mm
    gaps = []
    for name, place in known.items():
        near = abs(cord[:, 2] - place.centre_mm[2]) <= 5.0
        if name.endswith(" vertebra") and near.any():
            gaps.append(float(place.centre_mm[1] - cord[near, 1].mean()))
    if not gaps or sum(gaps) > 0:
        return Check(len(gaps[:1]), len(gaps[:1]))
    return Check(
        1,
        0,
        "the spinal cord lies in front of the vertebrae; does the header turn the patient back to front?",
    )


def _sizes(known: Mapping[str, Place]) -> list[Check]:
    """Only too much speaks against a name: a scan may show any part of a structure."""
    checks = []
    for name, place in known.items():
        kind = vocabulary()[name].kind if name in vocabulary() else ""
        if place.volume_ml > LARGEST_ML.get(kind, float("inf")):
            limit = f"expected at most {LARGEST_ML[kind]:.0f} ml"
            checks.append(Check(1, 0, f"{name} has {place.volume_ml:.0f} ml, {limit}"))
        elif place.height_mm > TALLEST_MM.get(kind, float("inf")):
            limit = f"expected at most {TALLEST_MM[kind]:.0f} mm"
            checks.append(Check(1, 0, f"{name} is {place.height_mm:.0f} mm high, {limit}"))
    return checks
