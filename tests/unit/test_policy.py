"""Terms in policy texts, counts, timelines and task classes."""

import datetime
import re

import numpy as np
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


# -- measures ----------------------------------------------------------------------------------------------------------
def test_measures_keep_the_shape_of_their_input():
    assert policy.coverage([[1, 0, 3, 0], [0, 0, 0, 0]]).tolist() == [50.0, 0.0]
    np.testing.assert_allclose(policy.count_score([[0, 20], [40, 5]]), [[0, 100], [100, 58.851905541]])
    assert policy.density([36, 0], 24_000).tolist() == [15.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: policy.coverage([]), "coverage"),
        (lambda: policy.coverage([1, np.nan]), "coverage"),
        (lambda: policy.count_score([-1]), "count_score"),
        (lambda: policy.count_score([np.inf]), "count_score"),
        (lambda: policy.count_score([1], 0), "count_score"),
        (lambda: policy.density([-1], [10]), "density"),
        (lambda: policy.density([1], [0]), "density"),
        (lambda: policy.percentage(3, 2), "percentage"),
        (lambda: policy.percentage(0, 0), "percentage"),
        (lambda: policy.weighted_count(["nation", "village"]), "«village» has no weight"),
    ],
)
def test_a_measure_refuses_what_it_is_not_defined_on(call, message):
    with pytest.raises(MethodError, match=message):
        call()


def test_documents_weigh_as_their_level():
    assert policy.weighted_count(["prefecture"] * 5 + ["nation", "province"]) == 2.5


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_count_score_rises_with_the_count_and_stays_within_0_and_100(a, b):
    low, high = policy.count_score(sorted([a, b]))
    assert 0 <= low <= high <= 100


# -- tables over cities ------------------------------------------------------------------------------------------------
def test_term_frequencies_rest_on_the_cities_with_a_plan_and_hold_unused_terms():
    found = policy.term_frequencies(
        pl.DataFrame({"document_id": ["a", "a", "b", "x"], "term_id": ["5g", "5g", "5g", "5g"]}),
        pl.DataFrame({"document_id": ["a", "b", "c", "d"], "region_code": ["1", "2", "3", "1"]}),
        ["5g", "blockchain"],
    )
    assert found.rows() == [("5g", 3, 2, 2 / 3), ("blockchain", 0, 0, 0.0)]


def test_term_frequencies_of_no_plan_are_refused():
    none = pl.DataFrame(schema={"document_id": pl.String, "region_code": pl.String})
    with pytest.raises(MethodError, match="no city has a complete plan"):
        policy.term_frequencies(none.rename({"region_code": "term_id"}), none, ["5g"])


def test_a_timeline_holds_the_first_document_of_each_region():
    days = [
        datetime.date(2020, 5, 7),
        datetime.date(2020, 5, 30),
        datetime.date(2020, 5, 30),
        datetime.date(2020, 6, 1),
    ]
    given = pl.DataFrame({"document_id": list("abcd"), "region_code": ["1", "2", "3", "1"], "published": days})
    assert policy.release_timeline(given).rows() == [
        ("1", "a", days[0], 1, 1),
        ("2", "b", days[1], 2, 3),
        ("3", "c", days[2], 2, 3),
    ]
    with pytest.raises(MethodError, match="e has no date"):
        policy.release_timeline(pl.concat([given, given.head(1).with_columns(document_id=pl.lit("e"), published=None)]))


def test_change_is_against_the_year_before_and_growth_from_nothing_is_null():
    counts = pl.DataFrame({"term_id": ["a", "a", "a", "b"], "year": [2019, 2020, 2022, 2020], "hits": [0, 4, 6, 5]})
    found = policy.year_on_year(counts, ["term_id"])
    assert found.select("before", "change", "growth").rows() == [(None,) * 3, (0, 4, None), (None,) * 3, (None,) * 3]
    more = policy.year_on_year(counts.with_columns(year=pl.Series([2019, 2020, 2021, 2020])), ["term_id"])
    assert more.row(2)[3:] == (4, 2, 0.5)
    with pytest.raises(MethodError, match="do not name a row"):
        policy.year_on_year(pl.concat([counts, counts]), ["term_id"])


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


def test_tasks_are_the_finest_headings_outside_aims_and_safeguards():
    tasks = policy.plan_tasks(PLAN)
    assert tasks["title"].to_list() == ["建设5G网络", "建设数据中心", "推进工业互联网"]
    assert [PLAN[start:].lstrip()[0] for start in tasks["start"]] == ["1", "2", "3"]


def test_headings_have_levels_and_stop_at_the_first_sentence():
    assert policy.headings("第一章 总则\n　一、目标。很多\n(一)细节\n1.5倍不是标题\n2、是").select(
        "level", "title"
    ).rows() == [
        (0, "总则"),
        (1, "目标"),
        (2, "细节"),
        (3, "是"),
    ]


def test_a_task_goes_to_the_class_named_most_and_of_equals_first():
    tasks = pl.DataFrame(
        {
            "document_id": ["1", "2", "3"],
            "text": ["城市大脑，5G，数据中心", "工业互联网和5G", "植树"],
        }
    )
    found = policy.task_classes(tasks, CLASSES)
    assert found.rows() == [("1", "information", None, 2), ("2", "fusion", "industry", 1), ("3", None, None, 0)]


def test_shares_of_tasks_add_up_and_unclassified_ones_do_not_count():
    classes = pl.DataFrame(
        {
            "class_id": ["fusion"] * 3 + ["information", None],
            "subclass_id": ["industry", "industry", "society", None, None],
        }
    )
    assert policy.task_shares(classes).rows() == [
        ("fusion", None, 3, 0.75, 1.0),
        ("fusion", "industry", 2, 0.5, 2 / 3),
        ("fusion", "society", 1, 0.25, 1 / 3),
        ("information", None, 1, 0.25, 1.0),
    ]
    with pytest.raises(MethodError, match="no task is classified"):
        policy.task_shares(classes.tail(1))
