"""Lists of key projects: recognised by their columns, every cell with a role or in quarantine with reason and fix."""

import hashlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.demo import formats
from dei_pipeline.demo.formats import Page
from dei_pipeline.errors import LakeError
from dei_pipeline.settings import Settings
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.layouts import load_reference
from dei_pipeline.sources.pages import one_reading
from dei_pipeline.sources.project_heads import find_header, head_role, head_unit, heading_region, title_region
from dei_pipeline.sources.project_lists import PROJECTS, read_project_lists, records
from dei_pipeline.sources.project_tables import project_records
from dei_pipeline.sources.templates import write_template
from tests.forms import filled, workbook

REFERENCE = load_reference(Settings.reference)
TITLE = "深圳市2020年重大项目计划清单"
HEAD = ["序号", "项目名称", "项目类别", "总投资(亿元)"]


class Read:
    """A file as read: its roles by cell, what is in quarantine and why, and its records."""

    def __init__(self, content: bytes, file: str = "list.xlsx", **said: object) -> None:
        digest = hashlib.sha256(content).hexdigest()
        self.cells = with_address(decode(content, file).cells, digest)
        self.manifest = {"sha256": digest, "file": file, **said}
        self.reading, self.others = read_project_lists(self.cells, self.manifest, REFERENCE)
        self.records = records(self.cells, self.manifest, REFERENCE)
        bad = self.reading.page_cells.filter(pl.col("role") == "quarantined")
        self.why = dict(bad.select("cell", "reason").iter_rows())
        self.fixes = bad["fix"].to_list()

    @property
    def page(self) -> dict[str, object]:
        return self.reading.pages.row(0, named=True)

    def roles(self, *cells: str) -> list[str]:
        known = dict(self.reading.page_cells.select("cell", "role").iter_rows())
        return [known[cell] for cell in cells]

    def column(self, name: str) -> list[object]:
        return self.records[name].to_list()


def read(rows, file: str = "list.xlsx", **said) -> Read:
    return Read(workbook({"清单": rows}), file, **said)


def one(printed: object, head: str = "总投资(亿元)", unit: str | None = None) -> Read:
    """A list with one project and that investment."""
    return read([[TITLE], *([[unit]] if unit else []), ["项目名称", head], ["某项目", printed], ["另一项目", 1]])


# -- recognition -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "head",
    [
        ["项目名称", "总投资(亿元)"],
        ["序号", "重点项目名称", "建设地点", "计划总投资（万元）", "2020年计划投资（万元）"],
        ["工程名称", "投资额"],
        ["序号", "项目", "总投资", "建设性质"],
        ["Project name", "Total investment", "Kind"],
        ["项目\n名称", "建设内容及规模", "估算总投资\n(亿元)", "责任单位"],
    ],
)
def test_a_list_is_recognised_by_its_columns_whatever_its_file_is_called(head):
    found = read([[TITLE], head, *[[f"某{i}"] * (len(head) - 1) + [i] for i in range(1, 3)]], file="x1.xlsx")
    assert found.page["layout"] == PROJECTS
    assert found.others.height == 0


@pytest.mark.parametrize(
    "head",
    [
        ["城市", "固定资产投资(万元)"],
        ["项目", "2019年", "2020年"],
        ["项目", "总投资"],  # a column «项目» alone is an item of a statistical table
        ["项目名称", "责任单位", "完成时限"],
        ["指标", "项目数量", "投资额"],
    ],
)
def test_other_tables_are_left_to_the_layouts(head):
    rows = [["各市统计表(2020年)"], head, ["深圳市", *range(1, len(head))]]
    found = read(rows)
    assert found.reading.pages.height == 0
    assert found.others.height == found.cells.height


