"""Versions of everything between a scan and its scores, for results that are kept and compared.

Each is raised by hand, by one, with every change after which some scan may get another mask, another name
for it, or other scores, from the same weights: in `nomina.inference`, in what it calls to prepare, predict,
clean, name or vote, or in what scores the result. Not raised for verdicts, messages, memory or speed
(`docs/decisions/0008-bench-room.md`).
"""

SLICE_INFERENCE = 3
"""Of networks of slices."""

BLOCK_INFERENCE = 5
"""Of networks of blocks."""
