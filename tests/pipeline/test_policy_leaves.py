"""Policy documents of the demo in a lake: the counts that the report prints, the policy leaves, the way to a text."""

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.demo import policies, policy_pages
from dei_pipeline.demo.generate import LICENCE
from dei_pipeline.demo.model import build
from dei_pipeline.demo.policies import DOMAINS, FIRST_DATES, MENTIONS, REPORT_MENTIONS, REPORTING, Policies
from dei_pipeline.lake import Lake
from dei_pipeline.sources.decode import decode
from dei_pipeline.sources.ingest import DOCUMENT, receive
from tests.lakes import bare_run, settings_of
from tests.pipeline.homes import Home

LEAVES = {
    "livelihood_policy_coverage_count": "livelihood_policy_documents",
    "livelihood_digital_policy_projects": "livelihood_digital_projects",
    "governance_area_coverage_count": "governance_policy_documents",
    "governance_digital_projects": "governance_digital_projects",
}
KEY = ["region_code", "year", "variable"]


# -- all 242 cities, documents only ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def texts() -> Policies:
    return policies.build(build(years=[2020]))


@pytest.fixture(scope="module")
def corpus(texts: Policies, tmp_path_factory) -> Lake:
    """A lake that holds the documents of the whole ranking and nothing else."""
    root: Path = tmp_path_factory.mktemp("corpus")
    settings = settings_of(root / "lake")
    for name, source_id, _, edition, content in policy_pages.files(texts):
        path = root / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        said = {"source_id": source_id, "edition": str(edition), "licence": LICENCE}
        receive(Lake(settings.lake), path, name, said, synthetic=True, kind=DOCUMENT)
    bare_run(settings)
    return Lake(settings.lake)


def test_the_tables_count_what_the_report_prints(corpus):
    counts = corpus.read("mart/plan_counts").filter(list_id="dei_2021")
    assert dict(counts.select("measure", "period").iter_rows()) == {
        "five_year_proposals": "2021-2025",
        "digital_chapter": "2021-2025",
        "five_year_outline": "2021-2025",
        "newinfra_plan": "none",
    }
    found = {
        measure: (cities, listed) for measure, cities, listed in counts.select("measure", "cities", "listed").rows()
    }
    assert found == {
        "five_year_proposals": (221, 242),
        "digital_chapter": (198, 242),
        "five_year_outline": (162, 242),
        "newinfra_plan": (33, 242),
    }
    share = counts.filter(measure="digital_chapter")["share_of_proposals"].item()
    assert share == pytest.approx(89.592760180995)


def test_the_tasks_of_the_plans_come_in_the_printed_shares(corpus):
    tasks = {(c, s): (n, share) for _, c, s, n, _, _, share in corpus.read("mart/task_shares").rows()}
    assert sum(n for (_, subclass), (n, _) in tasks.items() if subclass == "all") == 645
    assert tasks["fusion", "all"][0] == round(0.6 * 645)
    shares = {s: round(share) for (c, s), (_, share) in tasks.items() if c == "fusion" and s != "all"}
    assert shares == {"industry": 50, "governance": 28, "society": 22}
    assert corpus.read("core/plan_tasks")["class_id"].null_count() == 0


def test_the_timeline_begins_as_printed(corpus):
    regions = corpus.read("core/regions").filter(pl.col("valid_to").is_null()).select("region_code", "short_name_zh")
    releases = corpus.read("mart/plan_releases").filter(kind="newinfra_plan").join(regions, on="region_code")
    first = releases.sort("release_rank").head(5)
    assert dict(first.select("short_name_zh", "published").iter_rows()) == FIRST_DATES
    assert releases["regions_so_far"].max() == 33


def test_hot_words_are_counted_as_often_as_they_were_written(corpus):
    used = corpus.read("mart/term_frequencies").filter(pl.col("kind") == "five_year_outline", pl.col("hits") > 0)
    assert dict(used.select("name_zh", "hits").iter_rows()) == {term: 162 * mean for term, mean in MENTIONS.items()}
    assert used["regions"].unique().to_list() == [162]


def test_work_reports_of_two_years_show_which_terms_gained(corpus):
    changes = corpus.read("mart/term_changes").filter(kind="government_work_report", year=2020)
    found = {
        name: (before, now) for name, before, now in changes.select("name_zh", "hits_before", "hits").rows() if now
    }
    assert found == {term: (REPORTING * a, REPORTING * b) for term, (a, b) in REPORT_MENTIONS.items()}


