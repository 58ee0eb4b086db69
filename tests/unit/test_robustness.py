"""Monte Carlo of an index, removal of elements and Sobol' indices: closed forms, independent replays, loud failures."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from polars.testing import assert_frame_equal

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.aggregate import Mean, tree
from dei_pipeline.methods.assumptions import Assumptions, Scenario, evaluate, theta_exponents
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.normalise import threshold
from dei_pipeline.methods.robustness import rank_shift, ranks, removal, simulate
from dei_pipeline.methods.sampling import Choice, Spread
from dei_pipeline.methods.sobol import sobol_index
from dei_pipeline.methods.tiers import competition_rank, dei_tier
from tests.trees import framework_of, joined_by, tree_of

TREE = tree_of("x", (2, 3), 0.5)  # 2 nodes of 3 leaves each
PAIR = framework_of([("x", None, 1), ("a", "x", 1), ("b", "x", 1)])
WEIGHTS = (Spread("leaf_weights", 0.25), Spread("node_weights", 0.25))


def cities(n=12, leaves=6, seed=0, missing=0.0):
    rng = np.random.Generator(np.random.PCG64(seed))
    scores = rng.uniform(5, 100, (n, leaves))
    scores[rng.random(scores.shape) < missing] = np.nan
    return scores


def alternatives(scores):
    """Threshold scores, min-max and z-score versions of them."""
    spread = np.nanmax(scores, axis=0) - np.nanmin(scores, axis=0)
    return {
        ("threshold",): Scenario(scores),
        ("min_max",): Scenario(1 + 99 * (scores - np.nanmin(scores, axis=0)) / spread, comparable=False),
        ("z_score",): Scenario((scores - np.nanmean(scores, axis=0)) / np.nanstd(scores, axis=0), comparable=False),
    }


NORMALISATION = Choice("normalisation", ("threshold", "min_max", "z_score"))
AGGREGATION = Choice("aggregation", ("framework", "geometric"))


def everything(scores=None, **more):
    scores = cities() if scores is None else scores
    return Assumptions(TREE, alternatives(scores), (*WEIGHTS, NORMALISATION, AGGREGATION), **more)


def all_scores(assumptions, sample):
    scores = np.full((sample.height, assumptions.rows), np.inf)
    for chunk in evaluate(assumptions, sample):
        scores[chunk.at] = chunk.scores
    assert not np.isinf(scores).any()
    return scores


# -- replay by plain loops ---------------------------------------------------------------------------------------------
def plain_composite(draw, values):
    """Composite of one city from one row of the sample, as a reader would compute it; None below the coverage."""
    weight = dict(TREE.nodes.select("node_id", "weight").iter_rows())
    for column, m in draw.items():
        weight[column.split(":")[1]] *= m
    score, coverage = dict(zip(TREE.leaf_ids, values, strict=True)), {}
    for leaf in TREE.leaf_ids:
        coverage[leaf] = 0.0 if np.isnan(score[leaf]) else 1.0
        score[leaf] = None if np.isnan(score[leaf]) else score[leaf]
    for node in ("x.0", "x.1", "x"):
        children = [n for n, parent in TREE.nodes.select("node_id", "parent_id").iter_rows() if parent == node]
        total = sum(weight[c] for c in children)
        there = [c for c in children if score[c] is not None]
        coverage[node] = sum(weight[c] / total * coverage[c] for c in there)
        enough = there and coverage[node] >= 0.5 - 1e-12
        below = sum(weight[c] for c in there)
        score[node] = sum(weight[c] / below * score[c] for c in there) if enough else None
    return score["x"]


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_weights_only_analysis_is_replayed_by_a_plain_loop(missing):
    scores = cities(9, missing=missing)
    assumptions = Assumptions(TREE, {(): Scenario(scores)}, WEIGHTS)
    result = simulate(assumptions, 40, seed=3, top=(2,))
    plain = [[plain_composite(draw, row) for row in scores] for draw in result.sample.iter_rows(named=True)]
    expected = np.array([[np.nan if s is None else s for s in row] for row in plain])
    np.testing.assert_allclose(all_scores(assumptions, result.sample), expected, rtol=1e-12)
    nominal = competition_rank(tree(TREE, scores).score[:, 0])
    placed = np.array([competition_rank(row) for row in expected]).astype(float)
    placed[placed == 0] = np.nan
    units = result.units
    assert [r or 0 for r in units["rank"]] == nominal.tolist()
    for i in range(9):
        mine = placed[:, i][~np.isnan(placed[:, i])]
        assert units["undefined"][i] == 40 - len(mine)
        if len(mine) == 0:
            assert units["rank_median"][i] is None
            continue
        for name, q in (("p05", 0.05), ("median", 0.5), ("p95", 0.95)):
            assert units[f"rank_{name}"][i] == pytest.approx(np.quantile(mine, q))
            assert units[f"score_{name}"][i] == pytest.approx(np.nanquantile(expected[:, i], q))
        assert units["rank_mean"][i] == pytest.approx(mine.mean())
        assert units["score_mean"][i] == pytest.approx(np.nanmean(expected[:, i]))
        assert units["p_top_2"][i] == pytest.approx((mine <= 2).mean())
        tiers = [t for t in dei_tier(expected[:, i]) if t is not None]
        if units["tier"][i] is not None:
            assert units["tier_probability"][i] == pytest.approx(tiers.count(units["tier"][i]) / len(tiers))
            assert units["mean_abs_rank_shift"][i] == pytest.approx(np.abs(mine - nominal[i]).mean())
    for r in range(40):
        both = ~np.isnan(placed[r]) & (nominal > 0)
        assert result.replications["mean_abs_rank_shift"][r] == pytest.approx(np.abs(placed[r] - nominal)[both].mean())


def test_every_choice_gives_what_the_tree_gives_with_that_choice():
    scores = cities()
    entropy = {"x.0": 0.9, "x.1": 0.1}
    scenarios = {
        (n, i): Scenario(np.where(np.isnan(s.scores), 0.0, s.scores) + (i == "median"))
        for (n,), s in alternatives(scores).items()
        for i in ("ladder", "median")
    }
    assumptions = Assumptions(
        TREE,
        scenarios,
        (
            NORMALISATION,
            Choice("imputation", ("ladder", "median")),
            Choice("aggregation", ("framework", "harmonic", "square", "copeland")),
            Choice("weights", ("framework", "entropy")),
            Choice("drop", ("none", "x.0.1", "x.1")),
        ),
        weight_sets={"entropy": entropy},
        aggregations={"square": Mean("generalised", 2)},
    )
    options = [f.options for f in assumptions.factors]
    sample = pl.DataFrame(list(itertools.product(*options)), schema=[f.name for f in assumptions.factors], orient="row")
    found = all_scores(assumptions, sample)
    means = {"framework": None, "harmonic": "harmonic", "square": Mean("generalised", 2), "copeland": "copeland"}
    given = dict(TREE.nodes.select("node_id", "weight").iter_rows())
    for row, (normalisation, imputation, aggregation, weights, drop) in zip(found, sample.iter_rows(), strict=True):
        within = given | (entropy if weights == "entropy" else {})
        if drop != "none":
            within[drop] = 0.0
            siblings = [n for n in within if n.rpartition(".")[0] == drop.rpartition(".")[0] and n != "x"]
            total = sum(within[n] for n in siblings)
            within |= {n: within[n] / total for n in siblings}
        leaves = scenarios[normalisation, imputation].scores
        expected = tree(TREE, leaves, within, aggregation=means[aggregation]).score[:, 0]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


# -- determinism -------------------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_bytes_and_a_sample_can_be_replayed():
    first, again = simulate(everything(), 60, seed=5), simulate(everything(), 60, seed=5)
    replayed = simulate(everything(), sample=first.sample)
    for other in (again, replayed):
        for name in ("units", "tiers", "replications", "events", "sample"):
            assert_frame_equal(getattr(first, name), getattr(other, name), check_exact=True)
    assert not first.sample.equals(simulate(everything(), 60, seed=6).sample)


def test_fewer_replications_are_the_first_of_more_to_the_bit():
    scores = cities(700, missing=0.1)  # several chunks
    assumptions = everything(scores)
    long, short = assumptions.sample(300, 1), assumptions.sample(70, 1)
    assert_frame_equal(long.head(70), short, check_exact=True)
    assert all_scores(assumptions, long)[:70].tobytes() == all_scores(assumptions, short).tobytes()
    few, many = simulate(assumptions, 70, 1).replications, simulate(assumptions, 300, 1).replications
    assert_frame_equal(few, many.head(70), check_exact=True)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(12)))
def test_r1_the_order_of_the_rows_does_not_matter(order):
    plain = simulate(everything(), 30, seed=2).units.drop("row", "group")
    mixed = simulate(everything(cities()[order]), 30, seed=2).units.drop("row", "group")
    assert_frame_equal(plain[order], mixed, rel_tol=1e-12)  # min-max and z-score sum over the rows


@settings(deadline=None)
@given(arrays(np.float64, (3, 7), elements=st.sampled_from([1.0, 2.0, 2.0 + 1e-12, 3.0, float("nan")])))
def test_r1_ranks_of_many_replications_are_competition_ranks(scores):
    assert ranks(scores).tolist() == [competition_rank(row).tolist() for row in scores]
    halves = [np.array([0, 2, 4]), np.array([1, 3, 5, 6])]
    placed = ranks(scores, halves)
    for rows in halves:
        assert placed[:, rows].tolist() == [competition_rank(row[rows]).tolist() for row in scores]


@settings(max_examples=15, deadline=None)
@given(arrays(np.float64, (5, 6), elements=st.one_of(st.floats(20, 100), st.just(float("nan")))))
def test_t1_tier_probabilities_sum_to_one(scores):
    result = simulate(Assumptions(TREE, {(): Scenario(scores)}, WEIGHTS), 20, seed=1)
    sums = result.tiers.group_by("row", maintain_order=True).agg(
        pl.col("probability").sum(), known=pl.len() - pl.col("probability").null_count()
    )
    for row, total, known in sums.iter_rows():
        assert (total == pytest.approx(1)) if known else (result.units["undefined"][row] == 20)
    assert result.tiers["probability"].drop_nulls().is_between(0, 1).all()


def test_rank_shift_counts_rows_ranked_in_both():
    assert rank_shift(np.array([[1, 2, 3], [3, 0, 1]]), np.array([1, 3, 2])).tolist() == pytest.approx([2 / 3, 1.5])
    assert np.isnan(rank_shift(np.array([[0, 0]]), np.array([1, 2]))).all()


# -- what the factors do -----------------------------------------------------------------------------------------------
def test_thresholds_move_scores_as_the_thresholds_would_and_the_cap_holds():
    raw, theta = np.array([[5.0, 40], [9, 10], [20, 80]]), np.array([10.0, 50])
    uncapped = np.column_stack([threshold(raw[:, 0], 10), threshold(raw[:, 1], 50, "negative", cap=1e9)])
    scenario = Scenario(uncapped, cap=100, theta_exponents=[-1, 1])
    assumptions = Assumptions(PAIR, {(): scenario}, (Spread("thresholds", 0.1),))
    sample = assumptions.sample(50, 4)
    found = all_scores(assumptions, sample)
    for row, (a, b) in zip(found, sample.iter_rows(), strict=True):
        assert 0.9 <= a <= 1.1
        moved = np.column_stack(
            [threshold(raw[:, 0], 10 * a, cap=100), threshold(raw[:, 1], theta[1] * b, "negative", cap=100)]
        )
        np.testing.assert_allclose(row, tree(PAIR, moved).score[:, 0], rtol=1e-12)
    with pytest.raises(MethodError, match="no scenario rests on thresholds"):
        Assumptions(PAIR, {(): Scenario(uncapped)}, (Spread("thresholds", 0.1),))


def test_exponents_of_thresholds_come_from_rule_and_direction():
    dei = packaged("dei")
    exponents = dict(zip(dei.leaf_ids, theta_exponents(dei), strict=True))
    rules = dict(dei.leaves.select("node_id", "rule").iter_rows())
    assert {exponents[leaf] for leaf, rule in rules.items() if rule in ("fixed", "winsorised_max")} == {-1.0}
    assert {exponents[leaf] for leaf, rule in rules.items() if rule in ("saturation", "identity")} == {0.0}


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_input_errors_have_their_standard_deviation_and_respect_the_cap(distribution):
    scores = np.column_stack([np.full(400, 50.0), np.full(400, 80.0)])
    scores[0] = [51, 81]
    factor = Spread("input_error", {"a": 0.1}, distribution)
    assumptions = Assumptions(PAIR, {(): Scenario(scores)}, (factor,))
    moved = all_scores(assumptions, assumptions.sample(40, 1))[:, 1:] - 65  # ½·50·ε
    assert moved.std() == pytest.approx(2.5 if distribution == "normal" else 2.5 / 3**0.5, rel=0.02)
    assert np.abs(np.corrcoef(moved[:, :20].T) - np.eye(20)).max() < 0.6
    slopes = Assumptions(PAIR, {(): Scenario(scores, error_points=np.full((400, 2), 10.0))}, (factor,))
    np.testing.assert_allclose(all_scores(slopes, slopes.sample(40, 1))[:, 1:] - 65, moved / 5, atol=1e-12)
    capped = Assumptions(PAIR, {(): Scenario(scores, cap=50)}, (factor,))
    assert all_scores(capped, capped.sample(40, 1)).max() == 50


def test_a_row_at_the_edge_of_its_tier_is_a_boundary_row():
    scores = np.array([[90.0, 90], [85.2, 84.8], [70, 70], [30, 30]])
    result = simulate(Assumptions(PAIR, {(): Scenario(scores)}, (Spread("leaf_weights", 0.25),)), 200, seed=1).units
    assert result["tier"].to_list() == ["tier1", "tier1", "tier1_new", "tier4"]
    assert result["boundary"].to_list() == [False] * 4  # its tier may change, its rank cannot
    close = np.array([[95.0, 95], [100, 72], [60, 100], [30, 30]])
    result = simulate(Assumptions(PAIR, {(): Scenario(close)}, (Spread("leaf_weights", 0.5),)), 200, seed=1).units
    assert result["tier"].to_list() == ["tier1", "tier1", "tier1_new", "tier4"]
    assert result["boundary"].to_list() == [False, True, True, False]
    assert result["tier_probability"][0] == 1
    assert 0.3 < result["tier_probability"][1] < 0.9


def test_scores_on_another_scale_count_for_ranks_only():
    result = simulate(everything(), 300, seed=1)
    other = (result.sample["normalisation"] != "threshold").sum()
    assert result.events.filter(pl.col("event") == "not_comparable")["count"].to_list() == [other]
    alone = simulate(everything(), sample=result.sample.filter(pl.col("normalisation") == "threshold"))
    assert_frame_equal(result.units.select(pl.col("^score.*$")), alone.units.select(pl.col("^score.*$")), rel_tol=1e-12)
    assert_frame_equal(result.tiers, alone.tiers)
    assert not result.units["rank_mean"].equals(alone.units["rank_mean"])


# -- panels ------------------------------------------------------------------------------------------------------------
def test_coinr_defect_8_a_globally_normalised_panel_has_an_uncertainty_analysis():
    """COINr's get_sensitivity returns only NA there: here each year is ranked in itself, the draws are shared."""
    panel, years = cities(24), np.repeat([2019, 2020], 12)
    assumptions = everything(panel, groups=years)
    result = simulate(assumptions, 80, seed=1)
    assert result.units["score_mean"].null_count() == 0
    assert result.units["undefined"].sum() == 0
    for year in (2019, 2020):
        at = years == year
        scenarios = {
            key: Scenario(np.asarray(s.scores)[at], comparable=s.comparable) for key, s in assumptions.scenarios.items()
        }
        alone = simulate(Assumptions(TREE, scenarios, assumptions.factors), 80, seed=1)
        assert_frame_equal(
            result.units.filter(pl.col("group") == year).drop("row", "group"), alone.units.drop("row", "group")
        )


