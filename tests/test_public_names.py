"""`import nomina`: few names, each with one home, imported when first used."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nomina

PUBLIC = {
    *("Grid", "LabelMap", "LabelScheme", "NominaError", "Segmentation", "Segmenter", "Structure", "Verdict"),
    *("Volume", "convert", "evaluate", "load_scheme", "overlay_figure", "phantom_case", "read_label_map"),
    *("read_volume", "resolve", "save_overlay", "structure", "vocabulary", "write", "write_sidecar"),
}
"""A name is added here on purpose, and removed after a release that warns."""


def test_the_public_names_are_these_and_at_most_25() -> None:
    assert set(nomina.__all__) == PUBLIC
    assert len(nomina.__all__) <= 25


def test_the_page_on_python_lists_the_public_names() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "python.md"
    listed = re.findall(r"^\| `(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_what_its_home_defines(name: str) -> None:
    value = getattr(nomina, name)
    assert value is getattr(importlib.import_module(value.__module__), name)
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known() -> None:
    with pytest.raises(AttributeError, match="read_volume"):
        nomina.read_volumes  # noqa: B018


def test_dir_shows_the_public_names() -> None:
    assert set(dir(nomina)) >= PUBLIC


def test_importing_nomina_imports_nothing_else_and_takes_no_time() -> None:
    code = (
        "import sys, time\n"
        "before, begun = set(sys.modules), time.process_time()\n"
        "import nomina\n"
        "print(time.process_time() - begun)\n"
        "print(*sorted(m for m in set(sys.modules) - before if m.partition('.')[0] not in "
        "sys.stdlib_module_names))"
    )
    seconds = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        taken, modules = done.stdout.splitlines()
        assert modules == "nomina"
        seconds.append(float(taken))
    assert min(seconds) <= 0.05
