"""Registers from the template to the count of companies in a city; what is off is set aside; the demo's 10,499."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from dei_pipeline.assets import all_tables
from dei_pipeline.checks.lineage import dangling
from dei_pipeline.explain import explain
from dei_pipeline.explain_companies import chain_lines, company_chains
from dei_pipeline.lake import Lake
from dei_pipeline.render import as_text
from dei_pipeline.settings import Settings
from dei_pipeline.sources.decode import decode
from dei_pipeline.sql_models import select
from tests.forms import filled
from tests.lakes import demo_lake
from tests.pipeline.explained import explained, text_in_file
from tests.pipeline.homes import Home, put

CODE, OTHER = "91110000802100433B", "914403001922038216"
CORE = ("staging/page_cells", "core/companies", "core/holdings", "core/controlled_companies", "core/ownership_cycles")
COMPANIES = (
    (CODE, "根股份有限公司", None, "北京市", None, None, "数字产业化 digital_industrialisation"),
    (OTHER, "甲有限公司", "甲", "深圳市", None, "软件", None),
    (None, "乙有限公司", None, "上海市", None, None, None),
    (None, "C LTD", None, None, "开曼群岛", None, None),
)
HOLDINGS = (
    ("根股份有限公司", CODE, "甲有限公司", OTHER, 60.0, None),
    ("甲", None, "乙有限公司", None, "55%", None),
    ("乙有限责任公司", None, "C Limited", None, 100, None),
    ("C LTD", None, "甲有限公司", None, 5, None),
    ("甲", None, "未登记有限公司", None, 75, None),
    ("张三", None, "乙有限公司", None, "大部分", None),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty lake."""
    return Home(tmp_path / "lake")


def form(home: Home, folder: Path, kind: str, rows: tuple[tuple[object, ...], ...]) -> bytes:
    """A template with its rows filled in."""
    path = folder / f"{kind}.xlsx"
    result = home.invoke("template", kind, "--index", "deci", "--year", "2020", "--out", str(path))
    assert result.exit_code == 0, result.output
    cells = {
        (0, f"{letter}{at}"): value
        for at, row in enumerate(rows, start=3)
        for letter, value in zip("ABCDEFG", row, strict=False)
        if value is not None
    }
    return filled(path, cells)


def test_forms_become_controlled_companies(home: Home, tmp_path: Path):
    given = tmp_path / "given"
    put(given, "companies.xlsx", form(home, tmp_path, "companies", COMPANIES))
    put(given, "holdings.xlsx", form(home, tmp_path, "holdings", HOLDINGS))
    listed = home.invoke("ingest", str(given))
    assert "companies.xlsx  companies" in listed.stdout
    assert "holdings.xlsx  holdings" in listed.stdout
    report = home.run(*CORE)
    assert report.errors == []

    # every cell has a role; what cannot be read is set aside with place and fix
    forms = pl.col("sheet") != "csv"
    assert home.read("staging/page_cells").filter(forms).height == home.read("raw/cells").filter(forms).height
    (aside,) = home.aside("staging/page_cells").to_dicts()
    assert (aside["reason"], aside["cell"], aside["raw_text"]) == ("the share is no number", "E8", "大部分")

    located = dict(home.read("core/companies").select("name", "location").iter_rows())
    assert located == {"根股份有限公司": "city", "甲有限公司": "city", "乙有限公司": "city", "C LTD": "overseas"}
    found = home.read("core/controlled_companies").sort("step", "company_id")
    assert found.select("root_id", "company_id", "step").rows() == [
        (CODE, OTHER, 1), (CODE, "name:乙 有限公司", 2), (CODE, "name:未登记 有限公司", 2), (CODE, "name:C LTD", 3),
    ]  # fmt: skip
    loop = 1 - 0.55 * 1.0 * 0.05  # 甲 → 乙 → C → 甲
    shares = [0.6 / loop, 0.6 * 0.55 / loop, 0.6 * 0.75 / loop, 0.6 * 0.55 / loop]
    assert found["effective_share"].to_list() == pytest.approx(shares, rel=1e-12)
    assert home.read("core/ownership_cycles")["members"].to_list() == [3, 3, 3]
    specs = [spec for key, spec in home.specs().items() if home.lake.exists(key)]
    assert dangling(home.lake, specs) == []


