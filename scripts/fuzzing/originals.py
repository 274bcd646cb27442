"""Valid scans of every format that nomina reads, as bytes."""

import base64
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from fuzzing.cases import Original
from nomina.imaging.grid import Grid
from nomina.imaging.itk_files import to_sitk
from nomina.imaging.volume import Volume
from nomina.imaging.write import write

SHAPE = (32, 32, 6)

_JPEG_LOSSLESS = base64.b85decode(
    "|JeV-01F5J5C9MX0TBTI!~hlm0RaI30000000000000000s{#D+5iXv0RRC20MG5V+ikYnyKT1HZMN>)ZMNHOySCeHw%cy)w%cvC+q"
    "-SH+ikY)+ikYnZM(MHZMNHP?Y7%(w%faHw%cvC?%Qp)+iknH+ikYnZtb?)ZMNIHZMNHOw(i?)w%cvHw%cvC+i(Bb"
)
"""One 16 × 16 image of 8 bits: nothing that nomina depends on writes JPEG lossless."""


def grid() -> Grid:
    """Anisotropic, as of a sagittal scan."""
    affine = np.diag([4.5, 4.75, 11.0, 1.0])
    affine[:3, 3] = (-40, 21.5, 7)
    return Grid(SHAPE, affine)


def scan() -> Volume:
    """Noise of 12 bits, so that damage anywhere shows."""
    return Volume(np.random.default_rng(5).integers(0, 4000, SHAPE, dtype=np.int16), grid())


def labels() -> Volume:
    """Values of the SPIDER scheme."""
    values = np.random.default_rng(6).choice([0, 1, 2, 3, 100, 201, 202], SHAPE)
    return Volume(values.astype(np.int16), grid())


def image_originals() -> Iterator[Original]:
    """One per format, layout and compression."""
    yield from _nifti()
    yield from _itk()
    yield from _label_maps()
    yield from _dicom()


def _content(volume: Volume) -> Any:
    return volume.array, volume.grid.affine


def _nifti() -> Iterator[Original]:
    volume = scan()
    for suffix in (".nii", ".nii.gz"):
        files = {f"scan{suffix}": _written(volume, suffix)}
        yield Original(suffix[1:], "scan", files, f"scan{suffix}", _content(volume), _checked(files))
    second = nib.Nifti2Image(volume.array, volume.grid.affine)
    second.set_sform(volume.grid.affine, 1)
    second.header.set_xyzt_units("mm")
    yield Original("nii (NIfTI-2)", "scan", {"scan.nii": second.to_bytes()}, "scan.nii", _content(volume))


def _label_maps() -> Iterator[Original]:
    volume = labels()
    for suffix in (".nii.gz", ".mha", ".nrrd"):
        files = {f"seg{suffix}": _written(volume, suffix)}
        checked = _checked(files)
        yield Original(f"label map {suffix[1:]}", "labels", files, f"seg{suffix}", _content(volume), checked)


def _checked(files: dict[str, bytes]) -> dict[str, int]:
    """Where the compressed data of each file begin."""
    checked = {}
    for name, data in files.items():
        if name.endswith((".gz", ".zraw", ".zip")):
            checked[name] = 0
        elif b"CompressedData = True" in data and b"LOCAL" in data:
            checked[name] = data.index(b"LOCAL\n") + 6
        elif b"encoding: gzip" in data and b"data file" not in data:
            checked[name] = data.index(b"\n\n") + 2
    return checked


def _written(volume: Volume, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"scan{suffix}")
        write(volume, path)
        return path.read_bytes()