def test_coinr_defect_9_removal_and_sensitivity_take_a_panel():
    years = np.repeat([2019, 2020], 6)
    removed = removal(everything(groups=years))
    assert (np.sort(removed.ranks[:, :6], axis=1) == np.arange(1, 7)).all()
    assert (np.sort(removed.ranks[:, 6:], axis=1) == np.arange(1, 7)).all()
    indices = sobol_index(everything(groups=years), 64, bootstrap=20).indices
    assert indices["factor"].to_list() == ["leaf_weights", "node_weights", "normalisation", "aggregation"]


# -- loud failures -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (Spread("leaf_weight", 0.25), r"unknown factor leaf_weight; .*leaf_weights"),
        (Spread("leaf_weights", {"x.0.9": 0.25}), r"unknown target x\.0\.9; known: x\.0\.0"),
        (Spread("leaf_weights", 1.0), "give 0 ≤ size < 1"),
        (Spread("leaf_weights", 0.25, "gauss"), "unknown distribution 'gauss'"),
        (Choice("leaf_weights", ("a",)), "is no choice"),
        (
            Choice("aggregaton", ("framework", "geometric")),
            "pick no scenario: weights, aggregation, drop; .* aggregaton: framework, geometric",
        ),
        (Choice("aggregation", ("framework", "geometirc")), "unknown option geometirc; known: framework, arithmetic"),
        (Choice("weights", ("framework", "entropy")), "unknown option entropy; known: framework"),
        (Choice("drop", ("none", "x.2")), r"unknown option x\.2; known: none, x\.0"),
        (Choice("drop", ("none", "x.1"), (0.5, 0.6)), "probabilities"),
        (Choice("drop", ("none", "none")), "give different options"),
    ],
)
def test_coinr_defect_10_a_misspelt_assumption_is_an_error_that_lists_the_known_ones(factor, said):
    with pytest.raises(MethodError, match=said):
        Assumptions(TREE, {(): Scenario(cities())}, (factor,))


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"leaf_weights:x.0.9": [1.0]}, r"unknown column leaf_weights:x\.0\.9"),
        ({"normalisation": ["minmax"]}, "unknown option minmax; known: threshold, min_max"),
        ({"aggregation": ["geomean"]}, "unknown option geomean"),
        ({"drop": [None]}, "unknown option None"),
        ({"leaf_weights:x.0.0": [-1.0]}, "bad multiplier"),
        ({"leaf_weights:x.0.0": [float("nan")]}, "bad multiplier"),
        ({"input_error": [1]}, "unknown column input_error"),
        ({"leaf_weights:x.0.0": []}, "0 replications"),
    ],
)
def test_coinr_defect_10_a_sample_that_does_not_fit_is_an_error(sample, said):
    with pytest.raises(MethodError, match=said):
        simulate(everything(), sample=pl.DataFrame(sample))


