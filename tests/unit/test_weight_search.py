"""Weights found by search, against the solutions that are known in closed form."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.weight_search import optimise


def table(columns=4, common=0.6, seed=3):
    """60 cities × columns that share a common factor, with different spreads."""
    generator = np.random.Generator(np.random.PCG64(seed))
    own = generator.normal(size=(60, columns))
    return 50 + (own + common * generator.normal(size=(60, 1))) * np.arange(1, columns + 1)


def known_balance(scores, target):
    """w ∝ R⁻¹t / σ: correlations R·(wσ) / norm are then proportional to the target."""
    w = np.linalg.solve(np.corrcoef(scores.T), target) / scores.std(axis=0)
    return w / w.sum()


@pytest.mark.parametrize("importances", [None, [1, 1, 1, 1], [2, 1, 1, 1], [3, 3, 2, 2]])
def test_balanced_weights_are_the_known_ones(importances):
    scores = table()
    target = np.ones(4) if importances is None else np.array(importances, dtype=float)
    expected = known_balance(scores, target)
    assert (expected > 0).all()
    result = optimise(scores, importances)
    np.testing.assert_allclose(result.w, expected, atol=1e-5)
    np.testing.assert_allclose(result.obtained, target / target.sum(), atol=1e-6)
    assert result.balanced
    index = scores @ result.w
    expected_correlations = [np.corrcoef(column, index)[0, 1] for column in scores.T]
    np.testing.assert_allclose(result.correlations, expected_correlations, rtol=1e-12)


def test_two_elements_are_balanced_in_closed_form():
    scores = table(2)
    r, sd = np.corrcoef(scores.T)[0, 1], scores.std(axis=0)
    assert r < 0.5
    a = np.array([(2 - r), (1 - 2 * r)]) / sd  # c1 = 2·c2 ⇔ w1σ1 / w2σ2 = (2 − r)/(1 − 2r)
    np.testing.assert_allclose(optimise(scores, [2, 1]).w, a / a.sum(), atol=1e-6)


def test_infomax_weights_undo_the_spread_of_the_elements():
    scores = table(5)
    result = optimise(scores, kind="infomax")
    np.testing.assert_allclose(result.w, (1 / scores.std(axis=0)) / (1 / scores.std(axis=0)).sum(), atol=1e-5)
    assert result.correlations.sum() == pytest.approx(np.sqrt(np.corrcoef(scores.T).sum()), rel=1e-10)
    assert result.target is None


def test_a_target_out_of_reach_is_the_nearest_one_and_said():
    scores = table(3, common=3)
    assert (known_balance(scores, np.array([8.0, 1, 1])) < 0).any()
    result = optimise(scores, [8, 1, 1])
    assert not result.balanced
    assert result.gap == pytest.approx(np.abs(result.obtained - result.target).max())
    assert (result.w >= 0).all()
    distance = ((result.obtained - result.target) ** 2).sum()
    for other in np.random.Generator(np.random.PCG64(5)).dirichlet([0.5, 0.5, 0.5], 300):
        c = np.array([np.corrcoef(column, scores @ other)[0, 1] for column in scores.T])
        assert distance <= ((c / np.abs(c).sum() - result.target) ** 2).sum() + 1e-9


def test_rank_correlations_are_balanced_as_far_as_ranks_allow():
    scores = table()
    result = optimise(scores, correlation="spearman")
    expected = [spearmanr(column, scores @ result.w).statistic for column in scores.T]
    np.testing.assert_allclose(result.correlations, expected, rtol=1e-12)
    assert result.gap < 0.005


def test_an_index_of_several_levels_is_given_as_a_function():
    scores = table()

    def through_two_groups(w):
        first = scores[:, :2] @ w[:2] / w[:2].sum()
        second = scores[:, 2:] @ w[2:] / w[2:].sum()
        return 0.3 * first + 0.7 * second

    result = optimise(scores, index=through_two_groups, kind="infomax")
    index = through_two_groups(result.w)
    expected = [np.corrcoef(column, index)[0, 1] for column in scores.T]
    np.testing.assert_allclose(result.correlations, expected, rtol=1e-12)
    assert result.correlations.sum() > sum(np.corrcoef(c, through_two_groups(np.ones(4)))[0, 1] for c in scores.T)


def test_the_search_is_deterministic_and_one_element_needs_none():
    np.testing.assert_array_equal(optimise(table()).w, optimise(table()).w)
    alone = optimise(table(1))
    assert (alone.w.tolist(), alone.evaluations) == ([1], 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "maximin"}, "unknown word 'maximin'; use one of balance, infomax"),
        ({"correlation": "kendall"}, "unknown word 'kendall'; use one of pearson, spearman"),
        ({"kind": "infomax", "importances": [1, 1, 1, 1]}, "infomax has no target"),
        ({"importances": [1, 1]}, "importances of shape"),
        ({"importances": [1, 1, 1, 0]}, "give numbers above 0"),
        ({"importances": [1, 1, 1, -1]}, "importances: number 4 is -1"),
        ({"max_iterations": 3}, "iterations has been exceeded; raise max_iterations or tolerance"),
        ({"index": lambda w: np.full(60, 7.0)}, "constant"),
        ({"index": lambda w: np.full(60, math.nan)}, "not finite"),
        ({"index": lambda w: np.zeros(3)}, "give one per city"),
    ],
)
def test_a_search_that_makes_no_sense_or_does_not_converge_is_an_error(arguments, message):
    with pytest.raises(MethodError, match=message):
        optimise(table(), **arguments)


@pytest.mark.parametrize("hole", [math.nan, math.inf])
def test_incomplete_elements_are_an_error(hole):
    scores = table()
    scores[3, 1] = hole
    with pytest.raises(MethodError, match="missing or infinite; impute or correct it first"):
        optimise(scores)


def test_a_constant_element_is_an_error():
    scores = table()
    scores[:, 2] = 5
    with pytest.raises(MethodError, match="column 3 of 4 is constant"):
        optimise(scores)


def test_an_index_that_correlates_with_nothing_is_an_error():
    scores = np.array([[1.0, 1], [-1, -1], [1, -1], [-1, 1]])
    with pytest.raises(MethodError, match="no element correlates"):
        optimise(scores, index=lambda w: np.array([1.0, 1, -1, -1]))
