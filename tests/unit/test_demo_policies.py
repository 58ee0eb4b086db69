"""Demo policy texts: the counts that the report prints, texts that say what the model says, messy files."""

import datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.demo import policies, policy_pages, text_formats
from dei_pipeline.demo.model import REFERENCE, Demo, build
from dei_pipeline.demo.policies import DOMAINS, MENTIONS, Policies, words
from dei_pipeline.methods.duplicates import near_duplicates
from dei_pipeline.methods.policy import keyword_hits, plan_tasks, task_classes
from dei_pipeline.sources.document import read_documents

SEED_ORDERS = (
    ("大数据", "5G", "人工智能", "工业互联网", "云计算"),
    ("数字经济", "智慧城市", "数字政府", "数字社会", "数字乡村"),
)


@pytest.fixture(scope="module")
def demo() -> Demo:
    return build(years=[2020])


@pytest.fixture(scope="module")
def texts(demo: Demo) -> Policies:
    return policies.build(demo)


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_as_many_cities_published_as_the_report_says(texts):
    kinds = dict(texts.documents.group_by("kind").agg(pl.col("region_code").n_unique()).iter_rows())
    assert (kinds["proposal"], kinds["plan"], kinds["new_infrastructure"]) == (221, 162, 33)
    assert texts.cities.select(pl.col("proposal", "chapter", "plan").sum()).row(0) == (221, 198, 162)
    assert texts.cities.filter(pl.col("chapter") > pl.col("proposal")).is_empty()
    assert texts.cities.filter(pl.col("plan") > pl.col("chapter")).is_empty()
    last = texts.documents.filter(pl.col("kind").is_in(["proposal", "plan", "new_infrastructure"]))["published"].max()
    assert last <= datetime.date(2021, 1, 31)


def test_the_tasks_are_645_in_the_printed_shares(texts):
    classes = dict(texts.tasks.group_by("class").agg(pl.col("tasks").sum()).iter_rows())
    fusion = [classes[name] for name in ("industry", "governance", "society")]
    assert sum(classes.values()) == 645
    assert round(100 * sum(fusion) / 645) == 60
    assert [round(100 * count / sum(fusion)) for count in fusion] == [50, 28, 22]
    plans = texts.documents.filter(kind="new_infrastructure")
    said = texts.tasks.group_by("region_code").agg(pl.col("tasks").sum())
    read = {code: plan_tasks(text).height for code, text in plans.select("region_code", "text").iter_rows()}
    assert read == dict(said.iter_rows())
    assert (texts.tasks["tasks"] >= 0).all()
    assert said["tasks"].min() >= policies.LEAST_TASKS


def test_new_infrastructure_plans_came_out_as_the_report_tells(demo, texts):
    dated = demo.cities.join(texts.cities.drop_nulls("released"), on="region_code").sort("released")
    assert dated["short_name_zh"].head(5).to_list() == ["上海", "广州", "北京", "深圳", "成都"]
    assert dated["released"].head(5).to_list() == list(policies.FIRST_DATES.values())
    assert set(dated.filter(pl.col("score") < 40)["short_name_zh"]) == {"广安", "舟山"}
    behind = dated.filter(pl.col("score") < 65)["released"]
    assert behind.min() > datetime.date(2020, 10, 28)


def test_hot_words_stand_in_the_plans_as_often_as_the_model_says(texts):
    plans = texts.documents.filter(kind="plan").sort("region_code")
    for term, mean in MENTIONS.items():
        said = texts.hot_words.filter(term=term).sort("region_code")
        assert plans["text"].str.count_matches(term, literal=True).to_list() == said["mentions"].to_list(), term
        assert said["mentions"].sum() == mean * 162
    for order in SEED_ORDERS:
        counts = [MENTIONS[term] for term in order]
        assert counts == sorted(counts, reverse=True)


def test_work_reports_of_two_years_mention_more_of_some_terms(texts):
    reports = texts.documents.filter(kind="work_report").with_columns(year=pl.col("published").dt.year())
    assert dict(reports.group_by("year").len().iter_rows()) == {2019: 60, 2020: 60}
    for term, means in policies.REPORT_MENTIONS.items():
        counts = reports.group_by("year").agg(pl.col("text").str.count_matches(term, literal=True).sum()).sort("year")
        assert counts["text"].to_list() == [60 * mean for mean in means], term


def test_notices_are_as_many_as_the_index_counts(demo, texts):
    counts = demo.values.filter(pl.col("variable").is_in([*DOMAINS])).select("region_code", "variable", "value")
    said = (
        texts.documents.drop_nulls("variable").group_by("region_code", "variable").agg(value=pl.len().cast(pl.Float64))
    )
    assert_frame_equal(said, counts, check_row_order=False)


