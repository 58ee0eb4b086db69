"""The imputation ladder, step by step, with its donors as edges."""

import polars as pl
import pytest

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.impute import ladder, peer_growth

CITIES = ["110000", "120000", "130100", "130200", "130300"]
PEERS = pl.DataFrame(
    {
        "region_code": CITIES,
        "tier_id": ["tier1", "tier1", "tier1", "tier1", None],
        "province_code": ["110000", "120000", "130000", "130000", "130000"],
    }
)
VARIABLES = pl.DataFrame({"variable": ["gdp", "rate", "score"], "imputation": ["growth", "growth_median", "none"]})
OLD = {"120000": 100.0, "130100": 100.0, "130200": 100.0}
NEW = {"120000": 102.0, "130100": 105.0, "130200": 110.0}


def panel(**values):
    rows = [
        (c, int(y[1:]), v, x) for v, years in values.items() for y, cities in years.items() for c, x in cities.items()
    ]
    return pl.DataFrame(rows, schema=["region_code", "year", "variable", "value"], orient="row")


def edges_of(table, child):
    return sorted(
        table.edges.filter(pl.col("child_key") == child)
        .select("parent_table", "parent_key", "role", "coefficient")
        .rows()
    )


def test_own_previous_year_grows_with_the_tier():
    table = ladder(panel(gdp={"y2019": {"110000": 40.0, **OLD}, "y2020": NEW}), VARIABLES, PEERS)
    own = table.frame.filter((pl.col("region_code") == "110000") & (pl.col("year") == 2020)).row(0, named=True)
    assert own == {
        "region_code": "110000", "year": 2020, "variable": "gdp", "value": pytest.approx(42.0),
        "status": "imputed", "method": "peer_growth", "donors": 3,
    }  # fmt: skip
    edges = edges_of(table, "110000|2020|gdp")
    assert ("core/observations", "110000|2019|gdp", "previous_year", pytest.approx(1.05)) in edges
    donors = {f"{c}|{y}|gdp" for c in OLD for y in (2019, 2020)}
    assert {key for _, key, role, _ in edges if role == "donor"} == donors


def test_a_city_outside_the_previous_edition_grows_with_its_province():
    values = panel(
        gdp={"y2019": {"130300": 10.0, "130100": 100.0, "130200": 100.0}, "y2020": {"130100": 110.0, "130200": 130.0}}
    )
    table = ladder(values, VARIABLES, PEERS, min_peers=2)
    assert table.frame.filter(pl.col("region_code") == "130300")["value"].to_list() == pytest.approx([12.0])
    assert ladder(values, VARIABLES, PEERS).notes["imputed"] == 0  # two donors are not a group


def test_a_median_of_levels_only_where_the_variable_allows_it():
    peers = PEERS.with_columns(pl.lit("tier2").alias("tier_id"), pl.lit("130000").alias("province_code"))
    levels = {"y2020": {"120000": 1.0, "130100": 2.0, "130200": 9.0}}
    table = ladder(panel(rate=levels, gdp=levels), VARIABLES, peers)
    assert table.frame.select("region_code", "variable", "value", "method", "donors").rows() == [
        ("110000", "rate", 2.0, "tier_province_median", 3),
        ("130300", "rate", 2.0, "tier_province_median", 3),
    ]
    assert len(edges_of(table, "110000|2020|rate")) == 3
    assert table.notes["left_missing"] == 2  # gdp: no previous year


def test_another_official_vintage_comes_first():
    vintages = pl.DataFrame(
        {
            "region_code": ["110000", "110000", "110000"],
            "year": [2020, 2020, 2020],
            "variable": ["gdp", "gdp", "score"],
            "edition": ["2020", "2021", "2021"],
            "value": [41.0, 43.0, 7.0],
        }
    )
    table = ladder(panel(gdp={"y2019": {"110000": 40.0, **OLD}, "y2020": NEW}), VARIABLES, PEERS, vintages)
    assert table.frame.filter(pl.col("method") == "other_vintage").select("variable", "value").rows() == [
        ("gdp", 43.0),
        ("score", 7.0),
    ]
    assert edges_of(table, "110000|2020|gdp") == [("core/observation_vintages", "110000|2020|gdp|2021", "vintage", 1.0)]


def test_judged_scores_are_never_imputed():
    levels = {"y2019": {"110000": 4.0, **OLD}, "y2020": NEW}
    assert ladder(panel(score=levels), VARIABLES, PEERS).frame.is_empty()


def test_imputed_values_are_no_donors_and_no_previous_year():
    values = panel(gdp={"y2018": {"110000": 40.0, **OLD}, "y2019": NEW, "y2020": {c: v + 5 for c, v in NEW.items()}})
    table = ladder(values, VARIABLES, PEERS)
    assert table.frame.filter(pl.col("region_code") == "110000")["year"].to_list() == [2019]


def test_targets_row_order_and_every_row_has_an_edge():
    values = panel(gdp={"y2019": {"110000": 40.0, **OLD}, "y2020": NEW}, rate={"y2020": NEW})
    targets = pl.DataFrame({"region_code": ["110000", "990000"], "year": [2020, 2020], "variable": ["gdp", "gdp"]})
    assert ladder(values, VARIABLES, PEERS, targets=targets).frame.height == 1
    one, other = ladder(values, VARIABLES, PEERS), ladder(values.reverse(), VARIABLES, PEERS.reverse())
    assert one.frame.equals(other.frame)
    keys = one.frame.select(
        pl.concat_str([pl.col(c).cast(pl.String) for c in ("region_code", "year", "variable")], separator="|")
    )
    assert set(keys.to_series()) == set(one.edges["child_key"])


def test_failures():
    values = panel(gdp={"y2019": OLD})
    for call in (
        lambda: ladder(pl.concat([values, values]), VARIABLES, PEERS),
        lambda: ladder(values, VARIABLES, pl.concat([PEERS, PEERS])),
        lambda: ladder(values, VARIABLES.with_columns(pl.lit("mean").alias("imputation")), PEERS),
        lambda: peer_growth(40, []),
    ):
        with pytest.raises(MethodError):
            call()
