"""Descriptive statistics of indicators, one column each: location, spread, shape, availability, repetition.

Columns of a matrix are indicators, rows are units (or units × years); NaN = missing and is left out. A column alone and
the same column in a matrix give the same number, bit for bit.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SKEW_LIMIT = 2.0  # methodology §3.9; OECD/JRC Handbook, COINr
KURTOSIS_LIMIT = 3.5  # excess kurtosis
MIN_AVAILABLE = 0.65  # COINr get_stats
MIN_NONZERO = 0.5
MIN_UNIQUE = 0.5
QUANTILES = (0.05, 0.25, 0.75, 0.95)
ROUNDING = 8 * np.finfo(np.float64).eps  # relative deviations up to this are rounding, not variation


def table(x: ArrayLike, names: Sequence[str] | None = None) -> tuple[Floats, list[str]]:
    """A column or matrix as floats of shape (units, indicators), and a name of every column for messages.

    Args:
        x: one or two dimensions; None and NaN = missing.
        names: one name per column; `column 1`, `column 2` … if None.

    Raises:
        MethodError: another number of dimensions, no row, another number of names, a name twice, or an infinite value.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim not in (1, 2) or values.shape[0] == 0:
        raise MethodError(f"values of shape {values.shape}", "give units in rows, indicators in columns")
    values = values.reshape(values.shape[0], -1)
    labels = [f"column {j + 1}" for j in range(values.shape[1])] if names is None else list(names)
    if len(labels) != values.shape[1] or len(set(labels)) != len(labels):
        raise MethodError(f"{len(set(labels))} names for {values.shape[1]} columns", "give each column its own name")
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise MethodError(
            f"{labels[infinite.argmax()]} has an infinite value", "check the denominator of the indicator for zeros"
        )
    return values, labels


def _deviations(x: ArrayLike) -> tuple[Ints, Floats, Floats]:
    """Number of values, mean, and deviations from it with 0 for missing values; columns lie in rows here."""
    values = np.ascontiguousarray(np.asarray(x, dtype=np.float64).T)
    missing = np.isnan(values)
    n = (~missing).sum(axis=-1)
    mean = np.full(n.shape, np.nan)
    np.divide(np.where(missing, 0.0, values).sum(axis=-1), n, out=mean, where=n > 0)
    return n, mean, np.where(missing, 0.0, values - mean[..., None])


def _largest(x: ArrayLike) -> Floats:
    """Largest absolute value of every column, 0 without values."""
    return np.nan_to_num(np.abs(np.asarray(x, dtype=np.float64)), nan=0.0).max(axis=0, initial=0.0)


def constant(x: ArrayLike) -> NDArray[np.bool_]:
    """Whether the values of a column are equal up to rounding, shape x.shape[1:]; true without values."""
    _, _, deviations = _deviations(x)
    return np.abs(deviations).max(axis=-1, initial=0.0) <= ROUNDING * _largest(x)


def mean_and_sd(x: ArrayLike) -> tuple[Floats, Floats]:
    """Arithmetic mean and standard deviation √(Σ(x − x̄)²/(n − 1)) of every column, each of shape x.shape[1:].

    The mean is NaN without values, the standard deviation with fewer than two.
    """
    n, mean, deviations = _deviations(x)
    sd = np.full(n.shape, np.nan)
    np.divide((deviations * deviations).sum(axis=-1), n - 1, out=sd, where=n > 1)
    return mean, np.sqrt(sd)


def _central_moments(x: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """n, m2, m3, m4 of every column: central moments with divisor n, deviations in units of the largest.

    Skewness and kurtosis do not depend on the unit; without it powers of tiny or huge deviations leave the float range.
    """
    n, _, deviations = _deviations(x)
    largest = np.abs(deviations).max(axis=-1, initial=0.0)
    scaled = np.zeros_like(deviations)
    np.divide(deviations, largest[..., None], out=scaled, where=~constant(x)[..., None])
    squares = scaled * scaled
    count = np.maximum(n, 1)
    sums = (squares.sum(axis=-1), (squares * scaled).sum(axis=-1), (squares * squares).sum(axis=-1))
    return n.astype(np.float64), sums[0] / count, sums[1] / count, sums[2] / count


def skewness(x: ArrayLike) -> Floats:
    """Bias-corrected skewness G1 = g1·√(n(n−1))/(n−2), g1 = m3/m2^1.5, of every column, shape x.shape[1:].

    NaN for n < 3 or a constant column. Reference: Joanes & Gill (1998), type 2; methodology §3.9.
    """
    n, m2, m3, _ = _central_moments(x)
    defined = (n >= 3) & (m2 > 0)
    n, m2 = np.where(defined, n, 3.0), np.where(defined, m2, 1.0)
    return np.where(defined, m3 / m2**1.5 * np.sqrt(n * (n - 1)) / (n - 2), np.nan)


def kurtosis(x: ArrayLike) -> Floats:
    """Bias-corrected excess kurtosis G2 of every column, shape x.shape[1:].

    G2 = (n−1)/((n−2)(n−3))·((n+1)·g2 + 6), g2 = m4/m2² − 3.
    NaN for n < 4 or a constant column. Reference: Joanes & Gill (1998), type 2; methodology §3.9.
    """
    n, m2, _, m4 = _central_moments(x)
    defined = (n >= 4) & (m2 > 0)
    n, m2 = np.where(defined, n, 4.0), np.where(defined, m2, 1.0)
    return np.where(defined, (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m4 / m2**2 - 3) + 6), np.nan)


