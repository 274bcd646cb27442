"""HiPaS: arteries and veins of about 250 chest CTs, as NumPy archives.

Chu et al., Nat Commun 16:2262 (2025); https://zenodo.org/records/14879605, MIT. Unpacked:

    ct_scan/{number}.npz              array "data": [-1000, 600] HU mapped to [0, 1]; {number} is like 001
    annotation/artery/{number}.npz    array "data": binary, on the same voxels
    annotation/vein/{number}.npz      the same; in 1 to 2 percent of the voxels both are set
    metadata.xlsx                     columns "CT scan" (001.npz) and "Resolution" ([0.65, 0.65, 1.0], in mm)

Folders, names, the key and the scale of values are the authors'; the columns of the table are as a public
loader reads them; the download itself was not seen. **Which way the axes run is documented nowhere** (the
authors write D, H, W; torch_em's loader takes the slices for the last axis), so it must be said, and a scan
whose heart, liver dome and spine contradict it is refused. Upside down cannot be told: look at one case.
"""

import re
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from nomina.errors import CaseError
from nomina.imaging.doctor_anatomy import anatomy_findings
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.learning.cases import Case, natural_order
from nomina.learning.datasets.xlsx_rows import xlsx_rows
from nomina.learning.read_case import joined_masks

WINDOW_HU = (-1000.0, 600.0)
"""What 0 and 1 stand for [authors' README; a line of code there divides by 1400 instead]."""

_STRUCTURES = {"artery": "pulmonary artery", "vein": "pulmonary vein"}

_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
"""World axis, and sense along it, of each letter."""

_MIRRORED = {"front-back-mirrored", "left-right-mirrored"}


def hipas_cases(root: Path | str, axes: str) -> list[Case]:
    """Every case of HiPaS, by number.

    A scan without masks, or the reverse, is listed too: preparing it reports the missing file.

    Args:
        root: The folder that holds `ct_scan`, `annotation` and `metadata.xlsx`.
        axes: Where the arrays' three axes run to, of R L A P S I: "PLS" for rows to the back, columns to the
            left and slices upwards.

    Raises:
        CaseError: The folder is not laid out like HiPaS, or `axes` does not name three axes.
    """
    root = Path(root)
    if sorted(_DIRECTIONS.get(letter, (3, 0))[0] for letter in axes) != [0, 1, 2]:
        raise CaseError(
            f"axes is {axes!r}, expected where the arrays' three axes run to: R or L, A or P and S or I in "
            f"their order, e.g. 'PLS'; HiPaS does not document it, so look at one scan"
        )
    folders = (root / "ct_scan", root / "annotation" / "artery", root / "annotation" / "vein")
    numbers = {path.stem for folder in folders for path in folder.glob("*.npz")}
    if not numbers:
        raise CaseError(f"{root} holds no ct_scan/*.npz; give the folder into which HiPaS was unpacked")
    spacings_mm = _spacings_mm(root / "metadata.xlsx")
    lost = sorted(numbers - spacings_mm.keys(), key=natural_order)
    if lost:
        raise CaseError(
            f"{root / 'metadata.xlsx'} has no Resolution for {', '.join(lost[:5])} ({len(lost)} scans); "
            f"without it their size is unknown, download the table again"
        )
    return [
        Case(
            id=number,
            patient=number,
            volume_path=folders[0] / f"{number}.npz",
            label_map_path=folders[1] / f"{number}.npz",
            more_paths=(folders[2] / f"{number}.npz",),
            scheme="hipas",
            dataset="hipas",
            labels={name: value for value, name in enumerate(_STRUCTURES.values(), start=1)},
            annotated=tuple(_STRUCTURES.values()),
            load=partial(read_hipas, axes=axes, spacing_mm=spacings_mm[number]),
        )
        for number in sorted(numbers, key=natural_order)
    ]


