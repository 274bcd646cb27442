"""AirRC: arteries, veins and airways of 254 chest CTs of LUNA16.

Scientific Data 2025, doi.org/10.1038/s41597-025-06074-6; masks doi.org/10.6084/m9.figshare.26878867,
CC BY 4.0; scans zenodo.org/records/3723295 and 4121926, CC BY. Unpacked:

    labelsTr/{series UID}.nii.gz          1 artery, 2 vein, 3 airway, 4 its wall; 1 mm crops about the lungs
    luna16/subset{0…9}/{series UID}.mhd   with its .raw; any folder below will do

File names, label values and the masks' own grid are as a public loader (torch_em) describes them, which
downloads and reads these files; the download itself was not seen. All masks are published as whole (both
lungs, all four structures), so a case that shows one lung only is reported, not trained on; whether
`metadata.xlsx` tells otherwise of single cases is not known, it is not read. One scan counts as one patient:
LUNA16's files name none, and eight patients of its source have two.
"""

from pathlib import Path

from nomina.anatomy.schemes import load_scheme
from nomina.errors import CaseError
from nomina.learning.cases import Case, natural_order
from nomina.learning.read_case import on_one_grid


def airrc_cases(root: Path | str, luna16: Path | str | None = None) -> list[Case]:
    """Every mask of AirRC with its scan, by series UID.

    A mask whose scan is not there is listed too: preparing it reports the missing file.

    Args:
        root: The folder that holds `labelsTr`.
        luna16: Where the scans of LUNA16 are, at any depth; `root` when None.

    Raises:
        CaseError: The folder is not laid out like AirRC, or a scan is there twice.
    """
    root = Path(root)
    masks = sorted((root / "labelsTr").glob("*.nii.gz"), key=lambda path: natural_order(path.name))
    if not masks:
        raise CaseError(f"{root} holds no labelsTr/*.nii.gz; give the folder into which AirRC was unpacked")
    scans = _scans(root if luna16 is None else Path(luna16))
    expected = root / "luna16" if luna16 is None else Path(luna16)
    annotated = tuple(load_scheme("airrc").labels.values())
    cases = []
    for mask in masks:
        uid = mask.name.removesuffix(".nii.gz")
        scan = scans.get(uid, expected / f"{uid}.mhd")
        cases.append(
            Case(
                id=uid,
                patient=uid,
                volume_path=scan,
                label_map_path=mask,
                scheme="airrc",
                dataset="airrc",
                subset=scan.parent.name if scan.parent.name.startswith("subset") else None,
                annotated=annotated,
                load=on_one_grid,
            )
        )
    return cases


def _scans(folder: Path) -> dict[str, Path]:
    scans: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.mhd")):
        if path.stem in scans:
            raise CaseError(f"{path.name} lies in {scans[path.stem].parent} and in {path.parent}; remove one")
        scans[path.stem] = path
    return scans