def test_every_document_counts_for_the_variable_it_was_written_for(corpus, texts):
    written = texts.documents.drop_nulls("variable").group_by("region_code", "variable").agg(value=pl.len())
    written = written.with_columns(pl.col("value").cast(pl.Float64), year=pl.lit(2020, pl.Int32)).select(*KEY, "value")
    assert_frame_equal(corpus.read("core/document_counts").select(*KEY, "value"), written, check_row_order=False)


def test_the_mess_is_cleared_away_and_counted(corpus, texts):
    flaws = policy_pages.planted(texts)
    wrong = corpus.scan("staging/documents", side="quarantine").collect()
    assert wrong["file"].to_list() == flaws.filter(kind="wrong_page")["file"].to_list()
    documents = corpus.read("core/documents")
    repeats = documents.filter(~pl.col("counted"))
    assert repeats["file"].unique().to_list() == flaws.filter(kind="exact_copy")["file"].unique().to_list()
    assert repeats.height == 6
    assert documents.height == texts.documents.height + 6
    assert not documents["text"].str.contains("下载|全屏|⼈|⺠|政务公开").any()
    roles = dict(corpus.read("staging/document_texts").group_by("role").len().iter_rows())
    assert roles["navigation"] > 0
    assert roles["doubled"] > 0
    assert roles["page_number"] > 0
    regions = documents.group_by("region_code").len().height
    assert regions == 242


# -- the index of the demo ---------------------------------------------------------------------------------------------
def test_the_policy_leaves_of_the_base_year_come_from_documents_and_the_others_from_pages(finished: Home):
    observed = finished.lake.read("core/observations").filter(pl.col("variable").is_in([*DOMAINS]))
    assert set(observed.filter(year=2020)["method"]) == {"documents"}
    assert set(observed.filter(pl.col("year") != 2020)["source_id"]) == {"region_indicator"}
    assert set(observed["status"]) == {"reported"}
    regions = observed["region_code"].n_unique()
    made = build(regions=regions, years=observed["year"].unique().to_list()).values
    expected = made.filter(pl.col("variable").is_in([*DOMAINS])).select(*KEY, "value")
    assert_frame_equal(observed.select(*KEY, "value"), expected, check_row_order=False)


def test_scores_of_the_base_year_stay_the_published_ones(finished: Home):
    ranks = finished.lake.read("index/dei_ranks").filter(year=2020)
    printed = build(regions=ranks.height, years=[2020]).cities.select("region_code", "score")
    both = ranks.select("region_code", "score_published").join(printed, on="region_code")
    assert both.height == ranks.height
    assert (both["score_published"] - both["score"]).abs().max() < 1e-9


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_policy_leaf_is_explained_by_documents_with_place_and_snippet(finished: Home, leaf: str):
    result = finished.invoke("explain", "dei", "上海", "2020", "--node", leaf, "--json")
    assert result.exit_code == 0, result.output
    (observation,) = json.loads(result.stdout)["observations"]
    assert observation["variable"] == LEAVES[leaf]
    sources = observation["sources"]
    assert len(sources) == observation["value"] > 1
    assert len({source["document"]["document_id"] for source in sources}) == len(sources)
    (path,) = (finished.lake.blobs() / sources[0]["sha256"]).glob("content*")
    cells = {(r["sheet"], r["cell"]): r["text"] for r in decode(path.read_bytes(), "x.csv").cells.to_dicts()}
    for source in sources:
        cell, _, place = source["cell"].partition(":")
        start, end = (int(number) for number in place.split("-"))
        text = cells[source["sheet"], cell]
        assert text[start:end] == source["label"]
        assert source["label"] in source["raw_text"]
        assert text.startswith(source["document"]["title"])
        assert source["synthetic"]


def test_the_text_of_an_explanation_names_the_documents(finished: Home):
    result = finished.invoke("explain", "dei", "上海", "2020", "--node", "governance_area_coverage_count")
    assert "governance_policy_documents" in result.stdout
    assert "《上海市" in result.stdout
    assert "政策文件/政策通知_2020.csv · csv!H" in result.stdout
