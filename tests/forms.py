"""Forms that experts fill in, for tests: rows as on the sheet, workbooks of them, and templates with cells filled."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter
from python_calamine import CalamineWorkbook

from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.expert_sheets import AHP, BASIS, DELPHI, FAMILIARITY, read_expert_sheets
from dei_pipeline.sources.expert_tables import ahp_judgements, delphi_responses, pages_of
from dei_pipeline.sources.layouts import load_reference
from dei_pipeline.sources.workbook import Reading

Rows = list[list[Any]]
ITEMS = ("政策体系完备性\npolicy_system_completeness", "配套保障完善性\nsupporting_measures")
CITIES = (("110000", "北京市"), ("310000", "上海市"), ("440300", "深圳市"))
DIMENSIONS = ("数字创新要素\nfactors", "数字基础设施\nbasis_of_all", "核心数字产业\ncore_industry")
REFERENCE = load_reference(Settings.reference)


def delphi(
    scores: Sequence[Sequence[Any]],
    expert: str = "E01",
    title: str = "城市德尔菲评分表(2020年) 第1轮",
    familiarity: Sequence[Any] = (0.8, 0.6),
    basis: Sequence[Any] = (0.6, 0.8),
    items: Sequence[str] = ITEMS,
    cities: Sequence[tuple[str | None, str | None]] = CITIES,
) -> Rows:
    """A Delphi sheet: row 4 familiarity, row 5 basis, cities from row 6, items from column C."""
    return [
        [title],
        ["专家 expert", expert],
        ["地区代码\nregion_code", "地区\nregion", *items],
        [None, FAMILIARITY, *familiarity],
        [None, BASIS, *basis],
        *([code, name, *row] for (code, name), row in zip(cities, scores, strict=True)),
    ]


def ahp(
    matrix: Sequence[Sequence[Any]],
    expert: str = "E01",
    title: str = "AHP 判断矩阵 judgement matrix: 小指数 (tiny) › 小指数 (tiny)",
    heads: Sequence[str] = DIMENSIONS,
    edition: str | None = "2021",
) -> Rows:
    """An AHP sheet: heads in row 5, judgements from B6."""
    body = [[head, *row] for head, row in zip(heads, matrix, strict=True)]
    return [[title], ["专家 expert", expert], ["版本 edition", edition], [], ["指标 indicator", *heads], *body]


def workbook(sheets: Mapping[str, Rows]) -> bytes:
    """An xlsx file of the sheets."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                if value is not None:
                    sheet.write(at, column, value)
    book.close()
    return out.getvalue()


def filled(template: Path, fill: Mapping[tuple[int, str], Any]) -> bytes:
    """A template with cells filled in, by place of the sheet from 0 and address."""
    book = CalamineWorkbook.from_path(str(template))
    sheets = {}
    for index, name in enumerate(book.sheet_names):
        rows = [
            [v if v != "" else None for v in r] for r in book.get_sheet_by_index(index).to_python(skip_empty_area=False)
        ]
        for (at, address), value in fill.items():
            if at == index:
                row, column = int(address[1:]) - 1, ord(address[0]) - 65
                rows += [[] for _ in range(row + 1 - len(rows))]
                rows[row] += [None] * (column + 1 - len(rows[row]))
                rows[row][column] = value
        sheets[name] = rows
    return workbook(sheets)


def read(content: bytes, **manifest: Any) -> tuple[Reading, pl.DataFrame]:
    """The reading of the expert sheets of a workbook, and the cells of its other sheets."""
    digest = hashlib.sha256(content).hexdigest()
    cells = with_address(decode(content, "form.xlsx").cells, digest)
    return read_expert_sheets(cells, {"sha256": digest, "file": "form.xlsx", **manifest}, REFERENCE)


def staged(content: bytes, **manifest: Any) -> Table:
    """The staging table of a workbook of forms of one kind."""
    reading, _ = read(content, **manifest)
    kind = DELPHI if DELPHI in reading.pages["layout"] else AHP
    table = {DELPHI: delphi_responses, AHP: ahp_judgements}[kind]
    return table(reading.page_cells.lazy(), pages_of(reading.pages, kind))


def role_of(reading: Reading, cell: str) -> str:
    """Role of a cell."""
    return reading.page_cells.filter(pl.col("cell") == cell)["role"].item()


def why(reading: Reading, cell: str) -> str:
    """Why a cell is in quarantine, with the fix."""
    row = reading.page_cells.filter(pl.col("cell") == cell).row(0, named=True)
    assert row["role"] == "quarantined", row
    assert row["fix"]
    return row["reason"]
