"""Correlations and their families: by pair, by group, with parents, with denominators."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.correlations import (
    FLAT,
    KINDS,
    SHORT,
    correlation,
    denominator_correlation,
    flags,
    p_values,
    positions_by,
    with_parent,
    within_group,
)
from tests.unit.correlated import NAN, asem, by_hand, gappy


# -- correlations ------------------------------------------------------------------------------------------------------
def test_correlations_in_closed_form():
    x = [[1, 1], [2, 2], [3, 4]]  # Σ(a−ā)(b−b̄) = 3, Σ(a−ā)² = 2, Σ(b−b̄)² = 14/3
    assert correlation(x).r[0, 1] == pytest.approx(3 / np.sqrt(28 / 3))
    assert correlation(x, kind="spearman").r[0, 1] == 1
    assert correlation([[1, 3], [2, 1], [3, 2]], kind="spearman").r[0, 1] == pytest.approx(-0.5)
    assert correlation([[1, 3], [2, 1], [3, 2]], kind="kendall").r[0, 1] == pytest.approx(-1 / 3)
    # One tie in x: 5 of 6 pairs count there, all concordant -> 5/√(5·6).
    assert correlation([[1, 1], [1, 2], [2, 3], [3, 4]], kind="kendall").r[0, 1] == pytest.approx(5 / np.sqrt(30))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_correlations_and_p_values_agree_with_scipy_pair_by_pair(kind, ties, share):
    x, y = gappy(1, share=share, ties=ties), gappy(2, columns=3, share=share, ties=ties)
    for other in (None, y):
        r, p, n = by_hand(x, x if other is None else other, kind)
        found = correlation(x, other, kind)
        np.testing.assert_allclose(found.r, r, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(found.n, n)
        assert found.undefined == ()
        ours = p_values(x, other, kind)
        np.testing.assert_allclose(ours, p, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_raw_asem_indicators_agree_with_scipy(coinr, kind):
    x, names, _ = asem(coinr)
    assert (x.shape, int(np.isnan(x).sum())) == ((51, 49), 63)
    r, p, n = by_hand(x[:, :16] if kind == "kendall" else x, x, kind)
    found = correlation(x[:, :16] if kind == "kendall" else x, x, kind)
    np.testing.assert_allclose(found.r, r, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(found.n, n)
    if kind != "kendall":
        np.testing.assert_allclose(p_values(x, kind=kind), p, rtol=1e-8, atol=1e-13)
    assert len(names) == 49


def test_a_pair_without_coefficient_is_listed_with_its_reason():
    x = [[1, 5, NAN, 7, NAN], [2, 5, 1, 7, NAN], [4, 5, 2, 8, 1], [3, 5, NAN, NAN, 2]]
    for kind in KINDS:
        found = correlation(x, kind=kind)
        reasons = {(i, j): reason for i, j, reason in found.undefined}
        assert set(reasons) == {(int(i), int(j)) for i, j in np.argwhere(np.isnan(found.r))}
        assert reasons[0, 1] == reasons[1, 1] == reasons[1, 3] == FLAT
        assert reasons[0, 2] == reasons[2, 2] == reasons[0, 4] == reasons[3, 4] == SHORT
        assert (0, 3) not in reasons
        assert np.isnan(p_values(x, kind=kind)[0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_constant_on_the_common_rows_or_up_to_rounding_has_no_correlation(kind):
    x = np.array([[1.0, 0.1 + 0.2], [2, 0.3], [3, 0.3], [4, 0.3]])
    assert correlation(x, kind=kind).undefined == ((0, 1, FLAT), (1, 0, FLAT), (1, 1, FLAT))
    half = [[0, 1], [0, 2], [0, 3], [1, NAN], [1, NAN], [1, NAN]]
    assert correlation(half, kind=kind).undefined == ((0, 1, FLAT), (1, 0, FLAT))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_correlations_do_not_depend_on_the_unit_at_the_ends_of_the_float_range(scale):
    x = gappy(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(correlation(x * scale).r, correlation(x).r, rtol=1e-12)


TABLES = arrays(
    np.float64,
    st.tuples(st.integers(3, 14), st.integers(2, 5)),
    elements=st.one_of(st.integers(-50, 50).map(float), st.just(NAN)),
)


@settings(max_examples=60, deadline=None)
@given(TABLES, st.sampled_from(KINDS))
def test_correlations_are_symmetric_within_bounds_and_one_on_the_diagonal(x, kind):
    r = correlation(x, kind=kind).r
    np.testing.assert_array_equal(r, r.T)
    assert (np.abs(r[~np.isnan(r)]) <= 1).all()
    np.testing.assert_allclose(np.diag(r)[~np.isnan(np.diag(r))], 1, rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(TABLES, st.sampled_from(KINDS), st.floats(0.1, 100), st.floats(-1000, 1000))
def test_correlations_ignore_positive_affine_transforms_and_turn_with_negative_ones(x, kind, factor, shift):
    r = correlation(x, kind=kind).r
    moved = x * factor + shift
    np.testing.assert_allclose(correlation(moved, kind=kind).r, r, atol=1e-9)
    moved[:, 0] *= -1
    r[0, 1:] *= -1
    r[1:, 0] *= -1
    np.testing.assert_allclose(correlation(moved, kind=kind).r, r, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(TABLES, st.sampled_from(KINDS), st.randoms(use_true_random=False))
def test_the_order_of_the_units_does_not_matter(x, kind, random):
    order = list(range(len(x)))
    random.shuffle(order)
    before, after = correlation(x, kind=kind), correlation(x[order], kind=kind)
    np.testing.assert_allclose(after.r, before.r, atol=1e-12)
    assert after.undefined == before.undefined


def test_failures_of_correlations():
    with pytest.raises(MethodError, match="unknown kind 'mutual'"):
        correlation([[1, 2]], kind="mutual")
    with pytest.raises(MethodError, match=r"column 1 .* infinite"):
        correlation([[1, 2], [2, np.inf]])
    with pytest.raises(MethodError, match="2 rows against 3"):
        correlation([[1], [2]], [[1], [2], [3]])
    for shapeless in ([1, 2, 3], [[]], 1.0):
        with pytest.raises(MethodError, match="shape"):
            correlation(shapeless)


# -- families ----------------------------------------------------------------------------------------------------------
NODES = ["root", "p", "q", "a", "b", "c"]
PARENTS = [None, "root", "root", "p", "p", "q"]


def tree_scores(seed=0):
    """A small tree of scores: p is the mean of a and b, q is c, root the mean of p and q."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, 30))
    p, q = (a + b) / 2, c
    return np.column_stack([(p + q) / 2, p, q, a, b, c])


