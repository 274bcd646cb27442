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
    assert {found.name for found in ALL if found.region != "lung"} == expected


def test_the_vocabulary_has_the_lungs_their_vessels_and_airways() -> None:
    lungs = {found.name: found for found in ALL if found.region == "lung"}
    assert {name for name in lungs if name.startswith("left")} == {
        *("left pulmonary artery", "left pulmonary vein", "left lung", "left upper lobe", "left lower lobe"),
        "left atrium",
    }
    assert {name: found.side for name, found in lungs.items() if "pulmonary" in name} == {
        "pulmonary trunk": None
    } | {
        f"{side} pulmonary {vessel}".strip(): side or None
        for side in ("", "left", "right")
        for vessel in ("artery", "vein")
    }
    assert {name: found.part_of for name, found in lungs.items() if found.kind == "lobe"} == {
        **{f"left {lobe} lobe": "left lung" for lobe in ("upper", "lower")},
        **{f"right {lobe} lobe": "right lung" for lobe in ("upper", "middle", "lower")},
    }
    assert all(found.above is found.below is None for found in lungs.values())
    for name, keyword in (
        ("pulmonary artery", "PulmonaryArtery"),
        ("left pulmonary vein", "LeftPulmonaryVein"),
    ):
        assert structure(name).snomed_code == getattr(codes.SCT, keyword).value
    assert structure("trachea").snomed_code == codes.SCT.Trachea.value
    assert structure("pulmonary trunk").snomed_code == codes.SCT.TrunkOfPulmonaryArtery.value
    assert structure("left atrium").snomed_code == codes.SCT.LeftAtrium.value
    assert structure("airway").snomed_code == codes.SCT.AirwayStructure.value
    assert structure("right middle lobe").snomed_code == codes.SCT.MiddleLobeOfRightLung.value
    assert {structure(f"{side} lung").snomed_code for side in ("left", "right")} == {codes.SCT.Lung.value}


def test_a_part_names_its_whole_and_no_chain_of_parts_closes() -> None:
    assert structure("spinal cord").part_of == "spinal canal"
    assert {structure(f"S{n} vertebra").part_of for n in range(1, 6)} == {"sacrum"}
    for found in ALL:
        chain = [found]
        while chain[-1].part_of:
            chain.append(structure(chain[-1].part_of))
            assert len(chain) < 4


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
        assert all(gap(found, other) >= 80 for other in touching), found.name
    assert gap(structure("spinal canal"), structure("spinal cord")) >= 80
    assert gap(structure("sacrum"), structure("L5 vertebra")) >= 80


def test_a_disc_belongs_to_the_region_of_the_vertebra_above() -> None:
    assert structure("T12-L1 disc").region == "thoracic spine"
    assert structure("L5-S1 disc").region == "lumbar spine"


def test_order_is_from_head_to_feet() -> None:
    order = [found.name for found in ALL if found.region != "lung"]
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
