"""Imputers: what they fill, from how many donors, and what they leave."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import imputers
from dei_pipeline.methods.imputers import (
    constant,
    group_mean,
    group_median,
    knn,
    latest,
    linear,
    linear_constant,
    mean,
    median,
    regression,
    row_mean,
)

NAN = np.nan
VALUES = st.one_of(st.just(NAN), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6, allow_subnormal=False))
MATRICES = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=VALUES)
MODELS = {"knn": lambda x: knn(x, 2), "regression": lambda x: regression(x, 5)}
OVER_TIME = {"latest": latest, "constant": constant, "linear": linear, "linear_constant": linear_constant}


def in_groups(impute):
    return lambda x: impute(x, [("a", "b", "c")[i % 3] for i in range(len(x))])


def in_years(impute):
    return lambda x: impute(x, [str(i % 2) for i in range(len(x))], [2000 + (i // 2) ** 2 for i in range(len(x))])


IMPUTERS = {
    "mean": mean,
    "median": median,
    "group_mean": in_groups(group_mean),
    "group_median": in_groups(group_median),
    "row_mean": lambda x: row_mean(x, ["p" if j % 2 else "q" for j in range(x.shape[1])]),
    **{name: in_years(impute) for name, impute in OVER_TIME.items()},
    **MODELS,
}


def series(values):
    """One unit's series as a panel of one column."""
    return np.transpose([values]), ["110000"] * len(values), list(range(2000, 2000 + len(values)))


def filled(impute, values, **options):
    return impute(*series(values), **options).values[:, 0]


# -- what holds for every imputer --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", IMPUTERS)
@settings(max_examples=40, deadline=None)
@given(x=MATRICES)
def test_observed_cells_stay_and_the_mask_is_exact(name, x):
    result = IMPUTERS[name](x)
    missing, still = np.isnan(x), np.isnan(result.values)
    np.testing.assert_array_equal(result.values[~missing], x[~missing])
    np.testing.assert_array_equal(result.mask, missing & ~still)
    np.testing.assert_array_equal(result.donors > 0, result.mask)
    np.testing.assert_array_equal(result.left, still.sum(axis=0))
    assert result.method == name
    assert result.values is not x


@pytest.mark.parametrize("name", IMPUTERS)
@settings(max_examples=30, deadline=None)
@given(x=MATRICES)
def test_imputing_what_was_imputed_changes_nothing(name, x):
    once = IMPUTERS[name](x)
    if once.left.sum() == 0:
        twice = IMPUTERS[name](once.values)
        np.testing.assert_array_equal(twice.values, once.values)
        assert not twice.mask.any()


@pytest.mark.parametrize("name", ["mean", "median", "knn", "regression", "row_mean"])
@settings(max_examples=30, deadline=None)
@given(x=MATRICES, random=st.randoms(use_true_random=False))
def test_the_order_of_the_units_does_not_matter(name, x, random):
    order = random.sample(range(len(x)), len(x))
    np.testing.assert_array_equal(IMPUTERS[name](x[order]).values, IMPUTERS[name](x).values[order])


@pytest.mark.parametrize("name", [*IMPUTERS])
def test_an_empty_column_is_left_and_counted(name):
    x = np.array([[1.0, NAN, 3.0], [2.0, NAN, NAN], [4.0, NAN, 5.0], [NAN, NAN, 7.0], [6.0, NAN, 8.0]])
    result = IMPUTERS[name](x)
    assert result.left[1] == 5
    assert not result.mask[:, 1].any()


@pytest.mark.parametrize("name", IMPUTERS)
def test_coinr_defect_13_infinite_values_are_an_error(name):
    with pytest.raises(MethodError, match="row 1, column 0 is infinite"):
        IMPUTERS[name](np.array([[1.0], [np.inf]]))


