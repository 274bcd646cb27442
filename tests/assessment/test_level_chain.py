"""Viterbi and forward-backward against the enumeration of every path."""

from itertools import pairwise, product

import numpy as np
import pytest

from nomina.assessment.level_chain import Chain, best_path, marginals, mixed_marginals


def random_chain(rng: np.random.Generator, nodes: int = 4, states: int = 3) -> Chain:
    """Scores of any size, a fifth of the steps and states impossible."""
    scores = rng.normal(0, 2, (nodes, states))
    steps = rng.normal(0, 2, (nodes - 1, states, states))
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    steps[rng.random(steps.shape) < 0.2] = -np.inf
    return Chain(scores, steps)


def all_paths(chain: Chain) -> dict[tuple[int, ...], float]:
    nodes, states = chain.scores.shape
    return {
        path: sum(chain.scores[i, s] for i, s in enumerate(path))
        + sum(chain.steps[i, a, b] for i, (a, b) in enumerate(pairwise(path)))
        for path in product(range(states), repeat=nodes)
    }


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("nodes", "states"), [(1, 3), (2, 4), (4, 3), (5, 2)])
def test_the_best_path_and_the_marginals_are_those_of_all_paths(seed: int, nodes: int, states: int) -> None:
    chain = random_chain(np.random.default_rng(seed), nodes, states)
    paths = all_paths(chain)
    best, score = best_path(chain)
    shares, total = marginals(chain)
    if not np.isfinite(max(paths.values())):
        assert score == total == -np.inf
        assert not shares.any()
        return
    assert score == pytest.approx(max(paths.values()))
    assert paths[tuple(best.tolist())] == pytest.approx(score)
    weights = {path: np.exp(value) for path, value in paths.items()}
    assert total == pytest.approx(np.log(sum(weights.values())))
    expected = np.zeros((nodes, states))
    for path, weight in weights.items():
        expected[np.arange(nodes), path] += weight / sum(weights.values())
    np.testing.assert_allclose(shares, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_a_mixture_weighs_each_chain_by_all_its_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chains, weights = [random_chain(rng), random_chain(rng)], np.array([0.7, 0.1])
    sums = [w * sum(np.exp(list(all_paths(c).values()))) for c, w in zip(chains, weights, strict=True)]
    shares, of_chains = mixed_marginals(chains, weights)
    np.testing.assert_allclose(of_chains, np.array(sums) / sum(sums))
    apart = [marginals(chain)[0] for chain in chains]
    np.testing.assert_allclose(shares, (sums[0] * apart[0] + sums[1] * apart[1]) / sum(sums), atol=1e-12)


def test_scores_far_below_zero_do_not_underflow() -> None:
    chain = random_chain(np.random.default_rng(1))
    lowered = Chain(chain.scores - 5000, chain.steps)
    np.testing.assert_allclose(marginals(lowered)[0], marginals(chain)[0], atol=1e-9)
