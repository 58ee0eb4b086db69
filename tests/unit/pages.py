"""Pages of our own as raw/cells frames, without a file."""

import datetime
from typing import Any

import polars as pl

from dei_pipeline.sources.decode import CELL_SCHEMA, column_letters, with_address
from dei_pipeline.sources.layouts import default_layouts
from dei_pipeline.sources.workbook import Reading, read_file

SHA = "0" * 64


def grid_cells(
    rows: list[list[Any]], merges: dict[str, tuple[int, int]] | None = None, sheet: str = "Sheet1"
) -> pl.DataFrame:
    """raw/cells (without address) of a grid; `merges` maps a top left cell to (rows, columns)."""
    out = []
    for r, row in enumerate(rows, 1):
        for c, value in enumerate(row, 1):
            cell = f"{column_letters(c)}{r}"
            if value is None or (isinstance(value, str) and not value.strip()):
                continue
            kind, text, number = "text", value, None
            if isinstance(value, datetime.date):
                kind, text = "date", value.isoformat()
            elif isinstance(value, (int, float)):
                kind, text, number = "number", repr(float(value)).removesuffix(".0"), float(value)
            span = (merges or {}).get(cell, (1, 1))
            out.append((sheet, r, c, cell, kind, str(text), number, *span))
    return pl.DataFrame(out, schema=CELL_SCHEMA, orient="row")


def read(
    rows: list[list[Any]] | dict[str, list[list[Any]]],
    merges: dict[str, tuple[int, int]] | None = None,
    file: str = "page.xls",
    **manifest: Any,
) -> Reading:
    """How the shipped layouts read a grid, or several sheets of grids."""
    sheets = rows if isinstance(rows, dict) else {"Sheet1": rows}
    sha256 = manifest.pop("sha256", SHA)
    cells = with_address(pl.concat([grid_cells(r, merges, name) for name, r in sheets.items()]), sha256)
    return read_file(cells, {"sha256": sha256, "file": file, **manifest}, default_layouts())


def values(reading: Reading) -> dict[tuple[Any, ...], float]:
    """(region, year, variable) -> value of every value cell."""
    rows = reading.page_cells.filter(pl.col("role") == "value")
    return {(r["region_label"], r["year"], r["variable"]): r["number"] for r in rows.iter_rows(named=True)}


def cell(reading: Reading, address: str, sheet: str = "Sheet1") -> dict[str, Any]:
    """The page cell at an address."""
    return reading.page_cells.filter((pl.col("cell") == address) & (pl.col("sheet") == sheet)).row(0, named=True)


PERSONNEL = "1-4 各地区研究与试验发展(R&D)人员全时当量({})"
HEAD = ["地 区", "Region", "R&D人员\r\n全时当量\r\nTotal", "#研究人员\r\nResearchers"]


def personnel(year: str = "2018年", rows: list[list[Any]] | None = None, unit: str = "单位:人年") -> list[list[Any]]:
    body = rows or [
        ["全 国", "National Total", "4381444", "1 866 109"],
        ["东部地区", "Eastern Region", "2,916,696", "５"],
    ]
    return [
        [PERSONNEL.format(year)],
        ["Full-time Equivalent of R&D Personnel by Region"],
        [unit],
        ["(man-year)"],
        HEAD,
        *body,
    ]


def only_page(reading: Any) -> dict[str, Any]:
    assert reading.pages.height == 1
    return reading.pages.row(0, named=True)