def test_a_list_beside_a_page_of_another_kind_leaves_that_page_to_the_layouts():
    page = [["城市统计数据表(2020年)"], ["地区", "地区生产总值(亿元)"], ["北京市", 1]]
    found = Read(workbook({"清单": [[TITLE], HEAD, [1, "甲", "5G", 2]], "页": page}))
    assert found.reading.pages["layout"].to_list() == [PROJECTS]
    assert found.others["sheet"].unique().to_list() == ["页"]
    _, _, whole = one_reading(
        workbook({"清单": [[TITLE], HEAD, [1, "甲", "5G", 2]], "页": page}), "a.xlsx", {}, Settings.reference
    )
    assert whole.pages["layout"].to_list() == [PROJECTS, "region_indicator__page"]


@pytest.mark.parametrize(
    ("head", "role", "unit"),
    [
        ("总投资\n(亿元)", "investment", "亿元"),
        ("总投资（单位：万元）", "investment", "万元"),
        ("总投资亿元", "investment", "亿元"),
        ("2020年计划投资(亿元)", "part_investment", "亿元"),
        ("截至2019年底累计完成投资", "part_investment", None),
        ("年度投资计划", "part_investment", None),
        ("中央预算内投资", "part_investment", None),
        ("是否新基建", "is_new", None),
        ("建设性质", "stage", None),
        ("所属行业", "kind", None),
        ("建设地点", "place", None),
        ("城市\ncity", "region", None),
        ("备注", "attribute", None),
    ],
)
def test_a_head_says_what_its_column_holds(head, role, unit):
    assert head_role(head, REFERENCE) == role
    assert head_unit(head, REFERENCE) == unit


# -- mess --------------------------------------------------------------------------------------------------------------
def test_headings_totals_merged_rows_notes_and_adverts_are_no_projects():
    rows = [
        [TITLE],
        ["单位：亿元"],
        ["序号", "项目名称", "类别", "总投资", "2020年计划投资", "建设性质"],
        ["一", "新型基础设施(2项)", None, 22],
        [1, "某区5G基站", "5G", 10, 3, "续建"],
        [2, "某区智算中心", None, "约12亿元"],
        ["二", "交通(1项)", None, 100],
        [1, "深惠城际铁路", None, "1,000,000万元"],
        ["合计", "3项", None, 122],
        ["注：仅包括产业类型项目"],
        ["更多数据, 请关注微信公众号"],
    ]
    found = read(rows)
    assert found.why == {}
    assert found.records.select("name", "value", "unit", "approximate", "kind_label", "heading", "stage").rows() == [
        ("某区5G基站", 10.0, "亿元", False, "5G", "新型基础设施", "续建"),
        ("某区智算中心", 12.0, "亿元", True, None, "新型基础设施", None),
        ("深惠城际铁路", 1_000_000.0, "万元", False, None, "交通", None),
    ]
    assert set(found.column("list_region_label")) == {"深圳市"}
    assert set(found.column("scope_note")) == {"注:仅包括产业类型项目"}
    assert found.page["note"] == "注:仅包括产业类型项目"
    assert found.roles("A4", "D4", "D5", "E5", "A9", "D9", "A10", "A11") == [
        "heading", "subtotal", "value", "attribute", "subtotal_label", "subtotal", "note", "advert",
    ]  # fmt: skip
    place = [f"{found.manifest['sha256'][:12]}/清单!{cell}" for cell in ("D5", "B5", "C5", "B4")]
    cells = found.records.select("source_cell", "name_cell", "kind_cell", "heading_cell").row(0)
    assert list(cells) == place


def test_merged_provinces_and_cities_above_their_rows_say_where_a_project_lies():
    sheet = Page(
        [
            ["2020年重点项目", None, None, None],
            HEAD,
            ["广东省(3项)", None, None, None],
            ["一、深圳市(2项)", None, None, None],
            [1, "甲", "5G", 1],
            [2, "乙", "5G", 2],
            ["二、广州市(1项)", None, None, None],
            [1, "丙", "5G", 3],
        ],
        [(2, 0, 2, 3), (3, 0, 3, 3), (6, 0, 6, 3)],
    )
    found = Read(formats.xlsx({"清单": sheet}))
    assert found.column("region_label") == ["深圳市", "深圳市", "广州市"]
    assert found.column("heading")[2] == "广东省 › 广州市"
    assert found.column("list_region_label") == [None] * 3


