"""Named pieces grow into their fringe: a network names where it is sure, and what it doubts has an extent."""

import itertools

import numpy as np
from jaxtyping import Bool, UInt8


def grown(
    classes: UInt8[np.ndarray, "i j k"], fringe: Bool[np.ndarray, "i j k"]
) -> UInt8[np.ndarray, "i j k"]:
    """Class indices spread over the fringe that hangs on them, a voxel at a time (26 neighbours).

    A voxel takes the class that most of its neighbours have, the lower index where they tie. What hangs on
    no class stays 0.

    Args:
        classes: 0 is background; kept as they are.
        fringe: Where classes may grow.
    """
    padded = np.pad(classes, 1)
    flat = padded.ravel()
    free = np.flatnonzero(np.pad(fringe, 1) & (padded == 0))
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    steps = [int(np.dot(step, strides)) for step in itertools.product((-1, 0, 1), repeat=3)]
    num_classes = int(classes.max(initial=0))
    while free.size:
        votes = np.zeros((num_classes + 1, free.size), dtype=np.uint8)
        for step in steps:
            neighbours = flat[free + step]
            for index in range(1, num_classes + 1):
                votes[index] += neighbours == index
        is_reached = votes.any(axis=0)
        if not is_reached.any():
            break
        flat[free[is_reached]] = votes[:, is_reached].argmax(axis=0)
        free = free[~is_reached]
    return padded[1:-1, 1:-1, 1:-1]
