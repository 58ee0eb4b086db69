"""Delphi rounds: pooling by authority, Kendall's W with its permutation p, calibration and the stop rule."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import friedmanchisquare

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import delphi
from dei_pipeline.methods.delphi import aggregate, authority, calibrate, kendall_w, permutation_p, stop, why_undefined

EXAMPLE = [[9, 7, 5, 3], [8, 8, 4, 3], [9, 6, 6, 2]]
NAN = float("nan")
SHAPES = st.tuples(st.integers(2, 5), st.integers(2, 5))
SCORES = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 6).map(float)))


# -- pooling -----------------------------------------------------------------------------------------------------------
def test_authority_is_the_mean_of_basis_and_familiarity():
    np.testing.assert_allclose(authority([0.6, 1.0, NAN], [0.8, 0.0, 1.0]), [0.7, 0.5, NAN])


@pytest.mark.parametrize(("basis", "familiarity"), [(1.2, 0.5), (0.5, -0.1), (0.5, np.inf)])
def test_authority_outside_zero_to_one_is_an_error(basis, familiarity):
    with pytest.raises(MethodError, match="from 0 to 1"):
        authority([basis], [familiarity])


def test_pooled_scores_in_closed_form():
    pooled = aggregate([[80, 60], [90, NAN], [100, 40]], [[0.5, 1.0], [1.0, 0.0], [0.5, 3.0]])
    np.testing.assert_allclose(pooled.weighted_mean, [90, 45])
    np.testing.assert_allclose(pooled.mean, [90, 50])
    np.testing.assert_allclose(pooled.median, [90, 50])
    np.testing.assert_allclose(pooled.iqr, [10, 10])  # type 7: 85 … 95 and 45 … 55
    np.testing.assert_allclose(pooled.sd, [10, 200**0.5])
    np.testing.assert_allclose(pooled.cv, [10 / 90, 200**0.5 / 50])
    assert pooled.experts.tolist() == [3, 2]
    np.testing.assert_allclose(pooled.share, [[0.25, 0.25], [0.5, 0], [0.25, 0.75]])


def test_a_single_score_has_no_spread_and_equal_zeros_agree():
    pooled = aggregate([[70, 0], [NAN, 0]], [0.5, 0.5])
    assert np.isnan(pooled.sd[0])
    assert np.isnan(pooled.cv[0])
    assert pooled.iqr[0] == 0
    assert (pooled.sd[1], pooled.cv[1]) == (0, 0)


@pytest.mark.parametrize(
    ("scores", "weights", "words"),
    [
        ([[1, NAN], [2, NAN]], [1, 1], "item 2 of 2 has no score"),
        ([[1.0], [2.0]], [0, 0], "only scores with authority 0"),
        ([[1.0], [2.0]], [1, -1], "negative or missing"),
        ([[1.0], [2.0]], [1, NAN], "negative or missing"),
        ([[1.0], [2.0]], [1, 1, 1], "give one per expert"),
        ([[-1.0], [2.0]], [1, 1], "a score is -1"),
        ([[np.inf], [2.0]], [1, 1], "a score is inf"),
        ([], [], "at least one of each"),
    ],
)
def test_pooling_what_cannot_be_pooled_is_an_error(scores, weights, words):
    with pytest.raises(MethodError, match=words):
        aggregate(scores, weights)


@given(SCORES, st.randoms())
def test_pooled_scores_lie_between_the_experts_and_do_not_depend_on_their_order(scores, random):
    cr = np.linspace(0.3, 0.9, len(scores))
    pooled = aggregate(scores, cr)
    assert (pooled.weighted_mean >= scores.min(axis=0) - 1e-9).all()
    assert (pooled.weighted_mean <= scores.max(axis=0) + 1e-9).all()
    order = random.sample(range(len(scores)), len(scores))
    again = aggregate(scores[order], cr[order])
    for name in ("weighted_mean", "mean", "median", "iqr", "sd", "cv"):
        np.testing.assert_allclose(getattr(again, name), getattr(pooled, name), rtol=1e-12, atol=1e-12)


# -- agreement ---------------------------------------------------------------------------------------------------------
def test_perfect_agreement_is_one_and_opposite_experts_are_zero():
    assert kendall_w([[1, 2, 3], [4, 5, 6]]).w == 1
    assert kendall_w([[1, 2, 3], [3, 2, 1]]).w == 0
    assert kendall_w([[1, 2, 3], [3, 2, 1]]).p == pytest.approx(1)


def test_the_exact_p_of_the_example():
    found = kendall_w(EXAMPLE)
    assert found.p == pytest.approx(4 / 576)  # 24² orders of the second and third expert
    assert round(found.p, 6) == 0.006944
    assert round(found.p_asymptotic, 4) == 0.0373
    assert found.p_from == "exact"


@settings(max_examples=40, deadline=None)
@given(SCORES)
def test_w_lies_between_zero_and_one_and_chi2_is_friedmans(scores):
    if why_undefined(scores):
        with pytest.raises(MethodError, match="W is undefined"):
            kendall_w(scores)
        return
    found = kendall_w(scores)
    assert -1e-12 <= found.w_uncorrected <= found.w + 1e-12
    assert found.w <= 1 + 1e-12
    assert 0 < found.p <= 1
    if scores.shape[1] > 2:
        statistic, p = friedmanchisquare(*scores.T)
        np.testing.assert_allclose((found.chi2, found.p_asymptotic), (statistic, p), rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.randoms())
def test_agreement_does_not_depend_on_the_order_of_experts_or_items_nor_on_a_rising_scale(scores, random):
    if why_undefined(scores):
        return
    rows, columns = (random.sample(range(n), n) for n in scores.shape)
    found, again = kendall_w(scores), kendall_w(scores[rows][:, columns] * 3 + 2)
    np.testing.assert_allclose((again.w, again.p), (found.w, found.p), rtol=1e-9)


@pytest.mark.parametrize("scores", [EXAMPLE, [[1, 1, 2], [3, 3, 1], [1, 2, 2], [2, 2, 1]], [[1, 2], [2, 1], [1, 2]]])
def test_the_exact_p_is_the_share_of_all_permutations(scores):
    rows = 2 * np.apply_along_axis(lambda r: np.array([(r < x).sum() + ((r == x).sum() + 1) / 2 for x in r]), 1, scores)
    observed = (rows.sum(axis=0) ** 2).sum()
    orders = list(permutations(range(rows.shape[1])))
    all_sums = [
        sum(row[list(order)] for row, order in zip(rows, chosen, strict=True))
        for chosen in product(orders, repeat=len(rows))
    ]
    share = np.mean([(sums**2).sum() >= observed for sums in all_sums])
    assert permutation_p(rows.astype(int)) == (pytest.approx(share), "exact")


def test_p_is_drawn_where_enumeration_is_too_large_and_the_draw_is_repeatable():
    rows = np.array([[2, 4, 6, 8], [2, 4, 6, 8], [4, 2, 6, 8]])
    exact, _ = permutation_p(rows)
    drawn, origin = permutation_p(rows, budget=10)
    assert origin == "drawn"
    assert drawn == pytest.approx(exact, abs=0.002)
    assert permutation_p(rows, budget=10) == (drawn, origin)


def test_many_items_take_chi_squared_and_items_not_scored_by_all_are_left_out_and_counted():
    scores = np.vstack([np.arange(9.0), np.arange(9.0)])
    found = kendall_w(scores)
    assert (found.w, found.p_from, found.items, found.left_out) == (1, "asymptotic", 9, 0)
    scores[1, 0] = NAN
    found = kendall_w(scores)
    assert (found.w, found.items, found.left_out) == (1, 8, 1)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([[1, 2, 3]], "a single expert"),
        ([[1, NAN], [NAN, 2]], "0 items were scored by every expert"),
        ([[5, 5, 5], [7, 7, 7]], "every expert gave all items the same score"),
    ],
)
def test_agreement_that_is_undefined_says_why(scores, words):
    assert why_undefined(scores) == words
    with pytest.raises(MethodError, match=words):
        kendall_w(scores)


def test_one_expert_without_preference_does_not_make_w_undefined():
    # S = 2, ΣT = 3³ − 3: 12·2 / (4·24 − 2·24)
    assert kendall_w([[5, 5, 5], [1, 2, 3]]).w == pytest.approx(0.5)


# -- rounds ------------------------------------------------------------------------------------------------------------
def test_response_rate_and_whether_it_is_enough():
    rate, enough = delphi.positive_coefficient([7, 10], 10)
    assert (rate.tolist(), enough) == ([0.7, 1.0], True)
    assert delphi.positive_coefficient([6], [10])[1] is False
    for answered, asked in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(MethodError, match="answered"):
            delphi.positive_coefficient(answered, asked)


def test_calibration_takes_leniency_and_spread_away():
    truth = np.array([50.0, 60, 70, 80])
    scores = np.array([truth, truth + 10, 2 * truth - 65])
    scores[1, 3] = scores[0, 0] = NAN  # the first was spared the worst city, the second the best
    found = calibrate(scores)
    assert np.nanmax(np.ptp(np.nan_to_num(found, nan=np.inf)[:, 1:3], axis=0)) < 1e-9
    assert found[2, 3] == pytest.approx(found[0, 3])
    assert np.isnan(found[0, 0])


@given(SCORES)
def test_calibrating_complete_scores_keeps_their_overall_mean(scores):
    if (scores == scores[:, :1]).all(axis=1).any():
        with pytest.raises(MethodError, match="the same score"):
            calibrate(scores)
        return
    found = calibrate(scores)
    assert found.mean() == pytest.approx(scores.mean())
    np.testing.assert_allclose(found.std(axis=1, ddof=1), scores.std(axis=1, ddof=1).mean(), rtol=1e-9)


def test_calibration_needs_common_items():
    with pytest.raises(MethodError, match="1 items were scored by all 2 experts"):
        calibrate([[1, 2, NAN], [NAN, 2, 3]])


ROUGH = [[60, 70, 80, 90], [90, 62, 60, 75], [50, 80, 95, 60]]
CLOSE = [[60, 70, 80, 90], [62, 71, 81, 92], [61, 69, 82, 91]]


def test_agreement_that_holds_for_two_rounds_stops_the_exercise():
    end = stop([ROUGH, CLOSE, CLOSE])
    assert (end.round, end.stopped, end.reason) == (3, True, "converged")
    assert end.w[1:] == (1, 1)
    end = stop([CLOSE, CLOSE, CLOSE])
    assert (end.round, end.reason) == (2, "converged")


def test_without_agreement_the_last_round_counts_and_the_fourth_ends_it():
    end = stop([ROUGH])
    assert (end.round, end.stopped, end.reason) == (1, False, "open")
    assert stop([CLOSE]).stopped is False  # two rounds at least
    assert stop([ROUGH, CLOSE]).reason == "open"  # W moved
    wide = [[10, 70, 80, 90], [62, 71, 81, 92], [61, 69, 82, 91]]
    assert stop([wide, wide]).worst_cv[1] > 0.25
    assert stop([wide, wide]).stopped is False
    end = stop([ROUGH] * 5)
    assert (end.round, end.stopped, end.reason) == (4, True, "max_rounds")


def test_rounds_whose_agreement_is_undefined_do_not_converge():
    flat = [[70, 70], [80, 80]]
    end = stop([flat, flat])
    assert (end.stopped, np.isnan(end.w).all()) == (False, True)
    with pytest.raises(MethodError, match="no round"):
        stop([])
