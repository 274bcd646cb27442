"""Files that lie about sizes and places: refused at once, without the memory or the time they ask for."""

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.errors import DicomError, VolumeError
from nomina.imaging.doctor import examine
from nomina.imaging.grid import Grid
from nomina.imaging.packed import data_file, unpack
from nomina.imaging.read import read_volume
from nomina.imaging.volume import Volume
from nomina.imaging.write import write

Writer = Callable[..., list[Path]]

DATA = bytes(range(256)) * 5000


def written(path: Path) -> Path:
    affine = np.diag([4.0, 4.0, 6.0, 1.0])
    array = np.arange(8 * 8 * 4, dtype=np.int16).reshape(8, 8, 4)
    write(Volume(array, Grid(array.shape, affine)), path)
    return path


@pytest.fixture
def straight_grid() -> Grid:
    affine = np.diag([-4.0, -4.0, 6.0, 1.0])
    return Grid((8, 8, 5), affine)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(DATA),
        gzip.compress(DATA[:1000]) + gzip.compress(DATA[1000:]),
        gzip.compress(DATA) + bytes(300),
        zlib.compress(DATA),
    ],
    ids=["gzip", "two members", "padded", "zlib"],
)
def test_compressed_data_come_back(packed: bytes) -> None:
    assert unpack(packed, len(DATA)) == DATA


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        gzip.compress(DATA)[:-1],
        gzip.compress(DATA)[:-9],
        gzip.compress(DATA)[:-8] + bytes(8),
        gzip.compress(DATA) + b"rest",
        zlib.compress(DATA)[:-1] + b"x",
        zlib.compress(DATA)[:-2],
        gzip.compress(DATA + b"x"),
    ],
)
def test_damaged_compressed_data_and_those_that_are_too_long_are_refused(packed: bytes) -> None:
    with pytest.raises(VolumeError):
        unpack(packed, len(DATA))


def test_gigabytes_behind_the_voxels_are_not_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii.gz")
    bomb = gzip.decompress(path.read_bytes()) + bytes(40 << 20)
    path.write_bytes(gzip.compress(bomb, 1))
    with pytest.raises(VolumeError, match="unpack to more than"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_that_are_merely_declared_take_no_memory(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}")
    data = bytearray(path.read_bytes() if suffix == ".nii" else gzip.decompress(path.read_bytes()))
    struct.pack_into("<3h", data, 42, 30_000, 30_000, 30_000)
    path.write_bytes(bytes(data) if suffix == ".nii" else gzip.compress(data))
    with pytest.raises(VolumeError, match=r"declares 54000000000000 bytes.*at most"):
        read_volume(path)


@pytest.mark.parametrize(
    "name",
    ["../outside.raw", "/etc/passwd", "a/../../outside.raw", "..\\outside.raw", "C:\\x.raw", "", "a\0b"],
)
def test_a_header_takes_no_voxels_from_outside_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeError, match="not a file in its own folder"):
        data_file(tmp_path / "a.mhd", name)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_data_file_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}")
    os.mkfifo(tmp_path / "pipe.raw")
    end = b"ElementDataFile = LOCAL\n" if suffix == ".mha" else b"\n\n"
    header = path.read_bytes().split(end)[0]
    more = b"ElementDataFile = pipe.raw\n" if suffix == ".mha" else b"\ndata file: pipe.raw\n\n"
    path.write_bytes(header + more)
    with pytest.raises(VolumeError, match=r"pipe\.raw.*missing or is no file"):
        read_volume(path)


def test_a_pipe_is_no_scan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii")
    os.mkfifo(tmp_path / "b.dcm")
    for name in ("a.nii", "b.dcm"):
        with pytest.raises(VolumeError, match="a pipe or a device"):
            read_volume(tmp_path / name)
    assert all(examination.has_errors for examination in examine(tmp_path))


def test_a_hole_behind_the_pixels_is_not_read(
    tmp_path: Path, straight_grid: Grid, dicom_writer: Writer
) -> None:
    paths = dicom_writer(tmp_path, np.arange(320).reshape(8, 8, 5), straight_grid)
    whole = read_volume(tmp_path)
    os.truncate(paths[0], 1 << 40)
    np.testing.assert_array_equal(read_volume(tmp_path).array, whole.array)


def test_the_lost_end_of_a_stack_is_noticed(
    tmp_path: Path, straight_grid: Grid, dicom_writer: Writer
) -> None:
    paths = dicom_writer(tmp_path, np.arange(320).reshape(8, 8, 5), straight_grid)
    paths[-1].write_bytes(b"")
    with pytest.raises(DicomError, match="is not a DICOM file, though its name says so"):
        read_volume(tmp_path)
    assert examine(tmp_path)[0].has_errors


@pytest.mark.parametrize("keyword", ["SpacingBetweenSlices", "Modality"])
def test_several_values_where_one_belongs_are_refused(
    tmp_path: Path, straight_grid: Grid, dicom_writer: Writer, keyword: str
) -> None:
    value = [1.5, 2.5] if keyword == "SpacingBetweenSlices" else ["CT", "MR"]
    dicom_writer(tmp_path, np.arange(320).reshape(8, 8, 5), straight_grid, **{keyword: value})
    with pytest.raises(DicomError, match=f"its {keyword} is not one"):
        read_volume(tmp_path)


def test_a_zip_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for n in range(5):
            archive.writestr(f"{n}.dcm", bytes(128) + b"DICM" + bytes(60 << 20))
    with pytest.raises(DicomError, match="unpacks to 314573460 bytes, at most 268435456"):
        read_volume(tmp_path / "a.zip")


def test_a_ramp_with_one_value_per_slice_can_be_examined(tmp_path: Path) -> None:
    array = np.broadcast_to(np.arange(9, dtype=np.float32) / 7, (12, 12, 9)).copy()
    write(Volume(array, Grid(array.shape, np.diag([4.0, 4.0, 6.0, 1.0]))), tmp_path / "a.nii")
    assert examine(tmp_path / "a.nii")[0].summary
