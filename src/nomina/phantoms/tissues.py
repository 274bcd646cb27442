"""The tissues that a spine phantom is made of."""

TISSUES = (
    "air",
    "skin",
    "subcutaneous fat",
    "visceral fat",
    "muscle",
    "fatty muscle",
    "ligament",
    "bowel",
    "bowel fluid",
    "organ",
    "vessel",
    "cortical bone",
    "marrow",
    "marrow lesion",
    "basivertebral vein",
    "annulus",
    "nucleus",
    "dehydrated nucleus",
    "degenerated nucleus",
    "sacral disc",
    "epidural fat",
    "csf",
    "cord",
    "cauda equina",
    "nerve root",
)
"""Names; the position is the value in `SpinePhantom.tissues`. Sacrum and ribs are bone and marrow too."""

INDEX = {name: index for index, name in enumerate(TISSUES)}
"""Value of each tissue name."""

BONE = ("cortical bone", "marrow", "marrow lesion", "basivertebral vein")
"""What lies inside a vertebra label."""

DISC = ("annulus", "nucleus", "dehydrated nucleus", "degenerated nucleus")
"""What lies inside a disc label."""

CANAL = ("csf", "cord", "cauda equina")
"""What lies inside the canal label: the dural sac without the epidural fat, as SPIDER draws it."""
