"""Header against content, on simple bodies with a known front, back, left and right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nomina.imaging.doctor_anatomy import anatomy_findings
from nomina.imaging.doctor_volume import examine_volume
from nomina.imaging.grid import Grid
from nomina.imaging.volume import Volume

Body = Callable[[], Volume]


def chest(*, top_mm: float = 300.0) -> Volume:
    """A CT of a chest, R A S at 4 mm: lungs, a heart to the left, a dome to the right, spine, sternum."""
    x, y, z = np.meshgrid(
        np.arange(-180, 180, 4), np.arange(-130, 130, 4), np.arange(0, 340, 4), indexing="ij"
    )
    values = np.full(x.shape, -1000.0)
    values[(x / 165) ** 2 + (y / 115) ** 2 < 1] = 40
    for side, base_mm in ((-1, 60.0), (1, 90.0)):
        is_lung = ((x - side * 75) / 60) ** 2 + (y / 90) ** 2 + ((z - 60) / 240) ** 2 < 1
        dome = base_mm + 30 - ((x - side * 75) ** 2 + y**2) / 150
        values[is_lung & (z > dome) & (z < top_mm)] = -850
    values[((x + 30) / 55) ** 2 + ((y - 30) / 45) ** 2 + ((z - 130) / 55) ** 2 < 1] = 40
    values[(x / 18) ** 2 + ((y + 75) / 18) ** 2 < 1] = 500
    values[(np.abs(x) < 10) & (np.abs(y - 105) < 5) & (z > 100)] = 400
    values += np.random.default_rng(0).normal(0, 15, x.shape)
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = (-180, -130, 12.5)
    return Volume(np.rint(values).astype(np.int16), Grid(x.shape, affine))


def lumbar() -> Volume:
    """A sagittal MR, R A S at 4 × 1.5 × 1.5 mm: a disc every 36 mm, a bright back, a dark front."""
    _, a, s = np.meshgrid(np.arange(9), np.arange(0, 240, 1.5), np.arange(0, 300, 1.5), indexing="ij")
    values = np.where(a < 100, 900.0, 250.0)
    is_column = np.abs(a - 100) < 16
    values[is_column] = 400 + 300 * np.sign(np.sin(2 * np.pi * s[is_column] / 36))
    values *= np.exp(-a / 200)
    values += np.random.default_rng(0).normal(0, 15, values.shape)
    affine = np.diag([4.0, 1.5, 1.5, 1])
    affine[:3, 3] = (-16, -100, 12.5)
    return Volume(np.clip(values, 0, None).astype(np.int16), Grid(values.shape, affine))


def flipped(volume: Volume, *axes: int) -> Volume:
    """The voxels in reverse, under the same header."""
    return replace(volume, array=np.flip(volume.array, axes))


def codes(volume: Volume) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in anatomy_findings(volume)]


@pytest.mark.parametrize("body", [chest, lumbar])
def test_a_body_that_lies_as_its_header_says_gives_no_finding(body: Body) -> None:
    assert examine_volume(body(), "a").findings == ()


@pytest.mark.parametrize("body", [chest, lumbar])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_the_order_of_storage_does_not_matter(body: Body, order: tuple[int, int, int]) -> None:
    volume = body()
    affine = volume.grid.affine.copy()
    affine[:, :3] = affine[:, order]
    turned = Volume(volume.array.transpose(order), Grid(tuple(volume.array.shape[n] for n in order), affine))
    assert codes(turned) == []
    axis = order.index(1)
    assert [code for code, _ in codes(flipped(turned, axis))] == ["front-back-mirrored"]


def test_a_chest_turned_front_to_back_is_an_error() -> None:
    assert codes(flipped(chest(), 1)) == [("front-back-mirrored", "error")]


def test_a_chest_turned_half_round_is_an_error_of_front_and_back() -> None:
    """As in files whose LPS directions are labelled RAS."""
    assert codes(flipped(chest(), 0, 1)) == [("front-back-mirrored", "error")]


def test_a_chest_with_the_heart_on_the_right_is_a_warning_that_says_both_signs() -> None:
    (finding,) = anatomy_findings(flipped(chest(), 0))
    assert (finding.code, finding.severity) == ("left-right-mirrored", "warning")
    assert "situs inversus" in finding.sentence


def test_one_sign_alone_does_not_decide_on_left_and_right() -> None:
    volume = chest()
    array = volume.array.copy()
    array[:, :, :40] = 40  # both bases are gone, the heart's upper half is left
    assert codes(flipped(replace(volume, array=array), 0)) == []


def test_lungs_that_the_border_cuts_are_measured() -> None:
    volume = chest()
    cut = Volume(volume.array[:, :, 25:55], Grid((90, 65, 30), volume.grid.affine))
    (finding,) = anatomy_findings(cut)
    assert (finding.code, finding.severity) == ("lungs-cut", "warning")
    assert "lower border" in finding.sentence
    assert "upper border" in finding.sentence


def test_a_lumbar_mr_turned_front_to_back_is_a_warning_with_its_ratio() -> None:
    (finding,) = anatomy_findings(flipped(lumbar(), 1))
    assert (finding.code, finding.severity) == ("front-back-mirrored", "warning")
    ratio = float(finding.sentence.split("signal is ")[1].split(" times")[0])
    assert 3 < ratio < 8


def test_without_a_column_of_discs_nothing_is_said() -> None:
    volume = lumbar()
    plain = volume.array.copy()
    plain[:, 50:90] = 400
    assert codes(flipped(replace(volume, array=plain), 1)) == []


def test_a_ct_is_not_judged_as_an_mr_nor_the_reverse() -> None:
    assert codes(replace(flipped(lumbar(), 1), modality="CT")) == []
    assert codes(replace(flipped(chest(), 1), modality="MR")) == []
