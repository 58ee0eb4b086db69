"""Data availability, screening by it, and denomination [OECD/JRC Handbook step 2; COINr Screen, Denominate].

Rows are units (cities), columns indicators, NaN = missing. Nothing is dropped here: a screening returns who is in, who
is not and why, and the caller selects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
SHARE_SLACK = 1e-12  # shares are compared as coverage is [methodology §0a «Coverage»]


def as_matrix(x: ArrayLike, name: str = "data") -> Floats:
    """`x` as a matrix of floats, units × indicators; None and NaN are missing.

    Args:
        x: values of two dimensions.
        name: what the values are, as errors show it.

    Raises:
        MethodError: another number of dimensions, or an infinite value.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2:
        raise MethodError(f"{name} of {values.ndim} dimensions", "give a matrix, one row per unit")
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise MethodError(f"{name}: row {row}, column {column} is infinite", "correct the value, or leave it missing")
    return values


@dataclass(frozen=True)
class Availability:
    """Result of `availability`, one entry per unit.

    Attributes:
        missing, zero: number of indicators without a value, and with the value 0.
        available: share of the indicators that have a value.
        nonzero: share of the *available* values that are not 0; NaN for a unit without any value.
        available_nonzero: share of the indicators that have a value other than 0.
        groups: ids of the groups of indicators, in the order given.
        by_group: share of available values per unit and group, shape (units, groups).
    """

    missing: Counts
    zero: Counts
    available: Floats
    nonzero: Floats
    available_nonzero: Floats
    groups: tuple[str, ...]
    by_group: Floats


def availability(x: ArrayLike, groups: Mapping[str, Sequence[int]] | None = None) -> Availability:
    """Numbers of missing and zero values of every unit, and the shares that are there.

    available = 1 − missing/n, nonzero = 1 − zero/(n − missing) over n indicators. For the availability of indicators
    give the transpose. Source: COINr get_data_avail.

    Args:
        x: values, shape (units, indicators), n ≥ 1; NaN = missing.
        groups: positions of the indicators below each node, at every level that is asked for.

    Raises:
        MethodError: an infinite value, no indicator, or an empty group or one with an unknown position.
    """
    values = as_matrix(x)
    n = values.shape[1]
    if n == 0:
        raise MethodError("availability over no indicator", "give at least one column")
    present = ~np.isnan(values)
    count, zero = present.sum(axis=1), (values == 0).sum(axis=1)
    nonzero = np.full(count.shape, np.nan)
    np.divide(count - zero, count, out=nonzero, where=count > 0)
    members = {} if groups is None else groups
    shares = [present[:, _positions(group, at, n)].mean(axis=1) for group, at in members.items()]
    by_group = np.stack(shares, axis=1) if shares else np.zeros((values.shape[0], 0))
    return Availability(n - count, zero, count / n, nonzero, (count - zero) / n, tuple(members), by_group)


def _positions(group: str, at: Sequence[int], n: int) -> list[int]:
    """Columns of a group, each within the n columns."""
    if len(at) == 0 or min(at) < 0 or max(at) >= n:
        raise MethodError(f"group {group}: columns {list(at)} of {n}", "give positions of its indicators")
    return list(at)


@dataclass(frozen=True)
class Screened:
    """Result of `screen` and `screen_indicators`, one entry per unit (or indicator).

    Attributes:
        ids: the units, in the order given.
        included: who passes.
        reason: why: "" (meets the rules), few_values, many_zeros, few_values_and_many_zeros, no_value, dropped, or kept
            (included by name although a rule says no).
        few_values: available < min_available.
        many_zeros: nonzero < min_nonzero.
        availability: the shares the rules were applied to.
    """

    ids: tuple[str, ...]
    included: Mask
    reason: NDArray[np.str_]
    few_values: Mask
    many_zeros: Mask
    availability: Availability


