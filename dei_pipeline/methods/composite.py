"""Composite of an index as tables with lineage: normalised leaves and weights → scores → ranks → types.

Generic over a `Framework`; frames in, `provenance.Table` out. Every row is the child of at least one edge; coefficients
are derivatives where the step is linear. Sorted by key, so that equal inputs give equal bytes (invariant V1).
"""

import numpy as np
import polars as pl

from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods.aggregate import tree
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.framework_grammar import AGGREGATE
from dei_pipeline.methods.index_tables import (
    CELL,
    LEAF,
    NODE,
    Floats,
    before,
    definition,
    matrix,
    reject_doubles,
    table_of,
)
from dei_pipeline.methods.tiers import RANK_SCALE, competition_rank, round_half_up, tier
from dei_pipeline.provenance import Table, make_edges

BADGE = "imputed"
LIMIT_SLACK = 1e-12
GROUPS = ("zone_id", "province_code")


def scores(framework: Framework, normalised: pl.DataFrame, weights: pl.DataFrame) -> Table:
    """Scores of all nodes, key region_code, year, node_id.

    Columns parent_id, level, score, weight, effective_weight, contribution, coverage.

    Score and contribution in points, weight = share within the parent, effective_weight = share in the composite after
    renormalisation over available leaves; the leaves' contributions add up to the composite [methodology §3.5].

    Args:
        framework: the index.
        normalised: `index/<index>_normalised`.
        weights: `index/<index>_weights`, rows of this edition.

    Returns:
        Table; edges parent ← child (role child, coefficient = weight within an arithmetic parent), leaf ← normalised
        (role score, coefficient 1), node ← weights (role weight).

    Raises:
        MethodError: a key twice, or weights that lack a node or do not sum to 1.
    """
    reject_doubles(normalised, LEAF, table_of(framework, "normalised"))
    given = weights.filter(pl.col("edition") == framework.edition)
    reject_doubles(given, ["edition", "node_id"], table_of(framework, "weights"))
    weight_of = dict(given.select("node_id", "weight").iter_rows())
    lacking = [n for n in framework.positions if n not in weight_of]
    if lacking:
        raise MethodError(f"{table_of(framework, 'weights')} lacks node {lacking[0]}", "recompute the weights")
    cells = normalised.select(CELL).unique().sort(CELL)
    leaves = normalised.rename({"indicator_id": "node_id"})
    result = tree(
        framework, matrix(cells, leaves, framework.leaf_ids, "score"), weight_of, groups=cells["year"].to_numpy()
    )

    n, m = result.score.shape
    node = np.tile(np.arange(m), n)
    columns = {
        "score": result.score,
        "weight": np.broadcast_to(np.array([weight_of[i] for i in result.node_ids]), (n, m)),
        "effective_weight": result.effective_weight,
        "contribution": result.contribution,
        "coverage": result.coverage,
        "share": result.share,
    }
    rows = pl.concat(
        [
            cells[np.repeat(np.arange(n), m)],
            framework.nodes.select("node_id", "parent_id", "level")[node],
            pl.DataFrame(
                {k: v.ravel() for k, v in columns.items()}, schema=dict.fromkeys(columns, pl.Float64)
            ).fill_nan(None),
        ],
        how="horizontal",
    )
    edition = pl.lit(framework.edition)
    linear = framework.nodes.filter(pl.col("aggregation") == "arithmetic")["node_id"]
    edges = [
        make_edges(
            rows.filter(pl.col("parent_id").is_not_null()),
            [*CELL, "parent_id"],
            table_of(framework, "scores"),
            NODE,
            "child",
            pl.when(pl.col("parent_id").is_in(linear.implode())).then("share"),
        ),
        make_edges(normalised, LEAF, table_of(framework, "normalised"), LEAF, "score", 1.0),
        make_edges(rows, NODE, table_of(framework, "weights"), [edition, "node_id"], "weight"),
    ]
    without = int(rows.filter(pl.col("level") == 0)["score"].null_count())
    return Table(rows.drop("share"), pl.concat(edges), notes={"without_composite": without})


