"""Groups of cities whose gaps are filled from one another: by province, and by the tier a report gave them."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dei_pipeline.methods.tiers import tier

LAST_YEAR = 9999


@dataclass(frozen=True)
class Peers:
    """Cities with the groups their gaps are filled from, for a span of years.

    Attributes:
        cities: `region_code`, `tier_id` (may be null), `province_code`.
        first_year, last_year: years whose gaps are filled from these groups, inclusive.
    """

    cities: pl.DataFrame
    first_year: int
    last_year: int


def peer_groups(
    cities: Sequence[str], regions: pl.DataFrame, published_scores: pl.DataFrame, tiers: pl.DataFrame
) -> tuple[Peers, ...]:
    """Peers by province, and for years after a published edition by the tier it gave (never by this run's own result).

    Args:
        cities: region codes to fill.
        regions: `region_code`, `parent_code`.
        published_scores: `region_code`, `year`, `value`: scores that a report published.
        tiers: tiers of the index, highest first, with `tier_id` and `lower`.
    """
    base = pl.DataFrame({"region_code": sorted(set(cities))}, schema={"region_code": pl.String}).join(
        regions.select("region_code", pl.col("parent_code").alias("province_code")).unique("region_code", keep="last"),
        on="region_code",
        how="left",
    )
    plain = base.with_columns(tier_id=pl.lit(None, pl.String))
    if not published_scores.height:
        return (Peers(plain, 0, LAST_YEAR),)
    latest = published_scores.filter(pl.col("year") == pl.col("year").max())
    given = latest.select("region_code").with_columns(
        tier_id=pl.Series(list(tier(latest["value"].to_numpy(), tiers)), dtype=pl.String)
    )
    published = int(latest["year"][0])
    return Peers(plain, 0, published), Peers(base.join(given, on="region_code", how="left"), published + 1, LAST_YEAR)