def test_a_city_stands_once_for_the_rows_below_it_merged_or_not():
    rows = [["2020年重点项目"], ["城市", "项目名称", "总投资(亿元)"], ["深圳 市①", "甲", 1], [None, "乙", 2],
            ["小计", "2项", 3], ["广州市", "丙", 4], [None, "丁", 5]]  # fmt: skip
    found = read(rows)
    assert found.column("region_label") == ["深圳市", "深圳市", "广州市", "广州市"]
    assert found.records["region_cell"].str.split("!").list.last().to_list() == ["A3", "A3", "A6", "A6"]


def test_a_kind_merged_over_rows_counts_for_them_and_for_no_others():
    sheet = Page(
        [[TITLE], ["项目类别", "项目名称", "总投资(亿元)"], ["5G", "甲", 1], [None, "乙", 2], [None, "丙", 3]],
        [(2, 0, 3, 0)],
    )
    assert Read(formats.xlsx({"清单": sheet})).column("kind_label") == ["5G", "5G", None]


def test_a_header_of_two_rows_is_read_as_one():
    rows = [
        [TITLE, *[None] * 4],
        ["序号", "项目名称", "投资情况(万元)", None, "备注"],
        [None, None, "总投资", "2020年计划"],
        [1, "甲", 100, 50, "无"],
    ]
    sheet = Page(rows, [(1, 0, 2, 0), (1, 1, 2, 1), (1, 2, 1, 3), (1, 4, 2, 4)])
    found = Read(formats.xlsx({"清单": sheet}))
    assert found.records.select("name", "value", "unit").rows() == [("甲", 100.0, "万元")]
    assert (found.page["header_first_row"], found.page["header_last_row"]) == (2, 3)


def test_a_header_printed_again_and_a_continuation_are_no_projects():
    rows = [[TITLE], HEAD, [1, "甲", "5G", 1], ["续表"], HEAD, [2, "乙", "5G", 2]]
    found = read(rows)
    assert found.column("name") == ["甲", "乙"]
    assert found.roles("A4", "A5", "D5") == ["header"] * 3


def test_chinese_numbers_are_headings_only_where_projects_have_digits():
    rows = [[TITLE], HEAD, ["一", "甲", "5G", 1], ["二", "乙", "5G", 2]]
    assert read(rows).column("name") == ["甲", "乙"]


def test_texts_beside_a_web_table_belong_to_its_list():
    page = Page([["项目名称", "总投资(亿元)"], ["甲", "1"], ["乙", "2"]])
    found = Read(formats.html_page(page, TITLE, ["注: 仅包括产业类型项目"]), "list.xls")
    assert found.others.height == 0
    assert found.column("list_region_label") == ["深圳市"] * 2
    assert found.column("year") == [2020, 2020]
    assert set(found.column("scope_note")) == {"注: 仅包括产业类型项目"}


