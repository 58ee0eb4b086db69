"""AHP: judgements, their consistency, their pooling; failures, and invariant W4."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.weights import MAX_CR, ahp, from_upper_triangle, pool

SAATY = [1 / 9, 1 / 7, 1 / 5, 1 / 3, 1 / 2, 1, 2, 3, 5, 7, 9]
sizes = st.lists(st.floats(0.05, 1), min_size=1, max_size=10)
triangle = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.sampled_from(SAATY), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2)
)


def sums_to_one(w):
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1, abs=1e-12)


@given(sizes)
def test_w4_consistent_judgements_have_cr_0_and_give_their_weights_back(weights):
    w = np.array(weights) / np.sum(weights)
    result = ahp(w[:, None] / w)
    np.testing.assert_allclose(result.w, w, rtol=1e-9)
    np.testing.assert_allclose(result.w_geometric, w, rtol=1e-9)
    assert result.cr == pytest.approx(0, abs=1e-12)
    assert result.lambda_max == pytest.approx(w.size, rel=1e-12)
    assert result.accepted


@given(triangle, st.randoms(use_true_random=False))
def test_w4_ahp_weights_are_shares_that_follow_the_order_of_the_elements(judgements, random):
    matrix = from_upper_triangle(judgements)
    result = ahp(matrix)
    sums_to_one(result.w)
    assert result.lambda_max >= matrix.shape[0]
    assert result.accepted == (result.cr < MAX_CR)
    np.testing.assert_allclose(matrix @ result.w, result.lambda_max * result.w, rtol=1e-9)  # Perron vector
    order = list(range(matrix.shape[0]))
    random.shuffle(order)
    shuffled = ahp(matrix[np.ix_(order, order)])
    np.testing.assert_allclose(shuffled.w, result.w[order], rtol=1e-8)
    np.testing.assert_allclose(shuffled.cr, result.cr, atol=1e-9)


def test_one_and_two_elements_are_always_consistent():
    assert ahp([[1]]).w.tolist() == [1]
    result = ahp([[1, 9], [1 / 9, 1]])
    np.testing.assert_allclose(result.w, [0.9, 0.1], rtol=1e-15)
    assert (result.ci, result.cr, result.accepted) == (0, 0, True)


def test_ratios_of_consistency_use_the_random_index_of_saaty():
    cyclic = from_upper_triangle([2, 1 / 2, 1, 2, 1, 1])
    result = ahp(cyclic)
    expected = np.linalg.eigvals(cyclic).real.max()
    assert result.ci == pytest.approx((expected - 4) / 3, rel=1e-12)
    assert result.cr == pytest.approx(result.ci / 0.90, rel=1e-15)


def test_printed_judgements_of_three_decimals_are_read_as_the_fraction_they_mean():
    printed = ahp([[1, 3, 5], [0.333, 1, 3], [0.2, 0.333, 1]])
    exact = ahp([[1, 3, 5], [1 / 3, 1, 3], [1 / 5, 1 / 3, 1]])
    np.testing.assert_array_equal(printed.w, exact.w)
    assert printed.rounding == pytest.approx(1e-3)
    assert exact.rounding == 0
    for k in range(2, 10):
        assert ahp([[1, round(1 / k, 3)], [k, 1]]).w[1] == pytest.approx(k / (k + 1), rel=1e-14)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 2, 3], [0.5, 1, 2]], "as many rows as columns"),
        ([], "as many rows as columns"),
        ([[1, 0], [0, 1]], "row 1, column 2 is 0; give a number above 0"),
        ([[1, -2], [-0.5, 1]], "row 1, column 2 is -2"),
        ([[1, math.nan], [1, 1]], "row 1, column 2 is nan"),
        ([[1, math.inf], [1, 1]], "row 1, column 2 is inf"),
        ([[2, 2], [0.5, 1]], "row 1, column 1 is 2"),
        ([[1.001, 2], [0.5, 1]], "the diagonal must be 1"),
        ([[1, 8], [0.13, 1]], "row 1, column 2 is 8, its mirror 0.13"),
        ([[1, 1e200], [1e200, 1]], "its mirror"),
        (np.ones((11, 11)), "split the group"),
    ],
)
def test_a_matrix_that_is_no_set_of_judgements_is_an_error(matrix, message):
    with pytest.raises(MethodError, match=message):
        ahp(matrix)


def test_the_upper_triangle_is_read_row_by_row():
    expected = [[1, 2, 4], [1 / 2, 1, 8], [1 / 4, 1 / 8, 1]]
    assert from_upper_triangle([2, 4, 8]).tolist() == expected
    assert from_upper_triangle([]).tolist() == [[1]]
    for judgements in ([1, 2], [1, 2, 3, 4]):
        with pytest.raises(MethodError, match="above the diagonal"):
            from_upper_triangle(judgements)
    for judgement in (0, -1, math.nan, math.inf):
        with pytest.raises(MethodError, match="above 0"):
            from_upper_triangle([judgement])


def test_pooling_is_the_geometric_mean_of_the_accepted_judgements():
    cyclic = [[1, 5, 1 / 5], [1 / 5, 1, 5], [5, 1 / 5, 1]]
    result = pool({"li": from_upper_triangle([2, 4, 2]), "wang": cyclic, "zhao": from_upper_triangle([8, 16, 2])})
    np.testing.assert_allclose(result.matrix, from_upper_triangle([4, 8, 2]), rtol=1e-14)
    np.testing.assert_allclose(result.result.w, np.array([8, 2, 1]) / 11, rtol=1e-12)
    assert list(result.experts) == ["li", "wang", "zhao"]
    assert [result.experts[e].accepted for e in result.experts] == [True, False, True]
    assert result.rejected == {"wang": "CR 2.759 ≥ 0.1"}


def test_pooling_a_list_names_the_experts_by_their_number():
    result = pool([from_upper_triangle([2]), from_upper_triangle([8])])
    assert list(result.experts) == ["1", "2"]
    np.testing.assert_allclose(result.matrix, from_upper_triangle([4]), rtol=1e-14)


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ({"li": [[1, 5, 1 / 5], [1 / 5, 1, 5], [5, 1 / 5, 1]]}, "consistent enough: li CR 2.759"),
        ({}, "consistent enough: there is none"),
        ({"li": [[1, 2], [2, 1]]}, "expert li: AHP matrix: row 1, column 2 is 2"),
        ({"li": [[1]], "wang": [[1, 2], [1 / 2, 1]]}, "expert wang: 2 elements"),
    ],
)
def test_what_cannot_be_pooled_is_an_error(matrices, message):
    with pytest.raises(MethodError, match=message):
        pool(matrices)


@settings(max_examples=50)
@given(st.integers(2, 5).flatmap(lambda n: st.lists(st.permutations(range(n)), min_size=1, max_size=4)), st.data())
def test_w4_pooling_keeps_reciprocity_and_is_as_consistent_as_the_worst_accepted(orders, data):
    matrices = {}
    for number, order in enumerate(orders):
        consistent = 2.0 ** np.array(order)
        noise = data.draw(arrays(np.float64, (len(order), len(order)), elements=st.floats(0.8, 1.25)))
        upper = (consistent[:, None] / consistent * noise)[np.triu_indices(len(order), 1)]
        matrices[f"e{number}"] = from_upper_triangle(upper)
    result = pool(matrices)
    np.testing.assert_allclose(result.matrix * result.matrix.T, 1.0, rtol=1e-14)
    accepted = [e.cr for e in result.experts.values() if e.accepted]
    assert len(accepted) + len(result.rejected) == len(matrices)
    assert result.result.accepted
    assert result.result.cr <= max(accepted) + 1e-12
    sums_to_one(result.result.w)
    reordered = pool(dict(reversed(matrices.items())))
    np.testing.assert_array_equal(reordered.matrix, result.matrix)