# -- columns and groups ------------------------------------------------------------------------------------------------
def test_means_and_medians_in_closed_form():
    x = [[1.0], [2.0], [NAN], [6.0], [11.0]]
    assert mean(x).values[2, 0] == 5
    assert median(x).values[2, 0] == 4
    assert median([*x, [100.0]]).values[2, 0] == 6
    assert mean(x).donors.ravel().tolist() == [0, 0, 4, 0, 0]


@given(MATRICES)
def test_mean_imputation_preserves_the_means_of_the_columns(x):
    for column, imputed in zip(x.T, mean(x).values.T, strict=True):
        known = column[~np.isnan(column)]
        if known.size:
            np.testing.assert_allclose(imputed.mean(), known.mean(), rtol=1e-9, atol=1e-6)
            assert known.min() <= imputed.min() <= imputed.max() <= known.max()


def test_a_constant_column_stays_exactly_constant():
    assert set(mean([[0.1], [0.1], [0.1], [NAN]]).values.ravel()) == {0.1}


def test_groups_give_only_to_their_own():
    x = np.array([[1.0, 1.0], [3.0, NAN], [NAN, NAN], [10.0, 7.0], [NAN, NAN]])
    result = group_mean(x, ["a", "a", "a", "b", "b"])
    np.testing.assert_array_equal(result.values, [[1, 1], [3, 1], [2, 1], [10, 7], [10, 7]])
    assert result.donors.tolist() == [[0, 0], [0, 1], [2, 1], [0, 0], [1, 1]]
    assert group_median(np.array([[1.0], [2.0], [9.0], [NAN]]), ["a"] * 4).values[3, 0] == 2


def test_coinr_issue_40_a_group_without_a_donor_is_left_and_observed_values_do_not_change():
    x = np.array([[1.0, 5.0], [NAN, NAN], [NAN, 4.0], [3.0, NAN]])
    for impute in (group_mean, group_median):
        result = impute(x, ["a", "b", "b", "a"])
        np.testing.assert_array_equal(result.values, [[1, 5], [NAN, 4], [NAN, 4], [3, 5]])
        assert result.left.tolist() == [2, 0]


@pytest.mark.parametrize("nothing", [None, NAN])
def test_a_unit_in_no_group_neither_gives_nor_takes(nothing):
    result = group_mean(np.array([[1.0], [NAN], [NAN], [9.0]]), [1, 1, nothing, nothing])
    np.testing.assert_array_equal(result.values.ravel(), [1, 1, NAN, 9])


def test_imputed_cells_leave_a_mask_which_coinr_does_not():
    result = mean(np.array([[1.0, NAN], [NAN, NAN], [3.0, NAN]]))
    assert result.mask.tolist() == [[False, False], [True, False], [False, False]]
    assert result.left.tolist() == [0, 3]


# -- rows --------------------------------------------------------------------------------------------------------------
def test_row_mean_goes_through_the_scores_and_back():
    # scores of the second unit: 0.5 and, negative direction, 0.25; mean 0.375 of 0..200 is 75.
    x = np.array([[0.0, 0.0, 0.0], [5.0, 3.0, NAN], [10.0, 4.0, 200.0]])
    result = row_mean(x, ["p", "p", "p"], [1, -1, 1])
    assert result.values[1, 2] == pytest.approx(75)
    assert row_mean(x, ["p", "p", "p"], [1, -1, -1]).values[1, 2] == pytest.approx(125)
    assert result.donors[1, 2] == 2


def test_row_mean_stays_within_its_pillar():
    x = np.array([[0.0, 1.0, 0.0, 0.0], [1.0, NAN, 9.0, 9.0], [2.0, 3.0, NAN, 10.0]])
    np.testing.assert_allclose(row_mean(x, ["p", "p", "q", "q"]).values[1:, 1:3], [[2, 9], [3, 9]])
    raw = row_mean(x, ["p", "p", "q", "q"], normalise_first=False)
    np.testing.assert_array_equal(raw.values[1:, 1:3], [[1, 9], [3, 10]])
    assert row_mean(x, ["p", None, "q", "q"]).left.tolist() == [0, 1, 0, 0]


