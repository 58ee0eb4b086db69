"""Samples of the factors of an uncertainty analysis: options, multipliers and their correlations."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from polars.testing import assert_frame_equal

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.assumptions import Assumptions, Scenario
from dei_pipeline.methods.sampling import Choice, Spread, multiplier, pick, uniforms
from tests.trees import tree_of

TREE = tree_of("x", (2, 3), 0.5)  # 2 nodes of 3 leaves each


@given(arrays(np.float64, 20, elements=st.floats(0.4, 0.6)))
def test_coinr_defect_11_an_option_depends_on_its_own_number_only(u):
    """COINr cuts the range of the sample: five options are all hit by numbers between .4 and .6."""
    assert set(pick(u, [0.2] * 5)) <= {2, 3}
    assert pick(u, [0.2] * 5).tolist() == [int(pick([v], [0.2] * 5)[0]) for v in u]
    assert pick([0.0, 0.24, 0.25, 0.999], [0.25, 0.0, 0.75]).tolist() == [0, 0, 2, 2]


def test_coinr_defect_16_probabilities_normal_factors_and_correlation():
    leaves = [f"leaf_weights:{leaf}" for leaf in TREE.leaf_ids]
    factors = (Spread("leaf_weights", 0.2, "normal"), Choice("drop", ("none", "x.0.0"), (0.9, 0.1)))
    assumptions = Assumptions(TREE, {(): Scenario(np.full((2, 6), 50.0))}, factors)
    sample = assumptions.sample(20_000, 1, {(leaves[0], leaves[1]): 0.8, (leaves[2], "drop"): -0.5})
    assert isinstance(sample, pl.DataFrame)
    assert sample.columns == [*leaves, "drop"]
    assert (sample["drop"] == "x.0.0").mean() == pytest.approx(0.1, abs=0.01)
    values = sample.select(leaves).to_numpy()
    np.testing.assert_allclose(values.mean(axis=0), 1, atol=0.01)
    np.testing.assert_allclose(values.std(axis=0), 0.2, atol=0.01)
    correlation = np.corrcoef(values.T)
    assert correlation[0, 1] == pytest.approx(0.8, abs=0.02)
    assert np.abs(correlation[2:, :2]).max() < 0.03
    assert sample.filter(pl.col("drop") == "x.0.0")[leaves[2]].mean() < 0.9  # both low or both high: drop is high
    assert_frame_equal(
        assumptions.sample(50, 1, {(leaves[0], leaves[1]): 0.8}),
        assumptions.sample(99, 1, {(leaves[0], leaves[1]): 0.8}).head(50),
        check_exact=True,
    )


def test_correlations_of_nothing_or_that_contradict_are_errors():
    with pytest.raises(MethodError, match="unknown column c; known: a, b"):
        uniforms(5, ["a", "b"], 0, {("a", "c"): 0.5})
    with pytest.raises(MethodError, match="contradict"):
        uniforms(5, ["a", "b", "c"], 0, {("a", "b"): 0.9, ("b", "c"): 0.9, ("a", "c"): -0.9})
    same = uniforms(50, ["a", "b"], 0, {("a", "b"): 1.0})
    np.testing.assert_allclose(same[:, 0], same[:, 1], rtol=1e-9)


def test_multipliers_are_quantiles_and_never_negative():
    assert multiplier([0.25, 0.5], 0.2).tolist() == pytest.approx([0.9, 1.0])
    assert multiplier([0.5, 0.975], 0.1, "normal").tolist() == pytest.approx([1.0, 1.196], abs=1e-3)
    wide = multiplier(np.linspace(1e-12, 1 - 1e-12, 1001), 2.0, "normal")
    assert (wide > 0).all()
    assert (np.diff(wide) > 0).all()
