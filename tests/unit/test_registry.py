"""Registers of companies and holdings: recognised by their columns, shares and dates read, what is off set aside."""

import datetime
import hashlib
from typing import Any

import polars as pl
import pytest

from dei_pipeline.demo.formats import Page, xlsx
from dei_pipeline.settings import Settings
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.layouts import load_reference
from dei_pipeline.sources.registry import COMPANIES, HOLDINGS, read_registers, records
from dei_pipeline.sources.registry_heads import named_after, root_kind
from dei_pipeline.sources.workbook import Reading

REFERENCE = load_reference(Settings().reference)


def cells_of(content: bytes, name: str) -> pl.DataFrame:
    return with_address(decode(content, name).cells, hashlib.sha256(content).hexdigest())


def read(text: str | bytes, name: str = "股东.csv", **said: Any) -> tuple[Reading, pl.DataFrame, pl.DataFrame]:
    """The reading of one file, its records, and the cells that are left to others."""
    content = text.encode() if isinstance(text, str) else text
    cells = cells_of(content, name)
    manifest = {"sha256": cells["sha256"][0], "file": name, **said}
    reading, others = read_registers(cells, manifest, REFERENCE)
    assert reading.page_cells.height + others.height == cells.height
    assert reading.page_cells["source_cell"].n_unique() == reading.page_cells.height
    found = records(cells.filter(sheet=cells["sheet"][0]), manifest, REFERENCE)
    assert found.height == int(reading.pages["n_values"][0] if reading.pages.height else 0)
    return reading, found, others


def aside(reading: Reading) -> dict[str, str]:
    """Reason by address of the cells in quarantine; each has a fix."""
    bad = reading.page_cells.filter(role="quarantined")
    assert bad["fix"].null_count() == 0
    return dict(bad.select("cell", "reason").iter_rows())


# -- recognition -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("head", "row", "holder", "held"),
    [
        ("股东名称,被投资企业名称,持股比例(%)", "甲,乙,60", "甲", "乙"),
        ("企业名称,股东,出资比例", "乙,甲,60%", "甲", "乙"),
        ("COMPANY,NAME,SHARES,PERCENTAGE", '乙,甲,"1,000",60', "甲", "乙"),
        ("holder,held,share percent", "甲,乙,60", "甲", "乙"),
        ("Shareholder name,Issuer,stake (%)", "甲,乙,60", "甲", "乙"),
        ("投资方名称,子公司名称,股权比例", "甲,乙,60%", "甲", "乙"),
    ],
)
def test_lists_of_holdings_are_known_by_their_heads_in_both_languages(head, row, holder, held):
    reading, found, others = read(f"{head}\n{row}\n")
    assert reading.pages["layout"].to_list() == [HOLDINGS]
    assert found.select("holder_label", "held_label", "share").row(0) == (holder, held, pytest.approx(0.6))
    assert not others.height


@pytest.mark.parametrize(
    "text",
    [
        "统一社会信用代码,企业名称,注册城市\n91110000802100433B,百度在线有限公司,北京市\n",
        "STOCK NAME,CODE,SECTOR\nX LTD,502,Energy\n",
        "stockid,sname,name,city,industry\n000001,平安银行,平安银行股份有限公司,深圳市,银行\n",
        "公司名称,根企业\n甲有限公司,是\n",
    ],
)
def test_registers_of_companies_are_known_by_names_and_what_only_companies_have(text):
    reading, found, _ = read(text, "名录.csv")
    assert reading.pages["layout"].to_list() == [COMPANIES]
    assert found.height == 1


@pytest.mark.parametrize(
    "text",
    [
        "城市,企业,工业\n北京市,12,3\n",
        "城市,年份,GDP\n北京市,2020,1\n",
        "项目名称,总投资(亿元)\n某项目,3\n",
        "企业名称,持股数量\n甲,3\n",
        "持股比例,年份\n3,2020\n",
        "城市,持股比例(%)\n北京市,3\n",
        "x\ny\n",
    ],
)
def test_other_tables_are_left_to_others(text):
    reading, _, others = read(text + ",,\n" if text == "x\ny\n" else text, "表.csv")
    assert not reading.pages.height
    assert others.height