def test_a_year_that_only_registers_have_is_counted(home: Home, tmp_path: Path):
    given = tmp_path / "given"
    put(given, "companies.xlsx", form(home, tmp_path, "companies", COMPANIES))
    put(given, "holdings.xlsx", form(home, tmp_path, "holdings", HOLDINGS))
    assert home.invoke("ingest", str(given)).exit_code == 0
    report = home.run()
    assert report.errors == []
    assert report.years == [2020]
    counts = home.read("mart/company_presence").filter(pl.col("companies") > 0)
    assert counts.select("region_code", "year", "companies").rows() == [("310000", 2020, 1), ("440300", 2020, 1)]
    assert home.read("mart/company_totals").select("companies", "overseas", "unlocated").rows() == [(4, 1, 1)]
    wrong = home.invoke("run", "--years", "2019")
    assert wrong.exit_code != 0
    assert "no data of 2019 in the lake" in wrong.output


def test_an_empty_form_is_no_source(home: Home, tmp_path: Path):
    given = tmp_path / "given"
    put(given, "holdings.xlsx", form(home, tmp_path, "holdings", ()))
    assert home.invoke("ingest", str(given)).exit_code == 0
    report = home.run(*CORE)
    assert report.errors == []
    assert "no cell can be used" in report.outcomes["staging/holding_records"]


SUMMED = (
    ("根股份有限公司", CODE, "乙有限公司", None, 30.0, None),
    ("根股份有限公司", None, "乙有限公司", None, "25%", None),
)


def test_a_share_that_is_a_sum_is_shown_with_all_its_cells_and_city_and_mark_with_theirs(home: Home, tmp_path: Path):
    given = tmp_path / "given"
    put(given, "companies.xlsx", form(home, tmp_path, "companies", COMPANIES))
    put(given, "holdings.xlsx", form(home, tmp_path, "holdings", SUMMED))
    assert home.invoke("ingest", str(given)).exit_code == 0
    assert home.run(*CORE, "mart/located_companies").errors == []
    told = company_chains(home.lake, "310000", 2020)
    (chain,) = told["chains"]
    (link,) = chain["holdings"]
    assert link["share"] == pytest.approx(0.55)
    assert [(source["cell"], source["raw_text"]) for source in link["sources"]] == [("E3", "30"), ("E4", "25%")]
    assert (chain["city_source"]["cell"], chain["city_source"]["raw_text"]) == ("D5", "上海市")
    assert (chain["root_source"]["cell"], chain["root_source"]["raw_text"]) == ("G3", COMPANIES[0][6])
    assert any("55.00 %" in line and "E3 «30»" in line and "E4 «25%»" in line for line in chain_lines(told))


def test_every_cell_of_a_register_that_decides_a_holding_leads_to_it(home: Home, tmp_path: Path):
    """Names and codes of both ends, the codes of the register, and the mark of the root."""
    given = tmp_path / "given"
    put(given, "companies.xlsx", form(home, tmp_path, "companies", COMPANIES))
    put(given, "holdings.xlsx", form(home, tmp_path, "holdings", HOLDINGS))
    assert home.invoke("ingest", str(given)).exit_code == 0
    assert home.run(*CORE, "mart/located_companies").errors == []
    tables = ("staging/company_records", "staging/holding_records", "core/companies", "core/holdings",
              "core/controlled_companies", "mart/located_companies")  # fmt: skip
    files = dict(home.read("raw/manifests").select("file", pl.col("sha256").str.slice(0, 12)).iter_rows())
    edges = pl.concat([home.read(table, "lineage").with_columns(child_table=pl.lit(table)) for table in tables])

    def fed(file: str, cell: str) -> set[str]:
        at = edges.filter(parent_table="raw/cells").filter(
            pl.col("parent_key").str.starts_with(files[file]) & pl.col("parent_key").str.ends_with(f"!{cell}")
        )
        found = set(at.select("child_table", "child_key").iter_rows())
        new = found
        while new:
            below = edges.filter(pl.struct("parent_table", "parent_key").is_in(
                [{"parent_table": table, "parent_key": key} for table, key in new]))  # fmt: skip
            new = set(below.select("child_table", "child_key").iter_rows()) - found
            found = found | new
        return {key for table, key in found if table == "mart/located_companies"}

    def ids(*names: str) -> set[str]:
        return {f"{name}|2020" for name in names}

    group = ids(OTHER, "name:乙 有限公司", "name:未登记 有限公司", "name:C LTD")
    assert fed("companies.xlsx", "G3") == {*group, f"{CODE}|2020"}  # the mark
    assert fed("companies.xlsx", "B3") >= group  # the code of the root in its register
    assert fed("companies.xlsx", "C4") >= group - ids(OTHER)  # the other name by which 甲 holds
    for cell in ("A3", "B3", "C3", "D3", "E3"):
        assert fed("holdings.xlsx", cell) >= group


