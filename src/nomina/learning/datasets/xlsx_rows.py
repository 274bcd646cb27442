"""Text of the first sheet of an Excel file (.xlsx), without a spreadsheet library."""

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

_NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"

_MAX_BYTES = 50_000_000
"""Larger parts are not read [choice: a table of 1000 rows has 0.1 MB; an archive may be made to explode]."""


def xlsx_rows(path: Path) -> list[list[str]]:
    """Cells of the first sheet, row by row, as text; "" where a cell is empty.

    Raises:
        ValueError: The file is no Excel workbook.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shared = _texts(archive) if "xl/sharedStrings.xml" in archive.namelist() else []
            sheets = sorted(name for name in archive.namelist() if name.startswith("xl/worksheets/sheet"))
            if not sheets:
                raise ValueError("it has no sheet")
            sheet = _tree(archive, sheets[0])
    except (OSError, zipfile.BadZipFile, ET.ParseError, KeyError) as error:
        raise ValueError(f"it cannot be read as .xlsx: {error}") from error
    return [_row(row, shared) for row in sheet.iter(f"{_NS}row")]


def _tree(archive: zipfile.ZipFile, name: str) -> ET.Element:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_BYTES} bytes")
    return ET.fromstring(archive.read(name))


def _texts(archive: zipfile.ZipFile) -> list[str]:
    return [_text(item) for item in _tree(archive, "xl/sharedStrings.xml").iter(f"{_NS}si")]


def _text(element: ET.Element) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_NS}t"))


def _row(row: ET.Element, shared: list[str]) -> list[str]:
    cells: dict[int, str] = {}
    for position, cell in enumerate(row.iter(f"{_NS}c")):
        cells[_column(cell.get("r"), position)] = _value(cell, shared)
    return [cells.get(column, "") for column in range(max(cells, default=-1) + 1)]


def _column(reference: str | None, position: int) -> int:
    """Index of the column that a reference like "AB12" names; its position where there is none."""
    letters = re.match(r"[A-Z]+", reference or "")
    if letters is None:
        return position
    column = 0
    for letter in letters[0]:
        column = 26 * column + ord(letter) - ord("A") + 1
    return column - 1


def _value(cell: ET.Element, shared: list[str]) -> str:
    kind, value = cell.get("t"), cell.findtext(f"{_NS}v") or ""
    if kind == "s":
        return shared[int(value)]
    return _text(cell) if kind == "inlineStr" else value
