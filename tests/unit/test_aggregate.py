"""Means with carried coverage, Copeland and whole trees: invariants A1 to A4, W2, Euler, missing policies, failures."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.aggregate import (
    FLOOR,
    Mean,
    copeland,
    floored,
    generalised_mean,
    geometric_mean,
    harmonic_mean,
    mean_of,
    sibling_weights,
    tree,
    weighted_mean,
)
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.outrank import outranking_matrix
from dei_pipeline.methods.tiers import evenness
from tests.trees import framework_of, joined_by, tree_of

DEI = packaged("dei")
N = len(DEI.leaf_ids)
score = st.floats(0, 100)
complete = arrays(np.float64, (3, N), elements=score)
MEANS = {
    "arithmetic": weighted_mean,
    "geometric": geometric_mean,
    "harmonic": harmonic_mean,
    "p = 2": lambda x, w, *more: generalised_mean(x, w, 2, *more),
    "p = 0.5": lambda x, w, *more: generalised_mean(x, w, 0.5, *more),
    "p = −3": lambda x, w, *more: generalised_mean(x, w, -3, *more),
}
every_mean = pytest.mark.parametrize("mean", MEANS.values(), ids=MEANS)
TREE_MEANS = ("arithmetic", "geometric", "harmonic", Mean("generalised", 2), Mean("generalised", -0.5))
MIXED = joined_by(
    tree_of("x", (2, 2, 3), 0.4),
    **{"x": "geometric", "x.0": "harmonic", "x.1": "arithmetic", "x.0.0": ("generalised", 2.5), "x.1.1": "geometric"},
)
mixed_leaves = arrays(
    np.float64, (4, 12), elements=st.one_of(st.floats(0, 100), st.floats(0.1, 100), st.just(0.0), st.just(float("nan")))
)
gappy = arrays(np.float64, (3, N), elements=st.one_of(score, score, score, score, st.just(float("nan"))))


def test_coverage_is_carried_not_counted():
    # Two children with .5 each: one complete, one that itself rests on .6: .5 + .5·.6 = .8.
    mean, coverage = weighted_mean([80, 60], [0.5, 0.5], coverage=[1.0, 0.6])
    assert (mean, coverage) == (70, pytest.approx(0.8))
    mean, coverage = weighted_mean([80, np.nan], [0.5, 0.5], coverage=[1.0, 0.6])
    assert np.isnan(mean)
    assert coverage == 0.5


def test_the_coverage_limit_has_a_slack_for_binary_fractions():
    assert 0.25 * 0.3 + 0.75 * 0.7 < 0.6  # in binary; exactly 0.6 on paper
    assert weighted_mean([1, 1], [0.25, 0.75], coverage=[0.3, 0.7])[0] == pytest.approx(1)
    assert np.isnan(weighted_mean([1, None], [0.6 - 1e-9, 0.4 + 1e-9])[0])


@pytest.mark.parametrize("w", [[1], [1, -1], [0, 0], [1, np.nan]])
def test_bad_weights_are_errors(w):
    with pytest.raises(MethodError, match="weight"):
        weighted_mean([1, 2], w)


def test_infinite_scores_are_errors():
    with pytest.raises(MethodError):
        weighted_mean([np.inf, 1], [1, 1])


@settings(deadline=None)
@given(st.lists(st.tuples(score, st.floats(0.01, 1)), min_size=1, max_size=8))
def test_a1_a_parent_lies_between_its_children(pairs):
    x, w = zip(*pairs, strict=True)
    mean, coverage = weighted_mean(x, w)
    assert min(x) - 1e-9 <= mean <= max(x) + 1e-9
    assert coverage == pytest.approx(1)


@every_mean
@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.floats(0.001, 1000), st.floats(0.01, 1)), min_size=1, max_size=8))
def test_a1_every_mean_lies_between_its_children(mean, pairs):
    x, w = zip(*pairs, strict=True)
    joined, coverage = mean(x, w)
    assert min(x) * (1 - 1e-9) <= joined <= max(x) * (1 + 1e-9)
    assert coverage == pytest.approx(1)
    np.testing.assert_allclose(mean(np.array(x) * 3, w)[0], 3 * joined, rtol=1e-9)


def test_means_in_closed_form():
    x, w = [2.0, 8.0], [1, 1]
    assert [f(x, w)[0] for f in (weighted_mean, geometric_mean, harmonic_mean)] == pytest.approx([5, 4, 3.2])
    assert generalised_mean(x, w, 2)[0] == pytest.approx(34**0.5)
    assert geometric_mean([1, 10, 100], [1, 2, 1])[0] == pytest.approx(10)
    for power, named in ((1, weighted_mean), (0, geometric_mean), (-1, harmonic_mean)):
        assert generalised_mean(x, [3, 1], power)[0] == named(x, [3, 1])[0]


@every_mean
def test_coinr_defect_5_a_missing_value_is_skipped_and_its_weight_is_handed_on(mean):
    score, coverage = mean([80, np.nan, 60, 70], [0.2, 0.2, 0.3, 0.3])
    assert score == pytest.approx(mean([80, 60, 70], [0.2, 0.3, 0.3])[0])
    assert coverage == pytest.approx(0.8)
    score, coverage = mean([80, np.nan, None, 70], [0.2, 0.2, 0.3, 0.3])
    assert np.isnan(score)
    assert coverage == pytest.approx(0.5)
    assert mean([80, np.nan], [1, 1], 0.5, [0.9, 1])[1] == pytest.approx(0.45)


@every_mean
def test_replications_before_the_cities_are_the_same_numbers(mean):
    rng = np.random.Generator(np.random.PCG64(1))
    x, w = rng.uniform(1, 100, (5, 7, 4)), rng.uniform(0, 1, (5, 1, 4))
    x[rng.random(x.shape) < 0.2] = np.nan
    score, coverage = mean(x, w)
    for r in range(5):
        np.testing.assert_array_equal(score[r], mean(x[r], w[r, 0])[0])
        np.testing.assert_array_equal(coverage[r], mean(x[r], w[r, 0])[1])


def test_values_that_a_mean_cannot_take_are_floored_and_flagged():
    x = [0.0, -3.0, 50.0, np.nan, FLOOR]
    assert floored(x).tolist() == [True, True, False, False, False]
    assert geometric_mean(x, np.ones(5))[0] == geometric_mean([FLOOR, FLOOR, 50, np.nan, FLOOR], np.ones(5))[0]
    low = tree(
        joined_by(framework_of([("x", None, 1), ("a", "x", 1), ("b", "x", 1)]), x="geometric"), [[0, 50], [1, 50]]
    )
    assert low.floored.tolist() == [[False, True, False], [False, False, False]]
    assert low.of("x") == pytest.approx([(FLOOR * 50) ** 0.5, 50**0.5])
    assert not tree(DEI, np.zeros(N)).floored.any()


@pytest.mark.parametrize(
    ("aggregation", "said"),
    [
        ("geometirc", "unknown aggregation 'geometirc'"),
        ("generalised", "generalised with power None"),
        (Mean("geometric", 2), "geometric with power 2"),
        (Mean("generalised", np.nan), "power nan"),
        (Mean("generalised", 51), "power 51"),
    ],
)
def test_an_aggregation_that_is_none_is_an_error(aggregation, said):
    with pytest.raises(MethodError, match=said):
        tree(DEI, np.ones(N), aggregation=aggregation)


def test_a_node_states_its_mean_and_one_mean_for_all_overrides_it():
    leaves = np.arange(1.0, 13)
    result = tree(MIXED, leaves)
    w = dict(zip(MIXED.nodes["node_id"], MIXED.nodes["weight"], strict=True))
    by_hand = generalised_mean(leaves[:3], [w[f"x.0.0.{k}"] for k in range(3)], 2.5)[0]
    assert result.of("x.0.0").item() == by_hand
    assert mean_of(MIXED, "x.0.0", [leaves[:3]], [w[f"x.0.0.{k}"] for k in range(3)]) == by_hand
    upper = [result.of("x.0").item(), result.of("x.1").item()]
    assert result.of("x").item() == geometric_mean(upper, [w["x.0"], w["x.1"]])[0]
    plain = tree(tree_of("x", (2, 2, 3)), leaves)
    np.testing.assert_array_equal(tree(MIXED, leaves, aggregation="arithmetic").score, plain.score)


@settings(max_examples=80, deadline=None)
@given(mixed_leaves)
def test_euler_contributions_add_up_to_the_score_for_every_mean(leaves):
    for result in (tree(MIXED, leaves), *(tree(MIXED, leaves, aggregation=mean) for mean in TREE_MEANS)):
        at = [MIXED.positions[leaf] for leaf in MIXED.leaf_ids]
        composite = result.score[:, 0]
        scored = ~np.isnan(composite)
        total = result.contribution[:, at].sum(axis=1)
        np.testing.assert_allclose(total[scored], composite[scored], rtol=1e-9, atol=1e-9)
        assert np.isnan(result.contribution[~scored]).all()
        assert (result.contribution[scored] >= 0).all()


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (1, 12), elements=st.floats(1, 100)), st.integers(0, 11))
def test_effective_weights_are_the_derivatives_of_the_composite(leaves, at):
    step = np.zeros((1, 12))
    step[0, at] = 1e-4 * leaves[0, at]
    for mean in (None, *TREE_MEANS):
        up, down = (tree(MIXED, leaves + s, aggregation=mean).score[0, 0] for s in (step, -step))
        stated = tree(MIXED, leaves, aggregation=mean).effective_weight[0, MIXED.positions[MIXED.leaf_ids[at]]]
        assert stated == pytest.approx((up - down) / (2 * step[0, at]), rel=1e-5, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (3, N), elements=st.floats(1e-6, 100)), st.integers(0, N - 1), st.floats(0, 50))
def test_a2_raising_a_leaf_lowers_no_node_under_any_mean(leaves, at, by):
    raised = leaves.copy()
    raised[:, at] += by
    for mean in TREE_MEANS:
        before, after = (tree(DEI, x, aggregation=mean).score for x in (leaves, raised))
        assert (after >= before * (1 - 1e-12) - 1e-12).all()


def test_coinr_defect_1_copeland_works_on_a_whole_tree():
    framework = tree_of("x", (2, 3))
    leaves = np.random.Generator(np.random.PCG64(2)).uniform(0, 100, (6, 6))
    result = tree(framework, leaves, aggregation="copeland")
    assert result.of("x").sum() == 0
    assert (np.abs(result.of("x.0")) <= 5).all()
    assert np.isnan(result.contribution[:, 1:]).all()
    np.testing.assert_array_equal(result.contribution[:, 0], result.of("x"))
    order = [3, 1, 0, 5, 2, 4]
    np.testing.assert_array_equal(tree(framework, leaves[order], aggregation="copeland").score, result.score[order])


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=7).flatmap(
        lambda w: st.tuples(st.just(w), arrays(np.int64, (6, len(w)), elements=st.integers(0, 2)))
    )
)
def test_coinr_defect_2_a_pair_is_tied_exactly_when_its_rational_weights_are(case):
    w, x = case
    score, _ = copeland(x, w)
    expected = [
        sum(
            int(np.sign(sum(Fraction(k) * int(np.sign(a - b)) for k, a, b in zip(w, x[i], x[j], strict=True))))
            for j in range(6)
        )
        for i in range(6)
    ]
    assert score.tolist() == expected
    matrix = outranking_matrix(x, np.array(w) / sum(w))
    np.testing.assert_allclose(matrix + matrix.T + np.eye(6), 1, atol=1e-12)


def test_copeland_leaves_out_units_without_coverage_and_compares_on_what_both_have():
    x = [[3, np.nan], [2, 5], [1, np.nan], [np.nan, np.nan]]
    score, coverage = copeland(x, [0.7, 0.3])
    assert score[:3].tolist() == [2, 0, -2]
    assert np.isnan(score[3])
    assert coverage.tolist() == [0.7, 1, 0.7, 0]
    assert np.isnan(outranking_matrix([[1, np.nan], [np.nan, 1]], [1, 1])[0, 1])
    assert copeland([[1, np.nan], [np.nan, 1]], [1, 1], 0.5)[0].tolist() == [0, 0]


def test_copeland_compares_rows_of_one_label_only():
    framework = framework_of([("x", None, 1), ("a", "x", 1), ("b", "x", 1)])
    leaves = np.array([[1.0, 1], [9, 9], [2, 2], [8, 8]])
    result = tree(framework, leaves, aggregation="copeland", groups=[2019, 2020, 2019, 2020])
    assert result.of("x").tolist() == [-1, 1, 1, -1]
    joined = joined_by(framework, x="copeland")
    np.testing.assert_array_equal(mean_of(joined, "x", leaves, [0.5, 0.5], [2019, 2020, 2019, 2020]), result.of("x"))
    with pytest.raises(MethodError, match="3 labels for 4 rows"):
        tree(framework, leaves, groups=[1, 2, 3])


def test_coinr_defect_13_infinite_scores_and_bad_weights_are_errors_that_name_the_place():
    leaves = np.ones((2, N))
    leaves[1, 3] = np.inf
    with pytest.raises(MethodError, match=f"infinite score of {DEI.leaf_ids[3]}"):
        tree(DEI, leaves)
    with pytest.raises(MethodError, match="below dei"):
        tree(DEI, np.ones(N), {"city_service": -0.25, "city_governance": 0.75})
    with pytest.raises(MethodError, match="not all 0"):
        copeland([[1, 2], [3, 4]], [0, 0])
    with pytest.raises(MethodError, match=r"citi_service.*no node of dei"):
        tree(DEI, np.ones(N), {"citi_service": 0.25})


@settings(deadline=None)
@given(score)
def test_a1_equal_leaves_give_an_equal_composite(s):
    np.testing.assert_allclose(tree(DEI, [s] * N).score, s, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(complete, st.integers(0, N - 1), st.floats(0, 50))
def test_a2_raising_a_leaf_lowers_no_node(leaves, at, by):
    raised = leaves.copy()
    raised[:, at] += by
    assert (tree(DEI, raised).score >= tree(DEI, leaves).score - 1e-12).all()


def test_a2_does_not_hold_when_evenness_is_recomputed():
    """Why §0a says «with evenness held fixed»: from flat and low, the first area to rise lowers the composite."""
    position = {leaf: i for i, leaf in enumerate(DEI.leaf_ids)}
    members = [position[m] for m in DEI.members_of("service_balance")]

    def composite(areas):
        leaves = np.full(N, 50.0)
        leaves[members] = areas
        leaves[position["service_balance"]] = evenness(areas)
        return tree(DEI, leaves).of("dei").item()

    assert composite([2.0] + [1.0] * 7) < composite([1.0] * 8)


@settings(max_examples=60, deadline=None)
@given(gappy)
def test_a3_contributions_add_up_and_coverage_is_a_share(leaves):
    result = tree(DEI, leaves)
    at = [DEI.positions[leaf] for leaf in DEI.leaf_ids]
    composite = result.of("dei")
    scored = ~np.isnan(composite)
    np.testing.assert_allclose(result.contribution[:, at].sum(axis=1)[scored], composite[scored], atol=1e-9)
    np.testing.assert_allclose(result.effective_weight[:, at].sum(axis=1)[scored], 1, atol=1e-9)
    assert ((result.coverage >= 0) & (result.coverage <= 1)).all()
    assert np.isnan(result.contribution[~scored]).all()
    for node, children in enumerate(DEI.child_positions):
        if children:
            parts = np.nansum(result.share[:, children] * result.score[:, children], axis=1)
            known = ~np.isnan(result.score[:, node])
            np.testing.assert_allclose(parts[known], result.score[known, node], atol=1e-9)


@settings(deadline=None)
@given(gappy)
def test_a4_dropping_and_adding_again_is_bit_equal_and_rows_do_not_matter(leaves):
    whole = tree(DEI, leaves)
    for i in range(3):
        np.testing.assert_array_equal(tree(DEI, leaves[i]).score[0], whole.score[i])
    np.testing.assert_array_equal(tree(DEI, leaves[::-1]).score[::-1], whole.score)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (7, 12), elements=st.floats(0, 100)), st.permutations(range(7)))
def test_a4_rows_do_not_matter_to_the_bit_under_any_mean(leaves, order):
    for mean in (None, *TREE_MEANS):
        whole = tree(MIXED, leaves, aggregation=mean)
        mixed = tree(MIXED, leaves[order], aggregation=mean)
        np.testing.assert_array_equal(mixed.score, whole.score[order])
        np.testing.assert_array_equal(mixed.contribution, whole.contribution[order])
        np.testing.assert_array_equal(tree(MIXED, leaves[3], aggregation=mean).score[0], whole.score[3])


@settings(deadline=None)
@given(complete)
def test_w2_tree_sum_equals_flat_sum(leaves):
    flat = leaves @ DEI.leaves["global_weight"].to_numpy()
    np.testing.assert_allclose(tree(DEI, leaves).of("dei"), flat, atol=1e-9)


def test_missing_leaf_hands_its_weight_to_its_siblings():
    leaves = np.full((1, N), 60.0)
    leaves[0, 0] = np.nan
    result = tree(DEI, leaves)
    first, second = DEI.positions[DEI.leaf_ids[0]], DEI.positions[DEI.leaf_ids[1]]
    assert (result.effective_weight[0, first], result.contribution[0, first]) == (0, 0)
    assert result.share[0, second] == pytest.approx(0.2 / 0.8)
    assert result.coverage[0, 0] == pytest.approx(1 - DEI.leaves["global_weight"][0])
    assert result.of("dei").item() == pytest.approx(60)


def test_a_node_below_its_coverage_is_null_and_weighs_nothing():
    leaves = np.full((1, N), 60.0)
    leaves[0, :3] = np.nan  # .2 + .2 + .3 of information_infrastructure
    result = tree(DEI, leaves)
    assert np.isnan(result.of("information_infrastructure"))
    assert result.coverage[0, DEI.positions["data_info_infrastructure"]] == pytest.approx(0.7)
    assert result.effective_weight[0, DEI.positions["information_security"]] == 0


def test_a_zero_is_only_observed_if_somebody_searched():
    counts = (DEI.leaves["missing_policy"] == "zero_is_observed").to_numpy()
    leaves = np.where(counts, np.nan, 50.0)
    searched = np.ones(N, dtype=bool)
    assert tree(DEI, leaves).of("dei").item() == pytest.approx(50)
    assert tree(DEI, leaves, searched=searched).of("dei").item() < 50
    assert np.isnan(tree(DEI, np.full(N, np.nan)).of("dei"))


def test_weights_can_be_replaced_but_must_sum_to_one():
    equal = {"data_info_infrastructure": 0.25, "city_service": 0.25, "city_governance": 0.25}
    assert sibling_weights(DEI, equal)[0] == 1
    with pytest.raises(MethodError, match=r"below dei sum to 0\.85"):
        tree(DEI, np.zeros(N), {**equal, "city_governance": 0.1})
    with pytest.raises(MethodError, match="46 leaves"):
        tree(DEI, np.zeros(3))