# -- the demo ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def lake() -> Lake:
    return Lake(demo_lake().lake)


def test_the_subsidiaries_of_the_demo_add_up_to_the_figure_of_the_report(lake: Lake):
    (totals,) = lake.read("mart/company_totals").filter(year=2020).to_dicts()
    assert totals["companies"] == 10_499
    assert totals["in_cities"] + totals["overseas"] + totals["unlocated"] == 10_499
    assert (totals["overseas"], totals["unlocated"], totals["roots"]) == (612, 287, 100)
    presence = lake.read("mart/company_presence").filter(year=2020)
    assert presence["companies"].sum() == totals["in_cities"]
    assert presence["companies_with_roots"].sum() == totals["in_cities"] + 100
    groups = lake.read("mart/root_groups").filter(year=2020)
    assert groups.height == 100
    assert dict(groups.group_by("kind").len().iter_rows()) == {
        "digital_industrialisation": 40,
        "industry_digitalisation": 60,
    }
    assert groups["companies"].sum() > 10_499  # three roots control others


def test_the_company_leaf_of_the_competitive_index_is_read_from_the_counts(lake: Lake):
    inputs = lake.read("index/deci_inputs").filter(year=2020, indicator_id="typical_enterprise_count")
    counts = lake.read("mart/company_presence").filter(year=2020)
    both = inputs.join(counts, on="region_code")
    assert both.height == inputs.height == 12  # a count makes no city one that is evaluated
    assert both["value"].to_list() == both["companies"].cast(pl.Float64).to_list()
    assert set(inputs["status"]) == {"reported"}


def test_a_count_names_its_companies_and_the_chain_of_holdings_with_their_cells(lake: Lake):
    told = company_chains(lake, "310000", 2020)
    counted = lake.read("mart/company_presence").filter(year=2020, region_code="310000")["companies"].item()
    assert len(told["counted"]) == counted
    assert len(told["chains"]) == 3
    for chain in told["chains"]:
        assert chain["company_id"] == chain["holdings"][0]["held_id"]
        assert chain["root_id"] == chain["holdings"][-1]["holder_id"]
        sources = [source for link in chain["holdings"] for source in link["sources"]]
        assert all(source["raw_text"] and source["synthetic"] for source in sources)
        direct = sum(link["share"] for link in chain["holdings"] if link["held_id"] == chain["company_id"])
        assert direct > 0.5
    lines = chain_lines(told)
    assert lines[0].startswith(f"{counted} companies 家企业: ")
    shown = sum("持股明细_2020.parquet" in line or "联合持股_2020.xlsx" in line for line in lines)
    assert shown == sum(len(chain["holdings"]) for chain in told["chains"])
    assert sum(line.startswith("  city 注册地 ← 企业登记/企业名录_2020.csv") for line in lines) == 3
    assert sum(line.startswith("  root 根企业 ← 企业登记/百家典型企业_2020.xlsx") for line in lines) == 3