def test_coinr_defect_10_failed_and_undefined_replications_are_counted_with_reasons():
    scores = cities()
    scores[0, 0] = np.nan  # below its coverage where its siblings weigh nothing
    assumptions = Assumptions(TREE, {(): Scenario(scores)}, (*WEIGHTS, AGGREGATION), min_coverage=0.65)
    names = [f"leaf_weights:x.0.{k}" for k in range(3)]
    sample = pl.DataFrame(
        {
            names[0]: [1.0, 0.0, 1.0],
            names[1]: [1.0, 0.0, 0.0],
            names[2]: [1.0, 0.0, 0.0],
            "aggregation": ["framework", "framework", "geometric"],
        }
    )
    result = simulate(assumptions, sample=sample)
    assert result.replications["status"].to_list() == ["ok", "zero_sum_weights", "partial"]
    assert result.replications["scored"].to_list() == [12, 0, 11]
    assert result.replications["mean_abs_rank_shift"].is_null().to_list() == [False, True, False]
    assert result.units["undefined"].to_list() == [2] + [1] * 11
    events = dict(result.events.select("event", "count").iter_rows())
    assert events == {"replications_partial": 1, "replications_zero_sum_weights": 1, "undefined": 13}


def test_floors_of_a_geometric_mean_are_counted():
    scores = np.array([[0.0, 10], [20, 30], [-5, -1]])
    assumptions = Assumptions(PAIR, {(): Scenario(scores)}, (Choice("aggregation", ("framework", "geometric")),))
    result = simulate(assumptions, sample=pl.DataFrame({"aggregation": ["framework", "geometric", "geometric"]}))
    assert result.replications["floored"].to_list() == [0, 3, 3]
    assert result.events.filter(pl.col("event") == "floored")["count"].to_list() == [6]


