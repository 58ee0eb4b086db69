"""Normalisation of raw values to points: thresholds, saturating counts, statistical rules [methodology §3.1, §3.24].

Arrays in, arrays out; NaN in, NaN out. Thresholds broadcast over raw values, so a column of leaves with different
thresholds is one call. Statistical rules (`RULES`) take two steps: `fit` gives the parameters of one indicator over a
base year or a whole panel (a panel is a longer column), `score` applies them to any year, so that years are comparable
by construction. `min_max` … `borda` do both for all columns of a matrix at once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import normalise_rules as rules
from dei_pipeline.methods import statistics
from dei_pipeline.methods.normalise_rules import RULES, Directions

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


def fit(
    rule: str, x: ArrayLike, direction: str = "positive", name: str = "the indicator", **given: float
) -> dict[str, float]:
    """Parameters of one indicator under a rule, by the names in `RULES`; {} for ranks.

    min_max: lo, hi = min, max; z_score: mean, sd (n − 1); distance rules: worst = min (negative direction: max), beside
    the best value, target or reference; fraction_of_maximum: best = max (negative: min); scaled, goalposts: as given.

    Args:
        rule: a name in `RULES`.
        x: raw values of a year or a panel; NaN = missing.
        direction: positive | negative.
        name: the indicator, for messages.
        given: parameters that do not come from the data, in the unit of x.

    Raises:
        MethodError: an unknown rule or direction; an infinite value; no value or equal values where parameters come
            from data; a given parameter missing, not finite, unknown or out of order.
    """
    column, labels = statistics.table(np.ravel(np.asarray(x, dtype=np.float64)), [name])
    parameters = rules.fitted(rule, column, rules.signs(rule, direction, 1), given, labels)
    return {key: float(value[0]) for key, value in parameters.items()}


def score(
    rule: str,
    x: ArrayLike,
    direction: str,
    parameters: Mapping[str, float],
    name: str = "the indicator",
    **options: float | bool | None,
) -> Floats:
    """Scores of one indicator under a rule with parameters from `fit`, shape of `x`; formulas: the functions below.

    Years other than the fitted one may leave the range of the rule, up to a `cap`. Ranks compare all values given.

    Args:
        rule: a name in `RULES`.
        x: raw values, any shape; NaN = missing and stays NaN.
        direction: positive | negative.
        parameters: all parameters of the rule, and no other.
        name: the indicator, for messages.
        options: options of the rule in place of their defaults.

    Raises:
        MethodError: as `fit`; an unknown option or one of the wrong kind; a score beyond the float range.
    """
    values = np.asarray(x, dtype=np.float64)
    sign, chosen = rules.signs(rule, direction, 1), rules.settings(rule, options)
    numbers = rules.checked(rule, sign, parameters, [name])
    if values.size == 0:
        return values
    column, labels = statistics.table(values.ravel(), [name])
    return rules.scored(rule, column, sign, numbers, chosen, labels).reshape(values.shape)


def derivative(
    rule: str,
    x: ArrayLike,
    direction: str,
    parameters: Mapping[str, float],
    name: str = "the indicator",
    **options: float | bool | None,
) -> Floats:
    """Derivatives d score / d raw at fixed parameters, shape of `x`: the slope of the straight line, 0 where cut off.

    NaN where the score is not linear (ranks, fraction_of_maximum of a negative indicator) or the raw value is missing.
    Arguments and errors as in `score`.
    """
    scores = score(rule, x, direction, parameters, name, **options)
    if not RULES[rule].linear or (rule == "fraction_of_maximum" and direction == "negative"):
        return np.full(scores.shape, np.nan)
    sign, chosen = rules.signs(rule, direction, 1), rules.settings(rule, options)
    origin, unit, gain, offset = (
        np.squeeze(part) for part in rules.line(rule, sign, rules.checked(rule, sign, parameters, [name]), chosen)
    )
    share = (np.asarray(x, dtype=np.float64) - origin) / unit
    cut = share * gain + offset > (np.inf if chosen["cap"] is None else chosen["cap"])
    if chosen.get("truncate"):
        cut = cut | (share < 0) | (share > 1)
    return np.where(np.isnan(scores), np.nan, np.where(cut, 0.0, gain / unit))


def _both(rule: str, x: ArrayLike, direction: Directions, given: Mapping[str, ArrayLike], **options: Any) -> Floats:
    """Scores of a column or of every column of a matrix, with parameters from the same values; shape of `x`."""
    values, labels = statistics.table(x)
    sign, chosen = rules.signs(rule, direction, values.shape[1]), rules.settings(rule, options)
    numbers = rules.fitted(rule, values, sign, given, labels)
    return rules.scored(rule, values, sign, numbers, chosen, labels).reshape(np.shape(x))


def min_max(x: ArrayLike, direction: Directions = "positive", to_lo: float = 0.0, to_hi: float = 100.0) -> Floats:
    """Scores from `to_lo` at the worst to `to_hi` at the best value, shape of `x`.

    s = to_lo + (to_hi − to_lo)·(x − min)/(max − min), for negative columns ·(max − x)/(max − min).
    Source: OECD/JRC Handbook step 5; COINr. Arguments and errors of all functions below:

    Args:
        x: raw values, a column or a matrix (units, indicators); NaN = missing and stays NaN.
        direction: positive | negative, one for all or one per column.
        to_lo, to_hi: range of the scores.

    Raises:
        MethodError: names the column that is constant, infinite, without value, or whose parameters are not in order;
            an unknown direction; an option out of range.
    """
    return _both("min_max", x, direction, {}, to_lo=to_lo, to_hi=to_hi)


def z_score(x: ArrayLike, direction: Directions = "positive", to_mean: float = 0.0, to_sd: float = 1.0) -> Floats:
    """Scores with mean `to_mean` and standard deviation `to_sd` (n − 1): s = to_mean ± to_sd·(x − x̄)/sd."""
    return _both("z_score", x, direction, {}, to_mean=to_mean, to_sd=to_sd)


def scaled(
    x: ArrayLike,
    lo: ArrayLike,
    hi: ArrayLike,
    direction: Directions = "positive",
    scale: float = 100.0,
    cap: float | None = None,
) -> Floats:
    """Scores against fixed ends, not cut off: s = scale·(x − lo)/(hi − lo), negative scale·(hi − x)/(hi − lo).

    lo < hi are raw values (one or one per column) whatever the direction.
    """
    return _both("scaled", x, direction, {"lo": lo, "hi": hi}, scale=scale, cap=cap)


def goalposts(
    x: ArrayLike,
    lo: ArrayLike,
    hi: ArrayLike,
    direction: Directions = "positive",
    scale: float = 100.0,
    truncate: bool = True,
) -> Floats:
    """Scores against fixed ends as in `scaled`, cut off at 0 and `scale` unless `truncate` is false."""
    return _both("goalposts", x, direction, {"lo": lo, "hi": hi}, scale=scale, truncate=truncate)


def distance_to_target(
    x: ArrayLike,
    target: ArrayLike,
    direction: Directions = "positive",
    scale: float = 100.0,
    cap: float | None = None,
) -> Floats:
    """Scores from 0 at the worst value to `scale` at the target: s = scale·(x − worst)/(target − worst), at most `cap`.

    worst = min, for negative columns max; target: raw value, one or one per column.
    """
    return _both("distance_to_target", x, direction, {"target": target}, scale=scale, cap=cap)


def distance_to_maximum(x: ArrayLike, direction: Directions = "positive", scale: float = 100.0) -> Floats:
    """Scores 1 − (best − x)/(best − worst) in units of `scale`: min-max from 0."""
    return _both("distance_to_maximum", x, direction, {}, scale=scale)


def distance_to_reference(
    x: ArrayLike,
    reference: ArrayLike,
    direction: Directions = "positive",
    scale: float = 100.0,
    cap: float | None = None,
) -> Floats:
    """Scores from 0 at the worst value to `scale` at the reference: `distance_to_target` with another unit's value.

    reference: raw value, one or one per column; never the position of a row, which moves with the data (COINr).
    """
    return _both("distance_to_reference", x, direction, {"reference": reference}, scale=scale, cap=cap)


def fraction_of_maximum(x: ArrayLike, direction: Directions = "positive", scale: float = 100.0) -> Floats:
    """Scores scale·x/max, for negative columns scale·min/x: the best value has `scale`, also in a constant column.

    Negative raw values of a positive column score below 0. The best value must be > 0, in a negative column every value
    (COINr computes x/min there, which gives the worst unit the best score).
    """
    return _both("fraction_of_maximum", x, direction, {}, scale=scale)


def rank(x: ArrayLike, direction: Directions = "positive") -> Floats:
    """Competition ranks from the worst value = 1 up (1, 2, 2, 4): higher is better; ties get the lowest rank."""
    return _both("rank", x, direction, {})


def percentile_rank(x: ArrayLike, direction: Directions = "positive", scale: float = 100.0) -> Floats:
    """Scores scale·(rank − 1)/(n − 1): the share of the other n − 1 values that are worse."""
    return _both("percentile_rank", x, direction, {}, scale=scale)


def borda(x: ArrayLike, direction: Directions = "positive") -> Floats:
    """Borda scores rank − 1: the number of units with a worse value."""
    return _both("borda", x, direction, {})
