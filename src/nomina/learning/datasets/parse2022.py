"""PARSE 2022: 100 labelled CT pulmonary angiograms; arteries only, no veins.

Luo et al., arXiv:2304.03708, https://parse2022.grand-challenge.org, by data agreement. Unpacked:

    train/{case}/image/{case}.nii.gz
    train/{case}/label/{case}.nii.gz      1 = pulmonary artery: trunk and branches; {case} is like PA000005

The layout is as several public programs read it; the download itself was not seen. The validation part comes
without labels and is not read. That veins are background says nothing about them: see `Case.annotated`.
"""

from pathlib import Path

from nomina.errors import CaseError
from nomina.learning.cases import Case, natural_order


def parse2022_cases(root: Path | str) -> list[Case]:
    """Every case of the PARSE 2022 training folder, by number.

    A case without scan or label map is listed too: preparing it reports the missing file.

    Args:
        root: The folder that holds `train`.

    Raises:
        CaseError: The folder is not laid out like PARSE 2022.
    """
    root = Path(root)
    names = {
        path.parent.parent.name
        for part in ("image", "label")
        for path in root.glob(f"train/*/{part}/*.nii.gz")
        if path.name == f"{path.parent.parent.name}.nii.gz"
    }
    if not names:
        raise CaseError(
            f"{root} holds no train/PA*/image/PA*.nii.gz; give the folder that holds PARSE 2022's `train`"
        )
    return [_case(root / "train" / name) for name in sorted(names, key=natural_order)]


def _case(folder: Path) -> Case:
    return Case(
        id=folder.name,
        patient=folder.name,
        volume_path=folder / "image" / f"{folder.name}.nii.gz",
        label_map_path=folder / "label" / f"{folder.name}.nii.gz",
        scheme="parse2022",
        dataset="parse2022",
        subset="train",
        annotated=("pulmonary artery",),
    )
