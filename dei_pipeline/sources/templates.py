"""Empty workbooks to fill in: pages that the source readers take without changes."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter
from xlsxwriter.workbook import Workbook

from dei_pipeline.errors import DeiError
from dei_pipeline.sources import registry_forms
from dei_pipeline.sources.expert_sheets import BASIS, FAMILIARITY, HELP_TITLE

HELP_SHEET = "说明 how to fill in"
MAX_SHEET_NAME = 31
AHP_HELP: tuple[tuple[str, str], ...] = (
    ("先在每张表的“专家”后填写姓名或编号。", "First your name or number beside «expert», on every sheet."),
    (
        "只填对角线以上的白色格：行指标相对列指标有多重要。",
        "Fill in the white cells above the diagonal: how much more the row counts than the column.",
    ),
    ("1 = 行与列同等重要。", "1 = row and column count the same."),
    ("3 = 行比列稍微重要；5 = 明显重要。", "3 = the row counts moderately more than the column; 5 = strongly."),
    ("7 = 强烈重要；9 = 极端重要。", "7 = very strongly; 9 = extremely."),
    ("2、4、6、8 = 介于两者之间。", "2, 4, 6, 8 = in between."),
    (
        "列比行重要时填倒数：1/3、1/5、1/7、1/9 等。",
        "Where the column counts more: the reciprocal, 1/3, 1/5, 1/7, 1/9 …",
    ),
    ("对角线以下可留空；若填写须为倒数。", "Below the diagonal: leave empty, or the reciprocal."),
    (
        "请前后一致：A 比 B 重要、B 比 C 重要，则 A 比 C 重要。CR ≥ 0.1 的矩阵不被采用。",
        "Be consistent (A over B, B over C: A over C): a matrix with CR ≥ 0.1 is not used.",
    ),
    ("不要改动标题和指标名称。", "Keep the title and the names of the indicators."),
)
DELPHI_HELP: tuple[tuple[str, str], ...] = (
    (
        "先在“专家”后填写姓名或编号；各轮须一致。",
        "First your name or number beside «expert», the same in each round.",
    ),
    (
        "熟悉程度 Cs：0 不了解 … 1 非常熟悉。逐列填写。",
        "Familiarity Cs: 0 not at all … 1 very well. For each column.",
    ),
    (
        "判断依据 Ca：0 直觉 … 1 实践经验和理论分析。逐列填写。",
        "Basis Ca: 0 intuition … 1 practice and analysis. For each column.",
    ),
    (
        "每个城市每项打 0–100 分，可用小数；不了解的留空，不要填 0。",
        "0 to 100 by city and item, decimals allowed; empty if you cannot say, no 0.",
    ),
    ("“上轮反馈”供参考，不要改动。", "«Previous round» is for your information: leave it as it is."),
    (
        "一位专家一轮一张工作表，可分文件，也可放在同一文件。",
        "One sheet per expert and round, in one file or several.",
    ),
    (
        "不要改动标题中的年份和轮次、表头和地区代码。",
        "Keep year and round in the title, the header and the region codes.",
    ),
)
PROJECT_HELP: tuple[tuple[str, str], ...] = (
    ("一个项目一行；不要写合计或小计。", "One project a row; no totals."),
    (
        "城市写全称或简称；省级项目写所在城市。",
        "The city by its full or short name; of a provincial project where it lies.",
    ),
    (
        "总投资填一个数，单位亿元；约数写“约12”，不要写区间；不详的项目不要列入。",
        "Total investment: one number in 100 million yuan; «约12» for about 12; no ranges; leave out the unknown.",
    ),
    (
        "项目类别从下拉表选；留空则按名称判断，并标为估计。",
        "Choose the kind from the list; if empty it is taken from the name and marked as estimated.",
    ),
    ("标题中的年份是清单年份。", "The year in the title is the year of the list."),
    ("若只列部分项目，在表下写“注：仅包括……”。", "If the list is partial, say so below it: «注：仅包括…»."),
)
PROJECT_HEADER: tuple[tuple[str, int], ...] = (
    ("序号\nno", 8),
    ("地区代码\nregion_code", 12),
    ("城市\ncity", 16),
    ("项目名称\nproject name", 44),
    ("项目类别\nkind", 26),
    ("总投资(亿元)\ntotal investment", 18),
    ("建设阶段\nstage", 14),
)
LIST_ROWS = 1000  # rows of a list that check what is filled in
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
        kind: "region-indicator", "assessment", "delphi", "ahp", "projects", "companies" or "holdings".
        path: where to write; the folder is made, an existing file is replaced.
        **context: arguments of the kind's writer, `write_region_indicator`, `write_assessment` …

    Raises:
        DeiError: no such kind, or the context lacks something the kind needs.
    """
    writers: dict[str, Callable[..., None]] = {
        "ahp": write_ahp,
        "assessment": write_assessment,
        "companies": write_companies,
        "delphi": write_delphi,
        "holdings": write_holdings,
        "projects": write_projects,
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


def write_delphi(
    book: Workbook,
    *,
    year: int,
    items: pl.DataFrame,
    regions: pl.DataFrame,
    round: int = 1,
    expert: str = "",
    feedback: pl.DataFrame | None = None,
    title: str = "城市德尔菲评分表",
) -> None:
    """Nothing; adds one expert's sheet of a Delphi round: familiarity and basis by item, scores by city and item.

    Args:
        book: the open workbook.
        year: year judged, printed in the title as «(2020年)».
        items: `item`, `name_zh`.
        regions: `region_code`, `name_zh` in the wanted order.
        round: number of the round, from 1, printed in the title as «第1轮».
        expert: filled in when given.
        feedback: `region_code`, `item`, `median`, `iqr` of the round before, shown beside the scores.
        title: title before the year.
    """
    _need(items, ["item", "name_zh"], "items")
    _need(regions, ["region_code", "name_zh"], "regions")
    formats, n = _formats(book), items.height
    sheet = book.add_worksheet(f"{year} 第{round}轮")
    sheet.write_string(0, 0, f"{title}({year}年) 第{round}轮", formats["title"])
    sheet.write_string(1, 0, "专家 expert", formats["label"])
    sheet.write_string(1, 1, expert, formats["input"])
    heads = [f"{zh}\n{item}" for item, zh in items.select("item", "name_zh").iter_rows()]
    before = [f"上轮反馈 previous round\n{zh}" for zh in items["name_zh"]] if feedback is not None else []
    sheet.write_row(2, 0, ["地区代码\nregion_code", "地区\nregion", *heads, *before], formats["header"])
    for row, label in enumerate((FAMILIARITY, BASIS), start=3):
        sheet.write_blank(row, 0, None, formats["label"])
        sheet.write_string(row, 1, label, formats["label"])
    sheet.write_column(5, 0, regions["region_code"].to_list(), formats["label"])
    sheet.write_column(5, 1, regions["name_zh"].to_list(), formats["label"])
    if feedback is not None:
        told = {(code, item): f"中位数 {median:g}，四分位差 {iqr:g}" for code, item, median, iqr in
                feedback.select("region_code", "item", "median", "iqr").iter_rows()}  # fmt: skip
        for column, item in enumerate(items["item"], start=2 + n):
            texts = [told.get((code, item), "") for code in regions["region_code"]]
            sheet.write_column(5, column, texts, formats["label"])
    share = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 1}
    share |= {"error_title": "0–1", "error_message": "请填 0 至 1 之间的数。From 0 to 1."}
    score = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 100}
    score |= {"error_title": "0–100", "error_message": "请填 0 至 100 之间的分数；不评分留空。From 0 to 100, or empty."}
    sheet.data_validation(3, 2, 4, 1 + n, share)
    sheet.data_validation(5, 2, max(5, 4 + regions.height), 1 + n, score)
    sheet.set_row(2, 45)
    sheet.set_column(0, 0, 12)
    sheet.set_column(1, 1, 26)
    sheet.set_column(2, 1 + n + len(before), 24)
    sheet.freeze_panes(5, 2)
    _help(book, DELPHI_HELP)


