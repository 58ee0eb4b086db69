"""Real registers: top-20 shareholders of Singapore, holdings of the national team, listed companies of China."""

from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.homes import Home

CORE = ("staging/page_cells", "core/companies", "core/holdings", "core/ownership_cycles")
REIT_MANAGERS = 30  # listed under the names of their managers, which hold units of their own trust


@pytest.fixture(scope="module")
def singapore(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("sgx") / "lake")
    result = home.invoke("ingest", str(real_data / "equity-sgx-2018"))
    assert result.exit_code == 0, result.output
    assert "8 taken, 0 already there, 0 left out, 0 with no page recognised" in result.stdout
    assert home.run(*CORE).errors == []
    return home


def notes(home: Home, table: str) -> dict[str, object]:
    (record,) = home.lake.state(table)["parts"].values()
    return record["notes"]


def test_every_row_of_the_shareholders_is_a_holding_or_set_aside_with_the_reason(singapore):
    records = singapore.read("staging/holding_records")
    mine = records.filter(file="top20_shareholders_all.csv")
    aside = singapore.aside("staging/page_cells")
    reasons = dict(aside.filter(layout="holding_records").group_by("reason").len().iter_rows())
    assert reasons == {"its row states neither a holder nor a share": 27, "the share is printed as 0": 9}
    assert mine.height + sum(reasons.values()) == 12_983


def test_holders_are_matched_to_companies_by_name_and_legal_form(singapore):
    told = notes(singapore, "core/holdings")
    assert told["companies_by"] == {"alias": 4, "name": 659, "unregistered": 6}
    assert told["holders_by"] == {"alias": 2, "name": 88, "unregistered": 12_848}
    assert [line.split(" / ")[0] for line in told["legal_form_contradicts"]] == [
        "HOE LEONG COMPANY PRIVATE LIMITED", "JAWALA CORPORATION SDN BHD",
    ]  # fmt: skip


def test_self_holdings_cycles_and_impossible_sums_are_reported(singapore):
    holdings = singapore.read("core/holdings")
    assert holdings.filter(use="self_holding").height == REIT_MANAGERS
    assert notes(singapore, "core/holdings")["over_held"] == [
        "MEMORIES GROUP LIMITED 103.8 %", "TAN CHONG INTERNATIONAL LIMITED 100.8 %",
    ]  # fmt: skip
    cycles = singapore.read("core/ownership_cycles")
    both = cycles.filter(pl.col("members") > 1)["company_id"].to_list()
    assert both == ["name:JARDINEMATHESONHOLDINGS LTD", "name:JARDINESTRATEGICHOLDINGS LTD"]
    assert cycles.height == REIT_MANAGERS + 2


def test_lists_given_twice_count_once_and_undated_ones_take_the_year_of_the_register(singapore):
    holdings = singapore.read("core/holdings")
    assert notes(singapore, "core/holdings")["repeats"] == 120  # six companies have a file of their own, too
    dated = holdings.select(pl.col("as_of").cast(pl.String), "as_of_from").unique().rows()
    assert dated == [("2018-12-31", "register")]
    assert holdings.select("holder_id", "held_id").n_unique() == holdings.height
    assert holdings["nominee"].sum() > 2_500


def test_the_national_team_holds_listed_companies_found_by_their_codes(real_data, tmp_path):
    home = Home(tmp_path / "lake")
    given = tmp_path / "team"
    given.mkdir()
    (given / "data.xlsx").write_bytes((real_data / "equity-a-share-national-team" / "data.xlsx").read_bytes())
    (given / "data.xlsx.meta.yml").write_text("year: 2020\n", encoding="utf-8")
    result = home.invoke("ingest", str(real_data / "firms-a-share-2020"), str(given))
    assert "2 taken, 0 already there, 0 left out, 0 with no page recognised" in result.stdout
    assert home.run("core/companies", "core/holdings").errors == []
    assert notes(home, "core/companies")["city"] == 4_715
    assert notes(home, "core/companies")["overseas"] == 1
    holdings = home.read("core/holdings")
    assert holdings.height == 1_705
    assert notes(home, "core/holdings")["companies_by"] == {"code": 948, "unregistered": 9}
    assert holdings.filter(holder_name="汇金").height == 798
