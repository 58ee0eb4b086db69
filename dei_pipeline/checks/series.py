"""Coverage and continuity of what is published, against the city list and against the year before.

The limits come from the panel that the seed publishes of the DEI. An index without a published panel has the same ones,
for want of any other; what goes beyond them warns and stops nothing.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import polars as pl

from dei_pipeline.checks.sentences import index_ids
from dei_pipeline.checks.table_check import TableCheck
from dei_pipeline.lake import Lake

# 2026-11-23: the report evaluates 242 cities; an institute may publish while a few sheets are late, so 95 %.
COVERAGE_FLOOR = 0.95
# 2026-11-23: the largest year-on-year change of a published city in the seed's 148-city panel averages 2.5 points; a
# jump of 15 points on a scale of 100 is a change of method or a mistake in the sheet.
LARGEST_STEP = 15.0


@dataclass(frozen=True)
class Series:
    """What should hold of the ranks of an index: its name, what it says, and the rows beyond the limit."""

    name: str
    description: str
    beyond: Callable[[pl.DataFrame], pl.DataFrame]


def ranked_share(ranks: pl.DataFrame) -> pl.DataFrame:
    """Cities with inputs, ranked cities and their share, by year."""
    return (
        ranks.group_by("year")
        .agg(cities=pl.len(), ranked=pl.col("ranked").sum())
        .with_columns(share=pl.col("ranked") / pl.col("cities"))
        .sort("year")
    )


def steps(ranks: pl.DataFrame) -> pl.DataFrame:
    """Change of each city's score against the year before, largest first."""
    before = ranks.select("region_code", pl.col("year") + 1, pl.col("score").alias("before"))
    return (
        ranks.join(before, on=["region_code", "year"])
        .select("region_code", "year", "before", "score", step=pl.col("score") - pl.col("before"))
        .drop_nulls("step")
        .sort(pl.col("step").abs(), descending=True)
    )


SERIES = (
    Series(
        "evaluated_cities_are_ranked",
        f"At least {COVERAGE_FLOOR:.0%} of the cities with any input are ranked. Tolerance: late sheets.",
        lambda ranks: ranked_share(ranks).filter(pl.col("share") < COVERAGE_FLOOR),
    ),
    Series(
        "scores_do_not_jump",
        f"No score moves by more than {LARGEST_STEP} points in a year. Tolerance: see checks/series.py.",
        lambda ranks: steps(ranks).filter(pl.col("step").abs() > LARGEST_STEP),
    ),
)


def series_checks(tables: Collection[str]) -> list[TableCheck]:
    """The series of every index that some tables belong to, as checks that warn."""
    return [_check(series, f"index/{index}_ranks") for index in index_ids(tables) for series in SERIES]


def _check(series: Series, key: str) -> TableCheck:
    def beyond(lake: Lake) -> pl.DataFrame | None:
        return series.beyond(lake.read(key)) if lake.exists(key) else None

    return TableCheck(series.name, key, series.description, "warn", (key,), beyond)