def write_ahp(
    book: Workbook, *, index: str, index_name: str, edition: str, children: pl.DataFrame, expert: str = ""
) -> None:
    """Nothing; adds one sheet for each node whose children are compared: a square matrix, the diagonal filled with 1.

    Args:
        book: the open workbook.
        index: id of the index.
        index_name: its Chinese name.
        edition: edition of the index.
        children: `parent_id`, `parent_name_zh`, `node_id`, `name_zh`, a row per child in the wanted order.
        expert: filled into every sheet when given.
    """
    _need(children, ["parent_id", "parent_name_zh", "node_id", "name_zh"], "children")
    formats = _formats(book)
    groups = children.partition_by("parent_id", maintain_order=True)
    for number, group in enumerate(groups, start=1):
        parent, parent_name = group.select("parent_id", "parent_name_zh").row(0)
        sheet = book.add_worksheet(f"{number} {parent}"[:MAX_SHEET_NAME])
        title = f"AHP 判断矩阵 judgement matrix: {index_name} ({index}) › {parent_name} ({parent})"
        sheet.write_string(0, 0, title, formats["title"])
        for row, (label, text) in enumerate((("专家 expert", expert), ("版本 edition", edition)), start=1):
            sheet.write_string(row, 0, label, formats["label"])
            sheet.write_string(row, 1, text, formats["input"])
        heads = [f"{zh}\n{node}" for node, zh in group.select("node_id", "name_zh").iter_rows()]
        sheet.write_row(4, 0, ["指标\nindicator", *heads], formats["header"])
        limits = {"validate": "decimal", "criteria": "between", "minimum": 0.11, "maximum": 9}
        limits |= {"error_title": "1/9 … 9", "error_message": "请填 1–9 或其倒数。1 to 9 or a reciprocal."}
        for at, head in enumerate(heads):
            sheet.write_string(5 + at, 0, head, formats["header"])
            for column in range(len(heads)):
                sheet.write_blank(5 + at, 1 + column, None, formats["judgement" if column > at else "label"])
            sheet.write_number(5 + at, 1 + at, 1, formats["label"])
            if at + 1 < len(heads):
                sheet.data_validation(5 + at, 2 + at, 5 + at, len(heads), limits)
        sheet.set_row(4, 45)
        sheet.set_column(0, len(heads), 24)
        sheet.freeze_panes(5, 1)
    _help(book, AHP_HELP)


