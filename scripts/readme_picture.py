"""Shrink an overlay picture for the README: 600 pixels wide, 160 colours.

nomina demo && python scripts/readme_picture.py demo/phantom_seg.png docs/images/overlay.png
"""

import sys
from pathlib import Path

from PIL import Image

WIDTH_PX = 600
MAX_BYTES = 150_000


def main(source: Path, target: Path) -> None:
    """Write `target`; fails where it would be too large for a repository."""
    with Image.open(source) as picture:
        height = round(picture.height * WIDTH_PX / picture.width)
        small = picture.convert("RGB").resize((WIDTH_PX, height), Image.Resampling.LANCZOS)
    small.quantize(160, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        target, optimize=True
    )
    if target.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{target} has {target.stat().st_size} bytes, at most {MAX_BYTES} are allowed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
