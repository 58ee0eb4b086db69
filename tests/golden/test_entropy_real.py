"""A published entropy computation on real data: 13 cities of Beijing-Tianjin-Hebei, 2013–2017, from its workbook."""

import numpy as np
import pytest
from python_calamine import CalamineWorkbook

from dei_pipeline.methods.normalise import min_max
from dei_pipeline.methods.weights import entropy

WORKBOOK = "entropy-topsis-jjj13/Economic indicators.xlsx"


@pytest.fixture(scope="module")
def workbook(real_data):
    path = real_data / WORKBOOK
    if not path.is_file():
        pytest.skip(f"no {path}")
    return CalamineWorkbook.from_path(path)


def matrix(workbook, sheet):
    """The numbers of a sheet: 65 city-years as rows, the four indicators as columns."""
    rows = workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)[2:]
    return np.array([row[2:] for row in rows], dtype=float).T


def column(workbook, sheet):
    """The numbers beside the four indicators."""
    return [row[1] for row in workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)[1:]]


def test_standardised_values_are_reproduced(workbook):
    raw = matrix(workbook, "raw data")
    assert raw.shape == (65, 4)
    np.testing.assert_allclose(min_max(raw, to_hi=1.0), matrix(workbook, "standardization"), rtol=0, atol=1e-12)


def test_shares_are_reproduced(workbook):
    scores = min_max(matrix(workbook, "raw data"), to_hi=1.0)
    np.testing.assert_allclose(scores / scores.sum(axis=0), matrix(workbook, "normalization"), rtol=0, atol=1e-12)


def test_entropies_and_weights_are_reproduced_from_the_raw_data(workbook):
    result = entropy(min_max(matrix(workbook, "raw data"), to_hi=1.0))
    np.testing.assert_allclose(result.H, column(workbook, "ei"), rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.w, column(workbook, "weight"), rtol=0, atol=1e-12)
    assert result.flags == ("", "", "", "")


def test_without_the_shift_of_min_max_the_same_data_give_other_weights(workbook):
    unshifted = entropy(matrix(workbook, "raw data")).w
    assert np.abs(unshifted - column(workbook, "weight")).max() > 0.01
