"""The yearbook reader on small pages of our own, one for each mess that real yearbooks print."""

# ruff: noqa: E501 (printed rows stay on one line)

import datetime
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.provenance import EDGE_SCHEMA, QUARANTINE_COLUMNS
from dei_pipeline.sources import labels
from dei_pipeline.sources.decode import with_address
from dei_pipeline.sources.layouts import default_layouts
from dei_pipeline.sources.workbook import read_file, staging_values
from tests.unit.pages import HEAD, PERSONNEL, cell, only_page, personnel, read, values


# -- a whole page ------------------------------------------------------------------------------------------------------
def test_page_with_titles_units_and_bilingual_header():
    reading = read(personnel())
    page = only_page(reading)
    assert (page["layout"], page["year"], page["year_from"]) == ("sci_tech_yearbook__rd_personnel", 2018, "title")
    assert (page["edition"], page["unit_text"], page["source_id"]) == ("2019", "人年", "sci_tech_yearbook")
    assert values(reading) == {
        ("全国", 2018, "rd_personnel_fte"): 4381444.0,
        ("全国", 2018, "rd_researchers_fte"): 1866109.0,
        ("东部地区", 2018, "rd_personnel_fte"): 2916696.0,
        ("东部地区", 2018, "rd_researchers_fte"): 5.0,
    }
    assert page["n_cells"] == page["n_values"] + page["n_layout"] + page["n_quarantined"] == 16
    roles = {a: cell(reading, a)["role"] for a in ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "B7")}
    assert roles == {"A1": "title", "A2": "title", "A3": "unit", "A4": "unit", "A5": "header", "A6": "region_label",
                     "A7": "subtotal_label", "B7": "attribute"}  # fmt: skip
    assert cell(reading, "C7")["subtotal"] is True
    assert cell(reading, "C6")["subtotal"] is False
    assert cell(reading, "D6")["text"] == "1 866 109"


def test_staging_values_carry_raw_text_edges_and_quarantine():
    rows = [["北 京", "Beijing", "267338", "[**]"], ["天 津", "Tianjin", "1", "2"]]
    reading = read(personnel(rows=rows), edition="2019")
    table = staging_values(reading.page_cells, reading.pages, "sci_tech_yearbook__rd_personnel")
    assert table.frame.select("source_cell", "region_label", "value", "raw_text", "edition", "unit").row(0) == (
        "000000000000/Sheet1!C6", "北京", 267338.0, "267338", "2019", "人年",
    )  # fmt: skip
    assert dict(table.edges.schema) == EDGE_SCHEMA
    assert (
        table.edges["child_key"].to_list()
        == table.edges["parent_key"].to_list()
        == table.frame["source_cell"].to_list()
    )
    assert set(table.edges["parent_table"]) == {"raw/cells"}
    assert set(table.edges["coefficient"]) == {1.0}
    assert tuple(table.quarantine.columns[:7]) == QUARANTINE_COLUMNS
    bad = table.quarantine.row(0, named=True)
    assert (bad["reason"], bad["cell"], bad["raw_text"], bad["file"]) == ("not a number", "D6", "[**]", "page.xls")
    assert "_common.yaml" in bad["fix"]
    assert "dei layout FILE" in bad["fix"]
    assert staging_values(reading.page_cells, reading.pages, "rd_bulletin__regional").frame.height == 0


# -- years -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("file", "manifest", "title", "expected"),
    [
        ("raw-2016.xls", {}, "", (2016, "filename")),
        ("raw-2016.xls", {"year": 2017, "year_from": "sidecar"}, "", (2017, "sidecar")),
        ("raw-2016.xls", {}, "2018年", (2018, "title")),
        ("科技年鉴2019.xls", {}, "", (2018, "filename")),
        ("page-v1.2016.xls", {}, "", (None, None)),
        ("page-20160301.xls", {}, "", (None, None)),
        ("page 2011-2018.xls", {}, "", (None, None)),
        ("page.xls", {}, "2011-2018年", (None, None)),
    ],
)
def test_year_of_a_page(file, manifest, title, expected):
    reading = read(personnel(title), file=file, **manifest)
    page = only_page(reading)
    assert (page["year"], page["year_from"]) == expected
    if expected[0] is None:
        assert page["reason"] == "the page does not say its year"
        assert "FILE.meta.yml" in page["fix"]
        assert (page["n_values"], page["n_quarantined"]) == (0, 4)
    if title == "2018年":
        assert "2016" in page["note"]


