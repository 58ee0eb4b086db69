"""Terms found in texts against the bare automaton, and near duplicates: `python -m tests.benchmarks.policy_speed`.

The baseline finds the same terms in the same texts by Polars' Aho-Corasick alone (byte offsets, nothing else), on one
thread and as a stream over all cores. CPU seconds stand beside wall seconds, since other work moves the latter.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from dei_pipeline.methods.duplicates import near_duplicates
from dei_pipeline.methods.policy import keyword_hits
from tests.benchmarks.common import machine, say

CHARACTERS = 3_000  # different ones
PARAGRAPHS, LENGTH = 4, 1_250  # of a document
STOCK = 4_000  # paragraphs that documents share
PLANTED = 0.01  # of the documents are changed copies of another
CHANGED = 40  # characters of a copy
HITS = 45  # of a document, about


def texts(documents: int, seed: int, terms: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, int]]]:
    """Made-up texts of 5,000 characters with some terms in them, and which are near copies of which."""
    draw = np.random.Generator(np.random.PCG64(seed))
    chance = 1 / np.arange(1, CHARACTERS + 1)
    stock = draw.choice(CHARACTERS, (STOCK, LENGTH), p=chance / chance.sum()).astype(np.uint32) + 0x4E00
    arrays = [np.concatenate([stock[at] for at in draw.integers(0, STOCK, PARAGRAPHS)]) for _ in range(documents)]
    pairs = []
    mixed = draw.permutation(documents).tolist()
    for source, copy in zip(mixed[0 : int(2 * PLANTED * documents) : 2], mixed[1::2], strict=False):
        changed = arrays[source].copy()
        changed[draw.integers(0, len(changed), CHANGED)] = 0x4E00 + draw.integers(0, CHARACTERS, CHANGED)
        arrays[copy] = changed
        pairs.append((source, copy))
    made = []
    for array in arrays:
        text = array.tobytes().decode("utf-32-le")
        for at in draw.integers(0, len(text), HITS if terms else 0):
            term = terms[int(draw.integers(0, len(terms)))]
            text = text[:at] + term + text[at + len(term) :]
        made.append(text)
    return made, pairs


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least wall and CPU seconds of a call."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(pair[0] for pair in found), min(pair[1] for pair in found)


def matching(count: int, wanted: int, repeats: int) -> None:
    """Prints how long terms take, beside the bare automaton."""
    draw = np.random.Generator(np.random.PCG64(1))
    forms: set[str] = set()
    while len(forms) < wanted:
        forms.add("".join(chr(0x4E00 + int(at)) for at in draw.integers(0, 400, int(draw.integers(2, 7)))))
    terms = sorted(forms, key=lambda form: (-len(form), form))
    made, _ = texts(count, 0, terms)
    documents = pl.DataFrame({"document_id": [f"{at:06d}" for at in range(count)], "text": made})
    lexicon = pl.DataFrame({"term_id": terms, "form": terms})
    find = documents.lazy().select(pl.col("text").str.find_many(terms, leftmost=True))
    bare = timed(lambda: find.collect(engine="in-memory"), repeats)
    stream = timed(lambda: find.collect(engine="streaming"), repeats)
    hits = keyword_hits(documents, lexicon).height
    say(f"{count:,} documents × {len(made[0]):,} characters, {len(terms)} terms, {hits:,} hits; {machine()}")
    say(f"bare automaton, one thread     {bare[0]:6.2f} s, {bare[1]:6.2f} s CPU")
    say(f"bare automaton, stream         {stream[0]:6.2f} s, {stream[1]:6.2f} s CPU")
    for name, context in (("keyword_hits                 ", 0), ("keyword_hits with snippets   ", 15)):
        wall, cpu = timed(lambda context=context: keyword_hits(documents, lexicon, context), repeats)
        ratios = f"= {wall / bare[0]:.2f} × one thread, {wall / stream[0]:.2f} × stream; CPU {cpu / bare[1]:.2f} ×"
        say(f"{name}  {wall:6.2f} s, {cpu:6.2f} s CPU {ratios}; {count / wall:,.0f} documents/s")


def write_corpus(path: Path, count: int) -> None:
    """Texts with planted copies as `corpus.parquet`, and which they are as `planted.parquet`."""
    made, pairs = texts(count, 2)
    ids = [f"{at:06d}" for at in range(count)]
    pl.DataFrame({"document_id": ids, "text": made}).write_parquet(path / "corpus.parquet")
    pl.DataFrame([(ids[min(pair)], ids[max(pair)]) for pair in pairs], orient="row").write_parquet(
        path / "planted.parquet"
    )


def duplicates(count: int) -> None:
    """Prints how long the search for near duplicates takes, what it found of those planted, and the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        maker = multiprocessing.get_context("spawn").Process(target=write_corpus, args=(Path(folder), count))
        maker.start()
        maker.join()
        corpus, planted = (pl.read_parquet(Path(folder) / f"{name}.parquet") for name in ("corpus", "planted"))
    start, cpu = time.perf_counter(), time.process_time()
    found = near_duplicates(corpus)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    known = set(found.select("left_id", "right_id").iter_rows())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    say(
        f"near_duplicates                {wall:6.1f} s, {cpu:6.1f} s CPU, {count:,} documents; "
        f"{len(set(planted.iter_rows()) & known)} of {planted.height} planted found; peak {peak:.2f} GiB; {machine()}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Prints seconds, ratios and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--terms", type=int, default=300)
    parser.add_argument("--duplicates", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args(argv)
    if chosen.documents:
        matching(chosen.documents, chosen.terms, chosen.repeats)
    if chosen.duplicates:
        duplicates(chosen.duplicates)


if __name__ == "__main__":
    main()
