"""Ranks within years, nodes and groups, strengths of one unit, and scorings against each other."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.compare import (
    compare,
    compare_correlation,
    compare_many,
    rank_table,
    strengths,
    unit_summary,
    weaknesses,
)

UNITS = ["110000", "120000", "310000", "320100"]


def ranking(*scores, units=UNITS, **columns):
    """A plain ranking: one score per unit."""
    return pl.DataFrame({"region_code": units[: len(scores)], "score": list(scores), **columns}, strict=False)


def tree_scores(*rows):
    """Scores of several nodes: rows (unit, node, score), or (unit, year, node, score)."""
    names = ["region_code", "year", "node_id", "score"] if len(rows[0]) == 4 else ["region_code", "node_id", "score"]
    return pl.DataFrame(list(rows), schema=names, orient="row")


# -- ranks -------------------------------------------------------------------------------------------------------------
def test_ranks_are_competition_ranks_and_a_missing_score_has_none():
    table = rank_table(ranking(60.0, 70.0, None, 70.0))
    assert table["rank"].to_list() == [3, 1, None, 1]
    assert table["ranked"].to_list() == [3, 3, 3, 3]
    assert rank_table(ranking(60.0, np.nan))["rank"].to_list() == [1, None]


def test_scores_that_differ_by_a_rounding_error_tie():
    assert rank_table(ranking(0.3, 0.1 + 0.2, 0.29))["rank"].to_list() == [1, 1, 3]


def test_units_are_ranked_within_year_and_node_or_over_the_pooled_years():
    frame = tree_scores(
        ("a", 2019, "x", 1.0),
        ("b", 2019, "x", 2.0),
        ("a", 2020, "x", 3.0),
        ("b", 2020, "x", 2.5),
        ("a", 2020, "y", 9.0),
    )
    assert rank_table(frame)["rank"].to_list() == [2, 1, 1, 2, 1]
    assert rank_table(frame, pooled=True)["rank"].to_list() == [4, 3, 1, 2, 1]


def test_ranks_within_a_group_start_at_one_in_every_group():
    table = rank_table(ranking(4.0, 3.0, 2.0, 1.0, zone=["e", "w", "e", "w"]), group="zone")
    assert table["rank"].to_list() == [1, 1, 2, 2]
    assert table["ranked"].to_list() == [2, 2, 2, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 8).map(float)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_ranks_do_not_depend_on_the_order_of_rows_and_agree_with_scipy(scores, random):
    frame = ranking(*scores, units=[f"{i:06d}" for i in range(len(scores))]).cast({"score": pl.Float64})
    order = list(range(len(scores)))
    random.shuffle(order)
    table = rank_table(frame)
    assert_frame_equal(rank_table(frame[order]).sort("region_code"), table)
    scored = table.drop_nulls("score")
    expected = stats.rankdata(-scored["score"].to_numpy(), method="min") if scored.height else []
    assert scored["rank"].to_list() == list(expected)


def test_failures_of_ranks():
    with pytest.raises(MethodError, match="no column score"):
        rank_table(pl.DataFrame({"region_code": ["a"]}))
    with pytest.raises(MethodError, match="110000 stands more than once"):
        rank_table(ranking(1.0, 2.0, units=["110000", "110000"]))
    with pytest.raises(MethodError, match="120000 is infinite"):
        rank_table(ranking(1.0, np.inf))
    with pytest.raises(MethodError, match="empty key"):
        rank_table(ranking(1.0, units=[None]))
    with pytest.raises(MethodError, match="no column 'zone'"):
        rank_table(ranking(1.0), group="zone")
    with pytest.raises(MethodError, match="120000 has no zone"):
        rank_table(ranking(1.0, 2.0, zone=["e", None]), group="zone")


# -- one unit ----------------------------------------------------------------------------------------------------------
LEAVES = tree_scores(
    ("a", "root", 5.0), ("a", "x", 1.0), ("a", "y", 9.0), ("a", "z", 9.0), ("a", "v", None),
    ("b", "root", 6.0), ("b", "x", 2.0), ("b", "y", 8.0), ("b", "z", 8.0), ("b", "v", 3.0),
    ("c", "root", 4.0), ("c", "x", 3.0), ("c", "y", 9.5), ("c", "z", 7.0), ("c", "v", 2.0),
)  # fmt: skip


def test_the_summary_of_a_unit_shows_every_node_also_without_score():
    summary = unit_summary(LEAVES, "a")
    assert summary.select("node_id", "score", "rank", "ranked").rows() == [
        ("root", 5.0, 2, 3),
        ("x", 1.0, 3, 3),
        ("y", 9.0, 2, 3),
        ("z", 9.0, 1, 3),
        ("v", None, None, 2),
    ]


def test_strengths_are_the_best_ranks_and_weaknesses_the_worst():
    assert strengths(LEAVES, "a", n=2)["node_id"].to_list() == ["z", "root"]
    assert strengths(LEAVES, "a", n=2, leaves=["x", "y", "z", "v"])["node_id"].to_list() == ["z", "y"]
    assert weaknesses(LEAVES, "a", n=2)["node_id"].to_list() == ["x", "root"]
    assert weaknesses(LEAVES, "a", leaves=["v"]).height == 0


def test_strengths_within_a_group_rank_the_unit_among_its_own():
    grouped = LEAVES.with_columns(size=pl.when(pl.col("region_code") == "c").then(pl.lit("S")).otherwise(pl.lit("L")))
    row = strengths(grouped, "a", n=1, leaves=["y"], group="size").row(0, named=True)
    assert (row["rank"], row["ranked"]) == (1, 2)
    assert strengths(LEAVES, "a", n=1, leaves=["y"])["rank"].to_list() == [2]


def test_strengths_of_a_panel_are_listed_year_by_year():
    panel = pl.concat([LEAVES.with_columns(year=pl.lit(y)) for y in (2020, 2019)])
    found = strengths(panel, "a", n=1)
    assert found.select("year", "node_id").rows() == [(2019, "z"), (2020, "z")]


def test_failures_of_strengths():
    with pytest.raises(MethodError, match="unit 'q' has no row"):
        unit_summary(LEAVES, "q")
    with pytest.raises(MethodError, match="unknown node 'w'"):
        strengths(LEAVES, "a", leaves=["x", "w"])
    with pytest.raises(MethodError, match="0 nodes"):
        weaknesses(LEAVES, "a", n=0)
    with pytest.raises(MethodError, match="no column node_id"):
        strengths(ranking(1.0), "110000")


# -- scorings against each other ---------------------------------------------------------------------------------------
def test_two_scorings_side_by_side_in_closed_form():
    found = compare(ranking(40.0, 30.0, 20.0, 10.0), ranking(40.0, 10.0, 20.0, 30.0))
    assert found.table.select("region_code", "rank_a", "rank_b", "rank_change", "absolute_rank_change").rows() == [
        ("110000", 1, 1, 0, 0),
        ("120000", 2, 4, -2, 2),
        ("310000", 3, 3, 0, 0),
        ("320100", 4, 2, 2, 2),
    ]
    assert found.table["score_change"].to_list() == [0, -20, 0, 20]
    row = found.summary.row(0, named=True)
    assert (row["units"], row["moved"], row["max_absolute_rank_shift"]) == (4, 2, 2)
    assert row["mean_absolute_rank_shift"] == 1.0
    assert row["spearman"] == pytest.approx(1 - 6 * 8 / (4 * 15))
    assert row["kendall"] == pytest.approx(0)
    assert found.unmatched.height == 0


def test_rank_shifts_of_the_golden_sensitivity_vector(golden):
    vector = golden["rank_sensitivity"]
    scores, w = np.array(vector["inputs"]["scores"]), np.array(vector["inputs"]["w"])
    alternatives = {"base": w, "equal": np.ones(3)} | {
        f"drop{i + 1}": np.where(np.arange(3) == i, 0, w) for i in range(3)
    }
    found = compare_many({name: ranking(*(scores @ v / v.sum())) for name, v in alternatives.items()})
    assert found.table.filter(scoring="equal")["reference_rank"].to_list() == vector["outputs"]["ranks"]["base"]
    for name in ("equal", "drop1", "drop2", "drop3"):
        assert found.table.filter(scoring=name)["rank"].to_list() == vector["outputs"]["ranks"][name]
        shift = found.summary.filter(scoring=name)["mean_absolute_rank_shift"].item()
        assert shift == vector["outputs"]["mean_abs_rank_shift"][name]


def test_units_without_a_score_in_one_scoring_are_listed_and_nobody_moves_for_them():
    a = ranking(40.0, 30.0, 20.0, 10.0)
    b = ranking(30.0, 20.0, None, units=["120000", "310000", "320100"])
    found = compare(a, b)
    assert found.table["region_code"].to_list() == ["120000", "310000"]
    assert found.summary["mean_absolute_rank_shift"].item() == 0
    assert found.summary["spearman"].item() is None
    assert found.unmatched.rows() == [("110000", "b"), ("320100", "b")]
    nowhere = compare_many({"p": ranking(1.0, None), "q": ranking(1.0, None)})
    assert nowhere.unmatched.rows() == [("120000", "p, q")]


def test_many_scorings_are_compared_with_the_first():
    base, same, turned = ranking(3.0, 2.0, 1.0), ranking(30.0, 20.0, 10.0), ranking(1.0, 2.0, 3.0)
    found = compare_many({"base": base, "same": same, "turned": turned})
    assert found.summary["scoring"].to_list() == ["same", "turned"]
    assert found.summary["spearman"].to_list() == pytest.approx([1, -1])
    assert found.summary["mean_absolute_rank_shift"].to_list() == pytest.approx([0, 4 / 3])
    assert found.table.height == 6
    assert found.table.filter(scoring="turned")["rank_change"].to_list() == [-2, 0, 2]


def test_a_scoring_without_any_difference_has_no_rank_correlation():
    found = compare(ranking(3.0, 2.0, 1.0), ranking(5.0, 5.0, 5.0))
    assert found.table["rank_b"].to_list() == [1, 1, 1]
    assert found.summary.select("spearman", "kendall").row(0) == (None, None)


def test_correlations_between_scorings_agree_with_scipy():
    rng = np.random.default_rng(3)
    units = [f"{i:06d}" for i in range(30)]
    values = rng.normal(size=(3, 30))
    values[1, :4] = np.nan
    scorings = {name: ranking(*v, units=units) for name, v in zip(("year", "score", "c"), values, strict=True)}
    for kind, function in {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}.items():
        frame = compare_correlation(scorings, kind)
        assert frame.select("scoring_a", "scoring_b", "n").rows() == [
            ("year", "score", 26),
            ("year", "c", 30),
            ("score", "c", 26),
        ]
        expected = [function(values[0, 4:], values[1, 4:])[0], function(values[0], values[2])[0]]
        assert frame["r"].to_list()[:2] == pytest.approx(expected)


SCORES = st.lists(st.integers(0, 9).map(float), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES)
def test_a_comparison_turned_round_changes_its_sign_only(p, q):
    there, back = compare(ranking(*p), ranking(*q)), compare(ranking(*q), ranking(*p))
    assert there.table["rank_change"].to_list() == [-c for c in back.table["rank_change"]]
    assert there.table["score_change"].to_list() == [-c for c in back.table["score_change"]]
    assert_frame_equal(there.summary, back.summary)
    itself = compare(ranking(*p), ranking(*p))
    assert itself.summary["moved"].item() == 0


def test_coinr_defect_9_comparisons_work_on_a_stacked_panel(coinr):
    panels = {
        name: coinr(f"11_purse/{name}")
        .select(pl.col("uCode").alias("region_code"), pl.col("Time").alias("year"), "Conn", "Sust", "Index")
        .unpivot(index=["region_code", "year"], variable_name="node_id", value_name="score")
        for name in ("Aggregated", "per_year_Aggregated", "zscore_unequalw_Aggregated")
    }
    found = compare_many(panels)
    assert found.summary.select("year", "node_id").n_unique() == 5 * 3
    assert found.summary.height == 5 * 3 * 2
    for row in found.summary.filter(node_id="Index").iter_rows(named=True):
        part = found.table.filter(year=row["year"], node_id="Index", scoring=row["scoring"])
        assert row["units"] == part.height
        ours = part["reference_rank"].to_numpy(), part["rank"].to_numpy()
        np.testing.assert_array_equal(ours[0], stats.rankdata(-part["reference_score"].to_numpy(), method="min"))
        assert row["mean_absolute_rank_shift"] == pytest.approx(np.abs(ours[0] - ours[1]).mean())
        assert row["spearman"] == pytest.approx(stats.spearmanr(*ours)[0])
        assert row["kendall"] == pytest.approx(stats.kendalltau(*ours)[0])
    pooled = compare_many(panels, pooled=True)
    assert pooled.summary.columns == [c for c in found.summary.columns if c != "year"]
    assert pooled.table["rank"].max() > 51 >= found.table["rank"].max()
    correlations = compare_correlation(panels, "pearson")
    assert correlations.height == 5 * 3 * 3
    assert compare_correlation(panels, "pearson", pooled=True).height == 3 * 3
    summary = unit_summary(panels["Aggregated"], "DEU")
    assert summary.height == 5 * 3


def test_failures_of_comparisons():
    a = ranking(1.0, 2.0)
    with pytest.raises(MethodError, match="1 scoring"):
        compare_many({"a": a})
    with pytest.raises(MethodError, match="a is keyed by region_code, b by region_code, year"):
        compare(a, a.with_columns(year=pl.lit(2020)))
    with pytest.raises(MethodError, match="no scored region_code in common"):
        compare(a, ranking(1.0, units=["440100"]))
    with pytest.raises(MethodError, match="b: 110000 stands more than once"):
        compare(a, pl.concat([a, a]))
    with pytest.raises(MethodError, match="unknown kind"):
        compare_correlation({"a": a, "b": a}, "mutual")
