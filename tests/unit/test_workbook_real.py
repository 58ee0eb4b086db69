"""The yearbook reader on the real files: every cell accounted for, and every hand-made tidy number found or explained."""

# ruff: noqa: E501 (printed rows stay on one line)

import hashlib
from functools import lru_cache
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.layouts import default_layouts
from dei_pipeline.sources.workbook import Reading, read_file, staging_values
from tests.unit.tidy import CLASSES, VARIABLES, classify, counts, load_tidy

FOLDERS = {
    "yearbook-sci-tech/raw": 19,
    "yearbook-national-finance/raw": 4,
    "nbs-rd-bulletin/01-html": 2,
    "nbs-rd-bulletin/02-xls": 5,
    "city-raw-multisource-298": 3,
}
PROVINCES = 31


@lru_cache(maxsize=64)
def reading_of(path: Path) -> tuple[pl.DataFrame, Reading]:
    content = path.read_bytes()
    cells = with_address(decode(content, path.name).cells, hashlib.sha256(content).hexdigest())
    return cells, read_file(cells, {"sha256": cells["sha256"][0], "file": path.name}, default_layouts())


def files_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in {".xls", ".xlsx", ".html"} and "tidy" not in p.parts)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_non_empty_cell_is_accounted_for(real_data, folder):
    files = files_in(real_data / folder)
    assert len(files) >= FOLDERS[folder]
    for path in files:
        cells, reading = reading_of(path)
        assert reading.page_cells["source_cell"].to_list() == cells["source_cell"].to_list(), path
        assert int(reading.pages["n_cells"].sum()) == cells.height
        parts = reading.pages.select(pl.col("n_values") + pl.col("n_layout") + pl.col("n_quarantined")).to_series()
        assert parts.to_list() == reading.pages["n_cells"].to_list(), path
        bad = reading.page_cells.filter(pl.col("role") == "quarantined")
        assert bad.filter(pl.col("reason").is_null() | pl.col("fix").is_null()).is_empty()
        tables = reading.page_cells["layout"].drop_nulls().unique().to_list()
        staged = [staging_values(reading.page_cells, reading.pages, t) for t in tables]
        assert sum(t.frame.height for t in staged) == int(reading.pages["n_values"].sum())
        unexplained = reading.page_cells.filter(pl.col("layout").is_null() & (pl.col("role") == "quarantined")).height
        assert sum(t.quarantine.height for t in staged) + unexplained == bad.height


@pytest.mark.parametrize("folder", FOLDERS)
def test_known_pages_are_fully_read(real_data, folder):
    """No page of the shipped layouts falls below its layout's floor; only the bulletin's other tables have no layout."""
    floors = {layout.table: layout.coverage_floor for layout in default_layouts()}
    for path in files_in(real_data / folder):
        pages = reading_of(path)[1].pages
        known = pages.filter(pl.col("layout").is_not_null())
        assert known.height >= 1, path
        for page in known.iter_rows(named=True):
            assert page["n_values"] >= floors[page["layout"]] * (page["n_values"] + page["n_quarantined"]), (path, page)
            assert page["edition"]
        if path.suffix != ".html":
            assert pages["n_quarantined"].sum() == 0, path


def test_bulletin_tables_without_a_layout_say_so(real_data):
    pages = pl.concat([reading_of(p)[1].pages for p in files_in(real_data / "nbs-rd-bulletin/01-html")])
    other = pages.filter(pl.col("n_quarantined") > 0)
    assert other.height == 3
    assert other["reason"].str.starts_with("no layout explains this page").all()


# -- hand-made tidy tables ---------------------------------------------------------------------------------------------
def counterpart(path: Path, year: int) -> Path | None:
    """The tidy file a raw file was turned into, if the folder holds it."""
    parts = path.parts
    folder = (
        path.parents[1] / "tidy"
        if "nbs-rd-bulletin" in parts
        else Path(*[("tidy" if x == "raw" else x) for x in parts[:-1]])
    )
    tidy = folder / f"{year}.xlsx"
    return tidy if tidy.is_file() else None


