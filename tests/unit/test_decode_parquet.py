"""Parquet files as cells: every kind of column, and what is refused."""

import datetime
import io
from decimal import Decimal

import polars as pl
import pytest

from dei_pipeline.errors import SourceError
from dei_pipeline.sources.decode import Limits, decode


def parquet(frame: pl.DataFrame) -> bytes:
    target = io.BytesIO()
    frame.write_parquet(target)
    return target.getvalue()


def test_columns_become_cells_below_their_names():
    day = datetime.date(2020, 12, 31)
    frame = pl.DataFrame(
        {
            "股东名称": ["甲有限公司", None],
            "持股比例(%)": [60.5, float("nan")],
            "率": [float("inf"), None],
            "数量": [3, 4],
            "日期": [day, day],
            "在册": [True, None],
            "价": pl.Series([Decimal("1.50"), None], dtype=pl.Decimal(10, 2)),
            "类": pl.Series(["a", "b"], dtype=pl.Categorical),
        }
    )
    found = decode(parquet(frame), "x.parquet")
    assert (found.format, found.sheets, found.notes) == ("parquet", ("parquet",), {"rows": 2})
    assert found.cells.select("cell", "kind", "text").rows() == [
        *((f"{letter}1", "text", name) for letter, name in zip("ABCDEFGH", frame.columns, strict=True)),
        ("A2", "text", "甲有限公司"), ("B2", "number", "60.5"), ("C2", "text", "inf"), ("D2", "number", "3"),
        ("E2", "date", "2020-12-31"), ("F2", "bool", "TRUE"), ("G2", "number", "1.5"), ("H2", "text", "a"),
        ("D3", "number", "4"), ("E3", "date", "2020-12-31"), ("H3", "text", "b"),
    ]  # fmt: skip
    assert found.cells["number"].drop_nulls().to_list() == [60.5, 3.0, 1.0, 1.5, 4.0]


def test_nested_columns_and_tables_beyond_a_limit_are_refused():
    with pytest.raises(SourceError, match=r"x: column «a» holds List"):
        decode(parquet(pl.DataFrame({"a": [[1, 2]]})), "x")
    with pytest.raises(SourceError, match=r"x, parquet: max_rows is 2, the file has 4"):
        decode(parquet(pl.DataFrame({"a": [1, 2, 3]})), "x", Limits(max_rows=2))
    with pytest.raises(SourceError, match=r"x: max_unpacked is 10"):
        decode(parquet(pl.DataFrame({"a": [1, 2, 3]})), "x", Limits(max_unpacked=10))
    whole = parquet(pl.DataFrame({"a": [1, 2, 3]}))
    with pytest.raises(SourceError, match=r"x: damaged or unusual file"):
        decode(whole[:20], "x")
