"""What a network hears beside the words: the modes of a `Segmenter`, and which of them a checkpoint knows."""

from collections.abc import Mapping
from typing import Literal, get_args

from nomina.errors import CheckpointError, ConfigError
from nomina.language.prompts import image_statements, require_sayable
from nomina.networks.atm_net import ATMNet
from nomina.networks.checkpoint import Checkpoint
from nomina.networks.la_caf import LACAF

ImageViewMode = Literal["predicted", "constant", "self", "header"]
"""Image view at test time: `predicted` reads facts off the picture (mode B), `constant` says one generic
sentence (mode A), `self` segments so first and then says what it found (mode C), `header` says the MR
weighting of the scan's header alone (mode D). None can see a reference."""

PromptMode = Literal[ImageViewMode, "class prompts", "none"]
"""What a network hears: one of the image views where it has one (ATM-Net), `class prompts` where it hears a
constant sentence per class (LA-CAF), `none` where it hears no words."""

Teller = Literal["user", "simulated user", "oracle", "shuffled", "shifted"]
"""Who says the facts: a person (mode E), a reference in a person's place, a reference (upper bound only), or
nobody in earnest: facts that are wrong on purpose."""


def known_mode(checkpoint: Checkpoint, mode: str | None) -> str:
    """The mode, or the usual one; only those that the network can tell apart are known.

    Raises:
        ConfigError: The network has no such mode.
    """
    known: tuple[str, ...] = ("none",)
    if isinstance(checkpoint.network, ATMNet):
        known = get_args(ImageViewMode)
    elif isinstance(checkpoint.network, LACAF):
        known = ("class prompts",)
    elif mode == "predicted":
        # Run cards of before `none` had a name say so of a network without words; it heard none either.
        return "none"
    if mode is not None and mode not in known:
        raise ConfigError(
            f"mode must be one of {', '.join(known)} for checkpoint {checkpoint.name}, got {mode!r}"
        )
    return known[0] if mode is None else mode


def require_tellable(checkpoint: Checkpoint, said: Mapping[str, str], teller: str) -> None:
    """Refuse facts that cannot be told to the network.

    Args:
        checkpoint: Whose network is to hear them.
        said: Value of each statement.
        teller: What the network cannot hear is refused from a `user`, and passed over from the others.

    Raises:
        CheckpointError: The network hears no words.
        PromptError: There is no such statement; or a user says nothing, or what the model cannot say.
        ConfigError: There is no such teller.
    """
    if not isinstance(checkpoint.network, ATMNet):
        raise CheckpointError(f"checkpoint {checkpoint.name} hears no words, so nothing can be told to it")
    if teller not in get_args(Teller):
        raise ConfigError(f"teller must be one of {', '.join(get_args(Teller))}, got {teller!r}")
    if teller == "user":
        require_sayable(said, image_statements(checkpoint.structures))
