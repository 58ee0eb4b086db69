"""Coverage and continuity of what is published, against the city list and against the year before."""

import dagster as dg
import polars as pl

from dei_pipeline.lake import Lake
from dei_pipeline.publish import as_table
from dei_pipeline.settings import Settings

# 2026-11-23: the report evaluates 242 cities; an institute may publish while a few sheets are late, so 95 %.
COVERAGE_FLOOR = 0.95
# 2026-11-23: the largest year-on-year change of a published city in the seed's 148-city panel averages 2.5 points; a
# jump of 15 points on a scale of 100 is a change of method or a mistake in the sheet.
LARGEST_STEP = 15.0


def coverage(settings: Settings) -> dg.AssetChecksDefinition:
    """Every evaluated city is ranked in every year that is ranked at all."""
    lake = Lake(settings.lake)

    @dg.asset_check(
        asset=dg.AssetKey(["index", "dei_ranks"]),
        name="evaluated_cities_are_ranked",
        description=f"At least {COVERAGE_FLOOR:.0%} of the cities with any input are ranked. Tolerance: late sheets.",
    )
    def evaluated_cities_are_ranked() -> dg.AssetCheckResult:
        if not lake.exists("index/dei_ranks"):
            return dg.AssetCheckResult(passed=True, metadata={"not_applicable": "no DEI in this lake"})
        by_year = ranked_share(lake.read("index/dei_ranks"))
        low = by_year.filter(pl.col("share") < COVERAGE_FLOOR)
        return dg.AssetCheckResult(
            passed=low.is_empty(), severity=dg.AssetCheckSeverity.WARN, metadata={"by_year": as_table(by_year)}
        )

    return evaluated_cities_are_ranked


def ranked_share(ranks: pl.DataFrame) -> pl.DataFrame:
    """Cities with inputs, ranked cities and their share, by year."""
    return (
        ranks.group_by("year")
        .agg(cities=pl.len(), ranked=pl.col("ranked").sum())
        .with_columns(share=pl.col("ranked") / pl.col("cities"))
        .sort("year")
    )


def continuity(settings: Settings) -> dg.AssetChecksDefinition:
    """No city's score jumps from one year to the next."""
    lake = Lake(settings.lake)

    @dg.asset_check(
        asset=dg.AssetKey(["index", "dei_ranks"]),
        name="scores_do_not_jump",
        description=f"No score moves by more than {LARGEST_STEP} points in a year. Tolerance: see checks/series.py.",
    )
    def scores_do_not_jump() -> dg.AssetCheckResult:
        if not lake.exists("index/dei_ranks"):
            return dg.AssetCheckResult(passed=True, metadata={"not_applicable": "no DEI in this lake"})
        jumps = steps(lake.read("index/dei_ranks")).filter(pl.col("step").abs() > LARGEST_STEP)
        return dg.AssetCheckResult(
            passed=jumps.is_empty(),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"jumps": jumps.height, "largest": as_table(jumps.head(10))},
        )

    return scores_do_not_jump


def steps(ranks: pl.DataFrame) -> pl.DataFrame:
    """Change of each city's score against the year before, largest first."""
    before = ranks.select("region_code", pl.col("year") + 1, pl.col("score").alias("before"))
    return (
        ranks.join(before, on=["region_code", "year"])
        .select("region_code", "year", "before", "score", step=pl.col("score") - pl.col("before"))
        .drop_nulls("step")
        .sort(pl.col("step").abs(), descending=True)
    )
