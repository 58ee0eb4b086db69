"""Thresholds, saturating counts and statistical rules: closed forms, invariants N1 to N3, and every failure."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import normalise, statistics
from dei_pipeline.methods.normalise import RULES, derivative, fit, flags, saturation, score, slopes, threshold

values = st.floats(-1e6, 1e6)
thetas = st.floats(1e-3, 1e6)
NAN = float("nan")


def test_missing_stays_missing_in_every_direction():
    moderate = {"direction": "moderate", "lo": 0, "best": 1, "hi": 2}
    for kwargs in ({"theta": 2}, {"theta": 2, "direction": "negative", "cap": 100}, moderate):
        assert np.isnan(threshold([None, NAN], **kwargs)).all()
        assert flags([NAN], **kwargs).tolist() == [""]
    assert np.isnan(saturation([NAN], 20)).all()


def test_negative_raw_value_on_a_positive_indicator_is_floored_and_flagged():
    assert threshold([-5, 0, 5], theta=10).tolist() == [0, 0, 50]
    assert flags([-5, 0, 5, 20], theta=10, cap=100).tolist() == ["floored", "", "", "capped"]
    assert flags([20], theta=10).tolist() == [""]


def test_negative_direction_at_zero_is_the_cap_or_an_error():
    assert threshold([0, -1, 5], theta=5, direction="negative", cap=100).tolist() == [100, 100, 100]
    assert flags([0, 2, 5, 10], theta=5, direction="negative", cap=100).tolist() == ["capped", "capped", "", ""]
    with pytest.raises(MethodError, match="has no score; set a cap"):
        threshold([1, 0], theta=5, direction="negative")


def test_thresholds_broadcast_over_columns():
    np.testing.assert_allclose(threshold([[1, 2], [3, 4]], theta=[10, 20]), [[10, 10], [30, 20]])


@pytest.mark.parametrize("theta", [0, -1, None, NAN, float("inf"), [1, NAN]])
@pytest.mark.parametrize("direction", ["positive", "negative"])
def test_a_bad_threshold_is_an_error_and_never_a_silent_zero(theta, direction):
    with pytest.raises(MethodError, match="theta"):
        threshold([1, 2], theta=theta, direction=direction, cap=100)


@pytest.mark.parametrize("bounds", [(1, 1, 2), (1, 2, 2), (3, 2, 1), (None, 1, 2), (0, NAN, 2)])
def test_moderate_needs_ordered_bounds(bounds):
    with pytest.raises(MethodError, match=r"lo|best|hi"):
        threshold([1], direction="moderate", lo=bounds[0], best=bounds[1], hi=bounds[2])


def test_infinite_values_unknown_directions_and_negative_counts_are_errors():
    for call in (
        lambda: threshold([math.inf], theta=1),
        lambda: threshold([1], theta=1, direction="up"),
        lambda: saturation([-1], 20),
        lambda: saturation([1], 0),
        lambda: saturation([1], None),
    ):
        with pytest.raises(MethodError):
            call()


@given(st.lists(values, max_size=8), thetas)
def test_n1_scores_lie_in_their_range(x, theta):
    for direction in ("positive", "negative"):
        capped = threshold(x, theta, direction, cap=100)
        assert ((capped >= 0) & (capped <= 100)).all()
    assert (threshold(x, theta) >= 0).all()


@given(values, values, thetas)
def test_n2_scores_are_monotone(a, b, theta):
    low, high = sorted((a, b))
    up = threshold([low, high], theta, cap=100)
    down = threshold([low, high], theta, "negative", cap=100)
    assert up[0] <= up[1]
    assert down[0] >= down[1]


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=3, unique=True), st.floats(-200, 200))
def test_n2_moderate_peaks_at_best(bounds, x):
    lo, best, hi = sorted(bounds)
    score = threshold([x, best], direction="moderate", lo=lo, best=best, hi=hi)
    assert 0 <= score[0] <= score[1] == 100


@given(thetas)
def test_n3_the_threshold_itself_scores_100(theta):
    assert threshold([theta], theta).item() == 100
    assert threshold([theta], theta, "negative").item() == 100
    assert saturation([theta], theta).item() == 100


@given(st.floats(-50, 250), st.sampled_from(["positive", "moderate"]))
def test_slopes_are_the_derivative(x, direction):
    args = {"theta": 120.0, "direction": direction, "lo": 10.0, "best": 70.0, "hi": 200.0, "cap": 100.0}
    kinks = [0, 120] if direction == "positive" else [10, 70, 200]
    h = 1e-4
    if min(abs(x - k) for k in kinks) > 2 * h:
        numeric = (threshold([x + h], **args) - threshold([x - h], **args)) / (2 * h)
        np.testing.assert_allclose(slopes([x], "fixed", **args), numeric, atol=1e-7)


def test_slopes_say_nothing_where_the_step_is_not_linear():
    assert np.isnan(slopes([5.0], "saturation", theta=20)).all()
    assert slopes([20.0, 30.0], "saturation", theta=20).tolist() == [0, 0]
    assert np.isnan(slopes([5.0], "fixed", "negative", theta=2, cap=100)).all()
    assert slopes([50.0, 120.0], "identity", cap=100, theta=100).tolist() == [1, 0]


# -- statistical rules -------------------------------------------------------------------------------------------------
X = np.array([2.0, 4.0, NAN, 4.0, 10.0])
DIRECTIONS = st.sampled_from(["positive", "negative"])
columns = st.lists(st.integers(1, 10_000).map(lambda v: v / 8), min_size=3, max_size=30).filter(
    lambda c: len(set(c)) > 1
)
both = pytest.mark.parametrize("direction", ["positive", "negative"])
every_rule = pytest.mark.parametrize("rule", list(RULES))


def given_for(rule, x, direction):
    """Parameters that the caller gives, sensible for these values."""
    worst, best = (np.nanmin(x), np.nanmax(x)) if direction == "positive" else (np.nanmax(x), np.nanmin(x))
    middle = (worst + best) / 2
    ends = {"lo": np.nanmin(x), "hi": np.nanmax(x)}
    known = {**ends, "target": best, "reference": middle}
    return {key: known[key] for key in RULES[rule].given}


def best_value(rule, parameters, x, direction):
    """The raw value whose score is the full scale."""
    if rule in ("min_max", "scaled", "goalposts"):
        return parameters["hi" if direction == "positive" else "lo"]
    aim = [parameters[key] for key in ("target", "reference", "best") if key in parameters]
    return aim[0] if aim else None


@pytest.mark.parametrize(
    ("function", "args", "direction", "expected"),
    [
        ("min_max", {}, "positive", [0, 25, NAN, 25, 100]),
        ("min_max", {"to_lo": 1, "to_hi": 9}, "negative", [9, 7, NAN, 7, 1]),
        ("z_score", {"to_mean": 10, "to_sd": math.sqrt(12)}, "positive", [7, 9, NAN, 9, 15]),
        ("z_score", {"to_mean": 10, "to_sd": math.sqrt(12)}, "negative", [13, 11, NAN, 11, 5]),
        ("scaled", {"lo": 0, "hi": 5}, "positive", [40, 80, NAN, 80, 200]),
        ("scaled", {"lo": 0, "hi": 5, "cap": 100}, "positive", [40, 80, NAN, 80, 100]),
        ("scaled", {"lo": 0, "hi": 5, "scale": 1}, "negative", [0.6, 0.2, NAN, 0.2, -1]),
        ("goalposts", {"lo": 3, "hi": 8, "scale": 10}, "positive", [0, 2, NAN, 2, 10]),
        ("goalposts", {"lo": 3, "hi": 8}, "negative", [100, 80, NAN, 80, 0]),
        ("goalposts", {"lo": 3, "hi": 8, "truncate": False}, "negative", [120, 80, NAN, 80, -40]),
        ("distance_to_target", {"target": 6}, "positive", [0, 50, NAN, 50, 200]),
        ("distance_to_target", {"target": 6, "cap": 100}, "positive", [0, 50, NAN, 50, 100]),
        ("distance_to_target", {"target": 6}, "negative", [200, 150, NAN, 150, 0]),
        ("distance_to_maximum", {"scale": 1}, "positive", [0, 0.25, NAN, 0.25, 1]),
        ("distance_to_maximum", {"scale": 1}, "negative", [1, 0.75, NAN, 0.75, 0]),
        ("distance_to_reference", {"reference": 4}, "positive", [0, 100, NAN, 100, 400]),
        ("distance_to_reference", {"reference": 4, "scale": 3, "cap": 3}, "negative", [3, 3, NAN, 3, 0]),
        ("fraction_of_maximum", {}, "positive", [20, 40, NAN, 40, 100]),
        ("fraction_of_maximum", {}, "negative", [100, 50, NAN, 50, 20]),
        ("rank", {}, "positive", [1, 2, NAN, 2, 4]),
        ("rank", {}, "negative", [4, 2, NAN, 2, 1]),
        ("borda", {}, "positive", [0, 1, NAN, 1, 3]),
        ("percentile_rank", {}, "positive", [0, 100 / 3, NAN, 100 / 3, 100]),
        ("percentile_rank", {"scale": 3}, "negative", [3, 1, NAN, 1, 0]),
    ],
)
def test_every_rule_in_closed_form(function, args, direction, expected):
    scores = getattr(normalise, function)(X, direction=direction, **args)
    np.testing.assert_allclose(scores, expected, rtol=1e-14, atol=1e-14)


def test_every_rule_of_the_catalogue_is_a_function_with_its_options():
    for rule, spec in RULES.items():
        accepted = getattr(normalise, rule).__code__.co_varnames
        assert set(spec.given) <= set(accepted)
        assert {key for key in spec.options if key != "cap"} <= set(accepted)
        assert set(spec.given) <= set(spec.parameters)


def test_a_matrix_is_its_columns_with_directions_and_parameters_of_their_own():
    x = np.column_stack([X, X[::-1], X * X])
    directions, lo = ["positive", "negative", "negative"], [0.0, 1.0, 2.0]
    scores = normalise.scaled(x, lo, 12, directions)
    assert scores.shape == x.shape
    for j in range(3):
        np.testing.assert_array_equal(scores[:, j], normalise.scaled(x[:, j], lo[j], 12, directions[j]))
        np.testing.assert_array_equal(normalise.rank(x, directions)[:, j], normalise.rank(x[:, j], directions[j]))


@every_rule
@both
def test_two_steps_give_what_one_gives(rule, direction):
    given_numbers = given_for(rule, X, direction)
    parameters = fit(rule, X, direction, **given_numbers)
    assert tuple(parameters) == RULES[rule].parameters
    once = getattr(normalise, rule)(X, direction=direction, **given_numbers)
    np.testing.assert_array_equal(score(rule, X, direction, parameters), once)
    np.testing.assert_array_equal(score(rule, X.reshape(1, 5), direction, parameters), once.reshape(1, 5))
    assert score(rule, [], direction, parameters).shape == (0,)


def test_a_fixed_base_year_lets_later_years_leave_the_range_unless_capped():
    parameters = fit("min_max", [0, 10])
    assert parameters == {"lo": 0, "hi": 10}
    assert score("min_max", [-1, 5, 12], "positive", parameters).tolist() == [-10, 50, 120]
    assert score("min_max", [-1, 5, 12], "positive", parameters, cap=100).tolist() == [-10, 50, 100]
    assert fit("z_score", [1, 2, 3]) == {"mean": 2, "sd": 1}
    assert score("z_score", 5.0, "negative", {"mean": 2, "sd": 1}) == -3


@given(columns, DIRECTIONS, st.sampled_from(list(RULES)))
def test_n1_scores_of_the_fitted_values_lie_in_their_range(x, direction, rule):
    parameters = fit(rule, x, direction, **given_for(rule, x, direction))
    scores = score(rule, x, direction, parameters)
    assert np.isfinite(scores).all()
    top = {"rank": len(x), "borda": len(x) - 1, "distance_to_reference": np.inf}.get(rule, 100)
    if rule != "z_score":
        assert ((scores >= 0) & (scores <= top)).all()


@given(columns, DIRECTIONS, st.sampled_from(list(RULES)))
def test_n2_a_better_value_never_scores_less(x, direction, rule):
    parameters = fit(rule, x, direction, **given_for(rule, x, direction))
    scores = score(rule, x, direction, parameters)
    order = np.argsort(x if direction == "positive" else np.negative(x), kind="stable")
    assert (np.diff(scores[order]) >= 0).all()
    assert scores[order[-1]] > scores[order[0]]


@given(columns, DIRECTIONS, st.sampled_from(list(RULES)))
def test_n3_the_best_target_or_reference_value_scores_100(x, direction, rule):
    parameters = fit(rule, x, direction, **given_for(rule, x, direction))
    best = best_value(rule, parameters, x, direction)
    assume(best is not None)
    assert score(rule, best, direction, parameters).item() == 100


@given(columns, st.data(), DIRECTIONS, st.sampled_from(list(RULES)))
def test_missing_stays_missing_and_does_not_move_the_others(x, data, direction, rule):
    at = data.draw(st.integers(0, len(x)))
    holed = [*x[:at], NAN, *x[at:]]
    given_numbers = given_for(rule, x, direction)
    plain = score(rule, x, direction, fit(rule, x, direction, **given_numbers))
    scores = score(rule, holed, direction, fit(rule, holed, direction, **given_numbers))
    assert np.isnan(scores[at])
    np.testing.assert_allclose(np.delete(scores, at), plain, rtol=1e-12, atol=1e-9)


@given(columns, st.permutations(range(5)), DIRECTIONS, st.sampled_from(["rank", "borda", "percentile_rank"]))
def test_ranks_depend_on_neither_the_order_nor_the_unit(x, shuffle, direction, rule):
    first = np.array((x * 5)[:5])
    assume(not statistics.constant(first))
    scores = score(rule, first, direction, {})
    np.testing.assert_array_equal(score(rule, first[list(shuffle)], direction, {}), scores[list(shuffle)])
    np.testing.assert_array_equal(score(rule, np.log(first) * 7, direction, {}), scores)


@given(columns, st.floats(-200, 1500), DIRECTIONS, st.sampled_from([r for r in RULES if RULES[r].linear]))
def test_the_derivative_of_a_linear_rule_is_its_difference_quotient(x, at, direction, rule):
    parameters = fit(rule, x, direction, **given_for(rule, x, direction))
    options = {} if rule == "goalposts" else {"cap": 80.0}
    h = 1e-5 * (np.max(x) - np.min(x))
    around = np.array([at - h, at, at + h])
    assume(not (rule == "fraction_of_maximum" and direction == "negative"))
    slope = derivative(rule, around, direction, parameters, **options)
    assume(slope[0] == slope[2])  # no kink between
    difference = np.diff(score(rule, around[[0, 2]], direction, parameters, **options))[0]
    np.testing.assert_allclose(slope[1] * 2 * h, difference, rtol=1e-6, atol=1e-8)


def test_rules_that_are_not_lines_have_no_derivative():
    for rule in ("rank", "borda", "percentile_rank"):
        assert np.isnan(derivative(rule, X, "positive", {})).all()
    assert np.isnan(derivative("fraction_of_maximum", X, "negative", {"best": 2.0})).all()
    slopes_at = derivative("goalposts", [2, 4, NAN, 12], "negative", {"lo": 3, "hi": 8})
    np.testing.assert_array_equal(slopes_at, [0, -20, NAN, 0])
    assert derivative("scaled", 4.0, "positive", {"lo": 3, "hi": 8}).shape == ()


# -- what COINr lets pass ----------------------------------------------------------------------------------------------
def test_coinr_defect_4_a_negative_indicator_is_minimum_over_value_and_zero_is_an_error():
    assert normalise.fraction_of_maximum([1, 2, 4], "negative").tolist() == [100, 50, 25]
    for hopeless in ([0.0, 1, 2], [-1.0, 1, 2]):
        with pytest.raises(MethodError, match="use min_max"):
            normalise.fraction_of_maximum(hopeless, "negative")
    with pytest.raises(MethodError, match="column 1 is negative and has a value ≤ 0"):
        score("fraction_of_maximum", [0.0, 3], "negative", {"best": 1.0}, name="column 1")
    assert normalise.fraction_of_maximum([-1, 0, 4]).tolist() == [-25, 0, 100]
    assert normalise.fraction_of_maximum([3, 3], "negative").tolist() == [100, 100]


def test_coinr_defect_7_fixed_ends_are_raw_values_in_either_direction_for_each_indicator_and_year():
    ends = fit("goalposts", [1.0], "negative", lo=0, hi=10)
    panel = np.array([[2.0, 4.0], [12.0, -3.0]])
    assert score("goalposts", panel, "negative", ends).tolist() == [[80, 60], [0, 100]]
    one_by_one = [score("goalposts", year, "negative", ends).tolist() for year in panel]
    assert one_by_one == [[80, 60], [0, 100]]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("scaled", "goalposts", "fraction_of_maximum")])
def test_coinr_defect_13_a_constant_indicator_is_an_error_that_names_it(rule):
    constant = np.array([0.1, 0.1, NAN, 0.1])
    given_numbers = dict.fromkeys(RULES[rule].given, 5.0)
    with pytest.raises(MethodError, match=rf"{rule}: column 2 is constant"):
        getattr(normalise, rule)(np.column_stack([X[:4], constant]), **given_numbers)
    estimate = fit if RULES[rule].parameters else lambda rule, x, name: score(rule, x, "positive", {}, name)
    with pytest.raises(MethodError, match="mobile is constant"):
        estimate(rule, constant, name="mobile", **given_numbers)


@every_rule
def test_coinr_defect_13_an_infinite_value_is_an_error_that_names_the_indicator(rule):
    given_numbers = given_for(rule, X, "positive")
    parameters = fit(rule, X, **given_numbers)
    for call in (
        lambda: fit(rule, [1, 2, math.inf], name="mobile", **given_numbers),
        lambda: score(rule, [1, 2, -math.inf], "positive", parameters, name="mobile"),
    ):
        with pytest.raises(MethodError, match="mobile has an infinite value"):
            call()


def test_coinr_defect_15_a_reference_is_a_value_so_rows_may_move():
    scores = normalise.distance_to_reference([3.0, 1, 5], reference=3.0)
    assert scores.tolist() == [100, 0, 200]
    assert normalise.distance_to_reference([5.0, 3, 1], reference=3.0).tolist() == [200, 100, 0]
    with pytest.raises(MethodError, match="better than the worst"):
        normalise.distance_to_reference([3.0, 1, 5], reference=1.0)


# -- failures ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit("minmax", X), "unknown rule 'minmax'; use one of min_max"),
        (lambda: score("minmax", X, "positive", {}), "unknown rule 'minmax'"),
        (lambda: fit("min_max", X, "up"), "direction 'up'"),
        (lambda: fit("min_max", X, "moderate"), "direction 'moderate'"),
        (lambda: normalise.min_max(np.ones((2, 3)), ["positive"] * 2), "2 directions for 3 columns"),
        (lambda: fit("min_max", [NAN, NAN], name="mobile"), "mobile has no value"),
        (lambda: fit("min_max", X, lo=0), "takes no lo"),
        (lambda: fit("goalposts", X, lo=0), "lacks a finite hi"),
        (lambda: fit("goalposts", X, lo=0, hi=NAN, name="mobile"), "mobile lacks a finite hi"),
        (lambda: fit("scaled", X, lo=5, hi=5), "lo < hi"),
        (lambda: fit("scaled", X, "negative", lo=5, hi=2), "lo < hi"),
        (lambda: fit("distance_to_target", X, target=2), "better than the worst"),
        (lambda: fit("distance_to_target", X, "negative", target=11), "better than the worst"),
        (lambda: fit("fraction_of_maximum", [0, -1]), "best value above 0"),
        (lambda: score("z_score", X, "positive", {"mean": 0.0, "sd": 0.0}), "sd > 0"),
        (lambda: score("z_score", X, "positive", {"mean": 0.0}), "lacks a finite sd"),
        (lambda: score("rank", X, "positive", {"lo": 0.0}), "unknown parameter 'lo'"),
        (lambda: score("rank", X, "positive", {}, cap=3), "unknown option 'cap'"),
        (lambda: score("min_max", X, "positive", {"lo": 0.0, "hi": 1.0}, to_low=3), "unknown option 'to_low'"),
        (lambda: normalise.min_max(X, to_lo=5, to_hi=5), "to_lo < to_hi"),
        (lambda: normalise.z_score(X, to_sd=0), "to_sd > 0"),
        (lambda: normalise.percentile_rank(X, scale=-1), "scale > 0"),
        (lambda: normalise.goalposts(X, 0, 1, truncate=1), "option truncate is 1"),
        (lambda: normalise.scaled(X, 0, 1, cap=NAN), "option cap is nan"),
        (lambda: normalise.scaled(X, [0, 1], 2), "2 values of lo for 1 columns"),
        (lambda: normalise.rank(np.ones((2, 2, 2))), "shape"),
        (lambda: normalise.min_max([-1.5e308, 1.5e308]), "float range"),
        (lambda: score("scaled", 1e300, "positive", {"lo": 0.0, "hi": 1e-300}), "beyond the float range"),
    ],
)
def test_what_a_rule_is_not_defined_on_is_an_error_that_says_so(call, message):
    with pytest.raises(MethodError, match=message):
        call()
