"""How much of `dei run` is spent outside the project's own computation: `python -m tests.benchmarks.run_overhead`.

Measured in the run itself: time within `make` (methods, contracts, lineage), `commit` (Parquet, fsync, rename) and the
checks; the rest is Python start, imports, Dagster with its SQLite records, and looking up what is stale. Beside it, in
the same session on the same sources, a bare baseline: the same functions in the same order without Dagster; and a
second run with nothing changed.
"""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.common import DEI, IMPORT_POLARS, PYTHON, arguments, machine, median, received, say, wall

INSIDE = [*PYTHON, "-m", "tests.benchmarks.run_overhead", "--inside"]
BARE = [*PYTHON, "-m", "tests.benchmarks.run_overhead", "--bare"]


def inside(lake: str) -> None:
    """`dei run` with clocks around the project's own work; the last line printed is JSON."""
    from dei_pipeline import publish
    from dei_pipeline.checks import sentences
    from dei_pipeline.cli import main
    from dei_pipeline.lake import Lake

    spent: Counter[str] = Counter()

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - start

        return timed

    publish.make = clocked("make", publish.make)
    Lake.commit = clocked("commit", Lake.commit)
    sentences.broken_rows = clocked("checks", sentences.broken_rows)
    main(["run", "--lake", lake], standalone_mode=False)
    say(json.dumps(spent))


def bare(lake: str) -> None:
    """The same functions in the same order, without Dagster."""
    from tests.lakes import bare_run, settings_of

    bare_run(settings_of(Path(lake)))


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the shares and ratios."""
    chosen = arguments(__doc__ or "", argv)
    with received(chosen.regions, chosen.years) as lake:
        other = lake.with_name("bare")
        shutil.copytree(lake, other)
        total, printed = wall([*INSIDE, str(lake)])
        own = json.loads(printed.splitlines()[-1])
        parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in own.items())
        outside = total - sum(own.values())
        say(f"dei run                        {total:6.2f} s, of which {parts}")
        say(f"outside own computation        {outside:6.2f} s = {outside / total:.0%} of the run")
        baseline, _ = wall([*BARE, str(other)])
        say(f"bare baseline, no Dagster      {baseline:6.2f} s; dei run takes {total / baseline:.2f} × as long")
        again = median(lambda: wall([*DEI, "run", "--lake", str(lake)])[0], chosen.repeats)
        polars = median(lambda: wall(IMPORT_POLARS)[0], chosen.repeats)
        of = f"{again / total:.0%} of the first (median of {chosen.repeats})"
        say(f"second run, nothing changed    {again:6.2f} s = {of}")
        say(f"python -c 'import polars'      {polars:6.2f} s; the second run takes {again / polars:.1f} × as long")
        say(machine())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
    elif sys.argv[1:2] == ["--bare"]:
        bare(sys.argv[2])
    else:
        main()
