"""Figures that the reports print about their own results (`reference/published/`), as received files."""

import polars as pl

from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.methods.regions import Regions, match
from dei_pipeline.provenance import PUBLISHED, Table, make_edges

FILE, TOP20 = "published/figures.csv", "published/newinfra_top20.csv"
KEY = ("table", "key", "column", "year")
TOP20_YEAR = 2020
TOP20_COLUMNS = {  # column of the file -> column of release/newinfra_top20, decimals printed, unit
    "total_investment_100m_yuan": ("investment", 0, "100m_cny"),
    "projects_total": ("projects", 0, "count"),
    "projects_newinfra": ("new_infrastructure_projects", 0, "count"),
    "share_pct_published": ("new_infrastructure_share", 1, "percent"),
}


def figures(cells: pl.LazyFrame, manifests: pl.DataFrame, regions: Regions) -> Table:
    """The published figures with the cell of each: single ones (`FILE`), and the table of key projects (`TOP20`).

    Args:
        cells: raw/cells.
        manifests: raw/manifests; the latest file of each name of the reports' own source is read.
        regions: the register of regions.

    Returns:
        Table with key table, key, column, year; edges to the cell that holds the figure (coefficient 1).

    Raises:
        NothingToDo: the lake holds no such file.
        ReferenceFileError: a city of the table of key projects is unknown.
    """
    frame = pl.concat([_single(_page(cells, manifests, FILE)), _top20(_page(cells, manifests, TOP20), regions)])
    return Table(frame, make_edges(frame, KEY, "raw/cells", ["source_cell"], "value", 1.0))


def _page(cells: pl.LazyFrame, manifests: pl.DataFrame, file: str) -> pl.DataFrame:
    """The cells below the header of a published file, `name` the head of their column."""
    files = manifests.filter((pl.col("source_id") == PUBLISHED) & (pl.col("file") == file)).sort("edition")
    if not files.height:
        raise NothingToDo(f"no {file} in this lake")
    page = cells.filter(pl.col("sha256") == files["sha256"][-1]).collect()
    header = dict(page.filter(pl.col("row") == 1).select("col", "text").iter_rows())
    return page.filter(pl.col("row") > 1).with_columns(
        name=pl.col("col").replace_strict(header, return_dtype=pl.String)
    )


def _single(body: pl.DataFrame) -> pl.DataFrame:
    rows = body.pivot(on="name", index="row", values="text").join(
        body.filter(pl.col("name") == "published").select("row", "source_cell"), on="row"
    )
    return rows.select(
        "table",
        "key",
        "column",
        pl.col("year").cast(pl.Int32),
        pl.col("published").cast(pl.Float64),
        pl.col("decimals").cast(pl.Int32),
        "unit",
        "source_cell",
    )


def _top20(body: pl.DataFrame, regions: Regions) -> pl.DataFrame:
    cities = body.filter(name="city").select("row", label="text", year=pl.lit(TOP20_YEAR, pl.Int32))
    codes = match(cities.select("label", "year"), regions, level="city")
    if (lost := codes.filter(pl.col("region_code").is_null())).height:
        raise ReferenceFileError(f"{TOP20}: {lost['reason'][0]}", lost["fix"][0])
    code = cities.select("row").with_columns(codes["region_code"])
    said = [pl.col("name").replace_strict({c: told[at] for c, told in TOP20_COLUMNS.items()}, default=None)
            for at in range(3)]  # fmt: skip
    return (
        body.filter(pl.col("name").is_in(list(TOP20_COLUMNS)))
        .join(code, on="row", maintain_order="left")
        .select(
            pl.lit("release/newinfra_top20").alias("table"),
            pl.format("{}|{}|", pl.lit(TOP20_YEAR), "region_code").alias("key"),
            said[0].alias("column"),
            pl.lit(TOP20_YEAR, pl.Int32).alias("year"),
            pl.col("text").cast(pl.Float64).alias("published"),
            said[1].cast(pl.Int32).alias("decimals"),
            said[2].alias("unit"),
            "source_cell",
        )
    )