def test_year_from_the_sheet_name():
    page = only_page(read({"2017年": personnel("")}))
    assert (page["year"], page["year_from"]) == (2017, "sheet")


@pytest.mark.parametrize(
    "years",
    [
        ["2011", "2012", "2013"],
        [2013.0, 2012.0, 2011.0],
        ["2013年", "2011年", "2012年"],
        [datetime.date(2011, 12, 31), datetime.date(2013, 12, 31), datetime.date(2012, 12, 31)],
        ["２０１１年", "2012 年", "2013年度"],
    ],
)
@pytest.mark.parametrize("across", [True, False])
def test_years_as_text_floats_or_dates_in_any_order(years, across):
    title = [["1-8 各地区研究与试验发展(R&D)经费投入强度"], ["单位:%"]]
    if across:
        rows = [["地 区", *years], ["北 京", 1.1, 1.2, 1.3]]
    else:
        rows = [["年 份", "北 京"], *([y, x] for x, y in zip((1.1, 1.2, 1.3), years, strict=True))]
    got = values(read([*title, *rows]))
    plain = [labels.year_of(y.isoformat() if isinstance(y, datetime.date) else str(y)) for y in years]
    assert got == {("北京", y, "rd_intensity"): x for x, y in zip((1.1, 1.2, 1.3), plain, strict=True)}


def test_years_in_rows_and_unreadable_year():
    rows = [["年份", "省份", "城市", "城市代码", "名义GDP", "GDP指数"], [2019.0, "安徽省", "合肥市", 340100.0, 9409.4, 107.6],
            ["二〇二〇", "安徽省", "合肥市", 340100.0, 10045.7, 104.3]]  # fmt: skip
    reading = read(rows)
    assert values(reading) == {("合肥市", 2019, "gdp"): 9409.4, ("合肥市", 2019, "gdp_index"): 107.6}
    assert cell(reading, "E3")["reason"] == "year «二〇二〇» is not readable"
    assert (cell(reading, "E2")["province_hint"], cell(reading, "E2")["code_hint"]) == ("安徽省", "340100")
    assert cell(reading, "D2")["role"] == "attribute"


def test_two_columns_of_one_year_are_not_guessed():
    rows = [["各地区R&D经费投入强度"], ["地区", "2011", "2011年", "2012"], ["北京", 1, 2, 3]]
    reading = read(rows)
    assert values(reading) == {("北京", 2012, "rd_intensity"): 3.0}
    assert cell(reading, "B3")["reason"] == "2 columns say rd_intensity 2011"


# -- units -------------------------------------------------------------------------------------------------------------
def test_a_bilingual_heading_over_the_regions_marks_the_header():
    rows = [
        ["城市人口(2019年)"],
        ["单位：万人"],
        ["城市\nCity", "常住人口\nResident population"],
        ["上海市 Shanghai", 2428.1],
    ]
    assert list(values(read(rows)).values()) == [2428.1]


def test_two_units_in_one_row_and_units_in_headers():
    head = [
        "地 区",
        "Region",
        "企业数\r\n(个)\r\nNumber of\r\nEnter-prises\r\n(unit)",
        "营业\r\n收入\r\nRevenue",
        "利 润\r\n总 额",
    ]
    title = "5-2 各地区高技术产业生产经营情况(2018年)"
    for unit in ("单位:个,亿元", "单位：个.亿元", "单位:亿元"):
        reading = read([[title], [unit], ["(unit,100 million yuan)"], head, ["北 京", "Beijing", "799", "5314", "401"]])
        got = {c: cell(reading, c)["unit"] for c in ("C5", "D5", "E5")}
        assert got == {"C5": "个", "D5": "亿元", "E5": "亿元"}


