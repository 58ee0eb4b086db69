"""The published ranking of an index: rank, names, score with its decimals, tier or type, dimensions with ranks."""

import numpy as np
import polars as pl

from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_tables import CELL, NODE, definition, table_of
from dei_pipeline.methods.tiers import round_half_up
from dei_pipeline.provenance import Table, make_edges

KEY = ["year", "region_code"]


def ranking(
    framework: Framework,
    ranks: pl.DataFrame,
    node_ranks: pl.DataFrame,
    regions: pl.DataFrame,
    types: pl.DataFrame | None = None,
) -> Table:
    """Ranked regions, key year, region_code; scores rounded half up to the framework's decimals [methodology §2, §3.7].

    Columns rank, region_name, region_name_en, province_name, score; tier and tier_name_zh where the index has tiers;
    type, type_name_zh and speciality where it has types; each dimension (children of the root) and `<dimension>_rank`;
    coverage, imputed_weight, badge.

    Args:
        framework: the index.
        ranks, node_ranks, types: `index/<index>_ranks`, `_node_ranks` and `_types`.
        regions: `mart/regions`.

    Returns:
        Table; edges to the rank (role rank), the composite's and the dimensions' scores and ranks (role score), the
        region's name (role name), the type (role type) and the tier (role tier).
    """
    decimals = framework.tier_decimals
    place = regions.select(*CELL, "short_name_zh", "name_en", "province_name")
    rows = ranks.filter("ranked").join(place.unique(CELL, keep="last", maintain_order=True), on=CELL)
    if types is not None:
        about = framework.types.select("type_id", type_name_zh="name_zh")
        rows = rows.join(types.select(*CELL, "type_id", "speciality"), on=CELL, how="left").join(about, on="type_id")
    rows = rows.join(framework.tiers.select("tier_id", tier_name_zh="name_zh"), on="tier_id", how="left")
    for dimension in framework.children_of(framework.root):
        own = node_ranks.filter(pl.col("node_id") == dimension)
        points = np.asarray(round_half_up(own["score"].to_numpy(), decimals))
        columns: list[pl.Series | pl.Expr] = [
            pl.Series(dimension, points, dtype=pl.Float64),
            pl.col("rank").alias(f"{dimension}_rank"),
        ]
        rows = rows.join(own.select(*CELL, *columns), on=CELL, how="left")
    frame = rows.rename({"short_name_zh": "region_name", "name_en": "region_name_en", "tier_id": "tier"}).with_columns(
        pl.col("score_published").alias("score"), *([pl.col("type_id").alias("type")] if types is not None else [])
    )
    return Table(frame, _edges(framework, rows, types is not None))


def _edges(framework: Framework, rows: pl.DataFrame, typed: bool) -> pl.DataFrame:
    """Edges of a ranking, from its rows before they are renamed."""
    shown = pl.DataFrame({"node_id": [framework.root, *framework.children_of(framework.root)]})
    nodes = rows.select(CELL).join(shown, how="cross")
    tier: list[str | pl.Expr] = [pl.lit(framework.index_id), pl.lit(framework.edition), "tier_id"]
    edges = [
        make_edges(rows, KEY, table_of(framework, "ranks"), CELL, "rank"),
        make_edges(nodes, KEY, table_of(framework, "node_ranks"), NODE, "score"),
        make_edges(rows, KEY, "mart/regions", ["year", "region_code"], "name"),
        definition(rows.with_columns(_root=pl.lit(framework.root)), framework, KEY, "_root", "index"),
    ]
    edges += [make_edges(rows, KEY, "core/tiers", tier, "tier")] if framework.tiers.height else []
    edges += [make_edges(rows, KEY, table_of(framework, "types"), CELL, "type")] if typed else []
    return pl.concat(edges)
