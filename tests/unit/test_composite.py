"""The index as tables: lineage of every row, exact sums, missing and imputed values, and the failure paths."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods import composite, leaves, weight_tables
from dei_pipeline.methods import thresholds as threshold_tables
from dei_pipeline.methods.framework import packaged
from dei_pipeline.provenance import EDGE_SCHEMA, row_key

DEI = packaged("dei")
CELL, LEAF, NODE = ["region_code", "year"], ["region_code", "year", "indicator_id"], ["region_code", "year", "node_id"]
BROADBAND = "fixed_broadband_penetration"
CLOUD = "city_cloud_platform"


def indicators(cities=12, years=(2019, 2020), seed=0, share=1.0):
    """Synthetic mart rows of all observed leaves."""
    rng = np.random.default_rng(seed)
    grid = pl.DataFrame({"region_code": [f"{110000 + 100 * i}" for i in range(cities)]})
    grid = grid.join(pl.DataFrame({"year": list(years)}, schema={"year": pl.Int64}), how="cross")
    grid = grid.join(DEI.observed_leaves.select(pl.col("node_id").alias("indicator_id"), "unit"), how="cross")
    rows = grid.with_columns(
        pl.Series("value", rng.uniform(1, 100, grid.height)), pl.lit("reported").alias("status")
    ).select(*LEAF, "value", "unit", "status")
    return rows.sample(fraction=share, seed=seed) if share < 1 else rows


def run(frame, cities=None):
    """All tables of the index by name."""
    cities = frame.select("region_code").unique() if cities is None else cities
    inputs = leaves.inputs(DEI, frame, cities)
    thresholds = threshold_tables.thresholds(DEI, inputs.frame)
    normalised = leaves.normalised(DEI, inputs.frame, thresholds.frame)
    weights = weight_tables.weights(DEI)
    scores = composite.scores(DEI, normalised.frame, weights.frame)
    ranks = composite.ranks(DEI, scores.frame, inputs.frame)
    return {
        "inputs": inputs, "thresholds": thresholds, "normalised": normalised,
        "weights": weights, "scores": scores, "ranks": ranks,
    }  # fmt: skip


KEYS = {
    "inputs": LEAF,
    "thresholds": ["edition", "indicator_id"],
    "normalised": LEAF,
    "weights": ["edition", "node_id"],
    "scores": NODE,
    "ranks": CELL,
}


def change(frame, city, leaf, **values):
    at = (pl.col("region_code") == city) & (pl.col("indicator_id") == leaf)
    return frame.with_columns(pl.when(at).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in values.items())


def edges(table, child, role=None):
    found = table.edges.filter(pl.col("child_key") == child)
    return found if role is None else found.filter(pl.col("role") == role)


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_every_row_has_a_key_of_its_own_and_an_edge_to_an_existing_row(share):
    frame = indicators(share=share)
    tables = run(frame)
    keys = {f"index/dei_{name}": set(t.frame.select(row_key(KEYS[name])).to_series()) for name, t in tables.items()}
    keys["index/thresholds"] = keys.pop("index/dei_thresholds")
    keys["mart/city_indicators"] = set(frame.select(row_key(LEAF)).to_series())
    keys["core/framework"] = set(DEI.nodes.select(row_key(["index_id", "edition", "node_id"])).to_series())
    for name, table in tables.items():
        assert dict(table.edges.schema) == EDGE_SCHEMA
        assert table.frame.select(KEYS[name]).is_unique().all()
        children = keys["index/thresholds" if name == "thresholds" else f"index/dei_{name}"]
        assert set(table.edges["child_key"]) == children, name
        assert table.edges.select("child_key", "parent_table", "parent_key").is_unique().all(), name
        for parent, of_parent in table.edges.group_by("parent_table"):
            assert set(of_parent["parent_key"]) <= keys[parent[0]], (name, parent)
        floats = table.frame.select(pl.selectors.float())
        assert not any(floats[column].is_nan().any() for column in floats.columns)


def test_any_integer_type_of_the_year_will_do():
    narrow = run(indicators(cities=2).with_columns(pl.col("year").cast(pl.Int32)))
    assert narrow["ranks"].frame["score"].to_list() == run(indicators(cities=2))["ranks"].frame["score"].to_list()


def test_columns_follow_the_contract():
    for name, table in run(indicators(cities=2)).items():
        assert set(table.frame.columns) == set(python_contracts()[f"index/{name}"].schema), name


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 1))
def test_a3_leaf_contributions_and_child_edges_add_up_to_the_scores(seed, share):
    scores = run(indicators(cities=4, seed=seed, share=share))["scores"]
    leaves = scores.frame.filter(pl.col("node_id").is_in(DEI.leaf_ids))
    sums = leaves.group_by(CELL).agg(pl.col("contribution").sum().alias("sum"))
    composites = scores.frame.filter(pl.col("level") == 0).drop_nulls("score").join(sums, on=CELL)
    np.testing.assert_allclose(composites["sum"], composites["score"], atol=1e-9)
    value = scores.frame.select(row_key(NODE).alias("parent_key"), "score")
    rebuilt = (
        scores.edges.filter(role="child")
        .join(value, on="parent_key")
        .group_by(pl.col("child_key").alias("parent_key"))
        .agg((pl.col("coefficient") * pl.col("score").fill_null(0)).sum().alias("sum"))
    )
    both = value.drop_nulls().join(rebuilt, on="parent_key")
    np.testing.assert_allclose(both["sum"], both["score"], atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_v1_row_order_does_not_change_a_byte(seed):
    frame = indicators(cities=5, seed=seed, share=0.9)
    one, other = run(frame), run(frame.sample(fraction=1, shuffle=True, seed=seed + 1))
    for name in one:
        assert one[name].frame.equals(other[name].frame), name
        assert one[name].edges.sort(pl.all()).equals(other[name].edges.sort(pl.all())), name


def test_inputs_are_complete_and_say_what_is_missing():
    frame = indicators(cities=3).filter(
        ~(
            (pl.col("region_code") == "110000")
            & pl.col("indicator_id").is_in([BROADBAND, "livelihood_policy_coverage_count"])
        )
    )
    frame = frame.filter(~((pl.col("region_code") == "110100") & (pl.col("year") == 2019)))
    table = leaves.inputs(DEI, frame, pl.DataFrame({"region_code": ["110000", "110100", "990000"]}))
    assert table.frame.height == 3 * 44  # 110000 twice, 110100 in 2020; 990000 has no value at all
    absent = table.frame.filter(
        (pl.col("region_code") == "110000") & (pl.col("year") == 2020) & pl.col("value").is_null()
    )
    assert absent.select("indicator_id", "status").rows() == [
        (BROADBAND, "missing"),
        ("livelihood_policy_coverage_count", "missing"),  # zero_is_observed: no search, no zero
    ]
    (edge,) = edges(table, f"110000|2020|{BROADBAND}").rows(named=True)
    assert (edge["parent_table"], edge["parent_key"], edge["role"]) == (
        "core/framework", f"dei|2021|{BROADBAND}", "definition",
    )  # fmt: skip
    assert table.notes["cities_not_listed"] == 88


def test_a_structural_zero_is_a_zero_only_where_zeros_are_observed():
    frame = change(indicators(cities=2), "110000", "governance_digital_projects", value=None, status="structural_zero")
    frame = change(frame, "110000", CLOUD, value=None, status="structural_zero")
    found = leaves.inputs(DEI, frame, frame.select("region_code")).frame.filter(pl.col("region_code") == "110000")
    assert (
        found.filter(indicator_id="governance_digital_projects").select("value", "status").rows()
        == [(0.0, "structural_zero")] * 2
    )
    assert found.filter(indicator_id=CLOUD).select("value", "status").rows() == [(None, "missing")] * 2


def test_threshold_points_at_the_rows_that_determine_it():
    values = {f"{110000 + 100 * i}": v for i, v in enumerate([1.0, 2, 2, 3, 3, 4, 4, 5, 6, 60])}
    frame = indicators(cities=10)
    for city, value in values.items():
        frame = change(frame, city, BROADBAND, value=value)
    tables = run(frame)
    theta = tables["thresholds"].frame.filter(indicator_id=BROADBAND).row(0, named=True)
    assert (theta["theta"], theta["rule"], theta["cap"]) == (6.0, "winsorised_max", 100.0)
    found = edges(tables["thresholds"], f"2021|{BROADBAND}").select("parent_table", "parent_key", "role", "coefficient")
    assert found.rows() == [
        ("index/dei_inputs", f"110800|2020|{BROADBAND}", "maximum", 1.0),
        ("index/dei_inputs", f"110900|2020|{BROADBAND}", "treated", 0.0),
    ]
    assert edges(tables["thresholds"], f"2021|{CLOUD}")["parent_key"].to_list() == [f"dei|2021|{CLOUD}"]
    normalised = tables["normalised"]
    top, middle = (
        normalised.frame.filter(region_code=c, year=2020, indicator_id=BROADBAND) for c in ("110900", "110300")
    )
    assert top.select("raw", "score", "flag").row(0) == (60.0, 100.0, "capped")
    assert middle.select("raw", "score", "flag").row(0) == (3.0, 50.0, None)
    assert edges(normalised, f"110900|2020|{BROADBAND}", "value")["coefficient"].item() == 0
    assert edges(normalised, f"110300|2020|{BROADBAND}", "value")["coefficient"].item() == pytest.approx(100 / 6)


def test_a_leaf_without_base_year_value_has_no_score_and_says_why():
    frame = indicators().filter(~((pl.col("indicator_id") == BROADBAND) & (pl.col("year") == 2020)))
    tables = run(frame)
    assert tables["thresholds"].notes["without_threshold"] == [BROADBAND]
    rows = tables["normalised"].frame.filter(pl.col("indicator_id") == BROADBAND)
    assert rows["score"].null_count() == rows.height
    assert rows.filter(year=2019)["flag"].unique().to_list() == ["no_threshold"]
    assert rows.filter(year=2020)["flag"].unique().to_list() == [None]


def test_evenness_is_derived_from_the_areas_and_inherits_their_status():
    members = DEI.members_of("service_balance")
    frame = indicators(cities=3).with_columns(
        pl.when(pl.col("indicator_id").is_in(members)).then(40.0).otherwise(pl.col("value")).alias("value")
    )
    frame = change(frame, "110000", members[0], status="imputed")
    normalised = run(frame)["normalised"]
    rows = normalised.frame.filter(indicator_id="service_balance", year=2020)
    assert rows.select("raw", "score", "status").rows() == [
        (100.0, 100.0, "imputed"),
        *[(100.0, 100.0, "reported")] * 2,
    ]
    assert edges(normalised, "110000|2020|service_balance", "area")["parent_key"].sort().to_list() == sorted(
        f"110000|2020|{m}" for m in members
    )
    lost = frame.filter(~pl.col("indicator_id").is_in(members[:5]))
    rows = run(lost)["normalised"].frame.filter(indicator_id="service_balance", year=2020)
    assert rows.select("score", "status").unique().rows() == [(None, "missing")]


def imputed_share(count):
    """Ranks of 2020 where the first `count` leaves of 110000 are imputed."""
    frame = indicators()
    for leaf in DEI.observed_leaves["node_id"][:count]:
        frame = change(frame, "110000", leaf, status="imputed")
    return run(frame)["ranks"]


def test_imputed_weight_marks_a_city_and_takes_its_rank():
    small, marked, unranked = (imputed_share(n).frame.filter(region_code="110000", year=2020) for n in (3, 12, 20))
    assert small.select("imputed_weight", "badge", "ranked").row(0) == (pytest.approx(0.042), None, True)
    assert (marked["badge"].item(), marked["ranked"].item()) == ("imputed", True)
    # 9 infrastructure leaves .2, policy .0525, area 1 of 8 (.02275) with its part 10/90 of the evenness leaf (.02275).
    assert marked["imputed_weight"].item() == pytest.approx(0.2 + 0.0525 + 0.02275 * (1 + 1 / 9))
    assert unranked.select("badge", "ranked", "rank").row(0) == ("imputed", False, None)
    assert unranked["score_published"].item() is not None
    others = imputed_share(20).frame.filter(pl.col("year") == 2020).drop_nulls("rank")
    assert others["rank"].sort().to_list() == list(range(1, 12))


def test_imputed_inputs_are_parents_of_the_rank():
    table = imputed_share(1)
    assert edges(table, "110000|2020", "imputed")["parent_key"].to_list() == [f"110000|2020|{DEI.leaf_ids[0]}"]
    assert edges(table, "110000|2020", "score")["parent_key"].to_list() == ["110000|2020|dei"]


def test_a_city_with_too_little_has_no_score_no_rank_and_no_tier():
    frame = indicators().filter((pl.col("region_code") != "110000") | (pl.col("indicator_id") == BROADBAND))
    row = run(frame)["ranks"].frame.filter(region_code="110000", year=2020).row(0, named=True)
    assert (row["score"], row["rank"], row["tier_id"], row["imputed_weight"], row["ranked"]) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert row["coverage"] == 0  # .2 of its node is below the limit, and a null child carries nothing


def test_r1_ranks_of_a_year_agree_with_its_scores():
    frame = run(indicators(cities=30))["ranks"].frame
    expected = frame.select(pl.col("score").rank("min", descending=True).over("year")).to_series()
    assert frame["rank"].to_list() == expected.to_list()


def test_a_lake_without_sources_is_skipped_with_the_reason():
    frame = indicators(cities=2)
    for nothing in (frame.clear(), frame.with_columns(pl.lit(None, pl.Float64).alias("value"))):
        with pytest.raises(NothingToDo, match="no leaf of the DEI has a source"):
            leaves.inputs(DEI, nothing, frame.select("region_code"))


def test_the_steps_behind_empty_inputs_give_empty_tables():
    inputs = leaves.inputs(DEI, indicators(cities=2), indicators(cities=2).select("region_code")).frame.clear()
    thresholds = threshold_tables.thresholds(DEI, inputs).frame
    assert thresholds.height == 43  # all but the three base-year maxima
    normalised = leaves.normalised(DEI, inputs, thresholds).frame
    scores = composite.scores(DEI, normalised, weight_tables.weights(DEI).frame).frame
    ranks = composite.ranks(DEI, scores, inputs).frame
    assert normalised.is_empty()
    assert scores.is_empty()
    assert ranks.is_empty()


def test_failures_name_the_place():
    frame = indicators(cities=2)
    cities = frame.select("region_code")
    with pytest.raises(MethodError, match=r"city_indicators holds 110000\|2019\|.* more than once"):
        leaves.inputs(DEI, pl.concat([frame, frame]), cities)
    with pytest.raises(MethodError, match=f"{BROADBAND} is in promille, not percent"):
        leaves.inputs(DEI, change(frame, "110000", BROADBAND, unit="promille"), cities)
    with pytest.raises(MethodError, match="is not finite"):
        leaves.inputs(DEI, change(frame, "110000", BROADBAND, value=float("inf")), cities)
    inputs = leaves.inputs(DEI, frame, cities).frame
    with pytest.raises(NothingToDo, match="no value of the base year 2020"):
        threshold_tables.thresholds(DEI, inputs.filter(pl.col("year") == 2019))
    zeros = inputs.with_columns(
        pl.when(pl.col("indicator_id") == BROADBAND).then(0.0).otherwise(pl.col("value")).alias("value")
    )
    with pytest.raises(MethodError, match=f"{BROADBAND}: the largest value of 2020 is 0"):
        threshold_tables.thresholds(DEI, zeros)
    thresholds = threshold_tables.thresholds(DEI, inputs).frame
    with pytest.raises(MethodError, match="more than once"):
        leaves.normalised(DEI, inputs, pl.concat([thresholds, thresholds]))
    normalised = leaves.normalised(DEI, inputs, thresholds).frame
    with pytest.raises(MethodError, match="lacks node dei"):
        composite.scores(DEI, normalised, weight_tables.weights(DEI).frame.clear())
