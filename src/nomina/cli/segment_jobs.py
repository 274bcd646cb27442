"""Which scan of `nomina segment` is written where: decided, and refused, before any scan is read."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nomina.anatomy.schemes import sidecar_path
from nomina.cli.run_card import is_card_file
from nomina.errors import OutputError, SchemeError, VolumeError
from nomina.imaging.files import atomic_path
from nomina.imaging.read import find_volumes
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import Volume
from nomina.imaging.write import WRITE_SUFFIXES, write
from nomina.plain_files import read_json
from nomina.reporting.sidecar import describes_label_map, is_sidecar, write_sidecar


@dataclass(frozen=True)
class Job:
    """One scan and the files that are made of it."""

    source: Path
    """A file or DICOM folder."""
    label_map: Path
    card: Path | None = None
    """The run card that is to be written; None: none."""

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the label map."""
        return sidecar_path(self.label_map)

    @property
    def picture(self) -> Path:
        """The overlay beside the label map."""
        return self.sidecar.with_suffix(".png")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file that may be written."""
        return (self.label_map, self.sidecar, self.picture, *([self.card] if self.card else []))

    def missing_folders(self) -> list[Path]:
        """The folders of the outputs that `write` has to make."""
        folders = dict.fromkeys(path.parent for path in (self.label_map, self.card) if path)
        return [folder for folder in folders if not folder.exists()]

    def still_to_do(self, asked: "Asked") -> str | None:
        """Why the result of an earlier run will not do; None where it will, "" where there is none.

        The JSON file is written last, so a run that was cut off left none.
        """
        wanted = [self.label_map, self.sidecar]
        if not all(path.exists() for path in wanted):
            return ""
        if asked.has_picture and not self.picture.exists():
            return "it has no picture"
        if self.card is not None and not self.card.exists():
            return "it has no run card"
        try:
            return asked.difference(read_json(self.sidecar))
        except (OSError, ValueError, TypeError, AttributeError):
            return "its JSON file is damaged"

    def not_present(self) -> list[str]:
        """The structures that the written result does not call present, each with its verdict.

        Raises:
            SchemeError: The JSON file does not say it.
        """
        try:
            verdicts = read_json(self.sidecar)["verdicts"]
            return [f"{v['structure']} ({v['presence']})" for v in verdicts if v["presence"] != "present"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SchemeError(
                f"{self.sidecar} does not say which structures are present ({error}); "
                f"remove it to segment the scan again"
            ) from error

    def write(
        self,
        result: Segmentation,
        *,
        picture_of: Volume | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Write label map, JSON file, overlay on `picture_of` and run card, the last two where given.

        An error leaves label map, JSON file and card of an earlier run as they were.

        Raises:
            OutputError: One of them cannot be written.
        """
        try:
            for path in filter(None, (self.label_map, self.card)):
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.label_map} cannot be written: {error.strerror}") from error
        with ExitStack() as stack:
            new_sidecar = stack.enter_context(atomic_path(self.sidecar))
            if self.card is not None:
                new_card = stack.enter_context(atomic_path(self.card))
                new_card.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            new_map = stack.enter_context(atomic_path(self.label_map))
            write(result.label_map, new_map)
            if picture_of is not None:
                from nomina.reporting.figures import save_overlay

                model = result.provenance.get("model")
                title = f"{scan_name(self.source)} · {model}"
                save_overlay(picture_of, result.label_map, self.picture, title=title)
            os.replace(write_sidecar(result, new_map, source=scan_name(self.source)), new_sidecar)
            # An older JSON file must never name the values of a newer label map.
            self.sidecar.unlink(missing_ok=True)


@dataclass(frozen=True)
class Asked:
    """What a result must have been asked, to be the one that is asked for now."""

    words: tuple[str, ...] | None
    """None: every structure of the model."""
    model_digest: str | None
    scheme: str
    has_picture: bool = False
    anchors: tuple[str, ...] = ()
    regions: Mapping[str, Any] | None = None
    """What the JSON file says of the regions; None: there are none."""

    def difference(self, sidecar: Any) -> str | None:
        """What a result's JSON file says otherwise, in words; None where it says the same.

        Raises:
            AttributeError, TypeError: It holds something else than what is written beside a label map.
        """
        words = [prompt.get("words") for prompt in sidecar.get("prompts") or ()]
        if words != list(self.words or ()):
            return f"it was made from other words ({', '.join(map(str, words)) or '--all'})"
        anchors = tuple(sidecar.get("anchors") or ())
        if anchors != self.anchors:
            return f"it was made with other anchors ({', '.join(map(str, anchors)) or 'none'})"
        if (regions := sidecar.get("regions")) != self.regions:
            return f"it was made with other regions ({regions.get('name') if regions else 'none'})"
        model = sidecar.get("model") or {}
        if model.get("digest") != self.model_digest:
            return f"it was made by another model ({model.get('name')}, {str(model.get('digest'))[:12]})"
        if sidecar.get("scheme") != self.scheme:
            return f"it was written in another scheme ({sidecar.get('scheme')})"
        return None


@dataclass(frozen=True)
class Work:
    """The jobs, and what lay beside their scans and is none."""

    jobs: tuple[Job, ...]
    passed_over: tuple[Path, ...]


def scan_name(source: Path) -> str:
    """Name of a scan's file or folder, without its path."""
    return source.resolve().name


