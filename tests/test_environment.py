"""What must not be installed or imported, and how fast the command line starts."""

import importlib.util
import pkgutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_torchvision_is_not_installed() -> None:
    # Beside CPU torch it does not load, and transformers then fails to import BERT.
    assert importlib.util.find_spec("torchvision") is None


def test_no_module_of_nomina_imports_torchvision() -> None:
    code = (
        "import importlib, pkgutil, sys, nomina\n"
        "for module in pkgutil.walk_packages(nomina.__path__, 'nomina.'):\n"
        "    importlib.import_module(module.name)\n"
        "print([m for m in sys.modules if m.startswith('torchvision')])"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_constraints_pin_no_torchvision_and_no_gpu_libraries() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert "torch" in pinned
    assert not {name for name in pinned if name.startswith(("torchvision", "nvidia", "triton"))}


def test_the_rooms_below_run_where_torch_is_absent() -> None:
    code = (
        "import importlib, sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'monai', 'safetensors')))\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)"
    )
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rooms,) = [contract["source_modules"] for contract in contracts if contract["type"] == "forbidden"]
    done = run_python(code, *(name for room in rooms for name in modules_in(room)))
    assert done.returncode == 0, done.stderr


def modules_in(room: str) -> list[str]:
    folder = ROOT / "src" / room.replace(".", "/")
    if not folder.is_dir():
        return [room]
    return [room, *(module.name for module in pkgutil.walk_packages([str(folder)], f"{room}."))]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["segment", "--help"], ["train", "--help"], ["evaluate", "--help"], ["prompt", "L4-5 disk"]],
    ids=" ".join,
)
def test_help_and_prompt_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from nomina.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'monai', 'scipy', 'SimpleITK'} & set(sys.modules)), file=sys.stderr)"
    )
    done = run_python(code, *arguments)
    assert done.stdout
    assert done.stderr.strip() == "[]"


def test_help_takes_at_most_three_tenths_of_a_second_of_computing(
    least_seconds: Callable[..., float],
) -> None:
    assert least_seconds("from nomina.cli.main import main; main()", "--help", limit=0.3) <= 0.3
