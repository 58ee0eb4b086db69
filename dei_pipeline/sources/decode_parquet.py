"""Cells of Parquet files: the names of the columns as the first row, below it the values."""

import io
import math

import polars as pl
import polars.selectors as cs

from dei_pipeline.sources.decode_base import Decoded, Limits, bounds, cells_of, check, joined, refuse

PARQUET_SHEET = "parquet"
FLAT = "give it as columns of numbers, texts and dates"


def parquet_cells(content: bytes, name: str, limits: Limits) -> Decoded:
    """Cells of a Parquet file, its size judged before its values are read.

    Raises:
        SourceError: a column is nested or binary, or the table breaks a limit.
    """
    schema = pl.read_parquet_schema(io.BytesIO(content))
    rows = int(pl.scan_parquet(io.BytesIO(content)).select(pl.len()).collect().item())
    bounds([rows + 1], [len(schema)], name, PARQUET_SHEET, limits)
    check(name, "max_cells", (rows + 1) * len(schema), limits)
    odd = [column for column, kind in schema.items() if kind.is_nested() or kind in (pl.Binary, pl.Object)]
    if odd:
        refuse(name, f"column «{odd[0]}» holds {schema[odd[0]]}", FLAT)
    frame = pl.read_parquet(io.BytesIO(content))
    check(name, "max_unpacked", frame.estimated_size(), limits)
    texts = [
        column for column, kind in schema.items() if not (kind.is_numeric() or kind.is_temporal() or kind == pl.Boolean)
    ]
    frame = frame.with_columns(
        pl.col(texts).cast(pl.String),
        *(pl.col(c).cast(pl.Float64) for c, kind in schema.items() if kind.is_decimal() or kind == pl.Float32),
        *(pl.col(c).dt.to_string("iso:strict") for c, kind in schema.items() if kind in (pl.Duration, pl.Time)),
    ).with_columns(cs.float().fill_nan(None))
    values = [*frame.columns, *(value for row in frame.iter_rows() for value in row)]
    values = [str(value) if isinstance(value, float) and math.isinf(value) else value for value in values]
    width = max(1, frame.width)
    cells = cells_of(PARQUET_SHEET, values, pl.col("at") // width + 1, pl.col("at") % width + 1)
    return Decoded("parquet", (PARQUET_SHEET,), joined([cells], name, limits), {"rows": rows})
