"""Leaves of an index as tables with lineage: inputs → (screened, imputed, treated) → thresholds → normalised.

Generic over a `Framework`; frames in, `provenance.Table` out. Every row is the child of at least one edge; coefficients
are derivatives where the step is linear. Sorted by key, so that equal inputs give equal bytes (invariant V1).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_tables import (
    CELL,
    LEAF,
    STATUSES,
    THRESHOLDS,
    Floats,
    before,
    by_indicator,
    definition,
    matrix,
    reject_doubles,
    table_of,
)
from dei_pipeline.methods.normalise import derivative, fit, flags, saturation, slopes, threshold
from dei_pipeline.methods.normalise import score as score_of
from dei_pipeline.methods.normalise_rules import RULES
from dei_pipeline.methods.statistics import constant
from dei_pipeline.methods.thresholds import given_numbers, needs_spread
from dei_pipeline.methods.tiers import evenness
from dei_pipeline.provenance import Table, make_edges, row_key

INDICATORS = "mart/city_indicators"
NO_THRESHOLD, CONSTANT = "no_threshold", "constant"


def inputs(
    framework: Framework,
    indicators: pl.DataFrame,
    cities: pl.DataFrame,
    tables: Mapping[str, pl.DataFrame] | None = None,
    grains: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Leaf values of the listed cities, complete: key region_code, year, indicator_id | value, unit, status.

    Every leaf that comes from outside the index, for every listed city and year that is evaluated: with at least one
    value that does not come from a table marked `complete` in the framework file. Such a table has a row for every
    city, as a count of companies does, and so does not tell which are evaluated. A leaf without a value is `missing`,
    also under zero_is_observed: an observed zero is a row of its own, made by a search (methodology §0a L1); a row
    with status structural_zero and no value is such a zero. Values keep the indicator's unit.

    Args:
        framework: the index.
        indicators: `mart/city_indicators`: region_code, year, indicator_id, value, unit, status; leaves of other
            indices and cities that are not listed are left aside (counted in `notes`).
        cities: region_code of the evaluated cities.
        tables: the tables that leaves of kind `table` are read from, as far as the lake holds them.
        grains: key columns of those tables.

    Returns:
        Table; edges to `mart/city_indicators` (role value, coefficient 1) or to the table read (coefficient the leaf's
        factor), for missing leaves to `core/framework`. `notes` count the cities and years that have values of complete
        tables only, and are left out.

    Raises:
        MethodError: a key twice, a NaN or infinite value, or a unit other than the framework's.
        NothingToDo: no listed city has a value, or only of complete tables.
    """
    leaves = framework.observed_leaves.select(
        pl.col("node_id").alias("indicator_id"), pl.col("unit").alias("expected"), "missing_policy", "position"
    )
    listed = cities.select("region_code").unique()
    ours = indicators.join(leaves.select("indicator_id"), on="indicator_id", how="semi")
    derived = ours.join(listed, on="region_code", how="semi").select(
        *LEAF, pl.col("value").cast(pl.Float64), "unit", "status", **_from_mart()
    )
    read = _from_tables(framework, tables or {}, grains or {})
    found = pl.concat([derived, read.join(listed, on="region_code", how="semi")], how="vertical_relaxed")
    reject_doubles(found, LEAF, INDICATORS)
    wrong = found.filter(pl.col("value").is_not_null() & ~pl.col("value").is_finite())
    if wrong.height:
        raise MethodError(
            f"{INDICATORS} {wrong.select(row_key(LEAF)).item(0, 0)} is not finite", "check its denominator"
        )
    zero = (pl.col("status") == "structural_zero") & (pl.col("missing_policy") == "zero_is_observed")
    given = pl.col("value").is_not_null() | (pl.col("status") == "structural_zero")
    counted = found.filter(given).select(*CELL, "complete").group_by(CELL).agg(pl.col("complete").all())
    cells = counted.filter(~pl.col("complete")).select(CELL)
    if not cells.height:
        raise NothingToDo(
            f"no leaf of the {framework.index_id.upper()} has a source"
            + (" but tables that have a row for every city" if counted.height else "")
            + f": see `dei sources missing {framework.index_id}`"
        )
    grid = cells.join(leaves, how="cross").join(found.with_columns(pl.lit(True).alias("row")), on=LEAF, how="left")
    other = grid.filter(pl.col("value").is_not_null() & (pl.col("unit") != pl.col("expected")))
    if other.height:
        where = other.select(row_key(LEAF)).item(0, 0)
        raise MethodError(
            f"{INDICATORS} {where} is in {other['unit'][0]}, not {other['expected'][0]}",
            f"correct the unit in {framework.file} or in the mart",
        )
    grid = grid.with_columns(
        pl.when(pl.col("value").is_null() & zero).then(0.0).otherwise(pl.col("value")).alias("value")
    ).sort("region_code", "year", "position")
    missing = pl.col("value").is_null()
    frame = grid.select(
        *LEAF,
        "value",
        pl.col("expected").alias("unit"),
        pl.when(missing).then(pl.lit("missing")).otherwise(pl.col("status")).alias("status"),
    )
    edges = [
        *(
            make_edges(part, LEAF, str(table), ["parent"], "value", pl.when(~missing).then("slope"))
            for (table,), part in grid.filter("row").partition_by("table", as_dict=True).items()
        ),
        definition(grid.filter(missing), framework, LEAF, "indicator_id", "definition"),
    ]
    left_out = {
        "cities_not_listed": ours.height - derived.height,
        "cities_only_counted": counted.height - cells.height,
        "other_indicators": indicators.height - ours.height,
    }
    return Table(frame, pl.concat(edges), notes={"missing": int(frame["value"].null_count()), **left_out})


