"""The checks that contracts name: on one column, or on the whole table."""

from collections.abc import Callable
from typing import Any

import pandera.polars as pa
import polars as pl
import polars.selectors as cs

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.framework_rules import read_rubric
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_variables

_COLUMN_CHECKS: dict[str, Callable[[Any], pa.Check]] = {
    "in_range": lambda bounds: pa.Check.in_range(bounds[0], bounds[1]),
    "isin": pa.Check.isin,
    "str_matches": pa.Check.str_matches,
    "ge": pa.Check.ge,
    "gt": pa.Check.gt,
}


def column_check(name: str, argument: Any) -> pa.Check:
    """A pandera check on one column by its name in a contract."""
    if name not in _COLUMN_CHECKS:
        raise ReferenceFileError(f"contract check «{name}» is unknown", f"known: {', '.join(_COLUMN_CHECKS)}")
    return _COLUMN_CHECKS[name](argument)


def floats_are_finite() -> pa.Check:
    """No NaN and no infinity in any float column (both pass `ge=0`)."""
    return pa.Check(
        lambda data: data.lazyframe.select(pl.all_horizontal(pl.lit(True), cs.float().is_finite().fill_null(True))),
        name="floats_are_finite",
    )


def not_empty() -> pa.Check:
    """At least one row (an empty frame passes every other check)."""
    return pa.Check(lambda data: data.lazyframe.select(pl.len() > 0), name="not_empty")


def _value_null_iff_missing(_: Settings) -> Callable[[pa.PolarsData], pl.LazyFrame]:
    return lambda data: data.lazyframe.select(pl.col("value").is_null() == (pl.col("status") == "missing"))


def _value_within_bounds(settings: Settings) -> Callable[[pa.PolarsData], pl.LazyFrame]:
    limits = bounds(settings).lazy()

    def check(data: pa.PolarsData) -> pl.LazyFrame:
        joined = data.lazyframe.join(limits, on="variable", how="left", maintain_order="left")
        low, high = pl.col("minimum").fill_null(float("-inf")), pl.col("maximum").fill_null(float("inf"))
        return joined.select(pl.col("value").is_between(low, high).fill_null(True))

    return check


def bounds(settings: Settings) -> pl.DataFrame:
    """`variable`, `minimum`, `maximum` (null: none): of reference/variables.csv, and 0 to full marks of checkpoints.

    Raises:
        ReferenceFileError: a bound or the points of a checkpoint are no number; names file and line.
    """
    limits = {
        name: (variable.minimum, variable.maximum)
        for name, variable in load_variables(settings.reference / "variables.csv").items()
    }
    for path in sorted((settings.methodology / "rubrics").glob("*.csv")):
        name = f"methodology/rubrics/{path.name}"
        for number, row in enumerate(read_rubric(path, name), 2):
            try:
                points = float(row["points"])
            except (TypeError, ValueError) as error:
                raise ReferenceFileError(
                    f"{name}, line {number} ({row['checkpoint']}): points are {row['points']!r}",
                    "give a positive number",
                ) from error
            most = limits.get(row["checkpoint"], (0.0, points))[1]
            limits[row["checkpoint"]] = (0.0, max(points, most or 0.0))  # rubrics of two editions may differ
    rows = [(name, low, high) for name, (low, high) in limits.items()]
    schema = {"variable": pl.String, "minimum": pl.Float64, "maximum": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


_TABLE_CHECKS: dict[str, Callable[[Settings], Callable[[pa.PolarsData], pl.LazyFrame]]] = {
    "value_null_iff_missing": _value_null_iff_missing,
    "value_within_bounds": _value_within_bounds,
}


def table_check(name: str, settings: Settings) -> pa.Check:
    """A pandera check on a whole table by its name in a contract."""
    if name not in _TABLE_CHECKS:
        raise ReferenceFileError(f"contract check «{name}» is unknown", f"known: {', '.join(_TABLE_CHECKS)}")
    return pa.Check(_TABLE_CHECKS[name](settings), name=name)
