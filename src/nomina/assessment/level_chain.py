"""The most likely way through a chain of states, and how likely each state is: Viterbi and forward-backward.

Numbers only: what nodes and states mean is said in `level_column` and `level_finding`. All scores are natural
logarithms of probabilities that need not add up to one; −inf is impossible.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer


@dataclass(frozen=True, eq=False)
class Chain:
    r"""Nodes in order, each in one of the same states.

    A path has the score $\sum_i a_{i, s_i} + \sum_i b_{i, s_i, s_{i+1}}$, and the probability of a path is
    the exponential of its score over that of all paths.
    """

    scores: Float[np.ndarray, "n s"]
    """a: score of each node in each state."""
    steps: Float[np.ndarray, "m s s"]
    """b: score of going from a state of node i (first axis of states) to one of node i + 1; m = n − 1."""


def best_path(chain: Chain) -> tuple[Integer[np.ndarray, " n"], float]:
    """State of each node on the path with the highest score, and that score.

    Of equal paths the one with the lower states at the end wins. The score is −inf where every path is
    impossible; the states then mean nothing.
    """
    best = chain.scores[0]
    came_from = []
    for scores, steps in zip(chain.scores[1:], chain.steps, strict=True):
        reached = best[:, None] + steps
        came_from.append(reached.argmax(axis=0))
        best = reached.max(axis=0) + scores
    path = [int(best.argmax())]
    for origins in reversed(came_from):
        path.append(int(origins[path[-1]]))
    return np.array(path[::-1]), float(best.max())


def marginals(chain: Chain) -> tuple[Float[np.ndarray, "n s"], float]:
    """Probability of each state at each node, and the logarithm of the sum over all paths.

    The probabilities of a chain without a possible path are all 0, with a sum of −inf.
    """
    upwards = [chain.scores[0]]
    for scores, steps in zip(chain.scores[1:], chain.steps, strict=True):
        upwards.append(_log_sum(upwards[-1][:, None] + steps, 0) + scores)
    downwards = [np.zeros(chain.scores.shape[1])]
    for scores, steps in zip(chain.scores[:0:-1], chain.steps[::-1], strict=True):
        downwards.append(_log_sum(steps + (scores + downwards[-1])[None, :], 1))
    total = float(_log_sum(upwards[-1], 0))
    if not np.isfinite(total):
        return np.zeros(chain.scores.shape), -np.inf
    return np.exp(np.array(upwards) + np.array(downwards[::-1]) - total), total


def mixed_marginals(
    chains: Sequence[Chain], weights: Float[np.ndarray, " c"]
) -> tuple[Float[np.ndarray, "n s"], Float[np.ndarray, " c"]]:
    """Probability of each state when one of several chains holds, and the probability of each chain.

    Args:
        chains: Over the same nodes and states.
        weights: Probability of each chain before its scores are seen; they need not add up to one.
    """
    found = [marginals(chain) for chain in chains]
    with np.errstate(divide="ignore"):
        evidence = np.log(weights) + np.array([total for _, total in found])
    if not np.isfinite(evidence.max()):
        return np.zeros(chains[0].scores.shape), np.zeros(len(chains))
    shares = np.exp(evidence - _log_sum(evidence, 0))
    return np.einsum("c,cns->ns", shares, np.array([of_states for of_states, _ in found])), shares


def _log_sum(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Logarithm of the sum of exponentials along an axis; −inf where all are."""
    highest = values.max(axis=axis, keepdims=True)
    shift = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        # Of one axis alone NumPy makes a scalar, which is no array.
        return np.asarray(np.log(np.exp(values - shift).sum(axis=axis)) + shift.squeeze(axis))
