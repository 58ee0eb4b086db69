"""Golden vectors of the weights, and COINr's tables where they depend on weights."""

from itertools import pairwise

import numpy as np
import pytest

from dei_pipeline.methods.aggregate import weighted_mean
from dei_pipeline.methods.normalise import threshold
from dei_pipeline.methods.tiers import competition_rank
from dei_pipeline.methods.weight_search import optimise
from dei_pipeline.methods.weight_trees import effective
from dei_pipeline.methods.weights import ahp, combine, entropy, from_upper_triangle, of_group, pca


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9)


def parts(golden, name):
    vector = golden[name]
    return vector["inputs"], vector["params"], vector["outputs"]


def test_entropy(golden):
    inputs, _, outputs = parts(golden, "entropy")
    result = entropy(inputs["X"])
    close(result.w, outputs["w"])
    close(result.H, outputs["H"])
    close(result.d, outputs["d"])
    assert result.flags == ("", "constant", "")


def test_entropy_degenerate(golden):
    _, _, outputs = parts(golden, "entropy_degenerate")
    close(entropy([[3, 7]] * 4).w, outputs["all_constant"])
    close(entropy([[1, 0], [2, 0], [3, 0]]).w, outputs["zero_column"])
    close(entropy([[3, 9]]).w, outputs["single_object"])
    close(entropy([[5, 1], [0, 1], [0, 1]]).H, outputs["one_hot_H"])
    scores = np.array(golden["entropy"]["inputs"]["X"], dtype=float)
    scaled = entropy(scores * [1000, 0.125, 4]).w
    assert np.abs(scaled - entropy(scores).w).max() <= outputs["scale_invariance_max_abs_diff"] + 1e-15


def test_ahp_3x3(golden):
    inputs, _, outputs = parts(golden, "ahp_3x3")
    result = ahp(inputs["A"])
    close(result.w, outputs["w"])
    close(result.w_geometric, outputs["w_geometric_mean"])
    close((result.lambda_max, result.ci, result.cr), [outputs[key] for key in ("lambda_max", "CI", "CR")])
    assert result.accepted


def test_ahp_6x6_deci_dims_illustrative(golden):
    inputs, _, outputs = parts(golden, "ahp_6x6_deci_dims_illustrative")
    result = ahp(from_upper_triangle(inputs["upper_triangle_rowwise"]))
    close(result.w, outputs["w"])
    close((result.lambda_max, result.ci, result.cr), [outputs[key] for key in ("lambda_max", "CI", "CR")])


def test_ahp_inconsistent(golden):
    inputs, _, outputs = parts(golden, "ahp_inconsistent")
    result = ahp(inputs["A"])
    close(result.w, outputs["w"])
    close((result.lambda_max, result.cr), (outputs["lambda_max"], outputs["CR"]))
    assert result.accepted is outputs["accept"]


def test_weights_combine(golden):
    inputs, _, outputs = parts(golden, "weights_combine")
    for scheme in ("multiplicative", "min_relative_entropy"):
        close(combine(inputs["ahp"], inputs["entropy"], scheme), outputs[scheme])
    close(combine(inputs["ahp"], inputs["entropy"], "linear", 0.5), outputs["linear_0.5"])


def test_deci_end_to_end_4x3(golden):
    inputs, _, outputs = parts(golden, "deci_end_to_end_4x3")
    scores = threshold(inputs["raw"], inputs["theta"])
    close(scores, outputs["score"])
    judged = ahp(inputs["ahp_dims"]).w
    dimensions = []
    for group in inputs["groups"]:
        leaves = of_group("ahp_upper_entropy_leaf", None, entropy(scores[:, group]).w, is_leaf_group=True)
        assert leaves.method == "entropy"
        dimensions.append(weighted_mean(scores[:, group], leaves.w)[0])
        if len(group) == 2:
            close(leaves.w, outputs["entropy_w_group1"])
    close(dimensions, [outputs["dimA"], outputs["dimB"]])
    upper = of_group("ahp_upper_entropy_leaf", judged, entropy(np.transpose(dimensions)).w, is_leaf_group=False)
    assert upper.method == "ahp"
    close(upper.w, outputs["ahp_w"])
    composite, _ = weighted_mean(np.transpose(dimensions), upper.w)
    close(composite, outputs["composite"])
    assert competition_rank(composite).tolist() == outputs["rank"]


