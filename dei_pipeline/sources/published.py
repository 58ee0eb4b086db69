"""Figures that the reports print about their own results (`reference/published/figures.csv`), as a received file."""

import polars as pl

from dei_pipeline.errors import NothingToDo
from dei_pipeline.provenance import PUBLISHED, Table, make_edges

FILE = "published/figures.csv"
KEY = ("table", "key", "column", "year")


def figures(cells: pl.LazyFrame, manifests: pl.DataFrame) -> Table:
    """The published figures with the cell of each.

    Args:
        cells: raw/cells.
        manifests: raw/manifests; the latest file named `published/figures.csv` of the reports' own source is read.

    Returns:
        Table with key table, key, column, year; edges to the cell that holds the figure (coefficient 1).

    Raises:
        NothingToDo: the lake holds no such file.
    """
    files = manifests.filter((pl.col("source_id") == PUBLISHED) & (pl.col("file") == FILE)).sort("edition")
    if not files.height:
        raise NothingToDo(f"no {FILE} in this lake")
    page = cells.filter(pl.col("sha256") == files["sha256"][-1]).collect()
    header = dict(page.filter(pl.col("row") == 1).select("col", "text").iter_rows())
    body = page.filter(pl.col("row") > 1).with_columns(
        name=pl.col("col").replace_strict(header, return_dtype=pl.String)
    )
    rows = body.pivot(on="name", index="row", values="text").join(
        body.filter(pl.col("name") == "published").select("row", "source_cell"), on="row"
    )
    frame = rows.select(
        "table",
        "key",
        "column",
        pl.col("year").cast(pl.Int32),
        pl.col("published").cast(pl.Float64),
        pl.col("decimals").cast(pl.Int32),
        "unit",
        "source_cell",
    )
    return Table(frame, make_edges(frame, KEY, "raw/cells", ["source_cell"], "value", 1.0))
