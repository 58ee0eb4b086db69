"""Real files on a fresh lake: with GDP alone the published figures come out; every page of the yearbooks is read."""

import re
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.methods.tiers import round_half_up
from tests.pipeline.homes import Home

CLUSTERS = {"greater_bay_area": 81.2, "jing_jin_ji": 74.8, "yangtze_river_delta": 72.8, "chengdu_chongqing": 69.9}
TIERS = {
    "tier1": (6, 90.3, 14171.7),
    "tier1_new": (47, 70.6, 3717.8),
    "tier2": (71, 56.8, None),
    "tier3": (88, 44.1, None),
    "tier4": (30, 38.4, None),
}
FOLDERS = (
    "yearbook-sci-tech/raw",
    "yearbook-national-finance/raw",
    "nbs-rd-bulletin/02-xls",
    "nbs-rd-bulletin/01-html",
    "city-raw-multisource-298",
)


@pytest.fixture(scope="module")
def gdp_only(once, real_data: Path) -> Home:
    """A lake with the real workbook of GDP, and what every lake holds."""

    def build(home: Home) -> None:
        (workbook,) = real_data.glob("city-raw-multisource-298/296*GDP*.xlsx")
        taken = home.dei("ingest", str(workbook))
        assert (taken.returncode, taken.stderr) == (0, ""), taken.stderr
        assert "city_panel__gdp" in taken.stdout
        run = home.dei("run")
        assert (run.returncode, run.stderr) == (0, ""), run.stderr
        (home.root / "stdout.txt").write_text(run.stdout, encoding="utf-8")

    return once("gdp_only", build)


def test_with_only_gdp_the_cluster_scores_are_the_published_ones(gdp_only: Home):
    scores = gdp_only.read("release/cluster_scores")
    assert set(scores["basis"].to_list()) == {"published"}
    assert set(scores["weighting"].to_list()) == {"gdp_2019"}
    found = dict(scores.select("cluster_id", "score").iter_rows())
    assert {cluster: round_half_up(found[cluster], 1) for cluster in CLUSTERS} == CLUSTERS


def test_with_only_gdp_the_tier_summary_is_the_published_one(gdp_only: Home):
    summary = gdp_only.read("release/tier_summary")
    assert set(summary["basis"].to_list()) == {"published"}
    rows = {row["tier_id"]: row for row in summary.to_dicts()}
    assert list(TIERS) == sorted(rows, key=list(TIERS).index)
    for tier, (cities, mean, scale) in TIERS.items():
        assert rows[tier]["cities"] == cities
        assert round_half_up(rows[tier]["mean_score"], 1) == mean
        assert scale is None or round_half_up(rows[tier]["mean_scale"], 1) == scale


def test_each_published_figure_stands_beside_the_computed_one(gdp_only: Home):
    table = gdp_only.read("release/published_comparison")
    published = table.filter(pl.col("key").str.ends_with("|published"))
    assert published.height >= len(CLUSTERS) + 2 * len(TIERS) + 2
    assert published["within_rounding"].all()
    assert (published["difference"] - (published["computed"] - published["published"])).abs().max() == 0
    clusters = published.filter(pl.col("table") == "release/cluster_scores")
    assert dict(clusters.select("key", "published").iter_rows()) == {
        f"2020|{cluster}|published": score for cluster, score in CLUSTERS.items()
    }
    rest = table.filter(~pl.col("key").str.ends_with("|published"))
    assert rest["computed"].null_count() == rest["within_rounding"].null_count() == rest.height  # no DEI here


def test_what_has_no_source_is_skipped_and_says_why(gdp_only: Home):
    out = (gdp_only.root / "stdout.txt").read_text("utf-8")
    assert "dei sources missing dei" in out
    assert "DEI: no ranking" in out
    assert "81.2" in out
    for table in ("index/dei_inputs", "index/dei_scores", "release/dei_ranking"):
        assert not gdp_only.lake.exists(table)
        assert "no leaf of the DEI has a source" in gdp_only.lake.skipped(table)
    for spec in gdp_only.specs().values():
        assert gdp_only.lake.exists(spec.key) or gdp_only.lake.skipped(spec.key), spec.key
    missing = gdp_only.invoke("sources", "missing", "dei", "2020")
    assert missing.exit_code == 0
    assert "variables have no source" in missing.stdout


def test_the_cluster_scores_lead_to_the_cells_of_the_workbook(gdp_only: Home):
    (file,) = [row["file"] for row in gdp_only.read("raw/manifests").to_dicts() if "GDP" in row["file"]]
    edges = gdp_only.read("staging/city_panel__gdp", "lineage")
    observed = gdp_only.read("core/observation_vintages").filter(
        (pl.col("variable") == "gdp") & (pl.col("year") == 2019) & (pl.col("region_code") == "440100")
    )
    cell = observed["source_cell"][0]
    assert edges.filter(pl.col("child_key") == cell)["parent_key"].to_list() == [cell]
    result = gdp_only.invoke("impact", file, cell.partition("/")[2])
    assert result.exit_code == 0, result.output
    assert "release/cluster_scores" in result.stdout
    assert "greater_bay_area" in result.stdout


