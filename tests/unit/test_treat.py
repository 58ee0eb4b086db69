"""Outlier treatment: bias-corrected moments, winsorisation, and agreement with COINr."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.treat import kurtosis, log_shifted, skewness, winsorise, winsorised_max

LONG_TAIL = [1.0, 2, 2, 3, 3, 4, 4, 5, 6, 60]


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


def test_all_49_columns_of_the_asem_example_agree_with_coinr(real_data):
    folder = real_data.parent / "golden" / "coinr"
    if not folder.is_dir():
        pytest.skip(f"no COINr results at {folder}")
    raw = pl.read_csv(folder / "02_pipeline" / "Imputed.csv", infer_schema_length=None).sort("uCode")
    details = pl.read_csv(folder / "04_treat" / "default_win5_logCT__details.csv")
    treated = pl.read_csv(folder / "04_treat" / "default_win5_logCT__data.csv", infer_schema_length=None).sort("uCode")
    for row in details.iter_rows(named=True):
        x = raw[row["iCode"]].to_numpy().astype(float)
        result = winsorise(x)
        np.testing.assert_allclose(skewness(x), row["check_SkewKurt0.Skew"], rtol=1e-10)
        np.testing.assert_allclose(kurtosis(x), row["check_SkewKurt0.Kurt"], rtol=1e-10)
        np.testing.assert_allclose(result.values, treated[row["iCode"]].to_numpy(), rtol=1e-12)
        assert result.treated.size == (row["winsorise.nwin"] or 0)
    assert details.height == 49
