"""The sentences that name vessels: fixed, versioned, and as far apart as they are said to be."""

import numpy as np
import pytest

from nomina.errors import PromptError
from nomina.language.encoders import TextEncoder, build_bank
from nomina.language.vessel_prompts import (
    SIDED_VESSELS,
    VESSEL_TEMPLATE_VERSION,
    VESSELS,
    all_vessel_sentences,
    class_sentences,
    num_wordings,
    vessel_sentence,
)


def test_the_faithful_sentences_are_the_published_ones_in_their_order() -> None:
    assert class_sentences(SIDED_VESSELS, "la_caf") == (
        "A computerized tomography of a left artery",
        "A computerized tomography of a left vein",
        "A computerized tomography of a right artery",
        "A computerized tomography of a right vein",
    )
    assert vessel_sentence("pulmonary artery", "la_caf") == "A computerized tomography of a artery"


def test_sentences_change_only_together_with_the_version() -> None:
    """Checkpoints hold embeddings of these: a change needs a new version in vessel_templates.yaml."""
    assert VESSEL_TEMPLATE_VERSION == "1"
    assert [s for p in range(3) for s in class_sentences(VESSELS, "nomina", p)] == [
        "a computerized tomography of a pulmonary artery",
        "a computerized tomography of a pulmonary vein",
        "a chest CT that shows the pulmonary artery",
        "a chest CT that shows the pulmonary vein",
        "pulmonary artery in a computed tomography of the lungs",
        "pulmonary vein in a computed tomography of the lungs",
    ]
    assert [s for p in range(3) for s in class_sentences(VESSELS, "description", p)] == [
        "The pulmonary artery carries dark blood from the right ventricle and runs beside the bronchi.",
        "The pulmonary vein drains into the left atrium and runs between lung segments, away from the "
        "bronchi.",
        "Beside each bronchus runs a branch of the pulmonary artery, which brings dark blood from the right "
        "ventricle.",
        "Between lung segments, away from the bronchi, runs the pulmonary vein, which drains into the left "
        "atrium.",
        "Pulmonary artery: from the right ventricle along the bronchi, filled with dark blood.",
        "Pulmonary vein: between the segments of the lung to the left atrium, apart from the bronchi.",
    ]
    assert vessel_sentence("left pulmonary vein", "nomina") == (
        "a computerized tomography of a left pulmonary vein"
    )


def test_a_bank_holds_every_sentence_of_every_style_once() -> None:
    sentences = all_vessel_sentences((*VESSELS, "left pulmonary artery"))
    expected = [
        vessel_sentence(name, wording, p)
        for name in VESSELS
        for wording in ("la_caf", "nomina", "description")
        for p in range(num_wordings(wording))  # type: ignore[arg-type]
    ]
    expected.append(vessel_sentence("left pulmonary artery", "la_caf"))
    expected += [vessel_sentence("left pulmonary artery", "nomina", p) for p in range(3)]
    assert sentences == tuple(expected)
    assert len(set(sentences)) == len(sentences) == 18


def test_descriptions_lie_further_apart_than_names_and_sides_nearly_coincide(minilm: TextEncoder) -> None:
    bank = build_bank(
        minilm,
        all_vessel_sentences((*VESSELS, *SIDED_VESSELS)),
        template_version=VESSEL_TEMPLATE_VERSION,
    )
    assert bank.provenance.template_version == VESSEL_TEMPLATE_VERSION
    cosine = {
        wording: bank.similarity(class_sentences(VESSELS, wording))[0, 1]  # type: ignore[arg-type]
        for wording in ("nomina", "description")
    }
    assert cosine == pytest.approx({"nomina": 0.877, "description": 0.706}, abs=0.005)
    sided = bank.similarity(class_sentences(SIDED_VESSELS, "la_caf"))
    # left artery – left vein; left artery – right artery; left vein – right vein
    measured = [sided[0, 1], sided[0, 2], sided[1, 3]]
    np.testing.assert_allclose(measured, [0.810, 0.974, 0.983], atol=0.005)


def test_what_no_sentence_names_is_refused() -> None:
    with pytest.raises(PromptError, match="'la_caf' has no sentence about 'aorta'; it knows 'left pulmonary"):
        vessel_sentence("aorta", "la_caf")
    with pytest.raises(PromptError, match="'description' has no sentence about 'left pulmonary artery'"):
        vessel_sentence("left pulmonary artery", "description")
    with pytest.raises(PromptError, match="'la_caf' has paraphrases 0 to 0, got 1"):
        vessel_sentence("pulmonary vein", "la_caf", 1)
