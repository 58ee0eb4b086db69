"""Sheets that experts fill in: recognised by their title, every cell with a role or in quarantine with a reason."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.errors import NothingToDo
from dei_pipeline.sources.expert_sheets import AHP, DELPHI, kind_of
from dei_pipeline.sources.expert_tables import pages_of
from dei_pipeline.sources.templates import HELP_SHEET, write_template
from tests.forms import CITIES, DIMENSIONS, ITEMS, ahp, delphi, filled, read, role_of, staged, why, workbook

SCORES = [[80, 70], [90, 65], [75, None]]
MATRIX = [[1, 3, 5], [None, 1, "1/3"], [None, None, 1]]
REGIONS = pl.DataFrame({"region_code": [c for c, _ in CITIES], "name_zh": [n for _, n in CITIES]})
PANEL = pl.DataFrame(
    {"item": [i.split("\n")[1] for i in ITEMS], "name_zh": [i.split("\n")[0] for i in ITEMS]}
)  # fmt: skip


def sheet(rows):
    return read(workbook({"甲": rows}))[0]


# -- recognition -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("城市数字政策环境德尔菲评分表(2020年) 第2轮", DELPHI),
        ("Delphi score sheet (2020), round 1", DELPHI),
        ("德尔菲法专家咨询表", DELPHI),
        ("AHP 判断矩阵: 指数 › 维度", AHP),
        ("层次分析法比较矩阵", AHP),
        ("pairwise comparison", AHP),
        ("城市数字经济评估打分表(2020年)", None),
        ("德尔菲", None),
        ("各地区生产总值", None),
        ("本指数通过德尔菲法评分，" + "将提出的问题和必要的背景材料，用通信的方式向有经验的专家提出，" * 8, None),
    ],
)
def test_a_sheet_is_recognised_by_its_title(text, kind):
    _, others = read(workbook({"甲": [[text], ["地区", "甲"], ["北京", 1]]}))
    assert others.height == (0 if kind else 5)
    cells = pl.DataFrame({"row": [1], "col": [1], "kind": ["text"], "cell": ["A1"], "text": [text]})
    assert kind_of(cells) == kind


def test_other_sheets_of_the_file_are_left_to_the_layouts():
    page = [["城市统计数据表(2020年)"], ["地区", "地区生产总值(亿元)"], ["北京市", 1]]
    reading, others = read(workbook({"页": page, "甲": delphi(SCORES), "乙": ahp(MATRIX)}))
    assert reading.pages["layout"].to_list() == [DELPHI, AHP]
    assert others["sheet"].unique().to_list() == ["页"]


def test_a_help_sheet_alone_is_no_form():
    reading, others = read(workbook({"说明": [["填写说明", "How"], ["德尔菲评分 第1轮"]]}))
    assert reading.pages.height == 0
    assert others.height == 3


# -- templates there and back ------------------------------------------------------------------------------------------
def test_a_filled_in_delphi_template_is_read_whole(tmp_path: Path):
    feedback = pl.DataFrame({"region_code": ["110000"], "item": [PANEL["item"][0]], "median": [80.0], "iqr": [5.5]})
    path = write_template(
        "delphi", tmp_path / "d.xlsx", year=2020, items=PANEL, regions=REGIONS, round=2, expert="E07",
        feedback=feedback, title="城市数字经济竞争力指数德尔菲评分表",
    )  # fmt: skip
    said = {"C4": 0.8, "D4": 0.6, "C5": 0.6, "D5": 1, "C6": 81.5, "D6": 70, "C7": 90, "C8": 0}
    content = filled(path, {(0, cell): value for cell, value in said.items()})
    reading, others = read(content)
    assert others.height == 0
    assert reading.pages["layout"].to_list() == [DELPHI, None]
    assert reading.pages["sheet"][1] == HELP_SHEET
    assert reading.pages["n_quarantined"].sum() == 0
    page = reading.pages.row(0, named=True)
    assert (page["year"], page["year_from"], page["edition"], page["source_id"]) == (2020, "title", "2021", "delphi")
    assert role_of(
        reading.__class__(reading.pages, reading.page_cells.filter(pl.col("sheet") != HELP_SHEET)), "E6"
    ) == ("feedback")
    rows = staged(content).frame.sort("source_cell").to_dicts()
    found = [
        (
            r["code_hint"],
            r["region_label"],
            r["item"].split("\n")[1],
            r["score"],
            r["familiarity"],
            r["judgement_basis"],
        )
        for r in rows
    ]
    assert found == [
        ("110000", "北京市", "policy_system_completeness", 81.5, 0.8, 0.6),
        ("310000", "上海市", "policy_system_completeness", 90, 0.8, 0.6),
        ("440300", "深圳市", "policy_system_completeness", 0, 0.8, 0.6),
        ("110000", "北京市", "supporting_measures", 70, 0.6, 1),
    ]  # fmt: skip
    assert {(r["expert_id"], r["round"], r["year"], r["raw_text"] != "") for r in rows} == {("E07", 2, 2020, True)}


def test_a_filled_in_ahp_template_is_read_whole(tmp_path: Path):
    children = pl.DataFrame(
        {
            "parent_id": ["tiny"] * 3 + ["factors"] * 2,
            "parent_name_zh": ["小指数"] * 3 + ["数字创新要素"] * 2,
            "node_id": ["factors", "basis_of_all", "core_industry", "rd", "staff"],
            "name_zh": ["数字创新要素", "数字基础设施", "核心数字产业", "研发", "人员"],
        }
    )
    path = write_template(
        "ahp", tmp_path / "a.xlsx", index="tiny", index_name="小指数", edition="2021", children=children, expert="E01"
    )
    content = filled(path, {(0, "C6"): 3, (0, "D6"): "1/5", (0, "D7"): "1/3", (1, "C6"): 1 / 7})
    reading, _ = read(content)
    assert reading.pages["layout"].to_list() == [AHP, AHP, None]
    assert reading.pages["n_quarantined"].sum() == 0
    rows = staged(content).frame.filter(pl.col("row_label") != pl.col("column_label")).sort("source_cell").to_dicts()
    assert [(r["parent_label"], r["row_label"].split("\n")[1], r["value"]) for r in rows] == [
        ("tiny", "factors", 3),
        ("tiny", "factors", 1 / 5),
        ("tiny", "basis_of_all", 1 / 3),
        ("factors", "rd", pytest.approx(1 / 7)),  # a file holds 16 digits
    ]
    assert {(r["index_label"], r["edition_label"], r["expert_id"]) for r in rows} == {("tiny", "2021", "E01")}


def test_several_experts_may_share_a_file():
    content = workbook({"甲": delphi(SCORES), "乙": delphi(SCORES, expert="E02")})
    table = staged(content)
    assert table.frame["expert_id"].value_counts().sort("expert_id").rows() == [("E01", 5), ("E02", 5)]
    assert table.notes == {"sheets": 2, "scores": 10}


# -- real mess ---------------------------------------------------------------------------------------------------------
def test_full_width_digits_dashes_and_labels_in_one_cell_are_read():
    rows = delphi([["８５．５", "—"], ["70 ", "…"], [None, 60]], title="德尔菲评分表（２０２０年） 第二轮")
    rows[1] = ["专家：张三", None]
    rows += [["注：未评分的城市留空"]]
    reading = sheet(rows)
    assert reading.pages["n_quarantined"].sum() == 0
    assert [role_of(reading, cell) for cell in ("A2", "D6", "D7", "A9")] == [
        "expert",
        "blank_mark",
        "blank_mark",
        "note",
    ]
    table = staged(workbook({"甲": rows}))
    assert table.frame.select("score", "expert_id", "round", "year").rows() == [
        (85.5, "张三", 2, 2020),
        (70.0, "张三", 2, 2020),
        (60.0, "张三", 2, 2020),
    ]


def test_round_and_year_may_stand_on_the_tab_and_the_year_beside_the_file():
    rows = delphi(SCORES, title="德尔菲评分表")
    reading, _ = read(workbook({"2019 第3轮": rows}))
    assert (reading.pages["year"][0], reading.pages["year_from"][0]) == (2019, "sheet")
    reading, _ = read(workbook({"第3轮": rows}), year=2018, edition="2030", source_id="mine")
    page = reading.pages.row(0, named=True)
    assert (page["year"], page["year_from"], page["edition"], page["source_id"]) == (2018, "sidecar", "2030", "mine")
    assert page["reason"] is None


def test_a_remark_column_and_merged_labels_are_no_scores():
    rows = delphi([[*row, "说明文字"] for row in SCORES], items=(*ITEMS, "备注"), familiarity=(0.5, 0.5, None))
    reading = sheet(rows)
    assert reading.pages["n_quarantined"].sum() == 0
    assert role_of(reading, "E6") == "attribute"


# -- what is wrong -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([[130, 70], [90, 65], [75, 1]], "score 130 is not from 0 to 100"),
        ([[-1, 70], [90, 65], [75, 1]], "score -1 is not from 0 to 100"),
        ([["好", 70], [90, 65], [75, 1]], "not a number"),
        ([["85%", 70], [90, 65], [75, 1]], "not a number"),
    ],
)
def test_a_score_that_is_none_is_quarantined_and_the_rest_is_read(scores, words):
    reading = sheet(delphi(scores))
    assert why(reading, "C6") == words
    assert reading.pages["n_values"].to_list() == [5]
    assert reading.pages["n_quarantined"].to_list() == [1]


def test_scores_of_an_item_without_familiarity_or_basis_are_quarantined():
    reading = sheet(delphi(SCORES, familiarity=(None, 1.5), basis=(0.5, 0.5)))
    assert why(reading, "C6") == "no familiarity Cs is stated for this item"
    assert why(reading, "D4") == "familiarity 1.5 is not from 0 to 1"
    assert why(reading, "D6") == "no familiarity Cs is stated for this item"
    assert why(sheet(delphi(SCORES, basis=("—", 0.5))), "C6") == "no basis Ca is stated for this item"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expert": None}, "no expert is named"),
        ({"expert": "—"}, "no expert is named"),
        ({"title": "德尔菲评分表 第1轮"}, "the title does not say its year"),
        ({"title": "德尔菲评分表(2020年)"}, "the title does not say its round"),
    ],
)
def test_a_sheet_that_does_not_say_whose_or_when_is_quarantined(change, words):
    reading = sheet(delphi(SCORES, **change))
    page = reading.pages.row(0, named=True)
    assert (page["reason"], page["n_values"], page["n_quarantined"]) == (words, 0, 5)
    assert page["fix"]
    assert why(reading, "C6") == words
    with pytest.raises(NothingToDo, match=words):
        pages_of(reading.pages, DELPHI)


def test_a_form_without_its_table_is_quarantined_cell_by_cell():
    reading = sheet([["德尔菲评分表(2020年) 第1轮"], ["专家", "E01"], ["北京市", 80]])
    assert reading.pages["reason"].to_list() == ["no header row with a region column"]
    assert why(reading, "B3") == "no header row with a region column"
    assert role_of(reading, "B2") == "expert"
    reading = sheet([["AHP 判断矩阵: a › b"], ["专家", "E01"], ["甲", 1]])
    assert why(reading, "B3").startswith("no matrix")


def test_a_row_without_region_and_a_column_without_head_are_quarantined():
    rows = delphi(SCORES, cities=((None, None), *CITIES[1:]))
    rows[6] = [*rows[6], 77]
    reading = sheet(rows)
    assert why(reading, "C6") == "its row has no region"
    assert why(reading, "E7") == "no header above this cell"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (12, "judgement 12 is not on Saaty's scale"),
        (0, "judgement 0 is not on Saaty's scale"),
        ("1/0", "not a number"),
        ("重要", "not a number"),
        (True, "not a number"),
    ],
)
def test_a_judgement_that_is_none_is_quarantined(value, words):
    matrix = [[1, value, 5], [None, 1, "1/3"], [None, None, 1]]
    assert why(sheet(ahp(matrix)), "C6") == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expert": None}, "no expert is named"),
        ({"title": "AHP 判断矩阵"}, "the title does not name index and node"),
    ],
)
def test_a_matrix_that_does_not_say_whose_or_of_what_is_quarantined(change, words):
    reading = sheet(ahp(MATRIX, **change))
    assert reading.pages["reason"].to_list() == [words]
    assert why(reading, "C6") == words


def test_a_matrix_of_the_wrong_size_is_quarantined():
    rows = ahp(MATRIX)
    assert why(sheet(rows[:-1]), "C6").startswith("the matrix is not square: «核心数字产业 core_industry» heads 0 rows")
    rows[-1][0] = "别的指标"
    assert "heads" in why(sheet(rows), "C6")


def test_numbers_outside_the_matrix_are_quarantined_and_notes_are_notes():
    rows = [*ahp(MATRIX), [], ["注：由专家填写", None], [None, None, 4]]
    reading = sheet(rows)
    assert role_of(reading, "A10") == "note"
    assert why(reading, "C11") == "outside the matrix"


ENTRIES = st.none() | st.integers(-5, 200) | st.sampled_from(["—", "八十", "８０", " ", "2020年"])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(ENTRIES, min_size=2, max_size=4), min_size=3, max_size=3),
    st.sampled_from([delphi, ahp]),
)
def test_roles_partition_the_cells_whatever_is_filled_in(body, form):
    rows = form(body)
    if form is ahp:
        rows[4] = ["指标", *DIMENSIONS]
    reading, others = read(workbook({"甲": rows}))
    filled_in = [v for row in rows for v in row if v is not None and v != ""]
    assert reading.page_cells.height + others.height == len(filled_in)
    assert reading.page_cells["source_cell"].is_unique().all()
    bad = reading.page_cells.filter(pl.col("role") == "quarantined")
    assert bad.select(pl.any_horizontal(pl.col("reason", "fix").fill_null("") == "")).to_series().any() is False
    assert reading.pages["n_cells"].sum() == reading.page_cells.height
