"""Parquet files as cells: every kind of column, and what is refused."""

import datetime
import io
from decimal import Decimal

import polars as pl
import pyarrow
import pytest
from pyarrow.parquet import write_table

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


def test_codes_stored_as_whole_numbers_or_decimals_keep_all_their_digits():
    code, exact = 914403001922038216, 2**53
    frame = pl.DataFrame(
        {
            "code": [code, 1, None],
            "wide": pl.Series([2**63 + 1, None, 7], dtype=pl.UInt64),
            "negative": [-exact - 1, None, None],
            "decimal": pl.Series([Decimal(code), None, None], dtype=pl.Decimal(20, 0)),
            "count": [exact, -exact, None],
        }
    )
    cells = decode(parquet(frame), "x").cells.filter(pl.col("row") > 1)
    found = {column: part.select("kind", "text", "number").rows() for (column,), part in cells.group_by("col")}
    assert found == {
        1: [("text", str(code), None), ("text", "1", None)],
        2: [("text", "9223372036854775809", None), ("text", "7", None)],
        3: [("text", "-9007199254740993", None)],
        4: [("text", str(code), None)],
        5: [("number", "9007199254740992", float(exact)), ("number", "-9007199254740992", float(-exact))],
    }


def test_dates_and_times_are_written_as_iso_8601_writes_them():
    moment = datetime.datetime(2020, 12, 31, 8, 30, 1)
    part = datetime.datetime(2020, 12, 31, 8, 30, 1, 250_000)
    frame = pl.DataFrame({"at": [moment, part], "time": [moment.time(), None], "for": [datetime.timedelta(1), None]})
    frame = frame.with_columns(zoned=pl.col("at").dt.replace_time_zone("Asia/Shanghai"))
    cells = decode(parquet(frame), "x").cells.filter(pl.col("row") > 1)
    assert cells.select("cell", "kind", "text").rows() == [
        ("A2", "date", "2020-12-31T08:30:01"), ("B2", "text", "08:30:01"), ("C2", "text", "P1D"),
        ("D2", "date", "2020-12-31T08:30:01+08:00"),
        ("A3", "date", "2020-12-31T08:30:01.250000"), ("D3", "date", "2020-12-31T08:30:01.250000+08:00"),
    ]  # fmt: skip
    assert cells["number"].null_count() == cells.height


def test_a_small_file_of_much_text_is_refused_by_its_footer_before_it_is_read(monkeypatch):
    numbered = pl.DataFrame({"a": [f"{'x' * 100_000}{number}" for number in range(100)]})  # 10 MB
    content = parquet(numbered)
    assert len(content) < 100_000
    with monkeypatch.context() as patch:
        patch.setattr(pl, "read_parquet", None)
        with pytest.raises(SourceError, match=r"x: max_unpacked is 1,000,000, the file has 10,"):
            decode(content, "x", Limits(max_unpacked=1_000_000))
    assert decode(content, "x").cells.height == 101


def test_a_value_that_a_dictionary_repeats_counts_as_often_as_it_stands_in_the_table():
    target = io.BytesIO()
    write_table(pyarrow.table({"a": pyarrow.array(["x" * 10_000] * 1_000)}), target)
    assert len(target.getvalue()) < 20_000
    with pytest.raises(SourceError, match=r"x: max_unpacked is 1,000,000, the file has 10,000,000"):
        decode(target.getvalue(), "x", Limits(max_unpacked=1_000_000))
