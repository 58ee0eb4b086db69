"""The whole `dei explain` command against a bare import: `python -m tests.benchmarks.explain_start`."""

import statistics
from collections.abc import Sequence

from tests.benchmarks.common import DEI, IMPORT_POLARS, arguments, machine, received, say, wall
from tests.lakes import bare_run, settings_of

COMMANDS = {
    "dei --help": ["--help"],
    "dei explain dei 上海 2020": ["explain", "dei", "上海", "2020"],
    "dei explain … --json": ["explain", "dei", "上海", "2020", "--json"],
    "dei explain deci 北京 2020": ["explain", "deci", "北京", "2020"],
    "dei explain deci … --json": ["explain", "deci", "北京", "2020", "--json"],
    "dei impact FILE": ["impact", "published/published_dei_scores.csv"],
    "dei impact DELPHI CELL": ["impact", "德尔菲/2020_第3轮.xlsx", "D01!C7"],
    "dei impact AHP CELL": ["impact", "层次分析/判断矩阵_A01.xlsx", "A01!G6"],
}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints medians and ratios; commands and baseline take turns."""
    chosen = arguments(__doc__ or "", argv)
    with received(chosen.regions, chosen.years) as lake:
        bare_run(settings_of(lake))
        for name, words in COMMANDS.items():
            at = [] if words == ["--help"] else ["--lake", str(lake)]
            pairs = [(wall([*DEI, *words, *at])[0], wall(IMPORT_POLARS)[0]) for _ in range(chosen.repeats)]
            ours, polars = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = f"{ours / polars:.2f} × import polars ({polars:.2f} s)"
            say(f"{name:28} {ours:5.2f} s (median of {chosen.repeats}) = {ratio}")
        say(machine())


if __name__ == "__main__":
    main()
