"""What cannot be used is set aside with reason, fix and place; once the file the fix names is edited, it is used."""

import csv
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.pipeline.homes import (
    INDUSTRY_2020,
    POPULATION_2020,
    Home,
    industry,
    made,
    population,
    replace_source,
    row_of,
)

PAGE, VINTAGES = "staging/city_yearbook__industry", "core/observation_vintages"
TIANJIN = "120000"


def append(path: Path, *row: str) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def correct(reference: Path, *entries: dict) -> None:
    path = reference / "corrections.yml"
    path.write_text(yaml.safe_dump(list(entries), allow_unicode=True), encoding="utf-8")


def entry(sha256: str, cell: str, expect: str, change: dict) -> dict:
    about = {"reason": "a test says so", "date": "2026-11-23"}
    return {"sha256": sha256, "sheet": "csv", "cell": cell, "expect": expect, "set": change, **about}


def from_file(home: Home, sha256: str) -> pl.DataFrame:
    mine = home.read(VINTAGES).filter(pl.col("source_cell").str.starts_with(sha256[:12]))
    return mine.sort("region_code", "variable")


def test_a_text_and_an_unknown_city_wait_in_quarantine_until_they_are_explained(edited_home: Home, tmp_path: Path):
    home = edited_home
    whole = home.read(VINTAGES)

    def edit(rows):
        rows[row_of(rows, "天津市")][0] = "某某市 "
        rows[row_of(rows, "上海市")][1] = "数据暂缺"

    sha256 = replace_source(home, tmp_path / "new", INDUSTRY_2020, industry(2020, edit), "2021")
    report = home.run(VINTAGES)
    assert report.errors == []

    # counted: what the page holds is in the table or in quarantine, and the run says how many
    aside = home.aside(PAGE)
    assert report.outcomes[PAGE] == "46 rows, 2 quarantined"
    assert home.lake.state(PAGE)["parts"][""]["quarantined"] == aside.height == 2
    (text,) = aside.filter(pl.col("year") == 2020).to_dicts()
    assert text["reason"] == "not a number"
    assert "reference/layouts/_common.yaml" in text["fix"]
    assert "dei layout" in text["fix"]
    assert (text["file"], text["sheet"], text["cell"]) == (INDUSTRY_2020, "csv", "B7")
    assert text["source_cell"] == f"{sha256[:12]}/csv!B7"
    assert text["raw_text"] == "数据暂缺"
    assert (text["region_label"], text["variable"]) == ("上海市", "gdp")

    unknown = home.aside(VINTAGES).filter(pl.col("file") == INDUSTRY_2020).sort("cell").to_dicts()
    assert [(row["sheet"], row["cell"], row["raw_text"]) for row in unknown] == [
        ("csv", "B6", "170,683,500"),
        ("csv", "C6", "32,189,100"),
    ]
    assert all(row["reason"].startswith("«某某市» is no region known") for row in unknown)
    assert all("reference/region_aliases.csv" in row["fix"] for row in unknown)
    assert f"{whole.height - 3} rows" in report.outcomes[VINTAGES]

    # an alias: the next run takes up just those rows
    append(home.reference / "region_aliases.csv", "某某市", TIANJIN, "", "", "a test says so")
    before = home.stamps()
    named = home.run(VINTAGES)
    assert named.errors == []
    assert named.reasons[VINTAGES] == "region_aliases.csv changed"
    assert VINTAGES in made(named)
    changed = {name for name, stamp in home.stamps().items() if stamp != before[name]}
    assert changed == {
        f"{VINTAGES}/part-0.parquet",
        *(f"{s}/{VINTAGES}/part-0.parquet" for s in ("lineage", "quarantine")),
    }
    rows = from_file(home, sha256)
    assert rows.filter(region_code=TIANJIN)["value"].to_list() == pytest.approx([17068.35, 3218.91])
    assert not home.aside(VINTAGES).filter(pl.col("file") == INDUSTRY_2020).height

    # a correction: the cell comes back with a status of its own; its lineage still leads to the cell
    correct(home.reference, entry(sha256, "B7", "数据暂缺", {"value": 474_089_700}))
    mended = home.run(VINTAGES)
    assert mended.errors == []
    shanghai = from_file(home, sha256).filter(region_code="310000", variable="gdp").to_dicts()
    assert [(row["value"], row["status"], row["source_cell"]) for row in shanghai] == [
        (pytest.approx(47408.97), "corrected", f"{sha256[:12]}/csv!B7")
    ]
    assert from_file(home, sha256)["status"].to_list().count("corrected") == 1
    assert home.lake.state(VINTAGES)["parts"][""]["notes"]["corrected"] == 1
    assert home.read(VINTAGES).height == whole.height

    # the source says something else than the correction expects: red, the entry named, nothing written
    good = home.stamps(VINTAGES)
    correct(home.reference, entry(sha256, "B7", "474,089,700", {"value": 1.0}))
    red = home.invoke("run")
    assert red.exit_code == 1
    (line,) = red.stderr.splitlines()
    assert f"corrections.yml expects «474,089,700» at {sha256[:12]}/csv!B7, the source says «数据暂缺»" in line
    assert "remove it from reference/corrections.yml" in line
    assert home.stamps(VINTAGES) == good

    # a year: the whole sheet is of another one
    correct(home.reference, entry(sha256, "B6", "170,683,500", {"year": 2017}))
    moved = home.run(VINTAGES)
    assert moved.errors == []
    rows = from_file(home, sha256)
    assert set(rows["year"].to_list()) == {2017}
    assert set(rows["status"].to_list()) == {"corrected"}


