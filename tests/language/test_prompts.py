import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from nomina.anatomy.structures import vocabulary
from nomina.errors import PromptError
from nomina.language import prompts
from nomina.language.facts import Facts
from nomina.language.prompts import (
    BACKGROUND,
    GENERIC_SENTENCE,
    NUM_PARAPHRASES,
    TEMPLATE_VERSION,
    Statement,
    all_said,
    all_sentences,
    channel_view,
    image_statements,
    image_view,
    said_choices,
    statement_choices,
)

GOLDEN = Path(__file__).parent / "golden"
VERTEBRAE = (
    "L5 vertebra",
    "L4 vertebra",
    "L3 vertebra",
    "L2 vertebra",
    "L1 vertebra",
    "T12 vertebra",
    "T11 vertebra",
)
DISCS = ("L5-S1 disc", "L4-L5 disc", "L3-L4 disc", "L2-L3 disc", "L1-L2 disc", "T12-L1 disc", "T11-T12 disc")
STRUCTURES = (*VERTEBRAE, *DISCS, "spinal canal", "sacrum")
EXAMPLE = Facts("T2", VERTEBRAE, DISCS, canal_visible=True)
EXAMPLES = (
    EXAMPLE,
    Facts(),
    Facts("PD", ("L4 vertebra",), ("L4-L5 disc",), canal_visible=False, sacrum_visible=True),
    Facts(
        "STIR", ("L6 vertebra", "T13 vertebra", "C7 vertebra"), (), canal_visible=True, sacrum_visible=False
    ),
    Facts("T1", ("C7 vertebra", "C6 vertebra"), ("C6-C7 disc",)),
)
SPINE = tuple(name for name, found in vocabulary().items() if found.region.endswith("spine"))


def golden_lines() -> dict[str, list[str]]:
    """What each golden file must hold."""
    paraphrases = range(NUM_PARAPHRASES)
    return {
        "channel_views.txt": [
            f"{name} | {channel_view(name, p)}" for name in (*SPINE, BACKGROUND) for p in paraphrases
        ],
        "statements.txt": [
            f"{statement.name} {option} | {sentence}"
            for statement in image_statements(STRUCTURES)
            for p in paraphrases
            for option, sentence in zip(statement.options, statement.sentences(p), strict=True)
        ],
        "image_views.txt": [
            GENERIC_SENTENCE,
            *(image_view(facts, p) for facts in EXAMPLES for p in paraphrases),
        ],
    }


@pytest.mark.parametrize("name", ["channel_views.txt", "statements.txt", "image_views.txt"])
def test_sentences_change_only_together_with_the_template_version(name):
    # Checkpoints hold embeddings of these sentences. After a wanted change raise `version` in templates.yaml
    # and write the files anew: python tests/language/test_prompts.py
    version, *lines = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    assert version == f"template version {TEMPLATE_VERSION}"
    assert lines == golden_lines()[name]


def test_the_image_view_reads_as_the_reference_example():
    assert image_view(EXAMPLE) == (
        "Sagittal T2-weighted lumbar MRI. Seven vertebrae and seven discs are visible, from L5 at the bottom "
        "to T11 at the top. The spinal canal is visible."
    )


def test_what_is_unknown_is_not_stated():
    for paraphrase in range(NUM_PARAPHRASES):
        text = image_view(Facts(vertebrae=VERTEBRAE, discs=DISCS), paraphrase)
        assert "weighted" not in text
        assert "canal" not in text
        assert "sacrum" not in text


def test_statements_have_one_option_per_thing_that_the_model_knows():
    statements = {s.name: s.options for s in image_statements(tuple(reversed(STRUCTURES)))}
    assert statements == {
        "sequence": ("T1", "T2", "STIR", "PD"),
        "lowest_vertebra": VERTEBRAE,
        "highest_vertebra": VERTEBRAE,
        "num_vertebrae": tuple("01234567"),
        "num_discs": tuple("01234567"),
        "canal": ("visible", "not visible"),
        "sacrum": ("visible", "not visible"),
    }
    assert [s.name for s in image_statements(["spinal canal"])] == ["sequence", "canal"]


def test_facts_choose_the_option_that_says_what_they_say():
    statements = image_statements(STRUCTURES)
    chosen = [
        None if choice is None else statement.sentences()[choice]
        for statement, choice in zip(statements, statement_choices(EXAMPLE, statements), strict=True)
    ]
    assert chosen == [
        "This is a sagittal T2-weighted MRI of the spine.",
        "The lowest visible vertebra is L5.",
        "The highest visible vertebra is T11.",
        "The number of visible vertebrae is seven.",
        "The number of visible intervertebral discs is seven.",
        "The spinal canal is visible.",
        None,
    ]


def test_facts_outside_the_options_choose_nothing():
    statements = image_statements(("L5 vertebra", "L4 vertebra", "spinal canal"))
    assert statement_choices(EXAMPLE, statements) == (1, 0, None, None, 0)
    assert statement_choices(Facts(), statements) == (None, None, None, 0, None)


