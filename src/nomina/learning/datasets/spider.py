"""SPIDER: 447 sagittal lumbar MR series of 218 patients with numbered vertebrae, discs and the canal.

van der Graaf et al., Scientific Data 11:264 (2024), https://zenodo.org/records/10159290, CC BY 4.0. Unpacked:

    images/{patient}_{t1|t2|t2_SPACE}.mha
    masks/{patient}_{t1|t2|t2_SPACE}.mha      numbers count from the bottom: 1 = lowest lumbar vertebra
    overview.csv                              optional; read: new_file_name, subset, level_confidence, note
"""

import csv
import re
from pathlib import Path

from nomina.errors import CaseError
from nomina.learning.cases import Case, natural_order

_STEM = re.compile(r"(?P<patient>\d+)_(?P<series>t1|t2|t2_SPACE)")
_SEQUENCES = {"t1": "T1", "t2": "T2", "t2_SPACE": "T2"}


def spider_cases(root: Path | str) -> list[Case]:
    """Every case of a SPIDER folder, in natural order of its id.

    A scan without mask, or a mask without scan, is listed too: preparing it reports the missing file.

    Args:
        root: The folder that holds `images` and `masks`.

    Raises:
        CaseError: The folder is not laid out like SPIDER.
    """
    root = Path(root)
    stems = {
        path.name.removesuffix(".mha")
        for part in ("images", "masks")
        for path in root.glob(f"{part}/*.mha")
        if not path.name.startswith(".")
    }
    if not stems:
        raise CaseError(
            f"{root} holds no images/*.mha; give the folder into which SPIDER's images and masks "
            f"were unpacked"
        )
    strange = sorted(stem for stem in stems if not _STEM.fullmatch(stem))
    if strange:
        raise CaseError(
            f"{root}: {', '.join(strange)} is not named like SPIDER's {{id}}_{{t1|t2|t2_SPACE}}.mha; "
            f"rename or move it"
        )
    overview = _read_overview(root / "overview.csv")
    return [_case(root, stem, overview.get(stem, {})) for stem in sorted(stems, key=natural_order)]


def _case(root: Path, stem: str, row: dict[str, str]) -> Case:
    patient, series = stem.split("_", maxsplit=1)
    is_doubtful = row.get("level_confidence", "ok") == "doubtful"
    return Case(
        id=stem,
        patient=patient,
        volume_path=root / "images" / f"{stem}.mha",
        label_map_path=root / "masks" / f"{stem}.mha",
        scheme="spider",
        dataset="spider",
        sequence=_SEQUENCES[series],
        subset=row.get("subset") or None,
        doubtful=(row.get("note") or "marked doubtful in overview.csv") if is_doubtful else None,
    )


def _read_overview(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [
            {key.strip(): value for key, value in row.items() if key and value}
            for row in csv.DictReader(file)
        ]
    if any("new_file_name" not in row for row in rows):
        raise CaseError(
            f"{path} has a row without new_file_name; expected SPIDER's own overview.csv (or none)"
        )
    return {row["new_file_name"].removesuffix(".mha"): row for row in rows}