def test_unknown_and_unfitting_units_are_quarantined():
    reading = read(personnel(unit="单位:人日"))
    assert cell(reading, "C6")["reason"] == "unit «人日» is not known"
    assert "units.csv" in cell(reading, "C6")["fix"]
    assert cell(read(personnel(unit="单位：见各列")), "C6")["unit"] in {"人年", "man-year"}
    assert cell(read(personnel(unit="单位:亿元")), "C6")["reason"].startswith(
        "unit «亿元» does not fit rd_personnel_fte"
    )
    rows = [["2-1 各城市人口(2020年)"], ["城市", "常住人口(万头)", "户数(户)"], ["合肥市", 936.99, 3000000]]
    reading = read(rows)
    assert cell(reading, "B3")["reason"] == "unit «万头» is not known"
    assert (cell(reading, "C3")["role"], cell(reading, "C3")["unit"]) == ("value", "户")


def test_unit_on_another_sheet():
    rows = [["指标名称", "北京:地区生产总值:固定资产折旧"], [datetime.date(1978, 12, 31), 11.5]]
    reading = read({"Sheet1": rows, "Sheet2": [[], ["单位", "万元"]]})
    assert cell(reading, "B2")["unit"] == "万元"
    assert values(reading) == {("北京", 1978, "fixed_assets_depreciation"): 11.5}
    assert reading.page_cells.filter(pl.col("sheet") == "Sheet2")["role"].to_list() == ["note", "note"]


# -- headers -----------------------------------------------------------------------------------------------------------
def test_header_wrapped_over_rows_above_and_below_the_region_heading():
    rows = [
        ["5-2  各地区高技术产业生产经营情况 (2020年)"], [], ["单位：个，亿元", None, None, None, "(unit,100 million yuan)"],
        [None, None, "企业数", "营 业", "利  润"], [None, None, "(个)", "收 入", "总  额"],
        ["地    区", "Region", "Number of", "Business", "Profits"], [None, None, "Enterprises", "Revenue"], [None, None, "(unit)"],
        [], ["陕    西", "  Shaanxi", 749, 3429.7, 334.5],
    ]  # fmt: skip
    reading = read(rows)
    assert only_page(reading)["n_quarantined"] == 0
    assert values(reading) == {
        ("陕西", 2020, "high_tech_enterprises"): 749.0,
        ("陕西", 2020, "high_tech_revenue"): 3429.7,
        ("陕西", 2020, "high_tech_profit"): 334.5,
    }


def test_merged_parents_and_unmerged_parents_with_years():
    rows = [
        ["城市", "常住人口（万人）", None, "户数（万户）", None],
        [None, "2019年", "2020年", "2019年", "2020年"],
        ["合肥市", 1, 2, 3, 4],
    ]
    want = {("合肥市", 2019, "resident_population"): 1.0, ("合肥市", 2020, "resident_population"): 2.0,
            ("合肥市", 2019, "resident_households"): 3.0, ("合肥市", 2020, "resident_households"): 4.0}  # fmt: skip
    assert values(read(rows)) == want
    assert values(read(rows, {"A1": (2, 1), "B1": (1, 2), "D1": (1, 2)})) == want


def test_of_which_marks_and_edition_labels():
    head = [
        "地区",
        "Region",
        "企业数\r\n(个)",
        "主营业\r\n务收入\r\nRevenue",
        "利润\r\nProfits",
        "利税\r\nProfits and\r\nTaxes",
        "#出口\r\n交货值\r\nExport",
    ]
    title = [["五、高技术产业"], ["5-3 各地区高技术产业生产经营情况(2013年)"], ["单位：亿元"]]
    got = values(read([*title, head, ["西藏", "Tibet", "8", "11.8", "3.3", "4.8", ""]]))
    assert got[("西藏", 2013, "high_tech_revenue")] == 11.8
    assert got[("西藏", 2013, "high_tech_profit")] == 3.3
    assert got[("西藏", 2013, "high_tech_profit_tax")] == 4.8


