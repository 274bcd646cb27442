"""Turn a trained run's checkpoint into the small one that is shipped: half-precision weights.

python scripts/ship_checkpoint.py runs/spine-mr/best src/nomina/checkpoints/spine-mr

A calibration of verdict scores belongs to the weights it was fitted with and is left out: fit it again with
`benchmarks/calibrate_verdicts.py`.
"""

import sys
from pathlib import Path

import torch

from nomina.networks.checkpoint import load_checkpoint, save_checkpoint

MAX_BYTES = 25_000_000


def main(source: Path, target: Path) -> None:
    """Write `target`; a model card already there is kept."""
    checkpoint = load_checkpoint(source)
    weights = checkpoint.network.state_dict()
    size = 2 * sum(value.numel() for value in weights.values())
    if size > MAX_BYTES:
        raise SystemExit(
            f"its weights take {size / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} may be shipped"
        )
    card = target / "MODEL_CARD.md"
    text = card.read_text(encoding="utf-8") if card.exists() else None
    save_checkpoint(
        target,
        weights=weights,
        cfg=checkpoint.config,
        structures=checkpoint.structures,
        bank=checkpoint.bank,
        run={key: value for key, value in checkpoint.run.items() if key != "files"},
        dtype=torch.float16,
    )
    if text is not None:
        card.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
