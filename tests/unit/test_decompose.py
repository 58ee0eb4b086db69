"""The split of a change: closed forms, C1 over random trees and data, failures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.aggregate import tree
from dei_pipeline.methods.decompose import (
    EFFECTS,
    WEIGHT_EFFECTS,
    bennet,
    crossed,
    effective_weights,
    rebase,
    split,
    uncapped,
)
from dei_pipeline.methods.framework import packaged
from dei_pipeline.methods.normalise import saturation, threshold

NAN = float("nan")
DEI = packaged("dei")
raw_values = st.floats(0.01, 1e4)
seeds = st.integers(0, 2**32 - 1)


def total(effects):
    return sum(array.sum(axis=-1) for array in effects.values())


def paths(w0, w1):
    """A path of weights whose whole change is one of coverage."""
    return [w0, w0, w0, w1]


# -- two periods -------------------------------------------------------------------------------------------------------
def test_a_missing_score_takes_the_other_one_so_that_its_effect_is_one_of_weight():
    effects = bennet([0.5, 0.5], [1.0, 0.0], [60, 40], [70, NAN])
    # C: 50 → 70, mean 60; leaf 1: ¾·10 and (65 − 60)·½; leaf 2: (40 − 60)·(−½).
    np.testing.assert_allclose(effects.value, [7.5, 0])
    np.testing.assert_allclose(effects.weight, [2.5, 10])
    nothing = bennet([1.0, 0.0], [1.0, 0.0], [60, NAN], [70, NAN])
    np.testing.assert_allclose(nothing, [[10, 0], [0, 0]])


def test_raw_and_threshold_are_split_before_the_cap_and_the_cap_has_what_it_cuts():
    effects = rebase(80, 150, 100, 120, cap=100)  # 80 → 125 uncapped, 100 as it counts
    assert effects.raw == pytest.approx(70 * (100 / 100 + 100 / 120) / 2)
    assert effects.theta == pytest.approx((80 + 150) / 2 * (100 / 120 - 1))
    assert effects.cap == pytest.approx(-25)
    assert sum(effects) == pytest.approx(20)


def test_a_negative_direction_is_split_on_theta_over_x():
    effects = rebase([5, 10], [10, NAN], 5, 6, "negative")
    np.testing.assert_allclose(effects.raw, [5.5 * (100 / 10 - 100 / 5), NAN])
    np.testing.assert_allclose(effects.theta, [1 * (100 / 10 + 100 / 5) / 2, NAN])
    np.testing.assert_allclose(effects.cap, [0, NAN])


def test_a_negative_indicator_at_zero_counts_its_cap():
    effects = rebase(0, 10, 5, 5, "negative", cap=100)
    np.testing.assert_allclose(effects, [-50, 0, 0])
    with pytest.raises(MethodError, match="set a cap"):
        rebase(0, 10, 5, 5, "negative")


def test_counts_that_saturate_have_a_cap_effect():
    limit = {"rule": "saturation", "theta": 20.0}
    counts = np.array([3.0, 20.0, 40.0])
    scores = uncapped(counts, limit)
    np.testing.assert_array_equal(scores[:2], saturation(counts[:2], 20))
    assert scores[2] == pytest.approx(100 * np.log(41) / np.log(21))
    effects = crossed(scores[1], scores[2], scores[1], scores[2], 100, 100)
    assert (effects.raw + effects.cap, effects.theta) == (pytest.approx(0), 0)
    with pytest.raises(MethodError, match="negative"):
        uncapped([-1.0], limit)


def test_a_moderate_indicator_is_split_over_its_value_and_its_bounds():
    limits = [
        {"rule": "fixed", "direction": "moderate", "lo": 0, "best": best, "hi": 10, "cap": 100} for best in (4, 5)
    ]
    s00, s10, s01, s11 = (uncapped(np.array([x]), limits[j]) for j in (0, 1) for x in (2, 3))
    np.testing.assert_allclose((s00, s10, s01, s11), [[50], [75], [40], [60]])
    np.testing.assert_allclose(crossed(s00, s10, s01, s11, s00, s11), [[22.5], [-12.5], [0]])


# -- weights -----------------------------------------------------------------------------------------------------------
def test_siblings_share_the_weight_of_an_absent_one():
    parents, weights = [-1, 0, 0, 1, 1], [1, 0.4, 0.6, 0.25, 0.75]
    present = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 0, 0], [1, 0, 0, 1, 1]], dtype=bool)
    np.testing.assert_allclose(
        effective_weights(parents, weights, present),
        [[1, 0.4, 0.6, 0.1, 0.3], [1, 0.4, 0.6, 0, 0.4], [1, 0, 1, 0, 0], [NAN] * 5],
    )


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0, 0.6))
def test_effective_weights_are_those_of_the_tree(seed, lacking):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 100, (4, len(DEI.leaf_ids)))
    scores[rng.uniform(size=scores.shape) < lacking] = NAN
    result = tree(DEI, scores)
    parent_ids = DEI.nodes["parent_id"].to_list()
    parents = [-1 if parent is None else DEI.positions[parent] for parent in parent_ids]
    found = effective_weights(parents, DEI.nodes["weight"].to_numpy(), ~np.isnan(result.score))
    np.testing.assert_allclose(found, result.effective_weight, atol=1e-12)


# -- C1 ----------------------------------------------------------------------------------------------------------------
def random_tree(rng):
    """Parents and weights of a random tree of at most four levels, and the positions of its leaves."""
    parents, level = [-1], [0]
    for node in range(1, rng.integers(4, 25)):
        above = rng.choice([i for i in range(node) if level[i] < 3])
        parents.append(int(above))
        level.append(level[above] + 1)
    weights = rng.uniform(0.05, 1, len(parents)) * (rng.uniform(size=len(parents)) < 0.95)
    leaves = [node for node in range(len(parents)) if node not in parents]
    return parents, weights, leaves


def random_limit(rng):
    """A row of thresholds of any direction, with or without a cap."""
    cap = 100.0 if rng.uniform() < 0.5 else None
    direction = rng.choice(["positive", "negative", "moderate", "saturation"])
    if direction == "saturation":
        return {"rule": "saturation", "theta": rng.uniform(1, 50)}
    if direction == "moderate":
        lo, best, hi = np.sort(rng.uniform(0, 100, 3)) + np.arange(3)
        return {"rule": "fixed", "direction": direction, "lo": lo, "best": best, "hi": hi, "cap": cap}
    return {"rule": "fixed", "direction": direction, "theta": rng.uniform(1, 100), "cap": cap}


def counted(raw, limit):
    """The score as the pipeline counts it."""
    if limit["rule"] == "saturation":
        return saturation(raw, limit["theta"])
    return threshold(raw, **{name: value for name, value in limit.items() if name != "rule"})


def random_change(seed, same=False):
    """Weights along their path, scores, composites and uncapped scores of a random change of everything."""
    rng = np.random.default_rng(seed)
    parents, w0, leaves = random_tree(rng)
    factor = np.where(rng.uniform(size=w0.shape) < 0.5, rng.uniform(0.5, 2, w0.shape), 1)
    ws, w1 = (w0, w0) if same else (w0 * factor, w0 * factor * rng.uniform(0.8, 1.2, w0.shape))
    units = 5
    limits = [(limit, limit) if same or rng.uniform() < 0.5 else (limit, random_limit(rng)) for limit in
              (random_limit(rng) for _ in leaves)]  # fmt: skip
    raws = [rng.uniform(0.5, 120, (units, len(leaves))) for _ in range(2)]
    present = [rng.uniform(size=raws[0].shape) < rng.uniform(0.5, 1) for _ in range(2)]
    if same:
        raws[1], present[1] = raws[0], present[0]
    raws = [np.where(there, raw, NAN) for raw, there in zip(raws, present, strict=True)]
    scores = [np.column_stack([counted(raw[:, k], limits[k][t]) for k in range(len(leaves))])
              for t, raw in enumerate(raws)]  # fmt: skip
    nodes = [np.ones((units, len(parents)), dtype=bool) for _ in range(2)]
    for there, leaf_there in zip(nodes, present, strict=True):
        there[:, leaves] = leaf_there
    steps = [(w0, nodes[0]), (ws, nodes[0]), (w1, nodes[0]), (w1, nodes[1])]
    weights = [effective_weights(parents, w, there)[:, leaves] for w, there in steps]
    kept = ~np.isnan(weights[0][:, 0]) & ~np.isnan(weights[2][:, 0]) & ~np.isnan(weights[3][:, 0])
    weights, scores = [w[kept] for w in weights], [s[kept] for s in scores]
    composites = [np.nansum(w * s, axis=1) for w, s in ((weights[0], scores[0]), (weights[3], scores[1]))]
    four = [np.column_stack([uncapped(raws[i][:, k], limits[k][j]) for k in range(len(leaves))])[kept]
            for j in (0, 1) for i in (0, 1)]  # fmt: skip
    return rng, weights, scores, composites, four


@settings(max_examples=150, deadline=None)
@given(seeds)
def test_c1_the_effects_sum_to_the_change_whatever_changed(seed):
    rng, weights, scores, composites, four = random_change(seed)
    corrected = rng.uniform(size=scores[0].shape) < 0.2
    effects = split(weights, scores, composites, four, corrected)
    assert tuple(effects) == EFFECTS
    assert all(np.isfinite(array).all() for array in effects.values())
    np.testing.assert_allclose(total(effects), composites[1] - composites[0], atol=1e-9)
    assert (effects["correction"][~corrected] == 0).all()
    assert (effects["value"][corrected] == 0).all()
    whole = bennet(weights[0], weights[3], *scores)
    np.testing.assert_allclose(sum(effects[name] for name in WEIGHT_EFFECTS), whole.weight, atol=1e-9)
    np.testing.assert_allclose(sum(effects[n] for n in EFFECTS if n not in WEIGHT_EFFECTS), whole.value, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_c1_a_leaf_that_is_missing_once_has_a_coverage_effect_only(seed):
    _, weights, scores, composites, four = random_change(seed)
    weights = [weights[0], weights[0], weights[0], weights[3]]
    effects = split(weights, scores, composites, four)
    once = np.isnan(scores[0]) != np.isnan(scores[1])
    for name in EFFECTS:
        if name != "coverage":
            assert (effects[name][once] == 0).all()
    np.testing.assert_allclose(total(effects), composites[1] - composites[0], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_c1_without_a_change_every_effect_is_zero(seed):
    _, weights, scores, composites, four = random_change(seed, same=True)
    assert all((array == 0).all() for array in split(weights, scores, composites, four).values())


@given(st.lists(st.tuples(raw_values, raw_values), min_size=1, max_size=6), raw_values, raw_values)
def test_without_thresholds_every_change_of_a_score_is_one_of_value(pairs, theta0, theta1):
    raw0, raw1 = np.array(pairs).T
    s0, s1 = threshold(raw0, theta0, cap=100), threshold(raw1, theta1, cap=100)
    w = np.full((1, len(pairs)), 1 / len(pairs))
    effects = split([w] * 4, (s0[None], s1[None]), (s0[None] @ w[0], s1[None] @ w[0]))
    np.testing.assert_allclose(effects["value"][0], (s1 - s0) / len(pairs), atol=1e-12)
    assert all((effects[name] == 0).all() for name in EFFECTS if name != "value")


def test_weight_effects_follow_the_path_scheme_data_coverage():
    s = np.array([[60.0, 50.0, 40.0]])
    path = [np.array([w]) for w in ([0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.3, 0.4, 0.3], [0.0, 0.5, 0.5])]
    effects = split(path, (s, s), [[w @ s[0] for w in path[0]], [w @ s[0] for w in path[3]]])
    middle = (53 + 45) / 2
    for name, before, after in zip(WEIGHT_EFFECTS, path, path[1:], strict=False):
        np.testing.assert_allclose(effects[name], (s - middle) * (after - before))
    assert total(effects) == pytest.approx(45 - 53)


# -- failures ----------------------------------------------------------------------------------------------------------
W, S = np.array([[0.5, 0.5]]), np.array([[60.0, 40.0]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bennet([0.5, 0.6], [0.5, 0.5], [1, 2], [1, 2]), "w0 sums to 1 only within 0.1"),
        (lambda: bennet([0.5, 0.5], [1.5, -0.5], [1, 2], [1, 2]), "w1 holds a weight that is negative"),
        (lambda: bennet([0.5, NAN], [0.5, 0.5], [1, 2], [1, 2]), "w0 holds a weight that is negative or not finite"),
        (lambda: bennet([0.5, 0.5], [0.5, 0.5], [1, np.inf], [1, 2]), "a score is infinite"),
        (lambda: bennet([0.5, 0.5], [0.5, 0.5], [1, NAN], [1, 2]), "w0 puts a weight on a missing score"),
        (lambda: rebase(1, 2, 1, 1, "moderate"), "'moderate' has no single threshold"),
        (lambda: rebase(1, 2, 0, 1), "theta is 0"),
        (lambda: uncapped([1.0], {"rule": "min_max", "theta": 1}), "rule 'min_max' have no split; it is defined for"),
        (lambda: split(paths(W, W), (S, S), ([49.0], [50.0])), "defined for arithmetic aggregation only"),
        (lambda: split(paths(W, W), (S, S), ([NAN], [50.0])), "defined for arithmetic aggregation only"),
        (lambda: split(paths(W, W), (S, S), ([50.0], [50.0]), [S, S, S, S * NAN]), "uncapped score is missing"),
        (lambda: split(paths(W, W * 2), (S, S), ([50.0], [50.0])), "after sums to 1 only within 1"),
        (lambda: effective_weights([-1, 2, 0], [1, 1, 1], np.ones((1, 3))), "stands before its parent"),
        (lambda: effective_weights([-1, 0], [1, -1], np.ones((1, 2))), "one finite weight ≥ 0 each"),
    ],
)
def test_what_has_no_split_is_an_error(call, says):
    with pytest.raises(MethodError) as error:
        call()
    assert says in str(error.value)


def test_a_geometric_mean_is_refused():
    geometric = np.exp(np.log(S) @ W[0])
    with pytest.raises(MethodError, match=r"not the weighted mean of its leaves .* arithmetic aggregation only"):
        split(paths(W, W), (S, S), (geometric, geometric))
