"""Feed damaged and hostile files to every reader of nomina, and say what became of them.

python scripts/fuzz_readers.py --count 10000 --seed 0

Each input is read in a process with limits of time and memory. Sound outcomes: it is refused with a
NominaError, it is read as the original, or it is read as something else where nothing in the format gives the
damage away. Failures: crash (another exception, or a signal), hang, memory, wrong success (an input that must
be refused is read, or one with a checksum is read as something else). Exits 1 when there is a failure. The
same seed gives the same inputs. Needs Linux, for its address-space limit. `--only 1234` runs one input again;
`--keep FOLDER` writes it there.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fuzzing.plan import make, write
from fuzzing.worker import FAILURES, OUTCOMES, Result, serve


class _Worker:
    """A process that reads inputs; it is started anew after it was killed or died."""

    def __init__(self, seed: int, memory_bytes: int, limit_s: float) -> None:
        self.arguments, self.limit_s = (seed, memory_bytes), limit_s
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process: Any = context.Process(target=serve, args=(other, *self.arguments), daemon=True)
        self.process.start()
        other.close()
        if self.connection.recv() != "ready":
            raise SystemExit("a worker did not start")
        self.number: int | None = None

    def give(self, number: int) -> None:
        self.number, self.what = number, ("?", "?")
        self.deadline, self.started_at = time.monotonic() + 120, float("inf")
        self.connection.send(number)

    def result(self) -> Result | None:
        """The result, where there is one by now."""
        try:
            if self.connection.poll():
                answer = self.connection.recv()
                if isinstance(answer, Result):
                    return answer
                # On a busy machine a sound reader may wait: its own time counts, or six times the limit.
                self.what, self.deadline = answer, time.monotonic() + 6 * self.limit_s
                self.started_at = self._cpu_s()
                return None
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return self._failed("crash", name)
        if time.monotonic() > self.deadline or self._cpu_s() - self.started_at > self.limit_s:
            self.process.kill()
            self.process.join()
            return self._failed("hang", f"more than {self.limit_s:g} s")
        return None

    def _cpu_s(self) -> float:
        """Processor time that the process has taken."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _failed(self, outcome: str, detail: str) -> Result:
        number, what = self.number, self.what
        self.start()
        return Result(number or 0, *what, outcome, detail, self.limit_s)

    def stop(self) -> None:
        self.connection.send(-1)
        self.process.join()


def results(
    numbers: Sequence[int], *, seed: int, jobs: int, memory_mb: int, limit_s: float
) -> Iterator[Result]:
    """Read inputs in several processes.

    Args:
        numbers: Which inputs.
        seed: Seed of all.
        jobs: Processes.
        memory_mb: Memory that reading one input may take (MB).
        limit_s: Time that it may take.
    """
    todo = iter(numbers)
    workers = [_Worker(seed, memory_mb << 20, limit_s) for _ in range(min(jobs, len(numbers)))]
    busy = [worker for worker in workers if _next(worker, todo)]
    while busy:
        connections: list[Connection] = [worker.connection for worker in busy]
        wait(connections, timeout=0.5)
        for worker in list(busy):
            if (result := worker.result()) is not None:
                yield result
                if not _next(worker, todo):
                    busy.remove(worker)
    for worker in workers:
        worker.stop()


def _next(worker: _Worker, todo: Iterator[int]) -> bool:
    number = next(todo, None)
    if number is not None:
        worker.give(number)
    return number is not None


def table(found: Sequence[Result]) -> str:
    """Outcomes by format."""
    kinds = list(dict.fromkeys(result.kind for result in sorted(found, key=lambda result: result.number)))
    counts = Counter((result.kind, result.outcome) for result in found)
    totals = Counter(result.outcome for result in found)
    rows = [("format", "inputs", *OUTCOMES)]
    for kind in kinds:
        numbers = [counts[kind, outcome] for outcome in OUTCOMES]
        rows.append((kind, str(sum(numbers)), *map(str, numbers)))
    rows.append(("all", str(len(found)), *(str(totals[outcome]) for outcome in OUTCOMES)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def main() -> int:
    """Run, print the table and the failures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="number of inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--memory", type=int, default=1024, help="MB that reading one input may take")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds that reading one input may take")
    parser.add_argument("--only", type=int, nargs="+", help="run these inputs alone")
    parser.add_argument("--keep", type=Path, help="write the first of --only into this folder")
    arguments = parser.parse_args()
    numbers: Sequence[int] = range(arguments.first, arguments.first + arguments.count)
    if arguments.only is not None:
        numbers = arguments.only
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True)
            write(make(arguments.seed, numbers[0]), arguments.keep)
    start = time.monotonic()
    found: list[Result] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for result in results(
            numbers,
            seed=arguments.seed,
            jobs=arguments.jobs,
            memory_mb=arguments.memory,
            limit_s=arguments.limit,
        ):
            found.append(result)
            if result.outcome in FAILURES or arguments.only is not None:
                place = f"--seed {arguments.seed} --only {result.number}"
                text = f"{result.outcome}: {result.kind}, {result.mutation} ({place}): {result.detail}"
                print(text, flush=True)
    except KeyboardInterrupt:
        print(f"stopped after {len(found)} of {len(numbers)} inputs")
    if not found:
        return 1
    print(table(found))
    slowest = max(found, key=lambda result: result.seconds)
    print(
        f"{time.monotonic() - start:.0f} s; slowest input {slowest.seconds:.1f} s (number {slowest.number})"
    )
    return int(any(result.outcome in FAILURES for result in found))


if __name__ == "__main__":
    sys.exit(main())