def test_explain_shows_the_companies_and_their_chains_below_the_leaf(lake: Lake):
    document = explain(lake, "deci", "北京", 2020, "typical_enterprise_count")
    (observation,) = document["observations"]
    assert observation["value"] == len(observation["companies"]["counted"])
    assert observation["source"]["file"].startswith("股权/")
    text = as_text(document)
    assert all(line.strip() in text for line in chain_lines(observation["companies"]))
    json.dumps(document)


def test_a_city_is_the_one_by_its_code_in_force_in_the_year(lake: Lake):
    """那曲市 540600 was 那曲地区 542400 until 2017; 莱芜市 371200 became part of 济南市 370100 in 2019."""
    schemas = {spec.key: spec.contract.schema for spec in all_tables(Settings())}
    told = {"location": "city", "records": 1, "source_cell": "x"}
    given = {
        "core/controlled_companies": [
            {"root_id": "r", "company_id": name, "year": year, "effective_share": 1.0, "controlled": True, "votes": 1.0}
            for name in ("a", "b", "c")
            for year in (2015, 2020)
        ],
        "core/companies": [
            {"company_id": "a", "name": "a", "region_code": "540600", **told},
            {"company_id": "b", "name": "b", "region_code": "999999", **told},
            {"company_id": "c", "name": "c", "region_code": "371200", **told},
            {"company_id": "r", "name": "r", "region_code": "110000", "root": "unspecified", **told},
        ],
    }

    def read(key: str) -> pl.DataFrame:
        return pl.DataFrame(given[key], schema=schemas[key]) if key in given else lake.read(key)

    def made(name: str) -> pl.DataFrame:
        sql = (Settings().sql / "marts" / f"{name}.sql").read_text(encoding="utf-8")
        given[f"mart/{name}"] = select(sql, read).cast(schemas[f"mart/{name}"]).to_dicts()
        return pl.DataFrame(given[f"mart/{name}"], schema=schemas[f"mart/{name}"])

    located = made("located_companies").filter(pl.col("company_id") != "r").sort("company_id", "year")
    assert located.select("company_id", "year", "location", "region_code").rows() == [
        ("a", 2015, "city", "542400"),
        ("a", 2020, "city", "540600"),
        ("b", 2015, "unlocated", None),
        ("b", 2020, "unlocated", None),
        ("c", 2015, "city", "371200"),
        ("c", 2020, "city", "370100"),
    ]
    groups = made("root_groups").sort("year").select("year", "name", "companies", "in_cities", "cities").rows()
    assert groups == [(2015, "r", 3, 2, 2), (2020, "r", 3, 2, 2)]  # b is in no city of either year


# -- the leaf, from the received files alone ---------------------------------------------------------------------------
def opened(home: Home, start: str, year: int) -> list[dict[str, str]]:
    """Rows by head of the received registers whose file starts so and has the year; only the manifest is a table."""
    found = []
    for file, sha256 in home.read("raw/manifests").select("file", "sha256").iter_rows():
        if not re.match(rf"{start}.*_{year}\.\w+$", file):
            continue
        (path,) = (home.lake.blobs() / sha256).glob("content*")
        rows: dict[int, dict[int, str]] = {}
        for row, col, text in decode(path.read_bytes(), file).cells.select("row", "col", "text").iter_rows():
            rows.setdefault(row, {})[col] = text
        top = min(row for row, texts in rows.items() if {"企业名称", "被投资企业名称"} & set(texts.values()))
        heads = rows[top]
        below = [texts for row, texts in rows.items() if row > top and len(texts) > 2]
        found += [{heads[col]: text for col, text in texts.items()} for texts in below]
    assert found, start
    return found


def plain(name: str) -> str:
    """The name without what the demo's lists print differently; not the code under test."""
    return name.replace(" ", "").upper().replace("有限责任公司", "有限公司").replace("LTD.", "LIMITED")


def names_of(source: dict[str, object]) -> str:
    """Columns of holder and company in the two forms of the demo's lists."""
    return "AB" if str(source["file"]).endswith(".parquet") else "AC"