def run_starts(ordered: Floats) -> Ints:
    """Row at which the run of equal values around each row of ascending columns begins, shape of `ordered`.

    NaN is equal to nothing. The competition rank of a value is this row + 1 (ties get the lowest rank).
    """
    rows = np.arange(ordered.shape[0]).reshape(-1, *[1] * (ordered.ndim - 1))
    begins = np.ones(ordered.shape, dtype=bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return np.maximum.accumulate(np.where(begins, rows, 0), axis=0)


def quantiles(x: ArrayLike, shares: Sequence[float]) -> Floats:
    """Quantiles of every column, shape (shares, indicators): R type 7, linear between order statistics.

    Q(p) = x₍ₖ₎ + (h − k)·(x₍ₖ₊₁₎ − x₍ₖ₎), h = (n − 1)·p + 1, k = ⌊h⌋; NaN without values.
    Reference: Hyndman & Fan (1996), definition 7.

    Args:
        x: a column or matrix; NaN = missing.
        shares: p in [0, 1].

    Raises:
        MethodError: a share outside [0, 1]; see also `table`.
    """
    values, _ = table(x)
    p = np.asarray(shares, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise MethodError(f"quantiles of shares {p.tolist()}", "give shares between 0 and 1")
    ordered = np.sort(values, axis=0)
    last = np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    h = p[:, None] * last
    lower = np.floor(h).astype(np.int64)
    below = np.take_along_axis(ordered, lower, axis=0)
    above = np.take_along_axis(ordered, np.minimum(lower + 1, last), axis=0)
    return below + (h - lower) * (above - below)


def describe(
    x: ArrayLike,
    names: Sequence[str] | None = None,
    min_available: float = MIN_AVAILABLE,
    min_nonzero: float = MIN_NONZERO,
    min_unique: float = MIN_UNIQUE,
    skew_limit: float = SKEW_LIMIT,
    kurtosis_limit: float = KURTOSIS_LIMIT,
) -> pl.DataFrame:
    """Statistics and flags of every indicator, one row each, in the order of the columns.

    Columns: indicator_id | min, max, mean, median, sd (n − 1), q05, q25, q75, q95 (type 7) in the indicator's unit,
    skew, kurtosis (G1, G2) | n_available, n_nonzero, n_unique, n_same (most equal values) | share_available
    of all units, share_nonzero, share_unique, share_same of the available ones | low_availability, many_zeros,
    few_distinct (available, nonzero, distinct values as a share of all units below their limit), outlying (|skew| and
    kurtosis above theirs). Undefined numbers are null: those of a column without values, skew and kurtosis of a
    constant one (n_unique 1). Source: COINr `get_stats`; OECD/JRC Handbook step 3.

    Args:
        x: values, shape (units, indicators) or one column; NaN = missing.
        names: indicator ids of the columns.
        min_available, min_nonzero, min_unique: least shares of all units.
        skew_limit, kurtosis_limit: as in `treat.is_outlying`.

    Raises:
        MethodError: as `table`.
    """
    values, labels = table(x, names)
    units = values.shape[0]
    ordered = np.sort(values, axis=0)
    present = ~np.isnan(ordered)
    n = present.sum(axis=0)
    starts, rows = run_starts(ordered), np.arange(units)[:, None]
    unique = ((starts == rows) & present).sum(axis=0)
    same = np.where(present, rows - starts + 1, 0).max(axis=0)
    nonzero = (present & (ordered != 0)).sum(axis=0)
    mean, sd = mean_and_sd(values)
    skew, kurt = skewness(values), kurtosis(values)
    low, median, high = quantiles(values, (0, 0.5, 1))
    numbers = {"min": low, "max": high, "mean": mean, "median": median, "sd": sd}
    numbers |= {f"q{round(p * 100):02d}": q for p, q in zip(QUANTILES, quantiles(values, QUANTILES), strict=True)}
    numbers |= {"skew": skew, "kurtosis": kurt}
    counts = {"available": n, "nonzero": nonzero, "unique": unique, "same": same}
    shares = {f"share_{key}": np.full(n.shape, np.nan) for key in counts}
    shares["share_available"] = n / units
    for key in ("nonzero", "unique", "same"):
        np.divide(counts[key], n, out=shares[f"share_{key}"], where=n > 0)
    with np.errstate(invalid="ignore"):
        outlying = (np.abs(skew) > skew_limit) & (kurt > kurtosis_limit)
    flags = {
        "low_availability": n / units < min_available,
        "many_zeros": nonzero / units < min_nonzero,
        "few_distinct": unique / units < min_unique,
        "outlying": outlying,
    }
    return pl.DataFrame(
        {"indicator_id": labels}
        | {key: pl.Series(column, dtype=pl.Float64).fill_nan(None) for key, column in numbers.items()}
        | {f"n_{key}": pl.Series(column, dtype=pl.UInt32) for key, column in counts.items()}
        | {key: pl.Series(column, dtype=pl.Float64).fill_nan(None) for key, column in shares.items()}
        | {key: pl.Series(column, dtype=pl.Boolean) for key, column in flags.items()}
    )
