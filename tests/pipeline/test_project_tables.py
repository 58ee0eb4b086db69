"""Lists of key projects from files to the table of the first 20 beside the published one, and from a cell to it."""

from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.checks.lineage import dangling
from dei_pipeline.demo import projects
from dei_pipeline.demo.model import build
from dei_pipeline.methods.tiers import round_half_up
from dei_pipeline.settings import Settings
from dei_pipeline.sources.ingest import receive
from tests.forms import workbook
from tests.pipeline.homes import Home, put

TABLES = ("release/newinfra_top20", "release/newinfra_totals", "release/published_comparison")
SHANGHAI = "重点项目/上海市2020年重点项目计划清单.xlsx"


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    """An empty lake."""
    return Home(tmp_path / "lake")


def compared(home: Home) -> pl.DataFrame:
    return home.read("release/published_comparison").filter(pl.col("table").str.contains("newinfra"))


def test_given_lists_become_the_table_with_the_published_ranking(empty: Home, tmp_path: Path):
    shanghai = [
        ["上海市2020年重大建设项目清单"],
        ["序号", "项目名称", "类别", "总投资(亿元)"],
        [1, "临港智算中心", "新基建", 30],
        [2, "沪通铁路", "交通", "约60"],
        [3, "某厂", "产业", "5-8"],
        [4, "浦东5G基站", None, 10],
        ["合计", "4项", None, 105],
        ["注：仅包括市级项目"],
    ]
    others = [
        ["2020年各市重点项目"],
        ["城市", "项目名称", "总投资(万元)"],
        ["深圳市", "深惠城际铁路", 1_000_000],
        [None, "前海医院", 200_000],
        ["某某市", "某厂", 100],
        ["广东省", "某路", 100],
    ]
    put(tmp_path / "given", "a.xlsx", workbook({"清单": shanghai}))
    put(tmp_path / "given", "b.xlsx", workbook({"表1": others}))
    listed = empty.invoke("ingest", str(tmp_path / "given"))
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.count("  projects\n") == 2
    assert "2 taken, 0 already there, 0 left out, 0 with no page recognised" in listed.stdout
    assert empty.run(*TABLES).errors == []

    made = empty.read("core/projects").sort("name")
    assert made.select("region_code", "name", "kind", "is_new_infrastructure", "investment", "status").rows() == [
        ("310000", "临港智算中心", "data_centre", True, 30.0, "reported"),
        ("440300", "前海医院", "public_services", False, 20.0, "estimated"),
        ("310000", "沪通铁路", "transport", False, 60.0, "estimated"),
        ("310000", "浦东5G基站", "5g", True, 10.0, "estimated"),
        ("440300", "深惠城际铁路", "intercity_rail", True, 100.0, "estimated"),
    ]
    aside = pl.concat([empty.aside(t) for t in ("staging/page_cells", "core/projects")], how="diagonal")
    aside = aside.filter(pl.col("file").is_in(["a.xlsx", "b.xlsx"]))
    told = {(r["file"], r["sheet"], r["cell"], r["raw_text"]): r["reason"] for r in aside.to_dicts()}
    assert told == {
        ("a.xlsx", "清单", "D5", "5-8"): "a range, not one number",
        ("b.xlsx", "表1", "C5", "100"): "«某某市» is no region known at prefecture level or above",
        ("b.xlsx", "表1", "C6", "100"): "«广东省» is no city",
    }
    assert aside["fix"].null_count() == 0

    top = empty.read("release/newinfra_top20")
    assert top.select("rank", "region_name", "basis", "projects", "new_infrastructure_share", "scope_note").rows() == [
        (1, "上海", "published", 3, 66.7, "注:仅包括市级项目"),
        (2, "深圳", "published", 2, 50.0, None),
    ]
    totals = {row["scope"]: row for row in empty.read("release/newinfra_totals").to_dicts()}
    assert [(totals[s]["cities"], totals[s]["listed_cities"]) for s in ("ranked", "top20")] == [(242, 2), (20, 2)]
    table = compared(empty)
    assert table.filter(pl.col("key").str.ends_with("|computed"))["computed"].null_count() == table.height / 2
    row = table.filter(key="2020|310000|published", column="projects").row(0, named=True)
    assert (row["published"], row["computed"], row["within_rounding"]) == (212.0, 3.0, False)

    specs = [spec for key, spec in empty.specs().items() if empty.lake.exists(key)]
    assert dangling(empty.lake, specs) == []
    for cell in ("清单!D3", "清单!B3", "清单!C3", "清单!A1"):
        assert "release/newinfra_top20" in empty.invoke("impact", "a.xlsx", cell).stdout, cell
    assert "release/newinfra_top20" not in empty.invoke("impact", "a.xlsx", "清单!D5").stdout
    assert empty.run(*TABLES).reasons == {}


def test_the_demo_has_the_published_rows_of_its_cities(finished: Home):
    table = pl.read_csv(Settings.reference / "published" / "newinfra_top20.csv")
    top = finished.read("release/newinfra_top20").join(table, left_on="region_name", right_on="city")
    assert sorted(top.filter(basis="computed")["rank"]) == list(range(1, 13))
    assert (top["rank"] == top["rank_published"]).all()
    assert (top["projects"] == top["projects_total"]).all()
    assert (top["new_infrastructure_projects"] == top["projects_newinfra"]).all()
    assert (top["investment"] == top["total_investment_100m_yuan"]).all()
    assert (top["new_infrastructure_share"] == top["share_pct_published"]).all()
    wuxi = top.filter(region_name="无锡")
    assert set(wuxi["scope_note"]) == {"注: 仅包括产业类型项目"}
    cities = compared(finished).filter(table="release/newinfra_top20").drop_nulls("computed")
    assert cities.height == 12 * 4 * 2
    assert cities["within_rounding"].all()


def test_a_cell_of_a_list_leads_to_the_table_and_the_comparison(finished: Home):
    shown = finished.invoke("impact", SHANGHAI, "项目清单!C4")
    assert shown.exit_code == 0, shown.output
    for table in ("core/projects", "mart/project_counts", *TABLES):
        assert table in shown.stdout, table


def test_the_lists_of_all_cities_give_the_published_table_and_totals(empty: Home, tmp_path: Path):
    """The ranking is the published one: no source of the index is in this lake."""
    lists = projects.build(build(regions=242, years=[2020]))
    for name, source_id, title, edition, content in projects.files(lists):
        said = {"source_id": source_id, "title": title, "edition": edition}
        receive(empty.lake, put(tmp_path / "given", name, content), name, said, synthetic=True)
    assert empty.run(*TABLES).errors == []
    figures = compared(empty).filter(pl.col("key").str.ends_with("|published"))
    assert figures.height == 20 * 4 + 7
    assert figures["within_rounding"].all()
    assert figures["computed"].null_count() == 0
    totals = empty.read("release/newinfra_totals").filter(scope="top20").row(0, named=True)
    assert (totals["new_infrastructure_projects"], totals["projects"]) == (3_549, 11_295)
    assert round_half_up(totals["new_infrastructure_share"], 2) == 31.42
    assert round_half_up(totals["new_infrastructure_investment_share"], 1) == 35.3
