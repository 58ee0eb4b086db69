"""Two runs at once, and runs that are killed: whole files that agree with one another, and a next run that succeeds."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.lake import STALE_TEMPORARY_SECONDS
from tests.pipeline.homes import POPULATION_2020, Home, population, replace_source, row_of

SIDES = (None, "lineage", "quarantine")


def content(home: Home) -> dict[str, str]:
    return {name: stamp.sha256 for name, stamp in home.stamps().items()}


def assert_readable(home: Home) -> None:
    """Every file of every table can be read to its last row."""
    for side in SIDES:
        for table in home.lake.tables(side):
            frame = home.read(table, side)
            assert frame.height
    for table in home.lake.tables():
        assert home.lake.state(table)["parts"]


def wait_for_write(process: subprocess.Popen[str], folder: Path) -> bool:
    """Waits until the process writes below a folder; False if it ended before."""
    before = _written(folder)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if _written(folder) != before:
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    return False


def _written(folder: Path) -> set[tuple[str, int]]:
    """Temporary files, states and manifests below a folder; a state changes twice in each commit."""
    found = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".tmp") or name in ("_state.json", "manifest.json"):
                with contextlib.suppress(FileNotFoundError):
                    found.add((f"{parent}/{name}", Path(parent, name).stat().st_mtime_ns))
    return found


def kill(process: subprocess.Popen[str]) -> str:
    """Kills the process; what it said on stderr, which should be nothing."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[1]


def test_two_runs_at_once_leave_the_lake_that_one_leaves(received: Home, finished: Home, tmp_path: Path):
    home = received.copy(tmp_path / "lake")
    runs = [home.start("run"), home.start("run")]
    ended = [(run, *run.communicate(timeout=300)) for run in runs]
    for run, _, err in ended:
        assert (run.returncode, err) == (0, ""), err
    assert not list(home.root.rglob("*.parquet.*.tmp"))
    assert content(home) == content(finished)
    assert home.run().reasons == {}
    assert home.invoke("check").exit_code == 0


def test_a_run_that_is_killed_leaves_the_last_good_tables_and_the_next_one_ends_it(finished: Home, tmp_path: Path):
    """Everything below the pages is stale; runs die while they write core, the marts, the index, then the release."""
    home = finished.copy(tmp_path / "lake")

    def edit(rows):
        rows[row_of(rows, "上海市")][2] *= 1.01

    replace_source(home, tmp_path / "new", POPULATION_2020, population(2020, edit), "2021")
    before = content(home)
    for layer in ("core", "mart", "index", "release"):
        process = home.start("run")
        hit = wait_for_write(process, home.root / layer)
        time.sleep(random.random() * 0.008)  # before, between or after the renames
        said = kill(process)
        assert (hit, said) == (True, ""), f"{layer}: the run ended by itself: {said}"
        assert_readable(home)
        after = content(home)
        assert before.keys() <= after.keys() | {n for n in before if n.startswith(("raw/", "staging/"))}
    left = list(home.root.rglob("*.tmp"))
    result = home.invoke("run")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert home.run().reasons == {}
    assert home.invoke("check").exit_code == 0
    marked = [table for table in home.lake.tables() if any(p.get("writing") for p in _parts(home, table))]
    assert marked == []

    # what the dead left behind goes when it is old enough to be nobody's
    old = time.time() - STALE_TEMPORARY_SECONDS - 60
    for path in left:
        os.utime(path, (old, old))
    assert home.run().errors == []
    assert not list(home.root.rglob("*.tmp"))

    # and the numbers are those of a run that nobody disturbed
    calm = finished.copy(tmp_path / "calm")
    for path in home.lake.blobs().iterdir():
        if not (calm.lake.blobs() / path.name).exists():
            path.rename(calm.lake.blobs() / path.name)
    assert calm.invoke("sources", "withdraw", _sha(finished, POPULATION_2020)).exit_code == 0
    assert calm.run().errors == []
    assert content(calm) == content(home)


def _parts(home: Home, table: str) -> list[dict]:
    return list(home.lake.state(table)["parts"].values())


def _sha(home: Home, file: str) -> str:
    return home.read("raw/manifests").filter(pl.col("file") == file)["sha256"][0]


@pytest.mark.parametrize("seed", range(2))
def test_a_first_run_that_is_killed_anywhere_is_taken_up_by_the_next(received: Home, tmp_path: Path, seed: int):
    home = received.copy(tmp_path / "lake")
    process = home.start("run", "--select", "core/observations")
    assert wait_for_write(process, home.root / "raw")
    time.sleep(random.Random(seed).random() * 2)
    kill(process)
    assert_readable(home)
    report = home.run("core/observations")
    assert report.errors == []
    assert home.run("core/observations").reasons == {}


def test_an_ingest_that_is_killed_leaves_whole_files_with_their_manifests(tmp_path: Path):
    home = Home(tmp_path / "lake")
    process = home.start("demo", "--regions", "12", "--years", "2019-2020")
    assert wait_for_write(process, home.lake.blobs())
    kill(process)
    received = list(home.lake.blobs().glob("[0-9a-f]*"))
    for folder in received:
        assert (folder / "manifest.json").is_file()
        assert len(list(folder.glob("content*"))) == 1
    again = home.invoke("demo", "--regions", "12", "--years", "2019-2020")
    assert again.exit_code == 0
    written = int(re.match(r"(\d+) synthetic files", again.stdout).group(1))
    assert len(list(home.lake.blobs().glob("[0-9a-f]*"))) == written