def test_coinr_defect_13_a_constant_indicator_gives_nothing_and_its_gaps_are_left():
    x = np.array([[5.0, 0.0], [5.0, NAN], [NAN, 4.0]])
    result = row_mean(x, ["p", "p"])
    assert result.left.tolist() == [1, 1]
    assert not result.mask.any()


# -- panels ------------------------------------------------------------------------------------------------------------
def test_panel_imputers_in_closed_form():
    gaps = [NAN, 2.0, NAN, NAN, 8.0, NAN]
    np.testing.assert_array_equal(filled(latest, gaps), [NAN, 2, 2, 2, 8, 8])
    np.testing.assert_array_equal(filled(latest, gaps, max_years=1), [NAN, 2, 2, NAN, 8, 8])
    np.testing.assert_array_equal(filled(constant, gaps), [2, 2, 2, 2, 8, 8])
    np.testing.assert_array_equal(filled(linear, gaps), [2, 2, 4, 6, 8, 8])
    assert linear(*series(gaps)).donors.ravel().tolist() == [1, 0, 2, 2, 0, 1]


def test_the_calendar_counts_not_the_rows():
    x, units = [[1.0], [NAN], [5.0]], ["a"] * 3
    assert linear(x, units, [2010, 2011, 2014]).values[1, 0] == 2
    assert np.isnan(latest(x, units, [2010, 2013, 2014], max_years=2).values[1, 0])
    assert latest(x, units, [2010, 2012, 2014], max_years=2).values[1, 0] == 1


def test_coinr_issue_63_a_single_observation_is_no_line_but_a_constant():
    single = [NAN, 3.0, NAN]
    np.testing.assert_array_equal(filled(linear, single), single)
    assert linear(*series(single)).left.tolist() == [2]
    np.testing.assert_array_equal(filled(linear_constant, single), [3, 3, 3])
    np.testing.assert_array_equal(filled(linear_constant, [NAN, NAN]), [NAN, NAN])


@pytest.mark.parametrize("name", OVER_TIME)
def test_units_do_not_take_from_each_other_and_rows_may_come_in_any_order(name):
    x = np.array([[NAN], [10.0], [3.0], [NAN], [1.0]])
    result = OVER_TIME[name](x, ["b", "a", "b", "a", "b"], [2001, 2000, 2002, 2001, 2000])
    assert result.values[0, 0] == (1 if name in {"latest", "constant"} else 2)
    assert result.values[3, 0] == 10 or (name == "linear" and result.left[0] == 1)


# -- models ------------------------------------------------------------------------------------------------------------
def test_the_nearest_units_give_the_value():
    x = np.array([[0.0, 1.0], [1.0, 3.0], [50.0, 100.0], [0.5, NAN], [60.0, 200.0]])
    assert knn(x, 2).values[3, 1] == pytest.approx(2)
    assert knn(x, 4).values[3, 1] == pytest.approx(76)
    assert knn(x, 9).donors[3, 1] == 4
    near = np.array([[0.0, 1.0], [1.0, 3.0], [0.25, NAN]])
    assert knn(near, 2, "distance").values[2, 1] == pytest.approx((1 / 0.25 * 1 + 1 / 0.75 * 3) / (1 / 0.25 + 1 / 0.75))


def test_neighbours_agree_with_the_definition_by_brute_force():
    generator = np.random.Generator(np.random.PCG64(2))
    x = generator.normal(size=(25, 8)) * [1, 10, 100, 0.1, 5, 1, 2, 3]
    x[generator.random(x.shape) < 0.2] = NAN
    z = (x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0, ddof=1)
    result = knn(x, 3)
    for row, column in np.argwhere(np.isnan(x)):
        distance = {
            other: np.sqrt(np.nanmean((z[row] - z[other]) ** 2)) for other in np.flatnonzero(~np.isnan(x[:, column]))
        }
        nearest = sorted(distance, key=distance.get)[:3]
        np.testing.assert_allclose(result.values[row, column], x[nearest, column].mean(), rtol=1e-10)


