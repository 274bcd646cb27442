"""Which predicted file belongs to which reference file, and how both are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nomina.anatomy.resolve import explain
from nomina.anatomy.schemes import claimed_scheme, read_label_map, sidecar_path
from nomina.assessment.statistics import patient_of
from nomina.errors import CaseError, PromptError, SchemeError
from nomina.imaging.volume import LabelMap
from nomina.plain_files import json_object

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
"""Files that are looked at in a folder; two files belong together when their names agree up to these."""

PREDICTION_ENDING = "_seg"
"""What `nomina segment` adds to the name of a scan."""


REFERENCE_ENDING = "_reference"
"""What `nomina phantom` adds to the name of a scan for its truth; the scan beside it is no reference."""


@dataclass(frozen=True)
class CaseFiles:
    """A reference file and the prediction for it."""

    case: str
    """File name without its suffix."""
    reference: Path
    prediction: Path | None
    """None when there is no prediction of that name."""

    def read(self, *, scheme: str | None, prediction_scheme: str | None) -> tuple[LabelMap, LabelMap]:
        """Prediction and reference as label maps.

        Args:
            scheme: Label scheme of the reference; None: what the JSON file beside it says.
            prediction_scheme: Label scheme of the prediction; None: what the JSON file beside it says, or the
                reference's scheme when there is none.

        Raises:
            CaseError: There is no prediction.
            VolumeError: A file cannot be read.
            SchemeError: A file does not follow its scheme.
        """
        if self.prediction is None:
            raise CaseError(f"case {self.case} has no prediction; make it, or leave the case out")
        if prediction_scheme is None and not sidecar_path(self.prediction).is_file():
            prediction_scheme = scheme or claimed_scheme(self.reference)
        prediction = read_label_map(self.prediction, scheme=prediction_scheme)
        return prediction, read_label_map(self.reference, scheme=scheme or claimed_scheme(self.reference))


def asked_for(prediction: Path) -> tuple[str, ...] | None:
    """Names of what a label map was made for, as the words in the JSON file beside it say.

    Structures that were asked for in part alone ("canal at L3") are left out: no reference has that part.

    Returns:
        None where everything was asked for, or nothing says what was.

    Raises:
        SchemeError: The file holds words that name nothing.
    """
    path = sidecar_path(prediction)
    prompts = json_object(path).get("prompts")
    if not prompts:
        return None
    try:
        targets = [target for prompt in prompts for target in explain(prompt["words"]).targets]
    except (PromptError, KeyError, TypeError, AttributeError) as error:
        raise SchemeError(
            f"{path} does not say in words what was asked for ({error}); score all structures of the "
            f"reference (--all-structures, `only_asked=False`)"
        ) from error
    return tuple(dict.fromkeys(target.structure.name for target in targets if not target.is_part))


def pair_files(predictions: Path, references: Path) -> tuple[CaseFiles, ...]:
    """Pair two files, or the files of two folders by name.

    Suffixes may differ, a prediction's name may end in "_seg", as `nomina segment` writes it, and that of a
    reference in "_reference", as `nomina phantom` does. Predictions without a reference are left aside.

    Raises:
        CaseError: One is a file and the other a folder, something is missing, a name fits two files, or none
            agree.
    """
    for path in (predictions, references):
        if not path.exists():
            raise CaseError(f"{path} does not exist; give a label map or a folder of label maps")
    if predictions.is_dir() != references.is_dir():
        raise CaseError(f"give two files or two folders, got {predictions} and {references}")
    if not references.is_dir():
        return (CaseFiles(_stem(references) or references.name, references, predictions),)
    predicted, referenced = _files_by_stem(predictions), _references(_files_by_stem(references))
    pairs = tuple(CaseFiles(stem, path, _prediction_of(stem, predicted)) for stem, path in referenced.items())
    if all(pair.prediction is None for pair in pairs):
        case, reference = next(iter(referenced.items()))
        raise CaseError(
            f"no file of {predictions} (such as {next(iter(predicted.values())).name}) is named like one of "
            f"{references} (such as {reference.name}); name each prediction like its reference: for "
            f"{reference.name} that is {case} or {case}{PREDICTION_ENDING}, with any of the suffixes "
            f"{', '.join(SUFFIXES)}"
        )
    return pairs


def select_cases(pairs: Sequence[CaseFiles], wanted: Sequence[str]) -> tuple[CaseFiles, ...]:
    """The cases with the given names; a patient's name stands for all its cases.

    Raises:
        CaseError: A name fits no case.
    """
    for name in wanted:
        if not any(name in _names(pair) for pair in pairs):
            known = ", ".join(pair.case for pair in pairs[:5])
            raise CaseError(f"no case or patient is called {name!r}; cases are called {known} …")
    return tuple(pair for pair in pairs if _names(pair) & set(wanted))


def check_complete(pairs: Sequence[CaseFiles]) -> None:
    """Refuse cases without a prediction.

    Raises:
        CaseError: Names every case that lacks one.
    """
    missing = [pair.case for pair in pairs if pair.prediction is None]
    if missing:
        raise CaseError(
            f"{len(missing)} of {len(pairs)} references have no prediction: {', '.join(missing)}; make them "
            f"or leave these cases out"
        )


def _names(pair: CaseFiles) -> set[str]:
    return {pair.case, patient_of(pair.case)}


def _references(files: Mapping[str, Path]) -> dict[str, Path]:
    """References by case: without the ending, and without scans that have a reference beside them."""
    return {
        stem.removesuffix(REFERENCE_ENDING): path
        for stem, path in files.items()
        if stem + REFERENCE_ENDING not in files
    }


def _prediction_of(case: str, predicted: Mapping[str, Path]) -> Path | None:
    found = [predicted[stem] for stem in (case, case + PREDICTION_ENDING) if stem in predicted]
    if len(found) > 1:
        raise CaseError(f"case {case} has two predictions, {found[0]} and {found[1]}; remove one of them")
    return found[0] if found else None


def _files_by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = _stem(path)
        if stem is None or path.name.startswith(".") or not path.is_file():
            continue
        if stem in found:
            raise CaseError(f"{folder} holds both {found[stem].name} and {path.name}; remove one of them")
        found[stem] = path
    if not found:
        inside = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) or "nothing"
        raise CaseError(
            f"{folder} holds no label map ({', '.join(SUFFIXES)}); it holds {inside}; give the folder of the "
            f"label maps themselves"
        )
    return found


def _stem(path: Path) -> str | None:
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    return path.name[: -len(suffix)] if suffix else None
