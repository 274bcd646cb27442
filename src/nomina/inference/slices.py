"""A prepared scan through a network of slices: where it looks, what it hears, which class each voxel has."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from nomina.anatomy.structures import structure
from nomina.errors import CheckpointError
from nomina.imaging.grid import Grid
from nomina.imaging.preparation import ImagePreparation
from nomina.inference.native_grid import ClassMap, winning_classes
from nomina.language.prompts import image_statements, said_choices
from nomina.networks.atm_net import ATMNet
from nomina.networks.build import SliceNetwork
from nomina.networks.checkpoint import Checkpoint
from nomina.networks.la_caf import LACAF, LACAFConfig
from nomina.networks.predict import PredictedFacts, predict_facts, predict_slices, structure_window
from nomina.networks.words import EncodedPrompts, encode_prompts


def slice_network(checkpoint: Checkpoint) -> tuple[SliceNetwork, int]:
    """The network and how many slices it sees at once.

    Raises:
        CheckpointError: It is a network of blocks.
    """
    network, cfg = checkpoint.network, checkpoint.config.network
    if isinstance(network, LACAF) or isinstance(cfg, LACAFConfig):
        raise CheckpointError(
            f"checkpoint {checkpoint.name} holds a la_caf network, which sees blocks of voxels, not slices"
        )
    return network, cfg.num_slices


def slice_preparation(checkpoint: Checkpoint) -> ImagePreparation:
    """How a scan is made ready for the network.

    Raises:
        CheckpointError: The preparation is one of blocks.
    """
    preparation = checkpoint.config.preparation
    if not isinstance(preparation, ImagePreparation):
        raise CheckpointError(
            f"checkpoint {checkpoint.name} has a network of slices and the preparation of blocks"
        )
    return preparation


def slice_words(checkpoint: Checkpoint) -> EncodedPrompts:
    """Every sentence about the checkpoint's structures, where its network is."""
    words = encode_prompts(checkpoint.bank, checkpoint.structures)
    return words.to(next(checkpoint.network.parameters()).device)


def look_for_window(checkpoint: Checkpoint, image: Float[np.ndarray, "i j k"], batch_size: int) -> slice:
    """Columns along A in which the structures lie; see `structure_window`."""
    network, num_slices = slice_network(checkpoint)
    return structure_window(
        network,
        image,
        slice_words(checkpoint),
        num_slices=num_slices,
        width=checkpoint.config.window_px,
        batch_size=batch_size,
    )


def words_and_facts(
    checkpoint: Checkpoint,
    image: Float[np.ndarray, "i j k"],
    window: slice,
    mode: str,
    said: Mapping[str, str] | None,
    batch_size: int,
) -> tuple[EncodedPrompts, PredictedFacts | None]:
    """What the network is to hear, and the facts that it read off the picture; None where it hears no words.

    Args:
        checkpoint: Holds a network of slices.
        image: The prepared scan.
        window: See `look_for_window`.
        mode: See `nomina.inference.modes.PromptMode`.
        said: Value of each statement that is made; None: what the mode says.
        batch_size: Slices at once.
    """
    network, num_slices = slice_network(checkpoint)
    words = slice_words(checkpoint)
    if not isinstance(network, ATMNet):
        return words, None
    facts = predict_facts(network, image, num_slices=num_slices, batch_size=batch_size, window=window)
    if mode == "constant":
        return words.constant(1), facts
    if said is not None:
        statements = image_statements(checkpoint.structures)
        return words.saying([said_choices(said, statements)]), facts
    return words.given(facts.statements), facts


def classify_slices(
    checkpoint: Checkpoint,
    image: Float[np.ndarray, "i j k"],
    window: slice,
    words: EncodedPrompts,
    grids: tuple[Grid, Grid],
    batch_size: int,
    report: Callable[[float], None],
) -> ClassMap:
    """The class of each voxel of the scan.

    Args:
        checkpoint: Holds a network of slices.
        image: The prepared scan.
        window: See `look_for_window`.
        words: What the network hears.
        grids: Of the prepared scan, and of the canonical one.
        batch_size: Slices at once.
        report: Called with the share done, 0 to 1.
    """
    network, num_slices = slice_network(checkpoint)
    prepared, canonical = grids
    slices = predict_slices(
        network, image, words, num_slices=num_slices, batch_size=batch_size, window=window
    )
    kinds = ("background", *(structure(name).kind for name in checkpoint.structures))
    return winning_classes(slices, prepared, canonical, kinds, lambda done: report(done / prepared.shape[0]))
