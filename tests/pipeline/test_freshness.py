"""A run does only what is stale: code, reviewed files, inputs, years, and sources that come and go."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.tables import basis
from tests.pipeline.homes import (
    POPULATION_2019,
    POPULATION_2020,
    Home,
    below,
    made,
    population,
    put,
    replace_source,
    row_of,
    skipped,
)

YEARLY = ("mart/", "index/", "release/")


def test_a_second_run_touches_nothing_and_says_so(home: Home):
    before = home.stamps()
    states = {path: path.read_bytes() for path in home.root.rglob("_state.json")}
    result = home.invoke("run")
    assert result.exit_code == 0
    assert result.stdout.startswith("everything is up to date")
    assert "上海" in result.stdout
    assert result.stderr == ""
    assert home.stamps() == before
    assert {path: path.read_bytes() for path in home.root.rglob("_state.json")} == states


def test_a_table_is_made_on_every_parent_it_declares(finished: Home):
    """What a part was made from names each parent that the lake holds, so that no change of one goes unseen."""
    for key, spec in finished.specs().items():
        for part, record in finished.lake.state(key)["parts"].items():
            held = {p for p in spec.parents if finished.lake.exists(p)}
            lacking = held - set(record["basis"]["inputs"])
            if spec.split == "year":  # a parent by year may have no such year
                lacking = {p for p in lacking if _has_year(finished, p, part)}
            assert not lacking, f"{key} {part}"


def _has_year(home: Home, table: str, year: str) -> bool:
    frame = home.lake.scan(table)
    if "year" not in frame.collect_schema():
        return True
    return frame.filter(pl.col("year") == int(year)).select(pl.len()).collect().item() > 0


def _declares(home: Home, file: str) -> set[str]:
    return {key for key, spec in home.specs().items() if any(file == f or file.startswith(f"{f}/") for f in spec.files)}


def test_a_reviewed_file_remakes_the_tables_that_declare_it_and_what_their_change_reaches(edited_home: Home):
    home, before = edited_home, edited_home.stamps()
    units = home.reference / "units.csv"
    units.write_text(units.read_text("utf-8") + "万万元,100m_cny,1,an old name of 亿元\n", encoding="utf-8")
    report = home.run()
    assert report.errors == []
    assert made(report) == _declares(home, "units.csv")
    assert {report.reasons[key] for key in ("staging/pages", "core/observation_vintages")} == {"units.csv changed"}
    assert home.stamps() == before  # no page uses it: same content, nothing is written, nothing ripples


def test_a_city_cluster_that_changes_reaches_the_clusters_and_nothing_else(edited_home: Home):
    home, before = edited_home, edited_home.stamps()
    path = home.reference / "clusters.csv"
    lines = [
        line
        for line in path.read_text("utf-8").splitlines()
        if not line.startswith("yangtze_river_delta,长三角城市群,Yangtze River Delta,310000")
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    delta = pl.col("cluster_id") == "yangtze_river_delta"
    was = home.read("release/cluster_scores").filter(delta)
    report = home.run()
    assert report.errors == []
    assert _declares(home, "clusters.csv") <= made(report)
    assert {"release/cluster_members", "release/cluster_scores"} <= made(report)
    now = home.read("release/cluster_scores").filter(delta)
    assert now["members"].to_list() == [n - 1 for n in was["members"].to_list()]
    assert (now["score"] < was["score"]).all()  # Shanghai was its best
    changed = {name for name, stamp in home.stamps().items() if stamp != before.get(name)}
    assert all(re.search(r"core/clusters|release/(cluster|published_comparison)", name) for name in changed), changed


def test_thresholds_of_the_base_year_reach_the_years_before(home: Home, tmp_path: Path):
    """2019's inputs stay as they are; its scores still follow the thresholds, which 2020 sets."""

    def double(rows):
        for row in rows[row_of(rows, "北京市") :]:
            if len(row) > 1 and isinstance(row[1], float):
                row[1] *= 2

    part = home.lake.part_file("index/dei_normalised", "2019", "year")
    was, thresholds = pl.read_parquet(part), home.read("index/thresholds")
    inputs = home.stamps("index/dei_inputs")
    replace_source(home, tmp_path / "new", POPULATION_2020, population(2020, double), "2021")
    report = home.run()
    assert report.errors == []
    same = [name for name, stamp in home.stamps("index/dei_inputs").items() if stamp == inputs[name]]
    assert any("year=2019" in name for name in same)
    moved = thresholds.join(home.read("index/thresholds"), on="indicator_id", suffix="_now")
    moved = moved.filter((pl.col("theta") != pl.col("theta_now")) & pl.col("theta").is_not_null())
    assert moved.height
    both = was.join(pl.read_parquet(part), on=["region_code", "indicator_id"], suffix="_now")
    touched = both.filter(pl.col("indicator_id").is_in(moved["indicator_id"].implode()))
    assert touched.filter(pl.col("score") != pl.col("score_now")).height


