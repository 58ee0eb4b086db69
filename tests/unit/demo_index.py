"""An index of the demo's own numbers by the pipeline's methods; only the sums of the marts are redone here."""

from typing import Any

import polars as pl

from dei_pipeline.methods import composite, leaves, thresholds, weight_tables
from dei_pipeline.methods.framework import Framework


def indicators(framework: Framework, values: pl.DataFrame) -> pl.DataFrame:
    """Rows of mart/city_indicators from values by region, year and variable."""
    keys = ["region_code", "year", "indicator_id", "kind", "scale", "unit", "transform"]
    rows = framework.terms.join(values, on="variable")
    sums = rows.group_by(keys).agg(
        over=(pl.col("factor") * pl.col("value")).filter(pl.col("role") != "denominator").sum(),
        under=(pl.col("factor") * pl.col("value")).filter(pl.col("role") == "denominator").sum(),
        found=pl.len(),
    )
    whole = framework.terms.group_by("indicator_id").agg(
        pl.len().alias("terms"), pl.col("max_points").sum().alias("points")
    )
    sums = sums.join(whole, on="indicator_id").filter(pl.col("found") == pl.col("terms"))
    value = pl.when(pl.col("kind") == "ratio").then(pl.col("over") / pl.col("under")).otherwise(pl.col("over"))
    value = pl.col("scale") * pl.when(pl.col("kind") == "rubric").then(pl.col("over") / pl.col("points")).otherwise(
        value
    )
    return sums.select(
        *keys[:3],
        pl.when(pl.col("transform") == "log1p").then(value.log1p()).otherwise(value).alias("value"),
        "unit",
        pl.lit("reported").alias("status"),
    )


def computed(
    framework: Framework,
    values: pl.DataFrame,
    listed: pl.DataFrame,
    expert_weights: pl.DataFrame | None = None,
    tables: dict[str, pl.DataFrame] | None = None,
) -> dict[str, Any]:
    """The tables of an index by name, for the listed cities; weights as a table with its notes.

    `tables` are those that leaves are read from, with key region_code, year.
    """
    grains = dict.fromkeys(tables or {}, ("region_code", "year"))
    inputs = leaves.inputs(framework, indicators(framework, values), listed, tables, grains).frame
    limits = thresholds.thresholds(framework, inputs).frame
    normalised = leaves.normalised(framework, inputs, limits).frame
    base = normalised.filter(year=framework.base_year)
    weights = weight_tables.weights(framework, base, expert_weights)
    scores = composite.scores(framework, normalised, weights.frame).frame
    ranks = composite.ranks(framework, scores, inputs).frame
    found = {"inputs": inputs, "thresholds": limits, "normalised": normalised, "weights": weights}
    return found | {"scores": scores, "ranks": ranks}
