"""What the picture itself says."""

import pytest
import torch

from nomina.networks.layers.fact_predictor import FactPredictor
from nomina.networks.layers.fusion import position_encoding


@pytest.fixture
def predictor() -> FactPredictor:
    torch.manual_seed(0)
    predictor = FactPredictor(12, (4, 2, 3), 5, width=16).eval()
    torch.nn.init.normal_(predictor.queries)
    return predictor


def test_each_statement_has_a_logit_per_sentence_and_each_structure_one(predictor: FactPredictor) -> None:
    statements, presence = predictor(torch.randn(2, 12, 4, 6))
    assert [s.shape for s in statements] == [(2, 4), (2, 2), (2, 3)]
    assert presence.shape == (2, 5)


def test_where_something_lies_matters(predictor: FactPredictor) -> None:
    """Whether a level is the lowest cannot be told from what is in the picture without where it is."""
    bottleneck = torch.randn(1, 12, 4, 6)
    upside_down = predictor(bottleneck.flip(3))
    for there, here in zip(
        (*upside_down[0], upside_down[1]), (*predictor(bottleneck)[0], predictor(bottleneck)[1]), strict=True
    ):
        assert (there - here).abs().max() > 1e-4


def test_a_batch_of_two_is_two_batches_of_one(predictor: FactPredictor) -> None:
    bottleneck = torch.randn(2, 12, 4, 6)
    statements, presence = predictor(bottleneck)
    for image in range(2):
        alone = predictor(bottleneck[[image]])
        torch.testing.assert_close(alone[1], presence[[image]])
        torch.testing.assert_close(alone[0], tuple(statement[[image]] for statement in statements))


def test_one_query_reads_the_map_as_attention_does(predictor: FactPredictor) -> None:
    """With keys that are all equal the read vector is the mean of the values: nothing but the mean counts."""
    with torch.no_grad():
        predictor.attention.in_proj_weight[16:32] = 0
        predictor.attention.in_proj_bias[16:32] = 0
        bottleneck = torch.randn(1, 12, 2, 3)
        rows = predictor.visual(bottleneck.flatten(2).transpose(1, 2)) + position_encoding(2, 3, 16)
        values = rows @ predictor.attention.in_proj_weight[32:].T + predictor.attention.in_proj_bias[32:]
        read = predictor.norm(predictor.queries + predictor.attention.out_proj(values.mean(1)))
        torch.testing.assert_close(predictor(bottleneck)[1], predictor.presence_head(read[-1:]))
