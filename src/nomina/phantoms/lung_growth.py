"""Space colonisation: branches grow towards the points of a volume until each has been reached.

After Runions et al., "Modeling trees with a space colonization algorithm", Eurographics Workshop on Natural
Phenomena 2007. Departures [choice]: an attractor pulls the node of least distance + `balance` × way from
the root instead of the nearest one (as in Cuntz et al., PLoS Comput Biol 6:e1000877, 2010), which makes side
branches leave at acute angles; attractors pull from any distance; obstacles push growing tips aside.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

Push = Callable[[np.ndarray], np.ndarray]
"""Points (n, 3) in mm → vector per point that is added to the unit direction of growth."""


@dataclass(frozen=True)
class GrowthRule:
    """How branches grow."""

    step_mm: float = 2.5
    """Length of a new edge [choice]."""
    reach_mm: float = 2.5
    """An attractor nearer than this is reached [choice]."""
    balance: float = 0.35
    """Cost of 1 mm of way from the root in mm of distance [choice: branching angles]."""
    persistence: float = 0.35
    """Weight of the parent's direction [choice: smooth branches]."""
    wander: float = 0.12
    """SD of the random part of a direction [choice]."""
    max_steps: int = 400
    """Growth stops after so many steps, whatever is left [choice]."""


DEFAULT_RULE = GrowthRule()


@dataclass
class Skeleton:
    """A growing tree: nodes with parents, no radii yet. Parents come before children."""

    points_mm: Float[np.ndarray, "n 3"]
    parents: Int[np.ndarray, " n"]
    ways_mm: Float[np.ndarray, " n"] = field(init=False)
    """Length of the way from the root to each node."""

    def __post_init__(self) -> None:
        self.ways_mm = np.zeros(0)
        self._measure()

    def directions(self) -> Float[np.ndarray, "n 3"]:
        """Unit vector of the edge that ends at each node; 0 at a root."""
        vector = self.points_mm - self.points_mm[np.maximum(self.parents, 0)]
        return vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-9)

    def extend(self, points_mm: np.ndarray, parents: np.ndarray) -> None:
        """Add nodes behind the ones there are; parents may be among the new ones that come before."""
        self.points_mm = np.concatenate([self.points_mm, points_mm])
        self.parents = np.concatenate([self.parents, parents])
        self._measure()

    def _measure(self) -> None:
        """Ways of the nodes that have none yet."""
        first = len(self.ways_mm)
        self.ways_mm = np.concatenate([self.ways_mm, np.zeros(len(self.parents) - first)])
        lengths = np.linalg.norm(self.points_mm[first:] - self.points_mm[self.parents[first:]], axis=1)
        for node, (parent, length) in enumerate(zip(self.parents[first:], lengths, strict=True), start=first):
            if parent >= 0:
                self.ways_mm[node] = self.ways_mm[parent] + length


def grow(
    skeleton: Skeleton,
    attractors_mm: Float[np.ndarray, "a 3"],
    rng: np.random.Generator,
    rule: GrowthRule = DEFAULT_RULE,
    push: Push | None = None,
) -> Skeleton:
    """A skeleton that reaches the attractors, grown from a given one (which is not changed).

    Attractors that can only pull a node to where there is one already are given up; that is rare. Twigs that
    lead to no attractor are taken away again.
    """
    tree = Skeleton(skeleton.points_mm.copy(), skeleton.parents.copy())
    left = attractors_mm
    nearest, cost = np.zeros(len(left), dtype=int), np.full(len(left), np.inf)
    first_new, goals = 0, [np.arange(len(tree.parents))]
    for _ in range(rule.max_steps):
        new = tree.points_mm[first_new:]
        distance = np.linalg.norm(left[:, None] - new[None], axis=2)
        total = distance + rule.balance * tree.ways_mm[None, first_new:]
        best = total.argmin(1)
        is_better = total[np.arange(len(left)), best] < cost
        nearest = np.where(is_better, best + first_new, nearest)
        cost = np.where(is_better, total[np.arange(len(left)), best], cost)
        waits = distance.min(1) > rule.reach_mm
        goals.append(distance[~waits].argmin(1) + first_new)
        left, nearest, cost = left[waits], nearest[waits], cost[waits]
        if not len(left):
            break
        first_new = len(tree.parents)
        stuck = _sprout(tree, left, nearest, rng, rule, push)
        left, nearest, cost = left[~stuck], nearest[~stuck], cost[~stuck]
        if not len(left) or first_new == len(tree.parents):
            break
    tree = _leading_to(tree, np.concatenate(goals))
    return Skeleton(tree.points_mm, _forked_in_two(tree, len(skeleton.parents), rule))


