"""Normalisation of raw values to points: fixed thresholds and saturating counts [methodology §3.1, §3.24].

Arrays in, arrays out; NaN in, NaN out. Thresholds broadcast over raw values, so a column of leaves with different
thresholds is one call.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
DIRECTIONS = ("positive", "negative", "moderate")


def _raw(x: ArrayLike) -> Floats:
    """Raw values as floats; None and NaN are missing, infinity is an error."""
    values = np.asarray(x, dtype=np.float64)
    if np.isinf(values).any():
        raise MethodError("a raw value is infinite", "check the denominator of the indicator for zeros")
    return values


def _parameter(name: str, value: ArrayLike | None) -> Floats:
    """A threshold parameter as finite floats; a missing one is an error, never a silent score."""
    if value is None:
        raise MethodError(f"threshold: {name} is missing", f"give {name}, or compute it from the base year")
    numbers = np.asarray(value, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise MethodError(f"threshold: {name} is missing or not finite", f"give a finite {name}")
    return numbers


def threshold(
    x: ArrayLike,
    theta: ArrayLike | None = None,
    direction: str = "positive",
    lo: ArrayLike | None = None,
    best: ArrayLike | None = None,
    hi: ArrayLike | None = None,
    cap: float | None = None,
) -> Floats:
    """Scores (points) of raw values against fixed thresholds, shape of `x`.

    positive: s = 100·x/θ, negative raw floored at 0 (see `flags`); negative: s = 100·θ/x, x ≤ 0 → cap;
    moderate: s = 100·(x−lo)/(best−lo) if x ≤ best else 100·(hi−x)/(hi−best), clipped to [0, 100].
    Source: seed 000/004 «原始值, 阈值, 无量纲化»; methodology §3.1, §0a. Score at θ (or best) is 100 (invariant N3).

    Args:
        x: raw values, any shape, unit of θ; NaN = missing and stays NaN.
        theta: threshold θ > 0 (positive, negative), broadcast against `x`.
        direction: positive | negative | moderate.
        lo, best, hi: lower end, optimum and upper end (moderate), lo < best < hi.
        cap: largest score in points, or None: later years may exceed 100.

    Raises:
        MethodError: θ ≤ 0, NaN or missing; lo < best < hi violated; an infinite raw value; x ≤ 0 with direction
            negative and no cap; an unknown direction.
    """
    values = _raw(x)
    if direction == "moderate":
        scores = _moderate(values, *_moderate_parameters(lo, best, hi))
    elif direction in DIRECTIONS:
        limit = _parameter("theta", theta)
        if (limit <= 0).any():
            raise MethodError(f"threshold: theta is {limit.min():g}", "give theta > 0 in the indicator's unit")
        scores = _positive(values, limit) if direction == "positive" else _negative(values, limit, cap)
    else:
        raise MethodError(f"threshold: unknown direction {direction!r}", f"use one of {', '.join(DIRECTIONS)}")
    return scores if cap is None else np.minimum(scores, cap)


def _positive(x: Floats, theta: Floats) -> Floats:
    """100·max(x, 0)/θ; divided first, so that the score at θ is exactly 100."""
    return np.maximum(x, 0.0) / theta * 100.0


def _negative(x: Floats, theta: Floats, cap: float | None) -> Floats:
    """100·θ/x; x ≤ 0 has no such score: the cap, or an error without one."""
    impossible = x <= 0
    if cap is None and impossible.any():
        raise MethodError(
            f"threshold: raw value {x[impossible].min():g} on a negative indicator has no score", "set a cap"
        )
    with np.errstate(over="ignore"):
        scores = theta / np.where(impossible, 1.0, x) * 100.0
    return np.where(impossible, np.inf if cap is None else cap, scores)


def _moderate_parameters(lo: ArrayLike | None, best: ArrayLike | None, hi: ArrayLike | None) -> tuple[Floats, ...]:
    """lo, best, hi as floats, strictly increasing."""
    low, top, high = _parameter("lo", lo), _parameter("best", best), _parameter("hi", hi)
    if not ((low < top) & (top < high)).all():
        raise MethodError(f"threshold: lo {low}, best {top}, hi {high}", "moderate needs lo < best < hi")
    return low, top, high


def _moderate(x: Floats, lo: Floats, best: Floats, hi: Floats) -> Floats:
    """Two straight lines that meet at (best, 100), clipped to [0, 100]."""
    with np.errstate(over="ignore"):  # bounds next to each other: infinite before the clip, 0 or 100 after it
        scores = np.where(x <= best, (x - lo) / (best - lo), (hi - x) / (hi - best)) * 100.0
    return np.clip(scores, 0.0, 100.0)


def flags(
    x: ArrayLike,
    theta: ArrayLike | None = None,
    direction: str = "positive",
    lo: ArrayLike | None = None,
    best: ArrayLike | None = None,
    hi: ArrayLike | None = None,
    cap: float | None = None,
) -> NDArray[np.str_]:
    """Per raw value whether the score of `threshold` was bent: "floored", "capped" or "", shape of `x`.

    floored: a negative raw value on a positive indicator, or a moderate one outside [lo, hi];
    capped: the uncapped score exceeds the cap (for negative: also x ≤ 0). Arguments as in `threshold`.
    """
    values = _raw(x)
    if direction == "moderate":
        low, _, high = _moderate_parameters(lo, best, hi)
        capped = threshold(values, None, direction, lo, best, hi) > (np.inf if cap is None else cap)
        return np.where((values < low) | (values > high), "floored", np.where(capped, "capped", ""))
    limit = _parameter("theta", theta)
    if direction == "negative":
        bent = (values <= 0) | (_negative(np.where(values <= 0, 1.0, values), limit, cap) > (cap or np.inf))
        return np.where(bent & (cap is not None), "capped", "")
    capped = _positive(values, limit) > (np.inf if cap is None else cap)
    return np.where(values < 0, "floored", np.where(capped, "capped", ""))


def saturation(n: ArrayLike, n_star: ArrayLike) -> Floats:
    """Scores of counts that saturate, s = 100·min(1, ln(1+n)/ln(1+n*)), shape of `n` [methodology §3.24].

    Args:
        n: counts or weighted counts ≥ 0; NaN = missing and stays NaN, 0 scores 0.
        n_star: count n* > 0 from which on the score is 100.

    Raises:
        MethodError: a negative or infinite count, or n* ≤ 0, NaN or missing.
    """
    counts, full = _raw(n), _parameter("n_star", n_star)
    if (counts < 0).any():
        raise MethodError(f"saturation: count {np.nanmin(counts):g} is negative", "correct the count in its source")
    if (full <= 0).any():
        raise MethodError(f"saturation: n_star is {full.min():g}", "give n_star > 0")
    return np.minimum(np.log1p(counts) / np.log1p(full), 1.0) * 100.0


def slopes(
    x: ArrayLike,
    rule: str,
    direction: str = "positive",
    theta: float | None = None,
    lo: float | None = None,
    best: float | None = None,
    hi: float | None = None,
    cap: float | None = None,
) -> Floats:
    """Derivatives d score / d raw where the score is locally linear in the raw value, else NaN; shape of `x`.

    positive: 100/θ; moderate: 100/(best−lo) or −100/(hi−best); identity: 1; 0 where floored or capped.
    Negative directions and saturating counts below their cap are not linear: NaN.

    Args:
        x: raw values.
        rule: identity | saturation (θ = n*) | any threshold rule.
        direction, theta, lo, best, hi, cap: as in `threshold`.
    """
    values = _raw(x)
    missing = np.isnan(values)
    if rule == "saturation":
        limit = _parameter("n_star", theta)
        return np.where(values >= limit, 0.0, np.nan)
    if rule == "identity":
        return np.where(missing, np.nan, np.where(values > (np.inf if cap is None else cap), 0.0, 1.0))
    bent = flags(values, theta, direction, lo, best, hi, cap) != ""
    if direction == "positive":
        slope = np.where(missing, np.nan, 100.0 / _parameter("theta", theta))
    elif direction == "negative":
        slope = np.full(values.shape, np.nan)
    else:
        low, top, high = _moderate_parameters(lo, best, hi)
        slope = np.where(missing, np.nan, np.where(values <= top, 100.0 / (top - low), -100.0 / (high - top)))
    return np.where(bent, 0.0, slope)