def screen(
    x: ArrayLike,
    units: Sequence[str],
    min_available: float | None = None,
    min_nonzero: float | None = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Screened:
    """Which units have enough data, and the reason for every one that is left out.

    A unit passes if available ≥ min_available and nonzero ≥ min_nonzero (slack 1e-12), of the rules that are given:
    COINr Screen byNA with the first alone, byzeros with the second alone, byNAandzeros with both. A unit without any
    value meets no rule. `keep` and `drop` win over the rules.

    Args:
        x: values, shape (units, indicators); NaN = missing.
        units: ids of the rows.
        min_available: least share of indicators with a value, in [0, 1]; None: not asked.
        min_nonzero: least share of the available values that are not 0, in [0, 1]; None: not asked.
        keep, drop: units that are in, or out, whatever their data.

    Raises:
        MethodError: no rule at all, a threshold outside [0, 1], an id unknown, given twice, or both kept and dropped;
            another number of ids than rows.
    """
    return _screen(as_matrix(x), "unit", units, min_available, min_nonzero, keep, drop)


def screen_indicators(
    x: ArrayLike,
    indicators: Sequence[str],
    min_available: float | None = None,
    min_nonzero: float | None = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Screened:
    """Which indicators have enough data over the units, and the reason for every one that is left out.

    Rules, arguments and errors as in `screen`, with indicators in the place of units (COINr screens units only).

    Args:
        x: values, shape (units, indicators); NaN = missing.
        indicators: ids of the columns.
        min_available: least share of units with a value.
        min_nonzero: least share of the available values that are not 0.
        keep, drop: indicators that are in, or out, whatever their data.
    """
    return _screen(as_matrix(x).T, "indicator", indicators, min_available, min_nonzero, keep, drop)


def _screen(
    values: Floats,
    kind: str,
    ids: Sequence[str],
    min_available: float | None,
    min_nonzero: float | None,
    keep: Sequence[str],
    drop: Sequence[str],
) -> Screened:
    """The rules of `screen` over the rows of `values`."""
    if min_available is None and min_nonzero is None and not keep and not drop:
        raise MethodError("screening without a rule", "give min_available, min_nonzero, keep or drop")
    check_ids(kind, ids, values.shape[0])
    for name, listed in (("keep", keep), ("drop", drop)):
        unknown = sorted(set(listed) - set(ids))
        if unknown:
            raise MethodError(f"screening: {name} names {kind} {unknown[0]}, which has no row", f"correct {name}")
    both = sorted(set(keep) & set(drop))
    if both:
        raise MethodError(f"screening: {kind} {both[0]} is both kept and dropped", "decide for one")
    found = availability(values)
    few = found.available < _threshold("min_available", min_available) - SHARE_SLACK
    zeros = np.nan_to_num(found.nonzero, nan=1.0) < _threshold("min_nonzero", min_nonzero) - SHARE_SLACK
    empty = (found.available == 0) & (min_available is not None or min_nonzero is not None)
    kept, dropped = (np.array([i in set(listed) for i in ids], dtype=bool) for listed in (keep, drop))
    failed = few | zeros | empty
    cases = [dropped, kept & failed, empty, few & zeros, few, zeros]
    words = ["dropped", "kept", "no_value", "few_values_and_many_zeros", "few_values", "many_zeros"]
    return Screened(tuple(ids), (kept | ~failed) & ~dropped, np.select(cases, words, ""), few, zeros, found)


def check_ids(kind: str, ids: Sequence[str], rows: int) -> None:
    """Ids are as many as the rows, and each is there once.

    Raises:
        MethodError: they are not.
    """
    if len(ids) != rows:
        raise MethodError(f"{len(ids)} {kind} ids for {rows} rows of data", f"give one {kind} id per row")
    if len(set(ids)) < len(ids):
        twice = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise MethodError(f"{kind} {twice} is there twice", f"keep one row per {kind}")


def _threshold(name: str, share: float | None) -> float:
    """A share in [0, 1]; without one every share is enough."""
    if share is None:
        return 0.0
    if not 0 <= share <= 1:
        raise MethodError(f"screening: {name} is {share}", "give a share from 0 to 1")
    return share


@dataclass(frozen=True)
class Denominated:
    """Result of `denominate`.

    Attributes:
        values: values after division, shape of the input; columns without a denominator unchanged.
        lost: per divided indicator, how many of its values became missing because the denominator is.
    """

    values: Floats
    lost: Mapping[str, int]


def denominate(
    x: ArrayLike,
    units: Sequence[str],
    indicators: Sequence[str],
    denominators: Mapping[str, ArrayLike],
    spec: Mapping[str, str],
    factors: Mapping[str, float] | None = None,
) -> Denominated:
    """Values of the indicators in `spec` divided by the size of their unit: factor · x / d.

    A missing denominator leaves the value missing and is counted; a denominator of 0 under a value is an error, never
    an infinite result. Source: COINr Denominate.

    Args:
        x: values, shape (units, indicators); NaN = missing.
        units, indicators: ids of the rows and of the columns.
        denominators: name → one number > 0 per unit, in the order of `units`; NaN = missing.
        spec: indicator → name of its denominator; other indicators stay as they are.
        factors: indicator → factor, as 10,000 for «per 10,000 persons»; 1 if absent.

    Raises:
        MethodError: an unknown indicator or denominator, a factor that is not finite and > 0, a denominator ≤ 0 under a
            value (names unit and indicator), a quotient beyond the range of floats.
    """
    values = as_matrix(x).copy()
    check_ids("unit", units, values.shape[0])
    check_ids("indicator", indicators, values.shape[1])
    column = {indicator: j for j, indicator in enumerate(indicators)}
    scale = {} if factors is None else factors
    unknown = sorted((set(spec) - set(column)) | (set(scale) - set(spec)))
    if unknown:
        raise MethodError(f"denomination of {unknown[0]}, which is no such indicator", "correct the specification")
    lost = {}
    for indicator, name in spec.items():
        if name not in denominators:
            raise MethodError(
                f"denominator {name} of indicator {indicator} is unknown", f"use one of {', '.join(denominators)}"
            )
        size, raw = np.asarray(denominators[name], dtype=np.float64), values[:, column[indicator]]
        if size.shape != raw.shape:
            raise MethodError(f"denominator {name} has shape {size.shape}", f"give one number for each of {len(units)}")
        quotient = _quotient(raw, size, scale.get(indicator, 1.0), indicator, name, units)
        lost[indicator] = int((np.isnan(quotient) & ~np.isnan(raw)).sum())
        values[:, column[indicator]] = quotient
    return Denominated(values, lost)


def _quotient(raw: Floats, size: Floats, factor: float, indicator: str, name: str, units: Sequence[str]) -> Floats:
    """factor · raw / size, finite or missing."""
    if not (np.isfinite(factor) and factor > 0):
        raise MethodError(f"indicator {indicator}: factor {factor}", "give a finite factor > 0")
    wrong = ~np.isnan(raw) & ((size <= 0) | np.isinf(size))
    if wrong.any():
        unit = int(np.flatnonzero(wrong)[0])
        raise MethodError(
            f"unit {units[unit]}, indicator {indicator}: denominator {name} is {size[unit]:g}",
            "correct it, or leave it missing",
        )
    usable = ~np.isnan(raw) & ~np.isnan(size)
    quotient = np.full(raw.shape, np.nan)
    with np.errstate(over="ignore"):
        np.divide(raw, size, out=quotient, where=usable)
        quotient *= factor
    if np.isinf(quotient).any():
        unit = int(np.flatnonzero(np.isinf(quotient))[0])
        raise MethodError(
            f"unit {units[unit]}, indicator {indicator}: {raw[unit]:g} / {size[unit]:g} is too large for a number",
            f"check the units of {indicator} and {name}",
        )
    return quotient