def test_a_sheet_is_the_holder_and_a_file_the_company_where_no_column_names_them():
    head = ["代码", "证券简称", "占总股本比例(%)"]
    book = xlsx(
        {
            "汇金": Page([head, ["000858.SZ", "五粮液", 1.04]]),
            "证金持股明细": Page([head, ["601318.SH", "中国平安", 2.99]]),
        }
    )
    reading, found, _ = read(book, "data.xlsx")
    assert reading.pages["layout"].to_list() == [HOLDINGS] * 2
    assert found.select("holder_label", "held_label", "held_code", "named_by").row(0) == (
        "汇金", "五粮液", "000858.SZ", "holder",
    )  # fmt: skip
    assert "证金" in reading.pages["note"][1]
    _, found, _ = read("NAME,SHARES,PERCENTAGE\nTEMASEK,10,21.19\n", "raw/KEPPEL CORPORATION LIMITED SHARES.csv")
    assert found.select("holder_label", "held_label", "named_by").row(0) == (
        "TEMASEK", "KEPPEL CORPORATION LIMITED", "held",
    )  # fmt: skip
    sheet = pl.DataFrame({"sheet": ["csv"]})
    assert named_after(sheet, {"file": "前十大股东.csv"}) is None
    assert named_after(sheet, {"file": "甲有限公司_2020年股东名单.csv"}) == "甲有限公司"


# -- shares ------------------------------------------------------------------------------------------------------------
def shares(text: str) -> list[float | None]:
    return [None if s is None else round(s, 6) for s in read(text)[1]["share"].to_list()]


def test_a_sign_in_the_cell_wins_over_the_head_and_the_head_over_the_numbers():
    assert shares("股东,企业名称,持股比例(%)\n甲,乙,60.00 \n丙,丁,0.6\n戊,己,60%\n") == [0.6, 0.006, 0.6]
    assert shares("股东,企业名称,持股比例\n甲,乙,0.6\n丙,乙,0.4\n丙,丁,60%\n戊,己,１\n") == [0.6, 0.4, 0.6, 1.0]
    assert shares('股东,企业名称,持股比例(0-1)\n甲,乙,0.6\n丙,丁,"0.4"\n') == [0.6, 0.4]
    assert shares("股东,企业名称,持股比例\n甲,乙,60\n丙,丁,35.5\n") == [0.6, 0.355]


def test_a_number_that_could_be_either_is_not_guessed():
    text = "股东,企业名称,持股比例\n甲,乙,99.2\n丙,乙,0.6\n甲,丁,60\n丙,丁,0.3\n"
    reading, found, _ = read(text)
    assert aside(reading) == {"C5": "«0.3» may be 0.3 % or 30.0 %"}  # of 乙 0.6 can only be per cent: 99.2 % is held
    assert found["share"].to_list() == pytest.approx([0.992, 0.006, 0.6])


HOLDERS = "股东,企业名称,持股比例\n"


@pytest.mark.parametrize(
    ("rows", "fractions"),
    [
        ("甲,乙,0.6\n丙,乙,0.4\n", True),
        ("甲,乙,0.33\n丙,乙,0.33\n丁,乙,0.33\n", True),
        ("甲,乙,0.6\n丙,乙,0.4\n甲,丁,0.55\n", True),  # of 丁 one holder is listed
        ("甲,乙,0.6\n丙,乙,0.2\n", False),
        ("甲,乙,0.6\n甲,丁,1\n", False),  # a single holder of 1 may hold 1 %
        ("甲,乙,0.6\n丙,乙,0.4\n甲,丁,0.5\n丙,丁,0.1\n甲,己,0.7\n丙,己,0.9\n", False),  # one of three by chance
    ],
)
def test_numbers_up_to_one_are_fractions_only_where_the_sums_of_complete_lists_show_it(rows, fractions):
    reading, found, _ = read(HOLDERS + rows)
    values = [float(row.rpartition(",")[2]) for row in rows.split()]
    if fractions:
        assert found["share"].to_list() == values
        assert aside(reading) == {}
    else:
        assert not found.height
        assert set(aside(reading)) == {f"C{at}" for at in range(2, len(values) + 2)}
        assert aside(reading)["C2"] == "«0.6» may be 0.6 % or 60.0 %"


