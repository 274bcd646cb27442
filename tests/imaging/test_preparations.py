"""Rules that hold for every kind of preparation."""

import numpy as np
import pytest

from nomina.imaging.ct_preparation import CTPreparation
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation
from nomina.imaging.preparations import coarse_notes

CT = CTPreparation(spacing_mm=1.5)
MR = ImagePreparation(in_plane_spacing_mm=0.75)


@pytest.mark.parametrize(
    ("preparation", "spacing_mm", "said"),
    [
        (CT, (0.7, 0.7, 4.0), "along superior that is more than 2 times the 1.5 mm"),
        (CT, (3.5, 3.5, 4.0), "along right, anterior, superior that"),
        (CT, (1.4, 1.4, 3.0), None),
        # Slices are not resampled: however far apart, the network knows no others.
        (MR, (5.0, 0.5, 0.5), None),
        (MR, (4.0, 1.4, 1.4), None),
        (MR, (4.0, 1.6, 0.6), "along anterior that is more than 2 times the 0.75 mm"),
    ],
)
def test_a_scan_much_coarser_than_the_networks_grid_is_said_to_be(
    preparation: CTPreparation | ImagePreparation, spacing_mm: tuple[float, float, float], said: str | None
) -> None:
    notes = coarse_notes(Grid((20, 30, 40), np.diag([*spacing_mm, 1.0])), preparation)
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]
