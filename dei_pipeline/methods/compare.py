"""Comparison: ranks of units within years, nodes and groups; strengths of one unit; scorings against each other.

Frames hold one row per region_code, year, node_id with a score (higher is better; null or NaN = no score), as
`index/dei_scores`. A column `year` or `node_id` that is absent does not divide: a plain ranking has region_code and
score alone. Ranks are competition ranks, 1 = best, 1 2 2 4, on scores rounded to 1e-10 [methodology §3.7, R1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.correlations import correlation
from dei_pipeline.methods.tiers import competition_rank

UNIT, YEAR, NODE, SCORE = "region_code", "year", "node_id", "score"
STRONG = 5  # leaves listed as strengths or weaknesses


def _scored(scores: pl.DataFrame, name: str = "scores") -> pl.DataFrame:
    """The frame with NaN scores as null, checked: no infinity, no incomplete key, no key twice."""
    absent = [column for column in (UNIT, SCORE) if column not in scores.columns]
    if absent:
        raise MethodError(f"{name} has no column {absent[0]}", f"it needs {UNIT}, {SCORE} and, if any, {YEAR}, {NODE}")
    frame = scores.with_columns(pl.col(SCORE).cast(pl.Float64).fill_nan(None))
    key = _key(frame)
    for wrong, what in (
        (pl.any_horizontal(pl.col(key).is_null()), "has an empty key"),
        (pl.col(SCORE).is_infinite().fill_null(False), "is infinite"),
        (pl.struct(key).is_duplicated(), "stands more than once"),
    ):
        rows = frame.filter(wrong)
        if rows.height:
            where = "|".join(str(value) for value in rows.select(key).row(0))
            raise MethodError(f"{name}: {where} {what}", "give one finite score, or null, per key")
    return frame


def _key(frame: pl.DataFrame) -> list[str]:
    """Key columns that the frame has."""
    return [column for column in (UNIT, YEAR, NODE) if column in frame.columns]


def _dividers(frame: pl.DataFrame, pooled: bool) -> list[str]:
    """Columns within whose values units are ranked: year and node, or the node alone over the pooled years."""
    return [column for column in _key(frame) if column == NODE or (column == YEAR and not pooled)]


def _parts(frame: pl.DataFrame, by: Sequence[str]) -> list[tuple[tuple[object, ...], NDArray[np.int64]]]:
    """Values of `by` and row positions of each part of a frame, in order of first appearance."""
    if not by:
        return [((), np.arange(frame.height))]
    parts = frame.with_row_index("row").group_by(by, maintain_order=True).agg("row")
    return [(tuple(part[:-1]), np.array(part[-1], dtype=np.int64)) for part in parts.iter_rows()]


def _with_ranks(frame: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The frame with `rank` (null without a score) and `ranked`, the number of units with a score, within `by`."""
    score = frame[SCORE].to_numpy()
    rank, ranked = np.zeros(frame.height, dtype=np.int64), np.zeros(frame.height, dtype=np.int64)
    for _, rows in _parts(frame, by):
        rank[rows] = competition_rank(score[rows])
        ranked[rows] = np.count_nonzero(rank[rows])
    return frame.with_columns(
        rank=pl.when(pl.Series(rank) > 0).then(pl.Series(rank)), ranked=pl.Series(ranked, dtype=pl.Int64)
    )


def rank_table(scores: pl.DataFrame, group: str | None = None, pooled: bool = False) -> pl.DataFrame:
    """The rows of `scores`, in their order, with `rank` and `ranked` (units with a score they are ranked among).

    Units are ranked within year and node, and within the group if one is given; null scores have no rank.

    Args:
        scores: key region_code[, year][, node_id] | score; further columns are kept.
        group: column with the group of each row, as a region or a size class.
        pooled: the years of a panel in one ranking.

    Raises:
        MethodError: a column missing, a key twice or empty, an infinite score, a unit without group.
    """
    frame = _scored(scores)
    by = _dividers(frame, pooled)
    if group is not None:
        if group not in frame.columns:
            raise MethodError(f"rank_table: no column {group!r}", "add the group of each unit to the scores")
        alone = frame.filter(pl.col(group).is_null())
        if alone.height:
            raise MethodError(f"rank_table: {alone[UNIT][0]} has no {group}", "give every unit its group")
        by = [*by, group]
    return _with_ranks(frame, by)


def unit_summary(scores: pl.DataFrame, unit: str, group: str | None = None) -> pl.DataFrame:
    """Score, rank and number ranked of one unit at every node and year: its rows of `rank_table`, in their order.

    Nodes without a score are kept, with null.

    Args:
        scores, group: as in `rank_table`.
        unit: region_code.

    Raises:
        MethodError: an unknown unit; as `rank_table`.
    """
    rows = rank_table(scores, group).filter(pl.col(UNIT) == unit)
    if not rows.height:
        raise MethodError(f"unit {unit!r} has no row in the scores", f"give a {UNIT} of theirs")
    return rows


