"""A case is measured once with the same weights, scoring and inference, and anew where one differs."""

from pathlib import Path

import numpy as np
import pytest

from nomina.anatomy.structures import structure
from nomina.assessment.folders import Scoring
from nomina.bench.measure import Maker, measure, read_measured
from nomina.bench.modes import Mode
from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap
from nomina.imaging.write import write
from nomina.learning.cases import Case

SCORING = Scoring(scheme="nomina", prediction_scheme="nomina")


class Counting:
    """A network that always finds the same canal, and how often it was asked."""

    def __init__(self) -> None:
        value = structure("spinal canal").label
        array = np.zeros((6, 8, 8), dtype=np.uint8)
        array[2:4, 2:5, 1:7] = value
        self.label_map = LabelMap(
            array, Grid(array.shape, np.eye(4)), names={value: "spinal canal"}, scheme="nomina"
        )
        self.num_asked = 0

    def predict(self, index: int, mode: Mode) -> LabelMap:
        self.num_asked += 1
        return self.label_map

    def is_wrong(self, index: int, mode: Mode) -> bool:
        return True

    def comparable(self, label_map: LabelMap) -> LabelMap:
        return label_map


@pytest.mark.parametrize(("version", "times"), [(3, 1), (4, 2)])
def test_a_resumed_grid_keeps_no_masks_of_another_inference(tmp_path: Path, version: int, times: int) -> None:
    server = Counting()
    reference = tmp_path / "reference.nii.gz"
    write(server.label_map, reference)
    case = Case(
        id="a", patient="p", volume_path=reference, label_map_path=reference, scheme="nomina", dataset="boxes"
    )
    folder = tmp_path / "modes"
    measure(server, [case], ["none"], folder, SCORING, maker=Maker("d", 3))
    assert len(read_measured(Maker("d", 3), [case], "none", folder, SCORING)) == 1
    maker = Maker("d", version)
    assert len(read_measured(maker, [case], "none", folder, SCORING)) == 2 - times
    measure(server, [case], ["none"], folder, SCORING, maker=maker)
    assert server.num_asked == times
    assert len(read_measured(maker, [case], "none", folder, SCORING)) == 1
