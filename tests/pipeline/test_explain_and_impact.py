"""Any number leads to the cells it came from, and any cell to the numbers it feeds."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dei_pipeline.sources.layouts import load_units, unit_key
from tests.pipeline.explained import (
    INDICATOR,
    LEAF,
    OBSERVATION,
    SOURCE,
    STATUS,
    TERM,
    explained,
    leaves_of,
    sources_of,
    terms_of,
    text_in_file,
)
from tests.pipeline.homes import POPULATION_2020, Home, population, replace_source, row_of


@pytest.fixture(scope="module")
def shanghai(finished: Home) -> dict[str, Any]:
    return explained(finished, "dei", "上海", "2020")


def test_the_document_is_the_one_of_the_contract(shanghai):
    about = {name: shanghai[name] for name in ("index", "node", "region_code", "region_name", "year", "rank", "tier")}
    assert about == {
        "index": "dei",
        "node": "dei",
        "region_code": "310000",
        "region_name": "上海市",
        "year": 2020,
        "rank": 1,
        "tier": "tier1",
    }
    assert round(shanghai["value"], 1) == shanghai["published"] == 91.6
    assert shanghai["edition"] == "2021"
    assert shanghai["synthetic"] is True
    for term in terms_of(shanghai):
        assert term.keys() >= TERM
        assert term["status"] in STATUS
    leaves = leaves_of(shanghai)
    assert len(leaves) == 46
    for leaf in leaves:
        assert leaf.keys() >= LEAF
        assert leaf["indicator"].keys() >= INDICATOR
        assert leaf["indicator"]["derivation"]
        assert leaf["observations"] or leaf["reason"]
        for observation in leaf["observations"]:
            assert observation.keys() >= OBSERVATION
            assert observation["status"] in STATUS
            assert observation["source"].keys() >= SOURCE
            assert (observation["region_code"], observation["year"]) == ("310000", 2020)


@pytest.mark.parametrize("year", [2019, 2020])
@pytest.mark.parametrize("region", ["310000", "320200", "320100", "500000"])  # some lack leaves in 2019
def test_contributions_add_up_at_every_level(finished: Home, region, year):
    document = explained(finished, "dei", region, str(year))
    assert document["sum_of_contributions"] == pytest.approx(document["value"], abs=1e-9)
    assert sum(leaf["contribution"] or 0 for leaf in leaves_of(document)) == pytest.approx(document["value"], abs=1e-9)
    assert sum(leaf["effective_weight"] for leaf in leaves_of(document) if leaf["score"] is not None) == pytest.approx(
        1
    )
    for term in terms_of(document):
        if term["score"] is not None:
            assert term["contribution"] == pytest.approx(term["effective_weight"] * term["score"], abs=1e-9)
        if term["terms"]:
            parts = sum(child["contribution"] or 0 for child in term["terms"])
            assert parts == pytest.approx(term["contribution"], abs=1e-9)


def test_every_cell_named_holds_the_text_and_the_value(finished: Home, shanghai):
    """The received files are opened and looked at, whatever the tables say."""
    units = load_units(finished.reference / "units.csv")
    files, seen = set(), 0
    for observation in sources_of(shanghai):
        source = observation["source"]
        if "document" in source:  # read in test_policy_leaves.py
            continue
        assert text_in_file(finished, source) == source["raw_text"]
        number = float(re.sub(r"[ ,\u3000\xa0]", "", source["raw_text"]))
        factor = units[unit_key(source["unit"])].factor if source["unit"] else 1.0
        assert number * factor == pytest.approx(observation["value"], rel=1e-12)
        files.add(source["file"])
        seen += 1
    assert seen > 100
    assert len(files) >= 5  # population, telecom, industry, counts, score sheet; the panel yields to the yearbooks


@pytest.mark.parametrize("name", ["310000", "上海", "上海市", "Shanghai"])
def test_a_region_goes_by_code_and_names(finished: Home, shanghai, name):
    assert explained(finished, "dei", name, "2020") == shanghai


def test_a_node_is_explained_on_its_own(finished: Home, shanghai):
    document = explained(finished, "dei", "上海", "2020", "--node", "information_infrastructure")
    whole = next(term for term in terms_of(shanghai) if term["node"] == "information_infrastructure")
    assert document["node"] == "information_infrastructure"
    assert document["value"] == whole["score"]
    assert document["sum_of_contributions"] == pytest.approx(document["value"], abs=1e-9)
    assert sum(term["effective_weight"] for term in document["terms"]) == pytest.approx(1)
    leaf = explained(finished, "dei", "上海", "2020", "--node", "fixed_broadband_penetration")
    assert leaf["terms"] == []
    assert leaf["sum_of_contributions"] == leaf["value"]
    assert {o["variable"] for o in leaf["observations"]} == {"fixed_broadband_subscribers", "resident_households"}


def test_a_missing_leaf_gives_the_reason(finished: Home):
    rows = finished.read("index/dei_normalised").filter(pl.col("status") == "missing")
    assert rows.height
    for row in rows.to_dicts():
        document = explained(finished, "dei", row["region_code"], str(row["year"]))
        leaf = next(leaf for leaf in leaves_of(document) if leaf["node"] == row["indicator_id"])
        assert leaf["status"] == "missing"
        assert leaf["score"] is None
        assert re.search(rf"missing: no observation of \w+.* for {row['region_code']} in {row['year']}", leaf["reason"])


def test_an_imputed_value_names_method_and_donors(home: Home, tmp_path: Path):
    def blank(rows):
        rows[row_of(rows, "上海市")][2] = None

    replace_source(home, tmp_path / "new", POPULATION_2020, population(2020, blank), "2021")
    assert home.run().errors == []
    document = explained(home, "dei", "上海", "2020", "--node", "fixed_broadband_penetration")
    (households,) = [o for o in document["observations"] if o["variable"] == "resident_households"]
    assert households["status"] == "imputed"
    assert households["source"] is None
    assert households["method"]
    roles = [donor["role"] for donor in households["donors"]]
    assert "previous_year" in roles
    assert roles.count("donor") >= 3
    (before,) = [d for d in households["donors"] if d["role"] == "previous_year"]
    assert (before["region_code"], before["year"]) == ("310000", 2019)
    assert all(d["source"]["cell"] for d in households["donors"])
    text = home.invoke("explain", "dei", "上海", "2020").stdout
    assert f"imputed by {households['method']} from {len(roles)} values" in text
    assert home.invoke("check").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dei", "上海滩", "2020"), r"region «上海滩» is unknown; near: .*上海市.*; a code works too"),
        (("dei", "Atlantis", "2020"), r"region «Atlantis» is unknown; near: "),
        (("dai", "上海", "2020"), r"index «dai» is not in the lake .*; there is: deci, dei; `dei run`"),
        (("dei_city", "上海", "2020"), r"index «dei_city» is not in the lake .*; there is: deci, dei; `dei run`"),
        (("dei", "上海", "1999"), r"dei has no value for 上海市 in 1999; years in the lake: .*2019, 2020"),
        (
            ("dei", "上海", "2020", "--node", "infrastructure"),
            r"no node «infrastructure»; near: .*information_infrastructure",
        ),
        (("dei", "七台河", "2020"), r"dei has no value for 七台河市 in 2020"),
    ],
)
def test_what_is_unknown_is_one_line_with_what_is_near(finished: Home, arguments, says):
    result = finished.invoke("explain", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert re.search(says, line), line


def test_the_text_and_the_page_say_the_same(finished: Home, shanghai, tmp_path: Path):
    text = finished.invoke("explain", "dei", "上海", "2020").stdout
    assert "上海市 Shanghai (310000) 2020 = 91.6, rank 1 of " in text
    assert "SYNTHETIC" in text
    page = tmp_path / "explained.html"
    assert finished.invoke("explain", "dei", "上海", "2020", "--html", str(page)).exit_code == 0
    html = page.read_text("utf-8")
    assert "SYNTHETIC" in html
    assert "<script" not in html
    for observation in sources_of(shanghai):
        source = observation["source"]
        assert f"{source['sheet']}!{source['cell']} «{source['raw_text']}»" in text
        assert f"{source['sheet']}!{source['cell']}" in html


# -- the way up --------------------------------------------------------------------------------------------------------
def test_a_cell_names_the_published_numbers_it_feeds(finished: Home, shanghai):
    for variable in ("resident_households", "gdp", "fixed_broadband_subscribers"):
        source = next(o["source"] for o in sources_of(shanghai) if o["variable"] == variable)
        result = finished.invoke("impact", source["file"], f"{source['sheet']}!{source['cell']}")
        assert result.exit_code == 0, result.output
        (ranking,) = [line for line in result.stdout.splitlines() if line.startswith("release/dei_ranking")]
        assert "2020 上海" in ranking or "上海 2020" in ranking
        assert f"{source['file']}: 1 value cell(s)" in result.stdout
        by_sha = finished.invoke("impact", source["sha256"][:12], f"{source['sheet']}!{source['cell']}")
        assert by_sha.stdout == result.stdout


def test_a_file_feeds_what_its_cells_feed(finished: Home):
    result = finished.invoke("impact", POPULATION_2020)
    assert result.exit_code == 0
    assert "core/observations" in result.stdout
    assert "release/dei_ranking" in result.stdout
    assert finished.invoke("impact", Path(POPULATION_2020).name).stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.xlsx",), r"file «nowhere.xlsx»: 0 in the lake .*dei sources list"),
        ((POPULATION_2020, "2-1!A1"), r"2-1!A1 feeds nothing; .*dei layout"),
        ((POPULATION_2020, "2-1!ZZ99"), r"2-1!ZZ99 feeds nothing"),
    ],
)
def test_what_feeds_nothing_is_one_line(finished: Home, arguments, says):
    result = finished.invoke("impact", *arguments)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert re.search(says, line), line
