"""Misspelt words → the one known word that was meant.

Numbers, ordinals, Roman numerals and the names of single vertebrae ("atlas") are taken literally or not at
all, and a side only where two of its own letters are swapped ("lfet", "rigth"), so that no correction moves a
level or a side.
"""

from collections.abc import Mapping

from nomina.anatomy.lexicon import CORRECTABLE, MISSPELT, Word
from nomina.anatomy.sides import SIDES


def corrected(token: str, known: Mapping[str, Word]) -> str | None:
    """The one known word that `token` misspells, or None where there is none or more than one.

    One edit is allowed, two from 8 letters on, and the first letter must be right: few people misspell it,
    and that rule keeps "banal" from becoming "canal".
    """
    if token in MISSPELT:
        return MISSPELT[token]
    for side in SIDES:
        if token[0] == side[0] and sorted(token) == sorted(side) and _edits(token, side) == 1:
            return side
    if not 5 <= len(token) <= 20:
        return None
    near: dict[int, set[str]] = {}
    for word in CORRECTABLE:
        if word[0] == token[0]:
            near.setdefault(_edits(token, word), set()).add(word)
    for edits in range(1, 3 if len(token) >= 8 else 2):
        if edits in near:
            meanings = {(known[word].kind, known[word].text) for word in near[edits]}
            singular_first = sorted(near[edits], key=lambda word: (known[word].is_plural, word))
            return singular_first[0] if len(meanings) == 1 else None
    return None


def _edits(a: str, b: str) -> int:
    """Letters inserted, deleted, replaced or swapped with their neighbour to turn `a` into `b`."""
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