def _from_mart() -> dict[str, pl.Expr]:
    """Where a mart's indicator comes from: its own row."""
    return {"table": pl.lit(INDICATORS), "parent": row_key(LEAF), "slope": pl.lit(1.0), "complete": pl.lit(False)}


def _from_tables(
    framework: Framework, tables: Mapping[str, pl.DataFrame], grains: Mapping[str, Sequence[str]]
) -> pl.DataFrame:
    """Values of the leaves of kind `table`: columns of `inputs`, with the row each was read from.

    Raises:
        MethodError: a table lacks a column that a leaf names.
    """
    units = dict(framework.leaves.select("node_id", "unit").iter_rows())
    schema: dict[str, Any] = dict.fromkeys(
        ("region_code", "indicator_id", "unit", "status", "table", "parent"), pl.String
    )
    schema |= {"year": pl.Int32, "value": pl.Float64, "slope": pl.Float64, "complete": pl.Boolean}
    columns = [*LEAF, "value", "unit", "status", "table", "parent", "slope", "complete"]
    found = [pl.DataFrame(schema=schema).select(columns)]
    for source in framework.tables:
        if source.table not in tables:
            continue
        rows = tables[source.table]
        lacking = [c for c in ("region_code", "year", source.column, *source.where) if c not in rows.columns]
        if lacking:
            raise MethodError(
                f"{source.table} has no column {lacking[0]}, which leaf {source.indicator_id} names",
                f"it has {', '.join(rows.columns)}",
            )
        rows = rows.filter(*(pl.col(name) == value for name, value in source.where.items()))
        found.append(
            rows.select(
                "region_code",
                pl.col("year").cast(pl.Int32),
                pl.lit(source.indicator_id).alias("indicator_id"),
                (pl.col(source.column).cast(pl.Float64) * source.factor).alias("value"),
                pl.lit(units[source.indicator_id]).alias("unit"),
                (pl.col("status") if "status" in rows.columns else pl.lit("estimated")).alias("status"),
                pl.lit(source.table).alias("table"),
                row_key(list(grains[source.table])).alias("parent"),
                pl.lit(source.factor).alias("slope"),
                pl.lit(source.complete).alias("complete"),
            ).drop_nulls("value")
        )
    return pl.concat(found)


