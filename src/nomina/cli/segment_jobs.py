"""Which scan of `nomina segment` is written where: decided, and refused, before any scan is read."""

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nomina.anatomy.schemes import sidecar_path
from nomina.errors import OutputError, VolumeError
from nomina.imaging.files import atomic_path
from nomina.imaging.read import volume_paths
from nomina.imaging.segmentation import Segmentation
from nomina.imaging.volume import Volume
from nomina.imaging.write import WRITE_SUFFIXES, write
from nomina.reporting.sidecar import describes_label_map, is_sidecar, write_sidecar


@dataclass(frozen=True)
class Job:
    """One scan and the files that are made of it."""

    source: Path
    """A file or DICOM folder."""
    label_map: Path

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the label map."""
        return sidecar_path(self.label_map)

    @property
    def picture(self) -> Path:
        """The overlay beside the label map."""
        return self.sidecar.with_suffix(".png")

    @property
    def is_done(self) -> bool:
        """Whether an earlier run wrote this; the JSON file is written last."""
        return self.label_map.exists() and self.sidecar.exists()

    def write(self, result: Segmentation, *, picture_of: Volume | None = None) -> None:
        """Write the label map, the overlay on `picture_of` where that is given, and the JSON file.

        An error leaves label map and JSON file of an earlier run as they were.

        Raises:
            OutputError: One of them cannot be written.
        """
        try:
            self.label_map.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.label_map} cannot be written: {error.strerror}") from error
        with atomic_path(self.sidecar) as new_sidecar, atomic_path(self.label_map) as new_map:
            write(result.label_map, new_map)
            if picture_of is not None:
                from nomina.reporting.figures import save_overlay

                model = result.provenance.get("model")
                title = f"{scan_name(self.source)} · {model}"
                save_overlay(picture_of, result.label_map, self.picture, title=title)
            os.replace(write_sidecar(result, new_map, source=scan_name(self.source)), new_sidecar)
            # An older JSON file must never name the values of a newer label map.
            self.sidecar.unlink(missing_ok=True)


def scan_name(source: Path) -> str:
    """Name of a scan's file or folder, without its path."""
    return source.resolve().name


def plan_jobs(inputs: Sequence[Path], output: Path | None, suffix: str) -> list[Job]:
    """A job per scan, none of which overwrites an input or another's output.

    Args:
        inputs: Files and folders as the user gave them; label maps in a folder that a JSON file describes are
            not taken for scans.
        output: A file name for a single scan, or a folder; None for the current folder.
        suffix: Format of the label maps, e.g. ".nii.gz", where `output` is no file.

    Raises:
        VolumeError: There is no scan.
        OutputError: `output` cannot be written to, does not fit the inputs, or would replace something that
            nomina did not write.
    """
    sources = _sources(inputs)
    if output is not None and not output.is_dir() and _has_suffix(output, WRITE_SUFFIXES):
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
    _check_targets(jobs)
    return jobs


def _sources(inputs: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for source in inputs:
        try:
            paths = volume_paths([source])
        except OSError as error:
            raise VolumeError(f"{source} cannot be read: {error.strerror}; check its permissions") from error
        for path in paths:
            if path == source or not describes_label_map(sidecar_path(path)):
                found.setdefault(path.resolve(), path)
    if not any(path.exists() for path in found.values()):
        names = ", ".join(map(str, inputs[:3]))
        raise VolumeError(f"{names}: no scan there; check the name (label maps made by nomina are not scans)")
    return list(found.values())


def _distinct_stems(sources: Sequence[Path]) -> list[str]:
    """A name per scan; scans of one name take their folder's name in front."""
    stems = [_stem(source) for source in sources]
    count = Counter(stem.casefold() for stem in stems)
    stems = [
        f"{source.resolve().parent.name}_{stem}" if count[stem.casefold()] > 1 else stem
        for source, stem in zip(sources, stems, strict=True)
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
        for target in (job.label_map, job.sidecar, job.picture):
            if target.resolve() in inputs:
                raise OutputError(f"{target} is an input; give another name for the output")
            if target.is_dir():
                raise OutputError(f"{target} cannot be written: it is a folder; give another name")
        if job.sidecar.exists() and not is_sidecar(job.sidecar):
            raise OutputError(
                f"{job.sidecar} would be replaced and was not written by nomina; give another name"
            )
    for folder in {job.label_map.parent for job in jobs}:
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


def _has_suffix(path: Path, suffixes: Sequence[str]) -> bool:
    return path.name.lower().endswith(tuple(suffixes))
