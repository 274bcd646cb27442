"""MRSpineSeg: 172 labelled sagittal T2 series with vertebrae S and L5–T9 and their discs; no spinal canal.

https://www.spinesegmentation-challenge.com, by signed agreement, research only. Unpacked:

    train/MR/Case{n}.nii.gz
    train/Mask/mask_case{n}.nii.gz
"""

import re
from pathlib import Path

from nomina.errors import CaseError
from nomina.learning.cases import Case


def mrspineseg_cases(root: Path | str) -> list[Case]:
    """Every case of the MRSpineSeg training folder, by number.

    A scan without mask, or a mask without scan, is listed too: preparing it reports the missing file.

    Args:
        root: The folder that holds `train`.

    Raises:
        CaseError: The folder is not laid out like MRSpineSeg.
    """
    root = Path(root)
    volumes, masks = root / "train" / "MR", root / "train" / "Mask"
    numbers = _numbers(volumes, r"Case(\d+)") | _numbers(masks, r"mask_case(\d+)")
    if not numbers:
        raise CaseError(
            f"{root} holds no train/MR/Case*.nii.gz; give the folder that holds MRSpineSeg's `train`"
        )
    return [
        Case(
            id=f"Case{number}",
            patient=f"Case{number}",
            volume_path=volumes / f"Case{number}.nii.gz",
            label_map_path=masks / f"mask_case{number}.nii.gz",
            scheme="mrspineseg",
            dataset="mrspineseg",
            sequence="T2",
        )
        for number in sorted(numbers)
    ]


def _numbers(folder: Path, stem: str) -> set[int]:
    matches = (re.fullmatch(stem + r"\.nii\.gz", path.name) for path in folder.glob("*.nii.gz"))
    return {int(match[1]) for match in matches if match}