def normalised(framework: Framework, inputs: pl.DataFrame, thresholds: pl.DataFrame) -> Table:
    """Scores of every leaf: key region_code, year, indicator_id | raw, score, flag, status.

    Scores in points, raw in the leaf's unit. flag: floored, capped (see `normalise.flags`), no_threshold, constant (all
    regions of the year are equal where a spread is needed), or null.
    Derived leaves (evenness) are computed from their members' scores; raw is then the evenness itself and status the
    weakest status among the members used [methodology §3.1, §3.6, §0a].

    Args:
        framework: the index.
        inputs: `index/<index>_inputs`.
        thresholds: `index/thresholds`, rows of this edition (others are ignored).

    Returns:
        Table; edges to the input (role value, coefficient d score / d raw where linear, 0 where bent), to
        `index/thresholds` (role threshold), and for derived leaves to their members' rows of the same table (role
        area).

    Raises:
        MethodError: a key twice, or values outside the range of their method.
    """
    limits = thresholds.filter(
        (pl.col("edition") == framework.edition) & pl.col("indicator_id").is_in(list(framework.leaf_ids))
    )
    reject_doubles(limits, ["edition", "indicator_id"], THRESHOLDS)
    reject_doubles(inputs, LEAF, before(framework))
    limit_of = {row["indicator_id"]: row for row in limits.iter_rows(named=True)}
    scored = [
        _score_leaf(framework, part, limit_of.get(name)) for name, part in by_indicator(inputs.sort(CELL)).items()
    ]
    leaves = pl.concat([_score_leaf(framework, inputs.clear(), None), *scored])
    frames = [leaves, *(_evenness_leaf(framework, leaf, leaves, limit_of.get(leaf)) for leaf in framework.derived_ids)]
    order = pl.DataFrame({"indicator_id": framework.leaf_ids}).with_row_index("position")
    rows = pl.concat(frames).join(order, on="indicator_id").sort("region_code", "year", "position")
    known, derived = pl.col("indicator_id").is_in(list(limit_of)), pl.col("indicator_id").is_in(framework.derived_ids)
    here = table_of(framework, "normalised")
    areas = rows.filter(derived).select(*CELL, pl.col("indicator_id").alias("child"))
    areas = areas.join(framework.members, left_on="child", right_on="indicator_id")
    areas = areas.join(rows.select(*CELL, pl.col("indicator_id").alias("member_id")), on=[*CELL, "member_id"])
    edges = [
        make_edges(rows.filter(~derived), LEAF, before(framework), LEAF, "value", pl.col("slope")),
        make_edges(rows.filter(known), LEAF, THRESHOLDS, [pl.lit(framework.edition), "indicator_id"], "threshold"),
        make_edges(areas, [*CELL, "child"], here, [*CELL, "member_id"], "area"),
    ]
    frame = rows.select(*LEAF, "raw", "score", "flag", "status")
    bent = dict(frame.drop_nulls("flag").group_by("flag").len().sort("flag").iter_rows())
    return Table(frame, pl.concat(edges), notes=bent)


