"""Prompts for pulmonary vessels: one sentence per class, in three styles.

    wording       basis              example
    la_caf        authors' release   A computerized tomography of a left artery
    nomina        [choice]           a computerized tomography of a pulmonary artery
    description   [choice]           The pulmonary artery carries dark blood from the right ventricle …

A shared template pushes the vectors of classes together and a description pulls them apart:
`PromptBank.similarity(class_sentences(structures, wording))` shows by how much with a given encoder.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

from nomina.errors import PromptError

VesselWording = Literal["la_caf", "nomina", "description"]
"""Styles of the sentences."""

SIDED_VESSELS = (
    *("left pulmonary artery", "left pulmonary vein"),
    *("right pulmonary artery", "right pulmonary vein"),
)
"""Classes of the faithful preset, in the order of the authors' release."""

VESSELS = ("pulmonary artery", "pulmonary vein")
"""Classes of our preset [choice]: the side of a vessel is told afterwards, in world coordinates."""

_TEMPLATES: dict[str, Any] = yaml.safe_load(
    (files("nomina.language") / "vessel_templates.yaml").read_text(encoding="utf-8")
)

VESSEL_TEMPLATE_VERSION: str = _TEMPLATES["version"]
"""Version of every sentence here."""


def num_wordings(wording: VesselWording) -> int:
    """How many paraphrases a style has: 0 is used at inference, all may be drawn from in training."""
    return {"la_caf": 1, "nomina": len(_TEMPLATES["nomina"]), "description": 3}[wording]


def vessel_sentence(name: str, wording: VesselWording, paraphrase: int = 0) -> str:
    """The sentence that names one class.

    Args:
        name: Name of the structure, e.g. "pulmonary artery" or "left pulmonary vein".
        wording: Style.
        paraphrase: From 0 to `num_wordings(wording)` - 1.

    Raises:
        PromptError: The style has no sentence about that structure, or not so many paraphrases.
    """
    if not 0 <= paraphrase < num_wordings(wording):
        raise PromptError(
            f"the wording {wording!r} has paraphrases 0 to {num_wordings(wording) - 1}, got {paraphrase}"
        )
    known = _TEMPLATES["description"] if wording == "description" else _TEMPLATES["la_caf"]["names"]
    if name not in known:
        raise PromptError(
            f"the wording {wording!r} has no sentence about {name!r}; it knows {', '.join(map(repr, known))}"
        )
    if wording == "description":
        return str(known[name][paraphrase])
    if wording == "la_caf":
        return str(_TEMPLATES["la_caf"]["template"].format(known[name]))
    return str(_TEMPLATES["nomina"][paraphrase].format(name))


def class_sentences(
    structures: Sequence[str], wording: VesselWording, paraphrase: int = 0
) -> tuple[str, ...]:
    """One sentence per class, in order; see `vessel_sentence`."""
    return tuple(vessel_sentence(name, wording, paraphrase) for name in structures)


def all_vessel_sentences(structures: Sequence[str]) -> tuple[str, ...]:
    """Every sentence about some structures in every style that has them, each once: what a bank should hold.

    Raises:
        PromptError: A structure has no sentence in any style.
    """
    sentences: list[str] = []
    for name in structures:
        for wording in get_args(VesselWording):
            if wording != "description" or name in VESSELS:
                sentences += [vessel_sentence(name, wording, p) for p in range(num_wordings(wording))]
    return tuple(dict.fromkeys(sentences))
