"""Correlations and their families, Cronbach's alpha, principal components, KMO and Bartlett's test."""

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
from dei_pipeline.methods.multivariate import bartlett, cronbach_alpha, kmo, pca

NAN = np.nan
SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
# Four centred columns of length 8 that are orthogonal: mixtures of them have the correlations one wants exactly.
HADAMARD = np.array([[(-1.0) ** bin(i & j).count("1") for j in (1, 2, 4, 7)] for i in range(8)])


def gappy(seed=0, rows=40, columns=6, share=0.2, ties=False):
    """Random correlated columns with missing cells."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) + rng.normal(size=(rows, 1))
    x = np.round(x) if ties else x
    x[rng.random(x.shape) < share] = NAN
    return x


def by_hand(x, y, kind):
    """r, p, n of every pair by scipy, rows with a missing value deleted for each pair."""
    shape = (x.shape[1], y.shape[1])
    r, p, n = np.full(shape, NAN), np.full(shape, NAN), np.zeros(shape, dtype=int)
    for i, j in np.ndindex(shape):
        rows = ~np.isnan(x[:, i]) & ~np.isnan(y[:, j])
        n[i, j] = rows.sum()
        a, b = x[rows, i], y[rows, j]
        if n[i, j] >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
            r[i, j], p[i, j] = SCIPY[kind](a, b)
    return r, p, n


def asem(coinr, table="02_pipeline/Raw"):
    """An ASEM table as an array, its indicators, and their parents by level."""
    frame = coinr(table).drop("uCode")
    lineage = {row["Indicator"]: row for row in coinr("01_input/lineage").iter_rows(named=True)}
    return frame.to_numpy().astype(float), frame.columns, lineage


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


# -- Cronbach's alpha --------------------------------------------------------------------------------------------------
def textbook_alpha(x):
    k = x.shape[1]
    return k / (k - 1) * (1 - x.var(axis=0, ddof=1).sum() / x.sum(axis=1).var(ddof=1))


def test_alpha_in_closed_form():
    # Equal variances and correlation r: α = k·r/(1 + (k−1)·r) (Spearman–Brown); here r = 1/2.
    equal = HADAMARD[:, 1:] + HADAMARD[:, [0]]
    assert cronbach_alpha(equal) == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))
    assert cronbach_alpha(HADAMARD) == pytest.approx(0, abs=1e-15)


def test_alpha_of_a_hand_computed_test():
    # Item variances 1, 1, 3 add to 5; the totals 4, 6, 11 have variance 13: α = 3/2·(1 − 5/13) = 12/13.
    assert cronbach_alpha([[1, 2, 1], [2, 3, 1], [3, 4, 4]]) == pytest.approx(12 / 13)


def test_alpha_of_complete_data_is_the_textbook_formula():
    x = gappy(7, share=0)
    assert cronbach_alpha(x) == pytest.approx(textbook_alpha(x))


def test_alpha_with_gaps_uses_the_covariances_of_common_rows():
    x = gappy(8)
    c = np.array(np.ma.cov(np.ma.masked_invalid(x), rowvar=False))
    for i, j in np.ndindex(c.shape):
        rows = ~np.isnan(x[:, i]) & ~np.isnan(x[:, j])
        c[i, j] = np.cov(x[rows, i], x[rows, j])[0, 1]
    k = len(c)
    off = c[~np.eye(k, dtype=bool)].mean()
    assert cronbach_alpha(x) == pytest.approx(k**2 * off / c.sum())


@pytest.mark.parametrize("level", ["Pillar", "Sub-index", "Index"])
def test_alpha_of_every_group_of_the_asem_example(coinr, level):
    x, names, lineage = asem(coinr, "02_pipeline/Normalised")
    assert not np.isnan(x).any()
    groups = positions_by([lineage[name][level] for name in names])
    for columns in groups.values():
        assert cronbach_alpha(x[:, columns]) == pytest.approx(textbook_alpha(x[:, columns]))
    assert len(groups) == {"Pillar": 8, "Sub-index": 2, "Index": 1}[level]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=3, max_size=20).filter(lambda v: len(set(v)) > 1), st.integers(2, 6))
def test_alpha_of_identical_columns_is_one(column, k):
    assert cronbach_alpha(np.repeat(np.array(column, dtype=float)[:, None], k, axis=1)) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 100), st.floats(-100, 100))
def test_alpha_is_at_most_one_and_ignores_a_common_positive_affine_transform(seed, factor, shift):
    x = gappy(seed, rows=25, columns=4, share=0)
    alpha = cronbach_alpha(x)
    assert alpha <= 1
    assert cronbach_alpha(x * factor + shift) == pytest.approx(alpha)


def test_failures_of_alpha():
    with pytest.raises(MethodError, match="one column"):
        cronbach_alpha([[1], [2], [3]])
    with pytest.raises(MethodError, match=r"column 1 .* constant"):
        cronbach_alpha([[1, 4], [2, 4], [3, 4]])
    with pytest.raises(MethodError, match="cancel out"):
        cronbach_alpha([[1, -1], [2, -2], [4, -4]])
    with pytest.raises(MethodError, match="columns 0 and 1 share fewer than two rows"):
        cronbach_alpha([[1, NAN], [2, NAN], [3, 1], [NAN, 2]])


# -- components and adequacy -------------------------------------------------------------------------------------------
def test_components_in_closed_form():
    # Two columns of correlation r have the eigenvalues 1 ± r; the first axis is (1, 1)/√2.
    x = np.column_stack([HADAMARD[:, 0], 0.6 * HADAMARD[:, 0] + 0.8 * HADAMARD[:, 1]])
    found = pca(x)
    np.testing.assert_allclose(found.eigenvalues, [1.6, 0.4])
    np.testing.assert_allclose(found.explained, [0.8, 0.2])
    np.testing.assert_allclose(found.loadings, np.array([[1, 1], [1, -1]]) / np.sqrt(2))


def test_components_are_the_eigenvectors_of_the_correlations_of_complete_rows():
    x = gappy(9, share=0.05)
    complete = x[~np.isnan(x).any(axis=1)]
    found = pca(x)
    assert 0 < found.dropped == len(x) - len(complete)
    values, vectors = np.linalg.eigh(np.corrcoef(complete, rowvar=False))
    np.testing.assert_allclose(found.eigenvalues, values[::-1], rtol=1e-10)
    np.testing.assert_allclose(np.abs(found.loadings), np.abs(vectors[:, ::-1]), atol=1e-9)
    assert found.explained.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.cov(found.scores, rowvar=False), np.diag(found.eigenvalues), atol=1e-12)
    np.testing.assert_array_equal(found.rows, np.flatnonzero(~np.isnan(x).any(axis=1)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_the_largest_loading_of_a_component_is_positive(seed):
    loadings = pca(gappy(seed, rows=15, columns=4, share=0)).loadings
    assert (loadings.max(axis=0) >= np.abs(loadings).max(axis=0) * (1 - 1e-8)).all()
    np.testing.assert_allclose(loadings.T @ loadings, np.eye(4), atol=1e-12)


def test_fewer_rows_than_columns_give_as_many_components_as_rows():
    found = pca(gappy(1, rows=4, columns=6, share=0))
    assert found.loadings.shape == (6, 4)
    assert found.eigenvalues.sum() == pytest.approx(6)


def test_the_pillars_of_the_asem_example_agree_with_the_eigenvalues_of_their_correlations(coinr):
    x, names, lineage = asem(coinr, "02_pipeline/Aggregated")
    leaves = [lineage.get(name, {}).get("Pillar") for name in names]
    groups = positions_by(leaves)
    assert len(groups) == 8
    for columns in groups.values():
        expected = np.linalg.eigvalsh(np.corrcoef(x[:, columns], rowvar=False))[::-1]
        np.testing.assert_allclose(pca(x[:, columns]).eigenvalues, expected, rtol=1e-9)


def test_sampling_adequacy_in_closed_form():
    # k = 3 of equal correlation r: partial correlation q = r/(1+r), KMO = r²/(r² + q²). Two columns: q = r, KMO = 1/2.
    equal = HADAMARD[:, 1:] + HADAMARD[:, [0]]
    r, q = 0.5, 0.5 / 1.5
    found = kmo(equal)
    assert found.overall == pytest.approx(r**2 / (r**2 + q**2))
    np.testing.assert_allclose(found.by_column, found.overall)
    assert kmo(equal[:, :2]).overall == pytest.approx(0.5)


def test_sampling_adequacy_uses_the_correlation_of_residuals():
    x = gappy(11, columns=5, share=0.05)
    complete = x[~np.isnan(x).any(axis=1)]
    r, q = np.corrcoef(complete, rowvar=False), np.zeros((5, 5))
    for i, j in np.ndindex(q.shape):
        rest = np.column_stack([np.ones(len(complete)), np.delete(complete, [i, j], axis=1)])
        residuals = [complete[:, c] - rest @ np.linalg.lstsq(rest, complete[:, c], rcond=None)[0] for c in (i, j)]
        q[i, j] = 0 if i == j else np.corrcoef(residuals)[0, 1]
    r2, q2 = r**2 * (1 - np.eye(5)), q**2
    found = kmo(x)
    assert found.overall == pytest.approx(r2.sum() / (r2.sum() + q2.sum()))
    np.testing.assert_allclose(found.by_column, r2.sum(0) / (r2.sum(0) + q2.sum(0)))
    assert (found.rows, found.dropped) == (len(complete), len(x) - len(complete))


def test_sphericity_in_closed_form():
    x = np.column_stack([HADAMARD[:, 0], 0.6 * HADAMARD[:, 0] + 0.8 * HADAMARD[:, 1]])
    found = bartlett(x)
    assert found.chi2 == pytest.approx(-(8 - 1 - 9 / 6) * np.log(1 - 0.36))
    assert (found.freedom, found.rows, found.dropped) == (1, 8, 0)
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 1))
    flat = bartlett(HADAMARD)
    assert (flat.chi2, flat.p) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


def test_sphericity_is_rarely_rejected_where_the_columns_are_independent():
    rng = np.random.default_rng(4)
    p = [bartlett(rng.normal(size=(60, 4))).p for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_the_pillars_of_the_asem_example_have_something_in_common(coinr):
    x, names, _ = asem(coinr, "02_pipeline/Aggregated")
    meta = coinr("01_input/iMeta")
    pillars = meta.filter(Level=2)["iCode"].to_list()
    scores = x[:, [names.index(pillar) for pillar in pillars]]
    assert bartlett(scores).p < 1e-6
    assert 0.5 < kmo(scores).overall < 1


@pytest.mark.parametrize("analysis", [pca, kmo, bartlett])
def test_failures_of_components(analysis):
    with pytest.raises(MethodError, match=r"column 1 .* constant"):
        analysis([[1, 4, 1], [2, 4, 0], [3, 4, 5], [9, NAN, 8]])
    with pytest.raises(MethodError, match="2 of 3 rows are complete"):
        analysis([[1, 4], [2, 5], [3, NAN]])
    with pytest.raises(MethodError, match="one column"):
        analysis([[1], [2], [3]])


@pytest.mark.parametrize("analysis", [kmo, bartlett])
def test_a_singular_correlation_matrix_is_an_error(analysis):
    x = gappy(1, rows=20, columns=3, share=0)
    with pytest.raises(MethodError, match="singular"):
        analysis(np.column_stack([x, x @ [1, 2, 3]]))
    with pytest.raises(MethodError, match="singular"):
        analysis(gappy(1, rows=4, columns=6, share=0))


def test_a_column_uncorrelated_with_all_others_has_no_sampling_adequacy():
    with pytest.raises(MethodError, match="uncorrelated"):
        kmo(HADAMARD)


# -- panels ------------------------------------------------------------------------------------------------------------
def test_positions_keep_the_order_of_first_appearance_and_leave_out_what_has_no_label():
    found = positions_by([2020, 2019, None, 2020])
    assert {label: rows.tolist() for label, rows in found.items()} == {2020: [0, 3], 2019: [1]}
    assert list(found) == [2020, 2019]


def test_coinr_defect_9_multivariate_analysis_works_on_a_stacked_panel(coinr):
    panel = coinr("01_input/iData_panel")
    meta = coinr("01_input/iMeta").filter(Parent="Physical")
    names = meta["iCode"].to_list()
    x, years = panel.select(names).to_numpy().astype(float), positions_by(panel["Time"].to_list())
    assert list(years) == [2018, 2019, 2020, 2021, 2022]
    pooled, per_year = correlation(x), {year: correlation(x[rows]) for year, rows in years.items()}
    np.testing.assert_allclose(pooled.r, by_hand(x, x, "pearson")[0], rtol=1e-11)
    for year, rows in years.items():
        one = panel.filter(Time=year).select(names).to_numpy().astype(float)
        np.testing.assert_allclose(per_year[year].r, by_hand(one, one, "pearson")[0], rtol=1e-11)
        assert per_year[year].n.max() <= 51
        complete = one[~np.isnan(one).any(axis=1)]
        np.testing.assert_allclose(
            pca(x[rows]).eigenvalues, np.linalg.eigvalsh(np.corrcoef(complete, rowvar=False))[::-1], rtol=1e-9
        )
        assert np.isfinite(cronbach_alpha(x[rows]))
    complete = x[~np.isnan(x).any(axis=1)]
    assert cronbach_alpha(complete) == pytest.approx(textbook_alpha(complete))
    assert pca(x).rows.size == len(complete) > 51
