import pytest

from nomina.assessment.spine_levels import level_shift, spine_kind, spine_rank


@pytest.mark.parametrize(
    ("structure", "rank"),
    [
        ("L5 vertebra", 1),
        ("L1 vertebra", 5),
        ("T12 vertebra", 6),
        ("T1 vertebra", 17),
        ("C7 vertebra", 18),
        ("C1 vertebra", 24),
        ("S1 vertebra", 0),
        ("L5-S1 disc", 1),
        ("L4-L5 disc", 2),
        ("T12-L1 disc", 6),
        ("T13 vertebra", None),
        ("L6 vertebra", None),
        ("L5-L6 disc", None),
        ("L3-L5 disc", None),
        ("spinal canal", None),
        ("sacrum", None),
    ],
)
def test_the_rank_from_the_bottom_is_the_spider_number(structure: str, rank: int | None) -> None:
    assert spine_rank(structure) == rank


def test_a_shift_is_positive_towards_the_head_and_exists_within_a_kind_only() -> None:
    assert level_shift("L1 vertebra", "T12 vertebra") == 1
    assert level_shift("L1-L2 disc", "L2-L3 disc") == -1
    assert level_shift("L1 vertebra", "L1-L2 disc") is None
    assert level_shift("L5 vertebra", "L6 vertebra") is None


def test_kinds_follow_the_last_word() -> None:
    assert spine_kind("L6 vertebra") == "vertebra"
    assert spine_kind("L6-S1 disc") == "disc"
    assert spine_kind("spinal canal") is None