def test_a_correction_of_a_file_that_the_lake_lacks_does_nothing(edited_home: Home):
    before = edited_home.stamps()
    correct(edited_home.reference, entry("0" * 64, "B7", "1", {"value": 2.0}))
    report = edited_home.run(VINTAGES)
    assert report.reasons == {VINTAGES: "corrections.yml changed"}
    assert report.errors == []
    assert edited_home.stamps() == before


def test_a_correction_without_reason_is_an_error_that_names_the_entry(edited_home: Home):
    broken = entry("0" * 64, "B7", "1", {"value": 2.0}) | {"reason": ""}
    correct(edited_home.reference, broken)
    result = edited_home.invoke("run")
    assert result.exit_code == 1
    assert "corrections.yml, entry 1: " in result.stderr
    assert "reason" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_too_many_unknown_cities_turn_the_run_red_at_the_first(edited_home: Home, tmp_path: Path):
    home, good = edited_home, edited_home.stamps(VINTAGES, "core/observations", "release/dei_ranking")

    def edit(rows):
        for number, name in enumerate(("天津市", "上海市", "南京市")):
            rows[row_of(rows, name)][0] = f"某{'甲乙丙'[number]}市"

    replace_source(home, tmp_path / "new", INDUSTRY_2020, industry(2020, edit), "2021")
    red = home.invoke("run")
    assert red.exit_code == 1
    (line,) = red.stderr.splitlines()
    share = re.search(r"regions found for (\d+\.\d)% of the values, the floor is 95%", line)
    assert share, line
    assert float(share[1]) < 95
    assert f"first failure in {INDUSTRY_2020}, sheet csv, cell " in line
    assert re.search(r"cell [BC]6: «某甲市» is no region known", line), line
    assert "reference/region_aliases.csv" in line
    assert home.stamps(VINTAGES, "core/observations", "release/dei_ranking") == good


def test_too_many_texts_turn_the_run_red_at_the_first(edited_home: Home, tmp_path: Path):
    home = edited_home
    table = "staging/city_yearbook__population"
    good = home.stamps(table, VINTAGES)

    def edit(rows):
        for name in ("上海市", "南京市", "无锡市", "苏州市"):
            rows[row_of(rows, name)][1] = "数据暂缺"

    replace_source(home, tmp_path / "new", POPULATION_2020, population(2020, edit), "2021")
    red = home.invoke("run")
    assert red.exit_code == 1
    (line,) = red.stderr.splitlines()
    assert line.startswith(f"dei: {table}: 93.9% of 66 value cells can be used, the floor is 95%")
    assert f"first failure in {POPULATION_2020}, sheet 2-1, cell B9: not a number" in line, line
    assert home.stamps(table, VINTAGES) == good


def test_an_unknown_unit_and_an_unknown_column_are_taken_up_after_an_edit(edited_home: Home, tmp_path: Path):
    home = edited_home
    layouts = home.reference / "layouts"
    meta = layouts / "city_yearbook__industry.yaml"
    meta.write_text(meta.read_text("utf-8").replace("value: 0.95", "value: 0.2"), encoding="utf-8")

    def edit(rows):
        for row in rows:
            if row[0] is None:
                row[2] = "单位: 万贯"
            if len(row) > 2 and "信息产业" in str(row[2]):
                row[2] = "资讯业增加值"

    sha256 = replace_source(home, tmp_path / "new", INDUSTRY_2020, industry(2020, edit), "2021")
    report = home.run(VINTAGES)
    assert report.errors == []
    assert not from_file(home, sha256).height
    held = pl.concat([home.aside(PAGE), home.aside(VINTAGES), home.aside("staging/page_cells")], how="diagonal_relaxed")
    held = held.filter(pl.col("source_cell").str.starts_with(sha256[:12]) & pl.col("region_label").is_not_null())
    columns = held.filter(pl.col("cell").str.starts_with("C")).unique("source_cell")
    amounts = held.filter(pl.col("cell").str.starts_with("B")).unique("source_cell")
    assert (columns.height, amounts.height) == (12, 12)
    assert columns["fix"].str.contains("reference/layouts").all(), columns["fix"][0]
    assert columns["reason"].str.contains("资讯业").all(), columns["reason"][0]
    assert amounts["fix"].str.contains("reference/units.csv").all(), amounts["fix"][0]
    assert amounts["reason"].str.contains("万贯").all(), amounts["reason"][0]

    append(home.reference / "units.csv", "万贯", "100m_cny", "0.0001", "a test says so")
    columns_file = layouts / "city_yearbook__industry.csv"
    text = columns_file.read_text("utf-8")
    columns_file.write_text(text.replace("|电子信息产业增加值", "|电子信息产业增加值|资讯业增加值"), encoding="utf-8")
    named = home.run(VINTAGES)
    assert named.errors == []
    rows = from_file(home, sha256)
    assert rows.height == 24
    beijing = rows.filter(region_code="110000")
    assert beijing["variable"].to_list() == ["gdp", "main_industries_value_added"]
    assert beijing["value"].to_list() == pytest.approx([41774.91, 8132.05])
    assert set(rows["unit"].to_list()) == {"100m_cny"}