def test_a_node_is_correlated_with_its_parent_or_with_all_its_ancestors():
    x = tree_scores()
    frame = with_parent(x, NODES, PARENTS)
    assert list(zip(frame["node_id"], frame["ancestor_id"], strict=True)) == list(
        zip(NODES[1:], PARENTS[1:], strict=True)
    )
    assert frame.filter(node_id="c")["r"].item() == pytest.approx(1)
    family = with_parent(x, NODES, PARENTS, ancestors=True)
    assert family.filter(node_id="a").select("ancestor_id", "levels_up").rows() == [("p", 1), ("root", 2)]
    expected = stats.pearsonr(x[:, 3], x[:, 0])
    row = family.filter(node_id="a", ancestor_id="root").row(0, named=True)
    assert (row["r"], row["p"], row["n"]) == (pytest.approx(expected[0]), pytest.approx(expected[1]), 30)


def test_insignificant_correlations_are_empty_and_keep_their_p_value():
    x = tree_scores()
    pairs = within_group(x, NODES, PARENTS, max_p=0.05)
    assert pairs.select("group_id", "node_a", "node_b").rows() == [("root", "p", "q"), ("p", "a", "b")]
    assert pairs["p"].to_list() == pytest.approx([stats.pearsonr(x[:, i], x[:, j])[1] for i, j in ((1, 2), (3, 4))])
    assert (pairs["p"] > 0.05).all()
    assert pairs["r"].to_list() == [None, None]
    assert within_group(x, NODES, PARENTS)["r"].null_count() == 0


