"""`nomina doctor`: words, JSON, exit codes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nomina.imaging.grid import Grid
from nomina.imaging.volume import LabelMap, Volume
from nomina.imaging.write import write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    affine = np.diag([3.0, 2, 2, 1])
    affine[:3, 3] = (-20, -30, 12.5)
    values = np.random.default_rng(0).gamma(4, 100, (16, 32, 32)).astype(np.int16)
    write(Volume(values, Grid(values.shape, affine)), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def constant(scan: Path) -> Path:
    affine = np.diag([3.0, 2, 2, 1])
    affine[:3, 3] = (-20, -30, 12.5)
    write(Volume(np.zeros((16, 32, 32), np.int16), Grid((16, 32, 32), affine)), scan.parent / "zero.mha")
    return scan.parent / "zero.mha"


def test_a_sound_scan_exits_0(run_nomina: Run, scan: Path) -> None:
    code, out, err = run_nomina("doctor", str(scan))
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith(f"{scan}: (16, 32, 32) @ 3×2×2 mm RAS, values ")
    assert out.splitlines()[1] == "  nothing wrong was found"


def test_an_error_exits_1_with_sentence_and_remedy(run_nomina: Run, constant: Path) -> None:
    code, out, _ = run_nomina("doctor", str(constant))
    assert code == 1
    assert "  error [constant] Every voxel has the value 0: there is no image. Export the scan again" in out


def test_a_warning_exits_0(run_nomina: Run, scan: Path) -> None:
    write(
        Volume(np.arange(27000, dtype=np.int16).reshape(30, 30, 30) % 971, Grid((30, 30, 30), np.eye(4))),
        scan,
    )
    code, out, _ = run_nomina("doctor", str(scan))
    assert code == 0
    assert "  warning [default-spacing] " in out


def test_a_folder_is_walked_and_counted(run_nomina: Run, scan: Path, constant: Path) -> None:
    code, out, err = run_nomina("doctor", str(scan.parent))
    assert code == 1
    assert out.index(scan.name) < out.index(constant.name)
    assert err == "2 scans, 1 with errors\n"


def test_json_is_one_document(run_nomina: Run, scan: Path, constant: Path) -> None:
    code, out, _ = run_nomina("doctor", str(scan.parent), "--json")
    document = json.loads(out)
    assert code == 1
    assert [(entry["name"], [finding["code"] for finding in entry["findings"]]) for entry in document] == [
        (str(scan), []),
        (str(constant), ["constant"]),
    ]
    assert set(document[1]["findings"][0]) == {"code", "severity", "sentence", "remedy"}


def test_an_output_is_compared_with_its_input(run_nomina: Run, scan: Path) -> None:
    labels = np.zeros((16, 32, 32), dtype=np.uint8)
    labels[4:12, 4:20, 4:20] = 1
    path = scan.parent / "out.nii.gz"
    write(LabelMap(labels, Grid(labels.shape, np.eye(4)), names={1: "sacrum"}), path)
    code, out, _ = run_nomina("doctor", "--compare", str(scan), str(path), "--json")
    assert code == 1
    assert [finding["code"] for finding in json.loads(out)[0]["findings"]] == [
        "spacing-differs",
        "identity-affine",
    ]


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--compare", "a.nii")])
def test_wrong_usage_exits_2(run_nomina: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run_nomina("doctor", *arguments)
    assert (code, out) == (2, "")
    assert err


def test_a_missing_file_exits_1(run_nomina: Run, tmp_path: Path) -> None:
    code, out, _ = run_nomina("doctor", str(tmp_path / "none.nii"))
    assert code == 1
    assert "error [missing-file] No such file or folder. Check the name." in out


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, nomina.cli.doctor, nomina.imaging.doctor, nomina.imaging.doctor_compare\n"
        "print(sorted({'torch', 'monai', 'safetensors', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_page_lists_every_code() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "how-to" / "doctor.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([a-z0-9-]+)`(?=[^|]*\|)", page))
    for source in (root / "src" / "nomina").rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        codes = re.findall(r'code="([a-z0-9-]+)"', text) + re.findall(r'Finding\(\s*"([a-z0-9-]+)"', text)
        # As in a table of codes, each before its severity.
        codes += re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+)",\s*"(?:error|warning|note)"', text)
        assert not set(codes) - listed, source.name
