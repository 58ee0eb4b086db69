"""Robustness: Monte Carlo ranks and tier probabilities, and removal of elements [methodology §3.25, §0a «Robustness»].

Memory: ranks are kept as counts per row and rank; of the replications only the comparable scores are kept (8 bytes per
row), for their exact quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.assumptions import DROP, NOTHING, Assumptions, Chunk, evaluate, removable
from dei_pipeline.methods.tiers import RANK_SCALE, round_half_up, tier

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NOMINAL = pl.DataFrame({DROP: [NOTHING]})  # one replication with every assumption as it is
LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95


@dataclass(frozen=True)
class Robustness:
    """What is left of scores and ranks when the assumptions vary.

    Attributes:
        units: per row its group, nominal score, rank and tier; over the replications in which it has a score: mean,
            median, 5 and 95 % points of score and rank (quantiles of type 7), probability of the nominal tier and of
            the first k ranks, mean absolute rank shift, how often it has no score. `boundary`: the 5–95 % interval of
            its rank reaches beyond the ranks that its nominal tier holds.
        tiers: probability of each tier per row; sums to 1.
        replications: per replication how many rows have a score, values raised to 1e-6, mean absolute rank shift, and
            `status`: ok, partial (a row lost its score), no_score, zero_sum_weights.
        events: what happened and how often; empty if nothing did.
        sample: the draws, to be given back in for a replay.
    """

    units: pl.DataFrame
    tiers: pl.DataFrame
    replications: pl.DataFrame
    events: pl.DataFrame
    sample: pl.DataFrame


def simulate(
    assumptions: Assumptions,
    n: int = 1000,
    seed: int = 0,
    top: Sequence[int] = (10,),
    correlation: Mapping[tuple[str, str], float] | None = None,
    sample: pl.DataFrame | None = None,
) -> Robustness:
    """Monte Carlo of an index: distribution of every row's score, rank and tier under uncertain assumptions.

    Ranks are competition ranks within the row's group on scores rounded to 1e-10; tiers are decided on the score
    rounded half up as published. Statistics of scores and tiers rest on the replications that are comparable with the
    nominal case (`Scenario.comparable`, no Copeland), those of ranks on all [methodology §3.25; OECD/JRC Handbook
    step 7].

    Args:
        assumptions: the index and what varies.
        n, seed: number of replications and seed of PCG64; the same seed gives the same result.
        top: numbers k.
        correlation: as in `sampling.uniforms`.
        sample: draws to replay, in place of n, seed and correlation.

    Raises:
        MethodError: a k below 1, an empty sample; see `Assumptions.sample`, `evaluate`.
    """
    drawn = assumptions.sample(n, seed, correlation) if sample is None else sample
    if drawn.is_empty() or any(k < 1 for k in top):
        raise MethodError(f"{drawn.height} replications, top {list(top)}", "give at least one, and k ≥ 1")
    tally = _Tally(assumptions, drawn.height)
    for chunk in evaluate(assumptions, drawn):
        tally.add(chunk)
    return Robustness(tally.units(top), tally.tiers(), tally.replications(), tally.events(), drawn)


def ranks(scores: ArrayLike, groups: Sequence[Integers] | None = None) -> Integers:
    """Competition ranks (1, 2, 2, 4) within each row of scores, as `tiers.competition_rank`; 0 where there is no score.

    Args:
        scores: higher is better, shape (replications, rows).
        groups: positions of the rows that are ranked together; all if None.
    """
    values = -np.rint(np.asarray(scores, dtype=np.float64) * RANK_SCALE)
    result = np.zeros(values.shape, dtype=np.int64)
    for rows in [np.arange(values.shape[1])] if groups is None else groups:
        block = values[:, rows]
        order = np.argsort(block, axis=1)  # NaN stands last
        ordered = np.take_along_axis(block, order, axis=1)
        place = np.zeros(block.shape, dtype=np.int64)
        place[:, 1:] = np.where(ordered[:, 1:] != ordered[:, :-1], np.arange(1, block.shape[1]), 0)
        place = np.maximum.accumulate(place, axis=1) + 1
        ranked = np.empty_like(place)
        np.put_along_axis(ranked, order, np.where(np.isnan(ordered), 0, place), axis=1)
        result[:, rows] = ranked
    return result


def rank_shift(rank: Integers, nominal: Integers) -> Floats:
    """Mean absolute rank shift of each replication, over the rows ranked in both; NaN if there is none.

    Args:
        rank: shape (replications, rows); 0 = no rank.
        nominal: shape (rows,).
    """
    both = (rank > 0) & (nominal > 0)
    moved = np.where(both, np.abs(rank - nominal), 0).sum(axis=1)
    counted = both.sum(axis=1)
    return np.where(counted > 0, moved / np.maximum(counted, 1), np.nan)


class _Tally:
    """Counts and scores of the replications seen so far."""

    def __init__(self, assumptions: Assumptions, n: int) -> None:
        self.of, self.groups = assumptions, assumptions.row_groups
        rows = assumptions.rows
        self.nominal: Floats = next(evaluate(assumptions, NOMINAL)).scores[0]
        self.nominal_rank: Integers = ranks(self.nominal[None], self.groups)[0]
        self.counts = np.zeros((rows, 1 + max(len(g) for g in self.groups)), dtype=np.int64)
        self.bounds = assumptions.framework.tiers
        self.reached = np.zeros((rows, self.bounds.height), dtype=np.int64)
        self.scores, self.kept, self.total = np.empty((n, rows)), 0, np.zeros(rows)
        self.scored, self.floored = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.shift, self.zero_sum, self.partial = np.full(n, np.nan), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)

    def add(self, chunk: Chunk) -> None:
        """Takes in some replications."""
        rank = ranks(chunk.scores, self.groups)
        np.add.at(self.counts, (np.broadcast_to(np.arange(rank.shape[1]), rank.shape), rank), 1)
        self.shift[chunk.at] = rank_shift(rank, self.nominal_rank)
        self.scored[chunk.at] = (rank > 0).sum(axis=1)
        self.partial[chunk.at] = ((rank == 0) & (self.nominal_rank > 0)).any(axis=1)
        self.floored[chunk.at], self.zero_sum[chunk.at] = chunk.floored, chunk.zero_sum
        if chunk.comparable:
            self.scores[self.kept : self.kept + len(chunk.at)] = chunk.scores
            self.kept += len(chunk.at)
            self.total += np.nansum(chunk.scores, axis=0)
            published = np.asarray(round_half_up(chunk.scores, self.of.framework.tier_decimals))
            for k, lower in enumerate(self.bounds["lower"].fill_null(-np.inf)):
                self.reached[:, k] += (published >= lower).sum(axis=0)

    def units(self, top: Sequence[int]) -> pl.DataFrame:
        """Statistics per row."""
        ranked = self.counts[:, 1:]
        kept = self.scores[: self.kept]
        kept.sort(axis=0)  # in place: nobody needs to know which replication a score is from; NaN last
        present = self.kept - np.isnan(kept).sum(axis=0)
        low, middle, high = (_quantile(kept, present, q) for q in (LOW, MIDDLE, HIGH))
        rank_low, rank_middle, rank_high = (_count_quantile(ranked, q) for q in (LOW, MIDDLE, HIGH))
        nominal = np.where(self.nominal_rank > 0, self.nominal_rank.astype(np.float64), np.nan)
        places = np.arange(1, ranked.shape[1] + 1)
        shift = np.where(ranked > 0, np.abs(places - nominal[:, None]), 0.0)
        names = self._tier_names()
        columns = {
            "row": np.arange(self.of.rows),
            "group": self._labels(),
            "score": self.nominal,
            "rank": self.nominal_rank,
            "tier": pl.Series(names, dtype=pl.String),
            "tier_probability": self._of_nominal_tier(names),
            "boundary": self._boundary(names, rank_low, rank_high),
            "score_mean": _ratio(self.total, present),
            "score_median": middle,
            "score_p05": low,
            "score_p95": high,
            "rank_mean": _ratio((ranked * places).sum(axis=1), ranked.sum(axis=1)),
            "rank_median": rank_middle,
            "rank_p05": rank_low,
            "rank_p95": rank_high,
            "mean_abs_rank_shift": _ratio((ranked * shift).sum(axis=1), ranked.sum(axis=1)),
            "undefined": self.counts[:, 0],
        } | {f"p_top_{k}": _ratio(ranked[:, :k].sum(axis=1), ranked.sum(axis=1)) for k in top}
        frame = pl.DataFrame(columns)
        return frame.with_columns(pl.col("rank").replace(0, None), pl.col(pl.Float64).fill_nan(None))

    def tiers(self) -> pl.DataFrame:
        """Probability of each tier per row."""
        share = self._tier_shares()
        n, m = share.shape
        ids = self.bounds["tier_id"].to_list()
        return pl.DataFrame(
            {"row": np.repeat(np.arange(n), m), "tier": ids * n, "probability": share.ravel()},
            schema={"row": pl.Int64, "tier": pl.String, "probability": pl.Float64},
        ).with_columns(pl.col("probability").fill_nan(None))

    def _tier_shares(self) -> Floats:
        """Probabilities (rows, tiers), highest tier first; NaN without a comparable score."""
        inside = np.diff(self.reached, axis=1, prepend=0)
        return _ratio(inside, inside.sum(axis=1, keepdims=True))

    def _tier_names(self) -> list[str | None]:
        """Nominal tiers."""
        if self.bounds.is_empty():
            return [None] * self.of.rows
        return tier(self.nominal, self.bounds, self.of.framework.tier_decimals).tolist()

    def _of_nominal_tier(self, names: Sequence[str | None]) -> Floats:
        """Probability of each row's nominal tier."""
        share, at = self._tier_shares(), {t: k for k, t in enumerate(self.bounds["tier_id"].to_list())}
        return np.array([np.nan if t is None else share[i, at[t]] for i, t in enumerate(names)])

    def _boundary(self, names: Sequence[str | None], low: Floats, high: Floats) -> pl.Series:
        """Whether a row's rank interval leaves the ranks of its nominal tier, first to last in its group."""
        result: list[bool | None] = [None] * self.of.rows
        for rows in self.groups:
            held: dict[str, list[int]] = {}
            for i in rows:
                if names[i] is not None:
                    held.setdefault(str(names[i]), []).append(int(self.nominal_rank[i]))
            first = {name: min(places) for name, places in held.items()}
            last = {name: min(places) + len(places) - 1 for name, places in held.items()}
            for i in rows:
                if names[i] is not None and not np.isnan(low[i]):
                    name = str(names[i])
                    result[i] = bool(low[i] < first[name] or high[i] > last[name])
        return pl.Series(result, dtype=pl.Boolean)

    def _labels(self) -> pl.Series:
        """Group of each row, null if there are no groups."""
        groups = self.of.groups
        return pl.Series([None] * self.of.rows, dtype=pl.String) if groups is None else pl.Series(np.asarray(groups))

    def replications(self) -> pl.DataFrame:
        """Diagnostics per replication."""
        status = np.where(self.partial, "partial", "ok")
        status = np.where(self.scored == 0, "no_score", status)
        return pl.DataFrame(
            {
                "replication": np.arange(len(self.scored)),
                "status": pl.Series(np.where(self.zero_sum, "zero_sum_weights", status).tolist(), dtype=pl.String),
                "scored": self.scored,
                "floored": self.floored,
                "mean_abs_rank_shift": self.shift,
            }
        ).with_columns(pl.col("mean_abs_rank_shift").fill_nan(None))

    def events(self) -> pl.DataFrame:
        """What went wrong or was bent, with counts; constant and empty leaves of each scenario."""
        statuses = self.replications()["status"]
        found = [
            ("replications_" + s, "replications", int((statuses == s).sum()))
            for s in ("partial", "no_score", "zero_sum_weights")
        ]
        found.append(("floored", "values raised to 1e-6 for a mean that needs scores > 0", int(self.floored.sum())))
        found.append(("undefined", "scores of rows that have none in a replication", int(self.counts[:, 0].sum())))
        found.append(("not_comparable", "replications on another scale", len(self.scored) - self.kept))
        for key, scenario in self.of.scenarios.items():
            scores = np.asarray(scenario.scores, dtype=np.float64)
            missing: NDArray[np.bool_] = np.atleast_1d(np.isnan(scores).all(axis=0))
            high, low = (
                np.nanmax(np.where(missing, 0.0, scores), axis=0),
                np.nanmin(np.where(missing, 0.0, scores), axis=0),
            )
            for i, leaf in enumerate(self.of.framework.leaf_ids):
                detail = " ".join(("leaf", leaf, *key))
                found.append(("empty_leaf", detail, int(missing[i])))
                found.append(("constant_leaf", detail, int(not missing[i] and high[i] == low[i])))
        schema = {"event": pl.String, "detail": pl.String, "count": pl.Int64}
        return pl.DataFrame([e for e in found if e[2]], schema=schema, orient="row")


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Quotients, NaN where the denominator is 0."""
    below = np.asarray(denominator, dtype=np.float64)
    return np.asarray(np.where(below > 0, np.asarray(numerator) / np.where(below > 0, below, 1.0), np.nan))


def _quantile(ordered: Floats, present: Integers, q: float) -> Floats:
    """Quantile (type 7) of each column's first `present` ascending values; NaN without any."""
    place = np.maximum(present - 1, 0) * q
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(present - 1, 0))
    if ordered.shape[0] == 0:
        return np.full(ordered.shape[1], np.nan)
    columns = np.arange(ordered.shape[1])
    below, above = ordered[low, columns], ordered[high, columns]
    return np.asarray(np.where(present > 0, below + (place - low) * (above - below), np.nan))