def ranks(framework: Framework, scores: pl.DataFrame, inputs: pl.DataFrame) -> Table:
    """Published scores and ranks, key region_code, year.

    Columns score, score_published, rank, tier_id, coverage, imputed_weight, badge, ranked.

    score_published = score half-up to the framework's decimals; rank = competition rank within the year among the
    ranked cities, null for the others; tier_id from the published score; imputed_weight = effective weight of imputed
    leaves (a derived leaf counts by the imputed share of its members' weight); badge "imputed" above the framework's
    first limit, not ranked above its second or without a score [methodology §3.7, §3.9].

    Args:
        framework: the index.
        scores: `index/<index>_scores`.
        inputs: the leaf values before normalisation, for the statuses.

    Returns:
        Table; edges to the composite's row (role score, coefficient 1), to imputed inputs (role imputed) and to the
        framework's root (role tiers).
    """
    root = scores.filter(pl.col("node_id") == framework.root).sort(CELL)
    cells = root.select(CELL)
    score = root["score"].fill_null(float("nan")).to_numpy()
    weight = _imputed_weight(framework, cells, scores, inputs)
    ranked = ~np.isnan(score) & ~(weight > framework.not_ranked_above + LIMIT_SLACK)
    rank = np.zeros(score.shape, dtype=np.int64)
    years = cells["year"].to_numpy()
    for year in np.unique(years):
        of_year = years == year
        rank[of_year] = competition_rank(np.where(ranked, score, np.nan)[of_year])
    decimals = framework.tier_decimals
    tiers = np.full(score.shape, None) if framework.tiers.is_empty() else tier(score, framework.tiers, decimals)
    frame = cells.with_columns(
        root["score"],
        pl.Series("score_published", np.asarray(round_half_up(score, decimals)), dtype=pl.Float64).fill_nan(None),
        pl.Series("rank", rank, dtype=pl.Int64).replace(0, None).alias("rank"),
        pl.Series("tier_id", tiers.tolist(), dtype=pl.String),
        root["coverage"],
        pl.Series("imputed_weight", weight, dtype=pl.Float64).fill_nan(None),
        pl.Series("badge", np.where(weight > framework.badge_above + LIMIT_SLACK, BADGE, "").tolist(), dtype=pl.String)
        .replace("", None)
        .alias("badge"),
        pl.Series("ranked", ranked, dtype=pl.Boolean),
    )
    imputed = inputs.filter(pl.col("status") == "imputed").join(cells, on=CELL, how="semi")
    edges = [
        make_edges(root, CELL, table_of(framework, "scores"), NODE, "score", 1.0),
        make_edges(imputed, CELL, before(framework), LEAF, "imputed"),
        definition(root, framework, CELL, "node_id", "tiers"),
    ]
    notes = {"not_ranked": int((~ranked).sum()), "badges": int(frame["badge"].count())}
    return Table(frame, pl.concat(edges), notes=notes)


def _imputed_weight(framework: Framework, cells: pl.DataFrame, scores: pl.DataFrame, inputs: pl.DataFrame) -> Floats:
    """Effective weight that rests on imputed values, per cell; NaN without a composite."""
    ids = framework.leaf_ids
    effective = matrix(cells, scores, ids, "effective_weight")
    available = ~np.isnan(matrix(cells, scores, ids, "score"))
    marked = inputs.select(
        *CELL, pl.col("indicator_id").alias("node_id"), (pl.col("status") == "imputed").alias("imputed")
    )
    imputed = np.nan_to_num(matrix(cells, marked, ids, "imputed"))
    given = dict(framework.leaves.select("node_id", "weight").iter_rows())
    for leaf in framework.derived_ids:
        at = [ids.index(m) for m in framework.members_of(leaf)]
        share = available[:, at] * np.array([1.0 if given[ids[i]] is None else given[ids[i]] for i in at])
        carried = share.sum(axis=1)
        part = np.zeros(cells.height)
        np.divide((share * imputed[:, at]).sum(axis=1), carried, out=part, where=carried > 0)
        imputed[:, ids.index(leaf)] = part
    total = np.zeros(cells.height)
    for i in range(len(ids)):
        total = total + effective[:, i] * imputed[:, i]
    return total


def node_ranks(framework: Framework, scores: pl.DataFrame, ranks: pl.DataFrame, regions: pl.DataFrame) -> Table:
    """Ranks of every inner node, key region_code, year, node_id | level, score, rank, cities, and ranks within groups.

    Competition ranks (1 2 2 4) among the ranked cities of a year that have a score; `zone_rank` and
    `province_rank` among those of the same economic zone or province.

    Args:
        framework: the index.
        scores: `index/<index>_scores`.
        ranks: `index/<index>_ranks`: which cities are ranked.
        regions: `mart/regions`: region_code, year, province_code, zone_id.

    Returns:
        Table; edges to the node's score (role score) and to the region (role group).
    """
    inner = framework.nodes.filter(pl.col("kind") == AGGREGATE)["node_id"]
    place = regions.select(*CELL, *GROUPS).unique(CELL, keep="last", maintain_order=True)
    rows = (
        scores.filter(pl.col("node_id").is_in(inner.implode()) & pl.col("score").is_not_null())
        .join(ranks.filter("ranked"), on=CELL, how="semi")
        .join(place, on=CELL, how="left")
        .sort(NODE)
    )
    of_node = ["year", "node_id"]
    frame = rows.select(
        *NODE,
        "level",
        "score",
        _rank_over(of_node).alias("rank"),
        pl.len().over(of_node).cast(pl.Int64).alias("cities"),
        *GROUPS,
        *(
            pl.when(pl.col(group).is_not_null()).then(_rank_over([*of_node, group])).alias(f"{name}_rank")
            for group, name in zip(GROUPS, ("zone", "province"), strict=True)
        ),
    )
    edges = [
        make_edges(rows, NODE, table_of(framework, "scores"), NODE, "score", 1.0),
        make_edges(rows, NODE, "mart/regions", ["year", "region_code"], "group"),
    ]
    return Table(frame, pl.concat(edges))