# -- the yearbooks -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def yearbooks(once, real_data: Path) -> Home:
    """A lake with the yearbook pages, the bulletins and the city workbooks."""

    def build(home: Home) -> None:
        taken = home.invoke("ingest", *(str(real_data / folder) for folder in FOLDERS))
        assert taken.exit_code == 0, taken.output
        (home.root / "ingested.txt").write_text(taken.stdout, encoding="utf-8")
        run = home.invoke("run", "--years", "2019-2020")
        assert run.exit_code == 0, run.output
        assert run.stderr == ""

    return once("yearbooks", build)


def test_every_file_is_taken_or_left_with_a_reason(yearbooks: Home, real_data: Path):
    lines = (yearbooks.root / "ingested.txt").read_text("utf-8").splitlines()
    given = [f for folder in FOLDERS for f in (real_data / folder).rglob("*") if f.is_file() and f.name != "SOURCE.md"]
    assert len(lines) == len(given) + 1
    left = [line for line in lines if line.startswith("LEFT OUT")]
    assert all("  — " in line for line in left)
    unknown = [line for line in lines[:-1] if "no page recognised" in line]
    assert all("  — " in line for line in unknown)
    manifests = yearbooks.read("raw/manifests").filter(pl.col("source_id") != "published_reference")
    assert manifests.height + len(left) == len(given)
    assert not manifests["synthetic"].any()


def test_every_cell_is_a_value_a_part_of_the_layout_or_in_quarantine(yearbooks: Home):
    pages = yearbooks.read("staging/pages")
    counted = pl.col("n_values") + pl.col("n_layout") + pl.col("n_quarantined")
    assert pages.filter(pl.col("n_cells") != counted).height == 0
    cells = yearbooks.read("raw/cells").group_by("sha256").agg(cells=pl.len())
    read = pages.group_by("sha256").agg(pl.col("n_cells").sum())
    read_as_pages = yearbooks.read("raw/manifests").filter(pl.col("kind") == "page").select("sha256")
    both = cells.join(read_as_pages, on="sha256").join(read, on="sha256", how="left")
    assert both.height == read_as_pages.height >= 30
    assert both.filter(pl.col("cells") != pl.col("n_cells").fill_null(0)).rows() == []


def test_every_quarantined_cell_has_a_reason_and_a_fix(yearbooks: Home):
    cells = yearbooks.read("staging/page_cells").filter(pl.col("role") == "quarantined")
    assert cells.height
    for column in ("reason", "fix"):
        assert cells.filter(pl.col(column).is_null() | (pl.col(column) == "")).height == 0
    aside = [yearbooks.aside(table) for table in yearbooks.lake.tables("quarantine") if table.startswith("staging/")]
    listed = pl.concat([frame.select("source_cell") for frame in aside])["source_cell"]
    assert sorted(listed.to_list()) == sorted(cells["source_cell"].to_list())


def test_the_values_of_the_pages_are_the_rows_of_the_staging_tables(yearbooks: Home):
    values = yearbooks.read("staging/page_cells").filter(pl.col("role") == "value")
    for (layout,), rows in values.partition_by("layout", as_dict=True).items():
        table = yearbooks.read(f"staging/{layout}")
        assert sorted(table["source_cell"].to_list()) == sorted(rows["source_cell"].to_list())
    vintages = yearbooks.lake.state("core/observation_vintages")["parts"][""]
    notes = vintages["notes"]
    staged = sum(
        yearbooks.read(key).height
        for key in yearbooks.lake.tables()
        if key.startswith("staging/") and "/page" not in key
    )
    assert notes["values_in"] >= staged  # corrections may bring quarantined cells back
    assert notes["values_in"] == (
        vintages["rows"] + notes["repeats"] + vintages["quarantined"] + notes["subtotals_left_out"]
    )


def test_the_checks_hold_on_real_data(yearbooks: Home):
    result = yearbooks.invoke("check")
    assert result.exit_code == 0, result.stdout
    assert "ok    every lineage edge leads to a row" in result.stdout


def test_real_files_do_not_join_synthetic_ones_unless_told_to(
    gdp_only: Home, finished: Home, real_data: Path, tmp_path
):
    real, synthetic = gdp_only.copy(tmp_path / "real"), finished.copy(tmp_path / "synthetic")
    into_real = real.dei("demo", "--regions", "12", "--years", "2020")
    assert into_real.returncode == 1
    (line,) = into_real.stderr.splitlines()
    assert "holds 1 real files" in line
    assert "these are synthetic" in line
    assert "--allow-mixed" in line
    page = next((real_data / "nbs-rd-bulletin" / "02-xls").glob("raw-2019.xlsx"))
    into_demo = synthetic.invoke("ingest", str(page))
    assert into_demo.exit_code == 1
    assert re.search(r"holds \d+ synthetic files", into_demo.stderr)
    assert "these are real" in into_demo.stderr
    assert len(list(synthetic.lake.blobs().glob("[0-9a-f]*"))) == len(list(finished.lake.blobs().glob("[0-9a-f]*")))
    assert synthetic.invoke("ingest", str(page), "--allow-mixed").exit_code == 0
    run = synthetic.invoke("run", "--select", "staging/rd_bulletin__regional")
    assert run.exit_code == 0, run.output
    assert set(synthetic.read("raw/manifests")["synthetic"].to_list()) == {True, False}
    assert "SYNTHETIC" in run.stdout
