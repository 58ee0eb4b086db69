"""Empty workbooks to fill in: pages that the source readers take without changes."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter
from xlsxwriter.workbook import Workbook

from dei_pipeline.errors import DeiError

HELP_SHEET = "说明 how to fill in"
ASSESSMENT_HEADER: tuple[tuple[str, int], ...] = (  # header cell, column width
    ("地区代码\nregion_code", 12),
    ("地区\nregion", 14),
    ("指标\nindicator_id", 28),
    ("考察点编号\ncheckpoint", 30),
    ("考察点\ncheckpoint text", 48),
    ("满分\nmax_points", 10),
    ("得分\npoints", 10),
    ("评估人\nassessor", 14),
    ("证据\nevidence", 40),
)


def write_template(kind: str, path: Path, **context: Any) -> Path:
    """Path of the workbook written.

    Args:
        kind: "region-indicator" or "assessment".
        path: where to write; the folder is made, an existing file is replaced.
        **context: arguments of `write_region_indicator` or `write_assessment`.

    Raises:
        DeiError: no such kind, or the context lacks something the kind needs.
    """
    writers: dict[str, Callable[..., None]] = {
        "assessment": write_assessment,
        "region-indicator": write_region_indicator,
    }
    if kind not in writers:
        raise DeiError(f"no template of kind «{kind}»", f"choose one of: {', '.join(sorted(writers))}")
    try:
        inspect.signature(writers[kind]).bind(None, **context)
    except TypeError as error:
        raise DeiError(f"template «{kind}»: {error}", "pass the arguments its writer names") from error
    book = xlsxwriter.Workbook(str(path))
    writers[kind](book, **context)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.close()
    return path


def write_region_indicator(
    book: Workbook,
    *,
    year: int,
    indicators: pl.DataFrame,
    regions: pl.DataFrame,
    title: str = "城市统计数据表",
    unit: str = "见各列",
) -> None:
    """Nothing; adds a page of regions by indicators: title with the year, unit, header, one row per region.

    Args:
        book: the open workbook.
        year: statistical year, printed in the title as «(2020年)».
        indicators: `name_zh`, and where known `unit`, printed in brackets after the name, and `name_en`.
        regions: `name_zh` in the wanted order.
        title: title before the year.
        unit: unit of the page, for columns without their own.
    """
    _need(indicators, ["name_zh"], "indicators")
    _need(regions, ["name_zh"], "regions")
    formats = _formats(book)
    sheet = book.add_worksheet(str(year))
    last = indicators.height
    sheet.write_string(0, 0, f"{title}({year}年)", formats["title"])
    sheet.write_string(1, 0, f"单位：{unit}", formats["unit"])
    units = indicators["unit"].to_list() if "unit" in indicators.columns else [None] * last
    english = indicators["name_en"].to_list() if "name_en" in indicators.columns else [None] * last
    labels = [f"{name}({own})" if own else str(name) for name, own in zip(indicators["name_zh"], units, strict=True)]
    header = [f"{label}\n{other}" if other else label for label, other in zip(labels, english, strict=True)]
    sheet.write_row(2, 0, ["地区", *header], formats["header"])
    sheet.write_column(3, 0, regions["name_zh"].to_list(), formats["label"])
    sheet.set_row(2, 45)
    sheet.set_column(0, 0, 16)
    sheet.set_column(1, max(1, last), 16)
    sheet.freeze_panes(3, 1)
    if last and regions.height:
        number = {"validate": "decimal", "criteria": "between", "minimum": -1e15, "maximum": 1e15}
        number |= {"error_title": "请填数字 / numbers only", "error_message": "只填数字；缺数留空。Leave gaps empty."}
        sheet.data_validation(3, 1, 2 + regions.height, last, number)
    _help(
        book,
        [
            (
                "标题末尾的年份是统计年份，不是年鉴出版年份。",
                "The year in the title is the year measured, not the edition's.",
            ),
            ("缺数留空，不要填 0、“-” 或估计数。", "Leave missing values empty: no 0, no dash, no estimate."),
            (
                "单位写在“单位：”后；某列单位不同时写在列名后的括号内。",
                "The unit stands after 单位：; a column's own unit in brackets.",
            ),
            (
                "不要改动第一列的地区名和表头；可以删去不用的列。",
                "Keep region names and header; unused columns may be deleted.",
            ),
            ("一年一张工作表，可复制本表。", "One sheet per year; copy this sheet for more years."),
        ],
    )


def write_assessment(
    book: Workbook,
    *,
    year: int,
    rubric: pl.DataFrame,
    regions: pl.DataFrame,
    assessor: str = "",
    title: str = "城市数字经济评估打分表",
) -> None:
    """Nothing; adds the scoring sheet: one row per city and checkpoint, points limited to 0 … max_points.

    Args:
        book: the open workbook.
        year: year assessed, printed in the title as «(2020年)».
        rubric: `indicator_id, checkpoint, name_zh, points`, and `name_en` where known; `points` is the maximum.
        regions: `region_code, name_zh`.
        assessor: filled into every row when given.
        title: title before the year.
    """
    _need(rubric, ["indicator_id", "checkpoint", "name_zh", "points"], "rubric")
    _need(regions, ["region_code", "name_zh"], "regions")
    rows = (
        regions.select(pl.col("region_code").cast(pl.String), region="name_zh")
        .join(rubric.select("indicator_id", "checkpoint", "name_zh", pl.col("points").cast(pl.Float64)), how="cross")
        .select("region_code", "region", "indicator_id", "checkpoint", "name_zh", "points")
    )
    formats = _formats(book)
    sheet = book.add_worksheet(str(year))
    sheet.write_string(0, 0, f"{title}({year}年)", formats["title"])
    sheet.write_string(1, 0, "单位：分 points", formats["unit"])
    sheet.write_row(2, 0, [label for label, _ in ASSESSMENT_HEADER], formats["header"])
    for column, (_, width) in enumerate(ASSESSMENT_HEADER):
        sheet.set_column(column, column, width)
    for column, values in enumerate(rows.get_columns()):
        sheet.write_column(3, column, values.to_list(), formats["label"])
    points = len(rows.columns)
    if rows.height:
        last = 2 + rows.height
        limits = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": "=$F4"}
        limits |= {"error_title": "得分 points", "error_message": "得分须在 0 与满分之间。From 0 to max_points."}
        sheet.data_validation(3, points, last, points, limits)
        sheet.write_column(3, points + 1, [assessor] * rows.height if assessor else [])
        sheet.autofilter(2, 0, last, len(ASSESSMENT_HEADER) - 1)
    sheet.set_row(2, 30)
    sheet.freeze_panes(3, 2)
    _help(
        book,
        [
            ("只填“得分”“评估人”“证据”三列。", "Fill in points, assessor and evidence only."),
            (
                "得分在 0 与满分之间，可用小数；未评估留空，不要填 0。",
                "0 to max_points, decimals allowed; not assessed: leave empty, no 0.",
            ),
            ("证据写网址或文件名与日期。", "Evidence: address or file name, and date."),
            ("每位评估人单独存一份文件。", "One file per assessor."),
            ("不要改动编号；编号把得分和指标连起来。", "Keep the ids: they tie the points to the indicator."),
        ],
    )


def _need(frame: pl.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DeiError(f"template: {what} lacks {', '.join(missing)}", f"pass a frame with {', '.join(columns)}")


def _formats(book: Workbook) -> dict[str, Any]:
    """Cell formats by use."""
    return {
        "title": book.add_format({"bold": True, "font_size": 14}),
        "unit": book.add_format({"italic": True}),
        "header": book.add_format(
            {
                "bold": True,
                "text_wrap": True,
                "align": "center",
                "valign": "vcenter",
                "border": 1,
                "bg_color": "#DDEBF7",
            }
        ),
        "label": book.add_format({"border": 1, "bg_color": "#F2F2F2"}),
    }


def _help(book: Workbook, lines: Sequence[tuple[str, str]]) -> None:
    """Nothing; adds the second sheet, one instruction per row in Chinese and English."""
    sheet = book.add_worksheet(HELP_SHEET)
    header = book.add_format({"bold": True})
    wrap = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.write_row(0, 0, ["填写说明", "How to fill in"], header)
    for row, pair in enumerate(lines, start=1):
        sheet.write_row(row, 0, pair, wrap)
    sheet.set_column(0, 1, 60)