def bulletins(real_data: Path) -> dict[tuple[str, int, str], float]:
    """What the bulletins' HTML pages say: (region, year, variable) -> number."""
    out: dict[tuple[str, int, str], float] = {}
    for path in files_in(real_data / "nbs-rd-bulletin/01-html"):
        rows = reading_of(path)[1].page_cells.filter(pl.col("role") == "value")
        out |= {(r["region_label"], r["year"], r["variable"]): r["number"] for r in rows.iter_rows(named=True)}
    return out


def comparison(real_data: Path) -> dict[str, pl.DataFrame]:
    """Every raw file with a tidy counterpart, each tidy cell classed."""
    printed = bulletins(real_data)

    def evidence(row: dict[str, object]) -> str | None:
        said = printed.get((str(row["region_label"]), int(str(row["year"])), str(row["variable"])))
        if said is None or row["page"] is None:
            return None
        if said == row["tidy"]:
            return f"page: the bulletin of {row['year']} (HTML) prints {said}, the page {row['page']}"
        return f"tidy: the bulletin of {row['year']} (HTML) prints {said}" if said == row["page"] else None

    out = {}
    for folder in (
        "yearbook-sci-tech/raw",
        "yearbook-national-finance/raw",
        "nbs-rd-bulletin/01-html",
        "nbs-rd-bulletin/02-xls",
    ):
        for path in files_in(real_data / folder):
            reading = reading_of(path)[1]
            year = int("".join(c for c in path.stem if c.isdigit()))
            table = reading.pages["layout"].drop_nulls()[0]
            tidy = counterpart(path, year)
            if tidy is not None and table in VARIABLES:
                out[str(path.relative_to(real_data))] = classify(load_tidy(tidy, table), reading.page_cells, evidence)
    return out


def test_every_tidy_number_is_on_its_page_or_explained(real_data):
    results = comparison(real_data)
    table = counts(results)
    assert table.height >= 29
    assert int(table["unexplained"].sum()) == 0, table
    assert int(table["cells"].sum()) == sum(int(table[c].sum()) for c in CLASSES)
    missing = pl.concat(results.values()).filter(pl.col("class") == "not on the page")
    assert set(missing["variable"]) == {"rd_expenditure"}  # the intensity page has no expenditure column
    contradicted = {name: f.filter(pl.col("class").str.ends_with("contradicted")) for name, f in results.items()}
    by_file = {name: f.height for name, f in contradicted.items() if f.height}
    assert set(by_file) == {
        "nbs-rd-bulletin/02-xls/raw-2018.xlsx",
        "yearbook-sci-tech/raw/part01-over/02-spend-intense/raw-2018.xls",
        "yearbook-sci-tech/raw/part01-over/02-spend-intense/raw-2019.xls",
    }


def test_bulletin_workbook_of_2018_holds_the_numbers_of_2019(real_data):
    folder = real_data / "nbs-rd-bulletin/02-xls"
    a, b = (reading_of(folder / f"raw-{y}.xlsx")[1].page_cells for y in (2018, 2019))
    assert a["text"].to_list() == b["text"].to_list()
    html = bulletins(real_data)
    values = a.filter(pl.col("role") == "value")
    said = [html[(r["region_label"], 2019, r["variable"])] for r in values.iter_rows(named=True)]
    assert said == values["number"].to_list()