def _leading_to(tree: Skeleton, goals: np.ndarray) -> Skeleton:
    """The nodes that lie on the way from the root to some nodes."""
    keeps = np.zeros(len(tree.parents), dtype=bool)
    keeps[goals] = True
    for node in range(len(keeps) - 1, 0, -1):
        if keeps[node] and tree.parents[node] >= 0:
            keeps[tree.parents[node]] = True
    number = np.cumsum(keeps) - 1
    parents = tree.parents[keeps]
    return Skeleton(tree.points_mm[keeps], np.where(parents >= 0, number[np.maximum(parents, 0)], -1))


def _sprout(
    tree: Skeleton,
    attractors: np.ndarray,
    nearest: np.ndarray,
    rng: np.random.Generator,
    rule: GrowthRule,
    push: Push | None,
) -> np.ndarray:
    """Add one child to every node that is pulled; returns which attractors pull in vain."""
    pulled, group = np.unique(nearest, return_inverse=True)
    pull = attractors - tree.points_mm[nearest]
    distance = np.linalg.norm(pull, axis=1)
    pull /= distance[:, None]
    direction = np.zeros((len(pulled), 3))
    np.add.at(direction, group, pull)
    direction = _unit(direction) + rule.persistence * tree.directions()[pulled]
    direction += rule.wander * rng.standard_normal(direction.shape)
    if push is not None:
        direction += push(tree.points_mm[pulled])
    points = tree.points_mm[pulled] + rule.step_mm * _unit(direction)
    # Attractors on opposite sides can pull a node to one place again and again; then the nearest one wins.
    order = np.lexsort((distance, group))
    first = order[np.searchsorted(group[order], np.arange(len(pulled)))]
    is_taken = _room(points, tree) < 0.4 * rule.step_mm
    points[is_taken] = (tree.points_mm[pulled] + rule.step_mm * pull[first])[is_taken]
    is_free = _room(points, tree) >= 0.4 * rule.step_mm
    tree.extend(points[is_free], pulled[is_free])
    return ~is_free[group]


def _forked_in_two(tree: Skeleton, first: int, rule: GrowthRule) -> np.ndarray:
    """Parents after a third child has been hung on its nearest sibling, unless it leaves the other way."""
    parents = tree.parents.copy()
    children: dict[int, list[int]] = {}
    for node in range(1, first):
        children.setdefault(int(parents[node]), []).append(node)
    for node in range(first, len(parents)):
        above = int(parents[node])
        while len(children.get(above, ())) >= 2:
            siblings = np.array(children[above])
            gap = np.linalg.norm(tree.points_mm[siblings] - tree.points_mm[node], axis=1)
            if gap.min() > 1.3 * rule.step_mm:
                break
            above = int(siblings[gap.argmin()])
        parents[node] = above
        children.setdefault(above, []).append(node)
    return parents


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _room(points: np.ndarray, tree: Skeleton) -> np.ndarray:
    """Distance of each point to the nearest node."""
    return np.linalg.norm(points[:, None] - tree.points_mm[None], axis=2).min(1)


def smoothed(
    points_mm: Float[np.ndarray, "n 3"],
    parents: Int[np.ndarray, " n"],
    is_fixed: np.ndarray,
    rounds: int = 6,
) -> Float[np.ndarray, "n 3"]:
    """Positions after drawing every free inner node towards the middle of its parent and its children."""
    points = points_mm.copy()
    has_parent = np.flatnonzero(parents >= 0)
    count = np.bincount(parents[has_parent], minlength=len(parents))
    moves = (parents >= 0) & (count > 0) & ~is_fixed
    for _ in range(rounds):
        below = np.zeros_like(points)
        np.add.at(below, parents[has_parent], points[has_parent])
        middle = 0.5 * (below / np.maximum(count, 1)[:, None] + points[np.maximum(parents, 0)])
        points[moves] += 0.5 * (middle - points)[moves]
    return points
