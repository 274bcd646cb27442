"""The whole command line in-process, and a segmenter that reads label values off a scan's intensities."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest
import torch

from nomina.anatomy.resolve import resolve_targets
from nomina.anatomy.structures import structure
from nomina.cli import main as frame
from nomina.imaging.doctor_volume import faults
from nomina.imaging.segmentation import Segmentation, Verdict
from nomina.imaging.volume import LabelMap, Volume
from nomina.inference.plan import MemoryPlan, ScanSize, plan_memory
from nomina.networks.contract import recorded_digest
from nomina.networks.shipped import checkpoint_folder

KNOWN = ("L5 vertebra", "L4 vertebra", "L4-L5 disc", "spinal canal", "T12 vertebra")
Run = Callable[..., tuple[int, str, str]]


class FakeSegmenter:
    """Knows five structures; the scan's intensities are their label values. L5 is cut, T12 never there."""

    loaded: ClassVar[list[str]] = []
    threads: ClassVar[list[int]] = []
    model: Path = Path("spine-mr")

    @classmethod
    def load(cls, model: str | Path, *, device: str = "auto") -> "FakeSegmenter":
        cls.loaded.append(Path(model).name)
        segmenter = cls()
        segmenter.model = Path(model)
        return segmenter

    def resolve(self, prompts: Sequence[str] | None) -> tuple[str, ...]:
        if prompts is None:
            return KNOWN
        return tuple(target.structure.name for target in resolve_targets(prompts, within=KNOWN))

    def plan(
        self, volume: Volume, prompts: Sequence[str] | None, *, max_memory_bytes: int | None = None
    ) -> MemoryPlan:
        shape, asked = volume.grid.shape, len(self.resolve(prompts))
        scan = ScanSize(shape, str(volume.array.dtype), shape, shape[1], len(KNOWN) + 1, asked)
        return plan_memory(scan, pixel_bytes=500.0, limit_bytes=max_memory_bytes)

    def __call__(
        self,
        volume: Volume,
        prompts: Sequence[str] | None,
        *,
        mode: str = "predicted",
        progress: Callable[[float], None] | None = None,
        plan: MemoryPlan | None = None,
        regions: LabelMap | None = None,
    ) -> Segmentation:
        self.threads.append(torch.get_num_threads())
        plan = plan or self.plan(volume, prompts)
        if volume.array.max() == 255:
            raise ZeroDivisionError
        asked = self.resolve(prompts)
        names = {structure(name).label: name for name in asked}
        array = np.where(np.isin(volume.array, list(names)), volume.array, 0).astype(np.uint8)
        if progress:
            progress(1.0)
        verdicts = [
            Verdict(
                name,
                "present" if (array == label).any() else "outside",
                0.9,
                "by its intensity",
                float((array == label).sum()) * volume.grid.voxel_volume_ml,
                is_partial=name == "L5 vertebra",
            )
            for label, name in names.items()
        ]
        digest = recorded_digest(checkpoint_folder(self.model))
        provenance = {
            "model": self.model.name,
            "digest": digest,
            "encoder": {"encoder": "none"},
            "mode": mode,
        }
        provenance["findings"] = [asdict(finding) for finding in faults(volume)]
        provenance["memory"] = plan.as_dict()
        provenance["machine"] = {"device": "cpu", "threads": torch.get_num_threads(), "cpu": "AVX2"}
        label_map = LabelMap(array, volume.grid, names=names, scheme="nomina")
        return Segmentation(label_map, tuple(verdicts), tuple(prompts or ()), provenance)

    def anchored(
        self, volume: Volume, prompts: Sequence[str] | None, anchors: Sequence[str], **options: Any
    ) -> Segmentation:
        """The same masks with L4 and L5 under each other's name, and what was said."""
        result = self(volume, prompts, **options)
        l4, l5 = structure("L4 vertebra").label, structure("L5 vertebra").label
        array = result.label_map.array.copy()
        array[result.label_map.array == l4], array[result.label_map.array == l5] = l5, l4
        provenance = {**result.provenance, "anchors": list(anchors)}
        return replace(result, label_map=replace(result.label_map, array=array), provenance=provenance)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSegmenter]:
    """Stands in for the real segmenter; `loaded` lists what was loaded."""
    monkeypatch.setattr("nomina.inference.segmenter.Segmenter", FakeSegmenter)
    monkeypatch.setattr(FakeSegmenter, "loaded", [])
    return FakeSegmenter


@pytest.fixture
def run_nomina(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`nomina` with arguments → exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nomina", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            frame.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def write_series() -> Callable[..., None]:
    """Writes two MR slices of one value as the series of a UID, beside what is in the folder."""

    def write_slices(folder: Path, uid: str, value: int) -> None:
        folder.mkdir(exist_ok=True)
        for k in range(2):
            dataset = pydicom.Dataset()
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.MRImageStorage
            dataset.SOPInstanceUID = f"{uid}.{k + 1}"
            dataset.SeriesInstanceUID, dataset.Modality = uid, "MR"
            dataset.ImagePositionPatient = [0, 0, 4 * k]
            dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
            dataset.set_pixel_data(np.full((5, 6), value, dtype=np.uint16), "MONOCHROME2", 16)
            dataset.save_as(folder / f"{uid}-{k}.dcm", enforce_file_format=True)

    return write_slices
