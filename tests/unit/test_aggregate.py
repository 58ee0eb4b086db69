"""Weighted means with carried coverage and whole trees: invariants A1 to A4, W2, missing policies, failures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.aggregate import sibling_weights, tree, weighted_mean
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.tiers import evenness

DEI = packaged("dei")
N = len(DEI.leaf_ids)
score = st.floats(0, 100)
complete = arrays(np.float64, (3, N), elements=score)
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


@given(st.lists(st.tuples(score, st.floats(0.01, 1)), min_size=1, max_size=8))
def test_a1_a_parent_lies_between_its_children(pairs):
    x, w = zip(*pairs, strict=True)
    mean, coverage = weighted_mean(x, w)
    assert min(x) - 1e-9 <= mean <= max(x) + 1e-9
    assert coverage == pytest.approx(1)


@given(score)
def test_a1_equal_leaves_give_an_equal_composite(s):
    np.testing.assert_allclose(tree(DEI, [s] * N).score, s, rtol=1e-12, atol=1e-12)


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


@settings(max_examples=60)
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


@given(gappy)
def test_a4_dropping_and_adding_again_is_bit_equal_and_rows_do_not_matter(leaves):
    whole = tree(DEI, leaves)
    for i in range(3):
        np.testing.assert_array_equal(tree(DEI, leaves[i]).score[0], whole.score[i])
    np.testing.assert_array_equal(tree(DEI, leaves[::-1]).score[::-1], whole.score)


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
