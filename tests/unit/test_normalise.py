"""Thresholds and saturating counts: closed forms, invariants N1 to N3, and every failure."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.normalise import flags, saturation, slopes, threshold

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
