"""Outlier treatment and descriptive statistics agree with COINr on the ASEM example."""

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods.statistics import describe
from dei_pipeline.methods.treat import treat_matrix

RTOL = 1e-10
NUMBERS = {
    "Min": "min",
    "Max": "max",
    "Mean": "mean",
    "Median": "median",
    "Std": "sd",
    "Skew": "skew",
    "Kurt": "kurtosis",
    "N.Avail": "n_available",
    "N.NonZero": "n_nonzero",
    "N.Unique": "n_unique",
    "N.Same": "n_same",
    "Frc.Avail": "share_available",
    "Frc.NonZero": "share_nonzero",
    "Frc.Unique": "share_unique",
    "Frc.Same": "share_same",
}
FLAGS = {
    "Flag.Avail": ("low_availability", "LOW"),
    "Flag.NonZero": ("many_zeros", "LOW"),
    "Flag.Unique": ("few_distinct", "LOW"),
    "Flag.SkewKurt": ("outlying", "OUT"),
}


@pytest.fixture(scope="module")
def asem(coinr):
    imputed = coinr("02_pipeline/Imputed")
    names = imputed.columns[1:]
    return imputed["uCode"], names, imputed.select(names).to_numpy().astype(np.float64)


@pytest.fixture(scope="module")
def treated(asem):
    _, names, x = asem
    return treat_matrix(x, names)


@pytest.mark.parametrize(
    "prefix", ["04_treat/default_win5_logCT__", "02_pipeline/Treated_"], ids=["treatment", "pipeline"]
)
def test_what_was_done_to_each_indicator_agrees(coinr, asem, treated, prefix):
    codes, names, _ = asem
    data = coinr(prefix + "data" if "04" in prefix else prefix.rstrip("_"))
    assert data["uCode"].equals(codes)
    np.testing.assert_allclose(treated.values, data.select(names).to_numpy(), rtol=RTOL)
    theirs = coinr(prefix + "details")
    ours = treated.details()
    assert ours["indicator_id"].to_list() == theirs["iCode"].to_list()
    number = pl.col("winsorise.nwin").cast(pl.UInt32).fill_null(0)
    assert ours["n_points"].to_list() == theirs.select(number).to_series().to_list()
    for statistic, column in (("Skew", "skew"), ("Kurt", "kurtosis")):
        before = theirs[f"check_SkewKurt0.{statistic}"]
        after = theirs[f"check_SkewKurt1.{statistic}"].fill_null(before)
        np.testing.assert_allclose(ours[f"{column}_before"], before, rtol=RTOL)
        np.testing.assert_allclose(ours[f"{column}_after"], after, rtol=RTOL)
    assert ours["passed"].all()
    assert set(ours["step"]) == {"none", "winsorise"}


@pytest.mark.parametrize("file", ["04_treat/default_win5_logCT__points", "02_pipeline/Treated_points"])
def test_the_treated_points_agree(coinr, asem, treated, file):
    codes, names, x = asem
    points = coinr(file)
    assert points["uCode"].equals(codes)
    found = np.full(x.shape, "", dtype=object)
    for j, name in enumerate(names):
        at = treated.columns[name].points
        found[at, j] = np.where(treated.values[at, j] < x[at, j], "winhi", "winlo")
    theirs = points.select(pl.col(names).cast(pl.String).fill_null("")).to_numpy()
    assert (found == theirs).all()
    assert (found != "").sum() == 35


def test_the_statistics_of_every_indicator_agree(coinr, treated, asem):
    _, names, _ = asem
    theirs = coinr("04_treat/default_win5_logCT__stats")
    ours = pl.DataFrame({"indicator_id": theirs["iCode"]}).join(
        describe(treated.values, names), on="indicator_id", how="left", maintain_order="left"
    )
    assert set(theirs.columns) == {"iCode", *NUMBERS, *FLAGS}
    for their, our in NUMBERS.items():
        np.testing.assert_allclose(ours[our], theirs[their], rtol=RTOL, err_msg=their)
    for their, (our, word) in FLAGS.items():
        assert ours[our].to_list() == (theirs[their] == word).to_list(), their
    assert ours["few_distinct"].sum() == 5
