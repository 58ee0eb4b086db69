"""Steps before normalisation as tables: who is screened out and why, what is filled from whom, what is pulled in."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import MethodError
from dei_pipeline.methods import imputers
from dei_pipeline.methods.choices import IMPUTERS
from dei_pipeline.methods.leaf_steps import PANEL_IMPUTERS, follows_data, imputed, screened, treated
from dei_pipeline.methods.normalise_rules import RULES
from dei_pipeline.methods.treat import log_CT
from tests.unit.own_steps import (
    CODES,
    FRAMEWORK_KEYS,
    LEAF,
    OWN,
    YEARS,
    check_edges,
    chosen,
    keys_of,
    put,
    regions,
    same_bytes,
    value_of,
    values,
    words,
)

LEAVES = OWN.observed_leaves["node_id"].to_list()
A, B, C = CODES[:3]
SPEED, FOREST, MOBILE, CARBON = "link_speed", "green_forest", "link_mobile", "green_carbon"
ONLY_SCREENING = chosen(imputation=None, treatment=None)
ONLY_IMPUTATION = chosen(screening=None, treatment=None)
ONLY_TREATMENT = chosen(screening=None, imputation=None)


def gaps(code: str, year: int, number: int) -> dict[tuple[str, int, str], float | None]:
    """The first leaves of a region without a value."""
    return {(code, year, leaf): None for leaf in LEAVES[:number]}


# -- screening ---------------------------------------------------------------------------------------------------------
def test_a_region_without_enough_leaves_is_left_out_of_that_year():
    frame = put(values(), gaps(A, 2019, 4) | gaps(B, 2020, 3) | gaps(C, 2020, 11))
    table = screened(ONLY_SCREENING, frame)  # at least 0.7 of 11: 8 leaves
    assert table.notes == {"left_out": [f"{A} 2019: few_values", f"{C} 2020: no_value"], "kept": []}
    out = frame.join(table.frame, on=LEAF, how="anti")
    assert set(out.select("region_code", "year").rows()) == {(A, 2019), (C, 2020)}
    assert table.frame.equals(frame.join(out, on=LEAF, how="anti"), null_equal=True)
    assert table.frame.filter(region_code=B, year=2020)["value"].null_count() == 3
    check_edges(table, LEAF, plsi_inputs=keys_of(frame))
    assert set(table.edges["coefficient"]) == {1.0}
    assert list(python_contracts()["index/screened"].schema) == table.frame.columns


def test_regions_are_kept_and_dropped_by_name():
    frame = put(values(), gaps(A, 2019, 4))
    framework = chosen(ONLY_SCREENING, screening__keep=[A], screening__drop=[B])
    table = screened(framework, frame)
    assert table.notes == {"left_out": [f"{B} 2019: dropped", f"{B} 2020: dropped"], "kept": [f"{A} 2019"]}


def test_a_region_named_may_lack_a_year():
    frame = values().filter(~((pl.col("region_code") == A) & (pl.col("year") == 2019)))
    table = screened(chosen(ONLY_SCREENING, screening__keep=[A], screening__drop=[B]), frame)
    assert table.notes["left_out"] == [f"{B} 2019: dropped", f"{B} 2020: dropped"]


def test_zeros_count_only_where_a_share_is_asked_for():
    frame = put(values(), {(A, 2020, leaf): 0.0 for leaf in LEAVES[:5]})
    assert screened(ONLY_SCREENING, frame).notes["left_out"] == []
    strict = chosen(ONLY_SCREENING, screening__min_nonzero=0.6)
    assert screened(strict, frame).notes["left_out"] == [f"{A} 2020: many_zeros"]


def test_screening_that_cannot_be_is_an_error():
    with pytest.raises(MethodError, match=words("no region of 2019 passes; lower meta.screening")):
        screened(ONLY_SCREENING, put(values(), {("*", 2019, leaf): None for leaf in LEAVES[:4]}))
    with pytest.raises(MethodError, match=words("screening plsi: no region 999999; correct meta.screening")):
        screened(chosen(ONLY_SCREENING, screening__keep=["999999"]), values())
    for step, off in ((screened, "screening"), (imputed, "imputation"), (treated, "treatment")):
        with pytest.raises(MethodError, match=f"add meta.{off}"):
            step(chosen(**{off: None}), values())


# -- imputation --------------------------------------------------------------------------------------------------------
GAPS = {(A, 2020, SPEED): None, (B, 2020, SPEED): None, (CODES[8], 2020, FOREST): None, (A, 2019, CARBON): None}


@pytest.mark.parametrize("method", IMPUTERS)
def test_every_imputer_fills_gaps_says_so_and_leaves_what_is_observed(method: str):
    frame = put(values(), GAPS)
    table = imputed(chosen(ONLY_IMPUTATION, imputation__method=method), frame, regions())
    kept = frame.join(table.frame, on=LEAF, suffix="_after", maintain_order="left").filter(
        pl.col("value").is_not_null()
    )
    assert kept["value"].equals(kept["value_after"])
    assert kept["status"].equals(kept["status_after"])
    filled = table.frame.filter(status="imputed")
    left = table.frame.filter(status="missing")
    if method == "linear":  # one value a series is no line
        assert (filled.height, left.height) == (0, 4)
    elif method == "latest":  # nothing before 2019
        assert (filled.height, left.height) == (3, 1)
    else:
        assert (filled.height, left.height) == (4, 0)
    assert set(filled["method"]) <= {method}
    assert filled["value"].null_count() == filled["donors"].null_count() == 0
    assert (filled["donors"] > 0).all()
    assert (
        table.frame.filter(pl.col("status") != "imputed").select("method", "donors").null_count().row(0)
        == (table.frame.height - filled.height,) * 2
    )
    assert left["value"].null_count() == left.height == table.notes["left_missing"]
    assert sum(table.notes["imputed"].values()) == filled.height
    assert table.notes["not_converged"] == []
    assert set(table.frame.columns) == set(python_contracts()["index/imputed"].schema)
    observed = keys_of(frame.drop_nulls("value"))
    check_edges(table, LEAF, plsi_inputs=keys_of(frame))
    donors = table.edges.filter(role="donor")
    assert set(donors["child_key"]) == keys_of(filled)
    assert set(donors["parent_key"]) <= observed
    assert donors["coefficient"].null_count() == donors.height
    others = table.edges.filter(pl.col("role") != "donor")
    assert (others["child_key"] == others["parent_key"]).all()


def test_a_gap_takes_the_median_of_its_group_and_points_at_its_members():
    frame = put(values(), GAPS)
    table = imputed(ONLY_IMPUTATION, frame, regions())
    zone = [value_of(frame, code, 2020, SPEED) for code in CODES[2:6]]
    assert value_of(table.frame, A, 2020, SPEED) == value_of(table.frame, B, 2020, SPEED) == np.median(zone)
    assert value_of(table.frame, A, 2020, SPEED, "donors") == 4
    donors = table.edges.filter(child_key=f"{A}|2020|{SPEED}")
    assert donors.select("parent_key", "role").sort("parent_key").rows() == [
        (f"{code}|2020|{SPEED}", "donor") for code in CODES[2:6]
    ]
    assert table.notes["imputed"] == {CARBON: 1, FOREST: 1, SPEED: 2}


def test_a_gap_over_time_points_at_the_other_years_of_the_same_cell():
    table = imputed(chosen(ONLY_IMPUTATION, imputation__method="constant"), put(values(), GAPS))
    assert value_of(table.frame, A, 2020, SPEED) == value_of(values(), A, 2019, SPEED)
    edges = table.edges.filter(child_key=f"{A}|2020|{SPEED}")
    assert edges.select("parent_key", "role").rows() == [(f"{A}|2019|{SPEED}", "donor")]


def test_a_group_without_donor_or_a_region_without_group_leaves_the_gap():
    frame = put(values(), {(code, 2020, SPEED): None for code in CODES[:6]})
    table = imputed(ONLY_IMPUTATION, frame, regions({c: None if c == A else "a" for c in CODES[:6]} | {CODES[6]: "b"}))
    assert table.notes["left_missing"] == 6
    assert table.notes["imputed"] == {}
    assert set(table.frame.filter(indicator_id=SPEED, year=2020, region_code=A)["status"]) == {"missing"}
    check_edges(table, LEAF, plsi_inputs=keys_of(frame))


def test_each_year_is_filled_by_itself_unless_the_method_is_one_over_time():
    frame = put(values(), GAPS)
    for method in set(IMPUTERS) - set(PANEL_IMPUTERS):
        framework = chosen(ONLY_IMPUTATION, imputation__method=method)
        both, alone = (imputed(framework, f, regions()).frame for f in (frame, frame.filter(year=2020)))
        assert both.filter(year=2020).equals(alone, null_equal=True), method


def test_regressions_that_do_not_settle_are_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dei_pipeline.methods.imputers.MAX_ITERATIONS", 1)
    monkeypatch.setattr(imputers.regression, "__defaults__", (1,))
    table = imputed(chosen(ONLY_IMPUTATION, imputation__method="regression"), put(values(), GAPS))
    assert table.notes["not_converged"] == [2019, 2020]


def test_groups_need_the_table_of_regions():
    with pytest.raises(MethodError, match=words("groups by zone_id without mart/regions")):
        imputed(ONLY_IMPUTATION, put(values(), GAPS))


# -- treatment ---------------------------------------------------------------------------------------------------------
def heavy(leaf: str, year: int | None = None) -> dict[tuple[str, int, str], float | None]:
    """Huge values: more than one point can tame."""
    years = YEARS if year is None else (year,)
    return {(code, y, leaf): 10.0 ** (3 + 2 * at) + y for y in years for at, code in enumerate(CODES[:4])}


def test_an_outlier_is_pulled_in_and_both_values_stay():
    frame = put(values(), {(A, 2020, CARBON): 9000.0})
    table = treated(ONLY_TREATMENT, frame)
    rest = frame.filter(indicator_id=CARBON)["value"].sort(descending=True)[1]
    cell = table.frame.filter(region_code=A, year=2020, indicator_id=CARBON).row(0, named=True)
    assert (cell["value"], cell["untreated"], cell["treatment"]) == (rest, 9000.0, "winsorise")
    assert table.frame["treatment"].drop_nulls().len() == 1
    assert table.frame["untreated"].equals(frame["value"])
    assert set(table.frame.columns) == set(python_contracts()["index/treated"].schema)
    check_edges(table, LEAF, plsi_inputs=keys_of(frame), core__framework=FRAMEWORK_KEYS)
    of_cell = table.edges.filter(child_key=f"{A}|2020|{CARBON}").select("parent_table", "role", "coefficient")
    assert of_cell.rows() == [("index/plsi_inputs", "value", 0.0), ("core/framework", "treatment", None)]
    note = table.notes["treated"][CARBON]
    assert (note["step"], note["points"], note["passed"]) == ("winsorise", 1, True)
    assert note["skew"][0] > 2 > note["skew"][1]


def test_a_leaf_that_pulling_in_does_not_tame_is_transformed_as_a_whole():
    frame = put(values(), heavy(CARBON) | {(CODES[5], 2019, CARBON): None})
    table = treated(chosen(ONLY_TREATMENT, treatment__max_points=1), frame)
    rows = table.frame.filter(indicator_id=CARBON)
    raw = frame.filter(indicator_id=CARBON)["value"].to_numpy()
    np.testing.assert_array_equal(rows["value"].fill_null(np.nan).to_numpy(), log_CT(raw))
    assert rows.filter(pl.col("value").is_null()).select("status", "treatment").rows() == [("missing", None)]
    assert set(rows.drop_nulls("value")["treatment"]) == {"log_CT"}
    edges = table.edges.filter(pl.col("child_key").str.ends_with(CARBON), role="value")
    assert edges["coefficient"].null_count() == 2 * len(CODES) - 1  # the gap is as it was
    assert table.notes["treated"][CARBON]["step"] == "log_CT"


@pytest.mark.parametrize("leaf", [MOBILE, "link_online_retail"])
def test_a_leaf_whose_rule_has_numbers_in_its_unit_is_winsorised_only(leaf: str):
    table = treated(chosen(ONLY_TREATMENT, treatment__max_points=1), put(values(), heavy(leaf)))
    assert set(table.frame.filter(indicator_id=leaf)["treatment"].drop_nulls()) == {"winsorise"}
    assert table.notes["treated"][leaf]["passed"] is False


def test_a_leaf_that_is_still_outlying_is_said():
    none = chosen(ONLY_TREATMENT, treatment__then="none", treatment__max_points=0)
    table = treated(none, put(values(), heavy(CARBON)))
    assert table.frame["treatment"].null_count() == table.frame.height
    note = table.notes["treated"][CARBON]
    assert (note["step"], note["passed"], note["points"]) == ("none", False, 0)


def test_rules_that_follow_the_data():
    fixed = ("fixed", "winsorised_max", "saturation", "identity")
    assert not any(map(follows_data, fixed))
    assert {rule for rule in RULES if not follows_data(rule)} == {
        "scaled", "goalposts", "distance_to_target", "fraction_of_maximum",
    }  # fmt: skip


def test_by_year_each_year_is_treated_by_itself_and_not_transformed_where_years_are_compared():
    by_year = chosen(ONLY_TREATMENT, treatment__over="year", treatment__max_points=0)
    frame = put(values(), heavy(CARBON, 2020) | heavy("green_spending", 2020))
    table = treated(by_year, frame)
    assert set(table.notes["treated"]) == {f"{CARBON} 2020", "green_spending 2020"}
    assert table.notes["treated"]["green_spending 2020"]["step"] == "log_CT"  # ranked within the year
    assert table.notes["treated"][f"{CARBON} 2020"]["step"] == "none"  # measured by the base year
    assert table.notes["treated"][f"{CARBON} 2020"]["passed"] is False
    assert table.frame.filter(year=2019)["treatment"].null_count() == table.frame.filter(year=2019).height
    for year in YEARS:
        alone = treated(by_year, frame.filter(year=year)).frame
        assert table.frame.filter(year=year).equals(alone, null_equal=True)


def test_constant_and_nearly_empty_leaves_are_listed_and_left_alone():
    flat = {("*", year, SPEED): 50.0 for year in YEARS}
    few = {("*", year, FOREST): None for year in YEARS} | {(A, 2020, FOREST): 9.0}
    table = treated(ONLY_TREATMENT, put(values(), flat | few))
    assert {leaf: note["step"] for leaf, note in table.notes["treated"].items()} == {
        SPEED: "constant", FOREST: "too_few",
    }  # fmt: skip
    assert "skew" not in table.notes["treated"][SPEED]
    assert table.frame["treatment"].null_count() == table.frame.height
    assert value_of(table.frame, A, 2020, FOREST) == 9.0


def test_only_the_leaves_named_are_treated():
    frame = put(values(), {(A, 2020, CARBON): 9000.0, (A, 2020, SPEED): 9000.0})
    table = treated(chosen(ONLY_TREATMENT, treatment__only=[SPEED]), frame)
    assert value_of(table.frame, A, 2020, CARBON) == 9000.0
    assert value_of(table.frame, A, 2020, SPEED) < 200
    for strange in ("networks", "forests"):
        with pytest.raises(MethodError, match=f"treatment of {strange}: no leaf of plsi"):
            treated(chosen(ONLY_TREATMENT, treatment__only=[strange]), frame)


# -- all of them -------------------------------------------------------------------------------------------------------
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([m for m in IMPUTERS if m not in ("knn", "regression")]))
def test_v1_row_order_does_not_change_a_byte(seed: int, method: str):
    rng = np.random.default_rng(seed)
    frame = values(seed=seed)
    lost = rng.random(frame.height) < 0.1
    frame = frame.with_columns(
        value=pl.when(pl.Series(~lost)).then("value"),
        status=pl.when(pl.Series(lost)).then(pl.lit("missing")).otherwise("status"),
    )
    other = frame.sample(fraction=1, shuffle=True, seed=seed + 1)
    framework = chosen(imputation__method=method, screening__min_available=0.5)
    for step in (screened, lambda f, v: imputed(f, v, regions()), treated):
        one, two = step(framework, frame), step(framework, other)
        same_bytes(*(replace(table, frame=table.frame.sort(LEAF)) for table in (one, two)))
        frame, other = one.frame, two.frame