def _score_leaf(framework: Framework, part: pl.DataFrame, limit: dict[str, Any] | None) -> pl.DataFrame:
    """Rows of one leaf with score, flag and slope; without a threshold no score, and a flag that says so."""
    raw = part["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    score, slope = np.full(raw.shape, np.nan), np.full(raw.shape, np.nan)
    flag = np.where(np.isnan(raw), "", NO_THRESHOLD)
    if limit is not None and limit["rule"] in RULES:
        score, slope, flag = _by_statistics(framework, part, raw, limit)
    elif limit is not None:
        bounds = {key: limit[key] for key in ("theta", "lo", "best", "hi", "cap")}
        if limit["rule"] == "saturation":
            score = saturation(raw, limit["theta"])
            flag = np.where(raw > limit["theta"], "capped", "")
        else:
            score = threshold(raw, direction=limit["direction"], **bounds)
            flag = flags(raw, direction=limit["direction"], **bounds)
        slope = slopes(raw, limit["rule"], limit["direction"], **bounds)
    return _rows(part.select(LEAF), raw, score, flag, slope, part["status"])


def _by_statistics(
    framework: Framework, part: pl.DataFrame, raw: Floats, limit: dict[str, Any]
) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Score, slope and flag of a leaf under a statistical rule; a year whose values are all equal has no score."""
    leaf, rule = limit["indicator_id"], RULES[limit["rule"]]
    options: dict[str, Any] = dict(framework.options.get(leaf, {})) | (
        {"cap": limit["cap"]} if "cap" in rule.options else {}
    )
    score, slope = np.full(raw.shape, np.nan), np.full(raw.shape, np.nan)
    flag = np.full(raw.shape, "", dtype="U16")
    years = part["year"].to_numpy()
    spans = [years == year for year in np.unique(years)] if limit["over"] == "year" else [np.full(raw.shape, True)]
    about = framework.leaves.row(by_predicate=pl.col("node_id") == leaf, named=True)
    for span in spans:
        present = raw[span][~np.isnan(raw[span])]
        if not present.size:
            continue
        if limit["over"] == "year" or not rule.parameters:
            if needs_spread(rule) and constant(present):
                flag[span] = np.where(np.isnan(raw[span]), "", CONSTANT)
                continue
            rows = part.filter(pl.Series(span)).drop_nulls("value")
            numbers = fit(limit["rule"], present, limit["direction"], leaf, **given_numbers(about, rows))
        else:
            numbers = {name: limit[name] for name in rule.parameters}
        known = (limit["rule"], raw[span], limit["direction"], numbers, leaf)
        score[span], slope[span] = score_of(*known, **options), derivative(*known, **options)
    if options.get("cap") is not None:
        flag = np.where(score >= options["cap"], "capped", flag)
    return score, slope, flag


def _rows(
    keys: pl.DataFrame, raw: Floats, score: Floats, flag: NDArray[np.str_], slope: Floats, status: pl.Series
) -> pl.DataFrame:
    """Rows of `normalised` from arrays: NaN and empty flags become null."""
    numbers = {"raw": raw, "score": score, "slope": slope}
    series = [pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in numbers.items()]
    text = pl.Series("flag", flag.tolist(), dtype=pl.String).replace("", None)
    return keys.with_columns(*series, text, status.cast(pl.String).alias("status"))


def _evenness_leaf(framework: Framework, leaf: str, leaves: pl.DataFrame, limit: dict[str, Any] | None) -> pl.DataFrame:
    """Rows of one evenness leaf for every city and year, from the scores of its members."""
    definition = framework.leaves.row(by_predicate=pl.col("node_id") == leaf, named=True)
    members = framework.members_of(leaf)
    weights = framework.leaves.filter(pl.col("node_id").is_in(members)).select("node_id", "weight")
    weight_of = dict(weights.iter_rows())
    share = [1.0 if weight_of[m] is None else weight_of[m] for m in members]
    cells = leaves.select(CELL).unique().sort(CELL)
    scores = matrix(cells, leaves.rename({"indicator_id": "node_id"}), members, "score")
    raw = np.asarray(evenness(scores, definition["evenness"], framework.min_coverage, share))
    rank = pl.col("status").replace_strict({s: i for i, s in enumerate(STATUSES)}, return_dtype=pl.Int32)
    used = leaves.filter(pl.col("indicator_id").is_in(members) & pl.col("score").is_not_null())
    weakest = cells.join(used.group_by(CELL).agg(rank.max().alias("rank")), on=CELL, how="left", maintain_order="left")
    weakest = weakest.with_columns(
        pl.when(pl.Series(np.isnan(raw))).then(pl.lit(len(STATUSES) - 1)).otherwise(pl.col("rank")).alias("rank")
    )
    status = weakest["rank"].replace_strict(dict(enumerate(STATUSES)), default="missing", return_dtype=pl.String)
    keys = cells.with_columns(pl.lit(leaf).alias("indicator_id")).select(LEAF)
    return _score_leaf(
        framework, keys.with_columns(pl.Series("value", raw).fill_nan(None), status.alias("status")), limit
    )