def test_unknown_column_is_quarantined_with_its_header():
    rows = [*personnel()[:4], [*HEAD, "折合天数"], ["北京", "Beijing", "3", "2", "9"]]
    reading = read(rows)
    assert len(values(reading)) == 2
    for address in ("E5", "E6"):
        assert cell(reading, address)["role"] == "quarantined"
        assert cell(reading, address)["reason"] == "column «折合天数» is not in the layout"
        assert "sci_tech_yearbook__rd_personnel.csv" in cell(reading, address)["fix"]


def test_ambiguous_header_prefers_the_full_path():
    title = [["7-6 分地区一般公共预算支出(2019年)"], ["单位:亿元"]]
    rows = [*title, ["地区", "一般公共预算支出", "教育支出", "教育支出", "科学技术支出"], ["北京", 1, 2, 3, 4]]
    got = values(read(rows))
    assert {k[2] for k in got} == {"budget_expenditure", "expenditure_science_technology"}


# -- names, subtotals, marks -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("printed", "label"),
    [("北 京", "北京"), ("全    国", "全国"), ("北京Beijing", "北京"), ("黑龙江 Heilongjiang", "黑龙江"), ("内蒙古①", "内蒙古"),
     (" 安\u3000徽", "安徽"), ("#深 圳", "深圳"), ("吉　林*", "吉林"), ("Beijing", "Beijing"), ("广西\r\nGuangxi", "广西")],
)  # fmt: skip
def test_padded_and_glued_names(printed, label):
    assert cell(read(personnel(rows=[[printed, None, "3", "2"]])), "C6")["region_label"] == label


@pytest.mark.parametrize(
    ("text", "number"),
    [("1 234.5", 1234.5), ("1,234", 1234.0), ("１２３．５", 123.5), ("−3", -3.0), ("- 3.5", None), ("12①", 12.0), ("12.5*", 12.5),
     ("12[1]", 12.0), ("[**]", None), ("1 23", None), ("12,34", None), ("(123)", None), ("1O5", None), ("#N/A", None), ("1.2E+05", 120000.0),
     ("'123", 123.0), ("0.00", 0.0), ("12 345 678", 12345678.0), ("..5", None)],
)  # fmt: skip
def test_numbers_as_text(text, number):
    got = pl.DataFrame({"t": [text]}).select(labels.number_expr(pl.col("t")))["t"][0]
    assert got == number


def test_blank_marks_are_no_values():
    reading = read(personnel(rows=[["北京", "Beijing", "…", "—"], ["天津", "Tianjin", "-", "3"]]))
    assert [cell(reading, c)["role"] for c in ("C6", "D6", "C7", "D7")] == [
        "blank_mark",
        "blank_mark",
        "blank_mark",
        "value",
    ]


def test_percent_sign_needs_a_percent_unit():
    got = read([["各地区R&D经费投入强度"], ["单位:%"], ["地区", "2018"], ["北京", "6.17%"]])
    assert values(got) == {("北京", 2018, "rd_intensity"): 6.17}
    reading = read(personnel(rows=[["北京", "Beijing", "12%", "3"]]))
    assert cell(reading, "C6")["reason"] == "a percentage in a column of another unit"


def test_notes_adverts_and_loose_text_below_and_beside_the_table():
    rows = [
        ["年份", "省份", "城市", "名义GDP"], [2019, "安徽省", "合肥市", 9409.4, None, "更多数据，关注淘宝店【行行文库】"],
        [2020, "安徽省", "合肥市", 10045.7], [], [None, "更多数据，关注淘宝店"], ["注：2020年为初步核算数，"], ["与年鉴不同。"], ["其他文字说明一段话"],
    ]  # fmt: skip
    reading = read(rows)
    assert [cell(reading, c)["role"] for c in ("F2", "B5", "A6", "A7", "A8")] == [
        "advert",
        "advert",
        "note",
        "note",
        "note",
    ]
    reading = read([*rows[:4], ["其他文字说明一段话 abc"]])
    assert cell(reading, "A5")["role"] == "quarantined"
    assert cell(reading, "A5")["reason"] == "text below the table that is no note"