def _itk() -> Iterator[Original]:
    volume = scan()
    for kind, suffix, is_compressed in (
        ("mha", ".mha", False),
        ("mha, compressed", ".mha", True),
        ("mhd", ".mhd", False),
        ("mhd, compressed", ".mhd", True),
        ("nrrd", ".nrrd", False),
        ("nrrd, compressed", ".nrrd", True),
        ("nhdr", ".nhdr", False),
        ("nhdr, compressed", ".nhdr", True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            image = to_sitk(volume.array, volume.grid)
            sitk.WriteImage(image, f"{folder}/scan{suffix}", useCompression=is_compressed)
            files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        yield Original(kind, "scan", files, f"scan{suffix}", _content(volume), _checked(files))


def _dicom() -> Iterator[Original]:
    volume = scan()
    series = {f"{n}.dcm": data for n, data in enumerate(_slices(volume))}
    yield Original("DICOM series", "scan", series, ".", _content(volume))
    implicit = {f"{n}.dcm": data for n, data in enumerate(_slices(volume, syntax=ImplicitVRLittleEndian))}
    yield Original("DICOM series, implicit", "scan", implicit, ".", _content(volume))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in series.items():
            archive.writestr(f"study/{name}", data)
    files = {"scan.zip": packed.getvalue()}
    yield Original("zip", "scan", files, "scan.zip", _content(volume), _checked(files))
    for name, syntax in (
        ("multi-frame", ExplicitVRLittleEndian),
        ("multi-frame, RLE", RLELossless),
        ("multi-frame, JPEG-LS", JPEGLSLossless),
        ("multi-frame, JPEG 2000", JPEG2000Lossless),
        ("multi-frame, deflated", DeflatedExplicitVRLittleEndian),
    ):
        files = {"scan.dcm": _multi(volume, syntax)}
        yield Original(f"DICOM {name}", "scan", files, "scan.dcm", _content(volume))
    first = np.add.outer(np.arange(16) * 7, np.arange(16) * 3) % 251
    flat_array = np.repeat(first.T[:, :, None], SHAPE[2], axis=2).astype(np.uint8)
    flat = Volume(flat_array, Grid(flat_array.shape, volume.grid.affine))
    slices = {
        f"{n}.dcm": data for n, data in enumerate(_slices(flat, syntax=JPEGLosslessSV1, frame=_JPEG_LOSSLESS))
    }
    yield Original("DICOM series, JPEG lossless", "scan", slices, ".", _content(flat))


def _slices(
    volume: Volume, *, syntax: str = ExplicitVRLittleEndian, frame: bytes | None = None
) -> Iterator[bytes]:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.affine
    for k in range(volume.array.shape[2]):
        dataset = _dataset(volume, syntax, CTImageStorage, "CT")
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(k)])
        dataset.InstanceNumber = k + 1
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        dataset.ImagePositionPatient = [float(value) for value in lps[:3, 3] + k * lps[:3, 2]]
        dataset.PixelSpacing = [volume.grid.spacing_mm[1], volume.grid.spacing_mm[0]]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        _set_pixels(dataset, volume.array[:, :, k].T, syntax, frame)
        yield _bytes(dataset)


def _multi(volume: Volume, syntax: str) -> bytes:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.affine
    dataset = _dataset(volume, syntax, EnhancedMRImageStorage, "MR")
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["multi"])
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence = [pydicom.Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [volume.grid.spacing_mm[1], volume.grid.spacing_mm[0]]
    shared.PlaneOrientationSequence = [pydicom.Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for k in range(volume.array.shape[2]):
        group = pydicom.Dataset()
        group.PlanePositionSequence = [pydicom.Dataset()]
        place = [float(value) for value in lps[:3, 3] + k * lps[:3, 2]]
        group.PlanePositionSequence[0].ImagePositionPatient = place
        dataset.PerFrameFunctionalGroupsSequence.append(group)
    _set_pixels(dataset, volume.array.transpose(2, 1, 0), syntax, None)
    return _bytes(dataset)


def _dataset(volume: Volume, syntax: str, sop_class: str, modality: str) -> Any:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPClassUID, dataset.Modality = sop_class, modality
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    dataset.SeriesNumber, dataset.ImageType = 3, ["ORIGINAL", "PRIMARY"]
    dataset.Rows, dataset.Columns = volume.array.shape[1], volume.array.shape[0]
    return dataset


def _set_pixels(dataset: Any, pixels: np.ndarray, syntax: str, frame: bytes | None) -> None:
    pixels = np.ascontiguousarray(pixels.astype(np.uint8 if frame else np.uint16))
    bits = 8 * pixels.itemsize
    uncompressed = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    if syntax == JPEG2000Lossless:
        frames = [bytes(encode_array(image, photometric_interpretation=2)) for image in pixels]
        dataset.set_pixel_data(pixels, "MONOCHROME2", bits)
        _encapsulate(dataset, frames, syntax)
        return
    if frame is None and syntax not in uncompressed:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.set_pixel_data(pixels, "MONOCHROME2", bits)
        dataset.compress(syntax, generate_instance_uid=False)
        return
    dataset.set_pixel_data(pixels, "MONOCHROME2", bits)
    if frame is not None:
        _encapsulate(dataset, [frame], syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax


def _encapsulate(dataset: Any, frames: list[bytes], syntax: str) -> None:
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True


def _bytes(dataset: Any) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
