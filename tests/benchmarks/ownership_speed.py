"""Closures and effective shares of 100 roots: `python -m tests.benchmarks.ownership_speed --holdings 1000000,10000000`.

Two shapes: `groups`, trees of companies with joint holders, small cycles and minority holdings across groups; and
`tangle`, where holders are drawn from everywhere, so that most companies form one large cycle. Of each company others
of the network hold from `least` to all, evenly spread: persons and other ends hold the rest of a complete list. A
tangle in which they hold almost nothing (`--least 0.9` and more) is the hard case. The baseline is 100 bare products of
the same scipy matrix with a vector. Each size runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import itertools
import json
import resource
import sys
import time
from collections.abc import Sequence

import numpy as np
import polars as pl

from tests.benchmarks.common import PYTHON, machine, say, wall

INSIDE = [*PYTHON, "-m", "tests.benchmarks.ownership_speed", "--inside"]
ROOTS, GROUPS = 100, 1_000
SHAPES = ("groups", "tangle")
LEAST = "0.5,0.9"


def register(shape: str, holdings: int, least: float) -> pl.DataFrame:
    """A register of about that many holdings: holder_id, held_id, share; ids like credit codes.

    Companies of the network hold from `least` to all of each company.
    """
    rng = np.random.Generator(np.random.PCG64(0))
    companies = holdings * 3 // 5
    held = np.concatenate([np.arange(GROUPS, companies), rng.integers(GROUPS, companies, holdings - companies)])
    if shape == "tangle":
        holder = rng.integers(0, companies, held.size)
        holder[:ROOTS] = np.arange(ROOTS)
    else:
        generation = held // GROUPS
        above = (generation * rng.random(held.size) ** 2).astype(np.int64)
        group = np.where(rng.random(held.size) < 0.9, held % GROUPS, rng.integers(0, GROUPS, held.size))
        holder = above * GROUPS + group
        back = rng.random(held.size) < 0.01  # a subsidiary that holds some of its holder
        holder[back], held[back] = held[back], np.maximum(holder[back], GROUPS)
    weight = rng.random(held.size) ** 2
    total = np.bincount(held, weights=weight, minlength=companies)
    share = weight / total[held] * (least + (1 - least) * rng.random(companies))[held]
    ids = pl.Series(np.arange(companies)).cast(pl.String).str.zfill(18)
    frame = pl.DataFrame({"holder_id": ids.gather(holder), "held_id": ids.gather(held), "share": share})
    summed = frame.filter(pl.col("holder_id") != pl.col("held_id")).group_by("holder_id", "held_id")
    return summed.agg(pl.col("share").sum()).sample(fraction=1.0, shuffle=True, seed=0)


def inside(shape: str, holdings: int, least: float) -> None:
    """One size: seconds of each step and of the bare products, peak memory; printed as JSON."""
    from dei_pipeline.methods.ownership import look_through, network

    frame = register(shape, holdings, least)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    roots = [str(number).zfill(18) for number in range(ROOTS)]
    start, busy = time.perf_counter(), time.process_time()
    net = network(frame)
    built = time.perf_counter() - start
    found = look_through(net, roots)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    vector = np.ones(net.ids.len())
    start = time.perf_counter()
    for _ in range(ROOTS):
        net.shares @ vector
    bare = time.perf_counter() - start
    told = {"holdings": frame.height, "controlled": int(found["controlled"].sum()), "built": built, "bare": bare}
    say(json.dumps(told | {"seconds": seconds, "busy": busy, "peak": peak, "input": before}))


def main(argv: Sequence[str] | None = None) -> None:
    """Prints seconds, the ratio to the bare products and peak memory, by shape and number of holdings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdings", default="1000000,10000000", help="numbers of holdings, comma-separated")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--least", default=LEAST, help="least that companies hold of a company, comma-separated")
    chosen = parser.parse_args(argv)
    say(f"{ROOTS} roots; {machine()}")
    for shape, least in itertools.product(chosen.shapes.split(","), chosen.least.split(",")):
        found = []
        for holdings in map(int, chosen.holdings.split(",")):
            _, printed = wall([*INSIDE, shape, str(holdings), least])
            found.append(json.loads(printed.splitlines()[-1]))
            now = found[-1]
            say(
                f"{shape}, least {least}: {now['holdings']:10,} holdings, {now['controlled']:9,} controlled: "
                f"{now['seconds']:6.1f} s "
                f"({now['built']:.1f} s to make the network; {now['busy']:.1f} s of processor time) = "
                f"{now['seconds'] / now['bare']:.1f} × {ROOTS} bare products ({now['bare']:.1f} s), "
                f"peak {now['peak']:,.0f} MB, {now['input']:,.0f} MB of it before the start"
            )
        for few, many in itertools.pairwise(found):
            say(
                f"{shape}, least {least}: {many['holdings'] / few['holdings']:.1f} × the holdings, "
                f"{many['seconds'] / few['seconds']:.1f} × the time, {many['peak'] / few['peak']:.1f} × the memory"
            )
    say(machine())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        main()
