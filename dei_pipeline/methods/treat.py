"""Outlier treatment: winsorisation one point at a time, a logarithm where it is not enough [methodology §3.9, §0a].

Order of the whole: impute → treat → normalise → weight → aggregate. Treated points are listed, raw data never change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import statistics
from dei_pipeline.methods.statistics import KURTOSIS_LIMIT, SKEW_LIMIT

Floats = NDArray[np.float64]
MAX_POINTS = 5


def skewness(x: ArrayLike) -> float:
    """Bias-corrected skewness G1 of all values, as `statistics.skewness`; NaN for n < 3 or constant values."""
    return float(statistics.skewness(np.ravel(np.asarray(x, dtype=np.float64))))


def kurtosis(x: ArrayLike) -> float:
    """Bias-corrected excess kurtosis G2 of all values, as `statistics.kurtosis`; NaN for n < 4 or constant values."""
    return float(statistics.kurtosis(np.ravel(np.asarray(x, dtype=np.float64))))


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


def _column(name: str, x: ArrayLike) -> Floats:
    """One column of finite or missing values as floats."""
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise MethodError(f"{name}: {values.ndim} dimensions or infinite values", "give one finite column")
    return values


def winsorise(
    x: ArrayLike,
    max_points: int = MAX_POINTS,
    skew_limit: float = SKEW_LIMIT,
    kurtosis_limit: float = KURTOSIS_LIMIT,
    forced: int = 0,
) -> Winsorised:
    """Values with the outlying tail pulled in, one point at a time to the next value, until the rule holds.

    The tail is the one the skew points to; the rule is tested again after every step. Equal extremes move together (a
    treated point stays equal to the one it was set to); at most `max_points` points are treated.

    Args:
        x: values of one indicator, one dimension; NaN = missing.
        max_points: most points to treat [methodology §3.9: 5].
        skew_limit, kurtosis_limit: treat while |skew| > skew_limit and excess kurtosis > kurtosis_limit.
        forced: points to treat whatever the rule says, the upper tail if the skew is 0 or undefined.

    Raises:
        MethodError: `x` has not one dimension, or an infinite value; fewer than `forced` points can be treated.
    """
    raw = _column("winsorise", x)
    values, moved = raw.copy(), np.zeros(raw.shape, dtype=bool)
    while int(moved.sum()) < forced or is_outlying(values, skew_limit, kurtosis_limit):
        sign = -1.0 if skewness(values) < 0 else 1.0
        signed = sign * values
        extreme = signed == np.nanmax(signed, initial=-np.inf)
        rest = ~extreme & ~np.isnan(raw)
        if int((extreme | moved).sum()) > max_points or not rest.any():
            break
        values[extreme] = sign * signed[rest].max()
        moved |= extreme
    points = np.flatnonzero(moved)
    if points.size < forced:
        raise MethodError(
            f"winsorise: {forced} points forced, {points.size} moved (at most {max_points}, equal ones together)",
            "force fewer points or allow more",
        )
    return Winsorised(values, points, not is_outlying(values, skew_limit, kurtosis_limit))


def _spread(name: str, x: ArrayLike) -> tuple[Floats, float, float]:
    """Values with their minimum and maximum, for a transform that needs them to differ."""
    values = _column(name, x)
    present = values[~np.isnan(values)]
    if present.size == 0 or statistics.constant(present):
        raise MethodError(f"{name}: all values are equal or missing", "leave the indicator untreated")
    low, high = float(present.min()), float(present.max())
    if not np.isfinite(high - low):
        raise MethodError(f"{name}: values from {low:g} to {high:g} leave the float range", "use a larger unit")
    return values, low, high


def log_CT(x: ArrayLike) -> Floats:
    """ln(x − min + 0.01·(max − min)) of the raw values, NaN kept [methodology §0a «Treatment»; COINr].

    Raises:
        MethodError: constant values (the logarithm of 0), an infinite one, or no value at all.
    """
    values, low, high = _spread("log_CT", x)
    return np.log(values - low + 0.01 * (high - low))


log_shifted = log_CT


def log_CT_plus(x: ArrayLike) -> Floats:
    """`log_CT` for a long upper tail, its mirror image −ln(max − x + 0.01·(max − min)) for a long lower one, NaN kept.

    The tail is the one the skew points to; both increase in x. Source: COINr.

    Raises:
        MethodError: as `log_CT`; fewer than three values (no skew).
    """
    values, low, high = _spread("log_CT_plus", x)
    skew = skewness(values)
    if np.isnan(skew):
        raise MethodError("log_CT_plus: the skew of fewer than 3 values is undefined", "leave the indicator untreated")
    return log_CT(values) if skew > 0 else -np.log(high - values + 0.01 * (high - low))


def log_CT_orig(x: ArrayLike) -> Floats:
    """ln(x − min + 1), NaN kept: the transform of the JRC COIN Tool; it depends on the unit of x.

    Raises:
        MethodError: as `log_CT`.
    """
    values, low, _ = _spread("log_CT_orig", x)
    return np.log(values - low + 1.0)


def log_GII(x: ArrayLike, factor: float = 1.0) -> Floats:
    """ln((max·f − 1)·(x − min)/(max − min) + 1), NaN kept: from 0 at the minimum to ln(max·f) at the maximum.

    Source: Global Innovation Index 2020, appendix on outliers, f = factor in units of 1/x. For max·f ≤ 1 the formula
    would reverse the indicator (or leave the reals), so it is an error; COINr's `log_GII` returns x unchanged.

    Args:
        x: values of one indicator.
        factor: f > 0, a power of ten that makes max·f > 1.

    Raises:
        MethodError: as `log_CT`; max·factor ≤ 1.
    """
    values, low, high = _spread("log_GII", x)
    if not (factor > 0 and 1 < high * factor < np.inf):
        raise MethodError(f"log_GII: maximum {high:g} times factor {factor:g} is not above 1", "give a larger factor")
    return np.log((high * factor - 1.0) * ((values - low) / (high - low)) + 1.0)


def boxcox(x: ArrayLike, power: float, shift: bool = True) -> Floats:
    """Box-Cox transform (z^λ − 1)/λ, ln z for λ = 0, NaN kept; z = x − min + 1 if shifted, else x.

    Computed as expm1(λ·ln z)/λ, exact also for small λ. Reference: Box & Cox (1964); shift as in COINr.

    Args:
        x: values of one indicator.
        power: λ, see `boxcox_power`.
        shift: make the values positive first.

    Raises:
        MethodError: as `log_CT`; z ≤ 0 without shift; λ not finite, or a result beyond the float range.
    """
    logs = np.log(_positive("boxcox", x, shift))
    if power == 0:
        return logs
    with np.errstate(over="ignore"):
        result = np.expm1(power * logs) / power
    if not np.isfinite(result[~np.isnan(logs)]).all():
        raise MethodError(f"boxcox: power {power:g} leaves the float range", "give a power nearer to 0")
    return result


def boxcox_power(x: ArrayLike, shift: bool = True) -> float:
    """λ of `boxcox` that maximises the normal log-likelihood of the transformed values (`scipy.stats.boxcox_normmax`).

    Raises:
        MethodError: as `boxcox`.
    """
    from scipy.stats import boxcox_normmax

    positive = _positive("boxcox", x, shift)
    return float(boxcox_normmax(positive[~np.isnan(positive)], method="mle"))


def _positive(name: str, x: ArrayLike, shift: bool) -> Floats:
    """Values, shifted to a minimum of 1 or already positive."""
    values, low, _ = _spread(name, x)
    if shift:
        return values - low + 1.0
    if low <= 0:
        raise MethodError(f"{name}: value {low:g} is not positive", "shift the values")
    return values


TRANSFORMS: Mapping[str, Callable[..., Floats]] = {
    "log_CT": log_CT,
    "log_CT_plus": log_CT_plus,
    "log_CT_orig": log_CT_orig,
    "log_GII": log_GII,
    "boxcox": boxcox,
}


@dataclass(frozen=True)
class Treated:
    """Result of `treat`.

    Attributes:
        values: treated values, shape of the input, NaN kept; after a transform in its unit, not in that of the input.
        step: what was done: `none`, `winsorise`, a transform, or `winsorise+` a transform; where the rule is undefined
            and nothing is done: `constant`, or `too_few` (fewer than 4 values).
        points: positions of the winsorised points, ascending; a transform that restarts from the raw values has none.
        passed: whether the rule holds for `values`; true where it is undefined.
        skew, kurtosis: (before, after); NaN where undefined.
        power: λ of a Box-Cox transform, else None.
    """

    values: Floats
    step: str
    points: NDArray[np.int64]
    passed: bool
    skew: tuple[float, float]
    kurtosis: tuple[float, float]
    power: float | None = None


def treat(
    x: ArrayLike,
    max_points: int = MAX_POINTS,
    skew_limit: float = SKEW_LIMIT,
    kurtosis_limit: float = KURTOSIS_LIMIT,
    transform: str | None = "log_CT",
    combined: bool = False,
    forced: int = 0,
    power: float | None = None,
    factor: float = 1.0,
) -> Treated:
    """One indicator, winsorised and then transformed as far as its skewness and kurtosis ask for.

    test → `winsorise` → test → transform → test [methodology §3.9, §0a; COINr `Treat`]. The transform restarts from the
    raw values (points forced by the caller stay pulled in), or from the winsorised ones if `combined`. A panel is a
    longer column: stack the years and all of them are treated alike.

    Args:
        x: values, one dimension; NaN = missing.
        max_points, skew_limit, kurtosis_limit, forced: as in `winsorise`.
        transform: one of `TRANSFORMS`, or None: winsorise only.
        combined: transform the winsorised values.
        power: λ of `boxcox`; estimated (`boxcox_power`) if None.
        factor: as in `log_GII`.

    Raises:
        MethodError: an unknown transform, a negative number of points, more than one dimension, an infinite value, or
            what `winsorise` and the transform raise.
    """
    raw = _column("treat", x)
    if transform is not None and transform not in TRANSFORMS:
        raise MethodError(f"treat: unknown transform {transform!r}", f"use one of {', '.join(TRANSFORMS)} or none")
    if min(max_points, forced) < 0:
        raise MethodError(f"treat: max_points {max_points}, forced {forced}", "give 0 or more points")
    skew, kurt = skewness(raw), kurtosis(raw)
    if np.isnan(kurt):
        step = "too_few" if np.count_nonzero(~np.isnan(raw)) < 4 else "constant"
        return Treated(raw.copy(), step, np.empty(0, dtype=np.int64), True, (skew, skew), (kurt, kurt))
    winsorised = winsorise(raw, max_points, skew_limit, kurtosis_limit, forced)
    start, used = winsorised, None
    step = "winsorise" if winsorised.treated.size else "none"
    values, passed = winsorised.values, winsorised.passed
    if not passed and transform is not None:
        start = winsorised if combined else winsorise(raw, max_points, np.inf, np.inf, forced)
        if transform == "boxcox":
            used = boxcox_power(start.values) if power is None else power
        own: dict[str, dict[str, float | None]] = {"boxcox": {"power": used}, "log_GII": {"factor": factor}}
        values = TRANSFORMS[transform](start.values, **own.get(transform, {}))
        passed = not is_outlying(values, skew_limit, kurtosis_limit)
        step = f"winsorise+{transform}" if start.treated.size else transform
    return Treated(values, step, start.treated, passed, (skew, skewness(values)), (kurt, kurtosis(values)), used)


SETTINGS = tuple(signature(treat).parameters)[1:]  # what an override may say


@dataclass(frozen=True)
class TreatedMatrix:
    """Result of `treat_matrix`.

    Attributes:
        values: treated values, shape (units, indicators).
        columns: result of every indicator by name, in the order of the columns.
    """

    values: Floats
    columns: Mapping[str, Treated]

    def details(self) -> pl.DataFrame:
        """What was done to each indicator.

        Columns: indicator_id | step, n_points, passed, skew_before, kurtosis_before, skew_after, kurtosis_after, power;
        undefined numbers are null.
        """
        done = self.columns.values()
        numbers: dict[str, list[float | None]] = {
            "skew_before": [t.skew[0] for t in done],
            "kurtosis_before": [t.kurtosis[0] for t in done],
            "skew_after": [t.skew[1] for t in done],
            "kurtosis_after": [t.kurtosis[1] for t in done],
            "power": [t.power for t in done],
        }
        return pl.DataFrame(
            {
                "indicator_id": pl.Series(list(self.columns), dtype=pl.String),
                "step": pl.Series([t.step for t in done], dtype=pl.String),
                "n_points": pl.Series([t.points.size for t in done], dtype=pl.UInt32),
                "passed": pl.Series([t.passed for t in done], dtype=pl.Boolean),
            }
            | {name: pl.Series(column, dtype=pl.Float64).fill_nan(None) for name, column in numbers.items()}
        )


def treat_matrix(
    x: ArrayLike,
    names: Sequence[str] | None = None,
    overrides: Mapping[str, Mapping[str, Any] | None] | None = None,
    **settings: Any,
) -> TreatedMatrix:
    """Every indicator of a matrix treated by the same settings, or by its own.

    Args:
        x: values, shape (units, indicators), of one year or of a stacked panel; NaN = missing.
        names: indicator ids of the columns.
        overrides: by indicator id, settings that replace the common ones, or None: leave the indicator as it is.
        settings: arguments of `treat`.

    Raises:
        MethodError: an override for an unknown indicator, an unknown setting, or what `treat` raises;
            names the indicator.
    """
    values, labels = statistics.table(x, names)
    own = overrides or {}
    unknown = [name for name in own if name not in labels]
    if unknown:
        raise MethodError(f"treatment of {unknown[0]}: no such indicator", f"use one of {', '.join(labels)}")
    columns = {}
    for name, column in zip(labels, values.T, strict=True):
        special = own.get(name, {})
        asked = {"max_points": 0, "transform": None} if special is None else settings | dict(special)
        wrong = [key for key in asked if key not in SETTINGS]
        if wrong:
            raise MethodError(f"treatment of {name}: unknown setting {wrong[0]}", f"use one of {', '.join(SETTINGS)}")
        try:
            columns[name] = treat(column, **asked)
        except MethodError as error:
            raise MethodError(f"treatment of {name}: {error.message}", error.fix) from error
    return TreatedMatrix(np.column_stack([done.values for done in columns.values()]), columns)


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
