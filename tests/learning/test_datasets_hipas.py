"""HiPaS's archives and table, on files made in that layout."""

import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest

from nomina.errors import CaseError
from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.preparation import ImagePreparation
from nomina.learning.cases import Case
from nomina.learning.datasets.hipas import hipas_cases
from nomina.learning.datasets.xlsx_rows import xlsx_rows
from nomina.learning.prepare import prepare_cases
from nomina.learning.prepare_case import prepare_case
from nomina.learning.prepared import PrepareConfig, chest_config
from nomina.learning.read_case import read_case

NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def write_table(path: Path, rows: list[list[str]]) -> None:
    """As Excel writes it: text in a table of its own, cells named A1, B1, …; empty cells left out."""
    texts = sorted({text for row in rows for text in row if text})
    cells = [
        "".join(
            f'<c r="{chr(65 + column)}{number}" t="s"><v>{texts.index(text)}</v></c>'
            for column, text in enumerate(row)
            if text
        )
        for number, row in enumerate(rows, start=1)
    ]
    body = "".join(f'<row r="{number}">{row}</row>' for number, row in enumerate(cells, start=1))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/sharedStrings.xml",
            f"<sst {NS}>{''.join(f'<si><t>{escape(t)}</t></si>' for t in texts)}</sst>",
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {NS}><sheetData>{body}</sheetData></worksheet>"
        )


def code(order: tuple[int, ...], flips: tuple[bool, ...]) -> str:
    return "".join(("RAS", "LPI")[flip][axis] for axis, flip in zip(order, flips, strict=True))


def write_case(
    root: Path, chest: Any, order: tuple[int, ...] = (1, 0, 2), flips: tuple[bool, ...] = (True, True, False)
) -> None:
    scale = (np.clip(chest.scan, -1000, 600) + 1000) / 1600
    for part, array in (
        ("ct_scan", scale.astype(np.float32)),
        ("annotation/artery", chest.vessels == 1),
        ("annotation/vein", chest.vessels == 2),
    ):
        path = root / part / "001.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, data=chest.stored(array, order, flips).array)
    write_table(
        root / "metadata.xlsx",
        [["Number", "CT scan", "", "Resolution"], ["1", "001.npz", "", "[10.0, 10.0, 10.0]"]],
    )


def one(root: Path, axes: str = "PLS") -> Case:
    (case,) = hipas_cases(root, axes)
    return case


def test_left_is_left_in_every_axis_order(tmp_path: Path, chest: Any) -> None:
    for order, flips in chest.orders:
        write_case(tmp_path, chest, order, flips)
        volume, label_map = read_case(one(tmp_path, code(order, flips)))
        canonical = label_map.canonical()
        np.testing.assert_array_equal(canonical.array, chest.vessels)
        assert canonical.grid.matches(chest.grid)
        np.testing.assert_allclose(volume.canonical().array, chest.scan, atol=1e-3)


@pytest.mark.parametrize(("axes", "word"), [("ALS", "front and back"), ("PRS", "left and right")])
def test_axes_that_the_anatomy_contradicts_are_refused(
    tmp_path: Path, chest: Any, axes: str, word: str
) -> None:
    write_case(tmp_path, chest)
    read_case(one(tmp_path, "PLS"))
    with pytest.raises(CaseError, match=f"axes '{axes}' do not fit this scan.*{word}"):
        read_case(one(tmp_path, axes))


@pytest.mark.parametrize("axes", ["", "PL", "PLX", "PAS", "pls"])
def test_axes_must_be_said(tmp_path: Path, axes: str) -> None:
    with pytest.raises(CaseError, match="look at one scan"):
        hipas_cases(tmp_path, axes)


def test_voxel_sizes_follow_the_arrays_axes(tmp_path: Path, chest: Any) -> None:
    write_case(tmp_path, chest)
    write_table(tmp_path / "metadata.xlsx", [["CT scan", "Resolution"], ["001.npz", "[0.65, 0.7, 1.0]"]])
    volume, _ = one(tmp_path).load(one(tmp_path))  # type: ignore[misc]
    assert volume.grid.spacing_mm == pytest.approx((0.65, 0.7, 1.0))
    assert volume.canonical().grid.spacing_mm == pytest.approx((0.7, 0.65, 1.0))