# -- investments -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("printed", "value", "unit", "approximate"),
    [
        (12.5, 12.5, "亿元", False),
        ("12.5", 12.5, "亿元", False),
        ("1,234.5", 1234.5, "亿元", False),
        ("１２．５", 12.5, "亿元", False),
        ("约12.5亿元", 12.5, "亿元", True),
        ("12亿元左右", 12.0, "亿元", True),
        ("超过 100 亿元", 100.0, "亿元", True),
        ("10余亿元", 10.0, "亿元", True),
        ("5亿元(估算)", 5.0, "亿元", True),
        ("35000万元", 35000.0, "万元", False),
        ("3.5亿", 3.5, "亿元", False),
        ("总投资8亿元", 8.0, "亿元", False),
    ],
)
def test_an_investment_is_one_number_with_the_unit_nearest_to_it(printed, value, unit, approximate):
    found = one(printed)
    assert found.records.select("value", "unit", "approximate").row(0) == (value, unit, approximate)
    assert found.column("raw_text")[0] == str(printed)


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("10-15", "a range, not one number"),
        ("10～15亿元", "a range, not one number"),
        ("8至10", "a range, not one number"),
        ("待定", "not a number"),
        ("1,23,4", "not a number"),
        ("另行安排", "not a number"),
        ("1.5亿美元", "unit «亿美元» is no unit of yuan"),
        ("12公里", "unit «公里» is no unit of yuan"),
        (0, "an investment is above 0"),
        (-3, "an investment is above 0"),
        (352_000, "352000 亿元 is more than 10000.0 亿元"),
        (True, "not a number"),
    ],
)
def test_an_investment_that_is_none_is_quarantined_with_reason_and_fix(printed, words):
    found = one(printed)
    assert found.why == {"B3": words}
    assert all(found.fixes)
    assert found.column("name") == ["另一项目"]


@pytest.mark.parametrize("blank", [None, "-", "—", "…", " "])
def test_a_project_without_investment_is_quarantined_at_its_blank_mark_or_its_name(blank):
    found = one(blank)
    assert list(found.why.values()) == ["no investment is stated"]
    assert set(found.why) <= {"A3", "B3"}
    assert found.column("name") == ["另一项目"]


def test_without_any_unit_no_investment_is_read():
    assert one(5, head="总投资").why == dict.fromkeys(("B3", "B4"), "no unit of money is printed")
    assert one(5, head="总投资", unit="单位：万元").column("unit") == ["万元", "万元"]


def test_a_row_without_name_and_a_number_without_head_are_quarantined():
    found = read([[TITLE], ["项目名称", "总投资(亿元)"], [None, 5], ["甲", 1, None, 77]])
    assert found.why == {"B3": "its row names no project", "D4": "no header above this cell"}


# -- the whole list ----------------------------------------------------------------------------------------------------
def test_a_list_without_total_year_or_region_is_quarantined_row_by_row():
    no_total = read([[TITLE], ["项目名称", "2020年计划投资(亿元)"], ["甲", 1]])
    assert no_total.page["reason"].startswith("no column states the projects' total investment")
    assert no_total.why == {"A3": no_total.page["reason"]}
    no_year = read([["深圳市重点项目"], ["项目名称", "总投资(亿元)"], ["甲", 1]])
    assert no_year.why == {"B3": "the list does not say its year"}
    nowhere = read([["2020年重点项目"], ["项目名称", "总投资(亿元)"], ["甲", 1]])
    assert nowhere.why == {"B3": "neither the row nor the title names a region"}
    assert nowhere.records.height == 0


@pytest.mark.parametrize(
    ("file", "said", "origin"),
    [("深圳市2020年.xlsx", {}, "filename"), ("a.xlsx", {"year": 2020}, "sidecar")],
)
def test_year_and_region_may_stand_in_the_name_of_the_file_or_a_sidecar(file, said, origin):
    found = read([["深圳市重点项目"], ["项目名称", "总投资(亿元)"], ["甲", 1]], file, **said)
    assert (found.page["year"], found.page["year_from"], found.page["edition"]) == (2020, origin, "2020")


def test_each_row_may_state_its_own_year():
    found = read(
        [["深圳市重点项目"], ["年份", "项目名称", "总投资(亿元)"], [2019, "甲", 1], ["2020年", "乙", 2], ["?", "丙", 3]]
    )
    assert found.column("year") == [2019, 2020]
    assert found.why == {"C5": "its row does not say its year"}


