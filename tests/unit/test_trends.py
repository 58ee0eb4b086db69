"""Growth and change per unit and indicator, over the whole panel or the latest years."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.trends import change, cube, growth

NAN = np.nan
YEARS = list(range(2016, 2021))


def one(trend, values, years=None, **options):
    """The row of a single series."""
    years = YEARS[: len(values)] if years is None else years
    (row,) = trend(np.transpose([values]), ["110000"] * len(values), years, ["gdp"], **options).iter_rows(named=True)
    return row


def test_compound_growth_in_closed_form():
    row = one(growth, [100.0, NAN, 110.0, NAN, 146.41])
    assert row == {
        "unit": "110000", "indicator": "gdp", "value": pytest.approx(0.1), "reason": "", "first_year": 2016,
        "last_year": 2020, "observations": 3, "available": 0.6,
    }  # fmt: skip


def test_change_of_two_observations_is_that_of_the_ends():
    assert one(change, [50.0, 60.0])["value"] == pytest.approx(20)
    assert one(change, [50.0, NAN, 60.0])["value"] == pytest.approx(10)
    assert one(change, [50.0, NAN, 60.0], per=10)["value"] == pytest.approx(100)


def test_change_of_more_observations_is_that_of_the_least_squares_line():
    # 1, 2, 6: slope 2.5, mean 3, line at the first year 3 - 2.5 = 0.5.
    assert one(change, [1.0, 2.0, 6.0])["value"] == pytest.approx(100 * 2.5 / 0.5)
    assert one(change, [4.0, 5.0, NAN, 7.0])["value"] == pytest.approx(25)


def test_the_latest_years_end_with_the_last_observation():
    values = [1.0, 2.0, 4.0, 5.0, NAN]
    row = one(growth, values, latest=2)
    assert (row["value"], row["first_year"], row["last_year"], row["available"]) == (pytest.approx(0.25), 2018, 2019, 1)
    row = one(growth, [1.0, NAN, NAN, 5.0, 6.0], latest=3)
    assert (row["first_year"], row["observations"], row["available"]) == (2019, 2, pytest.approx(2 / 3))


def test_a_window_as_long_as_the_panel_is_the_whole_panel():
    for trend in (growth, change):
        assert one(trend, [1.0, 3.0, 4.0, 5.0, 8.0], latest=5) == one(trend, [1.0, 3.0, 4.0, 5.0, 8.0])


def test_direction_says_whether_a_fall_is_an_improvement():
    panel = np.array([[4.0, 4.0], [2.0, 2.0]])
    for trend in (growth, change):
        frame = trend(panel, ["a", "a"], [2019, 2020], ["up", "down"], [1, -1])
        assert frame["value"][0] == -frame["value"][1] < 0


def test_too_few_observations_are_a_counted_reason():
    for values in ([NAN] * 5, [NAN, 2.0, NAN, NAN, NAN]):
        row = one(growth, values)
        assert (row["value"], row["reason"]) == (None, "too_few_observations")
        assert row["observations"] == np.sum(~np.isnan(values))


def test_a_rate_from_a_base_that_is_not_positive_is_an_error_or_a_reason():
    for trend, values in ((growth, [0.0, 5.0]), (growth, [-1.0, 5.0]), (growth, [3.0, -1.0]), (change, [0.0, 5.0])):
        with pytest.raises(MethodError, match=r"unit 110000, indicator gdp: .* in 2016"):
            one(trend, values)
        row = one(trend, values, non_positive="missing")
        assert (row["value"], row["reason"]) == (None, "non_positive")
    with pytest.raises(MethodError):
        one(change, [1.0, 1.0, 10.0])  # the line starts at -0.5
    assert one(growth, [3.0, 0.0])["value"] == -1


def test_what_does_not_change_has_no_growth_even_at_zero():
    for trend in (growth, change):
        assert one(trend, [0.0, 0.0, 0.0])["value"] == 0
        assert one(trend, [0.1, 0.1, 0.1])["value"] == 0


@pytest.mark.parametrize("trend", [growth, change])
@pytest.mark.parametrize("codes", [["110000", "130100", "310000"], [110000, 130100, 310000]])
def test_coinr_defect_14_numeric_unit_codes_have_one_row_each(trend, codes):
    units = [code for code in codes for _ in YEARS]
    values = np.linspace(1, 2, 15)[:, None] * [1.0, 3.0]
    frame = trend(values, units, YEARS * 3, ["gdp", "patents"])
    assert frame["unit"].to_list() == [code for code in codes for _ in range(2)]
    assert frame["indicator"].to_list() == ["gdp", "patents"] * 3
    assert frame["value"].null_count() == 0


def test_a_panel_is_a_cube_whatever_the_order_of_its_rows():
    panel = cube([[1.0], [2.0], [3.0]], ["b", "a", "b"], [2020, 2019, 2019])
    assert panel.units == ("a", "b")
    np.testing.assert_array_equal(panel.values[..., 0], [[2, NAN], [3, 1]])
    np.testing.assert_array_equal(panel.values[panel.at], [[1], [2], [3]])


SERIES = st.lists(st.one_of(st.just(NAN), st.floats(0.01, 1e6)), min_size=2, max_size=8)


@given(SERIES, st.floats(0.01, 100), st.randoms(use_true_random=False))
def test_trends_do_not_depend_on_the_unit_or_the_order_of_the_rows(values, factor, random):
    years = list(range(2000, 2000 + len(values)))
    order = random.sample(range(len(values)), len(values))
    for trend in (growth, change):
        row = one(trend, values, years, non_positive="missing")
        shuffled = one(trend, [values[i] for i in order], [years[i] for i in order], non_positive="missing")
        assert row == shuffled
        scaled = one(trend, [v * factor for v in values], years, non_positive="missing")
        if row["reason"] == scaled["reason"] == "":
            assert scaled["value"] == pytest.approx(row["value"], rel=1e-6, abs=1e-8)


@given(st.floats(0.5, 1e3), st.floats(-0.5, 1), st.integers(2, 8))
def test_a_constant_rate_is_found_again(base, rate, years):
    values = [base * (1 + rate) ** t for t in range(years)]
    assert one(growth, values, list(range(years)))["value"] == pytest.approx(rate, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: growth([[1.0], [2.0]], ["a", "a"], [2020, 2020], ["i"]), "unit a is there twice in 2020"),
        (lambda: growth([[1.0]], ["a"], [2020, 2021], ["i"]), "1 rows with 1 units and 2 years"),
        (lambda: growth([[1.0]], [None], [2020], ["i"]), "missing unit"),
        (lambda: growth([[1.0]], ["a"], [NAN], ["i"]), "missing unit, or a year"),
        (lambda: growth([[1.0]], ["a"], [2020.5], ["i"]), "no whole number"),
        (lambda: growth(np.zeros((0, 1)), [], [], ["i"]), "without a row"),
        (lambda: growth([[np.inf]], ["a"], [2020], ["i"]), "infinite"),
        (lambda: growth([[1.0]], ["a"], [2020], ["i", "j"]), "2 indicator ids for 1 columns"),
        (lambda: one(growth, [1.0, 2.0], directions=0), "directions"),
        (lambda: one(growth, [1.0, 2.0], directions=[1, 1]), "directions"),
        (lambda: one(growth, [1.0, 2.0], latest=1), "latest 1 years"),
        (lambda: one(growth, [1.0, 2.0], non_positive="skip"), "use one of error, missing"),
        (lambda: one(change, [1.0, 2.0], per=0), "per 0 years"),
        (lambda: one(growth, [1e-300, 1e300]), "too large"),
        (lambda: one(change, [1e-300, 1e300]), "too large"),
    ],
)
def test_what_is_not_defined_is_an_error_that_names_the_place(call, message):
    with pytest.raises(MethodError, match=message):
        call()
