"""Fixtures of the language tests."""

import pytest
import torch

from nomina.language.encoders import TextEncoder, load_encoder


@pytest.fixture(scope="session")
def minilm() -> TextEncoder:
    """The bundled encoder."""
    torch.set_num_threads(1)
    return load_encoder("minilm")
