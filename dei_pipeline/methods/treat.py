"""Outlier treatment: the skewness and kurtosis rule, and winsorisation one point at a time [methodology §3.9, §0a].

Order of the whole: impute → treat → normalise → weight → aggregate. Treated points are listed, raw data never change.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
SKEW_LIMIT = 2.0  # methodology §3.9; OECD/JRC Handbook, COINr
KURTOSIS_LIMIT = 3.5  # excess kurtosis
MAX_POINTS = 5


def _central_moments(x: ArrayLike) -> tuple[int, float, float, float]:
    """n, m2, m3, m4 of the available values: central moments with divisor n, deviations in units of the largest.

    Skewness and kurtosis do not depend on the unit; without it powers of tiny or huge deviations leave the float range.
    """
    values = np.asarray(x, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = values.size
    if n == 0:
        return 0, 0.0, 0.0, 0.0
    deviations = values - values.mean()
    largest = np.abs(deviations).max()
    if largest <= 8 * np.finfo(np.float64).eps * np.abs(values).max():  # constant up to rounding
        return n, 0.0, 0.0, 0.0
    deviations = deviations / largest
    squares = deviations * deviations
    return n, float(squares.mean()), float((squares * deviations).mean()), float((squares * squares).mean())


def skewness(x: ArrayLike) -> float:
    """Bias-corrected skewness G1 = g1·√(n(n−1))/(n−2), g1 = m3/m2^1.5; NaN for n < 3 or constant values.

    Missing values (NaN) are left out. Reference: Joanes & Gill (1998), type 2; methodology §3.9.
    """
    n, m2, m3, _ = _central_moments(x)
    if n < 3 or m2 == 0:
        return float("nan")
    return m3 / m2**1.5 * float(np.sqrt(n * (n - 1))) / (n - 2)


def kurtosis(x: ArrayLike) -> float:
    """Bias-corrected excess kurtosis G2; NaN for n < 4 or constant values.

    G2 = (n−1)/((n−2)(n−3))·((n+1)·g2 + 6), g2 = m4/m2² − 3.
    Missing values (NaN) are left out. Reference: Joanes & Gill (1998), type 2; methodology §3.9.
    """
    n, m2, _, m4 = _central_moments(x)
    if n < 4 or m2 == 0:
        return float("nan")
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m4 / m2**2 - 3) + 6)


def is_outlying(x: ArrayLike, skew_limit: float = SKEW_LIMIT, kurtosis_limit: float = KURTOSIS_LIMIT) -> bool:
    """Whether the distribution needs treatment: |skew| > 2 and excess kurtosis > 3.5 (false where undefined)."""
    return abs(skewness(x)) > skew_limit and kurtosis(x) > kurtosis_limit


@dataclass(frozen=True)
class Winsorised:
    """Result of `winsorise`.

    Attributes:
        values: treated values, shape of the input, NaN kept.
        treated: positions of the treated points, ascending.
        passed: whether the rule holds now; if not, the caller takes the log of the raw values instead.
    """

    values: Floats
    treated: NDArray[np.int64]
    passed: bool


def winsorise(
    x: ArrayLike,
    max_points: int = MAX_POINTS,
    skew_limit: float = SKEW_LIMIT,
    kurtosis_limit: float = KURTOSIS_LIMIT,
) -> Winsorised:
    """Values with the outlying tail pulled in, one point at a time to the next value, until the rule holds.

    The tail is the one the skew points to; the rule is tested again after every step. Equal extremes move together (a
    treated point stays equal to the one it was set to); at most `max_points` points are treated.

    Args:
        x: values of one indicator, one dimension; NaN = missing.
        max_points: most points to treat [methodology §3.9: 5].
        skew_limit, kurtosis_limit: treat while |skew| > skew_limit and excess kurtosis > kurtosis_limit.

    Raises:
        MethodError: `x` has not one dimension, or an infinite value.
    """
    raw = np.asarray(x, dtype=np.float64)
    if raw.ndim != 1 or np.isinf(raw).any():
        raise MethodError(f"winsorise: {raw.ndim} dimensions or infinite values", "give one finite column")
    values = raw.copy()
    while is_outlying(values, skew_limit, kurtosis_limit):
        sign = 1.0 if skewness(values) > 0 else -1.0
        signed = sign * values
        extreme = signed == np.nanmax(signed)
        treated = extreme | ((values != raw) & ~np.isnan(raw))
        if int(treated.sum()) > max_points:
            break
        values[extreme] = sign * np.nanmax(signed[~extreme])
    moved = np.flatnonzero((values != raw) & ~np.isnan(raw))
    return Winsorised(values, moved, not is_outlying(values, skew_limit, kurtosis_limit))


def log_shifted(x: ArrayLike) -> Floats:
    """ln(x − min + 0.01·(max − min)) of the raw values, NaN kept [methodology §0a «Treatment»].

    Raises:
        MethodError: constant values (the logarithm of 0) or no value at all.
    """
    values = np.asarray(x, dtype=np.float64)
    present = values[~np.isnan(values)]
    spread = float(present.max() - present.min()) if present.size else 0.0
    if spread <= 0:
        raise MethodError("log: all values are equal or missing", "leave the indicator untreated")
    return np.log(values - present.min() + 0.01 * spread)


@dataclass(frozen=True)
class WinsorisedMax:
    """Result of `winsorised_max`.

    Attributes:
        theta: largest value after winsorisation.
        maximum: positions of the untreated values equal to theta: the rows that determine it.
        treated: positions of points pulled in at the upper tail (theta does not move with them).
        passed: whether the distribution meets the rule after treatment.
    """

    theta: float
    maximum: NDArray[np.int64]
    treated: NDArray[np.int64]
    passed: bool


def winsorised_max(x: ArrayLike, max_points: int = MAX_POINTS) -> WinsorisedMax:
    """The threshold θ of one indicator: its maximum after `winsorise`, unit of `x`.

    Source: methodology §3.1 (θ rule), §6 row 5, inferred. A lower tail pulled in does not change the maximum and is not
    listed. Where even `max_points` points do not meet
    the rule, the partly winsorised maximum is returned with passed = False (a log step would leave the scale of x).

    Raises:
        MethodError: no value at all.
    """
    raw = np.asarray(x, dtype=np.float64)
    if not (~np.isnan(raw)).any():
        raise MethodError("winsorised maximum of no value", "ingest the indicator for the base year, or fix theta")
    result = winsorise(raw, max_points)
    theta = float(np.nanmax(result.values))
    return WinsorisedMax(
        theta, np.flatnonzero(raw == theta), result.treated[raw[result.treated] > theta], result.passed
    )
