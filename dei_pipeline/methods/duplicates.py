"""Texts that are the same, exactly or nearly, and which of them counts [methodology §3.24].

Exact: equal normalised text. Near: Jaccard similarity of the sets of 5-character shingles at least 0.8; candidates by
MinHash and locality-sensitive hashing, each checked by its true similarity.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError

Words = NDArray[np.uint64]
SHINGLE, THRESHOLD, SEED = 5, 0.8, 0
BANDS, ROWS = 21, 6  # of 126 hashes: a pair of similarity 0.8 is a candidate with probability 0.998, of 0.3 with 0.015
BATCH = 500  # documents hashed at once
MOST_IN_BUCKET = 50  # beyond, each is compared with the first of the bucket and with its neighbour only
PAIRS: dict[str, pl.DataType] = {"left_id": pl.String(), "right_id": pl.String(), "similarity": pl.Float64()}
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def normalised_text(text: pl.Expr) -> pl.Expr:
    """The text as compared: compatibility form, lower case, Chinese characters, Latin letters and digits only.

    Args:
        text: expression of a text column.
    """
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^0-9a-z\p{Han}]", "")


def shingles(text: str, size: int = SHINGLE) -> Words:
    """The distinct runs of `size` characters of a text as sorted 64-bit hashes; a shorter text is one run."""
    return np.unique(_hashes([text], size)[0])


def _hashes(texts: Sequence[str], size: int) -> tuple[Words, NDArray[np.uint64]]:
    """Hashes of all runs of some texts, one text after the other, and where each text's begin and end."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    padded = np.concatenate([codes, np.zeros(size, dtype=np.uint64)])
    end = np.repeat(np.cumsum(lengths), lengths)
    place = np.arange(len(codes))
    mixed = np.zeros(len(codes), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for step in range(size):  # a run over the end of its text ends there
            mixed = (mixed ^ np.where(place + step < end, padded[step : step + len(codes)], 0)) * _MIX[0]
            mixed ^= mixed >> np.uint64(27)
        mixed *= _MIX[1]
        mixed ^= mixed >> np.uint64(31)
    whole = place + size <= end
    first = np.zeros(len(codes), dtype=bool)
    starts = np.cumsum(lengths) - lengths
    first[starts[lengths > 0]] = True
    kept = whole | first
    bounds = np.concatenate([[0], np.cumsum(np.add.reduceat(kept.astype(np.int64), starts) if len(codes) else lengths)])
    return mixed[kept], bounds.astype(np.uint64)


def near_duplicates(documents: pl.DataFrame, threshold: float = THRESHOLD, shingle: int = SHINGLE) -> pl.DataFrame:
    """Pairs of documents with nearly the same text: left_id < right_id, similarity; sorted.

    Similarity = |A ∩ B| / |A ∪ B| of the sets of `shingle`-character runs of the normalised texts (Jaccard), equal
    texts 1. Candidates share one of 21 bands of 6 MinHash values (rensa, seed 0); the similarity of each is then
    computed from the sets, so that no pair below the threshold is returned. Source: Broder 1997; methodology §3.24.

    Args:
        documents: `document_id` (unique), `text`; texts without a letter or character have no duplicates.
        threshold: least similarity, above 0 to 1.
        shingle: characters in a run.

    Raises:
        MethodError: a threshold or shingle out of range, or a document given twice.
    """
    if not 0 < threshold <= 1 or shingle < 1:
        raise MethodError(f"near_duplicates: threshold {threshold:g}, shingle {shingle}", "give 0 < threshold ≤ 1, ≥ 1")
    if documents["document_id"].is_duplicated().any():
        raise MethodError("near_duplicates: a document is given twice", "give each once")
    if documents.is_empty():
        return pl.DataFrame(schema=PAIRS)
    same = _prints(documents["text"]).with_columns(documents["document_id"]).filter("letters").sort("document_id")
    groups = same.group_by("first", "second", maintain_order=True).agg("document_id", pl.col("row").first())
    ids, unique = groups["document_id"].to_list(), documents["text"].gather(groups["row"])
    exact = [(a, b, 1.0) for group in ids for i, a in enumerate(group) for b in group[i + 1 :]]
    near: list[tuple[str, str, float]] = []
    for left, right, similarity in _verified(_candidates(unique, shingle), unique, threshold, shingle):
        near += [(min(a, b), max(a, b), similarity) for a in ids[left] for b in ids[right]]
    return pl.DataFrame(exact + near, schema=PAIRS, orient="row").sort("left_id", "right_id")


def _normalised(texts: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(normalised_text(pl.col("text")))["text"]


def _prints(texts: pl.Series) -> pl.DataFrame:
    """Row, 128 bits that tell its normalised text, and whether there is one; batch by batch, so that none is kept."""
    frames = []
    for start in range(0, texts.len(), BATCH):
        text = _normalised(texts[start : start + BATCH])
        frames.append(
            pl.DataFrame({"first": text.hash(1), "second": text.hash(2), "letters": text.fill_null("") != ""})
        )
    return pl.concat(frames).with_row_index("row")


def _candidates(texts: pl.Series, shingle: int) -> pl.DataFrame:
    """Pairs of places in `texts` that share a band of MinHash values: left < right, sorted."""
    from rensa import RMinHash

    keys = []
    for start in range(0, texts.len(), BATCH):
        tokens, bounds = _hashes(_normalised(texts[start : start + BATCH]).to_list(), shingle)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(tokens, bounds, BANDS * ROWS, SEED)
        digests = np.array(matrix.to_rows(), dtype=np.uint64)
        bands = np.zeros((len(digests), BANDS), dtype=np.uint64)
        with np.errstate(over="ignore"):
            for row in range(ROWS):
                bands = (bands ^ digests[:, row::ROWS]) * _MIX[0]
                bands ^= bands >> np.uint64(29)
        keys.append(bands)
    none = pl.DataFrame(schema={"left": pl.Int64, "right": pl.Int64})
    if not keys:
        return none
    found = [none]
    table = np.concatenate(keys)
    for band in range(BANDS):
        rows = pl.DataFrame({"key": table[:, band]}).with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
        buckets = rows.filter(pl.col("key").is_duplicated()).group_by("key", maintain_order=True).agg("at")
        small = buckets.filter(pl.col("at").list.len() <= MOST_IN_BUCKET)
        each = small.explode("at").select("key", left="at")
        pairs = each.join(each.rename({"left": "right"}), on="key").filter(pl.col("left") < pl.col("right"))
        large = buckets.filter(pl.col("at").list.len() > MOST_IN_BUCKET).select(
            right="at", first=pl.col("at").list.first(), before=pl.col("at").list.eval(pl.element().shift(1))
        )
        spread = large.explode("right", "before").filter(pl.col("before").is_not_null())
        chains = [spread.select(left=left, right="right") for left in ("first", "before")]
        found += [pairs.select("left", "right"), *chains]
    return pl.concat(found).unique().sort("left", "right")


def _verified(
    pairs: pl.DataFrame, texts: pl.Series, threshold: float, shingle: int
) -> Iterator[tuple[int, int, float]]:
    """The candidate pairs whose true similarity reaches the threshold."""
    for (left,), rows in pairs.partition_by("left", as_dict=True, maintain_order=True).items():
        near = _normalised(texts.gather([int(str(left)), *rows["right"]]))
        own = shingles(near[0], shingle)
        for right, text in zip(rows["right"], near[1:], strict=True):
            other = shingles(text, shingle)
            shared = len(np.intersect1d(own, other, assume_unique=True))
            similarity = shared / (len(own) + len(other) - shared)
            if similarity >= threshold:
                yield int(str(left)), right, similarity


def originals(documents: pl.DataFrame, pairs: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Of each document the one that counts in its place: document_id, original_id; its own where it counts itself.

    Documents that pairs connect, directly or over others, are one group; the first in `order` is the original.

    Args:
        documents: `document_id` (unique) and the columns of `order`; what sorts first is preferred, null last.
        pairs: `left_id`, `right_id`, as from `near_duplicates`.
        order: columns that decide, then document_id.

    Raises:
        MethodError: a pair names an unknown document.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ranked = documents.sort(*order, "document_id", nulls_last=True)
    place = {name: at for at, name in enumerate(ranked["document_id"])}
    strangers = [name for column in ("left_id", "right_id") for name in pairs[column] if name not in place]
    if strangers:
        raise MethodError(f"originals: a pair names document {strangers[0]}", "give the documents of all pairs")
    left, right = (np.array([place[name] for name in pairs[c]], dtype=np.int64) for c in ("left_id", "right_id"))
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(ranked.height, ranked.height))
    group = connected_components(graph, directed=False)[1]
    found = ranked.select("document_id").with_columns(group=pl.Series(group, dtype=pl.Int64))
    return found.select("document_id", original_id=pl.col("document_id").first().over("group")).sort("document_id")
