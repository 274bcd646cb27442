"""The vocabulary: complete, coded, coloured, numbered, connected."""

import re
from itertools import pairwise

import pytest
from pydicom.sr.codedict import codes

from nomina.anatomy.phrase_words import normalise
from nomina.anatomy.resolve import resolve
from nomina.anatomy.structures import Structure, structure, vocabulary
from nomina.errors import PromptError

ALL = list(vocabulary().values())
STANDARD_LEVELS = [
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
    "S1",
]


def test_the_vocabulary_has_every_level_and_every_disc() -> None:
    expected = {f"{level} vertebra" for level in [*STANDARD_LEVELS, "T13", "L6", "S2", "S3", "S4", "S5"]}
    expected |= {f"{upper}-{lower} disc" for upper, lower in pairwise(STANDARD_LEVELS)} - {"C1-C2 disc"}
    expected |= {"T12-T13 disc", "T13-L1 disc", "L5-L6 disc", "L6-S1 disc"}
    expected |= {"sacrum", "coccyx", "spinal canal", "spinal cord"}
    assert {name for name, found in vocabulary().items() if found.region.endswith("spine")} == expected


def test_the_vocabulary_has_the_vessels_airways_and_lobes_of_the_chest() -> None:
    vessels = {"pulmonary artery", "pulmonary vein", "pulmonary trunk"}
    vessels |= {f"{side} pulmonary {kind}" for side in ("left", "right") for kind in ("artery", "vein")}
    lobes = {f"{side} {part} lobe" for side in ("left", "right") for part in ("upper", "lower")}
    others = {"lung", "left lung", "right lung", "airways", "trachea", "heart", "left atrium", "aorta"}
    chest = {name for name, found in vocabulary().items() if found.region == "chest"}
    assert chest == vessels | lobes | others | {"right middle lobe", "superior vena cava"}


def test_what_lies_on_one_side_says_so() -> None:
    for found in ALL:
        words = set(found.name.split())
        expected = (words & {"left", "right"} or {None}).pop() if found.region == "chest" else None
        assert found.side == (None if found.name == "left atrium" else expected), found.name


def test_codes_of_the_chest_are_those_of_the_dicom_standard() -> None:
    keywords = {
        "pulmonary artery": "PulmonaryArtery",
        "pulmonary trunk": "TrunkOfPulmonaryArtery",
        "left pulmonary artery": "LeftPulmonaryArtery",
        "right pulmonary artery": "RightPulmonaryArtery",
        "pulmonary vein": "PulmonaryVein",
        "left pulmonary vein": "LeftPulmonaryVein",
        "right pulmonary vein": "RightPulmonaryVein",
        "airways": "TracheaAndBronchus",
        "trachea": "Trachea",
        "lung": "Lung",
        "right upper lobe": "UpperLobeOfLung",
        "right middle lobe": "MiddleLobeOfRightLung",
        "right lower lobe": "LowerLobeOfLung",
        "left upper lobe": "StructureOfUpperLobeOfLeftLung",
        "left lower lobe": "LowerLobeOfLung",
        "heart": "Heart",
        "left atrium": "LeftAtrium",
        "aorta": "Aorta",
        "superior vena cava": "SuperiorVenaCava",
    }
    for name, keyword in keywords.items():
        assert structure(name).snomed_code == getattr(codes.SCT, keyword).value, name


def test_arteries_and_veins_are_coloured_by_their_blood_as_in_slicer() -> None:
    assert structure("pulmonary artery").colour == (0, 122, 171)
    assert structure("pulmonary vein").colour == (186, 77, 64)


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.name)
def test_every_structure_is_complete(found: Structure) -> None:
    assert re.fullmatch(r"\d{6,}", found.snomed_code)
    assert found.snomed_meaning
    assert len(found.colour) == 3
    assert all(0 <= channel <= 255 for channel in found.colour)
    assert 1 <= found.label <= 255
    assert found.synonyms
    assert found.name not in found.synonyms


def test_codes_agree_with_the_tables_of_the_dicom_standard() -> None:
    num_checked = 0
    for found in ALL:
        keyword = found.name.replace("-", "").replace(" d", "D").replace(" v", "V")
        code = getattr(codes.SCT, keyword, None)
        if code is not None and found.kind in ("vertebra", "disc"):
            assert (found.snomed_code, found.snomed_meaning) == (code.value, code.meaning)
            num_checked += 1
    assert num_checked == 24 + 23
    assert structure("spinal canal").snomed_code == codes.SCT.VertebralCanal.value
    assert structure("spinal cord").snomed_code == codes.SCT.SpinalCord.value
    assert structure("sacrum").snomed_code == codes.SCT.Sacrum.value
    assert structure("coccyx").snomed_code == codes.SCT.Coccyx.value


