"""A Monte Carlo of weights, normalisation and aggregation: `python -m tests.benchmarks.robustness_speed`.

300 units, 60 leaves, 4 levels; all weights, 4 normalisations and 2 means vary. The baseline is the bare matrix product
of the same size, (units × leaves) @ (leaves × replications), in the same process. Each size runs in a process of its
own, so that its peak memory is its own.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from tests.benchmarks.common import PYTHON, arguments, machine, say, wall

INSIDE = [*PYTHON, "-m", "tests.benchmarks.robustness_speed", "--inside"]
REPLICATIONS = (1_000, 10_000)


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of some calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def inside(units: int, replications: int, repeats: int) -> None:
    """One size: seconds of the simulation and of the bare product, peak memory; printed as JSON."""
    from dei_pipeline.methods.assumptions import Assumptions, Scenario
    from dei_pipeline.methods.robustness import simulate
    from dei_pipeline.methods.sampling import Choice, Spread
    from tests.trees import tree_of

    generator = np.random.Generator(np.random.PCG64(0))
    raw = generator.lognormal(3.0, 0.5, (units, 60))
    spread = raw.max(axis=0) - raw.min(axis=0)
    scenarios = {
        ("threshold",): Scenario(raw / raw.max(axis=0) * 100, cap=100),
        ("min_max",): Scenario(1 + 99 * (raw - raw.min(axis=0)) / spread),
        ("z_score",): Scenario(50 + 10 * (raw - raw.mean(axis=0)) / raw.std(axis=0)),
        ("rank",): Scenario(100 * (1 + raw.argsort(axis=0).argsort(axis=0)) / units),
    }
    factors = (
        Spread("leaf_weights", 0.25),
        Spread("node_weights", 0.25),
        Choice("normalisation", tuple(key[0] for key in scenarios)),
        Choice("aggregation", ("framework", "geometric")),
    )
    assumptions = Assumptions(tree_of("x", (3, 4, 5)), scenarios, factors)
    seconds = timed(lambda: simulate(assumptions, replications, top=(3, 10)), repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    weights = generator.uniform(0.75, 1.25, (60, replications))
    bare = timed(lambda: raw @ weights, repeats)
    say(json.dumps({"seconds": seconds, "bare": bare, "peak": peak}))


def main(argv: Sequence[str] | None = None) -> None:
    """Prints seconds, the ratio to the bare product and peak memory, by number of replications."""
    given = sys.argv[1:] if argv is None else list(argv)
    chosen = arguments(__doc__ or "", ["--regions", "300", "--years", "2020", *given])
    units = chosen.regions * len(chosen.years)
    say(f"{chosen.regions} cities × {len(chosen.years)} years, 60 leaves, 4 levels; {machine()}")
    found = []
    for n in REPLICATIONS:
        _, printed = wall([*INSIDE, str(units), str(n), str(chosen.repeats)])
        found.append(json.loads(printed.splitlines()[-1]))
        now = found[-1]
        say(
            f"{n:6,} replications: {now['seconds']:6.3f} s = {now['seconds'] / now['bare']:.0f} × a bare matrix "
            f"product ({now['bare'] * 1e3:.1f} ms), peak {now['peak']:.0f} MB"
        )
    few, many = found
    say(
        f"ten times the replications: {many['seconds'] / few['seconds']:.1f} × the time, "
        f"{many['peak'] / few['peak']:.2f} × the peak memory"
    )
    say(machine())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(*map(int, sys.argv[2:]))
    else:
        main()
