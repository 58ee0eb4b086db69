"""Which cities an index evaluates: those with a value that tells them apart from all others."""

import polars as pl
import pytest

from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.methods import leaves
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.framework_leaves import table_source
from dei_pipeline.provenance import Table

DECI = packaged("deci")
PRESENCE, SHARES = "mart/company_presence", "index/digital_input_share"
GRAINS = {PRESENCE: ["region_code", "year"], SHARES: ["region_code", "year", "user_group", "variant"]}
CITIES = ["110000", "310000", "440300"]
LISTED = pl.DataFrame({"region_code": CITIES})
MART = {
    "region_code": pl.String,
    "year": pl.Int32,
    "indicator_id": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
    "status": pl.String,
}


def measured(*rows: tuple[str, int]) -> pl.DataFrame:
    """One leaf of the mart for some cities and years."""
    return pl.DataFrame([(*row, "rd_intensity", 3.0, "percent", "reported") for row in rows], MART, orient="row")


def counts(*years: int) -> pl.DataFrame:
    """A count for every city, as the mart of companies holds it."""
    return pl.DataFrame(
        [{"region_code": c, "year": y, "companies": 5, "status": "reported"} for c in CITIES for y in years]
    )


def trade(*rows: tuple[str, int]) -> pl.DataFrame:
    """A share from input-output tables for some cities and years."""
    same = {"user_group": "interprovincial_trade", "variant": "outflow_and_inflow", "share": 0.2, "status": "estimated"}
    return pl.DataFrame([{"region_code": c, "year": y} | same for c, y in rows])


def inputs(mart: pl.DataFrame, **tables: pl.DataFrame) -> Table:
    names = {"counts": PRESENCE, "shares": SHARES}
    return leaves.inputs(DECI, mart, LISTED, {names[name]: table for name, table in tables.items()}, GRAINS)


def cells(table: Table) -> list[tuple[str, int]]:
    return table.frame.select("region_code", "year").unique().sort("year", "region_code").rows()


def test_only_the_count_of_companies_is_complete_by_construction():
    assert {source.indicator_id for source in DECI.tables if source.complete} == {"typical_enterprise_count"}


def test_a_city_with_values_of_other_tables_is_evaluated_without_a_value_of_the_mart():
    found = inputs(measured(("110000", 2020)), shares=trade(("310000", 2020)), counts=counts(2020))
    assert cells(found) == [("110000", 2020), ("310000", 2020)]
    assert found.notes["cities_only_counted"] == 1
    held = found.frame.drop_nulls("value").select("region_code", "indicator_id", "value").rows()
    assert set(held) == {
        ("110000", "rd_intensity", 3.0),
        ("110000", "typical_enterprise_count", 5.0),
        ("310000", "ict_interprovincial_trade_share", 20.0),
        ("310000", "typical_enterprise_count", 5.0),
    }


def test_a_year_has_the_same_cities_whatever_years_are_made_with_it():
    mart, shares = measured(("110000", 2020)), trade(("440300", 2019))
    both = inputs(mart, shares=shares, counts=counts(2019, 2020))
    assert cells(both) == [("440300", 2019), ("110000", 2020)]
    for year in (2019, 2020):
        alone = inputs(mart.filter(year=year), shares=shares.filter(year=year), counts=counts(year))
        assert alone.frame.equals(both.frame.filter(year=year))
    assert cells(inputs(mart, counts=counts(2019, 2020))) == [("110000", 2020)]


def test_a_lake_with_counts_only_evaluates_no_city():
    with pytest.raises(NothingToDo, match="no leaf of the DECI has a source but tables that have a row for every city"):
        inputs(measured(), counts=counts(2019, 2020))
    with pytest.raises(NothingToDo, match=r"no leaf of the DECI has a source: see `dei sources missing deci`"):
        inputs(measured())


def test_complete_is_yes_or_no():
    leaf = {"kind": "table", "node_id": "n", "index_id": "deci", "factor": 1.0}
    said = {"kind": "table", "table": PRESENCE, "value": "companies"}
    assert [table_source("x.yaml", leaf, said | more)[0].complete for more in ({}, {"complete": True})] == [False, True]
    with pytest.raises(ReferenceFileError, match=r"x\.yaml, node n: complete is 'yes'"):
        table_source("x.yaml", leaf, said | {"complete": "yes"})
