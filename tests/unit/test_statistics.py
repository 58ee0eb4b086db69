"""Descriptive statistics: closed forms, missing and repeated values, flags, and independence of the other columns."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import treat
from dei_pipeline.methods.statistics import (
    constant,
    describe,
    kurtosis,
    mean_and_sd,
    quantiles,
    run_starts,
    skewness,
    table,
)

NAN = float("nan")
values = st.floats(-1e6, 1e6) | st.just(NAN)
matrices = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(values, min_size=n, max_size=n), min_size=1, max_size=5)
)


def row(x, **options):
    return describe(x, ["a"], **options).row(0, named=True)


def test_every_statistic_in_closed_form():
    found = row([0.0, 0, 0, 1, NAN])
    assert found == pytest.approx(
        {
            "indicator_id": "a",
            "min": 0,
            "max": 1,
            "mean": 0.25,
            "median": 0,
            "sd": 0.5,
            "q05": 0,
            "q25": 0,
            "q75": 0.25,
            "q95": 0.85,
            "skew": 2,
            "kurtosis": 4,
            "n_available": 4,
            "n_nonzero": 1,
            "n_unique": 2,
            "n_same": 3,
            "share_available": 0.8,
            "share_nonzero": 0.25,
            "share_unique": 0.5,
            "share_same": 0.75,
            "low_availability": False,
            "many_zeros": True,
            "few_distinct": True,
            "outlying": False,
        }
    )


def test_flags_follow_their_limits():
    x = [0.0, 0, 0, 1, NAN]
    assert row(x, skew_limit=1.9)["outlying"]
    assert not row(x, skew_limit=1.9, kurtosis_limit=4.1)["outlying"]
    assert row(x, min_available=0.81)["low_availability"]
    assert not row(x, min_nonzero=0.2)["many_zeros"]
    assert not row(x, min_unique=0.4)["few_distinct"]


def test_what_is_undefined_is_null_and_never_a_silent_number():
    empty = row([NAN, NAN])
    assert empty["n_available"] == empty["n_unique"] == empty["n_same"] == 0
    assert empty["low_availability"]
    assert not empty["outlying"]
    numbers = ("min", "max", "mean", "median", "sd", "skew", "kurtosis", "q05", "q95", "share_nonzero", "share_same")
    assert [empty[key] for key in numbers] == [None] * len(numbers)
    flat = row([0.1] * 7)
    assert (flat["n_unique"], flat["n_same"], flat["skew"], flat["kurtosis"]) == (1, 7, None, None)
    single = row([3.0])
    assert (single["median"], single["sd"]) == (3.0, None)


def test_minus_zero_is_zero():
    found = row([0.0, -0.0, 1.0])
    assert (found["n_nonzero"], found["n_unique"], found["n_same"]) == (1, 2, 2)


def test_quantiles_are_type_7():
    np.testing.assert_allclose(quantiles([4.0, 1, NAN, 3, 2], [0, 0.1, 0.5, 1])[:, 0], [1, 1.3, 2.5, 4])
    assert np.isnan(quantiles([NAN, NAN], [0.5])).all()
    with pytest.raises(MethodError, match="between 0 and 1"):
        quantiles([1.0, 2], [95])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_are_those_of_numpy(x, shares):
    np.testing.assert_allclose(quantiles(x, shares)[:, 0], np.quantile(x, shares), rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_a_column_has_the_same_statistics_alone_and_in_a_matrix(columns):
    matrix = np.array(columns).T
    together = describe(matrix)
    for j, column in enumerate(columns):
        assert describe(column).drop("indicator_id").row(0) == together.drop("indicator_id").row(j)
    np.testing.assert_array_equal(skewness(matrix), [treat.skewness(column) for column in columns])
    np.testing.assert_array_equal(kurtosis(matrix), [treat.kurtosis(column) for column in columns])


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 3))
def test_counts_are_those_of_counting(x, gaps):
    found = row([*map(float, x), *[NAN] * gaps])
    assert found["n_available"] == len(x)
    assert found["n_nonzero"] == sum(v != 0 for v in x)
    assert found["n_unique"] == len(set(x))
    assert found["n_same"] == max(x.count(v) for v in x)
    assert (found["min"], found["max"]) == (min(x), max(x))
    assert found["mean"] == pytest.approx(np.mean(x))
    assert found["sd"] == pytest.approx(np.std(x, ddof=1))


def test_spread_that_is_only_rounding_is_constant():
    assert constant([[0.1, 1.0, NAN, 0.0], [0.1 + 1e-17, 1.0 + 1e-9, NAN, 5e-324]]).tolist() == [
        True,
        False,
        True,
        False,
    ]
    mean, sd = mean_and_sd([[1.0, NAN], [NAN, NAN]])
    assert mean[0] == 1
    assert np.isnan(mean[1])
    assert np.isnan(sd).all()


def test_runs_of_equal_values_begin_at_their_first_row():
    assert run_starts(np.array([1.0, 2, 2, 3, NAN, NAN])).tolist() == [0, 1, 1, 3, 4, 5]


def test_coinr_defect_13_an_infinite_value_names_its_column():
    with pytest.raises(MethodError, match="b has an infinite value"):
        describe([[1, 2], [3, math.inf]], ["a", "b"])


@pytest.mark.parametrize(
    ("x", "names"), [(np.ones((2, 2)), ["a"]), (np.ones((2, 2)), ["a", "a"]), (np.ones((2, 2, 2)), None), ([], None)]
)
def test_a_table_needs_rows_and_one_name_per_column(x, names):
    with pytest.raises(MethodError):
        table(x, names)