def test_neighbours_do_not_depend_on_the_units_of_measurement():
    x = np.random.Generator(np.random.PCG64(1)).normal(size=(30, 4))
    x[3, 1] = x[7, 2] = x[7, 3] = NAN
    scales = np.array([1.0, 1000.0, 0.01, 7.0])
    np.testing.assert_allclose(knn(x * scales).values, knn(x).values * scales, rtol=1e-12)


def test_a_unit_that_shares_no_indicator_with_a_donor_is_left():
    x = np.array([[1.0, NAN, NAN], [NAN, 2.0, 3.0], [NAN, 4.0, NAN], [NAN, NAN, NAN]])
    result = knn(x)
    np.testing.assert_array_equal(result.values, [[1, NAN, NAN], [NAN, 2, 3], [NAN, 4, 3], [NAN, NAN, NAN]])
    assert result.left.tolist() == [3, 2, 2]
    assert np.isnan(regression(x).values[3]).all()


def test_a_linear_relation_is_found_by_regression():
    a = np.arange(20.0)
    x = np.stack([a, 3 * a + 2, 100 - a], axis=1)
    x[4, 1] = x[9, 2] = NAN
    result = regression(x)
    np.testing.assert_allclose([result.values[4, 1], result.values[9, 2]], [14, 91], rtol=1e-6)
    assert result.converged
    assert result.donors[4, 1] == 19


def test_a_regression_that_did_not_settle_says_so():
    generator = np.random.Generator(np.random.PCG64(0))
    x = generator.normal(size=(12, 6))
    x[generator.random(x.shape) < 0.4] = NAN
    assert not regression(x, max_iterations=2).converged
    np.testing.assert_array_equal(regression(x, 2).values, regression(x, 2).values)


@pytest.mark.parametrize("impute", [knn, regression])
def test_without_scikit_learn_the_error_names_the_extra(impute, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MethodError, match=r"needs scikit-learn; install the extra: .*dei-pipeline\[imputation\]"):
        impute([[1.0], [NAN]])


def test_every_imputer_is_tested_for_what_holds_for_all():
    named = {name for name, value in vars(imputers).items() if getattr(value, "__module__", "") == imputers.__name__}
    assert {name for name in named if name[0].islower()} == set(IMPUTERS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: group_mean([[1.0]], ["a", "b"]), "2 groups for 1 units"),
        (lambda: group_median([[1.0]], [None]), "no unit is in a group"),
        (lambda: mean([1.0, NAN]), "1 dimensions"),
        (lambda: mean([[1.7e308], [1.7e308], [NAN]]), "mean: row 2, column 0 is infinite"),
        (lambda: row_mean([[1.0, 2.0]], ["a"]), "1 groups for 2 indicators"),
        (lambda: row_mean([[1.0, 2.0]], ["a", "a"], [1, 0]), "directions"),
        (lambda: latest(*series([1.0]), max_years=0), "max_years is 0"),
        (lambda: linear([[1.0], [2.0]], ["a", "a"], [2000, 2000]), "unit a is there twice in 2000"),
        (lambda: linear([[-1.7e308], [NAN], [1.7e308]], ["a"] * 3, [0, 1, 2]), "linear: row 1, column 0 is infinite"),
        (lambda: knn([[1.0]], 0), "knn of 0 neighbours"),
        (lambda: knn([[1.0]], weights="nearest"), "uniform or distance"),
        (lambda: knn([[1e300, 1.0], [-1e300, 2.0], [NAN, 3.0]]), "too large to be standardised"),
        (lambda: regression([[1.0]], 0), "0 iterations"),
    ],
)
def test_what_is_not_defined_is_an_error_that_names_the_place(call, message):
    with pytest.raises(MethodError, match=message):
        call()