def recomputed(home: Home, year: int) -> dict[str, set[str]]:
    """Names of the subsidiaries by city, from the cells of the received registers alone: least fixed point per root."""
    companies = opened(home, "企业登记/", 2020)
    city = {plain(row["企业名称"]): row.get("注册城市") for row in companies}
    roots = {plain(row["企业名称"]) for row in companies if row.get("根企业类别")}
    held: dict[str, list[tuple[str, float]]] = {}
    for row in opened(home, "股权/", year):
        share = next(text for head, text in row.items() if head.startswith("持股比例")).rstrip("%")
        holder, company = plain(row["股东名称"]), plain(row["被投资企业名称"])
        if re.fullmatch(r"[\d.]+", share) and holder != company:
            held.setdefault(holder, []).append((company, float(share) / 100))
    members: set[str] = set()
    for root in roots:
        votes: dict[str, float] = {}
        inside, waiting = {root}, [root]
        while waiting:
            for company, share in held.get(waiting.pop(), ()):
                votes[company] = votes.get(company, 0.0) + share
                if votes[company] > 0.5 + 1e-9 and company not in inside:
                    inside.add(company)
                    waiting.append(company)
        members |= inside
    cities: dict[str, set[str]] = {}
    for name in members - roots:
        if city.get(name):
            cities.setdefault(city[name], set()).add(name)
    return cities


@pytest.mark.parametrize("year", [2019, 2020])
def test_the_company_leaf_follows_from_the_cells_of_the_received_files(finished: Home, year: int):
    """Every city of the index: the count from the opened registers, and every link of every chain from its cell."""
    cities = recomputed(finished, year)
    rows = finished.read("index/deci_inputs").filter(year=year, indicator_id="typical_enterprise_count").to_dicts()
    now = finished.read("core/regions").filter(pl.col("valid_to").is_null())
    full = dict(now.select("region_code", "name_zh").iter_rows())
    assert len(rows) > 10
    links = 0
    for row in rows:
        mine = cities.get(full[row["region_code"]], set())
        assert row["value"] == len(mine)
        leaf = explained(finished, "deci", row["region_code"], str(year), "--node", "typical_enterprise_count")
        (observation,) = leaf["observations"]
        told = observation["companies"]
        assert observation["value"] == leaf["indicator"]["value"] == len(mine)
        assert {plain(company["name"]) for company in told["counted"]} == mine
        for chain in told["chains"]:
            city, root = chain["city_source"], chain["root_source"]
            assert text_in_file(finished, city) == city["raw_text"] == full[row["region_code"]]
            assert text_in_file(finished, root) == root["raw_text"] in {"数字产业化", "产业数字化"}
            beside = {plain(text_in_file(finished, at, re.sub(r"[A-Z]+", "B", at["cell"]))) for at in (city, root)}
            assert beside == {plain(chain["name"]), plain(chain["root_name"])}
            for link in chain["holdings"]:
                links += 1
                (source,) = link["sources"]
                text = text_in_file(finished, source)
                assert text == source["raw_text"]
                assert float(text.rstrip("%")) / 100 == pytest.approx(link["share"], rel=1e-12)
                at = re.fullmatch(r"[A-Z]+(\d+)", source["cell"])[1]
                beside = {plain(text_in_file(finished, source, f"{c}{at}")) for c in names_of(source)}
                assert {plain(link["holder_name"]), plain(link["held_name"])} <= beside
    assert links > 30


@pytest.mark.parametrize(
    ("file", "cell", "fed"),
    [
        ("企业登记/百家典型企业_2020.xlsx", "典型企业!D5", "deci"),
        ("企业登记/百家典型企业_2020.xlsx", "典型企业!C5", "deci"),
        ("股权/联合持股_2020.xlsx", "联合持股!B10", "mart/company_totals"),
    ],
)
def test_the_mark_of_a_root_and_the_codes_of_roots_and_holders_feed_the_counts(finished, file, cell, fed):
    result = finished.invoke("impact", file, cell)
    assert result.exit_code == 0, result.output
    assert fed in result.stdout
