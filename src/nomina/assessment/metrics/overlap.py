"""How much of two masks coincides: Dice, and the table of voxels that every pair of labels shares."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from nomina.errors import GridMismatchError


def dice(prediction: Bool[np.ndarray, "i j k"], reference: Bool[np.ndarray, "i j k"]) -> float:
    """Twice the shared voxels over the sum of both masks' voxels.

    Args:
        prediction: Predicted mask.
        reference: Reference mask on the same grid.

    Returns:
        0 to 1; `nan` if both masks are empty, 0.0 if exactly one is.

    Raises:
        GridMismatchError: The masks differ in shape.

    Example:
        >>> dice(np.array([[[True, True, False]]]), np.array([[[False, True, True]]]))
        0.5
    """
    check_shapes(prediction, reference)
    shared = int(np.count_nonzero(prediction & reference))
    return dice_of_counts(shared, int(np.count_nonzero(prediction)), int(np.count_nonzero(reference)))


def check_shapes(first: Shaped[np.ndarray, "..."], second: Shaped[np.ndarray, "..."]) -> None:
    """Refuse arrays of different shape.

    Raises:
        GridMismatchError: They differ.
    """
    if first.shape != second.shape:
        raise GridMismatchError(
            f"arrays of shapes {first.shape} and {second.shape} cannot be compared; bring both to one grid"
        )


def dice_of_counts(num_shared: int, num_prediction: int, num_reference: int) -> float:
    """Dice from voxel counts; `nan` if both masks are empty."""
    total = num_prediction + num_reference
    return 2.0 * num_shared / total if total else float("nan")


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Voxels that each reference label shares with each predicted label; background (0) is a label here."""

    reference_values: Integer[np.ndarray, " r"]
    """Label values of the rows, ascending."""
    prediction_values: Integer[np.ndarray, " p"]
    """Label values of the columns, ascending."""
    counts: Integer[np.ndarray, "r p"]
    """Number of voxels; those that are background in both are not counted."""

    def shared(self, reference_value: int, prediction_value: int) -> int:
        """Voxels with both values; 0 for a value that occurs nowhere."""
        rows = self.reference_values == reference_value
        columns = self.prediction_values == prediction_value
        return int(self.counts[np.ix_(rows, columns)].sum())

    def num_reference(self, value: int) -> int:
        """Voxels of a reference label."""
        return int(self.counts[self.reference_values == value].sum())

    def num_prediction(self, value: int) -> int:
        """Voxels of a predicted label."""
        return int(self.counts[:, self.prediction_values == value].sum())

    def dice(self, reference_value: int, prediction_value: int) -> float:
        """Dice of a reference label and a predicted label; `nan` if neither has voxels."""
        return dice_of_counts(
            self.shared(reference_value, prediction_value),
            self.num_prediction(prediction_value),
            self.num_reference(reference_value),
        )

    def ious(self) -> Float[np.ndarray, "r p"]:
        """Intersection over union of every reference label and every predicted label."""
        union = self.counts.sum(axis=1)[:, None] + self.counts.sum(axis=0)[None, :] - self.counts
        return self.counts / union


def ranked(values: Integer[np.ndarray, " n"]) -> tuple[Integer[np.ndarray, " u"], Integer[np.ndarray, " n"]]:
    """The distinct values, ascending, and the position of every value among them."""
    # Label maps have few distinct values: a binary search beats np.unique(return_inverse=True).
    distinct = np.unique(values)
    return distinct, np.searchsorted(distinct, values)


def count_overlaps(
    prediction: Integer[np.ndarray, "i j k"], reference: Integer[np.ndarray, "i j k"]
) -> Overlaps:
    """Count the voxels of every pair of labels in one pass.

    Raises:
        GridMismatchError: The arrays differ in shape.
    """
    check_shapes(prediction, reference)
    foreground = (prediction != 0) | (reference != 0)
    reference_values, rows = ranked(reference[foreground])
    prediction_values, columns = ranked(prediction[foreground])
    shape = (len(reference_values), len(prediction_values))
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    return Overlaps(reference_values, prediction_values, counts)