@pytest.mark.parametrize(
    ("title", "region"),
    [
        ("2020年北京市重点工程", "北京市"),
        ("附件1：杭州市2020年重点建设项目计划", "杭州市"),
        ("上海市市级2020年重大建设项目", "上海市"),
        ("关于下达2020年合肥市重点项目投资计划的通知", "合肥市"),
        ("成都2020年项目清单", "成都"),
        ("全市2020年重点项目", None),
        ("Sheet1", None),
    ],
)
def test_a_title_names_its_region(title, region):
    assert title_region(title) == region


def test_a_heading_names_a_region_or_a_kind():
    assert heading_region("一、深圳市(563项)") == "深圳市"
    assert heading_region("(一)新型基础设施(83个)") is None


# -- template and table ------------------------------------------------------------------------------------------------
def test_a_filled_in_template_is_read_whole(tmp_path):
    regions = pl.DataFrame({"name_zh": ["北京市", "深圳市"]})
    path = write_template("projects", tmp_path / "p.xlsx", year=2020, kinds=["5G网络", "产业"], regions=regions)
    assert Read(path.read_bytes(), path.name).records.height == 0
    said = {"A3": 1, "C3": "深圳市", "D3": "某区5G基站", "E3": "5G网络", "F3": 3.5, "G3": "续建",
            "A4": 2, "B4": "110000", "C4": "北京市", "D4": "某厂", "F4": "约12"}  # fmt: skip
    found = Read(filled(path, {(0, cell): value for cell, value in said.items()}), path.name)
    assert found.why == {}
    assert found.others.height == 0
    assert found.records.select("name", "value", "region_label", "code_hint", "kind_label", "stage", "year").rows() == [
        ("某区5G基站", 3.5, "深圳市", None, "5G网络", "续建", 2020),
        ("某厂", 12.0, "北京市", "110000", None, None, 2020),
    ]


def test_the_staged_table_leads_from_each_project_to_its_cells():
    found = read([[TITLE], HEAD, ["一、新基建(1项)"], [1, "甲", "5G", 2]])
    manifests = pl.DataFrame({"sha256": [found.manifest["sha256"]], "file": ["list.xlsx"], "year": [None]})
    pages = found.reading.pages.filter(layout=PROJECTS)
    table = project_records(found.cells.lazy(), pages, manifests, REFERENCE)
    assert table.frame.select("name", "edition", "source_id", "file").row(0) == ("甲", "2020", "projects", "list.xlsx")
    edges = dict(table.edges.select("role", pl.col("parent_key").str.split("!").list.last()).iter_rows())
    assert edges == {"value": "D4", "name": "B4", "kind": "C4", "heading": "A3", "list_region": "A1"}
    assert table.edges.filter(role="value")["coefficient"].to_list() == [1.0]
    with pytest.raises(LakeError, match="1 projects, staging/pages says 7"):
        project_records(found.cells.lazy(), pages.with_columns(n_values=pl.lit(7, pl.Int32)), manifests, REFERENCE)


# -- whatever is filled in ---------------------------------------------------------------------------------------------
ENTRIES = st.none() | st.integers(-2, 30_000) | st.sampled_from(
    ["约3", "4-5", "—", "合计", "一", "一、甲(2项)", "(一)乙", "深圳市", "2020年", "注：某", "续表", "12万元", " "]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ENTRIES, min_size=5, max_size=5), min_size=1, max_size=6))
def test_roles_partition_the_cells_and_every_project_is_read_or_set_aside(body):
    found = read([[TITLE], [*HEAD, "城市"], *body])
    given_in = [v for row in [[TITLE], [*HEAD, "城市"], *body] for v in row if v is not None]
    assert found.reading.page_cells.height + found.others.height == len(given_in)
    assert found.reading.page_cells["source_cell"].is_unique().all()
    bad = found.reading.page_cells.filter(pl.col("role") == "quarantined")
    assert bad.select(pl.any_horizontal(pl.col("reason", "fix").fill_null("") == "")).to_series().any() is False
    assert found.records.height == found.reading.pages["n_values"].sum()
    assert (found.records["value"] > 0).all()
    assert find_header(found.cells, REFERENCE) is not None
