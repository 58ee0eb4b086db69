"""Reading pages of every kind by the shipped layouts, what no layout explains, and drafting."""
# ruff: noqa: E501 (printed rows stay on one line)

import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dei_pipeline.errors import ContractError, NothingToDo, ReferenceFileError, SourceError
from dei_pipeline.sources.decode import with_address
from dei_pipeline.sources.layouts import REFERENCE, default_layouts, load_layouts, load_units, load_variables
from dei_pipeline.sources.pages import of_layout
from dei_pipeline.sources.pages import values as page_values
from dei_pipeline.sources.sketch import describe, draft_layout
from dei_pipeline.sources.workbook import read_file
from tests.unit.pages import PERSONNEL, SHA, cell, grid_cells, only_page, personnel, read, values

ROLES = {
    "title", "header", "unit", "note", "region_label", "year_label", "item_label", "subtotal_label", "attribute",
    "advert", "blank_mark", "value", "quarantined",
}  # fmt: skip


# -- other kinds of page -----------------------------------------------------------------------------------------------
def test_wide_export_with_series_in_rows_and_in_columns():
    head = [
        "国家",
        "指标名称",
        "频率",
        "单位",
        "指标ID",
        "时间区间",
        datetime.date(2022, 12, 31),
        datetime.date(2021, 12, 31),
    ]
    rows = [head, ["中国", "北京:RPI", "年", "上年=100", "M1", "1951:2022", 101.8, 101.7],
            ["中国", "北京:粮食产量", "年", "万吨", "M2", "1951:2022", 3, 4], [], ["数据来源：Wind"]]  # fmt: skip
    reading = read(rows)
    assert values(reading) == {("北京", 2022, "retail_price_index"): 101.8, ("北京", 2021, "retail_price_index"): 101.7}
    assert cell(reading, "G3")["reason"] == "indicator «粮食产量» is not in the layout"
    assert [cell(reading, c)["role"] for c in ("B2", "D2", "E2", "A5")] == ["item_label", "unit", "attribute", "note"]
    got = values(read([["指标名称", "固定资产投资价格指数:山西"], [datetime.date(2016, 12, 31), 100.04]]))
    assert got == {("山西", 2016, "fixed_investment_price_index"): 100.04}


def test_series_export_with_the_indicator_or_the_region_above():
    top = ["数据库：分省年度数据"]
    rows = [
        top,
        ["指标：商品零售价格指数(上年=100)"],
        ["时间：1952-"],
        ["地区", "2019年", "2018年"],
        ["北京市", None, 101.1],
        ["数据来源：国家统计局"],
    ]
    assert values(read(rows)) == {("北京市", 2018, "retail_price_index"): 101.1}
    rows = [
        top,
        ["地区：西藏自治区"],
        ["时间：1952-"],
        ["指标", "2019年", "2018年"],
        ["房地产开发投资(亿元)", None, 92.6],
        ["牦牛(万头)", 1, 2],
    ]
    reading = read(rows)
    assert values(reading) == {("西藏自治区", 2018, "real_estate_investment"): 92.6}
    assert cell(reading, "C6")["role"] == "quarantined"


def test_assessment_sheet_has_an_item_per_row():
    head = ["地区代码", "地区", "指标", "考察点编号", "考察点", "满分", "得分", "评估人", "证据"]
    rows = [["城市数字经济评估打分表(2020年)"], head, ["310000", "上海市", "城市云平台", "city_cloud_platform.1", "政务云", 40, 38.5, "甲", "http://x"],
            ["310000", "上海市", "城市云平台", "city_cloud_platform.2", "统一", 60, "未评", "甲", "无"]]  # fmt: skip
    reading = read(rows)
    assert values(reading) == {("上海市", 2020, "city_cloud_platform.1"): 38.5}
    got = cell(reading, "G3")
    assert (got["item"], got["unit"], got["code_hint"], got["layout"]) == (
        "city_cloud_platform.1",
        "分",
        "310000",
        "assessment__checkpoints",
    )
    assert cell(reading, "G4")["reason"] == "not a number"
    assert [cell(reading, c)["role"] for c in ("A3", "C3", "D3", "F3", "I4")] == [
        "attribute",
        "attribute",
        "item_label",
        "attribute",
        "attribute",
    ]


