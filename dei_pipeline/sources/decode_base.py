"""What every decoder of source files shares: the table of cells, the limits, and how a file is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import polars as pl

from dei_pipeline.errors import SourceError

CELL_SCHEMA: dict[str, Any] = {
    "sheet": pl.String,
    "row": pl.Int32,
    "col": pl.Int32,
    "cell": pl.String,
    "kind": pl.String,
    "text": pl.String,
    "number": pl.Float64,
    "row_span": pl.Int32,
    "col_span": pl.Int32,
}
SUPPORTED = "give the file as .xlsx, .xls, .html, .mht, .csv or .parquet"
ERROR_CODES = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}
ERROR_TEXTS = frozenset(ERROR_CODES.values()) | {"#GETTING_DATA", "#SPILL!", "#CALC!"}


@dataclass(frozen=True)
class Limits:
    """How much one file may hold before it is refused; pass a changed copy to `decode` to allow more.

    Attributes:
        max_bytes: size of the file, bytes.
        max_html_bytes: size of an HTML page or MHTML package, bytes.
        max_sheets: sheets of a workbook or tables of a page.
        max_cells: non-empty cells of the file.
        max_rows: last row used in a sheet.
        max_columns: last column used in a sheet.
        max_area: rows times columns of a sheet, empty ones included (a stray cell far out makes a huge sheet).
        max_unpacked: unpacked bytes of all members of a zip, or of all values of a Parquet file.
        max_ratio: unpacked to packed bytes of one zip member above 1 MB (zip bomb).
    """

    max_bytes: int = 128 * 2**20
    max_html_bytes: int = 32 * 2**20
    max_sheets: int = 1_000
    max_cells: int = 3_000_000
    max_rows: int = 500_000
    max_columns: int = 4_096
    max_area: int = 10_000_000
    max_unpacked: int = 512 * 2**20
    max_ratio: int = 200


DEFAULT = Limits()


@dataclass(frozen=True)
class Decoded:
    """The cells of one file.

    Attributes:
        format: xlsx, xls, xlsx-encrypted, xls-encrypted, html, mhtml, csv or parquet.
        sheets: names in the file's order, empty ones included; `table1` … and `text` for HTML, else `csv`, `parquet`.
        cells: one row per non-empty cell (`CELL_SCHEMA`), in sheet, row, column order.
        notes: what was met: encoding, delimiter, hidden_sheets, skipped_sheets, empty_sheets, text_before …
    """

    format: str
    sheets: tuple[str, ...]
    cells: pl.DataFrame
    notes: dict[str, Any] = field(default_factory=dict)


def with_address(cells: pl.DataFrame, sha256: str) -> pl.DataFrame:
    """The cells with `sha256` first and `source_cell` (`<sha256[:12]>/<sheet>!<A1>`) last: the rows of raw/cells."""
    address = pl.concat_str(pl.lit(f"{sha256[:12]}/"), "sheet", pl.lit("!"), "cell").alias("source_cell")
    return cells.select(pl.lit(sha256).alias("sha256"), *CELL_SCHEMA, address)


def column_letters(column: int) -> str:
    """The letters of a 1-based column: 1 -> A, 27 -> AA."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def column_number(letters: str) -> int:
    """The 1-based column of its letters: A -> 1, AA -> 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


def refuse(name: str, reason: str, fix: str) -> NoReturn:
    """Raise a `SourceError` that names the file, the reason and the fix."""
    raise SourceError(f"{name}: {reason}", fix)


def check(name: str, limit: str, found: float, limits: Limits, where: str = "") -> None:
    """Raise when `found` is above the limit of that name."""
    allowed = getattr(limits, limit)
    if found > allowed:
        place = f"{name}, {where}" if where else name
        fix = f"check the file; if it is right, pass Limits({limit}={int(found) + 1}) to decode"
        refuse(place, f"{limit} is {allowed:,}, the file has {found:,.0f}", fix)


def bounds(rows: Iterable[int], columns: Iterable[int], name: str, where: str, limits: Limits) -> None:
    """Raise when the used rectangle of a sheet is above the limits."""
    last_row, last_column = max(rows, default=0), max(columns, default=0)
    check(name, "max_rows", last_row, limits, where)
    check(name, "max_columns", last_column, limits, where)
    check(name, "max_area", last_row * last_column, limits, where)


def number_text(values: pl.Series) -> pl.Series:
    """The shortest decimal text that reads back as the same number; whole numbers without «.0»."""
    text = values.cast(pl.String)
    odd = ((values.abs() < 1e-4) & (values != 0)).fill_null(False)
    if odd.any():  # the engine writes 0.00001 where Python, as the contract says, writes 1e-05
        python = pl.Series([repr(v) if o else None for v, o in zip(values, odd, strict=True)], dtype=pl.String)
        text = python.fill_null(text)
    return text.str.strip_suffix(".0")


def _special(value: Any) -> tuple[str, str, float | None]:
    """Kind, text and number of a cell that is neither text nor a number."""
    if isinstance(value, bool):
        return "bool", str(value).upper(), float(value)
    return "date", value.isoformat() if hasattr(value, "isoformat") else str(value), None


def cells_of(
    sheet: str,
    flat: list[Any],
    row: pl.Series | pl.Expr,
    col: pl.Series | pl.Expr,
    spans: Sequence[tuple[int, int, int, int]] = (),
    errors: Sequence[tuple[int, int, str]] = (),
) -> pl.DataFrame:
    """Cells (`CELL_SCHEMA`) of one sheet from its values.

    Args:
        sheet: name of the sheet.
        flat: values in reading order; empty strings and None are no cells.
        row: 1-based row of each value, a series beside `flat` or an expression over `at`, the 0-based place in it.
        col: 1-based column, likewise.
        spans: (row, col, row_span, col_span) of merged ranges.
        errors: (row, col, text) of error cells.
    """
    types = set(map(type, flat))
    if int in types:  # whole numbers of .xls
        flat = [float(v) if type(v) is int else v for v in flat]
    frame = pl.DataFrame(
        {
            "text": pl.Series([v if type(v) is str else None for v in flat], dtype=pl.String),
            "number": pl.Series([v if type(v) is float else None for v in flat], dtype=pl.Float64),
        }
    ).with_row_index("at")
    frame = frame.with_columns(row.alias("row"), col.alias("col"), kind=pl.lit(None, pl.String))
    others = types - {str, float, int, type(None)}
    if others:  # few: booleans, dates
        rest = [(i, *_special(v)) for i, v in enumerate(flat) if type(v) in others]
        schema = {"at": pl.UInt32, "kind": pl.String, "text": pl.String, "number": pl.Float64}
        frame = frame.update(pl.DataFrame(rest, schema=schema, orient="row"), on="at")
    return filled_in(sheet, frame, spans, errors)


def filled_in(
    sheet: str,
    frame: pl.DataFrame,
    spans: Sequence[tuple[int, int, int, int]] = (),
    errors: Sequence[tuple[int, int, str]] = (),
) -> pl.DataFrame:
    """Cells (`CELL_SCHEMA`) of one sheet from its values in reading order.

    Args:
        sheet: name of the sheet.
        frame: row, col, kind (null for texts and numbers), text, number; rows without text and number are no cells.
        spans: (row, col, row_span, col_span) of merged ranges.
        errors: (row, col, text) of error cells.
    """
    frame = frame.filter(pl.col("number").is_not_null() | (pl.col("text") != "")).select(
        pl.col("row", "col").cast(pl.Int32), "kind", "text", "number"
    )
    text = pl.col("text").str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)
    frame = frame.with_columns(text=pl.coalesce(text, number_text(frame["number"]))).with_columns(
        kind=pl.coalesce(
            "kind",
            pl.when(pl.col("number").is_not_null())
            .then(pl.lit("number"))
            .when(pl.col("text").is_in(list(ERROR_TEXTS)))
            .then(pl.lit("error"))
            .otherwise(pl.lit("text")),
        )
    )
    if errors:
        schema = {"row": pl.Int32, "col": pl.Int32, "text": pl.String}
        wrong = pl.DataFrame(errors, schema=schema, orient="row").with_columns(kind=pl.lit("error"))
        frame = pl.concat([frame.join(wrong, on=["row", "col"], how="anti"), wrong], how="diagonal").sort("row", "col")
    if spans:
        schema = dict.fromkeys(("row", "col", "row_span", "col_span"), pl.Int32)
        merged = pl.DataFrame(spans, schema=schema, orient="row").unique(["row", "col"], keep="first")
        frame = frame.join(merged, on=["row", "col"], how="left", maintain_order="left")
        frame = frame.with_columns(pl.col("row_span", "col_span").fill_null(1))
    else:
        frame = frame.with_columns(row_span=pl.lit(1, pl.Int32), col_span=pl.lit(1, pl.Int32))
    width = frame.select(pl.col("col").max().fill_null(0)).item()
    letters = pl.Series([column_letters(c) for c in range(1, width + 1)], dtype=pl.String)
    address = letters.gather(frame["col"] - 1) + frame["row"].cast(pl.String)
    return frame.with_columns(sheet=pl.lit(sheet), cell=address).select(list(CELL_SCHEMA))


def joined(frames: list[pl.DataFrame], name: str, limits: Limits) -> pl.DataFrame:
    """The cells of all sheets of a file, counted against the limit."""
    cells = pl.concat([pl.DataFrame(schema=CELL_SCHEMA), *frames])
    check(name, "max_cells", cells.height, limits)
    return cells