# -- what single pages must give ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("file", "key", "value", "unit"),
    [
        ("yearbook-sci-tech/raw/part01-over/01-labor-hour/raw-2010.xls", ("全国", 2010, "rd_personnel_fte"), 2553828.8, "人年"),
        ("yearbook-sci-tech/raw/part05-industry/01-operation/raw-2020.xls", ("陕西", 2020, "high_tech_revenue"), 3429.74447, "亿元"),
        ("yearbook-sci-tech/raw/part01-over/02-spend-intense/raw-2018.xls", ("北京", 2011, "rd_intensity"), 5.76, "%"),
        ("yearbook-national-finance/raw/part07-finance/01-public-income/raw-2019.xls", ("新疆", 2019, "tax_other"), 1.06, "亿元"),
        ("yearbook-national-finance/raw/part07-finance/02-public-budget/raw-2019.xls", ("新疆", 2019, "expenditure_other"), 78.01, "亿元"),
        ("yearbook-national-finance/raw/part07-finance/02-public-budget/raw-2021.xlsx", ("新疆", 2021, "expenditure_grain"), 9.4173, "亿元"),
        ("nbs-rd-bulletin/01-html/2018.html", ("全国", 2018, "rd_intensity"), 2.19, "%"),
        ("capital-stock-china-provinces/src/2022RPI.xlsx", ("新疆", 2022, "retail_price_index"), 102.8, "上年=100"),
        ("capital-stock-china-provinces/src/RPI.xlsx", ("新疆维吾尔自治区", 2018, "retail_price_index"), 100.9, "上年=100"),
        ("capital-stock-china-provinces/src/西藏全社会固定资产投资.xlsx", ("西藏自治区", 2017, "fixed_investment"), 1975.6, "亿元"),
        ("capital-stock-china-provinces/src/固定资产投资价格指数2018.xlsx", ("河北", 2019, "fixed_investment_price_index"), None, ""),
        ("capital-stock-china-provinces/src/固定资产折旧.xlsx", ("北京", 1978, "fixed_assets_depreciation"), 11.5, "亿元"),
        ("capital-stock-china-provinces/src/各地区固定资本生产总额及指数.xlsx", ("新疆", 1995, "gfcf_index_1952_100"), 6584.3, "%"),
        ("capital-stock-china-provinces/src/基本建设投资江西广东.xlsx", ("江西", 1952, "capital_construction_investment"), 0.58, "亿元"),
    ],
)  # fmt: skip
def test_single_values(real_data, file, key, value, unit):
    rows = reading_of(real_data / file)[1].page_cells.filter(pl.col("role") == "value")
    got = {(r["region_label"], r["year"], r["variable"]): (r["number"], r["unit"]) for r in rows.iter_rows(named=True)}
    assert len(got) == rows.height
    if value is None:
        assert all(k[2] == key[2] for k in got)
    else:
        assert got[key] == (value, unit)


def test_every_province_once_and_subtotals_flagged(real_data):
    path = real_data / "yearbook-sci-tech/raw/part01-over/01-labor-hour/raw-2023.xls"
    rows = reading_of(path)[1].page_cells.filter(
        (pl.col("role") == "value") & (pl.col("variable") == "rd_personnel_fte")
    )
    assert set(rows.filter("subtotal")["region_label"]) == {"东部地区", "中部地区", "西部地区", "东北地区"}
    plain = rows.filter(~pl.col("subtotal"))
    assert plain["region_label"].n_unique() == plain.height == PROVINCES + 1
    national = plain.filter(pl.col("region_label") == "全国")["number"][0]
    provinces = plain.filter(pl.col("region_label") != "全国")["number"].sum()
    assert national == pytest.approx(provinces, abs=PROVINCES)


def test_city_workbooks(real_data):
    """Real GDP of a year is that of the year before times the index, in the values as staged."""
    path = next((real_data / "city-raw-multisource-298").glob("296*.xlsx"))
    cells, reading = reading_of(path)
    rows = reading.page_cells.filter((pl.col("role") == "value") & (pl.col("sheet") == "Sheet1"))
    assert rows.height == 28352
    wide = rows.pivot(on="variable", index=["region_label", "year", "province_hint"], values="number").sort(
        "region_label", "year"
    )
    before = pl.col("gdp_real_2000").shift(1).over("region_label", "province_hint")
    step = wide.select(
        (pl.col("gdp_real_2000") / (before * pl.col("gdp_index") / 100) - 1).abs().alias("e")
    ).drop_nulls()
    assert step.height == 6808
    assert step["e"].median() < 1e-6
    adverts = reading.page_cells.filter(pl.col("role") == "advert")
    assert adverts.height == cells.filter(pl.col("text").str.contains("淘宝")).height


def test_numbers_as_text_in_the_industry_workbook(real_data):
    path = next((real_data / "city-raw-multisource-298").glob("2000-2023*.xlsx"))
    cells, reading = reading_of(path)
    stored = cells.filter((pl.col("kind") == "text") & pl.col("text").str.contains(r"^\d+\.?\d*$"))
    got = reading.page_cells.filter(pl.col("source_cell").is_in(stored["source_cell"].implode()))
    assert got.height == stored.height > 700
    assert set(got["role"]) == {"value"}
