"""Damaged and hostile files for `scripts/fuzz_readers.py`."""