def strengths(
    scores: pl.DataFrame, unit: str, n: int = STRONG, leaves: Sequence[str] | None = None, group: str | None = None
) -> pl.DataFrame:
    """The n nodes in which a unit ranks best, each year, best first: its rows of `rank_table`.

    Equal ranks are listed by node_id. Nodes without a score are neither strengths nor weaknesses.

    Args:
        scores: as in `rank_table`, with node_id.
        unit: region_code.
        n: nodes listed per year, fewer if the unit has fewer.
        leaves: node ids to choose from; all if None.
        group: column of groups: ranks within the unit's own group.

    Raises:
        MethodError: an unknown unit or leaf, n < 1, no column node_id; as `rank_table`.
    """
    return _extremes(scores, unit, n, leaves, group, worst=False)


def weaknesses(
    scores: pl.DataFrame, unit: str, n: int = STRONG, leaves: Sequence[str] | None = None, group: str | None = None
) -> pl.DataFrame:
    """The n nodes in which a unit ranks worst, each year, worst first; arguments and errors as in `strengths`."""
    return _extremes(scores, unit, n, leaves, group, worst=True)


def _extremes(
    scores: pl.DataFrame, unit: str, n: int, leaves: Sequence[str] | None, group: str | None, worst: bool
) -> pl.DataFrame:
    """First n nodes per year by rank."""
    if n < 1:
        raise MethodError(f"strengths: {n} nodes", "ask for at least one")
    if NODE not in scores.columns:
        raise MethodError(f"strengths: no column {NODE}", "give the scores of several nodes")
    known = set(scores[NODE].to_list())
    unknown = next((leaf for leaf in leaves or () if leaf not in known), None)
    if unknown is not None:
        raise MethodError(f"strengths: unknown node {unknown!r}", "give node ids of the scores")
    rows = unit_summary(scores, unit, group).drop_nulls("rank")
    if leaves is not None:
        rows = rows.filter(pl.col(NODE).is_in(list(leaves)))
    years = [YEAR] if YEAR in rows.columns else []
    ordered = rows.sort(*years, "rank", NODE, descending=[False] * len(years) + [worst, False])
    return ordered.group_by(years, maintain_order=True).head(n).select(rows.columns) if years else ordered.head(n)


# -- scorings against each other ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Comparison:
    """Result of `compare` and `compare_many`.

    Attributes:
        table: one row per key (and scoring): scores, ranks and their changes; sorted by key.
        summary: one row per year and node (and scoring): units, moved, mean and largest absolute rank shift, Spearman's
            ρ and Kendall's τ-b of the two rankings (null for fewer than 3 units or a ranking of equal scores alone).
        unmatched: keys left out because a scoring has no score for them, `lacking` = names of those scorings.
    """

    table: pl.DataFrame
    summary: pl.DataFrame
    unmatched: pl.DataFrame


