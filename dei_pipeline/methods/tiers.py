"""Publication: decimal rounding, tiers, competition ranks, and the evenness of areas [methodology §3.6, §3.7, §2]."""

from typing import overload

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.framework import packaged

Floats = NDArray[np.float64]
QUANTUM_DIGITS = 9  # scores are quantised to 1e-9 before they are rounded [methodology §2 «Determinism»]
RANK_SCALE = 1e10  # ranks compare scores rounded to 1e-10 [methodology §3.7, R1]
EVENNESS_KINDS = ("gini", "pielou", "coverage", "mixed")
COVERAGE_SLACK = 1e-12


@overload
def round_half_up(x: float, decimals: int = 1) -> float: ...
@overload
def round_half_up(x: ArrayLike, decimals: int = 1) -> Floats: ...
def round_half_up(x: ArrayLike, decimals: int = 1) -> float | Floats:
    """`x` rounded to `decimals` as a reader of decimals does: half up (away from zero), after quantising to 1e-9.

    0.25 → 0.3 (Python's `round` gives 0.2), 84.94999999999999 → 85.0: summation order cannot flip a tier.
    Source: methodology §2, §3.7. NaN stays NaN; a scalar gives a float.
    Exact for |x| < 9e15 / 10^decimals.

    Args:
        x: numbers of any shape.
        decimals: digits after the point, 0 to 9.

    Raises:
        MethodError: `decimals` outside 0..9.
    """
    if not 0 <= decimals <= QUANTUM_DIGITS:
        raise MethodError(f"round_half_up: {decimals} decimals", f"give 0 to {QUANTUM_DIGITS}")
    values = np.asarray(x, dtype=np.float64)
    finite = np.isfinite(values)
    size = np.abs(np.where(finite, values, 0.0))
    whole = np.floor(size)
    quanta = np.rint((size - whole) * 10.0**QUANTUM_DIGITS).astype(np.int64)  # the fraction is exact, so are the quanta
    step = 10 ** (QUANTUM_DIGITS - decimals)
    steps = (quanta + step // 2) // step
    scale = 10.0**decimals
    rounded = np.copysign((whole * scale + steps) / scale, values)
    result = np.where(finite, rounded + 0.0, values)
    return float(result) if result.ndim == 0 else result


def tier(score: ArrayLike, bounds: pl.DataFrame, decimals: int = 1) -> NDArray[np.object_]:
    """Tier ids of scores, an object array with None for NaN, by the tiers of a framework.

    Bounds are inclusive below and compared with the score rounded half-up to `decimals` [methodology §3.7, T1].

    Args:
        score: scores in points, any shape.
        bounds: `Framework.tiers`: tier_id and lower, highest first, the last null (open below).
        decimals: decimals of the published score.

    Raises:
        MethodError: no tiers.
    """
    if bounds.is_empty():
        raise MethodError("the framework has no tiers", "add meta.tiers to its methodology file")
    published = np.asarray(round_half_up(np.asarray(score, dtype=np.float64), decimals))
    lower = bounds["lower"].drop_nulls().to_numpy()[::-1]
    ids = np.array(bounds["tier_id"].to_list()[::-1], dtype=object)
    tiers = np.empty(published.shape, dtype=object)
    tiers[...] = ids[np.searchsorted(lower, published, side="right").clip(0, len(ids) - 1)]
    tiers[np.isnan(published)] = None
    return tiers


@overload
def dei_tier(score: float) -> str | None: ...
@overload
def dei_tier(score: ArrayLike) -> NDArray[np.object_]: ...
def dei_tier(score: ArrayLike) -> str | NDArray[np.object_] | None:
    """Tier of a DEI score by the packaged framework `methodology/dei.yaml`; a scalar gives a string (None for NaN)."""
    framework = packaged("dei")
    tiers = tier(score, framework.tiers, framework.tier_decimals)
    return tiers.item() if tiers.ndim == 0 else tiers


def competition_rank(scores: ArrayLike) -> NDArray[np.int64]:
    """Ranks 1, 2, 2, 4: 1 + the number of higher scores, on scores rounded to 1e-10; 0 where the score is NaN.

    Args:
        scores: one dimension, higher is better.
    """
    values = np.rint(np.asarray(scores, dtype=np.float64) * RANK_SCALE)
    present = np.sort(values[~np.isnan(values)])
    higher = present.size - np.searchsorted(present, values, side="right")
    return np.where(np.isnan(values), 0, higher + 1).astype(np.int64)


@overload
def evenness(values: list[float], kind: str = "gini", min_share: float = 0.6) -> float: ...
@overload
def evenness(
    values: ArrayLike, kind: str = "gini", min_share: float = 0.6, weights: ArrayLike | None = None
) -> Floats | float: ...
def evenness(
    values: ArrayLike, kind: str = "gini", min_share: float = 0.6, weights: ArrayLike | None = None
) -> Floats | float:
    """Evenness (均衡性) of area scores in points: one number per row of `values` (a float for one dimension).

    gini: 100·(1−G), G = Σ_i Σ_j |v_i−v_j| / (2n²·mean); pielou: 100·H/ln n, H = −Σ p ln p, p = v/Σv;
    coverage: 100·(areas > 0)/n; mixed: half coverage, half gini (completeness 全面性 of governance).
    All areas zero → 0, not 100. Null areas: over the available ones if they carry at least `min_share` of the weight,
    else NaN. Source: seed 000 §03, §04 (no formula printed); methodology §3.6, §0a «Evenness», inferred.

    Args:
        values: area scores ≥ 0, shape (n,) or (cities, n); NaN = missing.
        kind: gini | pielou | coverage | mixed.
        min_share: least share of weight that the available areas carry.
        weights: weight of each area, shape (n,), for that share only; equal if None.

    Raises:
        MethodError: a negative score, an unknown kind, or weights of another length.
    """
    if kind not in EVENNESS_KINDS:
        raise MethodError(f"evenness: unknown kind {kind!r}", f"use one of {', '.join(EVENNESS_KINDS)}")
    table = np.asarray(values, dtype=np.float64)
    single, table = table.ndim == 1, np.atleast_2d(table)
    if (table < 0).any():
        raise MethodError(f"evenness: score {np.nanmin(table):g} is negative", "floor the scores at 0 first")
    share = np.ones(table.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (table.shape[1],):
        raise MethodError(f"evenness: {share.size} weights for {table.shape[1]} areas", "give one per area")
    present = ~np.isnan(table)
    n = present.sum(axis=1)
    carried = (present * share).sum(axis=1) / share.sum()
    ordered = np.sort(table, axis=1)  # sorted before summing: the order of areas cannot matter; NaN last
    ordered[np.isnan(ordered)] = 0.0
    total = ordered.sum(axis=1)
    valid = (n > 0) & (carried >= min_share - COVERAGE_SLACK)
    with np.errstate(invalid="ignore", divide="ignore"):
        result = _even(ordered, total, n, kind)
    result = np.where(total > 0, result, 0.0)
    result = np.where(valid, np.clip(result, 0.0, 100.0), np.nan)
    return float(result[0]) if single else result


def _even(ordered: Floats, total: Floats, n: NDArray[np.int64], kind: str) -> Floats:
    """Evenness of ascending scores padded with zeros behind their n available ones; rows with total 0 are undefined."""
    if kind == "pielou":
        shares = ordered / total[:, None]
        entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
        return np.where(n > 1, 100.0 * entropy / np.log(np.maximum(n, 2)), 100.0)
    coverage = 100.0 * (ordered > 0).sum(axis=1) / n
    if kind == "coverage":
        return coverage
    position = np.arange(1, ordered.shape[1] + 1)
    gini = 2.0 * (position * ordered).sum(axis=1) / (n * total) - (n + 1.0) / n
    even = 100.0 * (1.0 - gini)
    return even if kind == "gini" else (coverage + even) / 2.0
