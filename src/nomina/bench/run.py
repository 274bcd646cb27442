"""A grid from start to table: train what is not trained, measure what is not measured, write the table.

    OUT/runs/RUN/            what `nomina train` writes; `last` is what is measured
    OUT/runs/RUN/modes/      label maps and scores (`nomina.bench.measure`)
    OUT/table.csv .json .md  written anew after every run

A grid that was stopped, at any moment, goes on where it was when it is run again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nomina.bench.grid import GridConfig, Run, cases_of, expand, scoring_of
from nomina.bench.measure import Maker, Server, measure, read_measured
from nomina.bench.scans import open_scans
from nomina.bench.sheet import Gaps
from nomina.bench.spine_modes import SpineServer
from nomina.bench.table import Measured, Row, make_rows
from nomina.bench.table_text import csv_text, json_text, markdown_text, sheet_of
from nomina.bench.vessel_modes import VesselServer
from nomina.bench.words import make_word_table, missing_words, word_table_path
from nomina.config import parse_config
from nomina.errors import CheckpointError, ConfigError
from nomina.imaging.files import write_text_atomic
from nomina.inference.segmenter import Segmenter
from nomina.inference.version import BLOCK_INFERENCE, SLICE_INFERENCE
from nomina.learning.cases import Case
from nomina.learning.fit import fit
from nomina.learning.recipe import BlockRecipe
from nomina.learning.training_state import is_same_run, steps_saved
from nomina.networks.contract import HASHED_FILES, digest_of
from nomina.plain_files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far one run of a grid is."""

    run: Run
    steps_done: int
    """Steps of training that are saved."""
    num_measured: int
    """Cases times modes that are scored."""
    num_wanted: int
    skipped: str | None = None
    """Why it cannot be made here; None where it can."""

    @property
    def is_done(self) -> bool:
        """Trained to the end and measured in every mode."""
        return self.steps_done == self.run.recipe.train.steps and self.num_measured == self.num_wanted


@dataclass(frozen=True)
class RunRecord:
    """What a grid reads of a run's `run.json`, which holds more."""

    recipe: dict[str, Any]
    step: int
    files: dict[str, str]
    """Hash of each file of the checkpoint."""
    training_patients: tuple[str, ...]
    num_phantoms: int

    def __post_init__(self) -> None:
        if lacking := [name for name in HASHED_FILES if name not in self.files]:
            raise ValueError(f"files has no {lacking[0]}")


def run_grid(
    cfg: GridConfig,
    out: Path,
    *,
    only: Sequence[str] = (),
    accelerator: str = "auto",
) -> tuple[Row, ...]:
    """Make every run of a grid and its table; finished ones are left alone.

    Args:
        cfg: The grid.
        out: Folder of the grid; made if need be.
        only: Names of runs, or of variants, to make now; empty: all. The table shows all finished ones.
        accelerator: "auto", "cpu" or "cuda".

    Returns:
        The rows of the table.

    Raises:
        ConfigError: The grid or a recipe is not valid, a name in `only` is unknown, or `out` holds a run of
            another recipe.
        CaseError: Training or test data are missing.
    """
    runs = expand(cfg)
    cases = open_scans(cfg.test)
    chosen = _chosen(runs, only)
    for run in runs:
        # Everything that can be refused is refused before the first training.
        cases_of(run, cases)
        steps_done(run, out)
    for number, run in enumerate(chosen, start=1):
        if reason := _skipped(run, out):
            logger.warning("run %d of %d: %s is skipped: %s", number, len(chosen), run.name, reason)
            continue
        logger.info("run %d of %d: %s", number, len(chosen), run.name)
        if steps_done(run, out) < run.recipe.train.steps:
            _make_words(cfg, run)
            fit(run.recipe, _folder(run, out), accelerator=accelerator, devices=1)
        _measure(cfg, run, out, cases_of(run, cases), accelerator)
        write_table(cfg, out)
    return write_table(cfg, out)


def write_table(cfg: GridConfig, out: Path) -> tuple[Row, ...]:
    """Write `table.csv`, `table.json` and `table.md` from what is measured; nothing is trained or segmented.

    Returns:
        The rows; none where nothing is measured yet.
    """
    runs, cases = expand(cfg), open_scans(cfg.test)
    measured = [found for run in runs for found in _measured(cfg, run, out, cases_of(run, cases))]
    rows, found_gaps = make_rows(measured, cfg.controls), gaps(cfg, out)
    sheet = sheet_of(runs[0].recipe)
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomic(out / "table.csv", csv_text(sheet, rows))
    write_text_atomic(out / "table.json", json_text(sheet, cfg, rows, found_gaps))
    write_text_atomic(out / "table.md", markdown_text(sheet, cfg, rows, found_gaps))
    return rows


