"""Imputers over a matrix: columns, groups, rows, panels, nearest neighbours, regression [methodology §3.9].

Rows are units (cities), columns indicators, NaN = missing. Every imputer leaves observed values as they are, says which
cells it filled and from how many observed values, and leaves missing (and counts) what has no donor. Donors are
observed values only. Peer: COINr Impute, impute_panel, which keep no mask. The ladder over `core/observations` is
`methods.impute`.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.screen import Counts, Floats, Mask, as_matrix
from dei_pipeline.methods.trends import check_directions, cube

MAX_ITERATIONS = 50
TOLERANCE = 1e-3  # largest change in a round over the largest standardised value; scikit-learn's default


@dataclass(frozen=True)
class Imputed:
    """Result of every imputer, shape of the input.

    Attributes:
        method: name of the imputer.
        values: observed values unchanged, imputed ones filled in; NaN where there was no donor.
        mask: the imputed cells.
        donors: number of observed values an imputed cell rests on; 0 elsewhere.
        left: per column, the number of cells that are still missing.
        converged: whether an iterative imputer came to rest; true for the others.
    """

    method: str
    values: Floats
    mask: Mask
    donors: Counts
    left: Counts
    converged: bool = True


def _imputed(method: str, x: Floats, estimate: Floats, donors: ArrayLike, converged: bool = True) -> Imputed:
    """The missing cells of `x` filled from `estimate`, where it has a value."""
    missing = np.isnan(x)
    values = np.where(missing, estimate, x)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise MethodError(f"imputation by {method}: row {row}, column {column} is infinite", "rescale the column")
    mask = missing & ~np.isnan(values)
    count = np.where(mask, donors, 0).astype(np.int64)
    return Imputed(method, values, mask, count, np.isnan(values).sum(axis=0), converged)


# -- columns and groups of units ---------------------------------------------------------------------------------------
def mean(x: ArrayLike) -> Imputed:
    """Missing values replaced by the mean of their column's observed values [COINr i_mean].

    Args:
        x: values, shape (units, indicators); a column without any value is left missing.

    Raises:
        MethodError: an infinite value, or a mean beyond the range of floats.
    """
    return _by_groups("mean", x, None, _means)


def median(x: ArrayLike) -> Imputed:
    """Missing values replaced by the median of their column's observed values [COINr i_median].

    Arguments and errors as in `mean`.
    """
    return _by_groups("median", x, None, _medians)


def group_mean(x: ArrayLike, groups: Sequence[Hashable]) -> Imputed:
    """Missing values replaced by the mean of their column within the unit's group [COINr i_mean_grp].

    Args:
        x: values, shape (units, indicators).
        groups: group of each unit, as its province; None or NaN: the unit is in none, its gaps are left. So are the
            gaps of a group without a donor in that column.

    Raises:
        MethodError: another number of groups than units, no unit in any group, an infinite value or mean.
    """
    return _by_groups("group_mean", x, groups, _means)


def group_median(x: ArrayLike, groups: Sequence[Hashable]) -> Imputed:
    """Missing values replaced by the median of their column within the unit's group [COINr i_median_grp].

    Arguments and errors as in `group_mean`.
    """
    return _by_groups("group_median", x, groups, _medians)


def _by_groups(
    method: str, x: ArrayLike, groups: Sequence[Hashable] | None, statistic: Callable[[Floats], Floats]
) -> Imputed:
    """Missing values from a statistic of their column, over all units or within groups."""
    values = as_matrix(x)
    labels: Sequence[Hashable] = [0] * values.shape[0] if groups is None else list(groups)
    if len(labels) != values.shape[0]:
        raise MethodError(f"{len(labels)} groups for {values.shape[0]} units", "give one group per unit, or None")
    named = [label for label in labels if not _is_nothing(label)]
    if labels and not named:
        raise MethodError(f"imputation by {method}: no unit is in a group", "give the groups")
    code = {label: i for i, label in enumerate(dict.fromkeys(named))}
    of = np.array([code.get(label, -1) for label in labels], dtype=np.int64)
    estimate, donors = np.full(values.shape, np.nan), np.zeros(values.shape, dtype=np.int64)
    for group in range(len(code)):
        members = of == group
        estimate[members] = statistic(values[members])
        donors[members] = (~np.isnan(values[members])).sum(axis=0)
    return _imputed(method, values, estimate, donors)


def _is_nothing(label: Hashable) -> bool:
    """Whether a group label says that there is no group."""
    return label is None or label != label  # noqa: PLR0124 NaN


def _means(x: Floats) -> Floats:
    """Means of the columns, NaN for an empty one; summed in ascending order, so the order of rows does not matter."""
    ordered = np.sort(x, axis=0)
    count = (~np.isnan(x)).sum(axis=0)
    result = np.full(x.shape[1], np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.cumsum(np.nan_to_num(ordered, nan=0.0), axis=0)[-1] if len(x) else np.zeros(x.shape[1])
        np.divide(total, count, out=result, where=count > 0)
    low, high = _order_statistic(ordered, 0 * count, count), _order_statistic(ordered, count - 1, count)
    return np.where(np.isfinite(result), np.clip(result, low, high), result)


def _medians(x: Floats) -> Floats:
    """Medians of the columns, NaN for an empty one."""
    ordered = np.sort(x, axis=0)
    count = (~np.isnan(x)).sum(axis=0)
    lower, upper = _order_statistic(ordered, (count - 1) // 2, count), _order_statistic(ordered, count // 2, count)
    return np.where(lower == upper, lower, 0.5 * lower + 0.5 * upper)


def _order_statistic(ordered: Floats, at: Counts, count: Counts) -> Floats:
    """The values at the ranks `at` of sorted columns, NaN for an empty column."""
    if len(ordered) == 0:
        return np.full(count.shape, np.nan)
    found = np.take_along_axis(ordered, np.maximum(at, 0)[None, :], axis=0)[0]
    return np.where(count > 0, found, np.nan)


# -- rows --------------------------------------------------------------------------------------------------------------
def row_mean(
    x: ArrayLike, groups: Sequence[Hashable], directions: ArrayLike = 1, normalise_first: bool = True
) -> Imputed:
    """Missing values replaced by the unit's mean over the other indicators of the same group [COINr impute_by="row"].

    z_ij = (d_j x_ij − lo_j)/(hi_j − lo_j) with lo, hi the observed range of d_j x_j; ẑ_ij = mean of z_ik over the
    observed k in the group of j; x̂_ij = d_j·(lo_j + ẑ_ij·(hi_j − lo_j)). A constant indicator has no such scale: it
    gives nothing and its own gaps are left. Without normalising, ẑ is the mean of the raw values.

    Args:
        x: values, shape (units, indicators).
        groups: group of each indicator, as its pillar; None: the indicator is in none, its gaps are left.
        directions: +1 or −1 per indicator, or one for all.
        normalise_first: False only where all indicators of a group have one unit.

    Raises:
        MethodError: another number of groups or directions than indicators, a direction other than ±1, an infinite
            value.
    """
    values = as_matrix(x)
    signs = check_directions(directions, values.shape[1])
    if len(groups) != values.shape[1]:
        raise MethodError(f"{len(groups)} groups for {values.shape[1]} indicators", "give one group per indicator")
    present = ~np.isnan(values)
    low, width, usable = np.zeros(signs.shape), np.ones(signs.shape), present.any(axis=0)
    if normalise_first:
        oriented = values * signs
        low = np.where(present, oriented, np.inf).min(axis=0, initial=np.inf)
        high = np.where(present, oriented, -np.inf).max(axis=0, initial=-np.inf)
        usable = high > low
        low, width = np.where(usable, low, 0.0), np.where(usable, high - low, 1.0)
    else:
        signs = np.ones(signs.shape)
    points = (values * signs - low) / width
    estimate, donors = np.full(values.shape, np.nan), np.zeros(values.shape, dtype=np.int64)
    for group in dict.fromkeys(label for label in groups if not _is_nothing(label)):
        at = np.flatnonzero(np.array([label == group for label in groups]) & usable)
        count = present[:, at].sum(axis=1)
        own = _means(points[:, at].T)
        estimate[:, at] = (own[:, None] * width[at] + low[at]) * signs[at]
        donors[:, at] = count[:, None]
    return _imputed("row_mean", values, estimate, donors)


# -- panels ------------------------------------------------------------------------------------------------------------
def latest(x: ArrayLike, units: Sequence[Any], years: ArrayLike, max_years: int | None = None) -> Imputed:
    """Missing values replaced by the unit's latest earlier value [COINr impute_panel "latest"].

    Args:
        x: values, shape (rows, indicators): one row per unit and year, in any order.
        units, years: unit code and year of each row.
        max_years: greatest age of the value in years (COINr counts the panel's time points); None: any.

    Raises:
        MethodError: `max_years` < 1, a unit twice in a year, a missing unit or year, an infinite value.
    """
    if max_years is not None and max_years < 1:
        raise MethodError(f"imputation by latest: max_years is {max_years}", "give at least 1")
    return _over_time("latest", x, units, years, np.inf if max_years is None else max_years)


def constant(x: ArrayLike, units: Sequence[Any], years: ArrayLike) -> Imputed:
    """Missing values replaced by the unit's latest earlier value, before its first one by the first.

    Arguments and errors as in `latest` [COINr impute_panel "constant"].
    """
    return _over_time("constant", x, units, years)


def linear(x: ArrayLike, units: Sequence[Any], years: ArrayLike) -> Imputed:
    """Missing values interpolated in time between the unit's neighbouring values; beyond them the nearest one.

    x̂_t = x_a + (x_b − x_a)·(t − a)/(b − a). A series with a single value is no line: its gaps are left (and counted);
    `linear_constant` fills them. Arguments and errors as in `latest` [COINr impute_panel "linear"].
    """
    return _over_time("linear", x, units, years)


def linear_constant(x: ArrayLike, units: Sequence[Any], years: ArrayLike) -> Imputed:
    """As `linear`, and a series with a single value has that value in every year [COINr "linear-constant", issue 63].

    Arguments and errors as in `latest`.
    """
    return _over_time("linear_constant", x, units, years)


def _over_time(method: str, x: ArrayLike, units: Sequence[Any], years: ArrayLike, max_age: float = np.inf) -> Imputed:
    """Missing values from the same unit's values before and after, all series at once."""
    values, panel = as_matrix(x, "panel"), cube(x, units, years)
    series, time = panel.values, panel.years
    size = time.size
    present = ~np.isnan(series)
    position = np.arange(size)[None, :, None]
    before = np.maximum.accumulate(np.where(present, position, -1), axis=1)
    after = np.minimum.accumulate(np.where(present, position, size)[:, ::-1], axis=1)[:, ::-1]
    earlier, later = before >= 0, after < size
    before, after = np.maximum(before, 0), np.minimum(after, size - 1)
    old, new = np.take_along_axis(series, before, axis=1), np.take_along_axis(series, after, axis=1)
    passed = time[None, :, None] - time[before]
    donors = np.ones(series.shape, dtype=np.int64)
    if method in {"latest", "constant"}:
        estimate = np.where(earlier & (passed <= max_age), old, np.nan)
        if method == "constant":
            estimate = np.where(~earlier & later, new, estimate)
    else:
        between = earlier & later
        span = np.where(between & (after > before), time[after] - time[before], 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            inner = old + (new - old) * (passed / span)
        estimate = np.where(between, inner, np.where(earlier, old, np.where(later, new, np.nan)))
        donors = np.where(between, 2, donors)
        if method == "linear":
            estimate = np.where(present.sum(axis=1, keepdims=True) > 1, estimate, np.nan)
    return _imputed(method, values, estimate[panel.at], donors[panel.at])


# -- models ------------------------------------------------------------------------------------------------------------
def knn(x: ArrayLike, neighbours: int = 5, weights: str = "uniform") -> Imputed:
    """Missing values replaced by the mean of the nearest units that have one [scikit-learn KNNImputer].

    Distances are Euclidean over the indicators that both units have, scaled up to all of them, on standardised columns
    (mean 0, sd 1, n−1; a constant column is 0). A unit that shares no indicator with any donor is left missing. The
    order of units does not matter. Reference: Troyanskaya et al. (2001).

    Args:
        x: values, shape (units, indicators).
        neighbours: number of donors, fewer where fewer have a value.
        weights: uniform, or distance (1/distance).

    Raises:
        MethodError: scikit-learn is not installed, neighbours < 1, unknown weights, an infinite value.
    """
    values = as_matrix(x)
    if neighbours < 1 or weights not in {"uniform", "distance"}:
        raise MethodError(f"knn of {neighbours} neighbours, weights {weights!r}", "give ≥ 1, uniform or distance")
    imputer = _sklearn_impute("knn").KNNImputer(n_neighbors=neighbours, weights=weights)
    present = (~np.isnan(values)).astype(np.int64)
    donors = np.minimum((present @ present.T > 0).astype(np.int64) @ present, neighbours)
    return _by_model("knn", values, donors, lambda points: (imputer.fit_transform(points), True))


def regression(x: ArrayLike, max_iterations: int = MAX_ITERATIONS) -> Imputed:
    """Missing values predicted from the other indicators by Bayesian ridge regressions in turn, until they settle.

    Each column with gaps is regressed on all others (gaps at their last estimate, means at first), columns with the
    fewest gaps first, on standardised columns. `converged` says whether a round before the last one changed no estimate
    by more than 0.001 of the largest standardised value. Predictions are not bounded by the observed range. A unit
    without any value is left missing. The order of units does not matter. Reference: van Buuren & Groothuis-Oudshoorn
    (2011), MICE with point predictions; scikit-learn IterativeImputer.

    Args:
        x: values, shape (units, indicators).
        max_iterations: most rounds.

    Raises:
        MethodError: scikit-learn is not installed, max_iterations < 1, an infinite value.
    """
    values = as_matrix(x)
    if max_iterations < 1:
        raise MethodError(f"regression of {max_iterations} iterations", "give at least 1")
    models = _sklearn_impute("regression")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import BayesianRidge

    imputer = models.IterativeImputer(
        BayesianRidge(), max_iter=max_iterations, tol=TOLERANCE, skip_complete=True, random_state=0
    )

    def fill(points: Floats) -> tuple[Floats, bool]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the result says so
            filled = imputer.fit_transform(points)
        return filled, bool(imputer.n_iter_ < max_iterations)

    present = ~np.isnan(values)
    donors = np.where(present.sum(axis=1, keepdims=True) > 0, present.sum(axis=0), 0)
    return _by_model("regression", values, donors, fill)


def _by_model(method: str, values: Floats, donors: Counts, fill: Callable[[Floats], tuple[Floats, bool]]) -> Imputed:
    """Missing values with at least one donor from a model over the standardised columns, rows in canonical order."""
    present = ~np.isnan(values)
    some = np.ix_(present.any(axis=1), present.any(axis=0))
    estimate, converged = np.full(values.shape, np.nan), True
    if not present[some].all():
        known = values[some]
        order = np.lexsort(known.T[::-1])
        centre, scale = _centre_and_scale(known)
        points, converged = fill(((known - centre) / scale)[order])
        estimate[some] = points[np.argsort(order)] * scale + centre
    return _imputed(method, values, np.where(donors > 0, estimate, np.nan), donors, converged)


def _centre_and_scale(x: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (n−1) of the columns; the deviation of a constant column is taken as 1."""
    centre, count = _means(x), (~np.isnan(x)).sum(axis=0)
    with np.errstate(over="ignore"):
        variance = _means((x - centre) ** 2) * (count / np.maximum(count - 1, 1))
    if np.isinf(variance).any():
        raise MethodError("imputation by a model: values too large to be standardised", "give them in a larger unit")
    return centre, np.where(variance > 0, np.sqrt(variance), 1.0)


def _sklearn_impute(method: str) -> Any:
    """The module `sklearn.impute`; scikit-learn is an optional dependency."""
    try:
        from sklearn import impute
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    except ImportError as error:
        raise MethodError(
            f"imputation by {method} needs scikit-learn", "install the extra: pip install 'dei-pipeline[imputation]'"
        ) from error
    return impute
