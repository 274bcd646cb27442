"""What the numbers of a scan say: whether it is a scan at all, whether a CT is in Hounsfield units."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Num

from nomina.imaging.doctor_finding import Finding
from nomina.imaging.volume import Volume

PADDING_BELOW = -1200
"""No tissue or air is below this many HU; lower numbers fill what the scanner did not see [choice]."""

SATURATED_SHARE = 0.01
"""A scan is clipped when this share of its voxels has the highest value [choice: metal in CT is less]."""

MIN_PADDING_SHARE = 5e-4
"""Fewer voxels are artefacts of metal, not padding [choice]."""

MIN_SOFT_SHARE = 0.7
"""Share of soft tissue among what is denser than lung: at least 0.80 in 9 CT, at most 0.46 in 27 MR whose
values were scaled to those of a CT [choice]."""

_MAX_SAMPLES = 400_000
_MAX_LABELS = 256


def intensity_findings(volume: Volume) -> Iterator[Finding]:
    """What is wrong, or worth knowing, about the values of a readable volume."""
    array = volume.array
    low, high = array.min(), array.max()
    if low == high:
        yield Finding(
            "constant",
            "error",
            f"Every voxel has the value {low:g}: there is no image.",
            "Export the scan again; the pixels were lost on the way.",
        )
        return
    if looks_like_labels(array):
        yield Finding(
            "label-map",
            "warning",
            f"The values ({low:g} to {high:g}) fill whole regions evenly, as in a label map, not in a scan.",
            "Give the scan itself, not a mask; for masks use `nomina doctor --compare SCAN MASK`.",
        )
        return
    yield from _blank_slices(volume)
    yield from _range_findings(volume, float(low), float(high))


def looks_like_labels(array: Num[np.ndarray, "i j k"]) -> bool:
    """True for few whole numbers in even regions: nearly every voxel beside a labelled one has its value."""
    here, there = array[::2, ::2, ::1][:, :, :-1], array[::2, ::2, ::1][:, :, 1:]
    if array.dtype.kind == "f" and (np.rint(here) != here).any():
        return False
    sample = sampled(array)
    values, counts = np.unique(sample, return_counts=True)
    if len(values) > _MAX_LABELS or values[0] < 0:
        return False
    background = values[np.argmax(counts)]
    is_labelled = (here != background) & (there != background)
    # Counted over pairs that both carry a label: thin structures are nearly all border to the background.
    num_pairs = int(is_labelled.sum())
    is_even = num_pairs > 0 and int(((here == there) & is_labelled).sum()) >= 0.8 * num_pairs
    return is_even or len(values) == 2


def sampled(array: Num[np.ndarray, "i j k"]) -> Num[np.ndarray, " n"]:
    """At most about 400 000 of the voxels, evenly spaced along every axis."""
    step = max(1, round((array.size / _MAX_SAMPLES) ** (1 / 3)))
    return np.ravel(array[tuple(slice(None, None, min(step, max(1, size // 8))) for size in array.shape)])


def is_hounsfield(sample: Num[np.ndarray, " n"]) -> bool:
    """True when values can be HU: some far below 0, and most of what is not air or lung is soft tissue."""
    seen = sample[sample > PADDING_BELOW]
    if not seen.size or seen.min() > -500:
        return False
    dense = seen[seen > -300]
    return dense.size > 0 and float(((dense > -200) & (dense < 200)).mean()) >= 0.5


def is_offset_hounsfield(sample: Num[np.ndarray, " n"]) -> bool:
    """True when the values of what is known to be a CT can be HU plus about 1024, and not HU themselves."""
    seen = sample[sample > PADDING_BELOW].astype(np.float64)
    # Noise in air passes below 0 in a few voxels, so the lowest value alone says little.
    if not seen.size or is_hounsfield(sample) or np.percentile(seen, 0.1) < -300:
        return False
    return is_hounsfield(seen - 1024)


def looks_like_offset_ct(sample: Num[np.ndarray, " n"]) -> bool:
    """True for HU plus about 1024 of a scan of unknown modality: mostly narrow soft tissue, and some bone."""
    if sample.max() < 1500 or not is_offset_hounsfield(sample):
        return False
    soft = sample[(sample > 824) & (sample < 1224)]
    width = float(np.subtract(*np.percentile(soft, (75, 25))))
    is_mostly_soft = soft.size >= MIN_SOFT_SHARE * int((sample > 324).sum())
    return is_mostly_soft and width < 130 and float((sample > 1324).mean()) > 0.002


def _blank_slices(volume: Volume) -> Iterator[Finding]:
    array, spacing_mm = volume.array, volume.grid.spacing_mm
    # Along the axis of the stack only: rows at the rim of an image are often blank.
    for axis in (axis for axis in range(3) if spacing_mm[axis] > 0.99 * max(spacing_mm)):
        others = tuple(other for other in range(3) if other != axis)
        is_blank = array.min(axis=others) == array.max(axis=others)
        filled = np.flatnonzero(~is_blank)
        if not filled.size:  # Every slice has one value of its own.
            continue
        inside = np.flatnonzero(is_blank[filled[0] : filled[-1] + 1]) + filled[0]
        if inside.size:
            yield Finding(
                "blank-slices",
                "warning",
                f"{inside.size} slices between others are blank, the first is number {inside[0] + 1} of "
                f"{array.shape[axis]} along axis {'ijk'[axis]}.",
                "Look for the lost slices in the original series and convert it again.",
            )
            return


def _range_findings(volume: Volume, low: float, high: float) -> Iterator[Finding]:
    array, modality = volume.array, volume.modality
    sample = sampled(array).astype(np.float64)
    if _is_wrapped(array):
        yield Finding(
            "wrapped-values",
            "error",
            f"Bright voxels turn dark and the reverse ({low:g} beside {high:g} in smooth tissue): values ran "
            f"over the end of their integer type.",
            "Convert the original scan again into a type that holds its values, such as int16 or float32.",
        )
        return
    padding_share = float((array < PADDING_BELOW).mean()) if low < PADDING_BELOW else 0.0
    if padding_share >= MIN_PADDING_SHARE and is_hounsfield(sample):
        yield Finding(
            "padding",
            "note",
            f"{100 * padding_share:.2g} % of the voxels lie below "
            f"{PADDING_BELOW} HU (down to {low:g}): they fill what the scanner did not see.",
            "Nothing to do for nomina; replace them by -1024 for programs that take means.",
        )
    if modality == "CT":
        yield from _ct_findings(sample, low, high)
    elif modality is None and looks_like_offset_ct(sample):
        yield _offset_missing(low, high, is_certain=False)
    elif modality == "MR" and is_hounsfield(sample):
        yield Finding(
            "modality-contradicts-content",
            "error",
            f"The header says MR, but the values ({low:g} to {high:g}) are Hounsfield units of a CT.",
            "Correct the modality, or find the scan that this header belongs to.",
        )
    yield from _quality_findings(array, modality, low, high)


def _quality_findings(
    array: Num[np.ndarray, "i j k"], modality: str | None, low: float, high: float
) -> Iterator[Finding]:
    is_whole = array.dtype.kind in "iu"
    if is_whole and low >= 0 and high <= 255 and modality != "CT":
        yield Finding(
            "eight-bit",
            "note",
            f"All values lie in {low:g} to {high:g}: the scan was reduced to 8 bits, fine contrast is lost.",
            "Use the original series where there is one.",
        )
    share = float((array == array.max()).mean())
    if share >= SATURATED_SHARE:
        is_window = low < -50 and float((array == array.min()).mean()) >= SATURATED_SHARE and high < 700
        yield Finding(
            "windowed" if is_window else "saturated",
            "warning" if is_window else "note",
            f"{100 * share:.2g} % of the voxels have the highest value, {high:g}"
            + (f", and many the lowest, {low:g}: the scan was clipped to a window." if is_window else "."),
            "Use the original values; what was clipped cannot be brought back.",
        )
    if array.dtype.kind == "f" and (
        (low == 0.0 and high == 1.0)
        or (low < 0 and abs(float(array.mean())) < 0.05 and abs(float(array.std()) - 1) < 0.05)
    ):
        yield Finding(
            "normalised",
            "note",
            f"The values were normalised ({low:.3g} to {high:.3g}); the scanner's numbers are gone.",
            "For CT give the scan in Hounsfield units; for MR this is no harm.",
        )


def _ct_findings(sample: Num[np.ndarray, " n"], low: float, high: float) -> Iterator[Finding]:
    if is_hounsfield(sample):
        return
    if is_offset_hounsfield(sample):
        yield _offset_missing(low, high, is_certain=True)
        return
    if -500 < low < 0 and high < 700 and float((sample == low).mean()) >= SATURATED_SHARE:
        return  # a window of HU: said by `_quality_findings`
    if low >= 0 and high <= 255:
        wrong = f"The CT is reduced to 8 bits ({low:g} to {high:g}), its Hounsfield units are lost"
    else:
        wrong = (
            f"The header says CT, but the values ({low:g} to {high:g}) are not Hounsfield units, with air "
            f"near -1000 and soft tissue near 0; the scan may be an MR"
        )
    yield Finding(
        "not-hounsfield",
        "error",
        wrong + ".",
        "Convert the original DICOM series again with its rescale slope and intercept.",
    )


def _offset_missing(low: float, high: float, *, is_certain: bool) -> Finding:
    return Finding(
        "ct-offset-missing",
        "error" if is_certain else "warning",
        f"The values ({low:g} to {high:g}) {'are' if is_certain else 'look like'} Hounsfield units plus "
        f"about 1000 or 1024: the rescale intercept was not applied.",
        "Convert the original DICOM series again, or add the RescaleIntercept that its header names.",
    )


def _is_wrapped(array: Num[np.ndarray, "i j k"]) -> bool:
    """True when neighbours jump by nearly the whole range of 8, 12 or 16 bits more often than by half of it.

    Values that ran over continue at the other end, so jumps of a whole range appear in smooth tissue. Voxels
    at the very ends are left out: there, clipped values and burnt-in text jump too.
    """
    if array.dtype.kind not in "iu":
        return False
    low, high = int(array.min()), int(array.max())
    modulus = next((m for m in (1 << 8, 1 << 12, 1 << 16) if 0.97 * m <= high - low < m), None)
    if modulus is None:
        return False
    lines = array[:: max(1, array.shape[0] // 32), :, :: max(1, array.shape[2] // 32)].astype(np.int32)
    here, there = lines[:, :-1], lines[:, 1:]
    inner = (np.minimum(here, there) > low) & (np.maximum(here, there) < high)
    jumps = np.abs(here - there)[inner]
    num_whole = int((jumps >= 7 * modulus // 8).sum())
    num_half = int(((jumps >= 3 * modulus // 8) & (jumps < 5 * modulus // 8)).sum())
    return num_whole > max(20, 2 * num_half)
