"""Cells of Parquet files: the names of the columns as the first row, below it the values."""

import io

import polars as pl

from dei_pipeline.sources.decode_base import Decoded, Limits, bounds, check, filled_in, joined, refuse

PARQUET_SHEET = "parquet"
FLAT = "give it as columns of numbers, texts and dates"
EXACT = 2**53  # up to here every whole number is a Float64
VALUED = {"kind": pl.String, "text": pl.String, "number": pl.Float64}


def parquet_cells(content: bytes, name: str, limits: Limits) -> Decoded:
    """Cells of a Parquet file.

    Rows, columns and unpacked bytes are judged by the footer before any value is read, and the unpacked bytes again by
    the values, since many values may be one in a dictionary. A column of whole numbers or decimals with a value beyond
    2^53, as codes are, is read as text: no digit is lost.

    Raises:
        SourceError: a column is nested or binary, or the table breaks a limit.
    """
    from pyarrow.parquet import read_metadata

    footer = read_metadata(io.BytesIO(content))
    schema = pl.read_parquet_schema(io.BytesIO(content))
    rows = footer.num_rows
    bounds([rows + 1], [len(schema)], name, PARQUET_SHEET, limits)
    check(name, "max_cells", (rows + 1) * len(schema), limits)
    odd = [column for column, kind in schema.items() if kind.is_nested() or kind in (pl.Binary, pl.Object)]
    if odd:
        refuse(name, f"column «{odd[0]}» holds {schema[odd[0]]}", FLAT)
    unpacked = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    check(name, "max_unpacked", unpacked, limits)
    frame = pl.read_parquet(io.BytesIO(content))
    check(name, "max_unpacked", frame.estimated_size(), limits)
    parts = []
    for at, column in enumerate(frame.iter_columns(), start=1):
        head = pl.DataFrame({"text": [column.name]}, schema={"text": pl.String})
        values = pl.concat([pl.DataFrame(schema=VALUED), head, _valued(column)], how="diagonal")
        parts.append(values.with_row_index("row", offset=1).with_columns(col=pl.lit(at, pl.Int32)))
    values = (
        pl.concat(parts).sort("row", "col")
        if parts
        else pl.DataFrame(schema={"row": pl.Int32, "col": pl.Int32, **VALUED})
    )
    cells = filled_in(PARQUET_SHEET, values)
    return Decoded("parquet", (PARQUET_SHEET,), joined([cells], name, limits), {"rows": rows})


def _valued(column: pl.Series) -> pl.DataFrame:
    """Kind, text and number of the values of a column, as far as they have one; kind only of booleans and dates."""
    value, kind = pl.col("value"), column.dtype
    frame = column.alias("value").to_frame()
    if kind == pl.Boolean:
        return frame.select(kind=pl.when(value.is_not_null()).then(pl.lit("bool")),
                            text=pl.when(value).then(pl.lit("TRUE")).when(~value).then(pl.lit("FALSE")),
                            number=value.cast(pl.Float64))  # fmt: skip
    if kind in (pl.Date, pl.Datetime):
        return frame.select(kind=pl.when(value.is_not_null()).then(pl.lit("date")), text=_iso(column))
    if kind.is_temporal():
        return frame.select(text=value.dt.to_string("iso:strict"))
    if kind.is_float():
        number = value.cast(pl.Float64).fill_nan(None)
        return frame.select(
            text=pl.when(number.is_infinite()).then(pl.when(number > 0).then(pl.lit("inf")).otherwise(pl.lit("-inf"))),
            number=pl.when(number.is_finite()).then(number),
        )
    if kind.is_numeric() and (column.len() == column.null_count() or _exact(column)):
        return frame.select(number=value.cast(pl.Float64))
    return frame.select(text=value.cast(pl.String))


def _exact(column: pl.Series) -> bool:
    """Whether no number of a column is too large for all its digits."""
    return all(abs(int(bound)) <= EXACT for bound in (column.min(), column.max()))  # type: ignore[arg-type]


def _iso(column: pl.Series) -> pl.Expr:
    """Dates and times as ISO 8601 writes them; parts of a second where there are any, the offset where there is one."""
    value = pl.col("value")
    if column.dtype == pl.Date:
        return value.dt.to_string("%Y-%m-%d")
    zone = "%:z" if getattr(column.dtype, "time_zone", None) else ""
    whole, parts = (value.dt.to_string(f"%Y-%m-%dT%H:%M:%S{part}{zone}") for part in ("", "%.6f"))
    return pl.when(value.dt.microsecond() == 0).then(whole).otherwise(parts)
