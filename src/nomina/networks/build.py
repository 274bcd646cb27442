"""From a config to a network and its words: a `match` on the config's type."""

from collections.abc import Sequence
from typing import Annotated, overload

from pydantic import Field

from nomina.language.bank import PromptBank
from nomina.language.prompts import image_statements
from nomina.language.vessel_prompts import class_sentences
from nomina.networks.atm_net import ATMNet, ATMNetConfig
from nomina.networks.la_caf import LACAF, LACAFConfig
from nomina.networks.plain import PlainConfig, PlainNet
from nomina.networks.words import ClassPrompts, EncodedPrompts, encode_class_prompts, encode_prompts

SliceNetworkConfig = Annotated[ATMNetConfig | PlainConfig, Field(discriminator="kind")]
"""Networks that see sagittal slices; background is class 0 and classes exclude each other."""
SliceNetwork = ATMNet | PlainNet

NetworkConfig = Annotated[ATMNetConfig | PlainConfig | LACAFConfig, Field(discriminator="kind")]
Network = SliceNetwork | LACAF


@overload
def build_network(
    cfg: ATMNetConfig | PlainConfig, structures: Sequence[str], *, text_width: int
) -> SliceNetwork: ...
@overload
def build_network(cfg: LACAFConfig, structures: Sequence[str], *, text_width: int) -> LACAF: ...
@overload
def build_network(
    cfg: ATMNetConfig | PlainConfig | LACAFConfig, structures: Sequence[str], *, text_width: int
) -> Network: ...
def build_network(
    cfg: ATMNetConfig | PlainConfig | LACAFConfig, structures: Sequence[str], *, text_width: int
) -> Network:
    """A network with fresh weights for `structures`, and the background where it has that class.

    Args:
        cfg: Parts and sizes.
        structures: Names of the classes; 1…n−1 of a slice network, 0…n−1 of LA-CAF.
        text_width: Width of the prompt vectors in the bank.
    """
    match cfg:
        case LACAFConfig():
            return LACAF(cfg, num_classes=len(structures), text_width=text_width)
        case PlainConfig():
            return PlainNet(cfg, num_classes=len(structures) + 1)
        case ATMNetConfig():
            num_options = [len(statement.options) for statement in image_statements(structures)]
            return ATMNet(
                cfg, num_classes=len(structures) + 1, text_width=text_width, num_options=num_options
            )


@overload
def build_words(
    cfg: ATMNetConfig | PlainConfig, bank: PromptBank, structures: Sequence[str], *, paraphrase: int = 0
) -> EncodedPrompts: ...
@overload
def build_words(
    cfg: ATMNetConfig | PlainConfig | LACAFConfig,
    bank: PromptBank,
    structures: Sequence[str],
    *,
    paraphrase: int = 0,
) -> ClassPrompts: ...
def build_words(
    cfg: ATMNetConfig | PlainConfig | LACAFConfig,
    bank: PromptBank,
    structures: Sequence[str],
    *,
    paraphrase: int = 0,
) -> ClassPrompts:
    """The prompts that a network hears, from a bank that holds them; see `build_network`."""
    if isinstance(cfg, LACAFConfig):
        return encode_class_prompts(bank, class_sentences(structures, cfg.wording, paraphrase))
    return encode_prompts(bank, structures, paraphrase=paraphrase)
