"""Weights of siblings: closed forms, degenerate cases, failures, and the invariants W1 and W4."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.weights import (
    COMBINATIONS,
    SCHEMES,
    checked,
    combine,
    critic,
    entropy,
    equal,
    of_group,
    pca,
)

NOT_WEIGHTS = ([0.5, -0.5, 1.0], [0.5, math.nan, 0.5], [0.5, math.inf, 0.5], [0.0, 0.0, 0.0], [], [[0.5, 0.5]])
scores_of = arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 5)), elements=st.integers(0, 40).map(float))


def sums_to_one(w):
    assert (w >= 0).all()
    assert (w <= 1).all()
    assert w.sum() == pytest.approx(1, abs=1e-12)


# weights as such


@pytest.mark.parametrize("weights", NOT_WEIGHTS)
def test_coinr_defect_13_weights_that_are_none_are_an_error_wherever_weights_come_in(weights):
    valid = [0.2, 0.3, 0.5]
    for use in (
        lambda: checked(weights),
        lambda: combine(weights, valid, "linear"),
        lambda: combine(valid, weights, "multiplicative"),
        lambda: of_group("ahp_upper_entropy_leaf", weights, None, is_leaf_group=False),
        lambda: of_group("entropy_all", None, weights, is_leaf_group=False),
    ):
        with pytest.raises(MethodError, match="weights"):
            use()


def test_checked_weights_are_rescaled_and_counted():
    assert checked([1, 3]).tolist() == [0.25, 0.75]
    with pytest.raises(MethodError, match="give 3 in one dimension"):
        checked([0.5, 0.5], n=3)
    with pytest.raises(MethodError, match="sum to inf"):
        checked([1e308, 1e308])


def test_equal_weights_are_one_nth_each():
    assert equal(4).tolist() == [0.25] * 4
    with pytest.raises(MethodError, match="at least 1"):
        equal(0)


# entropy


def test_concentrated_indicator_beats_spread_one_in_closed_form():
    # one column with all mass on one of two cities: d = 1; one with shares 1/4, 3/4: d = 1 − H(1/4)/ln 2
    h = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(2)
    result = entropy([[0.0, 0.25], [1.0, 0.75]])
    np.testing.assert_allclose(result.w, [1 / (2 - h), (1 - h) / (2 - h)], rtol=1e-14)
    assert result.H[0] == 0


def test_a_constant_column_weighs_nothing_and_is_flagged():
    result = entropy([[1, 5, 0], [2, 5, 0], [4, 5, 0]])
    assert result.w.tolist() == [1, 0, 0]
    assert result.H[1:].tolist() == [1, 1]
    assert result.flags == ("", "constant", "zero_sum")
    assert result.reason == ""


def test_a_column_that_is_constant_up_to_rounding_is_constant():
    assert entropy([[1.0, 1.0], [1.0 + 1e-8, 2.0]]).w.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("scores", "flags", "reason"),
    [
        ([[3, 7], [3, 7], [3, 7]], ("constant", "constant"), "all_constant"),
        ([[0, 7], [0, 7]], ("zero_sum", "constant"), "all_constant"),
        ([[3, 9]], ("constant", "constant"), "single_unit"),
    ],
)
def test_without_dispersion_the_weights_are_equal_and_the_reason_is_given(scores, flags, reason):
    result = entropy(scores)
    assert result.w.tolist() == [0.5, 0.5]
    assert (result.flags, result.reason) == (flags, reason)


@pytest.mark.parametrize("column", [[1, 2, 3], [4, 4, 4], [0, 0, 0], [0, 0, 1]])
def test_one_child_has_all_the_weight(column):
    assert entropy(np.reshape(column, (3, 1))).w.tolist() == [1]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1, 2], [-1, 2]], "row 2, column 1 is -1; use scores ≥ 0"),
        ([[1, 2], [1, math.nan]], "row 2, column 2 is missing; impute first"),
        ([[1, None]], "row 1, column 2 is missing; impute first"),
        ([[1, math.inf]], "row 1, column 2 is infinite"),
        ([1, 2, 3], "cities as rows"),
        (np.zeros((0, 2)), "cities as rows"),
        (np.zeros((2, 0)), "cities as rows"),
    ],
)
def test_scores_that_entropy_is_not_defined_on_are_an_error(scores, message):
    with pytest.raises(MethodError, match=message):
        entropy(scores)


def test_entropy_depends_on_a_shift_so_that_min_max_gives_other_weights():
    raw = np.array([[10.0, 5], [20, 5], [30, 0], [40, 10]])
    shifted = (raw - raw.min(axis=0)) / np.ptp(raw, axis=0)
    np.testing.assert_allclose(entropy(raw).w, [0.23496, 0.76504], atol=5e-6)
    np.testing.assert_allclose(entropy(shifted).w, [0.5196, 0.4804], atol=5e-5)  # methodology §3.2


def test_a_largest_weight_is_held_and_its_excess_shared_in_proportion():
    free = entropy([[0, 1, 3], [0, 2, 4], [9, 4, 5]])
    held = entropy([[0, 1, 3], [0, 2, 4], [9, 4, 5]], max_weight=0.6)
    assert free.w[0] > 0.6
    assert held.w[0] == pytest.approx(0.6, abs=1e-15)
    assert held.w[1] / held.w[2] == pytest.approx(free.w[1] / free.w[2], rel=1e-12)
    assert held.flags == ("capped", "", "")
    np.testing.assert_array_equal(held.d, free.d)


def test_a_weight_lifted_over_the_largest_by_the_excess_of_another_is_held_too():
    free = entropy([[0, 0, 4, 1], [0, 1, 5, 1], [9, 9, 9, 2]])
    held = entropy([[0, 0, 4, 1], [0, 1, 5, 1], [9, 9, 9, 2]], max_weight=0.45)
    assert free.w[0] > 0.45 > free.w[1]
    np.testing.assert_allclose(held.w[:2], 0.45, rtol=1e-14)
    assert held.w[2:].sum() == pytest.approx(0.1, rel=1e-12)
    assert held.w[2] / held.w[3] == pytest.approx(free.w[2] / free.w[3], rel=1e-12)
    assert held.flags == ("capped", "capped", "", "")


def test_a_largest_weight_that_no_weights_meet_means_equal_weights_of_the_varying_columns():
    result = entropy([[0, 1, 5], [9, 2, 5]], max_weight=0.4)
    np.testing.assert_allclose(result.w, [0.5, 0.5, 0], atol=1e-15)
    assert (result.flags, result.reason) == (("capped", "capped", "constant"), "cap_unreachable")
    assert entropy([[1.0], [2.0]], max_weight=0.4).w.tolist() == [1]


@pytest.mark.parametrize("cap", [0, -0.1, 1.1, math.nan])
def test_a_largest_weight_is_a_share(cap):
    with pytest.raises(MethodError, match="max_weight"):
        entropy([[1, 2], [2, 1]], max_weight=cap)


@given(scores_of, st.one_of(st.none(), st.floats(0.05, 1)))
def test_w4_entropy_weights_are_shares_and_constant_columns_weigh_nothing(scores, cap):
    result = entropy(scores, cap)
    sums_to_one(result.w)
    constant = np.ptp(scores, axis=0) == 0
    assert (np.array(result.flags)[constant] != "").all()
    if not constant.all():
        assert (result.w[constant] == 0).all()
        assert (result.w[~constant] > 0).all()
        if cap is not None:
            assert (result.w <= max(cap, 1 / (~constant).sum()) + 1e-12).all()


@given(scores_of, st.data())
def test_w4_multiplying_a_column_leaves_the_entropy_weights_unchanged(scores, data):
    factor = data.draw(arrays(np.float64, scores.shape[1], elements=st.floats(1e-6, 1e6)))
    np.testing.assert_allclose(entropy(scores * factor).w, entropy(scores).w, atol=1e-9)


@given(scores_of, st.randoms(use_true_random=False))
def test_entropy_weights_do_not_depend_on_the_order_of_cities_and_follow_that_of_columns(scores, random):
    rows, columns = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    weights = entropy(scores).w
    np.testing.assert_array_equal(entropy(scores[rows]).w, weights)
    np.testing.assert_allclose(entropy(scores[:, columns]).w, weights[columns], atol=1e-12)


# combinations


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=st.floats(0.01, 1))] * 2)))
def test_w1_combined_weights_are_shares_and_two_equal_opinions_stay_theirs(pair):
    a, e = pair
    for scheme in COMBINATIONS:
        sums_to_one(combine(a, e, scheme))
    for scheme in ("linear", "min_relative_entropy"):
        np.testing.assert_allclose(combine(a, a, scheme), a / a.sum(), rtol=1e-12)
    np.testing.assert_allclose(combine(a, np.ones_like(a), "multiplicative"), a / a.sum(), rtol=1e-12)


def test_linear_runs_from_the_entropy_weights_to_the_ahp_weights():
    a, e = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    np.testing.assert_array_equal(combine(a, e, "linear", 1.0), a)
    np.testing.assert_array_equal(combine(a, e, "linear", 0.0), e)
    np.testing.assert_allclose(combine(a, e, "linear", 0.8), [0.44, 0.30, 0.26], rtol=1e-15)


def test_min_relative_entropy_is_nearest_to_both_weights():
    a, e = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])

    def distance(w):
        return (w * np.log(w / a)).sum() + (w * np.log(w / e)).sum()

    best = combine(a, e, "min_relative_entropy")
    generator = np.random.Generator(np.random.PCG64(0))
    for other in generator.dirichlet([1, 1, 1], 200):
        assert distance(best) <= distance(other)


@pytest.mark.parametrize("scheme", ["multiplicative", "min_relative_entropy"])
def test_products_that_are_all_zero_are_an_error(scheme):
    with pytest.raises(MethodError, match="use scheme linear"):
        combine([1, 0], [0, 1], scheme)
    assert combine([1, 0], [0, 1], "linear").tolist() == [0.5, 0.5]


def test_unknown_schemes_and_shares_are_an_error():
    with pytest.raises(MethodError, match="unknown scheme 'ahp_upper_entropy_leaf'; use one of multiplicative, linear"):
        combine([1], [1], "ahp_upper_entropy_leaf")
    for lam in (-0.1, 1.1, math.nan):
        with pytest.raises(MethodError, match="lam"):
            combine([1], [1], "linear", lam)
    with pytest.raises(MethodError, match="unknown weighting scheme 'delphi'; use one of ahp_upper_entropy_leaf"):
        of_group("delphi", [1], [1], is_leaf_group=True)
    with pytest.raises(MethodError, match="give 2 in one dimension"):
        combine([0.5, 0.5], [0.2, 0.3, 0.5], "linear")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("is_leaf_group", [True, False])
def test_a_scheme_chooses_by_level_and_says_what_it_chose(scheme, is_leaf_group):
    a, e = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    result = of_group(scheme, a, e, is_leaf_group, lam=0.8)
    if scheme in COMBINATIONS:
        assert result.method == scheme
        np.testing.assert_array_equal(result.w, combine(a, e, scheme, 0.8))
        return
    method = "ahp" if scheme == "ahp_upper_entropy_leaf" and not is_leaf_group else "entropy"
    assert result.method == method
    np.testing.assert_allclose(result.w, a if method == "ahp" else e, rtol=1e-15)
    alone = of_group(scheme, a if method == "ahp" else None, None if method == "ahp" else e, is_leaf_group)
    np.testing.assert_array_equal(alone.w, result.w)


@pytest.mark.parametrize(
    ("scheme", "given_weights", "is_leaf_group", "lacking"),
    [
        ("ahp_upper_entropy_leaf", ([0.5, 0.5], None), True, "a leaf group has no entropy weights"),
        ("ahp_upper_entropy_leaf", (None, [0.5, 0.5]), False, "an upper group has no AHP weights"),
        ("entropy_all", ([0.5, 0.5], None), False, "an upper group has no entropy weights"),
        ("linear", (None, [0.5, 0.5]), True, "a leaf group has no AHP weights"),
        ("multiplicative", ([0.5, 0.5], None), True, "a leaf group has no entropy weights"),
    ],
)
def test_a_group_without_the_weights_its_scheme_needs_is_an_error(scheme, given_weights, is_leaf_group, lacking):
    with pytest.raises(MethodError, match=lacking):
        of_group(scheme, *given_weights, is_leaf_group)


# CRITIC


def test_critic_gives_the_weights_of_its_paper():
    # Diakoulaki, Mavrotas & Papayannakis (1995), the eight firms and three criteria of their example
    firms = [
        [61, 1.08, 4.33],
        [20.7, 0.26, 4.34],
        [16.3, 1.98, 2.53],
        [9, 3.29, 1.65],
        [5.4, 2.77, 2.33],
        [4, 4.12, 1.21],
        [-6.1, 3.52, 2.10],
        [-34.6, 3.31, 0.98],
    ]
    np.testing.assert_allclose(critic(firms).w, [0.20222554, 0.48090173, 0.31687273], atol=5e-9)


def test_critic_favours_the_column_that_disagrees_with_the_others():
    # r = (1, 0, 0) between the pairs and equal σ: conflicts 1, 1, 2
    result = critic([[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]])
    np.testing.assert_allclose(result.w, [0.25, 0.25, 0.5], rtol=1e-14)


def test_critic_leaves_a_constant_column_out_and_says_so():
    result = critic([[0, 7, 0], [1, 7, 0], [0, 7, 1], [1, 7, 1]])
    np.testing.assert_allclose(result.w, [0.5, 0, 0.5], rtol=1e-14)
    assert result.flags == ("", "constant", "")


@pytest.mark.parametrize(
    ("scores", "w", "reason"),
    [
        ([[1, 2], [1, 2]], [0.5, 0.5], "all_constant"),
        ([[1, 2]], [0.5, 0.5], "all_constant"),
        ([[1, 2, 9], [2, 4, 9], [4, 8, 9]], [0.5, 0.5, 0], "no_conflict"),
        ([[1, 9], [2, 9]], [1, 0], ""),
        ([[1], [2]], [1], ""),
    ],
)
def test_critic_without_conflict_weighs_the_varying_columns_equally_and_says_why(scores, w, reason):
    result = critic(scores)
    assert result.w.tolist() == w
    assert result.reason == reason


@given(scores_of, st.data())
def test_critic_weights_are_shares_and_do_not_change_with_the_unit_of_a_column(scores, data):
    result = critic(scores)
    sums_to_one(result.w)
    columns = scores.shape[1]
    factor = data.draw(arrays(np.float64, columns, elements=st.floats(0.01, 100)))
    shift = data.draw(arrays(np.float64, columns, elements=st.integers(-50, 50).map(float)))
    np.testing.assert_allclose(critic(scores * factor + shift).w, result.w, atol=1e-9)
    assert ((np.ptp(scores, axis=0) == 0) == (np.array(result.flags) == "constant")).all()


# principal component


def test_two_correlated_columns_have_equal_principal_weights():
    scores = [[1, 10], [2, 30], [3, 20], [4, 40]]
    for kind in ("squared", "loading"):
        np.testing.assert_allclose(pca(scores, kind).w, [0.5, 0.5], rtol=1e-12)
    r = np.corrcoef(np.transpose(scores))[0, 1]
    np.testing.assert_allclose(pca(scores).explained, [(1 + r) / 2, (1 - r) / 2], rtol=1e-12)


def test_a_column_unrelated_to_a_correlated_pair_has_no_principal_weight():
    scores = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=float)
    np.testing.assert_allclose(pca(scores).w, [0.5, 0.5, 0], atol=1e-15)
    np.testing.assert_allclose(pca(scores, "loading").w, [0.5, 0.5, 0], atol=1e-15)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_coinr_defect_15_the_sign_of_the_principal_component_does_not_reach_the_weights(sign):
    base = np.array([[1, 2, 1], [2, 3, 4], [3, 5, 5], [4, 4, 9], [5, 7, 6]], dtype=float)
    result = pca(sign * base, "loading")
    assert (result.w > 0).all()
    np.testing.assert_allclose(result.w, pca(base, "loading").w, rtol=1e-12)
    assert result.loadings.sum() > 0


def test_coinr_defect_15_loadings_of_both_signs_are_no_weights():
    scores = [[1, 2, 5], [2, 3, 4], [3, 5, 3], [4, 4, 1]]
    with pytest.raises(MethodError, match=r"column 3 loads -0\.\d+ against the others"):
        pca(scores, "loading")
    sums_to_one(pca(scores).w)
    assert pca(scores).loadings[2] < 0


def test_principal_weights_name_constant_columns():
    result = pca([[1, 5, 1], [2, 5, 3], [4, 5, 2]])
    assert result.w[1] == 0
    assert result.flags == ("", "constant", "")
    assert result.explained.sum() == pytest.approx(1)
    everything = pca([[1, 5], [1, 5]])
    assert (everything.w.tolist(), everything.reason) == ([0.5, 0.5], "all_constant")
    assert pca([[1, 9], [2, 9]]).w.tolist() == [1, 0]


def test_a_principal_component_that_is_not_unique_is_an_error():
    with pytest.raises(MethodError, match="the same variance"):
        pca([[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize("method", [critic, pca])
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1, math.nan], [2, 1]], "row 1, column 2 is missing; impute first"),
        ([[1, 2], [math.inf, 1]], "row 2, column 1 is infinite"),
        ([1, 2], "cities as rows"),
    ],
)
def test_incomplete_scores_are_an_error(method, scores, message):
    with pytest.raises(MethodError, match=message):
        method(scores)


def test_an_unknown_kind_of_principal_weights_is_an_error():
    with pytest.raises(MethodError, match="use squared or loading"):
        pca([[1, 2], [2, 1]], "varimax")
