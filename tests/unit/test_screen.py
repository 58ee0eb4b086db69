"""Availability, screening with a reason for everyone, and division by a denominator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.screen import availability, denominate, screen, screen_indicators

NAN = np.nan
X = [[1.0, 0.0, 2.0, NAN], [0.0, 0.0, 0.0, 5.0], [NAN, NAN, 1.0, 0.0], [NAN, NAN, NAN, NAN]]
UNITS = ["110000", "120000", "130100", "140100"]
MATRICES = arrays(
    np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.sampled_from([0.0, 1.0, -2.5, NAN])
)


def test_shares_in_closed_form():
    found = availability(X, {"first": [0, 1], "all": [0, 1, 2, 3]})
    assert found.missing.tolist() == [1, 0, 2, 4]
    assert found.zero.tolist() == [1, 3, 1, 0]
    assert found.available.tolist() == [0.75, 1, 0.5, 0]
    np.testing.assert_array_equal(found.nonzero, [2 / 3, 0.25, 0.5, NAN])
    assert found.available_nonzero.tolist() == [0.5, 0.25, 0.25, 0]
    assert found.groups == ("first", "all")
    assert found.by_group.tolist() == [[1, 0.75], [1, 1], [0, 0.5], [0, 0]]


def test_availability_of_indicators_is_that_of_the_transpose():
    assert availability(np.transpose(X)).missing.tolist() == [2, 2, 1, 2]


@pytest.mark.parametrize(
    ("rules", "reasons"),
    [
        ({"min_available": 0.75}, ["", "", "few_values", "no_value"]),
        ({"min_nonzero": 0.6}, ["", "many_zeros", "many_zeros", "no_value"]),
        ({"min_available": 0.75, "min_nonzero": 0.6}, ["", "many_zeros", "few_values_and_many_zeros", "no_value"]),
    ],
    ids=["by missing values", "by zeros", "by either"],
)
def test_whoever_is_left_out_has_a_reason(rules, reasons):
    result = screen(X, UNITS, **rules)
    assert result.reason.tolist() == reasons
    assert result.included.tolist() == [reason == "" for reason in reasons]
    assert result.ids == tuple(UNITS)


def test_kept_and_dropped_units_win_over_the_rules_and_are_named():
    result = screen(X, UNITS, 0.75, keep=["120000", "130100"], drop=["110000"])
    assert result.reason.tolist() == ["dropped", "", "kept", "no_value"]
    assert result.included.tolist() == [False, True, True, False]
    assert result.few_values.tolist() == [False, False, True, True]
    only = screen(X, UNITS, drop=["140100"])
    assert only.included.tolist() == [True, True, True, False]


def test_indicators_are_screened_by_the_same_rules():
    result = screen_indicators(X, ["a", "b", "c", "d"], 0.75, drop=["c"])
    assert result.reason.tolist() == ["few_values", "few_values", "dropped", "few_values"]
    assert result.availability.available.tolist() == [0.5, 0.5, 0.75, 0.5]


@pytest.mark.parametrize("missing", range(11))
def test_a_share_that_equals_the_threshold_passes(missing):
    x = [[NAN] * missing + [1.0] * (10 - missing), [1.0] * 10]
    assert screen(x, ["a", "b"], (10 - missing) / 10).included[0] == (missing < 10)


@given(MATRICES, st.floats(0, 1), st.floats(0, 1))
def test_a_reason_is_given_exactly_to_those_left_out(x, available, nonzero):
    result = screen(x, [str(i) for i in range(len(x))], available, nonzero)
    np.testing.assert_array_equal(result.included, result.reason == "")
    stricter = screen(x, result.ids, min(1.0, available + 0.1), nonzero)
    assert not (stricter.included & ~result.included).any()
    found = result.availability
    np.testing.assert_array_equal(found.missing, [int(np.isnan(row).sum()) for row in x])
    np.testing.assert_array_equal(found.zero, [int((row == 0).sum()) for row in x])


def test_division_by_the_size_of_a_unit():
    result = denominate(
        [[10.0, 7.0, 3.0], [NAN, 8.0, 4.0], [6.0, 9.0, NAN]],
        ["x", "y", "z"],
        ["doctors", "area", "patents"],
        {"population": [2.0, 4.0, NAN], "gdp": [1.0, 8.0, 5.0]},
        {"doctors": "population", "patents": "gdp"},
        {"patents": 100.0},
    )
    np.testing.assert_array_equal(result.values, [[5, 7, 300], [NAN, 8, 50], [NAN, 9, NAN]])
    assert result.lost == {"doctors": 1, "patents": 0}


def test_an_unused_zero_denominator_hurts_nobody():
    result = denominate([[NAN], [4.0]], ["x", "y"], ["a"], {"p": [0.0, 2.0]}, {"a": "p"})
    np.testing.assert_array_equal(result.values, [[NAN], [2]])


@given(MATRICES, st.floats(0.001, 1000))
def test_division_and_multiplication_cancel(x, size):
    units = [str(i) for i in range(len(x))]
    names = [str(j) for j in range(x.shape[1])]
    per = denominate(x, units, names, {"p": np.full(len(x), size)}, dict.fromkeys(names, "p"))
    np.testing.assert_allclose(per.values * size, x, rtol=1e-12)
    assert set(per.lost.values()) <= {0}


ONE = ([[1.0]], ["u"], ["i"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denominate(*ONE, {"p": [0.0]}, {"i": "p"}), "unit u, indicator i: denominator p is 0"),
        (lambda: denominate(*ONE, {"p": [-1.0]}, {"i": "p"}), "unit u, indicator i: denominator p is -1"),
        (lambda: denominate(*ONE, {"p": [np.inf]}, {"i": "p"}), "denominator p is inf"),
        (lambda: denominate([[1e300]], ["u"], ["i"], {"p": [1e-300]}, {"i": "p"}), "unit u, indicator i: 1e.300"),
        (lambda: denominate(*ONE, {"p": [1.0]}, {"i": "q"}), "denominator q of indicator i is unknown; use one of p"),
        (lambda: denominate(*ONE, {"p": [1.0]}, {"j": "p"}), "denomination of j"),
        (lambda: denominate(*ONE, {"p": [1.0]}, {"i": "p"}, {"j": 2.0}), "denomination of j"),
        (lambda: denominate(*ONE, {"p": [1.0]}, {"i": "p"}, {"i": 0.0}), "indicator i: factor 0"),
        (lambda: denominate(*ONE, {"p": [1.0, 2.0]}, {"i": "p"}), "one number for each of 1"),
        (lambda: denominate([[np.inf]], ["u"], ["i"], {"p": [1.0]}, {"i": "p"}), "infinite"),
        (lambda: screen(X, UNITS), "without a rule"),
        (lambda: screen(X, UNITS, 1.5), "min_available is 1.5"),
        (lambda: screen(X, UNITS, 0.5, -0.1), "min_nonzero is -0.1"),
        (lambda: screen(X, UNITS, NAN), "min_available is nan"),
        (lambda: screen(X, UNITS[:3], 0.5), "3 unit ids for 4 rows"),
        (lambda: screen(X, [*UNITS[:3], "110000"], 0.5), "unit 110000 is there twice"),
        (lambda: screen(X, UNITS, 0.5, keep=["999999"]), "keep names unit 999999"),
        (lambda: screen(X, UNITS, 0.5, drop=["999999"]), "drop names unit 999999"),
        (lambda: screen(X, UNITS, 0.5, keep=["110000"], drop=["110000"]), "both kept and dropped"),
        (lambda: screen_indicators(X, ["a"], 0.5), "1 indicator ids for 4 rows"),
        (lambda: availability([1.0, 2.0]), "1 dimensions"),
        (lambda: availability([[np.inf]]), "row 0, column 0 is infinite"),
        (lambda: availability(np.zeros((2, 0))), "no indicator"),
        (lambda: availability(X, {"g": []}), "group g"),
        (lambda: availability(X, {"g": [4]}), "group g"),
    ],
)
def test_what_is_not_defined_is_an_error_that_names_the_place(call, message):
    with pytest.raises(MethodError, match=message):
        call()
