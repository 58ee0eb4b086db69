"""Weights along a tree: products of shares, and perturbed sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.aggregate import tree
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.weight_trees import effective, noisy

PARENTS = {"index": None, "a": "index", "b": "index", "a1": "a", "a2": "a", "b1": "b"}
WEIGHTS = {"a": 3, "b": 1, "a1": 1, "a2": 4, "b1": 7}


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


def test_effective_weights_are_the_products_of_the_shares():
    result = effective(PARENTS, WEIGHTS)
    assert list(result) == list(PARENTS)
    expected = {"index": 1, "a": 0.75, "b": 0.25, "a1": 0.15, "a2": 0.6, "b1": 0.25}
    assert result == {node: pytest.approx(value, rel=1e-15) for node, value in expected.items()}


def test_effective_weights_of_the_dei_are_its_global_weights_and_give_the_same_composite():
    dei = packaged("dei")
    parents = dict(zip(dei.nodes["node_id"], dei.nodes["parent_id"], strict=True))
    result = effective(parents, dict(zip(dei.nodes["node_id"], dei.nodes["weight"], strict=True)))
    leaves = [result[leaf] for leaf in dei.leaf_ids]
    np.testing.assert_allclose(leaves, dei.leaves["global_weight"].to_numpy(), rtol=1e-9)
    scores = generator().uniform(0, 100, (5, len(leaves)))
    np.testing.assert_allclose(scores @ leaves, tree(dei, scores).of(dei.root), rtol=1e-12)


@given(st.dictionaries(st.sampled_from(["a", "b", "a1", "a2", "b1"]), st.floats(0.01, 100), min_size=5), st.randoms())
def test_w2_effective_leaf_weights_sum_to_one_in_any_order_of_nodes(weights, random):
    shuffled = list(PARENTS)
    random.shuffle(shuffled)
    result = effective({node: PARENTS[node] for node in shuffled}, weights)
    assert sum(result[leaf] for leaf in ("a1", "a2", "b1")) == pytest.approx(1, abs=1e-9)
    assert result["a"] == pytest.approx(result["a1"] + result["a2"], abs=1e-12)


@pytest.mark.parametrize(
    ("parents", "weights", "message"),
    [
        (PARENTS, WEIGHTS | {"a1": -1}, "weights of a1, a2: number 1 is -1"),
        (PARENTS, WEIGHTS | {"a2": math.nan}, "weights of a1, a2: number 2 is nan"),
        (PARENTS, WEIGHTS | {"a": 0, "b": 0}, "weights of a, b sum to 0"),
        (PARENTS, WEIGHTS | {"b1": None}, "node b1 has no weight"),
        (PARENTS, {"a": 1, "b": 1}, "node a1 has no weight"),
        (PARENTS, WEIGHTS | {"c": 1}, "weight of c, which is no node"),
        (PARENTS, WEIGHTS | {"index": 0}, "weight of the root index sum to 0"),
        ({"index": None, "a": "x"}, {"a": 1}, "node a lies below x, which is no node"),
        ({"a": None, "b": None}, {}, "exactly one node without parent"),
        ({}, {}, "exactly one node without parent"),
        ({"index": None, "a": "b", "b": "a"}, {"a": 1, "b": 1}, "node a is its own ancestor"),
    ],
)
def test_coinr_defect_13_weights_and_trees_that_do_not_fit_are_an_error(parents, weights, message):
    with pytest.raises(MethodError, match=message):
        effective(parents, weights)
    with pytest.raises(MethodError, match=message):
        noisy(parents, weights, {}, generator())


def test_noise_stays_within_its_bounds_before_siblings_are_rescaled():
    sets = noisy(PARENTS, WEIGHTS, {2: 0.25}, generator(), size=4000)
    names = list(PARENTS)
    assert (sets[:, names.index("index")] == 1).all()
    np.testing.assert_allclose(sets[:, names.index("a")], 0.75, rtol=1e-15)  # level 1 has no noise
    np.testing.assert_allclose(sets[:, names.index("b1")], 1, rtol=1e-15)  # a single child
    a1, a2 = sets[:, names.index("a1")], sets[:, names.index("a2")]
    np.testing.assert_allclose(a1 + a2, 1, atol=1e-12)
    ratio = a1 / a2 / (0.2 / 0.8)
    assert 0.75 / 1.25 <= ratio.min() < 0.65
    assert 1.55 < ratio.max() <= 1.25 / 0.75


def test_noise_is_reproducible_and_independent_of_the_order_of_nodes_and_of_the_number_of_sets():
    many = noisy(PARENTS, WEIGHTS, {1: 0.25, 2: 0.1}, generator(), size=50)
    np.testing.assert_array_equal(noisy(PARENTS, WEIGHTS, {1: 0.25, 2: 0.1}, generator(), size=50), many)
    np.testing.assert_array_equal(noisy(PARENTS, WEIGHTS, {1: 0.25, 2: 0.1}, generator(), size=7), many[:7])
    assert (noisy(PARENTS, WEIGHTS, {1: 0.25, 2: 0.1}, generator(2), size=50) != many).any()
    reordered = dict(reversed(PARENTS.items()))
    np.testing.assert_allclose(
        noisy(reordered, WEIGHTS, {1: 0.25, 2: 0.1}, generator(), size=50), many[:, ::-1], rtol=1e-14
    )


def test_without_noise_the_sets_are_the_shares():
    (shares,) = noisy(PARENTS, WEIGHTS, {}, generator())
    np.testing.assert_allclose(shares, [1, 0.75, 0.25, 0.2, 0.8, 1], rtol=1e-15)


@pytest.mark.parametrize("noise", [{0: 0.1}, {3: 0.1}, {1: 1.0}, {1: -0.1}, {1: math.nan}])
def test_noise_on_an_unknown_level_or_of_an_impossible_size_is_an_error(noise):
    with pytest.raises(MethodError, match=r"at levels \[1, 2\]"):
        noisy(PARENTS, WEIGHTS, noise, generator())