def test_every_structure_of_the_vocabulary_has_its_own_sentence_in_each_wording():
    names = (*SPINE, BACKGROUND)
    sentences = [channel_view(name, p) for name in names for p in range(NUM_PARAPHRASES)]
    assert len(set(sentences)) == NUM_PARAPHRASES * len(names)
    for sentence in sentences:
        assert "{" not in sentence
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("L5 vertebra", ("L5", "first above the sacrum", "the sacrum", "L4")),
        ("L4 vertebra", ("L4", "second above the sacrum", "L5", "L3")),
        ("T12 vertebra", ("T12", "sixth above the sacrum", "L1", "T11")),
        ("C1 vertebra", ("C1", "twenty-fourth above the sacrum", "C2", "the skull")),
        ("L6 vertebra", ("L6", "extra in some people", "the sacrum", "L5")),
        ("T13 vertebra", ("T13", "extra in some people", "L1", "T12")),
        ("L5-S1 disc", ("L5-S1", "first above the sacrum", "the sacrum", "L5")),
        ("T12-L1 disc", ("T12-L1", "sixth above the sacrum", "L1", "T12")),
        ("L5-L6 disc", ("L5-L6", "in some people only", "L6", "L5")),
        ("S1 vertebra", ("S1", "first from the top of the sacrum", "S2", "L5")),
        ("S5 vertebra", ("S5", "fifth from the top of the sacrum", "the coccyx", "S4")),
    ],
)
def test_the_channel_view_states_name_rank_and_neighbours(name, expected):
    level, rank, below, above = expected
    sentence = channel_view(name)
    assert sentence.startswith(f"{level} is the ")
    assert f" above {below} and below {above}, {rank}, " in sentence
    assert f" between {below} and {above}" in channel_view(name, 1)
    assert channel_view(name, 2).startswith(f"Between {below} and {above}: ")


@pytest.mark.parametrize("paraphrase", [-1, 3])
def test_an_unknown_paraphrase_is_refused(paraphrase):
    for ask in (
        lambda: channel_view("L4 vertebra", paraphrase),
        lambda: channel_view("sacrum", paraphrase),
        lambda: image_view(EXAMPLE, paraphrase),
        lambda: Statement("canal", ("visible",)).sentences(paraphrase),
    ):
        with pytest.raises(PromptError, match="0 to 2"):
            ask()


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    with pytest.raises(PromptError, match="L4 vertebra"):
        channel_view("L4 vertebre")
    with pytest.raises(PromptError, match="L9"):
        all_sentences(["L9 vertebra"])


def test_all_sentences_holds_everything_that_can_be_said_once():
    sentences = all_sentences(STRUCTURES)
    assert len(set(sentences)) == len(sentences)
    needed = {GENERIC_SENTENCE, *STRUCTURES, BACKGROUND}
    for p in range(NUM_PARAPHRASES):
        needed |= {channel_view(name, p) for name in (*STRUCTURES, BACKGROUND)}
        needed |= {text for statement in image_statements(STRUCTURES) for text in statement.sentences(p)}
    assert set(sentences) == needed


def test_sentences_stay_within_their_word_pieces():
    tokenizer = Tokenizer.from_file(str(Path(prompts.__file__).parent / "minilm" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def longest(texts):
        return max(len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts)))

    whole_spine = Facts(
        "PD",
        tuple(f"{level} vertebra" for level in levels_from_l6_to_c1()),
        canal_visible=False,
        sacrum_visible=False,
    )
    views = [image_view(facts, p) for facts in (*EXAMPLES, whole_spine) for p in range(NUM_PARAPHRASES)]
    assert longest(views) <= 64
    assert longest(all_sentences(SPINE)) <= 40


def levels_from_l6_to_c1():
    return [f"{region}{n}" for region, count in (("L", 6), ("T", 13), ("C", 7)) for n in range(count, 0, -1)]


def test_facts_prompts_and_bank_start_without_torch():
    code = (
        "import sys; import nomina.language.facts, nomina.language.prompts, nomina.language.bank; "
        "sys.exit(bool({'torch', 'monai', 'safetensors', 'tokenizers', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


if __name__ == "__main__":
    for file_name, content in golden_lines().items():
        text = "\n".join([f"template version {TEMPLATE_VERSION}", *content]) + "\n"
        (GOLDEN / file_name).write_text(text, encoding="utf-8")


def test_one_thing_can_be_said_and_nothing_else():
    statements = image_statements(("L5 vertebra", "L4 vertebra", "L5-S1 disc", "spinal canal"))
    said = {"lowest_vertebra": "L4 vertebra"}
    chosen = dict(zip([s.name for s in statements], said_choices(said, statements), strict=True))
    assert chosen.pop("lowest_vertebra") == 1
    assert set(chosen.values()) == {None}
    assert set(said_choices({}, statements)) == {None}
    assert set(said_choices({"lowest_vertebra": "T1 vertebra"}, statements)) == {None}
    facts = Facts("T2", ("L5 vertebra",), ("L5-S1 disc",), canal_visible=False)
    assert said_choices(all_said(facts), statements) == statement_choices(facts, statements)
    with pytest.raises(PromptError, match="no statement about 'lowest'; known: sequence, lowest_vertebra"):
        said_choices({"lowest": "L5 vertebra"}, statements)