def _count_quantile(counts: Integers, q: float) -> Floats:
    """Quantile (type 7) of the ranks 1, 2, … that each row of counts stands for; NaN without any."""
    cumulated = np.cumsum(counts, axis=1)
    n = cumulated[:, -1]
    place = np.maximum(n - 1, 0) * q
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(n - 1, 0))
    below, above = (1.0 + np.argmax(cumulated > k[:, None], axis=1) for k in (low, high))
    return np.where(n > 0, below + (place - low) * (above - below), np.nan)


@dataclass(frozen=True)
class Removal:
    """The index without one element at a time.

    Attributes:
        elements: per element its level and kind, and what its removal does: mean and largest absolute rank shift, mean
            absolute change of score (points).
        scores: shape (elements, rows); NaN where there is no score.
        ranks: shape (elements, rows); 0 where there is none.
    """

    elements: pl.DataFrame
    scores: Floats
    ranks: Integers


def removal(assumptions: Assumptions, elements: Sequence[str] | None = None) -> Removal:
    """Scores and ranks with the weight of one leaf or node set to 0 at a time, siblings renormalised.

    An only child takes its parent with it. All other assumptions are nominal [methodology §3.25 «drop-one»].

    Args:
        assumptions: the index; its factors do not matter.
        elements: leaves or nodes, in the order wanted; all without which there still is an index if None.

    Raises:
        MethodError: an unknown element, or one without which nothing is left.
    """
    chosen = list(removable(assumptions.framework) if elements is None else elements)
    if not chosen:
        raise MethodError(f"{assumptions.framework.index_id} has no element to remove", "give a tree with siblings")
    scores = np.empty((len(chosen), assumptions.rows))
    for chunk in evaluate(assumptions, pl.DataFrame({DROP: chosen})):
        scores[chunk.at] = chunk.scores
    nominal = next(evaluate(assumptions, NOMINAL)).scores
    rank, before = ranks(scores, assumptions.row_groups), ranks(nominal, assumptions.row_groups)[0]
    both = (rank > 0) & (before > 0)
    moved = np.where(both, np.abs(rank - before), 0)
    change = np.abs(scores - nominal[0])
    frame = pl.DataFrame(
        {
            "element": chosen,
            "mean_abs_rank_shift": rank_shift(rank, before),
            "max_abs_rank_shift": moved.max(axis=1),
            "mean_abs_score_change": _ratio(np.nansum(change, axis=1), (~np.isnan(change)).sum(axis=1)),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    nodes = assumptions.framework.nodes.select(pl.col("node_id").alias("element"), "level", "kind")
    return Removal(frame.join(nodes, on="element", how="left", maintain_order="left"), scores, rank)
