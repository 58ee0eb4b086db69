"""Files into the lake: what a sidecar says, what is left out and why, what is known already, what is gone."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.sources.ingest import PUBLISHED
from tests.fixtures import build
from tests.pipeline.homes import Home, demo, formats, industry, pages, population, put, row_of

SIDECAR = """
source_id: city_yearbook
producer: 市统计局
title: 统计年鉴
edition: "2031"
licence: CC-BY-4.0
url: https://example.org/3-5
retrieved: 2026-01-02
year: 2030
"""


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home(tmp_path / "lake")


def manifests(home: Home) -> dict[str, dict]:
    found = [json.loads(p.read_text("utf-8")) for p in home.lake.blobs().glob("[0-9a-f]*/manifest.json")]
    return {manifest["file"]: manifest for manifest in found}


def test_a_file_is_kept_as_received_under_its_hash(empty: Home, tmp_path: Path):
    page = put(tmp_path / "given", "book/2-1.xlsx", population(2020))
    result = empty.invoke("ingest", str(tmp_path / "given"))
    assert result.exit_code == 0
    assert "taken         book/2-1.xlsx  city_yearbook__population" in result.stdout
    assert "1 taken, 0 already there, 0 left out, 0 with no page recognised; next: dei run" in result.stdout
    ((name, manifest),) = manifests(empty).items()
    digest = hashlib.sha256(page.read_bytes()).hexdigest()
    assert name == "book/2-1.xlsx"
    assert (empty.lake.blobs() / digest / "content.xlsx").read_bytes() == page.read_bytes()
    assert manifest["sha256"] == digest
    assert manifest["size"] == page.stat().st_size
    assert manifest["source_id"] == "city_yearbook"
    assert manifest["producer"]
    assert manifest["synthetic"] is False
    assert manifest["year"] is manifest["year_from"] is None
    assert not list(empty.root.rglob("*.tmp"))


def test_what_the_sidecar_says_is_in_the_manifest_and_dates_the_page(empty: Home, tmp_path: Path):
    page = put(tmp_path / "given", "生产总值.csv", industry(2020))  # no year on the page, none in the name
    undated = empty.invoke("ingest", str(page))
    assert undated.exit_code == 0
    (empty.root / "raw").rename(tmp_path / "undated")
    Path(f"{page}.meta.yml").write_text(SIDECAR, encoding="utf-8")
    assert empty.invoke("ingest", str(tmp_path / "given")).exit_code == 0
    ((_, manifest),) = manifests(empty).items()
    assert (manifest["year"], manifest["year_from"], manifest["edition"]) == (2030, "sidecar", "2031")
    said = {name: manifest[name] for name in ("producer", "title", "licence", "url", "retrieved")}
    assert list(said.values()) == ["市统计局", "统计年鉴", "CC-BY-4.0", "https://example.org/3-5", "2026-01-02"]
    report = empty.run("staging/city_yearbook__industry")
    assert report.errors == []
    values = empty.read("staging/city_yearbook__industry")
    assert set(values["year"].to_list()) == {2030}
    assert set(values["edition"].to_list()) == {"2031"}
    origins = empty.read("staging/pages").filter(layout="city_yearbook__industry")["year_from"]
    assert set(origins.to_list()) == {"sidecar"}


def test_a_page_that_nobody_dates_is_quarantined_with_the_fix(empty: Home, tmp_path: Path):
    page = put(tmp_path, "生产总值.csv", industry(2020))
    assert empty.invoke("ingest", str(page)).exit_code == 0
    report = empty.run("staging/pages")
    assert report.errors == []
    rows = empty.read("staging/pages").filter(pl.col("file") == page.name)
    assert set(rows["reason"].to_list()) == {"the page does not say its year"}
    assert rows["fix"].str.contains("meta.yml").all()
    assert rows["n_values"].sum() == 0
    assert rows["n_quarantined"].sum() == 24


def test_the_years_in_a_files_name_is_said_to_be_from_there(finished: Home):
    rows = finished.read("staging/pages").filter(
        pl.col("file").str.ends_with(".csv") & (pl.col("layout") == "city_yearbook__industry")
    )
    assert set(rows["year_from"].to_list()) == {"filename"}
    assert set(rows["year"].to_list()) == {2020}


def test_an_unknown_field_of_a_sidecar_leaves_only_that_file_out(empty: Home, tmp_path: Path):
    folder = tmp_path / "given"
    page = put(folder, "a.xlsx", population(2020))
    put(folder, "b.xlsx", population(2019))
    Path(f"{page}.meta.yml").write_text("jahr: 2020\n", encoding="utf-8")
    result = empty.invoke("ingest", str(folder))
    assert result.exit_code == 0
    assert "LEFT OUT      a.xlsx" in result.stdout
    assert "field «jahr» is unknown; use source_id, producer" in result.stdout
    assert list(manifests(empty)) == ["b.xlsx"]


def test_the_edition_and_source_given_win_over_what_the_pages_say(empty: Home, tmp_path: Path):
    page = put(tmp_path, "2-1.xlsx", population(2020))
    assert empty.invoke("ingest", str(page), "--edition", "2025", "--source", "my_city").exit_code == 0
    ((_, manifest),) = manifests(empty).items()
    assert (manifest["source_id"], manifest["edition"]) == ("my_city", "2025")
    assert empty.run("core/observation_vintages").errors == []
    rows = empty.read("core/observation_vintages").filter(pl.col("source_id") == "my_city")
    assert rows.height >= 24
    assert set(rows["edition"].to_list()) == {"2025"}


def test_without_an_edition_the_year_after_the_data_is_meant(empty: Home, tmp_path: Path):
    page = put(tmp_path, "2-1.xlsx", population(2020))
    assert empty.invoke("ingest", str(page)).exit_code == 0
    assert empty.run("staging/city_yearbook__population").errors == []
    assert set(empty.read("staging/city_yearbook__population")["edition"].to_list()) == {"2021"}


def test_what_cannot_be_read_is_left_out_with_a_reason_and_the_rest_goes_on(empty: Home, tmp_path: Path):
    folder = tmp_path / "given"
    for name, (file, content) in build.junk().items():
        put(folder, f"{name}/{file}", content)
    put(folder, "bomb.xlsx", build.zip_bomb())
    put(folder, "good.xlsx", population(2020))
    result = empty.invoke("ingest", str(folder))
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith("taken") and "good.xlsx  city_yearbook__population" in line for line in lines)
    left = [line for line in lines if line.startswith("LEFT OUT")]
    assert any("bomb.xlsx" in line for line in left)
    assert len(left) >= 5
    assert all("  — " in line and line.partition("  — ")[2] for line in left)
    assert f"{len(left)} left out" in lines[-1]
    for name in (line.split()[2] for line in left):
        assert name not in manifests(empty)


def test_a_page_of_no_known_layout_is_taken_and_says_what_is_missing(empty: Home, tmp_path: Path):
    rows = [["1-1 宇宙射线(2020年)"], ["时刻", "强度"], ["一", 1.5], ["二", 2.5]]
    page = put(tmp_path, "1-1.xlsx", build.page_bytes(rows))
    result = empty.invoke("ingest", str(page))
    assert result.exit_code == 0
    assert "no page recognised  — " in result.stdout
    assert "1 with no page recognised" in result.stdout
    assert empty.run("staging/page_cells").errors == []
    aside = empty.aside("staging/page_cells")
    assert sorted(aside["raw_text"].to_list()) == sorted(str(v) for row in rows for v in row)
    assert (aside["reason"] != "").all()
    assert aside["fix"].str.contains("reference/layouts").all()
    assert set(aside["file"].to_list()) == {"1-1.xlsx"}


def test_the_same_content_is_known_whatever_its_name(empty: Home, tmp_path: Path):
    first, second = put(tmp_path, "a.xlsx", population(2020)), put(tmp_path, "b.xlsx", population(2020))
    assert empty.invoke("ingest", str(first)).exit_code == 0
    before = {p: p.stat().st_mtime_ns for p in empty.lake.blobs().rglob("*")}
    result = empty.invoke("ingest", str(second), str(first))
    assert "0 taken, 2 already there" in result.stdout
    assert {p: p.stat().st_mtime_ns for p in empty.lake.blobs().rglob("*")} == before
    assert list(manifests(empty)) == ["a.xlsx"]


def test_a_path_that_is_not_there_is_one_line(empty: Home):
    result = empty.invoke("ingest", "no/such/folder")
    assert result.exit_code == 1
    assert result.stderr == "dei: no/such/folder: no such file or folder; check the path\n"


def test_every_lake_registers_the_published_tables(empty: Home):
    assert empty.run("raw/manifests").errors == []
    files = empty.read("raw/manifests")
    shipped = {f"published/{p.name}" for p in (empty.reference / "published").glob("*.csv")}
    assert set(files["file"].to_list()) == shipped
    assert set(files["source_id"].to_list()) == {PUBLISHED}
    assert not files["synthetic"].any()
    assert empty.run("raw/manifests").reasons == {}


def test_a_lake_with_nothing_but_the_published_tables_runs(empty: Home):
    result = empty.dei("run")
    assert (result.returncode, result.stderr) == (0, "")
    assert "DEI: no ranking" in result.stdout
    assert empty.read("release/tier_summary").height == 5


def test_the_list_and_the_withdrawal_name_the_file(empty: Home, tmp_path: Path):
    page = put(tmp_path, "2-1.xlsx", population(2020))
    assert empty.invoke("ingest", str(page)).exit_code == 0
    digest = hashlib.sha256(page.read_bytes()).hexdigest()
    listed = empty.invoke("sources", "list")
    assert f"{digest[:12]}  city_yearbook" in listed.stdout
    assert empty.invoke("sources", "withdraw", "2-1.xlsx").stdout.startswith(f"withdrawn: 2-1.xlsx ({digest[:12]})")
    assert not list(empty.lake.blobs().iterdir())
    again = empty.invoke("sources", "withdraw", "2-1.xlsx")
    assert again.exit_code == 1
    assert "dei sources list" in again.stderr


@pytest.mark.parametrize("made_before", [False, True], ids=["not read yet", "read before"])
def test_a_manifest_whose_file_is_gone_turns_the_run_red(received: Home, finished: Home, tmp_path: Path, made_before):
    home = (finished if made_before else received).copy(tmp_path / "lake")
    before = home.stamps()
    name, manifest = next((n, m) for n, m in manifests(home).items() if m["source_id"] == "city_yearbook")
    (content,) = (home.lake.blobs() / manifest["sha256"]).glob("content*")
    content.unlink()
    result = home.invoke("run")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert name in line
    assert manifest["sha256"][:12] in line
    assert "dei sources withdraw" in line
    after = home.stamps()
    assert {table: after[table] for table in before} == before
    assert not [table for table in after.keys() - before.keys() if table.startswith(("raw/", "staging/"))]
    assert home.invoke("sources", "withdraw", manifest["sha256"][:12]).exit_code == 0
    assert home.run("raw/cells").errors == []


def test_a_page_that_was_filled_in_is_a_source(empty: Home, tmp_path: Path):
    rows = [
        ["地区×指标表 (2020年)"],
        ["单位: 亿元"],
        ["地区", "地区生产总值"],
        ["上海市", 38963.3],
        ["北京市", 35943.3],
    ]
    page = put(tmp_path, "filled.xlsx", build.page_bytes(rows))
    taken = empty.invoke("ingest", str(page))
    assert "0 with no page recognised" in taken.stdout
    shown = empty.invoke("layout", str(page))
    assert shown.exit_code == 0
    assert "layout: " in shown.stdout
    assert empty.run("core/observations").errors == []
    found = empty.read("core/observations").filter(pl.col("variable") == "gdp").sort("region_code")
    assert found["value"].to_list() == [35943.3, 38963.3]
    assert found["source_cell"].str.ends_with("/Sheet1!B5").to_list() == [True, False]


def test_the_demo_is_made_of_these_pages():
    page = pages.population(demo(), 2020, pages.planted(demo()))
    assert formats.xlsx({"2-1": page}) == population(2020)
    assert row_of([list(row) for row in page.rows], "上海市") == 8
