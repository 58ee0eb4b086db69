"""Terms in policy texts, five-year plans, tasks and their classes."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import policy

TERMS = pl.DataFrame(
    {
        "term_id": ["internet", "industrial_internet", "5g", "5g", "ecology", "environment"],
        "form": ["互联网", "工业互联网", "5G", "第五代移动通信", "生态", "生态环境"],
    }
)


def documents(*texts):
    return pl.DataFrame({"document_id": [f"d{i}" for i in range(len(texts))], "text": texts})


def hits(*texts, terms=TERMS, context=0):
    return policy.keyword_hits(documents(*texts), terms, context)


# -- terms in texts ----------------------------------------------------------------------------------------------------
def test_the_longest_form_counts_and_the_search_goes_on_behind_it():
    found = hits("推进工业互联网和互联网，保护生态环境与生态")
    assert found.select("term_id", "start", "length").rows() == [
        ("industrial_internet", 2, 5),
        ("internet", 8, 3),
        ("environment", 14, 4),
        ("ecology", 19, 2),
    ]


def test_synonyms_are_one_term_and_latin_letters_match_in_either_case():
    found = hits("建设5g基站，第五代移动通信即5G")
    assert found["term_id"].to_list() == ["5g"] * 3
    assert found["form"].to_list() == ["5g", "第五代移动通信", "5G"]


def test_offsets_are_characters_also_behind_characters_of_one_two_and_four_bytes():
    text = "aé𠮷工业互联网𠮷5G"
    found = hits(text, context=2)
    assert [text[s : s + n] for s, n in found.select("start", "length").iter_rows()] == ["工业互联网", "5G"]
    assert found["snippet"].to_list() == ["é𠮷工业互联网𠮷5", "网𠮷5G"]


def test_texts_without_a_hit_and_empty_texts_give_no_row():
    assert hits("", "没有", None).height == 0
    assert hits("没有", "互联网")["document_id"].to_list() == ["d1"]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "no terms"),
        ([("a", " ")], "without a form"),
        ([("a", "大数据"), ("b", "大数据")], "«大数据» belongs to a, b"),
        ([("a", "5G"), ("b", "5g")], "belongs to a, b"),
    ],
)
def test_terms_that_cannot_be_told_apart_are_refused(terms, message):
    frame = pl.DataFrame(terms, schema={"term_id": pl.String, "form": pl.String}, orient="row")
    with pytest.raises(MethodError, match=re.escape(message)):
        hits("大数据", terms=frame)


def test_a_document_given_twice_is_refused():
    twice = pl.concat([documents("互联网")] * 2)
    with pytest.raises(MethodError, match="d0 is given twice"):
        policy.keyword_hits(twice, TERMS)


def leftmost_longest(text, forms):
    """The plain search that the automaton must agree with."""
    found, at = [], 0
    while at < len(text):
        form = max((f for f in forms if text.startswith(f, at)), key=len, default="")
        if form:
            found.append((at, form))
        at += len(form) or 1
    return found


@given(
    st.lists(st.text("甲乙丙a𠮷", max_size=30), min_size=1, max_size=4),
    st.sets(st.text("甲乙丙a𠮷", min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(0, 4),
)
def test_hits_are_those_of_a_plain_search_with_their_surroundings(texts, forms, context):
    terms = pl.DataFrame({"term_id": sorted(forms), "form": sorted(forms)})
    found = hits(*texts, terms=terms, context=context)
    expected = [(f"d{i}", at, form) for i, text in enumerate(texts) for at, form in leftmost_longest(text, forms)]
    assert found.select("document_id", "start", "form").rows() == expected
    for (name, at, form), snippet in zip(expected, found["snippet"], strict=True):
        text = texts[int(name[1:])]
        assert snippet == text[max(0, at - context) : at + len(form) + context]


# -- plans -------------------------------------------------------------------------------------------------------------
PLAN = """某市推进新型基础设施建设行动方案
一、总体要求
（一）指导思想。全面贯彻。
（二）发展目标。到2022年。
二、主要任务
（一）信息基础设施
1.建设5G网络。到2022年建成基站。
2.建设数据中心。提升算力。
（二）融合基础设施
3.推进工业互联网。赋能制造业。
三、保障措施
（一）加强组织领导。
"""
CLASSES = pl.DataFrame(
    {
        "class_id": ["information", "information", "fusion", "fusion"],
        "subclass_id": [None, None, "industry", "governance"],
        "form": ["5G", "数据中心", "工业互联网", "城市大脑"],
    }
)


@pytest.mark.parametrize(
    ("title", "period"),
    [
        ("中共北京市委关于制定北京市国民经济和社会发展第十三个五年规划的建议", "2016-2020"),
        ("北京市国民经济和社会发展第十四个五年规划和二〇三五年远景目标纲要", "2021-2025"),
        ("中共北京市委关于制定北京市国民经济和社会发展第十五个五年规划的建议", "2026-2030"),
        ("上海市“十四五”新型基础设施建设规划（第十四个五年规划）", "2021-2025"),
        ("国民经济和社会发展第14个五年规划", "2021-2025"),
        ("国民经济和社会发展第十个五年计划纲要", "2001-2005"),
        ("发展国民经济的第一个五年计划", "1953-1957"),
        ("发展国民经济的第二个五年计划", "1958-1962"),
        ("第三个五年计划", "1966-1970"),
        ("第二十个五年规划", "2051-2055"),
        ("“十三五”规划评估和“十四五”规划思路", "none"),
        ("上海市推进新型基础设施建设行动方案（2020—2022年）", "none"),
        ("二十四五岁青年的十五年", "none"),
        (None, "none"),
    ],
)
def test_a_title_that_names_one_five_year_plan_belongs_to_its_period(title, period):
    assert policy.plan_period(title) == period


def test_tasks_are_the_finest_headings_outside_aims_and_safeguards():
    tasks = policy.plan_tasks(PLAN)
    assert tasks["title"].to_list() == ["建设5G网络", "建设数据中心", "推进工业互联网"]
    assert [PLAN[start - 2 :][: 2 + len(title)] for start, title in tasks.rows()] == [
        "1.建设5G网络",
        "2.建设数据中心",
        "3.推进工业互联网",
    ]


def test_headings_have_levels_and_stop_at_the_first_sentence():
    assert policy.headings("第一章 总则\n　一、目标。很多\n(一)细节\n1.5倍不是标题\n2、是").select(
        "level", "title"
    ).rows() == [
        (0, "总则"),
        (1, "目标"),
        (2, "细节"),
        (3, "是"),
    ]


CHAPTERS = """第一章 {}
一、建设智慧交通。
二、建设智慧医疗。
三、建设工业互联网。
"""


@pytest.mark.parametrize(
    "chapter",
    [
        "建设新型信息基础设施",
        "发展融合基础设施",
        "夯实数字基础",
        "强化网络安全保障",
        "优化发展环境",
        "目标任务",
        "基础设施和智慧应用",
        "民生保障",
    ],
)
def test_a_chapter_that_only_holds_a_word_of_aims_or_safeguards_has_tasks(chapter):
    assert policy.plan_tasks(CHAPTERS.format(chapter)).height == 3


@pytest.mark.parametrize(
    "chapter",
    [
        "总体要求",
        "总 体 要 求",
        "指导思想、基本原则与发展目标",
        "总体目标",
        "发展基础",
        "现状与基础",
        "现状基础",
        "“十三五”发展回顾",
        "面临的形势",
        "形势和挑战",
        "规划背景以及发展意义",
        "保障措施",
        "保障",
        "强化组织保障",
        "加强组织领导和政策保障",
        "组织实施",
        "附则",
        "指导思想：全面贯彻",
    ],
)
def test_a_chapter_on_aims_state_or_safeguards_alone_has_no_tasks(chapter):
    assert policy.plan_tasks(CHAPTERS.format(chapter)).is_empty()
    assert policy.plan_tasks(CHAPTERS.format("重点任务") + f"四、{chapter}\n").height == 3


@pytest.mark.parametrize("leader", [" ......... ", "……………", "\t", "    ", "·····"])
def test_a_table_of_contents_sets_no_tasks(leader):
    contents = "目录\n" + "".join(
        f"{line.partition('。')[0]}{leader}{n}\n" for n, line in enumerate(PLAN.splitlines()[1:])
    )
    assert policy.plan_tasks(contents).is_empty()
    assert policy.plan_tasks(contents + PLAN)["title"].to_list() == policy.plan_tasks(PLAN)["title"].to_list()


def test_a_task_goes_to_the_class_named_most_and_of_equals_first():
    tasks = pl.DataFrame(
        {
            "document_id": ["1", "2", "3"],
            "text": ["城市大脑，5G，数据中心", "工业互联网和5G", "植树"],
        }
    )
    found = policy.task_classes(tasks, CLASSES)
    assert found.rows() == [("1", "information", None, 2), ("2", "fusion", "industry", 1), ("3", None, None, 0)]
