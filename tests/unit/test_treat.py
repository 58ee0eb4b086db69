"""Outlier treatment: bias-corrected moments, winsorisation, transforms, and one indicator or all of them treated."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.treat import (
    TRANSFORMS,
    boxcox,
    boxcox_power,
    is_outlying,
    kurtosis,
    log_CT,
    log_CT_orig,
    log_CT_plus,
    log_GII,
    log_shifted,
    skewness,
    treat,
    treat_matrix,
    winsorise,
    winsorised_max,
)

LONG_TAIL = [1.0, 2, 2, 3, 3, 4, 4, 5, 6, 60]
STUBBORN = [float(v) for v in range(100)] + [1e6 + 1e5 * k for k in range(7)]  # more outliers than may be winsorised
NAN = float("nan")


def test_moments_in_closed_form():
    # 0, 0, 0, 1: m2 = 3/16, m3 = 6/64, m4 = 21/256 -> g1 = 2/sqrt 3, G1 = g1·sqrt 12/2 = 2; g2 = -2/3, G2 = 4.
    assert skewness([0, 0, 0, 1]) == pytest.approx(2)
    assert kurtosis([0, 0, 0, 1]) == pytest.approx(4)


@pytest.mark.parametrize("scale", [1e-300, 1e-120, 1.0, 1e120, 1e300])
def test_moments_do_not_depend_on_the_unit(scale):
    x = np.array(LONG_TAIL) * scale
    assert skewness(x) == pytest.approx(skewness(LONG_TAIL))
    assert kurtosis(x) == pytest.approx(kurtosis(LONG_TAIL))
    assert winsorise(x).treated.tolist() == [9]


@pytest.mark.parametrize("x", [[], [1], [1, 2], [5, 5, 5, 5, 5], [0.1] * 7, [np.nan] * 5])
def test_undefined_moments_never_ask_for_treatment(x):
    assert np.isnan(skewness(x))
    assert winsorise(x).treated.size == 0
    assert winsorise(x).passed


def test_the_tail_is_the_one_the_skew_points_to():
    mirrored = winsorise([-v for v in LONG_TAIL])
    assert mirrored.treated.tolist() == [9]
    assert mirrored.values.tolist() == [-v for v in winsorise(LONG_TAIL).values]
    top = winsorised_max([-v for v in LONG_TAIL])
    assert (top.theta, top.treated.tolist(), top.maximum.tolist()) == (-1, [], [0])


def test_missing_values_do_not_move():
    with_gap = winsorise([np.nan, *LONG_TAIL])
    assert np.isnan(with_gap.values[0])
    assert with_gap.treated.tolist() == [10]


def test_winsorised_maximum_names_the_row_that_determines_it():
    result = winsorised_max(LONG_TAIL)
    assert (result.theta, result.maximum.tolist(), result.treated.tolist(), result.passed) == (6.0, [8], [9], True)


def test_no_more_than_five_points_are_treated():
    stubborn = [0.0] * 200 + [100, 101, 102, 103, 104, 105, 106]
    result = winsorise(stubborn)
    assert result.treated.size == 5
    assert not result.passed
    assert winsorised_max(stubborn).theta == 101


def test_equal_extremes_count_as_points_of_their_own():
    result = winsorise([0.0] * 100 + [50.0] * 6)
    assert result.treated.size == 0
    assert not result.passed


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_treatment_keeps_the_order_and_at_most_five_points_move(x):
    result = winsorise(x)
    assert len(result.treated) <= 5
    order = np.argsort(x, kind="stable")
    assert (np.diff(result.values[order]) >= 0).all()
    assert winsorised_max(x).maximum.size >= 1


def test_log_step_starts_from_the_raw_values():
    np.testing.assert_allclose(log_shifted([0, 1, 100]), np.log([1, 2, 101]))
    with pytest.raises(MethodError):
        log_shifted([3, 3])


def test_failures():
    with pytest.raises(MethodError):
        winsorise([[1.0, 2.0]])
    with pytest.raises(MethodError):
        winsorise([1.0, np.inf])
    with pytest.raises(MethodError, match="no value"):
        winsorised_max([np.nan, np.nan])


# -- transforms --------------------------------------------------------------------------------------------------------
def test_transforms_in_closed_form():
    x = [0.0, 1, NAN, 100]
    np.testing.assert_allclose(log_CT(x), np.log([1, 2, NAN, 101]))
    assert log_shifted is log_CT
    np.testing.assert_allclose(log_CT_orig([5, 7, NAN]), np.log([1, 3, NAN]))
    np.testing.assert_allclose(boxcox([1, 2, NAN, 5], 2), [0, 1.5, NAN, 12])
    np.testing.assert_allclose(boxcox([1, 2, 4], -1, shift=False), [0, 0.5, 0.75])
    np.testing.assert_allclose(boxcox([1, 2, 4], 0), np.log([1, 2, 4]))
    np.testing.assert_allclose(boxcox([1, 2, 4], 1e-14), np.log([1, 2, 4]), rtol=1e-12)


def test_the_plus_transform_mirrors_a_lower_tail():
    up = log_CT_plus(LONG_TAIL)
    np.testing.assert_array_equal(up, log_CT(LONG_TAIL))
    np.testing.assert_allclose(log_CT_plus(np.negative(LONG_TAIL)), -up)
    assert abs(skewness(log_CT_plus(np.negative(LONG_TAIL)))) < abs(skewness(np.negative(LONG_TAIL)))


def test_coinr_defect_3_the_gii_logarithm_transforms_from_zero_to_the_logarithm_of_the_maximum():
    x = [2.0, 11, NAN, 20]
    np.testing.assert_allclose(log_GII(x), [0, math.log(10.5), NAN, math.log(20)])
    np.testing.assert_allclose(log_GII([0, 0.05, 0.1], factor=100), [0, math.log(5.5), math.log(10)])
    assert abs(skewness(log_GII(LONG_TAIL))) < skewness(LONG_TAIL)
    for reversed_by_the_formula in ([0, 0.5, 0.9], [-3, -2, -1]):
        with pytest.raises(MethodError, match="give a larger factor"):
            log_GII(reversed_by_the_formula)


@given(st.lists(st.integers(-500, 500).map(float), min_size=4, max_size=40).filter(lambda x: len(set(x)) > 2))
def test_every_transform_keeps_the_order_and_the_gaps(x):
    holed = np.array([*x, NAN])
    order = np.argsort(x, kind="stable")
    arguments = {"log_GII": {"factor": 1000.0 if max(x) > 0 else -1.0}, "boxcox": {"power": 0.3}}
    for name, transform in TRANSFORMS.items():
        if name == "log_GII" and max(x) <= 0:
            continue
        values = transform(holed, **arguments.get(name, {}))
        assert np.isnan(values[-1])
        assert (np.diff(values[order]) >= 0).all()


def test_the_estimated_power_is_the_most_likely_one():
    x = np.exp(np.linspace(0, 4, 60))

    def likelihood(power):
        z = boxcox(x, power, shift=False)
        return (power - 1) * np.log(x).sum() - len(x) / 2 * np.log(z.var())

    best = boxcox_power([*x, NAN], shift=False)
    assert likelihood(best) >= max(likelihood(best + step) for step in (-0.01, 0.01))
    assert abs(best) < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_CT([1, 1, NAN]), "equal or missing"),
        (lambda: log_CT([NAN]), "equal or missing"),
        (lambda: log_CT_orig([1, math.inf]), "infinite"),
        (lambda: log_CT([-1.5e308, 1.5e308]), "float range"),
        (lambda: log_CT_plus([1, 2]), "fewer than 3"),
        (lambda: log_GII([1, 2], factor=-1), "larger factor"),
        (lambda: boxcox([0, 1, 2], 1, shift=False), "not positive"),
        (lambda: boxcox([0, 1e6], 1000), "float range"),
        (lambda: boxcox([0, 1e6], NAN), "float range"),
    ],
)
def test_what_a_transform_is_not_defined_on_is_an_error(call, message):
    with pytest.raises(MethodError, match=message):
        call()


# -- one indicator -----------------------------------------------------------------------------------------------------
def test_an_indicator_that_passes_is_left_alone():
    done = treat([1.0, 2, NAN, 3, 4, 5])
    np.testing.assert_array_equal(done.values, [1, 2, NAN, 3, 4, 5])
    assert (done.step, done.points.tolist(), done.passed, done.power) == ("none", [], True, None)
    assert done.skew[0] == done.skew[1] == pytest.approx(0)


def test_winsorisation_that_suffices_is_all_that_is_done():
    done = treat(LONG_TAIL)
    assert (done.step, done.points.tolist(), done.passed) == ("winsorise", [9], True)
    np.testing.assert_array_equal(done.values, winsorise(LONG_TAIL).values)
    np.testing.assert_allclose(done.skew, (3.1218, 0.1194), atol=5e-5)
    np.testing.assert_allclose(done.kurtosis, (9.8115, -1.0593), atol=5e-5)


def test_the_logarithm_restarts_from_the_raw_values():
    raw = np.array(STUBBORN)
    done = treat(raw, skew_limit=1.0, kurtosis_limit=1.0)
    assert (done.step, done.points.tolist()) == ("log_CT", [])
    np.testing.assert_array_equal(done.values, log_CT(raw))
    assert done.passed == (not is_outlying(log_CT(raw), 1.0, 1.0))
    combined = treat(raw, skew_limit=1.0, kurtosis_limit=1.0, combined=True)
    assert (combined.step, combined.points.size) == ("winsorise+log_CT", 5)
    np.testing.assert_array_equal(combined.values, log_CT(winsorise(raw, 5, 1.0, 1.0).values))


def test_without_a_transform_a_rule_that_does_not_hold_is_reported():
    done = treat(STUBBORN, transform=None)
    assert (done.step, done.points.size, done.passed) == ("winsorise", 5, False)
    untouched = treat(STUBBORN, max_points=0, transform=None)
    assert (untouched.step, untouched.points.size, untouched.passed) == ("none", 0, False)


@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_every_transform_can_follow(transform):
    done = treat(STUBBORN, transform=transform)
    assert done.step == transform
    power = boxcox_power(STUBBORN) if transform == "boxcox" else None
    assert done.power == power
    arguments = {"power": power} if power is not None else {}
    np.testing.assert_array_equal(done.values, TRANSFORMS[transform](STUBBORN, **arguments))
    assert abs(done.skew[1]) < done.skew[0]


def test_a_given_power_and_factor_are_used():
    assert treat(STUBBORN, transform="boxcox", power=0.5).power == 0.5
    small = np.array(STUBBORN) * 1e-12
    np.testing.assert_array_equal(treat(small, transform="log_GII", factor=1e6).values, log_GII(small, factor=1e6))


def test_coinr_defect_6_forced_points_are_treated_although_the_rule_passes():
    x = [1.0, 2, 3, 4, 5, 9, 14]
    assert not is_outlying(x)
    assert treat(x).step == "none"
    done = treat(x, forced=2)
    assert (done.step, done.points.tolist()) == ("winsorise", [5, 6])
    assert done.values.tolist() == [1, 2, 3, 4, 5, 5, 5]
    assert winsorise(np.negative(x), forced=1).values.tolist() == [-1, -2, -3, -4, -5, -9, -9]
    both_tails = winsorise([1.0, 2, 3, 4, 5, 6, 9], forced=2)  # the first point turns the skew round
    assert (both_tails.treated.tolist(), both_tails.values.tolist()) == ([0, 6], [2, 2, 3, 4, 5, 6, 6])
    matrix = treat_matrix(np.column_stack([x, x]), ["a", "b"], {"b": {"forced": 1}})
    assert matrix.columns["a"].points.tolist() == []
    assert matrix.columns["b"].points.tolist() == [6]


def test_forced_points_stay_pulled_in_below_the_transform():
    done = treat(STUBBORN, forced=1)
    assert (done.step, done.points.tolist()) == ("winsorise+log_CT", [106])
    assert done.values[106] == done.values[105]


@pytest.mark.parametrize(("forced", "x"), [(6, LONG_TAIL), (1, [1.0, 1, 1]), (1, [0.0] * 6 + [5.0] * 9), (2, [NAN, 1])])
def test_points_that_cannot_be_forced_are_an_error(forced, x):
    with pytest.raises(MethodError, match=f"{forced} points forced"):
        winsorise(x, forced=forced)


@pytest.mark.parametrize(
    ("x", "step"),
    [([0.1] * 7, "constant"), ([5.0, 5, 5, NAN, 5], "constant"), ([1, 2, 60], "too_few"), ([NAN], "too_few")],
)
def test_coinr_defect_13_a_constant_or_tiny_indicator_is_reported_and_does_not_crash(x, step):
    done = treat(x, forced=1)
    assert (done.step, done.points.tolist(), done.passed) == (step, [], True)
    np.testing.assert_array_equal(done.values, x)
    assert np.isnan(done.kurtosis).all()


def test_a_panel_is_a_longer_column():
    years = [np.array(LONG_TAIL), np.array(LONG_TAIL[::-1]) * 1.1]
    panel = treat(np.concatenate(years))
    assert panel.points.tolist() == [9, 10]
    assert (panel.values[[9, 10]] == panel.values.max()).all()


@given(st.lists(st.floats(-1e3, 1e3) | st.just(NAN), max_size=40), st.booleans())
def test_treatment_never_loses_or_reorders_a_value(x, combined):
    done = treat(x, combined=combined)
    np.testing.assert_array_equal(np.isnan(done.values), np.isnan(np.array(x, dtype=float)))
    present = ~np.isnan(done.values)
    order = np.argsort(np.array(x)[present], kind="stable")
    assert (np.diff(done.values[present][order]) >= 0).all()
    assert done.points.size <= 5
    assert done.passed == (not is_outlying(done.values))


# -- all indicators ----------------------------------------------------------------------------------------------------
def test_each_indicator_may_be_treated_in_its_own_way():
    x = np.column_stack([LONG_TAIL, LONG_TAIL, LONG_TAIL, [3.0] * 10])
    own = {"left": None, "logged": {"max_points": 0, "transform": "log_CT_orig"}}
    done = treat_matrix(x, ["common", "left", "logged", "flat"], own, max_points=3)
    assert [t.step for t in done.columns.values()] == ["winsorise", "none", "log_CT_orig", "constant"]
    np.testing.assert_array_equal(done.values[:, 1], LONG_TAIL)
    np.testing.assert_array_equal(done.values[:, 2], log_CT_orig(LONG_TAIL))
    details = done.details()
    assert details["indicator_id"].to_list() == ["common", "left", "logged", "flat"]
    assert details["n_points"].to_list() == [1, 0, 0, 0]
    assert details["passed"].to_list() == [True, False, True, True]
    assert details["kurtosis_before"].is_null().to_list() == [False, False, False, True]


@pytest.mark.parametrize(
    ("overrides", "settings", "message"),
    [
        ({"c": {}}, {}, "treatment of c: no such indicator; use one of a, b"),
        ({"b": {"max_point": 3}}, {}, "treatment of b: unknown setting max_point; use one of max_points"),
        ({}, {"winmax": 3}, "treatment of a: unknown setting winmax"),
        ({"b": {"transform": "ln"}}, {}, "treatment of b: treat: unknown transform 'ln'"),
        ({"b": {"forced": -1}}, {}, "treatment of b: treat: max_points 5, forced -1"),
        ({"b": {"forced": 9}}, {}, "treatment of b: winsorise: 9 points forced"),
    ],
)
def test_a_misspelt_treatment_is_an_error_that_names_the_indicator(overrides, settings, message):
    with pytest.raises(MethodError, match=message):
        treat_matrix(np.column_stack([LONG_TAIL, LONG_TAIL]), ["a", "b"], overrides, **settings)


def test_coinr_defect_13_an_infinite_value_names_its_indicator():
    with pytest.raises(MethodError, match="b has an infinite value"):
        treat_matrix([[1.0, 2], [2, math.inf]], ["a", "b"])
    with pytest.raises(MethodError, match="infinite"):
        treat([1.0, math.inf])
