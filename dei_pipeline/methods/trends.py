"""Trends of a panel: compound growth and percentage change per unit and indicator [COINr get_trends, CAGR, prc_change].

A panel is a long matrix: one row per unit and year, in any order, indicators in columns, NaN = missing; a row that is
not there is missing too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.screen import Floats, Mask, as_matrix

NON_POSITIVE = ("error", "missing")


@dataclass(frozen=True)
class Cube:
    """A panel as a cube.

    Attributes:
        values: shape (units, years, indicators), NaN where the panel has no value or no row.
        units: unit codes, ascending, each once and as they were given.
        years: years that the panel has, ascending.
        at: position (unit, year) of every row of the panel.
    """

    values: Floats
    units: tuple[Any, ...]
    years: Floats
    at: tuple[NDArray[np.intp], NDArray[np.intp]]


def cube(x: ArrayLike, units: Sequence[Any], years: ArrayLike) -> Cube:
    """The rows of a long panel arranged by unit and year.

    Args:
        x: values, shape (rows, indicators).
        units: unit code of each row; codes such as "110000" stay what they are.
        years: year of each row, a whole number.

    Raises:
        MethodError: no row, another number of units or years than rows, a missing unit or year, a year that is not
            whole, a unit twice in a year, an infinite value.
    """
    values, when = as_matrix(x, "panel"), np.asarray(years, dtype=np.float64)
    codes = list(units)
    if len(codes) != values.shape[0] or when.shape != (values.shape[0],):
        raise MethodError(
            f"panel of {values.shape[0]} rows with {len(codes)} units and {when.size} years", "give one of each per row"
        )
    if not codes:
        raise MethodError("panel without a row", "give at least one unit and year")
    if any(code is None for code in codes) or not (np.isfinite(when) & (when == np.rint(when))).all():
        raise MethodError("panel with a missing unit, or a year that is no whole number", "give both for every row")
    names = sorted(set(codes))
    place = {name: i for i, name in enumerate(names)}
    at_unit = np.array([place[code] for code in codes], dtype=np.intp)
    span, at_year = np.unique(when, return_inverse=True)
    cell = at_unit * span.size + at_year
    _, first, copies = np.unique(cell, return_index=True, return_counts=True)
    if (copies > 1).any():
        row = int(first[copies > 1][0])
        raise MethodError(f"panel: unit {codes[row]} is there twice in {when[row]:g}", "keep one row per unit and year")
    filled = np.full((len(names), span.size, values.shape[1]), np.nan)
    filled[at_unit, at_year] = values
    return Cube(filled, tuple(names), span, (at_unit, at_year))


def growth(
    x: ArrayLike,
    units: Sequence[Any],
    years: ArrayLike,
    indicators: Sequence[str],
    directions: ArrayLike = 1,
    latest: int | None = None,
    non_positive: str = "error",
) -> pl.DataFrame:
    """Compound annual growth rates, one row per unit and indicator.

    g = (x_l / x_f)^(1/(t_l − t_f)) − 1 with f and l the first and last observation of the window, times the direction:
    positive = improvement. Where x_l = x_f, g = 0. Columns: unit, indicator, value (a share, 0.02 = 2 % a year; null if
    undefined), reason (why it is: too_few_observations, non_positive; "" otherwise), first_year, last_year,
    observations (of the window), available (their share of the window's years). Source: COINr CAGR, get_trends.

    Args:
        x: values, shape (rows, indicators); NaN = missing.
        units, years: unit code and year of each row.
        indicators: ids of the columns.
        directions: +1 or −1 per indicator, or one for all.
        latest: use the `latest` years that end with the last observation of a series; None: all years of the panel.
        non_positive: a base ≤ 0 or an end < 0 is an error, or leaves the value missing with that reason.

    Raises:
        MethodError: a base ≤ 0 or an end < 0 (names unit, indicator, year), a direction other than ±1, latest < 2, an
            unknown word, or what `cube` raises.
    """

    def compound(window: _Window) -> tuple[Floats, Mask]:
        wrong = (window.first <= 0) | (window.last < 0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rate = (window.last / window.first) ** (1 / (window.last_year - window.first_year)) - 1
        flat = window.first == window.last
        return np.where(flat, 0.0, rate), wrong & ~flat

    return _trend(x, units, years, indicators, directions, latest, non_positive, compound)


def change(
    x: ArrayLike,
    units: Sequence[Any],
    years: ArrayLike,
    indicators: Sequence[str],
    directions: ArrayLike = 1,
    latest: int | None = None,
    non_positive: str = "error",
    per: float = 1.0,
) -> pl.DataFrame:
    """Percentage changes over `per` years, one row per unit and indicator.

    Two observations: c = 100·per·(x_l − x_f) / (x_f·(t_l − t_f)). Three or more: c = 100·per·b / (a + b·t_f) with
    a + b·t the least-squares line through the window. A series of equal values has c = 0. Times the direction:
    positive = improvement. Columns as in `growth`, value in per cent. Source: COINr prc_change, get_trends.

    Args:
        x, units, years, indicators, directions, latest: as in `growth`.
        non_positive: a base (x_f, or the line at t_f) ≤ 0 is an error, or leaves the value missing with that reason.
        per: length of the period in years, > 0.

    Raises:
        MethodError: a base ≤ 0 (names unit, indicator, year), `per` not > 0, or what `growth` raises besides.
    """
    if not (np.isfinite(per) and per > 0):
        raise MethodError(f"change per {per} years", "give a period > 0")

    def percentage(window: _Window) -> tuple[Floats, Mask]:
        two = window.observations == 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = (window.last - window.first) / (window.last_year - window.first_year)
            slope, line = _line(window)
            base = np.where(two, window.first, line)
            percent = 100.0 * per * np.where(two, step, slope) / base
        return np.where(window.flat, 0.0, percent), (base <= 0) & ~window.flat

    return _trend(x, units, years, indicators, directions, latest, non_positive, percentage)


@dataclass(frozen=True)
class _Window:
    """The observations of every series that count; arrays of shape (units, indicators), `values` with years between."""

    values: Floats
    years: Floats
    observations: NDArray[np.int64]
    first: Floats
    last: Floats
    first_year: Floats
    last_year: Floats

    @property
    def flat(self) -> Mask:
        """Series whose observations are all equal."""
        same = np.isnan(self.values) | (self.values == self.first[:, None, :])
        return np.asarray(same.all(axis=1) & (self.observations > 0))


def _window(values: Floats, years: Floats, latest: int | None) -> _Window:
    """The series cut to the `latest` years that end with their last observation."""
    present = ~np.isnan(values)
    axis = years[None, :, None]
    if latest is not None:
        end = np.where(present, axis, -np.inf).max(axis=1, initial=-np.inf)
        present &= axis > (end - latest)[:, None, :]
        values = np.where(present, values, np.nan)
    observations = present.sum(axis=1)
    some = observations > 0
    first_at = np.argmax(present, axis=1)[:, None, :]
    last_at = values.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)[:, None, :]
    return _Window(
        values,
        years,
        observations,
        np.take_along_axis(values, first_at, axis=1)[:, 0],
        np.take_along_axis(values, last_at, axis=1)[:, 0],
        np.where(some, years[first_at[:, 0]], np.nan),
        np.where(some, years[last_at[:, 0]], np.nan),
    )


def _line(window: _Window) -> tuple[Floats, Floats]:
    """Slope of the least-squares line of every series, and its value in the first year of the window."""
    present = ~np.isnan(window.values)
    time = np.where(present, window.years[None, :, None] - window.first_year[:, None, :], 0.0)
    filled = np.where(present, window.values, 0.0)
    mean_time, mean = time.sum(axis=1) / window.observations, filled.sum(axis=1) / window.observations
    centred = np.where(present, time - mean_time[:, None, :], 0.0)
    slope = (centred * (filled - mean[:, None, :])).sum(axis=1) / (centred * centred).sum(axis=1)
    return slope, mean - slope * mean_time


def _trend(
    x: ArrayLike,
    units: Sequence[Any],
    years: ArrayLike,
    indicators: Sequence[str],
    directions: ArrayLike,
    latest: int | None,
    non_positive: str,
    measure: Callable[[_Window], tuple[Floats, Mask]],
) -> pl.DataFrame:
    """The table of `growth` and `change`; `measure` gives the values and where the base does not allow one."""
    if non_positive not in NON_POSITIVE:
        raise MethodError(f"trend: non_positive {non_positive!r}", f"use one of {', '.join(NON_POSITIVE)}")
    if latest is not None and latest < 2:
        raise MethodError(f"trend over the latest {latest} years", "give at least 2")
    panel = cube(x, units, years)
    shape = (len(panel.units), panel.values.shape[2])
    if len(indicators) != shape[1]:
        raise MethodError(f"{len(indicators)} indicator ids for {shape[1]} columns", "give one per column")
    window = _window(panel.values, panel.years, latest)
    enough = window.observations >= 2
    values, wrong = measure(window)
    wrong &= enough
    if wrong.any() and non_positive == "error":
        unit, column = np.argwhere(wrong)[0]
        raise MethodError(
            f"unit {panel.units[unit]}, indicator {indicators[column]}: {window.first[unit, column]:g} in "
            f"{window.first_year[unit, column]:g} to {window.last[unit, column]:g} has no rate of change",
            'use an indicator that is > 0, or non_positive="missing"',
        )
    defined = enough & ~wrong
    lost = defined & ~np.isfinite(values)
    if lost.any():
        unit, column = np.argwhere(lost)[0]
        raise MethodError(
            f"unit {panel.units[unit]}, indicator {indicators[column]}: the trend is too large for a number",
            "check the unit of the first value",
        )
    values = np.where(defined, values, np.nan) * check_directions(directions, shape[1])
    length = len(panel.years) if latest is None else latest
    return pl.DataFrame(
        {
            "unit": [unit for unit in panel.units for _ in range(shape[1])],
            "indicator": list(indicators) * shape[0],
            "value": values.ravel(),
            "reason": np.select([~enough, wrong], ["too_few_observations", "non_positive"], "").ravel(),
            "first_year": window.first_year.ravel(),
            "last_year": window.last_year.ravel(),
            "observations": window.observations.ravel(),
            "available": (window.observations / length).ravel(),
        }
    ).with_columns(pl.col("value").fill_nan(None), pl.col("first_year", "last_year").fill_nan(None).cast(pl.Int64))


def check_directions(directions: ArrayLike, indicators: int) -> Floats:
    """Directions as floats, +1 or −1 for each of the indicators; one is taken for all.

    Raises:
        MethodError: another number of directions, or one that is neither +1 nor −1.
    """
    signs = np.asarray(directions, dtype=np.float64)
    if signs.shape not in {(), (indicators,)} or not np.isin(signs, (-1.0, 1.0)).all():
        raise MethodError(f"directions {signs.tolist()} for {indicators} indicators", "give +1 or −1 for each")
    return np.broadcast_to(signs, (indicators,))
