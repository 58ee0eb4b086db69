"""The imputation ladder: official vintage, own growth with the peers, tier median, or left missing [methodology §3.9].

Donors are observed values only, never values imputed in the same run; peers are the cities of the same tier in the
previous published edition (never this run's own result), else of the same province.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from dei_pipeline.errors import MethodError
from dei_pipeline.provenance import Table, make_edges, row_key

KEY = ("region_code", "year", "variable")
OBSERVATIONS = "core/observations"
IMPUTATIONS = frozenset({"none", "growth", "growth_median"})
MIN_PEERS = 3  # inferred: a median of one or two cities is their noise, not a group's growth
SCHEMA: dict[str, pl.DataType] = {
    "region_code": pl.String(),
    "year": pl.Int64(),
    "variable": pl.String(),
    "value": pl.Float64(),
    "status": pl.String(),
    "method": pl.String(),
    "donors": pl.UInt32(),
}


def peer_growth(previous: float, growth: Sequence[float]) -> float:
    """Own previous value × the peers' median growth factor: 40, [1.02, 1.05, 1.10] → 42.0 [methodology §3.9 (2)].

    Raises:
        MethodError: no peer.
    """
    factor = pl.Series(growth, dtype=pl.Float64).median()
    if not isinstance(factor, float):
        raise MethodError("imputation by growth without a peer", "leave the value missing")
    return previous * factor


def ladder(
    panel: pl.DataFrame,
    variables: pl.DataFrame,
    peers: pl.DataFrame,
    vintages: pl.DataFrame | None = None,
    targets: pl.DataFrame | None = None,
    min_peers: int = MIN_PEERS,
) -> Table:
    """Imputed rows for the gaps of a long panel, each with its method and its donors as edges.

    Steps, the first that applies: (1) `other_vintage`: the value in the latest other edition of an official source, for
    every variable; (2) `peer_growth`: v_t = v_(t−1) · median_peers(v_t / v_(t−1)), own previous year observed and > 0,
    for imputation growth and growth_median; (3) `tier_province_median`: median of the same tier in the same province
    and year, for growth_median only; (4) left missing.
    A group without `min_peers` donors is not used. Medians do not depend on the order of rows.

    Args:
        panel: observed values, columns region_code, year, variable, value (null = missing); others are ignored.
        variables: variable, imputation (none | growth | growth_median).
        peers: region_code, tier_id (previous published edition, null if not in it), province_code; the cities to fill.
        vintages: region_code, year, variable, edition, value of other editions.
        targets: region_code, year, variable to fill; default: every city of `peers` × year of the panel × variable of
            `variables` that has any value in that year (a variable nobody reports is not imputed).
        min_peers: least donors of a median.

    Returns:
        Table with key region_code, year, variable and value, status "imputed", method, donors (their number). Edges to
        `core/observations` with roles previous_year (coefficient = growth) and donor, or to
        `core/observation_vintages` with role vintage (coefficient 1). `notes` counts rows by method and gaps left.

    Raises:
        MethodError: duplicate keys, a city twice in `peers`, or an unknown imputation.
    """
    _check(panel, variables, peers)
    known = panel.select(*KEY, pl.col("value").cast(pl.Float64)).filter(pl.col("value").is_not_null())
    known = known.with_columns(pl.col("year").cast(pl.Int64))
    other = known.clear().with_columns(pl.lit("").alias("edition")) if vintages is None else vintages
    groups = peers.select("region_code", pl.col("tier_id", "province_code").cast(pl.String))
    gaps = _gaps(known, variables, groups, other, targets)
    done, edges = [], []
    for rows, links in _steps(gaps, known, groups, other, min_peers):
        done.append(rows.select(SCHEMA.keys()).cast(pl.Schema(SCHEMA)))
        edges.append(links)
    frame = pl.concat(done).sort(KEY)
    counts = dict(frame.group_by("method").len().sort("method").iter_rows())
    notes = {"imputed": frame.height, "left_missing": gaps.height - frame.height, **counts}
    return Table(frame, pl.concat(edges), notes=notes)


def _check(panel: pl.DataFrame, variables: pl.DataFrame, peers: pl.DataFrame) -> None:
    """Keys are unique, imputations known."""
    keys = (("panel", panel, KEY), ("peers", peers, ("region_code",)), ("variables", variables, ("variable",)))
    for name, frame, key in keys:
        doubled = frame.filter(pl.struct(key).is_duplicated())
        if doubled.height:
            raise MethodError(f"imputation {name}: {doubled.select(key).row(0)} twice", "keep one row per key")
    unknown = variables.filter(~pl.col("imputation").is_in(sorted(IMPUTATIONS)) | pl.col("imputation").is_null())
    if unknown.height:
        raise MethodError(
            f"variable {unknown['variable'][0]}: imputation {unknown['imputation'][0]!r}",
            f"use one of {', '.join(sorted(IMPUTATIONS))} in variables.csv",
        )


def _gaps(
    known: pl.DataFrame,
    variables: pl.DataFrame,
    groups: pl.DataFrame,
    other: pl.DataFrame,
    targets: pl.DataFrame | None,
) -> pl.DataFrame:
    """Missing cells to fill with their city's tier and province and their variable's imputation."""
    year = pl.col("year").cast(pl.Int64)
    if targets is None:
        reported = pl.concat([known.select("year", "variable"), other.select(year, "variable")]).unique()
        targets = groups.select("region_code").join(reported, how="cross")
    cells = targets.select("region_code", year, "variable").unique()
    return (
        cells.join(variables.select("variable", "imputation"), on="variable")
        .join(groups, on="region_code")
        .join(known, on=KEY, how="anti")
        .sort(KEY)
    )


def _steps(
    gaps: pl.DataFrame, known: pl.DataFrame, groups: pl.DataFrame, other: pl.DataFrame, min_peers: int
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Rows and edges of each step of the ladder; a step sees only the gaps that the steps before it left."""
    rows, edges = _vintage(gaps, other)
    yield rows, edges
    gaps = gaps.join(rows, on=KEY, how="anti")

    before = known.select("region_code", pl.col("year") + 1, "variable", pl.col("value").alias("previous"))
    before = before.filter(pl.col("previous") > 0)
    pairs = known.join(before, on=KEY).select(*KEY, (pl.col("value") / pl.col("previous")).alias("statistic"))
    growing = gaps.filter(pl.col("imputation") != "none").join(before, on=KEY)
    for group in (["tier_id"], ["province_code"]):
        rows, edges = _by_peers(growing, pairs.join(groups, on="region_code"), group, "peer_growth", min_peers)
        rows = rows.with_columns((pl.col("previous") * pl.col("statistic")).alias("value"))
        own = make_edges(
            rows,
            KEY,
            OBSERVATIONS,
            ["region_code", pl.col("year") - 1, "variable"],
            "previous_year",
            pl.col("statistic"),
        )
        last_year = edges.select("child_key", "region_code", pl.col("year") - 1, "variable")
        yield rows, pl.concat([own, _donor_edges(edges), _donor_edges(last_year)])
        growing = growing.join(rows, on=KEY, how="anti")
        gaps = gaps.join(rows, on=KEY, how="anti")

    levels = known.rename({"value": "statistic"}).join(groups, on="region_code")
    open_gaps = gaps.filter(pl.col("imputation") == "growth_median")
    rows, edges = _by_peers(open_gaps, levels, ["tier_id", "province_code"], "tier_province_median", min_peers)
    yield rows.with_columns(pl.col("statistic").alias("value")), _donor_edges(edges)