def test_structures_without_a_code_of_their_own_have_the_unnumbered_one() -> None:
    assert {structure(f"{level} vertebra").snomed_code for level in ("T13", "L6", "S2", "S5")} == {"51282000"}
    unnumbered = [found.name for found in ALL if found.snomed_code == "360499006"]
    assert unnumbered == ["T12-T13 disc", "T13-L1 disc", "L5-L6 disc", "L6-S1 disc"]


def test_label_values_are_unique_and_those_of_verse_where_verse_has_one() -> None:
    assert len({found.label for found in ALL}) == len(ALL)
    verse = {level: number for number, level in enumerate(STANDARD_LEVELS[:-1], start=1)}
    verse |= {"L6": 25, "T13": 28}
    assert {level: structure(f"{level} vertebra").label for level in verse} == verse
    assert structure("sacrum").label == 26
    assert structure("L4-L5 disc").label == 123
    assert (structure("spinal cord").label, structure("spinal canal").label) == (60, 61)


def test_neighbours_in_a_standard_spine_name_each_other() -> None:
    vertebrae = [structure(f"{level} vertebra") for level in STANDARD_LEVELS]
    discs = [structure(f"{a}-{b} disc") for a, b in pairwise(STANDARD_LEVELS[1:])]
    for row in (vertebrae, discs):
        for upper, lower in pairwise(row):
            assert upper.below == lower.name
            assert lower.above == upper.name
    assert vertebrae[0].above is None
    assert (discs[0].above, discs[-1].below) == (None, None)


def test_transitional_structures_know_their_neighbours() -> None:
    kin = {name: (structure(name).above, structure(name).below) for name in vocabulary()}
    assert kin["T13 vertebra"] == ("T12 vertebra", "L1 vertebra")
    assert kin["L6 vertebra"] == ("L5 vertebra", "S1 vertebra")
    assert kin["T12-T13 disc"] == ("T11-T12 disc", "T13-L1 disc")
    assert kin["L6-S1 disc"] == ("L5-L6 disc", None)


def test_touching_structures_have_colours_that_can_be_told_apart() -> None:
    def gap(a: Structure, b: Structure) -> float:
        return sum((x - y) ** 2 for x, y in zip(a.colour, b.colour, strict=True)) ** 0.5

    for found in ALL:
        touching = [structure(name) for name in (found.above, found.below) if name]
        touching += [structure("spinal canal")] if found.kind in ("vertebra", "disc") else []
        if found.kind == "disc":
            ends = found.name.removesuffix(" disc").split("-")
            touching += [structure(f"{level} vertebra") for level in ends]
        assert all(gap(found, other) >= 35 for other in touching), found.name
    assert gap(structure("spinal canal"), structure("spinal cord")) >= 35
    assert gap(structure("sacrum"), structure("L5 vertebra")) >= 35


def test_a_disc_belongs_to_the_region_of_the_vertebra_above() -> None:
    assert structure("T12-L1 disc").region == "thoracic spine"
    assert structure("L5-S1 disc").region == "lumbar spine"


def test_order_is_from_head_to_feet() -> None:
    order = list(vocabulary())
    assert order[0] == "C1 vertebra"
    assert order.index("L4 vertebra") < order.index("L4-L5 disc") < order.index("L5 vertebra")
    assert order.index("L5 vertebra") < order.index("sacrum") < order.index("coccyx")


def test_the_vocabulary_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        vocabulary()["L4 vertebra"] = structure("L5 vertebra")  # type: ignore[index]


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.name)
def test_the_name_and_every_synonym_resolve_to_the_structure_alone(found: Structure) -> None:
    for phrase in (found.name, *found.synonyms):
        assert resolve(phrase) == (found,), phrase


def test_no_synonym_belongs_to_two_structures() -> None:
    owners: dict[str, str] = {}
    for found in ALL:
        for phrase in (found.name, *found.synonyms):
            assert owners.setdefault(normalise(phrase), found.name) == found.name, phrase


def test_the_thecal_sac_is_not_the_canal() -> None:
    assert not any("thecal" in s or "dural" in s for s in structure("spinal canal").synonyms)
    with pytest.raises(PromptError):
        resolve("thecal sac")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(PromptError, match="'L4 vertebra'"):
        structure("L4 vertebre")