def _aligned(scorings: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Scores of all scorings side by side, sorted by key, with the key columns and the score columns in given order."""
    if len(scorings) < 2:
        raise MethodError(f"compare: {len(scorings)} scoring", "give two or more")
    frames = {name: _scored(scoring, name) for name, scoring in scorings.items()}
    keys = {name: _key(frame) for name, frame in frames.items()}
    first, key = next(iter(keys.items()))
    other = next((name for name in keys if keys[name] != key), None)
    if other is not None:
        raise MethodError(
            f"compare: {first} is keyed by {', '.join(key)}, {other} by {', '.join(keys[other])}", "give the same key"
        )
    columns = [f"score_{i}" for i in range(len(frames))]  # names of scorings may be anything
    sides = [
        frame.select(*key, pl.col(SCORE).alias(column)) for column, frame in zip(columns, frames.values(), strict=True)
    ]
    wide = sides[0]
    for side in sides[1:]:
        wide = wide.join(side, on=key, how="full", coalesce=True)
    return wide.sort(key), key, columns


def compare_many(scorings: Mapping[str, pl.DataFrame], pooled: bool = False) -> Comparison:
    """Every scoring against the first: ranks, rank changes, and how far the ranking moved.

    Units are compared, and ranked, among those that all scorings have a score for, within year and node; the others are
    listed. rank_change = reference_rank − rank: positive = climbs.

    Args:
        scorings: frames as in `rank_table` by name; the first is the reference.
        pooled: the years of a panel in one ranking.

    Returns:
        Comparison; table: key, scoring, reference_score, score, score_change, reference_rank, rank, rank_change,
        absolute_rank_change; summary: [year, node_id,] scoring, units, moved, mean_absolute_rank_shift,
        max_absolute_rank_shift, spearman, kendall.

    Raises:
        MethodError: fewer than two scorings, different key columns, no unit in common; as `rank_table`.
    """
    wide, key, columns = _aligned(scorings)
    names = list(scorings)
    common = pl.all_horizontal(pl.col(columns).is_not_null())
    matched = wide.filter(common)
    if not matched.height:
        raise MethodError(
            f"compare: {', '.join(names)} have no scored {UNIT} in common", "compare scorings of the same units"
        )
    lacking = [pl.when(pl.col(c).is_null()).then(pl.lit(name)) for c, name in zip(columns, names, strict=True)]
    unmatched = wide.filter(~common).select(
        *key, pl.concat_str(lacking, separator=", ", ignore_nulls=True).alias("lacking")
    )
    by = _dividers(matched, pooled)
    ranked = [_with_ranks(matched.select(*key, pl.col(column).alias(SCORE)), by) for column in columns]
    tables = []
    for name, side in zip(names[1:], ranked[1:], strict=True):
        change = pl.col("reference_rank") - pl.col("rank")
        tables.append(
            side.select(
                *key,
                pl.lit(name).alias("scoring"),
                ranked[0][SCORE].alias("reference_score"),
                SCORE,
                (pl.col(SCORE) - ranked[0][SCORE]).alias("score_change"),
                ranked[0]["rank"].alias("reference_rank"),
                "rank",
            ).with_columns(rank_change=change, absolute_rank_change=change.abs())
        )
    table = pl.concat(tables)
    return Comparison(table.sort(key, maintain_order=True), _summary(table, [*by, "scoring"]), unmatched)


def _summary(table: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """One row per part of a comparison table: how far its ranking moved from the reference."""
    parts = _parts(table, by)
    association = np.full((len(parts), 2), np.nan)
    ranks = table.select("reference_rank", "rank").to_numpy().astype(np.float64)
    for row, (_, positions) in enumerate(parts):
        for column, kind in enumerate(("spearman", "kendall")):
            association[row, column] = correlation(ranks[positions], kind=kind).r[0, 1]
    shift = pl.col("absolute_rank_change")
    moves = table.group_by(by, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("units"),
        (shift > 0).sum().cast(pl.Int64).alias("moved"),
        shift.mean().alias("mean_absolute_rank_shift"),
        shift.max().alias("max_absolute_rank_shift"),
    )
    statistics = pl.DataFrame(association, schema={"spearman": pl.Float64, "kendall": pl.Float64}).fill_nan(None)
    return pl.concat([moves, statistics], how="horizontal").sort(by[:-1], maintain_order=True)


def compare(a: pl.DataFrame, b: pl.DataFrame, pooled: bool = False) -> Comparison:
    """Two scorings of the same units side by side: ranks, differences, and how far the ranking moved from a to b.

    `compare_many` with two scorings: ranks among the units that both have a score for; rank_change = rank_a − rank_b.

    Args:
        a, b: frames as in `rank_table`.
        pooled: the years of a panel in one ranking.

    Returns:
        Comparison; table: key, score_a, score_b, score_change, rank_a, rank_b, rank_change, absolute_rank_change;
        summary as in `compare_many` without `scoring`.

    Raises:
        MethodError: as `compare_many`.
    """
    both = compare_many({"a": a, "b": b}, pooled)
    names = {"reference_score": "score_a", SCORE: "score_b", "reference_rank": "rank_a", "rank": "rank_b"}
    return Comparison(both.table.drop("scoring").rename(names), both.summary.drop("scoring"), both.unmatched)


def compare_correlation(
    scorings: Mapping[str, pl.DataFrame], kind: str = "spearman", pooled: bool = False
) -> pl.DataFrame:
    """Correlations between scorings: [year, node_id,] scoring_a, scoring_b, r, n; one row per unordered pair.

    Over the units that both have a score for, within year and node; r is null where undefined (see `correlation`).

    Args:
        scorings: frames as in `rank_table` by name.
        kind: pearson | spearman | kendall, of the scores.
        pooled: the years of a panel together.

    Raises:
        MethodError: an unknown kind; as `compare_many`.
    """
    wide, _, columns = _aligned(scorings)
    by = _dividers(wide, pooled)
    names = list(scorings)
    values = wide.select(columns).to_numpy()
    rows = []
    for part, positions in _parts(wide, by):
        found = correlation(values[positions], kind=kind)
        for i, j in combinations(range(len(names)), 2):
            rows.append((*part, names[i], names[j], float(found.r[i, j]), int(found.n[i, j])))
    schema = {column: wide.schema[column] for column in by} | {
        "scoring_a": pl.String,
        "scoring_b": pl.String,
        "r": pl.Float64,
        "n": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None).sort(by, maintain_order=True)
