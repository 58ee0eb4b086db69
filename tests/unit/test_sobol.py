"""Sobol' indices: the Ishigami function, an index of two leaves, loud failures."""

import numpy as np
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.assumptions import Assumptions, Scenario
from dei_pipeline.methods.sampling import Choice, Spread
from dei_pipeline.methods.sobol import sobol, sobol_index
from tests.trees import framework_of

PAIR = framework_of([("x", None, 1), ("a", "x", 1), ("b", "x", 1)])


def ishigami(u):
    x = np.pi * (2 * u - 1)
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


FIRST, TOTAL = [0.3139, 0.4424, 0.0], [0.5576, 0.4424, 0.2437]


def test_ishigami_indices_are_found_within_their_known_errors():
    results = [sobol(ishigami, ["a", "b", "c"], 1024, seed, bootstrap=2).indices for seed in range(20)]
    for column, true, limit in (("first", FIRST, [0.015, 0.008, 0.018]), ("total", TOTAL, [0.015, 0.008, 0.01])):
        errors = np.array([r[column].to_numpy() for r in results]) - true
        assert (np.sqrt((errors**2).mean(axis=0)) < limit).all()


def test_coinr_defect_12_indices_do_not_depend_on_the_mean_of_the_output():
    plain, moved = (sobol(lambda u, by=by: ishigami(u) + by, ["a", "b", "c"], 1024).indices for by in (0, 1e5))
    assert_frame_equal(plain, moved, abs_tol=1e-6)
    assert (plain["first"] <= plain["total"] + 0.01).all()


def test_bootstrap_intervals_hold_the_truth_and_narrow_with_the_level():
    wide = sobol(ishigami, ["a", "b", "c"], 1024, bootstrap=300, level=0.99).indices
    narrow = sobol(ishigami, ["a", "b", "c"], 1024, bootstrap=300, level=0.5).indices
    for kind, true in (("first", FIRST), ("total", TOTAL)):
        assert ((wide[f"{kind}_low"] <= true) & (true <= wide[f"{kind}_high"])).all()
        assert ((wide[f"{kind}_high"] - wide[f"{kind}_low"]) > (narrow[f"{kind}_high"] - narrow[f"{kind}_low"])).all()


def test_factors_of_several_columns_and_several_outputs():
    def model(u):
        return np.column_stack([u[:, 0] + u[:, 1] + 2 * u[:, 2], u[:, 2] ** 2])

    result = sobol(model, {"pair": 2, "single": 1}, 4096, outputs=("sum", "square"), bootstrap=2)
    assert result.indices["first"].to_list() == pytest.approx([1 / 3, 2 / 3, 0, 1], abs=0.01)
    assert result.indices["total"].to_list() == pytest.approx([1 / 3, 2 / 3, 0, 1], abs=0.01)
    assert result.outputs["mean"].to_list() == pytest.approx([2, 1 / 3], abs=0.01)
    assert result.outputs["variance"].to_list() == pytest.approx([1 / 2, 4 / 45], abs=0.01)
    assert result.runs == 4096 * 4


def test_undefined_runs_are_counted_and_bad_designs_are_errors():
    def gaps(u):
        return np.where(u[:, 0] < 0.1, np.nan, u.sum(axis=1))

    assert 0.1 * 256 < sobol(gaps, ["a", "b"], 256, bootstrap=2).outputs["undefined"][0] < 0.3 * 256
    for model, factors, n, said in (
        (ishigami, ["a", "b", "c"], 1000, "power of two"),
        (ishigami, [], 64, "at least one"),
        (lambda u: np.ones(len(u)), ["a"], 64, "output does not vary"),
        (lambda u: np.full(len(u), np.nan), ["a"], 64, "undefined in 64 of 64"),
        (lambda u: np.full(len(u), np.inf), ["a"], 64, "infinite"),
        (lambda u: np.ones((len(u), 2)), ["a"], 64, r"shape \(64, 2\)"),
    ):
        with pytest.raises(MethodError, match=said):
            sobol(model, factors, n)


def test_indices_of_an_index_find_the_factor_that_matters():
    scores = np.column_stack([np.linspace(90, 10, 9), np.linspace(10, 90, 9)])
    scores[:, 0] += np.arange(9) % 3
    assumptions = Assumptions(
        PAIR,
        {("as_is",): Scenario(scores), ("shifted",): Scenario(scores + 1)},
        (Spread("leaf_weights", 0.5), Choice("data", ("as_is", "shifted"))),
    )
    result = sobol_index(assumptions, 256, units=[("score", 0), ("rank", 8)], bootstrap=50)
    shares = {(o, f): t for o, f, t in result.indices.select("output", "factor", "total").iter_rows()}
    assert shares["mean_abs_rank_shift", "data"] == pytest.approx(0, abs=1e-9)
    assert shares["mean_abs_rank_shift", "leaf_weights"] == pytest.approx(1, abs=0.1)
    assert shares["score:0", "leaf_weights"] > 0.9
    assert 0 < shares["score:0", "data"] < 0.1
    assert shares["rank:8", "data"] == pytest.approx(0, abs=1e-9)
    assert result.runs == 256 * 4
    with pytest.raises(MethodError, match=r"unknown output \(points, 0\)"):
        sobol_index(assumptions, 64, units=[("points", 0)])
