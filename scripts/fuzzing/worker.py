"""A process that reads one fuzz input after the other, under a memory limit."""

import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from fuzzing.cases import Mutant
from fuzzing.headers import OUTSIDE
from fuzzing.plan import make, originals, write
from fuzzing.readers import is_same, read
from nomina.errors import NominaError

FAILURES = ("crash", "hang", "memory", "wrong success")
OUTCOMES = ("refused", "sound", "undetectable", *FAILURES)
"""sound: read as the original. undetectable: read as something else, which the format cannot tell (flipped
raw voxels, another valid header)."""


@dataclass(frozen=True)
class Result:
    """What became of an input."""

    number: int
    kind: str
    mutation: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0


def serve(connection: Connection, seed: int, memory_bytes: int) -> None:
    """Answer numbers with results, until the number is negative; only the number's own memory is limited."""
    warnings.simplefilter("ignore")
    originals()
    make(seed, 0)
    limit = _virtual_bytes() + memory_bytes
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Libraries in C++ talk there.
    connection.send("ready")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (number := connection.recv()) >= 0:
        try:
            mutant = make(seed, number)
        except Exception as error:
            detail = f"this script could not make the input: {type(error).__name__}: {error}"
            connection.send(Result(number, "?", "?", "crash", detail[:300]))
            continue
        connection.send((mutant.original.kind, mutant.mutation))
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        result = run(mutant, number)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        connection.send(result)


def run(mutant: Mutant, number: int) -> Result:
    """Lay an input out, read it, and say what became of it."""
    above = Path(tempfile.mkdtemp(prefix="nomina-fuzz-"))
    # A temporary file that a reader leaves behind, or a member that escapes from a zip, shows here.
    before = tempfile.tempdir
    tempfile.tempdir = str(above)
    try:
        folder = above / "input"
        folder.mkdir()
        (above / OUTSIDE).write_bytes(bytes(100_000))
        write(mutant, folder)
        start = time.process_time()
        outcome, detail = _outcome(mutant, folder)
        seconds = time.process_time() - start
        left = {path.name for path in above.iterdir()} - {"input", OUTSIDE}
        if left and outcome not in FAILURES:
            outcome, detail = "wrong success", f"left behind: {sorted(left)}"
        return Result(number, mutant.original.kind, mutant.mutation, outcome, detail, seconds)
    finally:
        tempfile.tempdir = before
        shutil.rmtree(above, ignore_errors=True)


def _outcome(mutant: Mutant, folder: Path) -> tuple[str, str]:
    try:
        content = read(mutant, folder)
    except NominaError as error:
        is_memory = "no-memory" in str(getattr(error, "code", "")) or _ran_out(error)
        return ("memory" if is_memory and not mutant.may_need_memory else "refused"), str(error)[:300]
    except MemoryError:
        return "memory", _where()
    except Exception as error:
        return "crash", f"{type(error).__name__}: {str(error)[:200]} {_where()}"
    if mutant.expectation == "refuse":
        return "wrong success", "read without an error"
    if is_same(mutant.original.content, content):
        return "sound", ""
    return ("wrong success" if mutant.expectation == "same" else "undetectable"), "read as something else"


def _ran_out(error: BaseException | None) -> bool:
    """Whether memory that ran out is behind an error."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate memory" in str(error) or "bad_alloc" in str(error):
            return True
        error = error.__cause__
    return False


def _where() -> str:
    """The last lines of nomina's own code in the present traceback."""
    lines = [
        line.strip() for line in traceback.format_exc().splitlines() if "nomina/" in line and "File" in line
    ]
    return " < ".join(line.split("nomina/")[-1] for line in lines[-2:])


def _virtual_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