def test_there_is_a_test_for_every_vector_of_these_topics(golden):
    names = [name for name in golden if name.startswith(("entropy", "ahp", "weights", "deci"))]
    assert len(names) == 7
    missing = [name for name in names if f"test_{name}" not in globals()]
    if missing:
        pytest.fail(f"no test for {missing}")


def tree_of(coinr):
    """Parents by node, and the unequal weights by node, of the ASEM index."""
    rows = coinr("01_input/lineage").rows()
    parents = {child: parent for row in rows for child, parent in pairwise(row)} | {"Index": None}
    given = coinr("01_input/weights_unequal")
    return parents, dict(zip(given["iCode"], given["Weight"], strict=True))


def test_effective_weights_are_those_of_an_independent_computation(coinr):
    parents, weights = tree_of(coinr)
    result = effective(parents, weights)
    for row in coinr("01_input/lineage").iter_rows():
        expected = 1.0
        for child, parent in pairwise(row):
            expected *= weights[child] / sum(weights[node] for node in parents if parents[node] == parent)
        assert result[row[0]] == pytest.approx(expected, rel=1e-14)
    assert sum(result[row[0]] for row in coinr("01_input/lineage").iter_rows()) == pytest.approx(1, abs=1e-12)


def test_coinr_defect_15_effective_weights_follow_the_weight_set_that_was_given(coinr):
    # COINr aggregated this table with the unequal set: only the unequal effective weights give its index back.
    parents, weights = tree_of(coinr)
    indicators = coinr("01_input/lineage")["Indicator"].to_list()
    scores = coinr("11_purse/zscore_unequalw_Normalised").select(indicators).cast(float).to_numpy()
    index = coinr("11_purse/zscore_unequalw_Aggregated")["Index"].to_numpy()
    complete = ~np.isnan(scores).any(axis=1)
    assert complete.sum() == 155
    unequal, original = effective(parents, weights), effective(parents, dict.fromkeys(parents, 1.0))
    with_unequal = scores[complete] @ [unequal[i] for i in indicators]
    with_original = scores[complete] @ [original[i] for i in indicators]
    np.testing.assert_allclose(with_unequal, index[complete], rtol=0, atol=1e-14)
    assert np.abs(with_original - index[complete]).max() > 0.3


PILLARS = ["ConEcFin", "Environ", "Instit", "P2P", "Physical", "Political", "Social", "SusEcFin"]


def test_coinr_defect_15_pca_weights_have_a_settled_sign_on_every_asem_pillar(coinr):
    lineage, treated = coinr("01_input/lineage"), coinr("02_pipeline/Treated")
    mixed = []
    for pillar in PILLARS:
        members = lineage.filter(Pillar=pillar)["Indicator"].to_list()
        scores = treated.select(members).cast(float).to_numpy()
        result = pca(scores)
        centred = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        component = np.linalg.svd(centred)[2][0]  # independent of the eigenvectors, with a sign of its own
        np.testing.assert_allclose(result.loadings, component * np.sign(component.sum()), atol=1e-10)
        np.testing.assert_allclose(result.w, component**2, atol=1e-10)
        assert result.loadings.sum() > 0
        if (result.loadings < 0).any():
            mixed.append(pillar)
            continue
        np.testing.assert_allclose(pca(scores, "loading").w, component / component.sum(), atol=1e-10)
    assert mixed


def test_two_asem_subindices_can_be_balanced_exactly(coinr):
    result = optimise(coinr("02_pipeline/Aggregated").select("Conn", "Sust").to_numpy())
    assert result.balanced
    np.testing.assert_allclose(result.obtained, [0.5, 0.5], atol=1e-6)


def test_eight_asem_pillars_cannot_be_balanced_with_positive_weights_and_the_result_says_so(coinr):
    pillars = coinr("02_pipeline/Aggregated").select(PILLARS).to_numpy()
    correlation, sd = np.corrcoef(pillars.T), pillars.std(axis=0)
    assert (np.linalg.solve(correlation, np.ones(8)) < 0).any()  # the exact solution has negative weights
    result = optimise(pillars)
    assert not result.balanced
    assert result.gap > 0.01
    assert (result.w >= 0).all()
    largest = optimise(pillars, kind="infomax")
    np.testing.assert_allclose(largest.w, (1 / sd) / (1 / sd).sum(), rtol=1e-5)
    assert largest.correlations.sum() == pytest.approx(np.sqrt(correlation.sum()), rel=1e-10)
