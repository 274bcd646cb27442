"""What the training loop asks of a kind of network: what it draws and hears, and how it is scored.

slice_task.SliceTask    sagittal slices and facts       ATM-Net, and the control without words
block_task.BlockTask    blocks of voxels and classes    LA-CAF
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from nomina.errors import ConfigError
from nomina.language.bank import PromptBank
from nomina.language.encoders import build_bank, load_encoder
from nomina.learning.prepared import PreparedEntry
from nomina.learning.recipe import BlockRecipe, BlockWordsConfig, Recipe, WordsConfig
from nomina.networks.build import Network
from nomina.networks.checkpoint import Checkpoint, CheckpointConfig

Run = Callable[[Callable[[Any], Any]], Any]
"""The network as the loop hands it on: it takes a function of the bare network and returns its result."""


@runtime_checkable
class Task(Protocol):
    """Everything about a training that its kind of network decides; it stays the same while training."""

    @property
    def recipe(self) -> Recipe | BlockRecipe:
        """What to train on what."""

    @property
    def bank(self) -> PromptBank:
        """Every sentence that is heard."""

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the classes, without the background."""

    @property
    def training(self) -> Sequence[PreparedEntry]:
        """The cases that train."""

    @property
    def validation(self) -> Sequence[PreparedEntry]:
        """The cases that choose the checkpoint."""

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of the network and of what it sees."""

    def require_fitting(self, network: Network) -> None:
        """Refuse a recipe whose patches the network cannot take."""

    def losses(self, run: Run, progress: float, seed: tuple[int, ...]) -> dict[str, Tensor]:
        """The parts of the objective on one batch; everything about it follows from `seed`.

        Args:
            run: The network.
            progress: Share of the training done, 0 to 1.
            seed: Seed of the recipe, step, micro-step and process.
        """

    def validate(self, network: Network) -> dict[str, float]:
        """Scores on the validation cases, `dice` among them; empty where there are none."""

    def checkpoint_config(self) -> CheckpointConfig:
        """What inference must know."""


class Forward(nn.Module):
    """A network behind the one method that several processes run together.

    Fabric rebuilds dataclasses that pass through `forward`, which frozen ones refuse: so what to run comes in
    as a function, and what comes out of it must be tensors or a dict of them.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, run: Callable[[Network], Any]) -> Any:
        """What `run` returns for the network."""
        return run(self.network)


def make_bank(
    words: WordsConfig | BlockWordsConfig,
    sentences: Sequence[str],
    template_version: str,
    start: Checkpoint | None,
) -> PromptBank:
    """Vectors of the sentences, or the words of the initial checkpoint: new ones would be strange to it.

    Args:
        words: Which encoder.
        sentences: What is said.
        template_version: Version of the sentences' templates.
        start: The initial checkpoint, where there is one.

    Raises:
        ConfigError: The initial checkpoint was trained with another encoder.
        EncoderError: The encoder cannot be loaded.
    """
    if start is None:
        encoder = load_encoder(words.encoder, source=words.encoder_source)
        return build_bank(encoder, sentences, template_version=template_version)
    asked, known = words.encoder, start.bank.provenance.encoder
    if asked != known and not asked.startswith("table:"):
        raise ConfigError(
            f"initial_checkpoint {start.name} was trained with the words of {known!r}, the "
            f"recipe says words.encoder {asked!r}; write {known!r}"
        )
    return start.bank


def start_from(network: Network, start: Checkpoint, structures: tuple[str, ...]) -> None:
    """Give a fresh network the weights of the initial checkpoint.

    Raises:
        ConfigError: The checkpoint has other structures or another network.
    """
    if start.structures != structures:
        raise ConfigError(
            f"initial_checkpoint {start.name} knows other structures than the data: {start.structures}"
        )
    try:
        missing, unexpected = network.load_state_dict(start.network.state_dict(), strict=False)
    except RuntimeError as error:
        raise ConfigError(
            f"initial_checkpoint {start.name} has another network than the recipe: {error}"
        ) from error
    # A fine skip may come new: it adds nothing until it is trained.
    odd = [
        *unexpected,
        *(name for name in missing if not name.startswith(("backbone.fine.", "backbone.join."))),
    ]
    if odd:
        raise ConfigError(
            f"initial_checkpoint {start.name} has another network than the recipe: "
            f"{', '.join(odd[:5])} stand in one of the two alone"
        )
