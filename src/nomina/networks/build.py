"""From a config to a network: a `match` on the config's type."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from nomina.language.prompts import image_statements
from nomina.networks.atm_net import ATMNet, ATMNetConfig
from nomina.networks.plain import PlainConfig, PlainNet

NetworkConfig = Annotated[ATMNetConfig | PlainConfig, Field(discriminator="kind")]
Network = ATMNet | PlainNet


def build_network(cfg: ATMNetConfig | PlainConfig, structures: Sequence[str], *, text_width: int) -> Network:
    """A network with fresh weights for background and `structures`.

    Args:
        cfg: Parts and sizes.
        structures: Names of classes 1…n−1.
        text_width: Width of the prompt vectors in the bank.
    """
    if isinstance(cfg, PlainConfig):
        return PlainNet(cfg, num_classes=len(structures) + 1)
    num_options = [len(statement.options) for statement in image_statements(structures)]
    return ATMNet(cfg, num_classes=len(structures) + 1, text_width=text_width, num_options=num_options)
