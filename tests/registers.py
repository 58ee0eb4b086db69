"""Rows of registers as staged, for tests of what is made of them."""

import datetime
from typing import Any

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.methods.companies import Forms, check_character
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings

FORMS = Forms.load(Settings().reference / "company_forms.csv")
DAY = datetime.date(2020, 12, 31)


def code(number: int) -> str:
    first = f"91110000MA{number:07}"
    return first + check_character(first)


def rows(table: str, given: list[dict[str, Any]]) -> pl.DataFrame:
    schema = python_contracts()[f"staging/{table}"].schema
    blank = dict.fromkeys(schema)
    full = [
        blank
        | {"source_cell": f"{'a' * 12}/s!A{at}", "raw_text": "x", "source_id": "s", "file": "f.csv", "edition": "2020"}
        | row
        for at, row in enumerate(given, start=2)
    ]
    return pl.DataFrame(full, schema=schema)


def register(*given: dict[str, Any]) -> pl.DataFrame:
    return rows("company_records", [{"as_of": DAY, **row} for row in given])


def held(*given: tuple[str, str, float] | dict[str, Any]) -> pl.DataFrame:
    base = {"unit": "percent", "value": 1.0, "as_of": DAY, "as_of_from": "title"}
    full = [
        base | (row if isinstance(row, dict) else dict(zip(("holder_label", "held_label", "share"), row, strict=True)))
        for row in given
    ]
    return rows("holding_records", full)


def used(table: Table) -> list[tuple[str, str, float, str]]:
    return table.frame.select("holder_id", "held_id", "share", "use").rows()


def complete(table: Table, key: list[str]) -> None:
    """Keys are unique and every row is the child of an edge."""
    assert table.frame.select(key).n_unique() == table.frame.height
    keys = table.frame.select(pl.concat_str([pl.col(k).cast(pl.String) for k in key], separator="|")).to_series()
    assert set(keys) == set(table.edges["child_key"])