def read_hipas(case: Case, *, axes: str, spacing_mm: tuple[float, float, float]) -> tuple[Volume, LabelMap]:
    """Scan in HU and label map of one case; voxels of both masks are ignored.

    The world's origin is the middle of the array, since nothing says where it was.

    Args:
        case: As `hipas_cases` lists it.
        axes: As there.
        spacing_mm: Voxel size along the arrays' axes.

    Raises:
        CaseError: An archive cannot be read, the arrays differ in shape, masks are not binary or overlap too
            much, values are not on the documented scale, or the anatomy contradicts `axes`.
    """
    stored = _array(case.volume_path)
    masks = {
        name: _mask(path, stored.shape)
        for name, path in zip(_STRUCTURES.values(), (case.label_map_path, *case.more_paths), strict=True)
    }
    grid = _grid(stored.shape, axes, spacing_mm)
    label_map, num_twice = joined_masks(masks, grid, case.scheme)
    notes = [f"Values were mapped from 0…1 to {WINDOW_HU[0]:g}…{WINDOW_HU[1]:g} HU; beyond, they are cut."]
    if num_twice:
        notes.append(f"{num_twice} voxels are marked as artery and as vein; they are ignored.")
    volume = Volume(_hounsfield(stored, case.volume_path), grid, modality="CT", notes=tuple(notes))
    wrong = [finding.sentence for finding in anatomy_findings(volume) if finding.code in _MIRRORED]
    if wrong:
        raise CaseError(f"axes {axes!r} do not fit this scan; give the right ones. {' '.join(wrong)}")
    return volume, label_map


def _grid(shape: tuple[int, ...], axes: str, spacing_mm: tuple[float, float, float]) -> Grid:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, letter in enumerate(axes):
        world, sense = _DIRECTIONS[letter]
        affine[world, axis] = sense * spacing_mm[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid((shape[0], shape[1], shape[2]), affine)


def _array(path: Path) -> Num[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: np.ndarray = archive["data"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CaseError(f"{path.name} holds no readable array 'data' ({error}); download it again") from error
    if array.ndim != 3 or array.dtype.kind not in "biuf":
        raise CaseError(
            f"{path.name} holds {array.dtype} of shape {array.shape}, expected a volume; download it again"
        )
    return array


def _mask(path: Path, shape: tuple[int, ...]) -> Bool[np.ndarray, "i j k"]:
    array = _array(path)
    if array.shape != shape:
        raise CaseError(
            f"the {path.parent.name} mask has {array.shape} voxels, the scan {shape}; download both again"
        )
    mask: Bool[np.ndarray, "i j k"] = array > 0
    if not (array[mask] == 1).all():
        raise CaseError(
            f"the {path.parent.name} mask holds values other than 0 and 1; expected a binary mask, "
            f"download it again"
        )
    return mask


def _hounsfield(
    stored: Num[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"], path: Path
) -> Float[np.ndarray, "i j k"]:
    low, high = float(stored.min()), float(stored.max())
    if low < -0.01 or not 0.5 <= high <= 1.01:
        raise CaseError(
            f"the values of {path.name} run from {low:g} to {high:g}, expected 0 to 1, which stand for "
            f"{WINDOW_HU[0]:g} and {WINDOW_HU[1]:g} HU; download the scan again"
        )
    return stored.astype(np.float32) * np.float32(WINDOW_HU[1] - WINDOW_HU[0]) + np.float32(WINDOW_HU[0])


def _spacings_mm(path: Path) -> Mapping[str, tuple[float, float, float]]:
    """Voxel size of each scan by its number."""
    if not path.is_file():
        raise CaseError(f"{path} is missing; it gives the voxel sizes, download it too")
    try:
        header, *rows = xlsx_rows(path)
        scan, resolution = header.index("CT scan"), header.index("Resolution")
        return {Path(row[scan]).stem: _three(row[resolution]) for row in rows if row[scan]}
    except (ValueError, IndexError) as error:
        raise CaseError(
            f"{path} is not HiPaS's table ({error}); expected columns 'CT scan' and 'Resolution' with three "
            f"numbers each"
        ) from error


def _three(text: str) -> tuple[float, float, float]:
    numbers = [float(part) for part in re.findall(r"[\d.]+", text)]
    if len(numbers) != 3 or min(numbers) <= 0:
        raise ValueError(f"Resolution {text!r}")
    return numbers[0], numbers[1], numbers[2]