def test_generic_page_takes_any_known_variable_by_name_or_id():
    rows = [
        ["2020年数据"],
        ["城市", "固定宽带用户(万户)", "livelihood_policy_documents", "Land area of the administrative region"],
        ["合肥市", 1, 2, 3],
    ]
    reading = read(rows)
    assert only_page(reading)["layout"] == "region_indicator__page"
    assert {k[2] for k in values(reading)} == {
        "fixed_broadband_subscribers",
        "livelihood_policy_documents",
        "land_area",
    }


def test_city_yearbook_pages():
    rows = [["2-1 各城市人口与户数(2020年)"], ["城市", "常住人口(万人)", "户数(万户)"], ["合肥市", 936.99, 300]]
    assert only_page(read(rows))["layout"] == "city_yearbook__population"
    rows = [["3-1 各城市电信业务(2020年)"], ["单位:万户"], ["城市", "固定宽带用户", "移动互联网用户"], ["合肥市", 5, 6]]
    assert only_page(read(rows))["layout"] == "city_yearbook__telecom"
    rows = [["4-1 各城市生产总值(2020年)"], ["单位:亿元"], ["城市", "地区生产总值", "信息产业增加值"], ["合肥市", 5, 6]]
    assert only_page(read(rows))["layout"] == "city_yearbook__industry"


# -- what is not explained ---------------------------------------------------------------------------------------------
def test_pages_of_another_table_with_the_same_columns_are_refused():
    rows = personnel()
    rows[0] = ["2-3 各地区规模以上工业企业研究与试验发展(R&D)人员全时当量(2018年)"]
    page = only_page(read(rows))
    assert page["layout"] is None
    assert page["n_quarantined"] == page["n_cells"]
    assert "sci_tech_yearbook__rd_personnel" in page["reason"]


def test_unknown_page_names_the_nearest_layout_and_what_it_lacks():
    rows = [["各地区粮食产量(2018年)"], ["地区", "税收收入", "稻谷", "小麦"], ["北京", 1, 2, 3]]
    page = only_page(read(rows))
    assert page["layout"] is None
    assert page["reason"].startswith("no layout explains this page; nearest ")
    assert "1 of 3 columns known, unknown: 稻谷, 小麦" in page["reason"]
    assert page["fix"].endswith("or extend the nearest; see the page with `dei layout FILE`")
    page = only_page(read([["甲", 1], ["乙", 2]]))
    assert "no header row was found" in page["reason"]


def test_a_layout_that_knows_nothing_of_a_page_is_not_the_nearest():
    page = only_page(read([["各地区粮食产量(2018年)"], ["地区", "稻谷", "小麦"], ["北京", 1, 2]]))
    assert page["reason"] == "no layout explains this page"
    assert "nearest" not in page["fix"]
    assert "reference/layouts" in page["fix"]


def test_a_page_of_another_title_is_no_city_yearbook():
    rows = [["城市统计数据表(2020年)"], ["单位:亿元"], ["地区", "地区生产总值"], ["上海市", 38963.3]]
    assert only_page(read(rows))["layout"] == "region_indicator__page"
    rows[0] = ["3-5 各城市地区生产总值(2020年)"]
    assert only_page(read(rows))["layout"] == "city_yearbook__industry"


def test_no_cells_give_empty_tables():
    reading = read([[]])
    assert reading.pages.is_empty()
    assert reading.page_cells.is_empty()


