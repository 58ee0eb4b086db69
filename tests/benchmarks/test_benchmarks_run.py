"""The benchmark commands run and print what they promise; how fast anything is, no test says."""

import re
import subprocess
import sys

import pytest

from dei_pipeline.settings import PROJECT
from tests.benchmarks.common import environment

TINY = ["--regions", "12", "--years", "2020", "--repeats", "1"]


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("name", "promised"),
    [
        ("run_overhead", [r"make \d+\.\d\d s", r"= \d+% of the run", r"bare baseline", r"second run, nothing changed"]),
        ("explain_start", [r"dei explain dei 上海 2020 .* × import polars", r"dei impact"]),
        (
            "robustness_speed",
            [
                r"1,000 replications: .* × a bare matrix product",
                r"10,000 replications: .* peak \d+ MB",
                r"× the peak memory",
            ],
        ),
        ("decode_speed", [r"xlsx .* × calamine", r"xlsx-encrypted .* cells/s", r"csv .* × rows_of_csv"]),
    ],
)
def test_a_benchmark_prints_ratios_against_its_baseline(name, promised):
    command = [sys.executable, "-W", "ignore", "-m", f"tests.benchmarks.{name}", *TINY]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "12 cities × 1 years" in done.stdout
    assert re.search(r"\d+ cores, load \d+\.\d", done.stdout)
    for pattern in promised:
        assert re.search(pattern, done.stdout), f"{pattern}\n{done.stdout}"
