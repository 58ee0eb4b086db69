"""What a document is, told by its name and its first lines, and texts made to keep the reader busy."""

import time

import pytest

from dei_pipeline.methods import policy, policy_documents
from dei_pipeline.settings import Settings
from dei_pipeline.sources import document_meta as meta
from dei_pipeline.sources.document_text import Part, cleaned
from dei_pipeline.sources.lexicons import load_lexicons

LEXICONS = load_lexicons(Settings().reference / "lexicons")
NAMES = {"北京", "北京市", "四川省"}
CHARACTERS, SECONDS = 100_000, 1.0

# first characters, what is repeated up to 100,000 characters, last characters
ENDLESS = [
    ("关于", "〈〉", ""),
    ("关于", "《》", ""),
    ("", "〈〉", "通知"),
    ("关于", "《〈", "通知"),
    ("《", "《", "》"),
    ("", "关于", ""),
    ("关于", "的", "x"),
    ("2020年1月1日", " ", "x"),
    ("2020年1月1日（", "（", "x"),
    ("", "2020年", "x"),
    ("2020", " ", "-"),
    ("", " ", "x"),
    ("", "1", "x"),
    ("北京市", "\u3000", "x"),
    ("题", ".", "x"),
    ("题", ".... ", "x"),
    ("题", "\t", "x"),
    ("第1页", " ", "x"),
    ("", "-", "x"),
    ("第", "一", "章"),
    ("第一", "章", " \n"),
    ("一、", "总体", "x"),
    ("一、", "发展目标和", "x"),
    ("一、", "组织实施", "x"),
    ("", "数字经济 ", "x"),
    ("", "北京", "局"),
    ("", "AB_", "x"),
    ("", "（AB.1", "x"),
    ("首页", ">", "《"),
    ("", "国务院、", "x"),
    ("", "一、发展基础\n", "x"),
]


def paged(text):
    cleaned([Part("p1", text), Part("p2", f"{text[:100]}\n{text[:100]}")], wrapped=True)


READERS = {
    "headline": meta.headline,
    "published": lambda text: meta.published({}, text, text),
    "signature": lambda text: meta.published({}, text[:2_000] + text[-1:], None),
    "published beside": lambda text: meta.published({"published": meta.Found(text, "list")}, "", None),
    "issuer": lambda text: meta.issuer({}, text, text),
    "document_number": meta.document_number,
    "year": lambda text: meta.year_of_document({"year": meta.Found(text, "list")}, text, None),
    "name": meta.name_title,
    "inner title": meta.inner_title,
    "wrong page": lambda text: meta.wrong_page(text, f"{text}。"),
    "pages": paged,
    "lines": lambda text: cleaned([Part("text", (text[:99] + "\n") * 9 + text)], wrapped=True),
    "tasks": policy.plan_tasks,
    "region": lambda text: policy_documents.leading_region(text, NAMES),
    "kind": lambda text: policy_documents.kind_of(text, LEXICONS),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_text_of_100_000_characters_is_read_within_a_second_whatever_it_holds(reader):
    for first, repeated, last in ENDLESS:
        text = first + (repeated * CHARACTERS)[:CHARACTERS] + last
        start = time.process_time()
        READERS[reader](text)
        taken = time.process_time() - start
        assert taken < SECONDS, f"{first}{repeated}…{last}: {taken:.1f} s"


@pytest.mark.parametrize("pair", ["〈〉", "《》"])
def test_empty_titles_in_a_row_are_read_at_once(pair):
    text = f"关于{pair * 60}\n{pair * 60}2021年3月2日\n"
    start = time.process_time()
    assert meta.headline(text) is None
    assert str(meta.published({}, text, None)[0]) == "2021-03-02"
    assert time.process_time() - start < SECONDS


def test_a_headline_may_hold_titles_in_either_bracket():
    for title in (
        "某市关于印发《数字经济规划》的通知",
        "某市关于发布〈数字经济规划〉的通知",
        "某市关于印发《〈条例〉实施细则》的通知",
    ):
        assert meta.headline(f"{title}\n正文。") == title


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("某市人民政府\n2021年3月2日（此件公开发布）  \n", "2021-03-02"),
        ("某市人民政府《规划》 2021 年 3 月 2 日\n", "2021-03-02"),
        ("二〇二一年三月二日\n", "2021-03-02"),
    ],
)
def test_a_signature_ends_with_its_date(text, date):
    found, origin = meta.published({}, text, None)
    assert (str(found), origin) == (date, "signature")


@pytest.mark.parametrize(
    ("title", "year"), [("2021年工作方案", 2021), ("规划（2021-2025年）", 2025), ("规划（2021年—2025年）", 2025)]
)
def test_the_first_year_of_a_range_is_not_the_year_of_the_document(title, year):
    assert meta.year_of_document({}, title, None) == year


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("P034_中华人民共和国反垄断法（2022年修订）.txt", "中华人民共和国反垄断法（2022年修订）"),
        ("012_draft_某市数字经济发展规划.pdf", "某市数字经济发展规划"),
        ("copy_某市数字经济发展规划.pdf", "某市数字经济发展规划"),
        ("某市数字经济发展规划(ABC-DEF.12.345678).txt", "某市数字经济发展规划"),
        ("某市数字经济发展规划（XY.2021-1）.txt", "某市数字经济发展规划"),
        ("某市新型基础设施行动方案（2020-2022）.txt", "某市新型基础设施行动方案（2020-2022）"),
        ("某市推进网络建设的方案（IPv6）.txt", "某市推进网络建设的方案（IPv6）"),
        ("5G网络建设行动方案.txt", "5G网络建设行动方案"),
        ("IMG_20210302.pdf", None),
    ],
)
def test_a_file_is_named_by_its_title_without_number_mark_and_id_of_a_database(file, title):
    assert meta.name_title(file) == title
