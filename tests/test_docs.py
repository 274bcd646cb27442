"""Every `python` block of the README and of docs/ runs, every `nomina` command line is understood, and every
relative link leads somewhere.

A block runs in an empty folder that holds a small lumbar phantom as `lumbar_t2.nii.gz` and its truth as
`reference.nii.gz`; blocks of one page share their names. "```python no-run: reason" leaves a block out.
"""

import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python(?P<info>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?: {4})?(nomina (?:[^\n\\]|\\\n)+)$", re.MULTILINE)
EXTRA = re.compile(r"""(?:nomina|['"]\.)\[([a-z][a-z, -]*)\]""")
"""Extras that a text asks to install, as in "nomina[train]" and ".[train,dev]"."""
NO_RUN = re.compile(r"no-run: \w+")


@dataclass(frozen=True)
class Block:
    line: int
    info: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, match.start("code")), match["info"].strip(), match["code"])
        for match in FENCE.finditer(text)
    ]


PAGES_WITH_CODE = [page for page in PAGES if blocks_of(page)]


@pytest.fixture(scope="session")
def phantom_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small lumbar phantom and its truth."""
    from nomina.imaging.write import write
    from nomina.phantoms.plan import SpineConfig
    from nomina.phantoms.render import phantom_case

    config = SpineConfig(in_plane_mm=(1.4, 1.5), num_slices=(9, 9), thin_slices_probability=0.0)
    folder = tmp_path_factory.mktemp("phantom")
    volume, truth = phantom_case(0, "t2", config)
    write(volume, folder / "lumbar_t2.nii.gz")
    write(truth, folder / "reference.nii.gz")
    return folder


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=page_id)
def test_the_code_of_a_page_runs(
    page: Path, phantom_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in phantom_files.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        if block.info:
            continue
        if 'load("spine-mr")' in block.code:
            need_shipped_checkpoint()
        # Empty lines in front give the page's own line numbers in a traceback.
        exec(compile("\n" * block.line + block.code, str(page), "exec"), names)


def need_shipped_checkpoint() -> None:
    from nomina.networks.shipped import SHIPPED

    if not (SHIPPED / "spine-mr" / "model.safetensors").is_file():
        pytest.skip("checkpoint spine-mr is not in this source tree")


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=page_id)
def test_a_block_that_is_left_out_says_why(page: Path) -> None:
    for block in blocks_of(page):
        assert not block.info or NO_RUN.match(block.info), f"{page}:{block.line}: {block.info!r}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def text_files() -> list[Path]:
    folders = ("docs", "src", "tests", "recipes", "benchmarks", "scripts")
    found = [file for folder in folders for file in (ROOT / folder).rglob("*")]
    return [
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
        *(file for file in found if file.suffix in (".md", ".py", ".yaml")),
    ]


def test_every_extra_that_a_text_names_exists() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        known = set(tomllib.load(file)["project"]["optional-dependencies"])
    named = {
        (page_id(path), name.strip())
        for path in text_files()
        for extras in EXTRA.findall(path.read_text(encoding="utf-8"))
        for name in extras.split(",")
    }
    assert {name for _, name in named} >= {"train", "text", "dev"}
    assert [(page, name) for page, name in sorted(named) if name not in known] == []


def test_the_readme_names_every_command() -> None:
    from nomina.cli.main import COMMANDS

    text = PAGES[0].read_text(encoding="utf-8")
    assert not [command for command in COMMANDS if f"nomina {command}" not in text]


def test_the_readme_stays_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) < 150


def command_lines() -> list[tuple[str, str]]:
    return [
        (page_id(page), match[1].replace("\\\n", " "))
        for page in PAGES
        for match in COMMAND.finditer(_code(page.read_text(encoding="utf-8")))
    ]


def _code(text: str) -> str:
    """Fenced shell blocks and indented blocks of a page; all else left out."""
    fences = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    shell = [code for language, code in fences if language in ("", "bash", "sh", "console")]
    return "\n".join([*shell, *re.findall(r"^ {4}\S.*$", outside, re.MULTILINE)])


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_line_of_a_page_is_understood(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command, options and values are known; nothing is run, and files need not exist."""
    from nomina.cli.main import COMMANDS, load_command

    monkeypatch.chdir(tmp_path)
    _, name, *words = shlex.split(line, comments=True)
    assert name in COMMANDS, f"{page}: {line}"
    command = load_command(name)
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: {line}"
        command, words = command.commands[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(name, words)


def test_the_pages_hold_command_lines() -> None:
    assert len(command_lines()) > 20
