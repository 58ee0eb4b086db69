"""The reports' own results beside the computed ones: city scores on two bases, and the comparison of every figure."""

from collections.abc import Mapping

import polars as pl

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.tiers import round_half_up, tier
from dei_pipeline.provenance import KEY_SEPARATOR, Table, make_edges, no_edges

COMPUTED, PUBLISHED = "computed", "published"
CITY_KEY = ("year", "basis", "region_code")
COMPARISON_KEY = ("table", "key", "column")
SLACK = 1e-9

GRAINS = {
    "release/node_means": ("year", "node_id"),
    "release/tier_summary": ("year", "tier_id", "basis"),
    "release/cluster_scores": ("year", "cluster_id", "basis"),
    "release/deci_ranking": ("year", "region_code"),
    "release/deci_zone_counts": ("year", "scheme", "zone_id"),
    "release/newinfra_top20": ("year", "region_code", "basis"),
    "release/newinfra_totals": ("year", "scope", "basis"),
}
PUBLISHED_SCORE = "published_dei_score"  # the variable that holds what the reports print
CITY_COLUMNS = {PUBLISHED_SCORE: ("score_published", 1), "published_dei_rank": ("rank", 0)}


def city_scores(ranks: pl.DataFrame | None, observations: pl.DataFrame, tiers: pl.DataFrame) -> Table:
    """Composite of each city on the computed and on the published basis, with tier and published scale.

    Args:
        ranks: index/dei_ranks, or None where the index was not computed.
        observations: core/observations; `published_dei_score` (points 0–100) and `published_digital_scale` (亿元).
        tiers: tiers of the index, `tier_id`, `lower` inclusive.

    Returns:
        Table with key year, basis, region_code; tier of the score rounded half up to one decimal. Edges to the ranks or
        to the published observation (coefficient 1), and to the published scale.
    """
    scales = observations.filter(pl.col("variable") == "published_digital_scale").select(
        "region_code", "year", pl.col("value").alias("scale")
    )
    published = observations.filter(pl.col("variable") == PUBLISHED_SCORE)
    stated = published.select(
        "region_code", "year", pl.col("value").alias("score"), basis=pl.lit(PUBLISHED)
    ).with_columns(tier_id=pl.Series(list(tier(published["value"].to_numpy(), tiers)), dtype=pl.String))
    frames, edges = [stated], [_observation_edges(stated, PUBLISHED_SCORE, "score")]
    if ranks is not None:
        ours = ranks.filter("ranked").select("region_code", "year", "score", "tier_id", basis=pl.lit(COMPUTED))
        frames.append(ours.select(stated.columns))
        edges.append(make_edges(ours, CITY_KEY, "index/dei_ranks", ["region_code", "year"], "score", 1.0))
    frame = pl.concat(frames).join(scales, on=["region_code", "year"], how="left")
    edges.append(_observation_edges(frame.filter(pl.col("scale").is_not_null()), "published_digital_scale", "scale"))
    return Table(frame, pl.concat(edges))


def _observation_edges(rows: pl.DataFrame, variable: str, role: str) -> pl.DataFrame:
    return make_edges(
        rows,
        CITY_KEY,
        "core/observations",
        ["region_code", "year", pl.lit(variable)],
        role,
        1.0 if role == "score" else None,
    )


def comparison(
    figures: pl.DataFrame,
    observations: pl.DataFrame,
    computed: Mapping[str, pl.DataFrame],
    ranks: pl.DataFrame | None,
) -> Table:
    """Every published figure beside the computed one.

    A figure is within rounding if the computed value rounds (half up) to the printed one at the printed decimals. A
    published key that ends in `|` stands for the figure on every basis.

    Args:
        figures: core/published_figures.
        observations: core/observations, for the published city scores and ranks.
        computed: tables that figures name, by key.
        ranks: index/dei_ranks, or None.

    Returns:
        Table with key table, key, column; `computed` is null where this lake has no source for it. Edges to the
        published figure (coefficient −1 to the difference) and to the computed row.

    Raises:
        MethodError: a figure names a table or column that is not compared.
    """
    parts = [_figures(figures, table, computed.get(table)) for table in figures["table"].unique(maintain_order=True)]
    parts += [
        _cities(observations, variable, column, decimals, ranks)
        for variable, (column, decimals) in CITY_COLUMNS.items()
    ]
    rows = pl.concat([part for part, _ in parts])
    rounded = [
        None if value is None else _rounded(value, decimals)
        for value, decimals in rows.select("computed", "decimals").iter_rows()
    ]
    frame = rows.with_columns(
        difference=pl.col("computed") - pl.col("published"),
        within_rounding=(pl.Series(rounded, dtype=pl.Float64) - pl.col("published")).abs() < SLACK,
    )
    return Table(frame, pl.concat([no_edges(), *(edges for _, edges in parts)]))