def test_flags_name_collinear_negative_and_undefined_pairs_of_a_group():
    rng = np.random.default_rng(5)
    base = rng.normal(size=50)
    noise = rng.normal(size=(50, 2)) * 0.1
    x = np.column_stack([base, base + noise[:, 0], -base + noise[:, 1], np.ones(50), base])
    frame = flags(x, list("abcde"), ["g", "g", "g", "g", "h"])
    found = {(row["node_a"], row["node_b"], row["flag"]) for row in frame.iter_rows(named=True)}
    assert found == {
        ("a", "b", "collinear"),
        *((a, "c", flag) for a in "ab" for flag in ("collinear", "negative")),
        *((a, "d", "undefined") for a in "abc"),
    }
    assert flags(x[:, [0, 4]], ["a", "e"], ["g", "h"]).height == 0
    assert flags(x[:4, :3], list("abc"), ["g"] * 3, above=0.0, max_p=1e-12).height == 0


def test_the_pillars_of_the_asem_example_by_pillar_and_by_family(coinr):
    x, names, lineage = asem(coinr)
    pillar = [lineage[name]["Pillar"] for name in names]
    pairs = within_group(x, names, pillar)
    sizes = [len(c) for c in positions_by(pillar).values()]
    assert pairs.height == sum(k * (k - 1) // 2 for k in sizes)
    r, p, _ = by_hand(x, x, "pearson")
    for row in pairs.iter_rows(named=True):
        at = names.index(row["node_a"]), names.index(row["node_b"])
        assert (row["r"], row["p"]) == (pytest.approx(r[at]), pytest.approx(p[at]))
    strong = flags(x, names, pillar, above=0.7).filter(flag="collinear")
    assert strong.height == sum(abs(row["r"]) > 0.7 for row in pairs.iter_rows(named=True)) > 0
    scores = coinr("02_pipeline/Aggregated").drop("uCode")
    parents = dict(zip(coinr("01_input/iMeta")["iCode"], coinr("01_input/iMeta")["Parent"], strict=True))
    family = with_parent(scores.to_numpy(), scores.columns, [parents[node] for node in scores.columns], ancestors=True)
    assert family.height == 49 * 3 + 8 * 2 + 2
    row = family.filter(node_id="LPI", ancestor_id="Index").row(0, named=True)
    assert row["r"] == pytest.approx(stats.pearsonr(scores["LPI"], scores["Index"])[0])


def test_indicators_that_follow_a_denominator_are_found_in_the_asem_example(coinr):
    x, names, _ = asem(coinr)
    sizes = ["Area", "Energy", "GDP", "Population"]
    denominators = coinr("01_input/iData").sort("uCode").select(sizes).to_numpy().astype(float)
    frame = denominator_correlation(x, names, denominators, sizes)
    r, _, _ = by_hand(x, denominators, "pearson")
    expected = [(names[i], sizes[j]) for i, j in np.argwhere(np.abs(r) > 0.7)]
    assert frame.select("indicator_id", "denominator_id").rows() == expected
    assert ("Goods", "GDP") in expected


def test_an_indicator_without_correlation_to_a_denominator_is_listed_too():
    rows = denominator_correlation([[1, 7], [2, 7], [3, 7]], ["a", "b"], [[1], [0], [1]], ["size"])
    assert rows.select("indicator_id", "r").rows() == [("b", None)]


def test_failures_of_families():
    x = tree_scores()
    with pytest.raises(MethodError, match="'x' is no node"):
        with_parent(x, NODES, [None, "x", *PARENTS[2:]])
    with pytest.raises(MethodError, match="own ancestor"):
        with_parent(x, NODES, ["a", *PARENTS[1:]], ancestors=True)
    with pytest.raises(MethodError, match="5 parents for 6"):
        with_parent(x, NODES, PARENTS[1:])
    with pytest.raises(MethodError, match="stands twice"):
        within_group(x, ["a", *NODES[1:]], PARENTS)
    with pytest.raises(MethodError, match="5 names for 6 columns"):
        within_group(x, NODES[1:], PARENTS)
    with pytest.raises(MethodError, match="5 groups for 6"):
        within_group(x, NODES, PARENTS[1:])
    with pytest.raises(MethodError, match="above 2"):
        flags(x, NODES, PARENTS, above=2)
    with pytest.raises(MethodError, match="threshold 1"):
        denominator_correlation(x, NODES, x, NODES, threshold=1)