# -- reference files ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("level: province", "level: village", "level «village»"),
        ("region: row", "region: diagonal", "axes.region «diagonal»"),
        ("priority: 10", "priorities: 10", "unknown field(s) ['priorities']"),
        ("year: page", "year: never", "axes.year «never»"),
        ("人员(折合)?全时当量", "人员(折合", "title pattern"),
    ],
)
def test_layout_errors_name_file_and_field(tmp_path: Path, old, new, message):
    name = "sci_tech_yearbook__rd_personnel"
    folder = tmp_path / "layouts"
    folder.mkdir()
    for suffix in (".yaml", ".csv"):
        text = (REFERENCE / "layouts" / f"{name}{suffix}").read_text(encoding="utf-8")
        (folder / f"{name}{suffix}").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=name) as error:
        load_layouts(folder)
    assert message in str(error.value)


def test_layout_csv_errors_name_file_and_row(tmp_path: Path):
    name = "sci_tech_yearbook__rd_personnel"
    (tmp_path / f"{name}.yaml").write_text(
        (REFERENCE / "layouts" / f"{name}.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for row, message in (
        ("x,人年,甲", "variable «x»"),
        ("rd_personnel_fte,斤,甲", "unit «斤»"),
        ("rd_personnel_fte,亿元,甲", "100m_cny"),
    ):
        (tmp_path / f"{name}.csv").write_text(f"variable,unit,default\n{row}\n", encoding="utf-8")
        with pytest.raises(ReferenceFileError, match=rf"{name}\.csv:2") as error:
            load_layouts(tmp_path)
        assert message in str(error.value)


def test_units_and_variables_are_consistent():
    units, variables = load_units(), load_variables()
    canonical = {u.canonical for u in units.values()}
    assert {v.unit for v in variables.values()} <= canonical
    assert all(units[c].factor == 1.0 for c in canonical if c in units)
    assert units["万元"].factor == 1e-4
    assert len(default_layouts()) >= 19
    assert len({layout.table for layout in default_layouts()}) == len(default_layouts())


# -- axes that few pages use -------------------------------------------------------------------------------------------
def custom(folder: Path, axes: str) -> tuple[Any, ...]:
    (folder / "demo__crops.yaml").write_text(
        "table: demo__crops\nsource_id: demo\nproducer: {zh: 甲, en: a}\npublication: {zh: 乙, en: b}\nlevel: province\n"
        f"axes: {axes}\ncoverage_floor: {{value: 0.9, reason: r, date: 2026-01-01}}\nsubtotals: quarantine\n", encoding="utf-8",
    )  # fmt: skip
    (folder / "demo__crops.csv").write_text("variable,unit,default\nland_area,平方公里,耕地面积\n", encoding="utf-8")
    return load_layouts(folder)


def test_year_as_a_heading_row_and_subtotals_refused(tmp_path: Path):
    layouts = custom(tmp_path, "{region: row, year: row_header, variable: column}")
    rows = [["地区", "耕地面积(公顷)"], ["2019年"], ["北京", 100], ["东部地区", 900], ["2020年"], ["北京", 300]]
    reading = read_file(with_address(grid_cells(rows), SHA), {"file": "x.xls"}, layouts)
    assert values(reading) == {("北京", 2019, "land_area"): 100.0, ("北京", 2020, "land_area"): 300.0}
    assert cell(reading, "A2")["role"] == "year_label"
    assert cell(reading, "B4")["reason"] == "a subtotal, which this layout does not take"


def test_regions_across_and_indicators_down():
    rows = [
        ["2020年统计数据"],
        ["指标", "北 京", "上 海"],
        ["常住人口(万人)", 2189, 2488],
        ["户数(万户)", 1, 2],
        ["未知指标", 3, 4],
    ]
    reading = read(rows)
    assert values(reading)[("上海", 2020, "resident_households")] == 2.0
    assert len(values(reading)) == 4
    assert cell(reading, "C5")["reason"] == "indicator «未知指标» is not in the layout"


def test_heading_missing_over_a_run_of_years():
    rows = [["各地区R&D经费投入强度"], [None, "2011", "2012", "2013"], ["北京", 1, 2, 3]]
    assert values(read(rows))[("北京", 2013, "rd_intensity")] == 3.0


# -- showing and drafting ----------------------------------------------------------------------------------------------
def test_describe_says_what_each_part_is_taken_for():
    text = describe(read(personnel(rows=[["北京", "Beijing", "3", "[**]"]])))
    for part in ("sci_tech_yearbook__rd_personnel", "2018 (来自 from title)", "R&D人员全时当量 → rd_personnel_fte [人年] 2018",
                 "not a number: D6 «[**]»", "_common.yaml", "地区 region: 1 (行 row 6)"):  # fmt: skip
        assert part in text
    assert "no non-empty cell" in describe(read([[]]))
    assert "no layout explains this page" in describe(read([["甲", 1]]))


@pytest.mark.parametrize(
    "rows",
    [
        [
            ["3-2 各地区粮食产量(2018年)"],
            ["单位:万公顷"],
            ["地区", "代码", "耕地面积(公顷)", "水面"],
            ["北京", "11", 1, 2],
        ],
        [["3-2 各地区粮食产量(2011-2012年)"], ["单位:公顷"], ["地区", "2011", "2012"], ["北京", 1, 2]],
    ],
)
def test_a_draft_is_a_layout_once_its_marks_are_filled_in(tmp_path: Path, rows):
    cells = with_address(grid_cells(rows), SHA)
    name, text, table = draft_layout(cells, {"source_id": "agri_yearbook"})
    assert name == "agri_yearbook__page"
    assert "粮食产量" in text
    assert "?" in text + table
    filled = text.replace("'?'", "land_area").replace("date: land_area", "date: 2026-01-01")
    rows_csv = [
        f"{v},公顷,{label}"
        for v, label in zip(
            ("land_area", "population_density"), (x.rpartition(",")[2] for x in table.splitlines()[1:]), strict=False
        )
    ]
    fixed = "\n".join(["variable,unit,default", *(r.replace("density,公顷", "density,人/平方公里") for r in rows_csv)])
    (tmp_path / "agri_yearbook__page.yaml").write_text(filled, encoding="utf-8")
    (tmp_path / "agri_yearbook__page.csv").write_text(fixed, encoding="utf-8")
    reading = read_file(cells, {"file": "x.xls"}, load_layouts(tmp_path))
    assert reading.pages["layout"].to_list() == ["agri_yearbook__page"]
    assert reading.page_cells.filter(pl.col("role") == "value").height >= 1


def test_nothing_to_draft_without_a_table():
    with pytest.raises(
        SourceError, match=r"甲\.xls: no table to draft a layout from: no row of headings above numbers"
    ):
        draft_layout(with_address(grid_cells([["甲"]]), SHA), {"file": "甲.xls"})


def test_headings_that_no_layout_knows_are_guessed_for_a_draft(tmp_path: Path):
    rows = [["名称", "区域代码", "人口"], ["石家庄市", "130100", "11,235,086"], ["唐山市", "130200", "7,717,983"]]
    cells = with_address(grid_cells(rows, sheet="csv"), SHA)
    _, text, table = draft_layout(cells, {})
    filled = text.replace("'?'", "x").replace("date: x", "date: 2026-01-01").replace("source__page", "census__page")
    assert "名称" in text
    assert "区域代码" in text
    assert table == "variable,unit,default\n?,?,人口\n"
    (tmp_path / "census__page.yaml").write_text(filled, encoding="utf-8")
    (tmp_path / "census__page.csv").write_text(
        "variable,unit,default\nresident_population,万人,人口\n", encoding="utf-8"
    )
    reading = read_file(cells, {"file": "census2020.csv", "year": 2020}, load_layouts(tmp_path))
    found = reading.page_cells.filter(pl.col("role") == "value").select("region_label", "code_hint", "year", "number")
    assert found.rows() == [("石家庄市", "130100", 2020, 11235086.0), ("唐山市", "130200", 2020, 7717983.0)]


# -- pages without a year ----------------------------------------------------------------------------------------------
def test_a_page_without_a_year_does_not_count_against_the_coverage_floor():
    layout = next(x for x in default_layouts() if x.table == "city_yearbook__industry")
    rows = [
        ["3-5 各城市地区生产总值"],
        ["单位:亿元"],
        ["城市", "地区生产总值"],
        ["上海市", 38963.3],
        ["北京市", 35943.3],
    ]
    undated, dated = read(rows), read([["3-5 各城市地区生产总值(2020年)"], *rows[1:]], sha256="1" * 64)
    both = [pl.concat([getattr(r, part) for r in (undated, dated)]) for part in ("page_cells", "pages")]
    table = page_values(both[0].lazy(), of_layout(both[1], layout), layout)
    assert (table.frame.height, table.quarantine.height) == (2, 2)
    assert set(table.quarantine["reason"]) == {"the page does not say its year"}
    with pytest.raises(
        NothingToDo, match=r"1 page\(s\), as page\.xls, sheet Sheet1: the page does not say its year; .*meta"
    ):
        page_values(undated.page_cells.lazy(), of_layout(undated.pages, layout), layout)
    bad = [*rows[:4], ["北京市", "不详"], ["天津市", "不详"]]
    bad[0] = ["3-5 各城市地区生产总值(2020年)"]
    reading = read({"a": rows, "b": bad})
    with pytest.raises(ContractError, match=r"33.3% of 3 value cells .* sheet b, cell B5: not a number"):
        page_values(reading.page_cells.lazy(), of_layout(reading.pages, layout), layout)


# -- partition ---------------------------------------------------------------------------------------------------------
TEXTS = st.sampled_from(
    ["地区", "Region", "城市", "年份", "2019年", "2018", "单位:亿元", "单位:个,亿元", "注:甲", "续表", "北京", "东部地区", "R&D人员全时当量", "研究人员",
     "地区生产总值", "名义GDP", "常住人口(万人)", "[**]", "…", "1 234", "淘宝", "指标", "指标：RPI", "北京:RPI", PERSONNEL.format("2018年"), "(%)", "abc"]
)  # fmt: skip
CELLS = st.one_of(
    st.none(),
    TEXTS,
    st.integers(-5, 3000),
    st.floats(0, 1e6),
    st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 1, 1)),
)
GRIDS = st.lists(st.lists(CELLS, max_size=6), max_size=9)
SPANS = st.dictionaries(
    st.sampled_from(["A1", "A2", "B1", "B2", "A3", "C2"]), st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=3
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GRIDS, SPANS, st.sampled_from(["page.xls", "raw-2016.xls"]))
def test_roles_partition_the_non_empty_cells(grid, spans, file):
    reading = read(grid, spans, file)
    cells = reading.page_cells
    assert cells.height == sum(v is not None for row in grid for v in row)
    assert cells["source_cell"].n_unique() == cells.height
    assert set(cells["role"]) <= ROLES
    assert cells.filter(
        (pl.col("role") == "quarantined") & (pl.col("reason").is_null() | pl.col("fix").is_null())
    ).is_empty()
    valued = cells.filter(pl.col("role") == "value")
    assert (
        valued.select("number", "region_label", "year", "variable", "unit", "layout")
        .null_count()
        .sum_horizontal()
        .sum()
        == 0
    )
    pages = reading.pages
    assert (pages["n_cells"] == pages["n_values"] + pages["n_layout"] + pages["n_quarantined"]).all()
    assert int(pages["n_cells"].sum()) == cells.height
    assert int(pages["n_values"].sum()) == valued.height
