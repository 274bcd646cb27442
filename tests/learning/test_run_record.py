"""What a checkpoint remembers of its training."""

import subprocess
from pathlib import Path

from nomina.learning.run_record import current_commit


def git(folder: Path, *arguments: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *name, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_a_repository_which_holds_the_file(tmp_path: Path) -> None:
    source = tmp_path / "src" / "run_record.py"
    source.parent.mkdir()
    source.write_text("")
    assert current_commit(source) is None
    git(tmp_path, "init", "--quiet")
    assert current_commit(source) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    assert current_commit(source) == git(tmp_path, "rev-parse", "HEAD")


def test_a_package_installed_within_somebody_elses_repository_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "theirs.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    installed = tmp_path / ".venv" / "nomina" / "run_record.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    assert current_commit(installed) is None