def test_the_same_cells_are_never_taken_for_fractions_because_a_larger_one_is_not_there():
    few, more = "甲,乙,0.6\n丙,丁,0.3\n", "戊,己,1.04\n"
    assert aside(read(HOLDERS + few)[0]).keys() == aside(read(HOLDERS + few + more)[0]).keys() == {"C2", "C3"}


def test_shares_that_cannot_be_used_are_set_aside_with_the_reason():
    text = (
        "股东,企业名称,持股比例(%)\n甲,乙,约三成\n甲,丙,—\n甲,丁,\n甲,戊,120\n甲,己,-3\n甲,庚,0.00\n,辛,5\n甲,,5\n,壬,\n"
        "甲,癸,12 34\n"
    )
    reading, found, _ = read(text)
    assert not found.height
    assert aside(reading) == {
        "C2": "the share is no number",
        "A3": "no share is stated",
        "A4": "no share is stated",
        "C5": "a share of «120» is not from 0 to 100 %",
        "C6": "a share of «-3» is not from 0 to 100 %",
        "C7": "the share is printed as 0",
        "C8": "its row names no holder",
        "C9": "its row names no company that is held",
        "B10": "its row states neither a holder nor a share",
        "C11": "the share is no number",
    }
    roles = dict(reading.page_cells.select("cell", "role").iter_rows())
    assert roles["C3"] == "blank_mark"


def test_a_wrong_credit_code_of_a_holder_or_company_is_set_aside_and_its_name_counts():
    text = (
        "股东名称,股东统一社会信用代码,企业名称,企业代码,持股比例(%)\n"
        "甲有限公司,91110000802100433A,乙有限公司,914403001922038217,60\n"
        "甲有限公司,９１１１００００８０２１００４３３Ｂ,丙有限公司,000858.SZ,60\n"
        ",91110000802100433A,丁有限公司,,60\n"
    )
    reading, found, _ = read(text)
    assert found.select("holder_label", "holder_code", "held_label", "held_code").rows() == [
        ("甲有限公司", None, "乙有限公司", None),
        ("甲有限公司", "９１１１００００８０２１００４３３Ｂ", "丙有限公司", "000858.SZ"),
    ]
    reasons = aside(reading)
    assert set(reasons) == {"B2", "D2", "B4", "E4"}
    assert reasons["B2"].startswith("«91110000802100433A» is no unified social credit code: length or check character")
    assert reasons["D2"].startswith("«914403001922038217» is no unified social credit code")
    assert reasons["E4"] == "its row names no holder"


def test_totals_notes_and_repeated_heads_are_no_holdings():
    text = "股东,企业名称,持股比例(%)\n甲,乙,60\n股东,企业名称,持股比例(%)\n丙,乙,40\n合计,,100\n注: 直接持股。\n"
    reading, found, _ = read(text)
    assert found["holder_label"].to_list() == ["甲", "丙"]
    roles = dict(reading.page_cells.select("cell", "role").iter_rows())
    assert (roles["A3"], roles["A5"], roles["C5"], roles["A6"]) == (
        "header",
        "subtotal_label",
        "subtotal_label",
        "note",
    )
    assert aside(reading) == {}


def test_a_merged_cell_names_the_company_of_every_row_that_it_covers():
    rows = [
        ["企业名称", "股东名称", "持股比例(%)"],
        ["乙", "甲", 60],
        [None, "丙", 30],
        ["丁", "甲", 55],
        [None, "戊", 5],
    ]
    _, found, _ = read(xlsx({"股东": Page(rows, [(1, 0, 2, 0)])}), "a.xlsx")
    assert found.select("held_label", "holder_label").rows() == [("乙", "甲"), ("乙", "丙"), ("丁", "甲")]