def test_a_notice_names_its_own_area_only(texts):
    lexicon = pl.read_csv(REFERENCE / "lexicons" / "policy_areas.csv")
    domains = dict(lexicon.select("area_id", "domain").iter_rows())
    notices = texts.documents.drop_nulls("area").select("document", "variable", "area", "text")
    hits = keyword_hits(notices.select("text", document_id="document"), lexicon.select("form", term_id="area_id"))
    named = hits.select("term_id", document="document_id").unique()
    assert_frame_equal(
        named, notices.select("document", term_id="area"), check_row_order=False, check_column_order=False
    )
    for variable, area in notices.select("variable", "area").unique().iter_rows():
        assert domains[area] == DOMAINS[variable][0]


def test_tasks_are_of_the_class_that_the_lexicon_gives_them(texts):
    lexicon = pl.read_csv(REFERENCE / "lexicons" / "newinfra_tasks.csv")
    for name, tasks in words()["tasks"].items():
        asked = pl.DataFrame({"document_id": tasks, "text": tasks})
        found = task_classes(asked, lexicon).select(pl.coalesce("subclass_id", "class_id")).to_series()
        assert set(found) == {name}


def test_neutral_words_name_no_technology():
    lists = ("purposes", "actions", "manners", "measures", "themes", "aims", "steps", "places")
    neutral = [word for name in lists for word in words()[name]]
    assert not [word for word in neutral if any(term in word for term in (*MENTIONS, "数字", "智慧", "智能"))]


def test_only_the_copies_that_other_sites_print_are_near_duplicates(texts):
    copies = [(f"copy/{at}", row["text"]) for at, (_, row) in enumerate(policy_pages._copies(texts))]
    every = texts.documents.select(document_id="document", text="text").rows() + copies
    pairs = near_duplicates(pl.DataFrame(every, schema=["document_id", "text"], orient="row"), threshold=0.6)
    assert pairs.height == len(copies) == 6
    assert pairs["left_id"].str.starts_with("copy/").all()


def test_draws_do_not_depend_on_the_cities_or_years_asked_for(texts):
    few = policies.build(build(regions=30, years=[2019, 2020]))
    there = few.documents["region_code"].unique()
    assert there.len() == 30
    assert_frame_equal(few.documents, texts.documents.filter(pl.col("region_code").is_in(there.implode())))
    assert policies.build(build(regions=12, years=[2018, 2019])).documents.is_empty()
    assert not list(policy_pages.files(policies.build(build(regions=12, years=[2018]))))


def test_regions_outside_the_ranking_have_notices_and_approvals_only(texts):
    more = policies.build(build(regions=250, years=[2020])).documents
    unranked = more.join(texts.documents, on="region_code", how="anti")
    assert unranked["region_code"].n_unique() == 8
    assert set(unranked["kind"]) == {"notice", "approval"}


# -- files -------------------------------------------------------------------------------------------------------------
def test_every_file_says_that_it_is_synthetic_and_is_read(texts, tmp_path):
    read, formats = 0, set()
    for name, _, _, _, content in policy_pages.files(texts):
        file = read_documents(content, Path(name).name)
        joined = ["".join(part.text for part in source.parts) for source in file.sources]
        assert all("合成数据 SYNTHETIC" in text for text in joined), name
        read += len(file.sources)
        formats.add(file.format)
    assert read == texts.documents.height + 6 + 1  # copies, and the page of links
    assert formats == {"document_table", "docx", "html", "pdf", "text"}


def test_equal_texts_give_equal_bytes(texts):
    few = policies.build(build(regions=12, years=[2020]))
    assert [f[4] for f in policy_pages.files(few)] == [f[4] for f in policy_pages.files(few)]


def test_a_pdf_has_pages_heads_numbers_and_radicals():
    lines = ["第一行", "人民" * 30, *(f"{k}. 长见" for k in range(60))]
    parts = read_documents(text_formats.pdf(lines, "页眉", radicals=True), "x.pdf").sources[0].parts
    assert len(parts) == 2
    assert all(part.text.startswith("页眉") for part in parts)
    assert "⼈⺠⼈⺠" in parts[0].text
    assert "⻓⻅" in parts[1].text
    assert "— 2 —" in parts[1].text


def test_the_planted_flaws_are_in_their_files(texts):
    flaws = policy_pages.planted(texts)
    kinds = dict(flaws.group_by("kind").len().iter_rows())
    assert (kinds["exact_copy"], kinds["near_copy"], kinds["wrong_page"]) == (3, 3, 1)
    assert set(kinds) == {
        "exact_copy", "near_copy", "wrong_page", "navigation", "doubled", "wrapped", "radicals", "gb18030",
    }  # fmt: skip
    names = {name for name, *_ in policy_pages.files(texts)}
    assert set(flaws["file"]) <= names
