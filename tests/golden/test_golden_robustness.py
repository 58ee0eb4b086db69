"""Golden vectors of aggregation and robustness, through the tree, the simulation and the removal of elements."""

import numpy as np
import polars as pl
import pytest

from dei_pipeline.methods.aggregate import generalised_mean, geometric_mean, harmonic_mean, tree
from dei_pipeline.methods.assumptions import Assumptions, Scenario, evaluate
from dei_pipeline.methods.robustness import rank_shift, ranks, removal, simulate
from dei_pipeline.methods.sampling import Choice
from dei_pipeline.methods.sobol import sobol
from tests.trees import framework_of


def parts(golden, name):
    vector = golden[name]
    return vector["inputs"], vector["params"], vector["outputs"]


def flat_tree(weights, min_coverage=0.6):
    leaves = [(f"i{k}", "x", w) for k, w in enumerate(weights, 1)]
    return framework_of([("x", None, 1.0), *leaves], min_coverage)


def test_aggregate_missing(golden):
    inputs, params, outputs = parts(golden, "aggregate_missing")
    x = np.array([inputs["x_full"], inputs["x_miss1"], inputs["x_miss2"]], dtype=float)
    result = tree(flat_tree(inputs["w"], params["min_coverage"]), x)
    np.testing.assert_allclose(result.of("x"), [outputs["full"], outputs["miss1_renormalised"], np.nan], rtol=1e-12)
    np.testing.assert_allclose(result.coverage[:, 0], [1, outputs["miss1_coverage"], outputs["miss2_coverage"]])
    for mean in (geometric_mean, harmonic_mean, lambda *a: generalised_mean(*a[:2], 2, *a[2:])):
        score, coverage = mean(x, inputs["w"], params["min_coverage"])
        np.testing.assert_allclose(coverage, result.coverage[:, 0])
        assert np.isnan(score).tolist() == [False, False, True]


def test_tree_small(golden):
    inputs, _, outputs = parts(golden, "tree_small")
    below = [(f"n{k}", "x", w) for k, w in enumerate(inputs["w1"])]
    below += [(f"leaf{k}", "n0", w) for k, w in enumerate(inputs["w2"])]
    framework = framework_of([("x", None, 1.0), *below])
    values = dict(zip([f"leaf{k}" for k in range(3)], inputs["infra_children"], strict=True))
    values |= {f"n{k}": v for k, v in enumerate(inputs["l1"]) if v is not None}
    result = tree(framework, [values[leaf] for leaf in framework.leaf_ids])
    assert result.of("n0").item() == pytest.approx(outputs["infra"], rel=1e-12)
    assert result.of("x").item() == pytest.approx(outputs["total"], rel=1e-12)


@pytest.fixture(scope="module")
def four_cities(golden):
    """The example of methodology §3.25 with equal weights and the geometric mean as alternatives."""
    inputs, _, outputs = parts(golden, "rank_sensitivity")
    framework = flat_tree(inputs["w"])
    factors = (Choice("weights", ("framework", "equal")), Choice("aggregation", ("framework", "geometric")))
    equal = dict.fromkeys(framework.leaf_ids, 1 / 3)
    return Assumptions(framework, {(): Scenario(inputs["scores"])}, factors, {"equal": equal}), outputs


def test_rank_sensitivity_of_weights_and_aggregation(four_cities):
    assumptions, outputs = four_cities
    sample = pl.DataFrame(
        {"weights": ["framework", "equal", "framework"], "aggregation": ["framework", "framework", "geometric"]}
    )
    found = np.empty((3, 4), dtype=int)
    for chunk in evaluate(assumptions, sample):
        found[chunk.at] = ranks(chunk.scores)
    names = ("base", "equal", "geometric")
    assert found.tolist() == [outputs["ranks"][name] for name in names]
    shifts = [outputs["mean_abs_rank_shift"][name] for name in names]
    assert rank_shift(found, np.array(outputs["ranks"]["base"])).tolist() == shifts
    result = simulate(assumptions, sample=sample)
    np.testing.assert_allclose(result.units["score"], outputs["base_score"], rtol=1e-12)
    assert result.units["rank"].to_list() == outputs["ranks"]["base"]
    assert result.replications["mean_abs_rank_shift"].to_list() == shifts


def test_rank_sensitivity_of_removal(four_cities):
    assumptions, outputs = four_cities
    result = removal(assumptions)
    assert result.elements["element"].to_list() == ["i1", "i2", "i3"]
    assert result.ranks.tolist() == [outputs["ranks"][f"drop{k}"] for k in (1, 2, 3)]
    expected = [outputs["mean_abs_rank_shift"][f"drop{k}"] for k in (1, 2, 3)]
    assert result.elements["mean_abs_rank_shift"].to_list() == expected


def test_sobol_linear_analytic(golden):
    _, _, outputs = parts(golden, "sobol_linear_analytic")
    result = sobol(lambda u: u[:, 0] + 2 * u[:, 1] + 3 * u[:, 2], ["x1", "x2", "x3"], 4096, seed=1, bootstrap=200)
    np.testing.assert_allclose(result.indices["first"], outputs["S_first"], atol=1e-3)
    np.testing.assert_allclose(result.indices["total"], outputs["S_total"], atol=1e-3)
    assert result.outputs["variance"][0] == pytest.approx(outputs["variance"], rel=1e-3)
    assert (result.indices["total_low"] < outputs["S_total"]).all()
    assert (result.indices["total_high"] > outputs["S_total"]).all()