def test_other_axes_or_voxel_sizes_make_the_case_anew(tmp_path: Path, chest: Any) -> None:
    """Upside down cannot be told from the scan: a user who corrects it must not be left with the old case."""
    root, out = tmp_path / "hipas", tmp_path / "out"
    write_case(root, chest)
    config = chest_config(CTPreparation(spacing_mm=10.0))
    (first,) = prepare_cases(hipas_cases(root, "PLI"), out, config).cases
    upside_down = np.array(first.image())
    (corrected,) = prepare_cases(hipas_cases(root, "PLS"), out, config).cases
    np.testing.assert_array_equal(corrected.image(), upside_down[:, :, ::-1])
    write_table(root / "metadata.xlsx", [["CT scan", "Resolution"], ["001.npz", "[10.0, 10.0, 20.0]"]])
    (taller,) = prepare_cases(hipas_cases(root, "PLS"), out, config).cases
    assert taller.shape[2] > corrected.shape[2]


def test_voxels_of_both_masks_are_ignored_and_told(tmp_path: Path, chest: Any) -> None:
    write_case(tmp_path, chest)
    vein = chest.vessels == 2
    vein[7, 9, 10:13] = True
    np.savez(
        tmp_path / "annotation/vein/001.npz", data=chest.stored(vein, (1, 0, 2), (True, True, False)).array
    )
    case = one(tmp_path)
    volume, label_map = read_case(case)
    assert "3 voxels are marked as artery and as vein; they are ignored." in volume.notes
    config = PrepareConfig(
        structures=("pulmonary artery", "pulmonary vein"), image=ImagePreparation(in_plane_spacing_mm=10.0)
    )
    labels = prepare_case(volume, label_map, config).labels
    np.testing.assert_array_equal(labels[7, 9, 10:13], 255)
    assert (labels == 1).sum() == 137
    vein |= chest.vessels == 1
    np.savez(
        tmp_path / "annotation/vein/001.npz", data=chest.stored(vein, (1, 0, 2), (True, True, False)).array
    )
    with pytest.raises(
        CaseError, match=r"140 voxels belong to several of the masks pulmonary artery, pulmonary vein"
    ):
        read_case(case)


def test_values_off_the_documented_scale_are_refused(tmp_path: Path, chest: Any) -> None:
    write_case(tmp_path, chest)
    np.savez(
        tmp_path / "ct_scan/001.npz", data=chest.stored(chest.scan, (1, 0, 2), (True, True, False)).array
    )
    with pytest.raises(CaseError, match="run from -1000 to 400, expected 0 to 1"):
        read_case(one(tmp_path))


def test_archives_that_would_run_code_or_hold_something_else_are_refused(tmp_path: Path, chest: Any) -> None:
    write_case(tmp_path, chest)
    path = tmp_path / "annotation/vein/001.npz"
    for content in ({"data": np.array([object()])}, {"other": np.zeros((3, 3, 3))}):
        np.savez(path, **content)
        with pytest.raises(CaseError, match=r"001\.npz holds no readable array 'data'"):
            read_case(one(tmp_path))
    np.savez(path, data=np.zeros((3, 3, 3)))
    with pytest.raises(CaseError, match=r"the vein mask has \(3, 3, 3\) voxels"):
        read_case(one(tmp_path))
    np.savez(path, data=np.full((26, 34, 30), 2))
    with pytest.raises(CaseError, match="vein mask holds values other than 0 and 1"):
        read_case(one(tmp_path))


def test_a_scan_that_the_table_does_not_know_is_refused(tmp_path: Path, chest: Any) -> None:
    write_case(tmp_path, chest)
    table = tmp_path / "metadata.xlsx"
    write_table(table, [["CT scan", "Resolution"], ["002.npz", "[1, 1, 1]"]])
    with pytest.raises(CaseError, match=r"no Resolution for 001 \(1 scans\)"):
        one(tmp_path)
    write_table(table, [["CT scan", "Size"], ["001.npz", "[1, 1, 1]"]])
    with pytest.raises(CaseError, match=r"is not HiPaS's table .*expected columns"):
        one(tmp_path)
    table.write_bytes(b"no zip")
    with pytest.raises(CaseError, match=r"cannot be read as \.xlsx"):
        one(tmp_path)
    table.unlink()
    with pytest.raises(CaseError, match="is missing; it gives the voxel sizes"):
        one(tmp_path)


def test_cells_keep_their_columns_where_others_are_empty(tmp_path: Path) -> None:
    write_table(tmp_path / "t.xlsx", [["a", "b", "c"], ["", "<b>", ""], ["x", "", "z"]])
    assert xlsx_rows(tmp_path / "t.xlsx") == [["a", "b", "c"], ["", "<b>"], ["x", "", "z"]]