def gaps(cfg: GridConfig, out: Path) -> Gaps:
    """What a table of this grid lacks now: runs not finished, and runs that cannot be made here."""
    state = progress(cfg, out)
    return Gaps(
        missing=tuple(one.run.name for one in state if not one.is_done and one.skipped is None),
        skipped={one.run.name: one.skipped for one in state if one.skipped is not None},
    )


def progress(cfg: GridConfig, out: Path) -> tuple[Progress, ...]:
    """How far every run of a grid is.

    Raises:
        ConfigError: See `run_grid`.
    """
    cases = open_scans(cfg.test)
    result = []
    for run in expand(cfg):
        found = cases_of(run, cases)
        measured = _measured(cfg, run, out, found)
        result.append(
            Progress(
                run,
                max(steps_done(run, out), steps_saved(_folder(run, out))),
                sum(len(one.cases) for one in measured),
                len(found) * len(run.modes),
                _skipped(run, out),
            )
        )
    return tuple(result)


def steps_done(run: Run, out: Path) -> int:
    """Steps of the run's last checkpoint; 0 where there is none.

    Raises:
        ConfigError: The folder holds a run of another recipe, or a longer one.
        CheckpointError: The record cannot be read.
    """
    record = _record(run, out)
    if record is None:
        return 0
    folder = _folder(run, out)
    if not is_same_run(record.recipe, run.recipe):
        raise ConfigError(
            f"{folder} holds a run of another recipe; give another --output, or remove the folder to start "
            f"anew"
        )
    done, wanted = record.step, run.recipe.train.steps
    if done > wanted:
        raise ConfigError(
            f"{folder} was trained for {done} steps, the grid asks for {wanted}; give another --output"
        )
    return done


def _record(run: Run, out: Path) -> RunRecord | None:
    path = _folder(run, out) / "last" / "run.json"
    try:
        return parse_config(RunRecord, read_json(path), source="it")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); remove {path.parent} to go on") from error


def _measure(cfg: GridConfig, run: Run, out: Path, cases: Sequence[Case], device: str) -> None:
    done = _measured(cfg, run, out, cases)
    if sum(len(one.cases) for one in done) == len(cases) * len(run.modes):
        return
    segmenter = Segmenter.load(_folder(run, out) / "last", device=device)
    folder = _folder(run, out) / "modes"
    measure(
        _server(run, segmenter, tuple(cases), folder),
        cases,
        run.modes,
        folder,
        scoring_of(cfg),
        maker=_maker(run, segmenter.checkpoint.digest),
        say=logger.info,
    )


def _server(run: Run, segmenter: Segmenter, cases: tuple[Case, ...], folder: Path) -> Server:
    if isinstance(run.recipe, BlockRecipe):
        return VesselServer(segmenter, cases)
    return SpineServer(segmenter, cases, folder)


def _make_words(cfg: GridConfig, run: Run) -> None:
    """The table of words without language that a run is to hear."""
    if run.words is not None:
        make_word_table(word_table_path(cfg.words_folder, run.words, run.seed), run.words, run.seed)


def _skipped(run: Run, out: Path) -> str | None:
    """Why a run cannot be trained here; None where it can, or is trained already."""
    if run.words is not None or steps_done(run, out) == run.recipe.train.steps:
        return None
    return missing_words(run.recipe)


def _measured(cfg: GridConfig, run: Run, out: Path, cases: Sequence[Case]) -> list[Measured]:
    """What is measured of a finished run; nothing of one that is still trained."""
    record = _record(run, out)
    if record is None or steps_done(run, out) < run.recipe.train.steps:
        return []
    maker = _maker(run, digest_of(record.files))
    found = []
    for mode in run.modes:
        scores = read_measured(maker, cases, mode, _folder(run, out) / "modes", scoring_of(cfg))
        if scores:
            found.append(Measured(run, mode, scores, len(record.training_patients), record.num_phantoms))
    return found


def _maker(run: Run, digest: str) -> Maker:
    return Maker(digest, BLOCK_INFERENCE if isinstance(run.recipe, BlockRecipe) else SLICE_INFERENCE)


def _chosen(runs: Sequence[Run], only: Sequence[str]) -> list[Run]:
    known = {name for run in runs for name in (run.name, run.variant)}
    if strange := [name for name in only if name not in known]:
        raise ConfigError(f"the grid has no run or variant {strange[0]!r}; known: {', '.join(sorted(known))}")
    return [run for run in runs if not only or {run.name, run.variant} & set(only)]


def _folder(run: Run, out: Path) -> Path:
    return out / "runs" / run.name
