"""Branches per Strahler order of a grown tree, beside the published morphometry of human lungs."""

from dataclasses import dataclass

import numpy as np

from nomina.phantoms.lung_tree import VesselTree


@dataclass(frozen=True)
class OrderRow:
    """The branches of one Strahler order."""

    order: int
    count: int
    diameter_mm: float
    """Mean over branches."""
    length_mm: float
    """Mean over branches."""


@dataclass(frozen=True)
class Ratios:
    """How number, diameter and length change from one order to the next."""

    branching: float
    diameter: float
    length: float


SINGHAL_1973 = (
    OrderRow(10, 2290, 0.85, 4.69),
    OrderRow(11, 675, 1.33, 6.60),
    OrderRow(12, 203, 2.09, 10.5),
    OrderRow(13, 66, 3.65, 17.9),
    OrderRow(14, 20, 5.82, 20.7),
    OrderRow(15, 8, 8.06, 10.9),
    OrderRow(16, 3, 14.80, 32.0),
    OrderRow(17, 1, 30.0, 90.5),
)
"""Pulmonary arteries of one cast of both lungs, orders 10 to 17: Singhal, Henderson, Horsfield, Harding &
Cumming, Circ Res 33:190 (1973). Given as the table is often reprinted; the paper was not at hand [unsure]."""

HUANG_1996 = {"arteries": Ratios(3.36, 1.56, 1.49), "veins": Ratios(3.33, 1.58, 1.50)}
"""Mean ratios over 15 diameter-defined orders: Huang, Yen, McLaurine & Bledsoe, J Appl Physiol 81:2123
(1996). That there are 15 orders is in the abstract; the ratios are as commonly quoted [unsure]."""


def order_rows(tree: VesselTree) -> tuple[OrderRow, ...]:
    """Number, mean diameter and mean length of the branches of each Strahler order, order 1 first.

    A branch is a run of edges of one order, whatever smaller branches leave it (as Strahler and Horsfield
    count; Huang's "element").
    """
    orders, lengths = tree.strahler_orders, tree.lengths_mm
    branch = np.full(len(orders), -1)
    count = 0
    continued: set[int] = set()
    for node in tree.edges:
        parent = int(tree.parents[node])
        is_same = branch[parent] >= 0 and orders[node] == orders[parent] and parent not in continued
        if is_same:
            branch[node] = branch[parent]
            continued.add(parent)
        else:
            branch[node], count = count, count + 1
    edges = tree.edges
    length = np.bincount(branch[edges], weights=lengths[edges], minlength=count)
    section = np.bincount(branch[edges], weights=(2 * tree.radii_mm * lengths)[edges], minlength=count)
    order = np.zeros(count, dtype=int)
    order[branch[edges]] = orders[edges]
    return tuple(
        OrderRow(
            order=int(number),
            count=int((order == number).sum()),
            diameter_mm=float((section[order == number] / length[order == number]).mean()),
            length_mm=float(length[order == number].mean()),
        )
        for number in range(1, int(order.max()) + 1)
        if (order == number).any()
    )


def ratios(rows: tuple[OrderRow, ...]) -> Ratios:
    """Antilog of the slope of the logarithm of each mean against the order, by least squares."""
    order = np.array([row.order for row in rows])

    def slope(values: list[float]) -> float:
        return float(np.polyfit(order, np.log(values), 1)[0])

    return Ratios(
        branching=float(np.exp(-slope([row.count for row in rows]))),
        diameter=float(np.exp(slope([row.diameter_mm for row in rows]))),
        length=float(np.exp(slope([row.length_mm for row in rows]))),
    )


def morphometry_table(arteries: VesselTree, veins: VesselTree) -> str:
    """A Markdown table of both trees beside the published orders of the nearest diameter."""
    lines = [
        "| order | arteries: n, mm ∅, mm long | veins: n, mm ∅, mm long | Singhal 1973, like diameter |",
        "|---|---|---|---|",
    ]
    both = (order_rows(arteries), order_rows(veins))
    for number in range(1, max(len(rows) for rows in both) + 1):
        cells = [next((_cell(row) for row in rows if row.order == number), "") for rows in both]
        like = next((row for row in both[0] if row.order == number), None)
        cells.append(_published(like) if like else "")
        lines.append(f"| {number} | {' | '.join(cells)} |")
    own = [ratios(rows) for rows in both]
    lines.append(
        "| ratios: n, ∅, length | " + " | ".join(_ratio_cell(r) for r in (*own, ratios(SINGHAL_1973))) + " |"
    )
    lines.append(
        "| Huang 1996 | " + " | ".join(_ratio_cell(HUANG_1996[n]) for n in ("arteries", "veins")) + " | |"
    )
    return "\n".join(lines)


def _cell(row: OrderRow) -> str:
    return f"{row.count}, {row.diameter_mm:.2f}, {row.length_mm:.1f}"


def _published(row: OrderRow) -> str:
    gaps = [abs(np.log(known.diameter_mm / row.diameter_mm)) for known in SINGHAL_1973]
    known = SINGHAL_1973[int(np.argmin(gaps))]
    return f"order {known.order}: {_cell(known)}"


def _ratio_cell(value: Ratios) -> str:
    return f"{value.branching:.2f}, {value.diameter:.2f}, {value.length:.2f}"
