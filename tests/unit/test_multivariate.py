"""Cronbach's alpha, principal components, KMO, Bartlett's test, and all of it on a stacked panel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.correlations import correlation, positions_by
from dei_pipeline.methods.multivariate import bartlett, cronbach_alpha, kmo, pca
from tests.unit.correlated import NAN, asem, by_hand, gappy

# Four centred columns of length 8 that are orthogonal: mixtures of them have the correlations one wants exactly.
HADAMARD = np.array([[(-1.0) ** bin(i & j).count("1") for j in (1, 2, 4, 7)] for i in range(8)])


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