# -- dates -------------------------------------------------------------------------------------------------------------
def test_dates_are_read_as_written_and_a_year_is_its_last_day():
    days = ["2020-12-31", "2020/6/30", "2020年3月31日", "2019", "2020-06", "20200930", "去年"]
    text = "股东,企业名称,持股比例(%),截止日期\n" + "".join(f"甲,乙{i},5,{day}\n" for i, day in enumerate(days))
    reading, found, _ = read(text)
    date = datetime.date
    assert found["as_of"].to_list() == [date(2020, 12, 31), date(2020, 6, 30), date(2020, 3, 31), date(2019, 12, 31),
                                        date(2020, 6, 30), date(2020, 9, 30)]  # fmt: skip
    assert set(found["as_of_from"]) == {"column"}
    assert aside(reading) == {"C8": "«去年» is no date"}


@pytest.mark.parametrize(
    ("name", "said", "origin"),
    [("股东_2018.csv", {}, "filename"), ("股东_2018.csv", {"year": 2019}, "sidecar"), ("股东.csv", {}, None)],
)
def test_without_a_column_the_side_of_the_file_says_the_year(name, said, origin):
    _, found, _ = read("股东,企业名称,持股比例(%)\n甲,乙,5\n", name, **said)
    year = {"filename": 2018, "sidecar": 2019, None: None}[origin]
    assert found["as_of"].to_list() == [None if year is None else datetime.date(year, 12, 31)]
    assert found["as_of_from"].to_list() == [origin]


def test_the_title_says_the_year_first():
    page = Page([["持股明细(2020年末)"], ["股东名称", "被投资企业名称", "持股比例(%)"], ["甲", "乙", 5]])
    reading, found, _ = read(xlsx({"a": page}), "x_2018.xlsx")
    assert found["as_of"].to_list() == [datetime.date(2020, 12, 31)]
    assert reading.pages.select("title", "year", "year_from", "edition").row(0) == (
        "持股明细(2020年末)",
        2020,
        "title",
        "2020",
    )


# -- companies ---------------------------------------------------------------------------------------------------------
def test_a_wrong_code_or_mark_is_set_aside_and_its_company_stays():
    text = (
        "企业名称,统一社会信用代码,注册城市,注册地址,国家,根企业\n"
        "甲有限公司,91110000802100433B,北 京,,,数字产业化\n"
        "乙有限公司,91110000802100433A,,广东省深圳市南山区1号,中国,maybe\n"
        "丙有限公司,110000001234567,,,开曼群岛,\n"
        ",914403001922038216,深圳市,,,\n"
    )
    reading, found, _ = read(text, "名录_2020.csv")
    columns = ["name", "credit_code", "own_code", "region_label", "country", "root"]
    assert found.select(columns).rows() == [
        ("甲有限公司", "91110000802100433B", None, "北京", None, "digital_industrialisation"),
        ("乙有限公司", None, None, "深圳市", "中国", None),
        ("丙有限公司", None, "110000001234567", None, "开曼群岛", None),
    ]
    found_aside = aside(reading)
    assert set(found_aside) == {"B3", "F3", "B5"}
    assert found_aside["B3"].startswith("«91110000802100433A» is no unified social credit code")
    assert found_aside["F3"] == "«maybe» is no kind of root enterprise"
    assert found_aside["B5"] == "its row names no company"


def test_marks_of_roots_are_read_in_both_languages():
    assert root_kind("产业数字化 industry_digitalisation") == "industry_digitalisation"
    assert root_kind("Digital industrialization") == "digital_industrialisation"
    assert (root_kind("√"), root_kind("是"), root_kind("否"), root_kind("可能")) == (
        "unspecified",
        "unspecified",
        "",
        None,
    )


def test_an_empty_form_is_recognised_and_holds_nothing():
    reading, found, _ = read("股东名称,被投资企业名称,持股比例(%)\n")
    assert reading.pages["n_values"].to_list() == [0]
    assert not found.height
