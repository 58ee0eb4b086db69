"""What an index publishes: ranks of nodes, types, the ranking, robustness; each with its lineage."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import MethodError, NothingToDo
from dei_pipeline.methods import composite, rankings, robustness_tables
from dei_pipeline.methods.choices import Robustness
from dei_pipeline.methods.framework_grammar import TYPE_SCHEMA
from dei_pipeline.methods.tiers import competition_rank, round_half_up
from dei_pipeline.provenance import row_key
from tests.trees import framework_of

CELL, NODE = ["region_code", "year"], ["region_code", "year", "node_id"]
TREE = [("x", None, 1.0), ("a", "x", 0.6), ("b", "x", 0.4), ("a1", "a", 0.7), ("a2", "a", 0.3), ("b1", "b", 1.0)]
YEARS = (2019, 2020)


def typed(*types):
    """The framework with types: (id, max_rank, min_percentile)."""
    rows = [
        {"index_id": "x", "edition": "2021", "type_id": i, "name_zh": f"型{i}", "name_en": i, "max_rank": r}
        | {"min_percentile": p}
        for i, r, p in types
    ]
    index = framework_of(TREE)
    choices = replace(index.choices, robustness=Robustness(replications=200, top=(1, 2), sobol=32))
    return replace(index, types=pl.DataFrame(rows, schema=TYPE_SCHEMA), choices=choices)


INDEX = typed(("lead", 1, None), ("rest", None, None))


def codes(n):
    return [f"{110000 + 100 * i}" for i in range(n)]


def thresholds(index, theta=50.0):
    rows = [
        {"edition": index.edition, "indicator_id": leaf, "theta": theta, "direction": "positive", "cap": 100.0}
        | {"rule": "fixed", "over": None}
        for leaf in index.leaf_ids
    ]
    numbers = dict.fromkeys(("lo", "best", "hi", "mean", "sd", "worst", "target", "reference"))
    return pl.DataFrame([row | numbers for row in rows], infer_schema_length=None)


def tables(index, raw, years=YEARS):
    """Normalised, scores, ranks and node ranks from raw values, shape (cities · years, leaves), θ = 50."""
    cells = pl.DataFrame({"region_code": codes(len(raw) // len(years))}).join(
        pl.DataFrame({"year": list(years)}, schema={"year": pl.Int32}), how="cross"
    )
    parts = [
        cells.with_columns(
            indicator_id=pl.lit(leaf),
            raw=pl.Series(raw[:, j]).fill_nan(None),
            score=pl.Series(np.minimum(raw[:, j] * 2.0, 100.0)).fill_nan(None),
            flag=pl.lit(None, pl.String),
            status=pl.lit("reported"),
        )
        for j, leaf in enumerate(index.leaf_ids)
    ]
    normalised = pl.concat(parts)
    weights = index.nodes.select("edition", "node_id", "weight").with_columns(edition=pl.lit(index.edition))
    scores = composite.scores(index, normalised, weights).frame
    inputs = normalised.select("region_code", "year", "indicator_id", "status")
    ranks = composite.ranks(index, scores, inputs).frame
    return {"normalised": normalised, "weights": weights, "scores": scores, "ranks": ranks}


def regions(n, years=YEARS):
    cells = pl.DataFrame({"region_code": codes(n)}).join(
        pl.DataFrame({"year": list(years)}, schema={"year": pl.Int32}), how="cross"
    )
    return cells.with_columns(
        short_name_zh=pl.format("城{}", "region_code"),
        name_en=pl.lit(None, pl.String),
        province_name=pl.lit("省"),
        province_code=pl.when(pl.col("region_code") < "110300").then(pl.lit("110000")).otherwise(pl.lit("120000")),
        zone_id=pl.lit("east"),
    )


def made(n=6, seed=0, index=INDEX):
    raw = np.random.default_rng(seed).uniform(5, 60, (n * len(YEARS), len(index.leaf_ids)))
    found = tables(index, raw)
    found["node_ranks"] = composite.node_ranks(index, found["scores"], found["ranks"], regions(n)).frame
    return found


def year(index, found, which=2020):
    part = {name: found[name].filter(pl.col("year") == which) for name in ("normalised", "scores")}
    return robustness_tables.year_of(index, part["normalised"], thresholds(index), found["weights"], part["scores"])


# -- ranks of nodes ----------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_r1_every_node_is_ranked_by_its_own_score_within_year_zone_and_province(seed):
    found = made(7, seed)
    table = composite.node_ranks(INDEX, found["scores"], found["ranks"], regions(7))
    for (_, _), part in table.frame.partition_by("year", "node_id", as_dict=True).items():
        assert (part["rank"].to_numpy() == competition_rank(part["score"].to_numpy())).all()
        assert set(part["cities"]) == {7}
        for _, province in part.partition_by("province_code", as_dict=True).items():
            assert (province["province_rank"].to_numpy() == competition_rank(province["score"].to_numpy())).all()
        assert (part["zone_rank"] == part["rank"]).all()
    assert set(table.frame["node_id"]) == {"x", "a", "b"}
    keys = set(table.frame.select(row_key(NODE)).to_series())
    assert set(table.edges["child_key"]) == keys
    assert set(table.edges["role"]) == {"score", "group"}


def test_cities_that_are_not_ranked_have_no_rank_of_a_node():
    found = made(4)
    ranks = found["ranks"].with_columns(ranked=pl.col("region_code") != "110000")
    table = composite.node_ranks(INDEX, found["scores"], ranks, regions(4)).frame
    assert "110000" not in set(table["region_code"])
    assert set(table["cities"]) == {3}


def test_a_city_without_a_region_keeps_its_rank_but_has_none_in_a_group():
    found = made(3)
    table = composite.node_ranks(INDEX, found["scores"], found["ranks"], regions(2)).frame
    lost = table.filter(region_code="110200")
    assert lost["rank"].null_count() == 0
    assert lost["zone_rank"].null_count() == lost.height > 0


# -- types -------------------------------------------------------------------------------------------------------------
def test_the_first_type_whose_bounds_hold_is_the_citys():
    index = typed(("strong", 2, 50.0), ("near", 3, None), ("rest", None, None))
    raw = np.array([[50, 50, 50], [45, 45, 2], [40, 40, 40], [10, 10, 10], [5, 5, 5]], dtype=np.float64)
    found = tables(index, raw, years=(2020,))
    table = composite.types(index, found["scores"], found["ranks"])
    rows = dict(table.frame.select("region_code", "type_id").iter_rows())
    # 110100 is second or third by rank but last in b: no percentile of 50 in every dimension.
    assert [rows[code] for code in codes(5)] == ["strong", "near", "strong", "rest", "rest"]
    assert dict(table.frame.select("region_code", "min_percentile").iter_rows())["110100"] == 0.0
    assert table.frame["speciality"].to_list()[1] == "a"
    edges = table.edges.filter(child_key="110000|2020")
    assert sorted(edges["role"]) == ["dimension", "dimension", "rank", "types"]


def test_speciality_is_the_dimension_with_the_largest_z_score():
    found = made(6, seed=3)
    frame = composite.types(INDEX, found["scores"], found["ranks"]).frame.filter(year=2020)
    wide = found["scores"].filter(pl.col("node_id").is_in(["a", "b"]) & (pl.col("year") == 2020))
    wide = wide.pivot(on="node_id", index="region_code", values="score").sort("region_code")
    points = wide.select("a", "b").to_numpy()
    z = (points - points.mean(axis=0)) / points.std(axis=0, ddof=1)
    assert frame.sort("region_code")["speciality"].to_list() == ["ab"[k] for k in z.argmax(axis=1)]
    np.testing.assert_allclose(frame.sort("region_code")["speciality_z"], z.max(axis=1))


def test_one_city_has_a_type_but_no_speciality():
    found = tables(INDEX, np.array([[10.0, 20.0, 30.0]]), years=(2020,))
    (row,) = composite.types(INDEX, found["scores"], found["ranks"]).frame.to_dicts()
    assert (row["type_id"], row["speciality"], row["speciality_z"], row["min_percentile"]) == ("lead", None, None, 100)


# -- the ranking -------------------------------------------------------------------------------------------------------
def test_the_ranking_prints_rounded_scores_ranks_and_types_and_leads_to_all_of_them():
    found = made(5)
    types = composite.types(INDEX, found["scores"], found["ranks"]).frame
    table = rankings.ranking(INDEX, found["ranks"], found["node_ranks"], regions(5), types)
    frame = table.frame.sort("year", "rank")
    exact = found["ranks"].join(frame.select(*CELL, shown="score"), on=CELL)
    assert (np.asarray(round_half_up(exact["score"].to_numpy(), 1)) == exact["shown"].to_numpy()).all()
    own = found["node_ranks"].filter(node_id="a").join(frame.select(*CELL, "a", "a_rank"), on=CELL)
    assert (np.asarray(round_half_up(own["score"].to_numpy(), 1)) == own["a"].to_numpy()).all()
    assert (own["rank"] == own["a_rank"]).all()
    assert frame.filter(year=2020)["type_name_zh"].to_list() == ["型lead", *["型rest"] * 4]
    roles = table.edges.filter(child_key="2020|110000").group_by("role").len()
    tier = frame.filter(year=2020, region_code="110000")["tier"][0]
    assert tier is not None
    assert dict(roles.iter_rows()) == {"rank": 1, "score": 3, "name": 1, "index": 1, "tier": 1, "type": 1}


def test_an_index_without_tiers_or_types_has_a_ranking_without_them():
    plain = replace(framework_of(TREE), tiers=INDEX.tiers.clear())
    found = made(3, index=plain)
    table = rankings.ranking(plain, found["ranks"], found["node_ranks"], regions(3))
    assert table.frame["tier"].null_count() == table.frame.height
    assert "type" not in table.frame.columns
    assert "tier" not in set(table.edges["role"])


# -- robustness --------------------------------------------------------------------------------------------------------
def test_robustness_starts_from_the_composite_of_the_lake_and_adds_up():
    found = made(8)
    this = year(INDEX, found)
    table = robustness_tables.robustness(INDEX, this)
    frame = table.frame.sort(CELL)
    nominal = found["ranks"].filter(year=2020).sort(CELL)
    np.testing.assert_allclose(frame["score"], nominal["score"], atol=1e-9)
    assert (frame["rank"] == nominal["rank"]).all()
    assert ((frame["rank_p05"] <= frame["rank_median"]) & (frame["rank_median"] <= frame["rank_p95"])).all()
    assert table.notes["replications"] == 200
    assert set(frame.columns) >= set(python_contracts()["index/robustness"].schema)
    chance = robustness_tables.probabilities(INDEX, this).frame
    tiers = chance.filter(pl.col("event").str.starts_with("tier:")).group_by(CELL).agg(pl.col("probability").sum())
    np.testing.assert_allclose(tiers["probability"], 1.0)
    firsts = chance.filter(event="top:1")["probability"].sum()
    assert firsts == pytest.approx(1.0, abs=0.1)  # ties may share a first place


def test_equal_seeds_give_equal_bytes_and_other_seeds_others():
    found = made(6)
    first = robustness_tables.robustness(INDEX, year(INDEX, found)).frame
    assert robustness_tables.robustness(INDEX, year(INDEX, found)).frame.equals(first)
    other = replace(INDEX, choices=replace(INDEX.choices, robustness=replace(INDEX.choices.robustness, seed=1)))
    assert not robustness_tables.robustness(other, year(other, found)).frame.equals(first)


def test_stale_scores_are_an_error_and_no_table():
    found = made(5)
    stale = found["scores"].with_columns(score=pl.col("score") + (pl.col("node_id") == "x").cast(pl.Float64))
    with pytest.raises(MethodError, match=r"does not give the composite; .*dei run --all"):
        robustness_tables.robustness(INDEX, year(INDEX, found | {"scores": stale}))


def test_capped_scores_vary_with_their_thresholds():
    raw = np.full((6, 3), 52.0)  # θ = 50: capped at 100; a threshold of 55 gives 94.5
    raw[::2] = 20.0
    found = tables(INDEX, raw, years=(2020,))
    frame = robustness_tables.robustness(INDEX, year(INDEX, found)).frame.sort(CELL)
    assert frame["score_p95"].max() == pytest.approx(100.0)
    assert frame["score_p05"].to_numpy()[1] < 100.0


def test_sensitivities_of_a_year_in_which_no_rank_moves_are_no_row_and_a_note():
    found = tables(INDEX, np.array([[10.0, 10, 10], [20, 20, 20], [30, 30, 30], [40, 40, 40]]), years=(2020,))
    table = robustness_tables.sensitivities(INDEX, year(INDEX, found))
    assert table.frame.is_empty()
    assert table.notes == {"no_rank_moves": ["2020"]}


def test_sensitivities_name_every_factor_and_total_is_at_least_first():
    found = made(10, seed=5)
    table = robustness_tables.sensitivities(INDEX, year(INDEX, found))
    assert set(table.frame["assumption"]) == {
        "leaf_weights",
        "node_weights",
        "thresholds",
        "aggregation",
        "normalisation",
    }
    assert set(table.edges["role"]) == {"group", "assumptions"}


def test_removal_of_a_leaf_says_how_far_ranks_move_and_leads_to_its_weight():
    found = made(9, seed=2)
    table = robustness_tables.removals(INDEX, year(INDEX, found))
    assert {"a1", "a2", "a", "b"} <= set(table.frame["node_id"])
    assert (table.frame["mean_abs_rank_shift"] >= 0).all()
    assert table.edges.filter(role="removed")["parent_key"].to_list()[0].startswith(f"{INDEX.edition}|")


def test_correlations_are_those_of_numpy_and_alpha_is_of_the_siblings():
    found = made(12, seed=4)
    table = robustness_tables.correlations(INDEX, found["scores"])
    wide = found["scores"].filter(year=2020).pivot(on="node_id", index="region_code", values="score")
    (row,) = table.frame.filter(year=2020, node_id="a1", ancestor_id="x").to_dicts()
    assert row["r"] == pytest.approx(np.corrcoef(wide["a1"], wide["x"])[0, 1])
    assert (row["levels_up"], row["n"]) == (2, 12)
    assert table.frame.filter(node_id="b1")["alpha"].null_count() == 4  # an only child, two years, two ancestors
    assert table.edges.filter(child_key="2020|a1|x").height == 12


def test_a_year_with_three_cities_has_no_correlation():
    with pytest.raises(NothingToDo, match="fewer than 4 regions"):
        robustness_tables.correlations(INDEX, made(3)["scores"])


def test_an_index_that_varies_nothing_has_no_robustness():
    found = made(4)
    plain = replace(INDEX, choices=replace(INDEX.choices, robustness=None))
    with pytest.raises(MethodError, match=r"x varies nothing; add meta\.robustness"):
        year(plain, found)