def write_projects(book: Workbook, *, year: int, kinds: Sequence[str], regions: pl.DataFrame) -> None:
    """Nothing; adds a list of key projects to fill in, kinds and cities to choose from lists on the help sheet.

    Args:
        book: the open workbook.
        year: year of the list, printed in the title as «(2020年)».
        kinds: names of the kinds of projects.
        regions: `name_zh` of the cities.
    """
    _need(regions, ["name_zh"], "regions")
    formats = _formats(book)
    sheet = book.add_worksheet(str(year))
    sheet.write_string(0, 0, f"重点项目清单({year}年)", formats["title"])
    sheet.write_row(1, 0, [label for label, _ in PROJECT_HEADER], formats["header"])
    for column, (_, width) in enumerate(PROJECT_HEADER):
        sheet.set_column(column, column, width)
    sheet.set_row(1, 32)
    sheet.freeze_panes(2, 4)
    _help(book, PROJECT_HELP)
    _choose(book, sheet, [(2, "城市 cities", regions["name_zh"].to_list()), (4, "项目类别 kinds", list(kinds))])


def write_companies(book: Workbook, *, year: int, regions: pl.DataFrame) -> None:
    """Nothing; adds a register of companies to fill in, cities and kinds of roots to choose from lists.

    Args:
        book: the open workbook.
        year: data year, printed in the title as «(2020年末)».
        regions: `name_zh` of the cities.
    """
    _need(regions, ["name_zh"], "regions")
    sheet = _register(book, year, f"企业名录({year}年末)", registry_forms.COMPANY_HEADER)
    _help(book, registry_forms.COMPANY_HELP)
    kinds = (6, "根企业类别 kinds of roots", list(registry_forms.MARKS))
    _choose(book, sheet, [(3, "城市 cities", regions["name_zh"].to_list()), kinds])


def write_holdings(book: Workbook, *, year: int) -> None:
    """Nothing; adds a register of holdings to fill in.

    Args:
        book: the open workbook.
        year: data year, printed in the title as «(2020年末)».
    """
    sheet = _register(book, year, f"持股明细({year}年末)", registry_forms.HOLDING_HEADER)
    share = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 100}
    share |= {"error_title": "0–100", "error_message": "请填 0 至 100 之间的百分数。Per cent, from 0 to 100."}
    sheet.data_validation(2, 4, 1 + LIST_ROWS, 4, share)
    _help(book, registry_forms.HOLDING_HELP)


def _register(book: Workbook, year: int, title: str, header: Sequence[tuple[str, int]]) -> Any:
    """A sheet with title and header and nothing below."""
    formats = _formats(book)
    sheet = book.add_worksheet(str(year))
    sheet.write_string(0, 0, title, formats["title"])
    sheet.write_row(1, 0, [label for label, _ in header], formats["header"])
    for column, (_, width) in enumerate(header):
        sheet.set_column(column, column, width)
    sheet.set_row(1, 32)
    sheet.freeze_panes(2, 2)
    return sheet


def _choose(book: Workbook, sheet: Any, lists: Sequence[tuple[int, str, Sequence[str]]]) -> None:
    """Lists to choose from for some columns, printed on the help sheet from column D on: column, head, choices."""
    help_sheet, header = book.get_worksheet_by_name(HELP_SHEET), _formats(book)["header"]
    for at, (column, head, choices) in enumerate(lists, start=3):
        letter = "ABCDEFGH"[at]
        source = f"='{HELP_SHEET}'!${letter}$2:${letter}${1 + max(1, len(choices))}"
        said = {"validate": "list", "source": source, "error_type": "warning"}
        said |= {"error_title": "下拉表 list", "error_message": "不在下拉表中。Not in the list."}
        sheet.data_validation(2, column, 1 + LIST_ROWS, column, said)
        help_sheet.write_string(0, at, head, header)
        help_sheet.write_column(1, at, choices)


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
        "input": book.add_format({"border": 1}),
        "judgement": book.add_format({"border": 1, "num_format": "# ?/?"}),
    }


def _help(book: Workbook, lines: Sequence[tuple[str, str]]) -> None:
    """Nothing; adds the second sheet, one instruction per row in Chinese and English."""
    sheet = book.add_worksheet(HELP_SHEET)
    header = book.add_format({"bold": True})
    wrap = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.write_row(0, 0, [HELP_TITLE, "How to fill in"], header)
    for row, pair in enumerate(lines, start=1):
        sheet.write_row(row, 0, pair, wrap)
    sheet.set_column(0, 1, 60)
