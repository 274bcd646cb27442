"""Grids and DICOM files made for the tests of imaging."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from nomina.imaging.grid import Grid

DicomWriter = Callable[..., list[Path]]


@pytest.fixture
def oblique_grid() -> Grid:
    """Anisotropic, rotated about all axes, left-handed."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (20, -13, 31), degrees=True).as_matrix() * (0.7, 1.3, -2.9)
    affine[:3, 3] = (-31.25, 17.5, 203.125)
    return Grid((7, 6, 5), affine)


@pytest.fixture
def dicom_writer() -> DicomWriter:
    """`dicom_writer(folder, array, grid, **tags)` writes one CT slice per k; a tag may be a function of k."""

    def write(folder: Path, array: np.ndarray, grid: Grid, **tags: Any) -> list[Path]:
        folder.mkdir(exist_ok=True)
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
        directions = lps[:3, :3] / grid.spacing_mm
        common = {
            "SOPClassUID": CTImageStorage,
            "SeriesInstanceUID": generate_uid(entropy_srcs=[folder.name]),
            "Modality": "CT",
            "PatientName": "Doe^Jane",
            "PatientID": "P-4711",
            "StudyDate": "19870605",
            "ImageOrientationPatient": [*directions[:, 0], *directions[:, 1]],
            "PixelSpacing": [grid.spacing_mm[1], grid.spacing_mm[0]],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
        }
        paths = []
        for k in range(array.shape[2]):
            dataset = pydicom.Dataset()
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
            values = common | {
                "SOPInstanceUID": generate_uid(entropy_srcs=[folder.name, str(k)]),
                "ImagePositionPatient": list(lps[:3, 3] + k * lps[:3, 2]),
            }
            for keyword, value in (values | tags).items():
                value = value(k) if callable(value) else value
                if value is not None:
                    setattr(dataset, keyword, value)
            stored = np.ascontiguousarray(array[:, :, k].T.astype(np.uint16))
            dataset.set_pixel_data(stored, "MONOCHROME2", 16)
            # File names run against the stack, so that sorting by name would turn it over.
            path = folder / f"{900 - k:04d}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths

    return write