def _vintage(gaps: pl.DataFrame, other: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Step 1: the latest other edition that holds the cell."""
    latest = (
        other.filter(pl.col("value").is_not_null())
        .select("region_code", pl.col("year").cast(pl.Int64), "variable", pl.col("edition").cast(pl.String), "value")
        .sort("edition", descending=True)
        .unique(KEY, keep="first", maintain_order=True)
    )
    rows = gaps.join(latest, on=KEY).with_columns(
        pl.lit("imputed").alias("status"), pl.lit("other_vintage").alias("method"), pl.lit(1).alias("donors")
    )
    return rows, make_edges(rows, KEY, "core/observation_vintages", [*KEY, "edition"], "vintage", 1.0)


def _by_peers(
    gaps: pl.DataFrame, donors: pl.DataFrame, group: list[str], method: str, min_peers: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Gaps with the median `statistic` of their group in that year, and one row per (gap, donor)."""
    by = [*group, "year", "variable"]
    donors = donors.drop_nulls(group)
    medians = donors.group_by(by).agg(pl.col("statistic").median(), pl.len().alias("donors"))
    rows = gaps.join(medians.filter(pl.col("donors") >= min_peers), on=by).with_columns(
        pl.lit("imputed").alias("status"), pl.lit(method).alias("method")
    )
    children = rows.select(row_key(KEY).alias("child_key"), *by)
    return rows, children.join(donors.select("region_code", *by), on=by)


def _donor_edges(links: pl.DataFrame) -> pl.DataFrame:
    """Edges from imputed cells (`child_key`) to the donors' observations."""
    return make_edges(links, ["child_key"], OBSERVATIONS, KEY, "donor")