def test_coinr_defect_13_infinity_is_an_error_and_a_constant_leaf_an_event():
    scores = cities()
    scores[3, 2] = np.inf
    with pytest.raises(MethodError, match=r"scenario \(\): infinite score of x\.0\.2"):
        Assumptions(TREE, {(): Scenario(scores)}, WEIGHTS)
    scores[:, 2], scores[:, 4] = 7.0, np.nan
    events = simulate(Assumptions(TREE, {(): Scenario(scores)}, WEIGHTS, min_coverage=0.3), 5).events
    assert events.rows() == [("constant_leaf", "leaf x.0.2", 1), ("empty_leaf", "leaf x.1.1", 1)]
    with pytest.raises(MethodError, match="nothing about x is uncertain"):
        simulate(Assumptions(TREE, {(): Scenario(cities())}), 5)
    with pytest.raises(MethodError, match="12 rows × 6 leaves"):
        Assumptions(TREE, {("a",): Scenario(cities()), ("b",): Scenario(cities(11))}, (Choice("data", ("a", "b")),))


# -- removal -----------------------------------------------------------------------------------------------------------
def test_removal_sets_a_weight_to_zero_and_an_only_child_takes_its_parent_along():
    framework = framework_of(
        [("x", None, 1), ("a", "x", 1), ("b", "x", 2), ("c", "x", 1), ("b1", "b", 1), ("c1", "c", 1), ("c2", "c", 3)]
    )
    scores = cities(8, 4)
    result = removal(Assumptions(framework, {(): Scenario(scores)}))
    assert result.elements["element"].to_list() == ["a", "b", "c", "b1", "c1", "c2"]
    assert result.elements["level"].to_list() == [1, 1, 1, 2, 2, 2]
    np.testing.assert_array_equal(result.scores[1], result.scores[3])
    without = tree(framework, scores, {"a": 0.0, "b": 2 / 3, "c": 1 / 3}).score[:, 0]
    np.testing.assert_allclose(result.scores[0], without, rtol=1e-12)
    nominal = competition_rank(tree(framework, scores).score[:, 0])
    assert result.elements["mean_abs_rank_shift"][0] == np.abs(competition_rank(without) - nominal).mean()
    assert result.elements["max_abs_rank_shift"][0] == np.abs(competition_rank(without) - nominal).max()
    with pytest.raises(MethodError, match="unknown option y"):
        removal(Assumptions(framework, {(): Scenario(scores)}), ["y"])
    chain = framework_of([("x", None, 1), ("a", "x", 1), ("b", "a", 1)])
    with pytest.raises(MethodError, match="no element to remove"):
        removal(Assumptions(chain, {(): Scenario(cities(3, 1))}))


def test_nodes_with_means_of_their_own_are_simulated_as_the_tree_computes_them():
    framework = joined_by(TREE, **{"x": "geometric", "x.0": ("generalised", 2.0)})
    scores = cities()
    assumptions = Assumptions(framework, {(): Scenario(scores)}, WEIGHTS)
    nominal = simulate(assumptions, 5).units["score"]
    np.testing.assert_array_equal(nominal, tree(framework, scores).score[:, 0])