def test_values_without_header_or_label_are_quarantined():
    reading = read(
        personnel(
            rows=[
                ["北京", "Beijing", "3", "2", None, "77"],
                [None, None, "5", "6"],
                ["天津", "Tianjin", "1", "1"],
                [None, None, "8"],
            ]
        )
    )
    assert cell(reading, "F6")["reason"] == "no header above this cell"
    assert cell(reading, "C7")["reason"] == "its row has no label"
    assert cell(reading, "C9")["reason"] == "outside the table: its row has no label"


def test_vertically_merged_region_holds_for_its_rows():
    rows = [["城市", "年份", "名义GDP"], ["合肥市", 2019, 1], [None, 2020, 2], ["芜湖市", 2019, 3], [None, 2020, 4]]
    got = values(read(rows, {"A2": (2, 1), "A4": (2, 1)}))
    assert got == {
        ("合肥市", 2019, "gdp"): 1.0,
        ("合肥市", 2020, "gdp"): 2.0,
        ("芜湖市", 2019, "gdp"): 3.0,
        ("芜湖市", 2020, "gdp"): 4.0,
    }


# -- several tables ----------------------------------------------------------------------------------------------------
BUDGET = ["7-6 分地区一般公共预算支出(2019年)"]


def test_stacked_continuation_tables_on_one_sheet_and_the_next():
    first = [
        BUDGET,
        ["单位:亿元"],
        ["地 区", "地方一般公\r\n共预算支出", "教育支出"],
        ["地方合计", 30, 9],
        ["北 京", 10, 3],
    ]
    second = [[], ["7-6 续表 1 continued"], ["单位:万元"], ["地 区", "科 学\r\n技术支出"], ["北 京", 4]]
    third = [["7-6 续表 2 continued"], ["地 区", "金融支出", "其他支出"], ["北 京", 5, 6]]
    reading = read({"1-2": [*first, *second], "3": third})
    assert reading.pages["layout"].to_list() == ["statistical_yearbook__budget_expenditure"] * 3
    assert reading.pages["year"].to_list() == [2019] * 3
    assert values(reading)[("北京", 2019, "expenditure_finance")] == 5.0
    units = {
        r["variable"]: r["unit"] for r in reading.page_cells.filter(pl.col("role") == "value").iter_rows(named=True)
    }
    assert units["expenditure_science_technology"] == "万元"
    assert units["expenditure_education"] == "亿元"
    assert cell(reading, "A4", "1-2")["role"] == "subtotal_label"


def test_two_tables_of_different_kinds_on_one_sheet():
    rows = [*personnel(), ["注:甲。"], ["乙。"], [], ["1-7 各地区研究与试验发展(R&D)经费内部支出(2018年)"], ["单位:万元"],
            ["地 区", "R&D经费内部支出", "基础研究"], ["北 京", 18707701, 2777757]]  # fmt: skip
    reading = read(rows)
    assert reading.pages["layout"].to_list() == [
        "sci_tech_yearbook__rd_personnel",
        "sci_tech_yearbook__rd_expenditure_by_activity",
    ]
    assert cell(reading, "A9")["block"] == 1
    assert values(reading)[("北京", 2018, "rd_expenditure_basic")] == 2777757.0


def test_two_tables_side_by_side():
    rows = [[PERSONNEL.format("2018年")], ["地区", "R&D人员全时当量", "研究人员", "地区", "R&D人员全时当量", "研究人员"],
            ["北京", 1, 2, "河南", 3, 4], ["天津", 5, 6, "湖北", 7, 8]]  # fmt: skip
    reading = read(rows)
    assert reading.pages.height == 2
    assert values(reading)[("湖北", 2018, "rd_researchers_fte")] == 8.0
    assert len(values(reading)) == 8


def test_html_page_named_xls(tmp_path: Path):
    import hashlib

    from dei_pipeline.sources.decode import decode
    from tests.fixtures.build import yearbook_page

    path = yearbook_page(tmp_path / "raw-2018.xls", personnel(), ["A1:D1"], kind="html")
    content = path.read_bytes()
    cells = with_address(decode(content, path.name).cells, hashlib.sha256(content).hexdigest())
    reading = read_file(cells, {"file": path.name}, default_layouts())
    assert values(reading)[("全国", 2018, "rd_researchers_fte")] == 1866109.0