def _rounded(value: float, decimals: int) -> float:
    """Half up at the printed decimals; −3 stands for thousands."""
    step = 10.0 ** max(0, -decimals)
    return round_half_up(value / step, max(0, decimals)) * step


def _figures(figures: pl.DataFrame, table: str, found: pl.DataFrame | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    grain = GRAINS.get(table)
    if grain is None:
        raise MethodError(f"figures.csv names {table}, which is not compared", f"use one of {', '.join(GRAINS)}")
    wanted = figures.filter(pl.col("table") == table).with_columns(figure_key=pl.col("key"))
    if "basis" in grain:
        bases = pl.DataFrame({"basis": [COMPUTED, PUBLISHED]})
        wanted = wanted.join(bases, how="cross").with_columns(key=pl.col("key") + pl.col("basis")).drop("basis")
    columns = wanted["column"].unique().to_list()
    if found is None:
        rows = wanted.with_columns(computed=pl.lit(None, pl.Float64))
    else:
        strange = sorted(set(columns) - set(found.columns))
        if strange:
            raise MethodError(
                f"figures.csv names {table} column {strange[0]}, which the table lacks", "correct figures.csv"
            )
        long = found.select(
            pl.concat_str([pl.col(c).cast(pl.String) for c in grain], separator=KEY_SEPARATOR).alias("key"),
            *(pl.col(c).cast(pl.Float64) for c in columns),
        ).unpivot(index="key", variable_name="column", value_name="computed")
        rows = wanted.join(long, on=["key", "column"], how="left", maintain_order="left")
    figure = ["table", "figure_key", "column", "year"]
    edges = [make_edges(rows, COMPARISON_KEY, "core/published_figures", figure, "published", -1.0)]
    if found is not None:
        edges.append(make_edges(rows.drop_nulls("computed"), COMPARISON_KEY, table, ["key"], "computed", 1.0))
    return rows.select(_COLUMNS), pl.concat(edges)


def _cities(
    observations: pl.DataFrame, variable: str, column: str, decimals: int, ranks: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    published = observations.filter(pl.col("variable") == variable)
    rows = published.select(
        "region_code",
        "year",
        "unit",
        "variable",
        pl.lit("index/dei_ranks").alias("table"),
        pl.concat_str(["region_code", pl.col("year").cast(pl.String)], separator=KEY_SEPARATOR).alias("key"),
        pl.lit(column).alias("column"),
        pl.col("value").alias("published"),
        pl.lit(decimals, pl.Int32).alias("decimals"),
    )
    if ranks is None:
        rows = rows.with_columns(computed=pl.lit(None, pl.Float64))
    else:
        ours = ranks.select("region_code", "year", pl.col(column).cast(pl.Float64).alias("computed"))
        rows = rows.join(ours, on=["region_code", "year"], how="left", maintain_order="left")
    key = ["region_code", "year", "variable"]
    edges = [make_edges(rows, COMPARISON_KEY, "core/observations", key, "published", -1.0)]
    edges.append(make_edges(rows.drop_nulls("computed"), COMPARISON_KEY, "index/dei_ranks", ["key"], "computed", 1.0))
    return rows.select(_COLUMNS), pl.concat(edges)


_COLUMNS = ("year", "table", "key", "column", "published", "computed", "decimals", "unit")