def test_a_change_of_2020_leaves_the_marts_of_2019_alone(home: Home, tmp_path: Path):
    def edit(rows):
        rows[row_of(rows, "上海市")][1] += 0.01

    before = home.stamps()
    replace_source(home, tmp_path / "new", POPULATION_2020, population(2020, edit), "2021")
    report = home.run()
    assert report.errors == []
    assert "core/observations" in made(report)
    changed = {name for name, stamp in home.stamps().items() if stamp != before.get(name)}
    assert any(name.startswith("mart/indicator_parts/year=2020") for name in changed)
    assert not [name for name in changed if "mart/" in name and "year=2020" not in name]
    unrelated = ("staging/city_yearbook__telecom", "staging/city_panel__gdp", "core/regions", "core/framework")
    assert not [name for name in changed if name.startswith(unrelated)]


def test_only_the_years_asked_for_are_made(home: Home):
    for layer in YEARLY:
        shutil.rmtree(home.root / layer)
        shutil.rmtree(home.root / "lineage" / layer)
    result = home.invoke("run", "--years", "2020")
    assert result.exit_code == 0, result.output
    assert "上海" in result.stdout
    for table in ("mart/city_indicators", "index/dei_scores", "release/dei_ranking"):
        assert list(home.lake.part_files(table)) == ["2020"]
    assert set(home.read("core/observations")["year"].to_list()) >= {2018, 2019, 2020}
    was = home.stamps("release/published_comparison")
    later = home.run(years=(2019,))
    assert home.stamps("release/published_comparison") == was
    assert later.errors == []
    assert later.years == [2019, 2020]  # thresholds are those of the base year
    assert skipped(later)["release/published_comparison"].endswith("nothing for 2019")  # no report speaks of it
    assert list(home.lake.part_files("release/dei_ranking")) == ["2019", "2020"]
    own = {why for key, why in later.reasons.items() if key.startswith(YEARLY) and not why.startswith("reads ")}
    assert own == {"2019: not made yet"}


def test_select_makes_a_table_with_what_it_needs_and_nothing_beside(received: Home, tmp_path: Path):
    home = received.copy(tmp_path / "lake")
    report = home.run("staging/city_panel__gdp")
    assert made(report) == {
        "raw/manifests",
        "raw/cells",
        "staging/pages",
        "staging/page_cells",
        "staging/city_panel__gdp",
    }
    assert home.run("staging.city_panel__gdp").reasons == {}
    again = home.run("staging/city_panel__gdp", force=True)
    assert set(again.reasons.values()) == {"asked for"}
    assert made(again) == made(report)
    wrong = home.invoke("run", "--select", "release/dei_rankings")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("dei: table «release/dei_rankings» is unknown; near: release/dei_ranking")
    assert len(wrong.stderr.splitlines()) == 1


def test_skipped_tables_say_why_and_are_made_when_their_source_arrives(finished: Home, tmp_path: Path):
    home = finished.copy(tmp_path / "lake")
    assert home.lake.skipped("staging/provincial_annual__wide").endswith("no page of this kind in the lake")
    for year in (2019, 2020):
        assert home.invoke("sources", "withdraw", f"评估/打分表_{year}.xlsx").exit_code == 0
    gone = home.run()
    assert gone.errors == []
    assert skipped(gone)["staging/assessment__checkpoints"].endswith("no page of this kind in the lake")
    assert not home.lake.exists("staging/assessment__checkpoints")
    observed = home.read("core/observations")
    assert set(observed.filter(status="expert")["source_id"]) == {"delphi"}
    assert not home.lake.exists("release/dei_ranking") or home.read("release/dei_ranking")["score"].null_count() == 0
    for side in ("lineage", "quarantine"):
        assert not home.lake.part_files("staging/assessment__checkpoints", side)
    _receive_again(home, finished, "评估/打分表_")
    back = home.run()
    assert back.errors == []
    assert back.outcomes["staging/assessment__checkpoints"] == "2448 rows"
    assert {name: s.sha256 for name, s in home.stamps().items()} == {n: s.sha256 for n, s in finished.stamps().items()}


