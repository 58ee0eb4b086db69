"""The demo's registers: 10,499 subsidiaries by construction, found again by look-through."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.demo import ownership
from dei_pipeline.demo.model import Demo, build
from dei_pipeline.demo.ownership import (
    ASSOCIATES,
    OVERSEAS,
    ROOTS,
    SUBSIDIARIES,
    UNLOCATED,
    Ownership,
    city_counts,
    files,
)
from dei_pipeline.methods.companies import credit_code
from dei_pipeline.methods.ownership import cycles, look_through


@pytest.fixture(scope="module")
def demo() -> Demo:
    return build(years=[2020])


@pytest.fixture(scope="module")
def found(demo: Demo) -> Ownership:
    return ownership.build(demo)


def holdings_of(found: Ownership) -> pl.DataFrame:
    ends = [pl.col(end).cast(pl.String).alias(f"{end}_id") for end in ("holder", "held")]
    return found.holdings.select(*ends, share=pl.col("percent") / 100)


def test_look_through_finds_the_subsidiaries_and_no_associate(found):
    roots = found.companies.filter(kind="root")["number"].cast(pl.String).to_list()
    assert len(roots) == sum(ROOTS.values()) == 100
    closure = look_through(holdings_of(found), roots).filter("controlled")
    mine = closure["company_id"].unique().cast(pl.UInt32)
    kinds = dict(found.companies.filter(pl.col("number").is_in(mine.implode())).group_by("kind").len().iter_rows())
    assert kinds == {"root": 3, "subsidiary": SUBSIDIARIES}
    assert SUBSIDIARIES == 10_499
    alone = found.holdings.join(
        found.holdings.group_by("held").agg(most=pl.col("percent").max()).filter(pl.col("most") <= 50), on="held"
    )
    joint = closure.filter(pl.col("company_id").is_in(alone["held"].cast(pl.String).unique().implode()))
    assert joint.height > 300  # controlled by no single holder
    assert closure["effective_share"].min() < 0.1


def test_some_groups_own_some_of_themselves_and_nobody_is_held_by_more_than_all(found):
    assert cycles(holdings_of(found)).height > 300
    totals = found.holdings.group_by("held").agg(pl.col("percent").sum())
    assert totals["percent"].max() <= 100 + 1e-9
    assert found.holdings["percent"].min() > 0


def test_cities_overseas_and_unlocated_add_up(found, demo):
    counts = city_counts(demo.world)
    assert counts["companies"].sum() == SUBSIDIARIES - OVERSEAS - UNLOCATED
    mine = found.companies.filter(kind="subsidiary")
    assert mine["country"].is_not_null().sum() == OVERSEAS
    assert (mine["region_code"].is_null() & mine["country"].is_null()).sum() == UNLOCATED
    printed = mine.drop_nulls("region_code").group_by("region_code").agg(companies=pl.len().cast(pl.Int64))
    assert_frame_equal(
        printed.sort("region_code"), counts.filter(pl.col("companies") > 0).sort("region_code"), check_row_order=False
    )
    assert found.companies.filter(kind="associate").height == ASSOCIATES


def test_codes_are_valid_and_names_are_told_apart(found):
    codes = found.companies.drop_nulls("credit_code")
    assert codes.select(ok=credit_code(pl.col("credit_code")) == pl.col("credit_code"))["ok"].all()
    assert codes["credit_code"].n_unique() == codes.height == found.companies.height - OVERSEAS
    assert found.companies["name"].n_unique() == found.companies.height
    assert found.companies["name"].str.contains("合成|SYNTHETIC").all()


def test_registers_do_not_depend_on_the_cities_asked_for(found):
    few = ownership.build(build(regions=5, years=[2019, 2020]))
    assert_frame_equal(few.companies, found.companies)
    assert_frame_equal(few.holdings, found.holdings)
    same = {name: content for name, *_, content in files(few)}
    assert {name: same[name] for name, *_ in files(found)} == {name: content for name, *_, content in files(found)}


def test_groups_grow_towards_the_base_year_and_are_controlled_in_every_year(found):
    roots = found.companies.filter(kind="root")["number"].cast(pl.String).to_list()
    counts = []
    for year in (2015, 2018, 2020):
        mine = holdings_of(found).filter(found.holdings["since"] <= year)
        holding = sorted(set(roots) & set(mine["holder_id"]))
        closure = look_through(mine, holding).filter("controlled")
        controlled = set(closure["company_id"]) - set(roots)
        assert controlled == set(found.subsidiaries(year)["number"].cast(pl.String))
        counts.append(len(controlled))
    assert counts[0] < counts[1] < counts[2] == SUBSIDIARIES


def test_every_register_says_that_it_is_synthetic_and_is_dated(found):
    names = [name for name, *_ in files(found)]
    assert names == [
        "企业登记/企业名录_2020.csv",
        "企业登记/百家典型企业_2020.xlsx",
        "股权/持股明细_2020.parquet",
        "股权/联合持股_2020.xlsx",
    ]
    assert {source for _, source, *_ in files(found)} == {"companies", "holdings"}
    assert np.unique([edition for *_, edition, _ in files(found)]).tolist() == [2020]