def plan_jobs(inputs: Sequence[Path], output: Path | None, suffix: str, *, card: Path | None = None) -> Work:
    """A job per scan, none of which overwrites an input or another's output.

    Args:
        inputs: Files and folders as the user gave them; label maps in a folder that a JSON file describes are
            not taken for scans.
        output: A file name for a single scan, or a folder; None for the current folder.
        suffix: Format of the label maps, e.g. ".nii.gz", where `output` is no file.
        card: Run card of a single scan; with several, the end of each card's name, beside its label map.

    Raises:
        VolumeError: There is no scan.
        OutputError: `output` cannot be written to, does not fit the inputs, or would replace something that
            nomina did not write.
    """
    sources, passed_over = _sources(inputs)
    if card is not None and len(sources) > 1 and card.name != str(card):
        raise OutputError(
            f"there are {len(sources)} scans, and a card is written beside each label map: give a name for "
            f"the cards without a folder, such as {card.name}"
        )
    if output is not None and not output.is_dir() and output.name.lower().endswith(WRITE_SUFFIXES):
        if len(sources) > 1:
            raise OutputError(f"{output} is one file, but there are {len(sources)} scans; give a folder")
        jobs = [Job(sources[0], output)]
    else:
        if output is not None and output.suffix and len(sources) == 1 and not output.is_dir():
            raise OutputError(
                f"{output} cannot be written: expected a name that ends in {', '.join(WRITE_SUFFIXES)}, "
                f"or a folder that exists or has no dot in its name"
            )
        stems = _distinct_stems(sources)
        folder = output or Path()
        jobs = [
            Job(source, folder / f"{stem}_seg{suffix}") for source, stem in zip(sources, stems, strict=True)
        ]
    if card is not None:
        jobs = [replace(job, card=card if len(jobs) == 1 else _card_beside(job, card)) for job in jobs]
    _check_targets(jobs)
    return Work(tuple(jobs), passed_over)


def _card_beside(job: Job, card: Path) -> Path:
    return job.sidecar.with_name(f"{job.sidecar.stem}.{card.name}")


def _sources(inputs: Sequence[Path]) -> tuple[list[Path], tuple[Path, ...]]:
    """The scans, each once, and the files in the folders that are none."""
    found: dict[Path, Path] = {}
    others: dict[Path, Path] = {}
    for source in inputs:
        try:
            volumes = find_volumes([source])
        except OSError as error:
            raise VolumeError(f"{source} cannot be read: {error.strerror}; check its permissions") from error
        others |= {path.resolve(): path for path in volumes.others if not _is_ours(path)}
        for path in volumes.paths:
            if path == source or not describes_label_map(sidecar_path(path)):
                found.setdefault(path.resolve(), path)
    if not any(path.exists() for path in found.values()):
        names = ", ".join(map(str, inputs[:3]))
        raise VolumeError(f"{names}: no scan there; check the name (label maps made by nomina are not scans)")
    return list(found.values()), tuple(others.values())


def _is_ours(path: Path) -> bool:
    """Whether a file is one that nomina writes beside label maps."""
    if path.suffix == ".png":
        return is_sidecar(path.with_suffix(".json"))
    if path.suffix != ".json":
        return False
    return describes_label_map(path) or is_card_file(path)


def _distinct_stems(sources: Sequence[Path]) -> list[str]:
    """A name per scan; scans of one name take the names of the folders above in front, as far as it needs."""
    stems = [_stem(source) for source in sources]
    above = [[folder.name for folder in source.resolve().parents if folder.name] for source in sources]
    for level in range(max(map(len, above), default=0)):
        count = Counter(stem.casefold() for stem in stems)
        if len(count) == len(stems):
            break
        stems = [
            f"{names[level]}_{stem}" if count[stem.casefold()] > 1 and level < len(names) else stem
            for names, stem in zip(above, stems, strict=True)
        ]
    count = Counter(stem.casefold() for stem in stems)
    clashing = [
        str(source) for source, stem in zip(sources, stems, strict=True) if count[stem.casefold()] > 1
    ]
    if clashing:
        raise OutputError(f"{', '.join(clashing)} would be written to the same file; segment them one by one")
    return stems


def _stem(source: Path) -> str:
    absolute = source.resolve()
    return absolute.name if absolute.is_dir() else sidecar_path(absolute).stem


def _check_targets(jobs: Sequence[Job]) -> None:
    inputs = {job.source.resolve() for job in jobs}
    for job in jobs:
        for target in job.outputs:
            if target.resolve() in inputs:
                raise OutputError(f"{target} is an input; give another name for the output")
            if target.is_dir():
                raise OutputError(f"{target} cannot be written: it is a folder; give another name")
        if job.sidecar.exists() and not is_sidecar(job.sidecar):
            raise OutputError(
                f"{job.sidecar} would be replaced and was not written by nomina; give another name"
            )
        if job.card is not None and job.card in (job.label_map, job.sidecar, job.picture):
            raise OutputError(f"{job.card} cannot be the card and another output too; give another name")
        if job.card is not None and job.card.exists() and not is_card_file(job.card):
            raise OutputError(f"{job.card} would be replaced and is no run card; give another name")
    for folder in {
        path.parent for job in jobs for path in (job.label_map, *([job.card] if job.card else []))
    }:
        _check_writable(folder)


def _check_writable(folder: Path) -> None:
    """Try to write where the folder is, or will be made; nothing stays behind."""
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror}; choose another folder"
        ) from error