def _receive_again(home: Home, from_home: Home, start: str) -> None:
    """The blobs of the files whose name starts so, put back with their manifests."""
    for row in from_home.read("raw/manifests").filter(pl.col("file").str.starts_with(start)).to_dicts():
        shutil.copytree(from_home.lake.blobs() / row["sha256"], home.lake.blobs() / row["sha256"])


def test_withdrawing_a_source_removes_what_came_from_it(home: Home):
    prefix = next(row["sha256"] for row in home.read("raw/manifests").to_dicts() if row["file"] == POPULATION_2019)
    assert home.invoke("sources", "withdraw", prefix[:12]).exit_code == 0
    report = home.run()
    assert report.errors == []
    assert report.reasons["raw/manifests"] == "the files received changed"
    assert "raw/cells" in report.reasons
    for table in ("raw/cells", "staging/pages", "staging/page_cells"):
        assert prefix not in home.lake.state(table)["parts"]
        assert not [name for name in home.stamps(table) if prefix in name]
    for table in ("staging/city_yearbook__population", "core/observation_vintages", "core/observations"):
        assert not home.read(table).filter(pl.col("source_cell").str.starts_with(prefix[:12])).height
        edges = home.read(table, "lineage")
        assert not edges.filter(pl.col("parent_key").str.starts_with(prefix[:12])).height
    assert home.invoke("check").exit_code == 0


def test_a_killed_part_is_made_again(home: Home):
    key, before = "release/dei_ranking", home.stamps()
    record = home.lake.state(key)["parts"]
    home.lake._write_state(key, {"parts": record | {"2020": {"writing": True}}})
    report = home.run()
    assert report.errors == []
    assert report.reasons[key] == "2020: a run was killed while writing it"
    assert made(report) == {key}
    assert {n: s.sha256 for n, s in home.stamps().items()} == {n: s.sha256 for n, s in before.items()}
    assert home.run().reasons == {}


def test_code_that_changed_is_a_reason(home: Home, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    spec = home.specs()["core/regions"]
    part = basis(home.lake, replace(spec, code="other"), home.settings, "")
    assert part != home.lake.state("core/regions")["parts"][""]["basis"]
    monkeypatch.setattr(
        "dei_pipeline.runs.all_tables",
        lambda _: [replace(s, code="other") if s.key == "core/regions" else s for s in home.specs().values()],
    )
    from dei_pipeline.runs import plan

    reasons = plan(home.lake, [replace(spec, code="other"), *home.specs().values()][:1], home.settings, [2020])
    assert reasons == {"core/regions": "its code changed"}


def test_everything_below_a_table_is_looked_at(finished: Home):
    specs = finished.specs()
    assert "release/dei_ranking" in below(specs, "raw/manifests")
    assert "core/regions" not in below(specs, "raw/manifests")


def test_a_new_page_joins_the_files_that_are_there(home: Home, tmp_path: Path):
    before = home.stamps("raw/cells")
    page = put(tmp_path, "城市统计年鉴2022-2-1 人口和户数.xlsx", population(2020).replace(b"", b""))
    page.write_bytes(_page_of_2021())
    assert home.invoke("ingest", str(page), "--allow-mixed").exit_code == 0
    report = home.run("staging/city_yearbook__population")
    assert report.success
    after = home.stamps("raw/cells")
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    assert 2021 in home.read("staging/city_yearbook__population")["year"].to_list()


def _page_of_2021() -> bytes:
    def edit(rows):
        rows[0][0] = str(rows[0][0]).replace("2020", "2021")
        rows[1][0] = str(rows[1][0]).replace("2020", "2021")

    return population(2020, edit)
