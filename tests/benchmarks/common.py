"""What the benchmarks share: a lake to measure on, commands timed as a whole, ratios printed with their baseline."""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dei_pipeline.settings import PROJECT, parse_years
from tests.lakes import receive_demo

PYTHON = [sys.executable, "-W", "ignore"]
IMPORT_POLARS = [*PYTHON, "-c", "import polars"]
DEI = [*PYTHON, "-m", "dei_pipeline.cli"]


def arguments(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Size of the demo and number of repeats."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--regions", type=int, default=242)
    parser.add_argument("--years", type=parse_years, default=parse_years("2015-2020"))
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args(argv)


def environment() -> dict[str, str]:
    """This process's environment without its own lake and Dagster home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEI_", "DAGSTER"))}
    return kept | {"PYTHONPATH": str(PROJECT)}


def wall(command: Sequence[str]) -> tuple[float, str]:
    """Seconds from start to end of a whole command, and what it printed.

    Raises:
        RuntimeError: the command failed.
    """
    start = time.perf_counter()
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return seconds, done.stdout


def median(measure: Callable[[], float], repeats: int) -> float:
    """Median of some measurements."""
    return statistics.median(measure() for _ in range(repeats))


@contextlib.contextmanager
def received(regions: int, years: Sequence[int]) -> Iterator[Path]:
    """A lake with demo sources and nothing made."""
    with tempfile.TemporaryDirectory(prefix="dei_benchmark_") as folder:
        lake = Path(folder) / "lake"
        files = receive_demo(lake, regions, years)
        say(f"{regions} cities × {len(years)} years, {files} files; {machine()}")
        yield lake


def machine() -> str:
    """Cores and load, without which no time means anything."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def say(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
