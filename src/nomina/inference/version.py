"""The version of everything between a scan and its label map, for results that are kept and compared."""

INFERENCE_VERSION = 3
"""Raised by hand, by one, with every change after which some scan may get another mask or another name for it
from the same weights: in `nomina.inference`, or in what it calls to prepare, predict, clean, name or vote.
Not raised for verdicts, messages, memory or speed (`docs/decisions/0008-bench-room.md`)."""