def _rank_over(group: list[str]) -> pl.Expr:
    """Competition rank within a group, on scores rounded to 1e-10 as `tiers.competition_rank` does."""
    return (pl.col("score") * RANK_SCALE).round().rank("min", descending=True).over(group).cast(pl.Int32)


def types(framework: Framework, scores: pl.DataFrame, ranks: pl.DataFrame) -> Table:
    """Type of every ranked city, key region_code, year | type_id, speciality, speciality_z, min_percentile, rank.

    The first type of the framework whose bounds hold: rank of the composite ≤ max_rank, and the least percentile of
    the city's dimensions ≥ min_percentile, where given. percentile = 100·(n − rank)/(n − 1) of a dimension among the
    ranked cities; speciality = dimension with the largest z-score, (s − mean)/sd, sd with n − 1
    [seed 004 §二; methodology §3.8].

    Args:
        framework: the index; its types.
        scores: `index/<index>_scores`.
        ranks: `index/<index>_ranks`.

    Returns:
        Table; edges to the rank (role rank), the dimensions (role dimension) and the framework's root (role types).

    Raises:
        NothingToDo: nobody is ranked.
    """
    cities = ranks.filter("ranked").sort(CELL)
    dimensions = framework.children_of(framework.root)
    if not cities.height:
        raise NothingToDo(f"no region is ranked by {framework.index_id}")
    of_year = [cities.filter(pl.col("year") == year) for year in cities["year"].unique().sort()]
    frame = pl.concat([_types_of_year(framework, part, scores, dimensions) for part in of_year])
    mine = scores.filter(pl.col("node_id").is_in(list(dimensions))).join(frame, on=CELL, how="semi")
    root = frame.with_columns(node_id=pl.lit(framework.root))
    edges = [
        make_edges(frame, CELL, table_of(framework, "ranks"), CELL, "rank"),
        make_edges(mine, CELL, table_of(framework, "scores"), NODE, "dimension"),
        definition(root, framework, CELL, "node_id", "types"),
    ]
    return Table(frame, pl.concat(edges))


def _types_of_year(
    framework: Framework, cities: pl.DataFrame, scores: pl.DataFrame, dimensions: tuple[str, ...]
) -> pl.DataFrame:
    """Rows of `types` for the ranked cities of one year."""
    table = matrix(cities.select(CELL), scores, dimensions, "score")
    present = ~np.isnan(table)
    count = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(table, axis=0) / count
        spread = np.sqrt(np.nansum((table - mean) ** 2, axis=0) / (count - 1))
        z = np.where(present & (spread > 0), (table - mean) / spread, -np.inf)
    place = np.column_stack([competition_rank(table[:, d]) for d in range(len(dimensions))])
    percentile = np.where(count > 1, 100.0 * (count - place) / np.maximum(count - 1, 1), 100.0)
    least = np.where(present, percentile, 0.0).min(axis=1)
    best = z.argmax(axis=1)
    known = np.isfinite(z.max(axis=1))
    chosen = np.full(cities.height, None, dtype=object)
    rank = cities["rank"].to_numpy()
    for type_id, most, floor in framework.types.select("type_id", "max_rank", "min_percentile").reverse().iter_rows():
        fits = (rank <= (np.inf if most is None else most)) & (least >= (-np.inf if floor is None else floor))
        chosen[fits] = type_id
    return cities.select(
        *CELL,
        pl.Series("type_id", chosen.tolist(), dtype=pl.String),
        pl.Series("speciality", [dimensions[b] if k else None for b, k in zip(best, known, strict=True)], pl.String),
        pl.Series("speciality_z", np.where(known, z.max(axis=1), np.nan), dtype=pl.Float64).fill_nan(None),
        pl.Series("min_percentile", least, dtype=pl.Float64),
        "rank",
    )
