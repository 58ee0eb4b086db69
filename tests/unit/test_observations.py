"""From staged values to observations: no row is lost, the latest edition wins, and gaps are filled with lineage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import ContractError, MethodError, NothingToDo, ReferenceFileError
from dei_pipeline.methods import observations as method
from dei_pipeline.methods.observations import Correction, Peers, observations, peer_groups, staged, vintages
from dei_pipeline.methods.regions import Regions
from dei_pipeline.provenance import Table, row_key
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_units, load_variables

REFERENCE = Settings.reference
REGIONS = Regions.load(REFERENCE)
UNITS = load_units(REFERENCE / "units.csv")
TERMS = pl.DataFrame({"variable": ["cloud.1"], "role": ["points"], "indicator_id": ["cloud"], "max_points": [4.0]})
VARIABLES = method.variable_table(load_variables(REFERENCE / "variables.csv"), TERMS)
VALUES = python_contracts()["staging/values"].schema
SHA, PAGE, PANEL = "0123456789ab", "city_yearbook__industry", "city_panel__gdp"
FACTORS = {"亿元": 1.0, "万元": 1e-4, "万人": 1.0}

KNOWN = {"上海市": "310000", "北 京": "110000", "深圳": "440300", "Chengdu": "510100"}
SUBTOTALS, UNKNOWN = ("东部地区", "西部"), ("某某市", "资料来源", "")


def cells(*rows: Mapping[str, Any], table: str = PAGE) -> pl.DataFrame:
    """Rows of a staging table; what is not said is 上海市, gdp 2020 in 亿元, edition 2021."""
    plain = {
        "region_label": "上海市",
        "year": 2020,
        "variable": "gdp",
        "value": 1.0,
        "unit": "亿元",
        "edition": "2021",
        "source_id": "test",
        "subtotal": False,
    }
    full = []
    for number, row in enumerate(rows, 1):
        given_row = {**dict.fromkeys(VALUES), **plain, "source_cell": f"{SHA}/{table}!B{number}", **row}
        full.append({"raw_text": repr(given_row["value"]), **{k: v for k, v in given_row.items() if v is not None}})
    return pl.DataFrame([{name: row.get(name) for name in VALUES} for row in full], schema=VALUES)


def stage(*tables: pl.DataFrame, corrections: tuple[Correction, ...] = (), unreadable: pl.DataFrame | None = None):
    """The staged values of tables named after the sheets of their cells."""
    named = {f"staging/{_table(frame)}": frame for frame in tables}
    nothing = pl.DataFrame(schema={**VALUES, "table": pl.String})
    return staged(named, nothing if unreadable is None else unreadable, {}, corrections)


def _table(frame: pl.DataFrame) -> str:
    return frame["source_cell"][0].split("/")[1].partition("!")[0]


def judged(*tables: pl.DataFrame, floors: Mapping[str, float] | None = None, **more: Any) -> Table:
    priorities = {PAGE: 10, PANEL: 20}
    rules = {name: more.pop(name) for name in ("classes", "evidence") if name in more}
    values = stage(*tables, **more)
    units = method.unit_table(UNITS)
    return vintages(values, REGIONS, units, VARIABLES, priorities, floors or {}, {SHA: "a.xlsx"}, **rules)


# -- every row is accounted for ----------------------------------------------------------------------------------------
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "region_label": st.sampled_from((*KNOWN, *SUBTOTALS, *UNKNOWN)),
            "year": st.sampled_from([2019, 2020]),
            "variable": st.sampled_from(["gdp", "resident_population", "no_such_variable"]),
            "unit": st.sampled_from(["亿元", "万元", "万人", "万贯", ""]),
            "edition": st.sampled_from(["2020", "2021"]),
            "value": st.sampled_from([0.0, 1.0, 1.2, 12345.6]) | st.floats(-1e6, 1e6, allow_nan=False),
        }
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=ROWS, second=ROWS)
def test_values_in_are_values_out_repeats_quarantine_and_subtotals(first, second):
    frames = cells(*first), cells(*second, table=PANEL)
    table = judged(*frames)
    given_cells = [cell for frame in frames for cell in frame["source_cell"].to_list()]
    kept = table.frame["source_cell"].to_list()
    aside = table.quarantine["source_cell"].to_list()
    repeats = table.edges.filter(pl.col("role") == "repeat")["parent_key"].to_list()
    subtotals = [row["source_cell"] for frame in frames for row in frame.to_dicts() if row["region_label"] in SUBTOTALS]
    assert sorted([*kept, *aside, *repeats, *subtotals]) == sorted(given_cells)
    notes = table.notes
    assert notes["values_in"] == len(given_cells)
    assert (notes["repeats"], notes["subtotals_left_out"]) == (len(repeats), len(subtotals))
    assert not table.frame.select(method.VINTAGE_KEY).is_duplicated().any()
    assert table.quarantine.filter(pl.any_horizontal(pl.col("reason", "fix").fill_null("") == "")).height == 0
    assert set(table.quarantine["file"].to_list()) <= {"a.xlsx"}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS)
def test_each_kept_value_is_its_cell_times_the_factor_of_its_unit(rows):
    page = cells(*rows)
    table = judged(page)
    by_cell = {row["source_cell"]: row for row in page.to_dicts()}
    edges = table.edges.filter(pl.col("role") == "value")
    assert sorted(edges["child_key"].to_list()) == sorted(
        table.frame.select(row_key(method.VINTAGE_KEY)).to_series().to_list()
    )
    for row in table.frame.to_dicts():
        cell = by_cell[row["source_cell"]]
        assert row["value"] == pytest.approx(cell["value"] * FACTORS[cell["unit"]])
        assert row["region_code"] == KNOWN[cell["region_label"]]
        assert (row["year"], row["variable"], row["edition"]) == (cell["year"], cell["variable"], cell["edition"])
        assert row["status"] == "reported"
    factors = {by_cell[e["parent_key"]]["unit"]: e["coefficient"] for e in edges.to_dicts()}
    assert all(factors[unit] == FACTORS[unit] for unit in factors)


def test_the_order_of_rows_does_not_matter():
    rows = [{"region_label": name, "value": float(i), "edition": e} for i, name in enumerate(KNOWN) for e in "12"]
    page = cells(*rows, *rows)
    tables = [judged(frame).frame.sort(method.VINTAGE_KEY) for frame in (page, page.reverse(), page.sample(16, seed=1))]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


# -- within an edition -------------------------------------------------------------------------------------------------
def test_the_table_with_the_lowest_priority_number_wins_within_an_edition():
    table = judged(cells({"value": 5.0}, table=PANEL), cells({"value": 7.0}))
    assert table.frame["value"].to_list() == [7.0]
    (second,) = table.quarantine.to_dicts()
    assert second["reason"] == f"edition 2021 also says 7.0 at {SHA}/{PAGE}!B1, which won"
    assert "dei sources withdraw" in second["fix"]
    assert (second["sheet"], second["cell"], second["raw_text"]) == (PANEL, "B1", "5.0")


def test_the_first_cell_wins_within_one_table_and_a_repeat_becomes_lineage():
    table = judged(cells({"value": 5.0}, {"value": 5.0}, {"value": 5.5}))
    assert table.frame["source_cell"].to_list() == [f"{SHA}/{PAGE}!B1"]
    roles = dict(table.edges.select("parent_key", "role").iter_rows())
    assert roles == {f"{SHA}/{PAGE}!B1": "value", f"{SHA}/{PAGE}!B2": "repeat"}
    assert table.quarantine["cell"].to_list() == ["B3"]


def test_the_same_number_through_another_unit_is_a_repeat():
    table = judged(cells({"value": 12345.6}), cells({"value": 123456000.0, "unit": "万元"}, table=PANEL))
    assert table.notes["repeats"] == 1
    assert table.quarantine.is_empty()


def test_a_digit_less_is_a_repeat_and_a_digit_more_is_none():
    rounded = judged(cells({"value": 12345.6}), cells({"value": 12345.62}, table=PANEL))
    assert rounded.notes["repeats"] == 1
    other = judged(cells({"value": 12345.6}), cells({"value": 12345.7}, table=PANEL))
    assert other.quarantine.height == 1


def test_a_contradiction_that_nothing_decides_says_so():
    table = judged(cells({"value": 5.0}, {"value": 6.0}), cells({"value": 7.0}, table=PANEL))
    reasons = dict(table.quarantine.select("value", "reason").iter_rows())
    assert reasons[6.0].endswith("which was kept, undecided by rule")
    assert reasons[7.0].endswith("which won")
    assert table.notes["undecided"] == 1


def test_the_page_that_states_its_year_wins_over_one_whose_file_name_does():
    named, titled = f"{SHA}/a!B1", f"{SHA}/b!B1"  # the lower source cell must not decide
    page = cells({"value": 5.0, "source_cell": named}, {"value": 6.0, "source_cell": titled})
    table = vintages(
        staged({f"staging/{PAGE}": page}, page.clear(), {}, ()),
        REGIONS,
        method.unit_table(UNITS),
        VARIABLES,
        {PAGE: 10},
        {},
        evidence=pl.DataFrame({"page": [f"{SHA}/a", f"{SHA}/b"], "year_from": ["filename", "title"]}),
    )
    assert table.frame["source_cell"].to_list() == [titled]
    (second,) = table.quarantine.to_dicts()
    assert second["reason"] == f"edition 2021 also says 6.0 at {titled}, which won"
    assert table.notes["undecided"] == 0


def test_an_official_value_wins_over_a_compiled_one_whatever_priority_and_edition_say():
    pages = cells({"value": 5.0}), cells({"value": 7.0}, table=PANEL)
    same = judged(*pages, classes={PAGE: "compiled", PANEL: "official"})
    assert same.frame.select("value", "source_class").rows() == [(7.0, "official")]
    later = judged(
        cells({"value": 5.0}), cells({"value": 7.0, "edition": "2022"}, table=PANEL), classes={PANEL: "compiled"}
    )
    assert later.frame.height == 2
    assert observations(later.frame, TO_FILL, ()).frame["value"].to_list() == [5.0]
    panel_only = later.frame.filter(source_class="compiled")
    assert observations(panel_only, TO_FILL, ()).frame["value"].to_list() == [7.0]


# -- scores of several assessors ---------------------------------------------------------------------------------------
SCORE = {"variable": "cloud.1", "unit": "分"}


def test_the_scores_of_several_assessors_become_their_mean():
    first, second = cells({**SCORE, "value": 4.0}, {"value": 9.0}), cells({**SCORE, "value": 1.0}, table=PANEL)
    table = judged(first, second)
    (row,) = table.frame.filter(variable="cloud.1").to_dicts()
    lowest = min(first["source_cell"][0], second["source_cell"][0])
    assert (row["value"], row["status"], row["source_cell"]) == (2.5, "expert", lowest)
    edges = table.edges.filter(child_key="310000|2020|cloud.1|2021").sort("parent_table")
    assert edges.select("parent_table", "role", "coefficient").rows() == [
        (f"staging/{PANEL}", "value", 0.5),
        (f"staging/{PAGE}", "value", 0.5),
    ]
    assert table.notes["pooled"] == 1
    assert table.quarantine.is_empty()


def test_a_corrected_score_is_pooled_as_corrected():
    page = cells({**SCORE, "value": 9.0}, {**SCORE, "value": 1.0})
    table = judged(page, corrections=(correction("B1", "9.0", value=3.0),))
    assert table.frame.select("value", "status").rows() == [(2.0, "corrected")]
    assert sorted(table.edges.select("parent_table", "parent_key", "role", "coefficient").rows()) == [
        ("raw/cells", f"{SHA}/{PAGE}!B1", "replaced", 0.0),
        ("reference/corrections.yml", f"{SHA}/{PAGE}!B1", "correction", 0.5),
        (f"staging/{PAGE}", f"{SHA}/{PAGE}!B2", "value", 0.5),
    ]


@pytest.mark.parametrize(("one", "two"), [(5.0, 1.0), (-1.0, 4.0)])  # their means would be within bounds
def test_a_score_out_of_bounds_does_not_hide_in_a_mean(one, two):
    with pytest.raises(ContractError, match=r"cloud\.1 is (5|-1), not 0 to 4: a\.xlsx, sheet \w+, cell B1"):
        judged(cells({**SCORE, "value": one}, {**SCORE, "value": two}))


# -- zeros -------------------------------------------------------------------------------------------------------------
def test_an_index_of_zero_is_no_value_and_a_count_of_zero_is_one():
    index = {"variable": "retail_price_index", "unit": "上年=100"}
    page = cells({**index, "value": 0.0}, {**index, "region_label": "深圳", "value": 101.2}, {"value": 0.0})
    table = judged(page)
    assert sorted(table.frame["value"].to_list()) == [0.0, 101.2]
    (zero,) = table.quarantine.to_dicts()
    assert (zero["reason"], zero["cell"]) == ("an index of 0 stands for no value", "B1")
    assert "reference/corrections.yml" in zero["fix"]
    kept = judged(page, corrections=(correction("B1", "0.0", value=99.0),))
    assert kept.frame.filter(variable="retail_price_index", region_code="310000")["value"].to_list() == [99.0]


# -- floors ------------------------------------------------------------------------------------------------------------
def test_too_few_known_names_are_an_error_at_the_first_of_them():
    page = cells({}, {"region_label": "某某市"}, {"region_label": "某乙市"})
    assert judged(page, floors={PAGE: 0.3}).quarantine.height == 2
    says = (
        r"staging/city_yearbook__industry: regions found for 33\.3% of the values, the floor is 95%; first failure in "
    )
    with pytest.raises(ContractError, match=says + r"a\.xlsx, sheet city_yearbook__industry, cell B2: «某某市»"):
        judged(page, floors={PAGE: 0.95})


def test_subtotals_do_not_count_against_the_floor():
    page = cells({}, *({"region_label": name} for name in SUBTOTALS))
    assert judged(page, floors={PAGE: 1.0}).notes["subtotals_left_out"] == 2


# -- corrections -------------------------------------------------------------------------------------------------------
def correction(cell: str, expect: str, value: float | None = None, year: int | None = None) -> Correction:
    return Correction(f"{SHA}/{PAGE}!{cell}", expect, value, year, "because")


def test_a_corrected_value_says_so_and_the_rest_stay():
    page = cells({"value": 5.0}, {"region_label": "深圳", "value": 6.0})
    table = judged(page, corrections=(correction("B1", "5.0", value=50_000.0),))
    rows = table.frame.sort("region_code").select("value", "status").rows()
    assert rows == [(50_000.0, "corrected"), (6.0, "reported")]
    assert table.notes["corrected"] == 1


def test_a_corrected_year_moves_the_sheet_and_no_other():
    pages = cells({}, {"region_label": "深圳"}), cells({"value": 2.0}, table=PANEL)
    table = judged(*pages, corrections=(correction("B1", "1.0", year=2019),))
    rows = {(row["region_code"], row["year"], row["status"]) for row in table.frame.to_dicts()}
    assert rows == {("310000", 2019, "corrected"), ("440300", 2019, "corrected"), ("310000", 2020, "reported")}


def test_an_unreadable_cell_comes_back_with_its_correction_and_without_one_stays_out():
    unreadable = cells({"region_label": "深圳", "value": None, "source_cell": f"{SHA}/{PAGE}!B9", "raw_text": "…"})
    unreadable = unreadable.with_columns(value=pl.lit(None, pl.Float64), raw_text=pl.lit("…"), table=pl.lit(PAGE))
    back = stage(cells({}), unreadable=unreadable, corrections=(correction("B9", "…", value=3.0),))
    assert back.sort("source_cell")["value"].to_list() == [1.0, 3.0]
    assert back.filter("value_corrected")["source_cell"].to_list() == [f"{SHA}/{PAGE}!B9"]


@pytest.mark.parametrize("cell", ["B1", "Z99"])
def test_a_source_that_no_longer_says_what_is_expected_is_an_error(cell):
    found = "5.0" if cell == "B1" else "no value"
    with pytest.raises(MethodError, match=rf"expects «4.0» at {SHA}/{PAGE}!{cell}, the source says «{found}»"):
        stage(cells({"value": 5.0}), corrections=(correction(cell, "4.0", value=4.5),))


def test_a_correction_of_a_file_that_is_not_here_does_nothing():
    elsewhere = Correction(f"ffffffffffff/{PAGE}!B1", "1.0", 2.0, None, "because")
    assert not stage(cells({}), corrections=(elsewhere,))["value_corrected"].any()


def test_no_page_is_nothing_to_do():
    with pytest.raises(NothingToDo, match="no page of a known layout"):
        staged({}, pl.DataFrame(), {}, ())


ENTRY = {
    "sha256": "0" * 64,
    "sheet": "1",
    "cell": "B1",
    "expect": "1",
    "set": {"value": 2},
    "reason": "r",
    "date": "2026-11-23",
}


@pytest.mark.parametrize("lacking", ["sha256", "cell", "expect", "set", "reason", "date"])
def test_an_incomplete_entry_is_named(tmp_path: Path, lacking):
    entry = ENTRY
    path = tmp_path / "corrections.yml"
    path.write_text(pl_yaml([entry, {k: v for k, v in entry.items() if k != lacking}]), encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"corrections\.yml, entry 2: lacks"):
        method.load_corrections(path)


def test_the_shipped_corrections_are_complete():
    for found in method.load_corrections(REFERENCE / "corrections.yml"):
        assert (found.value is None) != (found.year is None)
        assert found.reason


def pl_yaml(entries: list[dict]) -> str:
    import yaml

    return yaml.safe_dump(entries)


# -- editions and gaps -------------------------------------------------------------------------------------------------
TO_FILL = pl.DataFrame({"variable": ["gdp"], "unit": ["100m_cny"], "imputation": ["growth"]})
CITIES = ["310000", "110000", "440300", "510100", "440100"]


def peers(*codes: str) -> tuple[Peers, ...]:
    cities = pl.DataFrame({"region_code": codes}).with_columns(tier_id=pl.lit("tier1"), province_code=pl.lit("000000"))
    return (Peers(cities, 0, 9999),)


def vintage_rows(*rows: tuple[str, int, str, float]) -> pl.DataFrame:
    """region_code, year, edition, value of gdp."""
    return pl.DataFrame(
        [
            (code, year, "gdp", edition, value, "100m_cny", "reported", "official", "test", f"{SHA}/{PAGE}!B{n}")
            for n, (code, year, edition, value) in enumerate(rows)
        ],
        schema={**python_contracts()["core/observation_vintages"].schema},
        orient="row",
    )


def test_only_the_gaps_of_cities_that_an_index_evaluates_are_filled():
    rows = [(code, 2019, "2020", 100.0) for code in CITIES] + [(code, 2020, "2021", 110.0) for code in CITIES[2:]]
    evaluated = pl.DataFrame({"region_code": CITIES[:1], "variable": ["gdp"]})
    some = observations(vintage_rows(*rows), TO_FILL, peers(*CITIES), evaluated=evaluated).frame
    assert some.filter(status="imputed")["region_code"].to_list() == CITIES[:1]
    every = observations(vintage_rows(*rows), TO_FILL, peers(*CITIES)).frame
    assert set(every.filter(status="imputed")["region_code"]) == set(CITIES[:2])


@settings(max_examples=40, deadline=None)
@given(editions=st.lists(st.integers(1990, 2030), min_size=1, max_size=6, unique=True), data=st.randoms())
def test_the_latest_edition_wins_and_the_others_are_counted(editions, data):
    rows = [("310000", 2020, str(edition), float(edition)) for edition in editions]
    data.shuffle(rows)
    table = observations(vintage_rows(*rows), TO_FILL, ())
    (row,) = table.frame.to_dicts()
    assert (row["edition"], row["value"]) == (str(max(editions)), float(max(editions)))
    assert table.notes["superseded_vintages"] == len(editions) - 1
    (edge,) = table.edges.to_dicts()
    assert edge["parent_key"] == f"310000|2020|gdp|{max(editions)}"
    assert (edge["role"], edge["coefficient"]) == ("vintage", 1.0)


def test_an_edition_is_ordered_by_its_year_whatever_else_it_says():
    rows = [("310000", 2020, "9th", 1.0), ("310000", 2020, "修订版 2022", 2.0), ("310000", 2020, "2021", 3.0)]
    assert observations(vintage_rows(*rows), TO_FILL, ()).frame["value"].to_list() == [2.0]


def test_a_gap_is_filled_by_its_peers_growth_and_says_from_whom():
    rows = [(code, 2019, "2020", 100.0) for code in CITIES] + [(code, 2020, "2021", 110.0) for code in CITIES[1:]]
    table = observations(vintage_rows(*rows), TO_FILL, peers(*CITIES))
    (filled,) = table.frame.filter(status="imputed").to_dicts()
    assert (filled["region_code"], filled["year"], filled["unit"]) == ("310000", 2020, "100m_cny")
    assert filled["value"] == pytest.approx(110.0)
    assert filled["method"]
    assert filled["source_cell"] is filled["edition"] is filled["source_id"] is None
    edges = table.edges.filter(child_key="310000|2020|gdp")
    roles = edges["role"].to_list()
    assert roles.count("previous_year") == 1
    (before,) = edges.filter(role="previous_year").to_dicts()
    assert before["parent_key"] == "310000|2019|gdp"
    assert before["coefficient"] == pytest.approx(1.1)
    donors = set(edges.filter(role="donor")["parent_key"].to_list())
    assert {f"{code}|2020|gdp" for code in CITIES[1:]} <= donors
    assert table.notes["imputed"] == 1
    others = table.frame.filter(pl.col("status") != "imputed")
    assert others["method"].null_count() == others.height == 9


def test_a_variable_without_imputation_keeps_its_gaps():
    rows = [(code, 2019, "2020", 100.0) for code in CITIES] + [(code, 2020, "2021", 110.0) for code in CITIES[1:]]
    never = TO_FILL.with_columns(imputation=pl.lit("none"))
    table = observations(vintage_rows(*rows), never, peers(*CITIES))
    assert table.frame.height == 9
    assert table.notes["imputed"] == table.notes["gaps_left"] == 0


def test_a_year_that_nobody_reports_is_not_made_up():
    table = observations(vintage_rows(*((code, 2019, "2020", 1.0) for code in CITIES)), TO_FILL, peers(*CITIES))
    assert set(table.frame["year"].to_list()) == {2019}
    assert table.frame.height == len(CITIES)


def test_only_variables_of_an_indicator_are_filled():
    terms = pl.DataFrame({"variable": ["gdp"], "role": ["value"], "indicator_id": ["x"]})
    filled = method.filled_for(VARIABLES, terms)
    asked = set(filled.filter(pl.col("imputation") != "none")["variable"].to_list())
    assert asked == {"gdp"}


def test_peers_by_tier_come_from_the_published_edition_and_only_for_years_after_it():
    regions = pl.DataFrame({"region_code": ["310000", "440300"], "parent_code": ["100000", "440000"]})
    published = pl.DataFrame({"region_code": ["310000"], "year": [2020], "value": [91.6]})
    tiers = pl.DataFrame(
        {"tier_id": ["tier1", "tier2"], "lower": [85.0, None], "upper": [None, 85.0], "name_zh": ["一", "二"]}
    )
    before, after = peer_groups(["440300", "310000"], regions, published, tiers)
    assert (before.first_year, before.last_year, after.first_year) == (0, 2020, 2021)
    assert before.cities["tier_id"].to_list() == [None, None]
    assert dict(after.cities.select("region_code", "tier_id").iter_rows()) == {"310000": "tier1", "440300": None}
    assert dict(after.cities.select("region_code", "province_code").iter_rows())["440300"] == "440000"
    (always,) = peer_groups(["440300"], regions, published.clear(), tiers)
    assert (always.first_year, always.last_year) == (0, 9999)
