"""Where a document comes from and which of two alike counts: names of regions, authorities, reprints, years."""

import pytest

from dei_pipeline.lake import Lake
from dei_pipeline.methods import policy_documents as methods
from dei_pipeline.methods.regions import Regions
from dei_pipeline.settings import Settings
from dei_pipeline.sources.document_tables import document_texts, documents
from dei_pipeline.sources.ingest import ingest
from dei_pipeline.sources.lexicons import load_lexicons
from dei_pipeline.sources.pages import recogniser
from dei_pipeline.sources.received import manifest_table

REFERENCE = Settings().reference
REGIONS = Regions.load(REFERENCE)
NAMES = methods._names(REGIONS)
BODY = "为加快发展数字经济，制定本方案。" + "".join(
    f"第{n}条，推动第{n}项智慧教育和智慧医疗工程建设，落实责任单位。" for n in range(40)
)


def core(folder, *rows):
    """core/documents of a table with title, issuer, date and text."""
    page = folder / "a.csv"
    page.write_text("\n".join(["标题,发布机构,发布日期,正文", *(",".join(row) for row in rows)]) + "\n", "utf-8")
    lake = Lake(folder / "lake")
    ingest(lake, [page], recogniser(REFERENCE))
    manifests = manifest_table(lake).frame
    texts = document_texts(lake, manifests, manifests["sha256"].to_list())
    return methods.core_documents(
        documents(texts.frame, manifests).frame, texts.frame, REGIONS, load_lexicons(REFERENCE / "lexicons")
    )


@pytest.mark.parametrize(
    "text",
    [
        "北京日报",
        "深圳新闻网",
        "上海证券报",
        "广州日报",
        "大连接战略实施方案",
        "中山大学",
        "长春花",
        "东方财富网",
        "海南航空",
        "朝阳产业发展规划",
        "大同社会",
        "大庆油田",
        "白银市场",
        "白银市场信息化行动方案",
        "长治久安",
        "河南大学关于印发办法的通知",
    ],
)
def test_a_word_that_begins_like_a_region_is_none(text):
    assert methods.leading_region(text, NAMES) == (None, None)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("上海推进新型基础设施建设行动方案", "上海"),
        ("贵州大数据战略行动方案", "贵州"),
        ("深圳“十四五”数字经济规划", "深圳"),
        ("北京证监局", "北京"),
        ("白银市场监督管理局", "白银"),
        ("白银市数字经济规划", "白银市"),
        ("北京市场馆建设方案", "北京市"),
        ("北京市市场监督管理局", "北京市"),
        ("辽宁大连市人民政府", "大连市"),
        ("广州", "广州"),
    ],
)
def test_a_name_of_a_region_is_told_by_what_follows(text, region):
    assert methods.leading_region(text, NAMES)[0] == region


@pytest.mark.parametrize(
    ("issuer", "official"),
    [
        ("北京市教育委员会", True),
        ("中共北京市委", True),
        ("上海市经济和信息化局（大数据局）", True),
        ("包头市人民政府办公室", True),
        ("贵州省大数据发展管理局", True),
        ("北京日报", False),
        ("北京市人民政府门户网站", False),
        ("北京市新闻网", False),
        ("上海市软件行业协会", False),
        ("教育委员会", False),
    ],
)
def test_an_authority_has_the_name_of_a_region_and_ends_as_one(issuer, official):
    assert methods.is_authority(issuer, NAMES) is official


@pytest.mark.parametrize("paper", ["北京日报", "北京市新闻网"])
def test_the_text_of_an_authority_counts_before_that_of_a_newspaper_a_day_older(tmp_path, paper):
    title = "北京市智慧教育行动方案"
    rows = [(title, paper, "2021-03-01", BODY), (title, "北京市教育委员会", "2021-03-02", BODY)]
    found = core(tmp_path, *rows).frame.select("issuer", "region_code", "counted").rows()
    assert sorted(found) == sorted([(paper, "110000", False), ("北京市教育委员会", "110000", True)])


def test_a_document_under_a_word_that_begins_like_a_region_has_none(tmp_path):
    rows = [
        ("白银市场信息化智慧教育行动方案", "", "2021-03-02", BODY),
        ("北京市智慧教育行动方案", "", "2021-03-02", BODY),
    ]
    table = core(tmp_path, *rows)
    assert table.frame["region_code"].to_list() == ["110000"]
    assert table.quarantine["raw_text"].to_list() == ["白银市场信息化智慧教育行动方案"]


def test_plans_of_two_years_in_like_words_both_count_and_equal_texts_once(tmp_path):
    issuer = "北京市教育委员会"
    rows = [
        ("北京市2020年智慧教育工作方案", issuer, "2020-03-01", f"2020年方案。{BODY}"),
        ("北京市2021年智慧教育工作方案", issuer, "2021-03-02", f"2021年方案。{BODY}"),
        ("北京市智慧教育工作方案", issuer, "2022-01-02", f"2020年方案。{BODY}"),
        ("北京市2021年智慧教育工作方案", issuer, "2021-05-02", f"2021年的方案。{BODY}"),
    ]
    found = core(tmp_path, *rows).frame.sort("published").select("year", "counted").rows()
    assert found == [(2020, True), (2021, True), (2021, False), (2022, False)]
